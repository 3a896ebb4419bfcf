"""The generator of residual levels."""

import pytest
import torch
from torch import nn

from model import UNetGenerator, fold_norms
from model.layers import UP_MODES
from model.residual import patch_side
from tests.helpers.models import tiny_batch, tiny_model


def residual(**changes) -> UNetGenerator:
    torch.manual_seed(0)
    sizes = {"image_size": 64, "ngf": 4, "embedding_num": 3, "embedding_dim": 8, "up_mode": "upsample", "dropout": 0.0}
    return UNetGenerator(generator="residual", **sizes | changes)


def moved_from_start(net: UNetGenerator) -> UNetGenerator:
    """With weights as a training leaves them: none is zero, and norms have statistics of their own."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    for _ in range(3):
        net(torch.randn(4, 1, 64, 64, dtype=next(net.parameters()).dtype), torch.tensor([0, 1, 2, 0]))
    return net.eval()


@pytest.mark.parametrize(
    ("image_size", "patch", "levels"),
    [(64, 1, 4), (96, 2, 3), (128, 2, 4), (192, 4, 3), (256, 4, 4), (384, 4, 4), (512, 4, 5), (1024, 4, 6)],
)
@pytest.mark.parametrize("input_nc", [1, 3])
def test_every_size_is_drawn(image_size, patch, levels, input_nc):
    with torch.device("meta"):
        net = residual(image_size=image_size, input_nc=input_nc)
        image, encoded = net(torch.empty(2, input_nc, image_size, image_size), torch.zeros(2, dtype=torch.long))
    assert image.shape == (2, input_nc, image_size, image_size)
    assert patch_side(image_size) == patch
    assert max(name.count("submodule.") for name, _ in net.named_parameters()) == levels - 1
    coarsest = image_size // patch // 2 ** (levels - 1)
    assert coarsest in (8, 12)
    assert encoded.shape == (2, net.model.down[1].out_channels * min(6, 2 ** (levels - 1)) * coarsest**2)


@pytest.mark.parametrize("norm_type", ["batch", "instance"])
@pytest.mark.parametrize("up_mode", UP_MODES)
@pytest.mark.parametrize("g_blur", [False, True])
def test_folded_norms_draw_the_same(norm_type, up_mode, g_blur):
    net = moved_from_start(residual(norm_type=norm_type, up_mode=up_mode, g_blur=g_blur).double())
    x, label = torch.randn(3, 1, 64, 64, dtype=torch.float64), torch.tensor([0, 1, 2])
    expected = net(x, label)[0]
    fold_norms(net)
    assert any(isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) for module in net.modules()) == (
        norm_type == "instance"
    )
    torch.testing.assert_close(net(x, label)[0], expected, rtol=0, atol=1e-12)


def test_the_label_decides_on_the_way_up_alone():
    net, x = moved_from_start(residual()), torch.randn(2, 1, 64, 64)
    (one, first), (other, second) = (net(x, torch.full((2,), label)) for label in (0, 2))
    assert torch.equal(first, second)
    assert torch.equal(net.encode(x), first)
    assert (one - other).abs().mean() > 1e-4
    blend, _ = net(x, torch.tensor([[0.5, 0.0, 0.5]] * 2))
    assert not torch.equal(blend, one) and not torch.equal(blend, other)
    whole, _ = net(x, torch.tensor([[1.0, 0.0, 0.0]] * 2))
    torch.testing.assert_close(whole, one)


def test_blur_is_in_every_strided_convolution_and_filters_scale():
    for g_blur in (False, True):
        state = residual(g_blur=g_blur).state_dict()
        assert sum(key.endswith(".blur") for key in state) == 3 * g_blur
    small, large = (sum(p.numel() for p in residual(ngf=ngf).parameters()) for ngf in (8, 16))
    assert 3.5 < large / small < 4.1


def test_a_new_network_learns_in_every_weight():
    """Norms that start at zero let the gradient through from the second step on."""
    model = tiny_model(generator="residual", up_mode="upsample", dropout=0.0, Ladv_penalty=0.0, Lconst_penalty=0.0)
    before = {name: weight.clone() for name, weight in model.netG.named_parameters()}
    for seed in range(3):
        model.set_input(*tiny_batch(seed=seed))
        model.optimize_parameters()
    same = [name for name, weight in model.netG.named_parameters() if torch.equal(weight, before[name])]
    assert same == []


def test_a_frozen_encoder_stays_as_it_is():
    model = tiny_model(generator="residual", up_mode="upsample", freeze_encoder=True)
    state = {name: tensor.clone() for name, tensor in model.netG.state_dict().items()}
    for seed in range(2):
        model.set_input(*tiny_batch(seed=seed))
        model.optimize_parameters()
    changed = {name for name, tensor in model.netG.state_dict().items() if not torch.equal(tensor, state[name])}
    assert changed
    assert not any(".down." in name for name in changed)


def test_the_field_is_the_sum_before_the_tanh():
    net, x, label = moved_from_start(residual()), torch.randn(2, 1, 64, 64), torch.tensor([0, 1])
    field, _ = net.field(x, label)
    assert torch.equal(torch.tanh(field), net(x, label)[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert net.field(x, label)[0].dtype == torch.float32


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="generator 'resnet' is not one of zi2zi, residual"):
        UNetGenerator(generator="resnet", image_size=64)
    with pytest.raises(ValueError, match="up_mode 'nearest'"):
        residual(up_mode="nearest")
