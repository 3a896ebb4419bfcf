"""Anti-aliased sampling: it is what the literal BlurPool computes, and it reaches every level."""

from unittest import mock

import pytest
import torch
from torch.nn import functional as F

from model import BlurPool, Discriminator, UNetGenerator, layers
from model.layers import (
    BlurConv2d,
    ContiguousGradient,
    PixelShuffleConv2d,
    Replicated,
    averaged_twice,
    blur_kernel,
    blurred,
    fold_norms,
    init_weights,
    up_conv2d,
)


def literal_form(x, conv):
    """Stride-1 convolution, then stride-2 blur, the border padded once, before both."""
    kernel = blur_kernel().to(x.dtype)
    x = F.pad(x, (conv.border,) * 4, mode="replicate")
    x = F.conv2d(x, conv.weight, conv.bias)
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), stride=2, groups=x.shape[1])


@pytest.mark.parametrize("size", [2, 4, 6, 8, 12, 24, 48, 64])
@pytest.mark.parametrize(("kernel_size", "padding"), [(4, 1), (5, 2)])
def test_blurred_convolution_equals_convolution_then_blur(size, kernel_size, padding):
    torch.manual_seed(size)
    conv = BlurConv2d(3, 5, kernel_size, 2, padding, bias=True).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    result = conv(x)
    assert result.shape == (2, 5, size // 2, size // 2)
    torch.testing.assert_close(result, literal_form(x, conv), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [64, 96, 128, 256, 384])
def test_every_level_of_a_blurred_generator_equals_the_literal_form(size):
    torch.manual_seed(0)
    net = UNetGenerator(image_size=size, ngf=2, embedding_num=1, embedding_dim=2, g_blur=True).double().eval()
    checked = []

    def check(module, inputs, output):
        torch.testing.assert_close(output, literal_form(inputs[0], module), rtol=0, atol=1e-10)
        checked.append(output.shape[-1])

    for module in net.modules():
        if isinstance(module, BlurConv2d):
            module.register_forward_hook(check)
    with torch.no_grad():
        net.encode(torch.randn(1, 1, size, size, dtype=torch.float64))
    assert checked[-1] == (3 if size % 3 == 0 else 1)
    assert len(checked) == sum(isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2) for m in net.modules())


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (8, 8)])
@pytest.mark.parametrize("pad", [1, 2, 3])
def test_a_gpu_pads_and_blurs_by_averaging_to_the_same(size, pad):
    """Values and gradients, in both layouts."""
    torch.manual_seed(0)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
        expected = blurred(x, blur_kernel().double(), pad)
        found = averaged_twice(Replicated.apply(x, pad))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
        (on_cpu,) = torch.autograd.grad(expected, x, torch.ones_like(expected) + expected.detach())
        (on_gpu,) = torch.autograd.grad(found, x, torch.ones_like(found) + expected.detach())
        torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-14)
        assert Replicated.apply(x, pad).is_contiguous(memory_format=layout)


def test_a_blur_keeps_the_precision_it_gets():
    """Under autocast torch would pad in float32."""
    seen = []
    layer = BlurConv2d(4, 4, 4, 2, 1, bias=False)
    pad = layers.F.pad
    spy = mock.patch.object(layers.F, "pad", lambda x, *a, **k: seen.append(pad(x, *a, **k)) or seen[-1])
    with spy, torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(2, 4, 8, 8).bfloat16())
    assert [x.dtype for x in seen] == [torch.bfloat16]


def strided_and_blurred(net):
    strided = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2)]
    return len(strided), sum(name.endswith(".blur") for name in net.state_dict())


@pytest.mark.parametrize("size", [64, 128, 256, 384])
def test_blur_reaches_every_strided_convolution(size):
    for blur in (False, True):
        strided, blurred = strided_and_blurred(UNetGenerator(image_size=size, ngf=2, g_blur=blur))
        assert strided == {64: 6, 128: 7, 256: 8, 384: 7}[size]
        assert blurred == (strided if blur else 0)
        strided, blurred = strided_and_blurred(Discriminator(image_size=size, ndf=2, d_blur=blur))
        assert (strided, blurred) == (3, 3 if blur else 0)


def test_blurred_and_plain_state_dicts_differ_by_the_kernels_alone():
    plain, blurred = (UNetGenerator(image_size=64, ngf=2, g_blur=blur).state_dict() for blur in (False, True))
    assert {key for key in blurred if not key.endswith(".blur")} == plain.keys()
    assert "model.down.0.blur" in blurred


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (9, 1), (16, 2), (15, 2)])
def test_blurpool_keeps_a_constant(size, stride):
    result = BlurPool(3, stride)(torch.full((1, 3, size, size), 0.7))
    torch.testing.assert_close(result, torch.full_like(result, 0.7))
    assert result.shape[-1] == -(-size // stride)


def test_a_blurred_convolution_keeps_a_constant_up_to_the_border():
    conv = BlurConv2d(1, 1, 4, 2, 1, bias=False)
    result = conv(torch.full((1, 1, 8, 8), 0.5))
    torch.testing.assert_close(result, torch.full_like(result, 0.5 * float(conv.weight.detach().sum())))


def test_blur_makes_a_strided_layer_steadier_under_a_shift():
    torch.manual_seed(0)
    x = torch.rand(8, 4, 32, 32)
    blurred = BlurConv2d(4, 4, 4, 2, 1, bias=False)
    plain = torch.nn.Conv2d(4, 4, 4, 2, 1, bias=False)
    plain.weight = blurred.weight

    @torch.no_grad()
    def change(layer):
        here, there = layer(x), layer(torch.roll(x, 1, 3))
        return float((there - here)[..., 2:-2, 2:-2].abs().mean() / here.abs().mean())

    assert change(blurred) < 0.8 * change(plain)


@pytest.mark.parametrize("mode", ["conv", "upsample", "pixelshuffle"])
def test_every_up_mode_doubles_the_size(mode):
    assert up_conv2d(mode, 6, 3, bias=True)(torch.randn(2, 6, 5, 5)).shape == (2, 3, 10, 10)


def test_icnr_starts_without_a_checkerboard():
    layer = PixelShuffleConv2d(4, 3, bias=True)
    init_weights(layer)
    image = layer(torch.randn(1, 4, 6, 6))
    quads = image.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    torch.testing.assert_close(quads, quads[..., :1].expand_as(quads))


def test_unknown_modes_are_refused():
    with pytest.raises(ValueError, match="up_mode 'nearest'"):
        UNetGenerator(image_size=64, ngf=2, up_mode="nearest")
    with pytest.raises(ValueError, match="norm_type 'layer'"):
        Discriminator(image_size=64, ndf=2, norm_type="layer")


@pytest.mark.parametrize("norm_type", ["batch", "instance"])
@pytest.mark.parametrize("up_mode", ["conv", "upsample", "pixelshuffle"])
@pytest.mark.parametrize("g_blur", [False, True])
def test_folded_norms_draw_the_same(norm_type, up_mode, g_blur):
    torch.manual_seed(0)
    net = UNetGenerator(image_size=64, ngf=4, embedding_num=2, norm_type=norm_type, up_mode=up_mode, g_blur=g_blur)
    net.double()
    x, label = torch.randn(3, 1, 64, 64, dtype=torch.float64), torch.tensor([0, 1, 0])
    for _ in range(3):
        net(x, label)  # statistics of its own
    net.eval()
    expected = net(x, label)[0]
    fold_norms(net)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d | torch.nn.InstanceNorm2d)]
    assert bool(norms) == (norm_type == "instance")
    torch.testing.assert_close(net(x, label)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_gradient_is_laid_out_as_the_map_is(memory_format):
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=memory_format).requires_grad_()
    seen = []
    x.register_hook(seen.append)
    y = ContiguousGradient()(x)
    torch.cat([x.detach(), y], 1).square().sum().backward()
    assert torch.equal(y, x) and torch.equal(seen[0], 2 * x)
    assert seen[0].stride() == x.stride()
