"""Muon: what its step is, and what it keeps."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from model import UNetGenerator, products
from model.muon import COEFFICIENTS, ITERATIONS, MOMENTUM, Muon, orthogonalizer
from model.products import Products


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    if len(matrix) > matrix.shape[1]:
        return orthogonalize(matrix.T).T
    return orthogonalizer(matrix @ matrix.T) @ matrix


class Small(nn.Module):
    """Three convolutions, one of them transposed, a norm and an embedding."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 4)
        self.conv = nn.Conv2d(4, 6, 4)
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 4)
        self.label = nn.Embedding(3, 5)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Small()


def give_gradients(net: nn.Module, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (12, 12)])
def test_orthogonalizing_brings_the_singular_values_near_one_and_keeps_the_directions(shape):
    torch.manual_seed(0)
    matrix = torch.randn(*shape, dtype=torch.float64)
    found = orthogonalize(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T  # in the basis of the singular vectors
    assert torch.allclose(inside, torch.diag(inside.diagonal()), atol=1e-9)


def test_iterating_the_gram_matrix_is_iterating_the_matrix():
    torch.manual_seed(0)
    matrix = torch.randn(6, 50, dtype=torch.float64)
    a, b, c = COEFFICIENTS
    expected = matrix / matrix.norm()
    for _ in range(ITERATIONS):
        gram = expected @ expected.T
        expected = a * expected + (b * gram + c * gram @ gram) @ expected
    assert torch.allclose(orthogonalize(matrix), expected, rtol=1e-9, atol=1e-12)


def test_a_matrix_without_any_gradient_stays_finite():
    assert orthogonalize(torch.zeros(3, 9)).abs().max() == 0


def test_a_step_is_as_long_as_the_learning_rate_whatever_the_gradient(net):
    before = copy.deepcopy(net.state_dict())
    optimizer = Muon(net, 0.01)
    give_gradients(net)
    net.conv.weight.grad *= 1e-6
    optimizer.step()
    for name in ("conv.weight", "up.weight"):
        change = (net.state_dict()[name] - before[name]).square().mean().sqrt()
        assert 0.007 < change < 0.012, name


def test_a_transposed_convolution_steps_as_the_convolution_of_its_outputs(net):
    mirrored = nn.Conv2d(6, 4, 4)
    mirrored.weight.data = net.up.weight.detach().transpose(0, 1).clone()
    give_gradients(net)
    mirrored.weight.grad = net.up.weight.grad.transpose(0, 1).clone()
    Muon(net, 0.01).step()
    Muon(mirrored, 0.01).step()
    assert torch.allclose(net.up.weight.transpose(0, 1), mirrored.weight, atol=1e-7)


def test_what_is_no_matrix_is_trained_by_adam(net):
    twin = copy.deepcopy(net)
    optimizer = Muon(net, 0.01, ends=[net.first])
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, betas=(0.5, 0.999), fused=True)
    for seed in range(3):
        give_gradients(net, seed)
        give_gradients(twin, seed)
        optimizer.step()
        adam.step()
    alike = {name for name, value in net.state_dict().items() if torch.equal(value, twin.state_dict()[name])}
    assert set(net.state_dict()) - alike == {"conv.weight", "up.weight"}


def test_momentum_looks_ahead(net):
    """The step of a matrix follows Nesterov's momentum: after two opposite gradients, the newer one's direction."""
    optimizer = Muon(net, 0.01)
    gradient = torch.randn(net.conv.weight.shape, generator=torch.Generator().manual_seed(3))
    momentum = torch.zeros_like(gradient)
    for sign in (1, -3):
        before = net.conv.weight.detach().clone()
        net.conv.weight.grad = sign * gradient
        optimizer.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * sign * gradient
        ahead = MOMENTUM * momentum + (1 - MOMENTUM) * sign * gradient
        expected = -0.01 * 64**0.5 * orthogonalize(ahead.reshape(6, 64)).reshape(gradient.shape)
        assert torch.allclose(net.conv.weight - before, expected, atol=1e-6)


def test_what_has_no_gradient_stays_as_it_is_and_has_no_state(net):
    before = copy.deepcopy(net.state_dict())
    optimizer = Muon(net, 0.01)
    give_gradients(net)
    net.conv.weight.grad = net.norm.weight.grad = None
    optimizer.step()
    assert torch.equal(net.conv.weight, before["conv.weight"]) and torch.equal(net.norm.weight, before["norm.weight"])
    assert not torch.equal(net.up.weight, before["up.weight"])
    assert net.conv.weight not in optimizer.state


def test_what_takes_in_and_gives_out_images_is_trained_by_adam(net):
    names = [name for name, _ in net.named_parameters()]
    for ends, expected in (([], {"first.weight", "conv.weight", "up.weight"}), ([net.first, net.up], {"conv.weight"})):
        optimizer = Muon(net, 0.01, ends)
        give_gradients(net)
        optimizer.step()
        by_muon = {names[n] for n, state in optimizer.state_dict()["state"].items() if "momentum" in state}
        assert by_muon == expected


@pytest.mark.parametrize("up_mode", ["conv", "upsample", "pixelshuffle"])
@pytest.mark.parametrize("input_nc", [1, 3])
def test_the_ends_of_the_generator_are_found(up_mode, input_nc):
    net = UNetGenerator(input_nc=input_nc, ngf=8, image_size=64, up_mode=up_mode, g_blur=True)
    first, last = net.ends()
    assert first.weight.shape[1] == input_nc
    assert last.weight.shape[int(up_mode == "conv")] == input_nc * (4 if up_mode == "pixelshuffle" else 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_changes_no_step(net, layout):
    twin = copy.deepcopy(net).to(memory_format=layout)
    for module in (net, twin):
        give_gradients(module)
        Muon(module, 0.01).step()
    for found, expected in zip(twin.parameters(), net.parameters(), strict=True):
        assert found.stride() == twin_stride(found, layout)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def twin_stride(tensor: torch.Tensor, layout: torch.memory_format) -> tuple[int, ...]:
    return torch.empty(tensor.shape, memory_format=layout if tensor.ndim == 4 else torch.contiguous_format).stride()


def test_processes_that_share_the_work_step_alike(monkeypatch):
    """Each computes its part, and what they add up is small."""
    monkeypatch.setattr(products, "_trial_of_onednn", lambda: (False, False))  # which goes by time
    torch.manual_seed(0)
    net = UNetGenerator(ngf=4, image_size=64, embedding_num=1, embedding_dim=4)
    nets = [copy.deepcopy(net) for _ in range(4)]
    optimizers = [Muon(each, 0.01, each.ends()) for each in nets]
    brought, sizes = [], []
    for rank, optimizer in enumerate(optimizers[:3]):
        optimizer.distribute(rank, 3, lambda values: brought.append(values.clone()))
    assert len({float(votes) for votes in brought}) == 1
    brought.clear()
    for each, optimizer in zip(nets[:3], optimizers, strict=False):
        give_gradients(each)
        optimizer.step()
    total = sum(brought)
    sizes = [values.numel() for values in brought]
    assert sizes == [sizes[0]] * 3 and sizes[0] < sum(p.numel() for p in net.parameters()) / 4
    assert all(0 < (values != 0).sum() < sizes[0] for values in brought)
    for rank, each in enumerate(nets[:3]):
        each.load_state_dict(net.state_dict())
        optimizer = Muon(each, 0.01, each.ends())
        optimizer.distribute(rank, 3, lambda values: values.mul_(3) if values.ndim == 0 else values.copy_(total))
        give_gradients(each)
        optimizer.step()
    give_gradients(nets[3])
    optimizers[3].step()
    for each in nets[:3]:
        assert all(torch.equal(a, b) for a, b in zip(each.parameters(), nets[3].parameters(), strict=True))


def test_processes_agree_on_where_they_multiply(net, monkeypatch):
    monkeypatch.setattr(products, "_trial_of_onednn", lambda: (True, True))
    for willing in (2, 3):
        optimizer = Muon(net, 0.01)
        assert optimizer.products.in_onednn
        optimizer.distribute(0, 3, lambda values, willing=willing: values.fill_(willing))
        assert optimizer.products.in_onednn == (willing == 3)


def test_many_at_once_are_made_orthogonal_as_one_by_one():
    torch.manual_seed(0)
    grams = torch.stack([m @ m.T for m in torch.randn(3, 8, 40, dtype=torch.float64)])
    torch.testing.assert_close(orthogonalizer(grams), torch.stack([*map(orthogonalizer, grams)]))


def test_rounding_the_factors_of_long_products_hardly_turns_a_step():
    """Of a matrix whose singular values fall off as a momentum's do."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 128, dtype=torch.float64))[0] for n in (128, 4096))
    matrix = (left * torch.logspace(0, -2, 128, dtype=torch.float64)) @ right.T
    expected = orthogonalize(matrix)
    found = []
    for rounding in (None, torch.bfloat16):
        ways = Products(torch.device("cpu"), rounding)
        factor = ways.factor(matrix.float())
        target = torch.zeros_like(factor)
        with ways.exact():
            root = orthogonalizer(ways.gram(factor))
        ways.add_(target, root, factor, 1.0)
        found.append(torch.nn.functional.cosine_similarity(target.double().flatten(), expected.flatten(), 0))
    assert found[0] > 1 - 1e-6 and found[1] > 0.999


def test_products_leave_the_settings_of_torch_as_they_are():
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    before = matmul and matmul.fp32_precision
    for rounding in (None, torch.bfloat16):
        ways = Products(torch.device("cpu"), rounding)
        with ways.exact():
            ways.add_(torch.zeros(600, 600), torch.ones(600, 600), torch.ones(600, 600), 1.0)
        assert (matmul and matmul.fp32_precision) == before


@pytest.mark.parametrize(("is_exact", "is_fast"), [(True, True), (True, False), (False, True), (False, False)])
def test_what_a_processor_is_good_at_decides_where_it_multiplies(is_exact, is_fast, monkeypatch):
    entered = []

    @contextlib.contextmanager
    def in_onednn():
        entered.append(True)
        yield

    monkeypatch.setattr(products, "_trial_of_onednn", lambda: (is_exact, is_fast))
    monkeypatch.setattr(products, "_in_onednn", in_onednn)
    for rounding, expected in ((None, is_exact and is_fast), (torch.bfloat16, is_fast)):
        for values, wanted in ((600**2, expected), (16, is_exact and is_fast)):
            entered.clear()
            Products(torch.device("cpu"), rounding).gram(torch.ones(4, values // 4))
            assert bool(entered) == wanted


def test_a_state_is_loaded_to_where_its_parameters_are(net):
    """Also the count of steps, which fused Adam wants on the device of the parameters and in float32."""
    optimizer = Muon(net, 0.01)
    give_gradients(net)
    optimizer.step()
    state = optimizer.state_dict()
    for moments in state["state"].values():
        moments["step"] = moments["step"].half()
    elsewhere = Muon(copy.deepcopy(net).to("meta"), 0.01)
    elsewhere.param_groups[0]["fused"] = True  # as on CUDA
    elsewhere.load_state_dict({"state": state["state"], "param_groups": elsewhere.state_dict()["param_groups"]})
    for moments in elsewhere.state.values():
        assert {(tensor.device.type, tensor.dtype) for tensor in moments.values()} == {("meta", torch.float32)}


def test_a_state_that_is_saved_and_loaded_goes_on_alike(net):
    optimizer = Muon(net, 0.01)
    give_gradients(net)
    optimizer.step()
    twin = copy.deepcopy(net)
    resumed = Muon(twin, 0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for module, its in ((net, optimizer), (twin, resumed)):
        give_gradients(module, 5)
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
