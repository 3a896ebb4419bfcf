"""Muon: what its step is, and what it keeps."""

import copy

import pytest
import torch
from torch import nn

from model import UNetGenerator
from model.muon import COEFFICIENTS, ITERATIONS, MOMENTUM, Muon, orthogonalize


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
