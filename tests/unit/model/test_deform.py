"""Moving strokes before they are drawn."""

import pytest
import torch

from model import Zi2ZiConfig, Zi2ZiModel
from model.deform import GRID, Deformer, deformed
from tests.helpers.models import TINY, tiny_batch, tiny_model

DEFORMING = {"generator": "residual", "up_mode": "upsample", "deform": True, "dropout": 0.0}


def bars(size: int = 64) -> torch.Tensor:
    """A soft picture [1, 1, S, S] of three bars, far from the border."""
    image = torch.ones(1, 1, size, size)
    for row in (size // 4, size // 2, 5 * size // 8):
        image[..., row : row + 3, size // 4 : 3 * size // 4] = -1.0
    return image


def constant(x: float, y: float, count: int = 1) -> torch.Tensor:
    return torch.tensor([float(x), float(y)])[None, :, None, None].expand(count, 2, GRID, GRID)


def test_nothing_moves_without_a_displacement():
    torch.testing.assert_close(deformed(bars(), constant(0, 0)), bars(), rtol=0, atol=1e-4)


def test_what_is_seen_comes_from_a_displacement_away():
    down_and_right = deformed(bars(), constant(-2 * 5 / 64, -2 * 8 / 64))
    torch.testing.assert_close(down_and_right, bars().roll((8, 5), (2, 3)), rtol=0, atol=1e-3)


def test_beyond_the_border_there_is_paper():
    black = torch.full((1, 1, 64, 64), -1.0)
    moved = deformed(black, constant(1.0, 0))
    assert (moved[..., :31] < -0.99).all()
    assert (moved[..., 33:] > 0.99).all()


@pytest.mark.parametrize("size", [64, 96, 128, 192, 1024])
@pytest.mark.parametrize("norm_type", ["batch", "instance"])
def test_a_new_one_moves_nothing(size, norm_type):
    found = Deformer(8, norm_type, blur=True).eval()(torch.rand(2, 3, size, size), torch.rand(2, 8))
    assert found.shape == (2, 2, GRID, GRID)
    assert not found.any()


def test_the_strokes_are_moved_before_they_are_drawn():
    model = tiny_model(**DEFORMING)
    _, source, _ = tiny_batch(2)
    label = torch.zeros(2, dtype=torch.int64)
    still = model.sample(source, label, "raw")
    with torch.no_grad():
        model.netG.deformer.out.bias[0] = 1.0
    moved = model.sample(source, label, "raw")
    assert not torch.equal(still, moved)
    expected = model.sample(deformed(source, constant(0.1, 0, 2)), label, "raw")
    with torch.no_grad():
        model.netG.deformer.out.bias[0] = 0.0
    torch.testing.assert_close(moved, model.sample(deformed(source, constant(0.1, 0, 2)), label, "raw"))
    assert not torch.equal(moved, expected)


@pytest.mark.parametrize("accum_steps", [1, 2])
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_where_strokes_lie_is_learned_beside_the_drawing(accum_steps, optimizer):
    model = tiny_model(**DEFORMING, optimizer=optimizer, Ladv_penalty=0.0, Lconst_penalty=0.0, accum_steps=accum_steps)
    label, source, target = tiny_batch(4)
    losses = []
    for step in range(60):
        model.set_input(label, source, target, constant(0.05, -0.03, 4))
        losses.append({name: float(loss) for name, loss in model.optimize_parameters(seed=step).items()})
    assert losses[0]["g_loss"] == pytest.approx(losses[0]["l1_loss"] + losses[0]["deform_loss"], rel=1e-5)
    assert losses[0]["deform_loss"] == pytest.approx(1000 * (0.05**2 + 0.03**2) / 2, rel=1e-3)
    assert losses[-1]["deform_loss"] < 0.2 * losses[0]["deform_loss"]


def test_the_drawing_teaches_nothing_about_where_strokes_lie():
    model = tiny_model(**DEFORMING, Ladv_penalty=0.0, Lconst_penalty=0.0)
    model.set_input(*tiny_batch(4))
    losses = model.optimize_parameters(seed=1)
    assert losses.keys() == {"g_loss", "l1_loss"}
    assert all(weight.grad is None for weight in model.netG.deformer.parameters())


def test_labels_may_have_their_strokes_in_different_places():
    model = Zi2ZiModel(Zi2ZiConfig(**TINY | DEFORMING | {"embedding_num": 2}), is_training=False)
    with torch.no_grad():
        torch.nn.init.normal_(model.netG.deformer.out.weight)
        model.netG.embedder.weight.mul_(10)
    image = bars().expand(2, -1, -1, -1)
    style = model.netG.embedder(torch.tensor([0, 1]))
    found = model.netG.deformer(image, style)
    assert not torch.allclose(found[0], found[1])
