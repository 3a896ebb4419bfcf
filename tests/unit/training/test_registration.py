"""Finding where a target has the strokes of a source."""

import csv
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from model import losses
from model.deform import GRID, deformed
from model.losses import known_mse_loss
from tests.helpers.models import tiny_batch, tiny_model
from tests.helpers.scripts import run_train
from utils.data.font_pairs import FontData, Split
from utils.data.loader import TrainingPairs, carried, collate
from utils.glyphs.placement import Movement, on_canvas
from utils.glyphs.render import GlyphRenderer
from utils.images import to_float, to_uint8
from utils.metrics import ink_iou
from utils.training import trainer
from utils.training.registration import register

CHARACTERS = "國是的不一三中大學生"


@pytest.fixture(scope="module")
def glyphs() -> np.ndarray:
    font = GlyphRenderer("bundled:source.otf")
    return np.stack([font.render(character, 128) for character in CHARACTERS])


def bent(count: int) -> torch.Tensor:
    """A smooth deformation: larger to the right, and the upper half pulled down."""
    line = torch.linspace(-1, 1, GRID)
    x, y = torch.meshgrid(line, line, indexing="xy")
    return torch.stack([0.1 * x, -0.08 * (1 - y)])[None].expand(count, -1, -1, -1)


def moved(glyphs: np.ndarray, deformation: torch.Tensor) -> np.ndarray:
    return to_uint8(deformed(to_float(torch.from_numpy(glyphs.copy())), deformation))


@pytest.mark.parametrize("size", [64, 96, 128])
def test_a_deformation_is_found_from_the_glyphs_alone(glyphs, size):
    source = np.stack([np.asarray(Image.fromarray(glyph).resize((size, size))) for glyph in glyphs])
    target = moved(source, bent(len(source)))
    found = register(torch.from_numpy(source), torch.from_numpy(target))
    assert found.shape == (len(source), 2, GRID, GRID)
    assert not found.requires_grad
    before, after = ink_iou(source, target), ink_iou(moved(source, found), target)
    assert before < 0.45
    assert after > 0.8


def test_it_is_the_same_every_time(glyphs):
    source, target = torch.from_numpy(glyphs), torch.from_numpy(moved(glyphs, bent(len(glyphs))))
    assert torch.equal(register(source, target), register(source, target))


def test_heavier_strokes_in_the_same_places_stay_there(glyphs):
    heavy = np.minimum(np.minimum(glyphs, np.roll(glyphs, 1, 1)), np.roll(glyphs, -1, 1))
    assert register(torch.from_numpy(glyphs), torch.from_numpy(heavy)).abs().max() < 0.05


def test_nothing_moves_to_or_from_a_blank_glyph(glyphs):
    blank = torch.full_like(torch.from_numpy(glyphs), 255)
    for pair in ((torch.from_numpy(glyphs), blank), (blank, torch.from_numpy(glyphs)), (blank, blank)):
        assert not register(*pair).any()


@pytest.mark.parametrize("move", [Movement(), Movement(0.95, 0.05, -0.06, 1.04, 0.02, -0.03)])
def test_a_deformation_moves_with_its_glyphs(glyphs, move):
    deformation = bent(1)
    target = moved(glyphs[:1], deformation)
    both = [on_canvas(Image.fromarray(glyph[0]), 128, 0, 0, 1, move)[None] for glyph in (glyphs[:1], target)]
    carried_too = torch.from_numpy(carried(deformation[0].numpy(), move))[None]
    assert ink_iou(moved(both[0], carried_too), both[1]) > 0.93
    assert carried_too.dtype == torch.float32


def test_items_have_the_deformations_of_their_pairs():
    data = FontData.from_fonts("bundled:source.otf", ["bundled:target.ttf"], [], None, Split(0.1, 777))
    pairs = TrainingPairs(data, 64)
    assert len(pairs[0, 1]) == 3
    pairs.deformations = np.stack([np.full((2, GRID, GRID), number, np.float32) for number in range(len(pairs))])
    label, source, target, deformation = collate(pairs.__getitems__([(0, 1), (0, 0)]))
    assert len(label) == len(source) == len(target) == 2
    assert deformation[:, 0, 0, 0].tolist() == [1, 0]


def test_of_many_pairs_some_are_aligned_and_the_others_learn_without(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trainer, "MOST_ALIGNED", 20)
    seen = []

    def loss(found, goal):
        known = ~goal.isnan().flatten(1).any(1)
        seen.extend(known.tolist())
        return known_mse_loss(found, goal)

    monkeypatch.setattr(losses, "known_mse_loss", loss)
    assert run_train(tmp_path / "run", "--deform", "--max_steps", 5, "--batch_size", 16) == 0
    assert "aligning the strokes of 20 of " in capsys.readouterr().out
    assert 0 < sum(seen) < len(seen)


def test_a_glyph_whose_strokes_are_not_aligned_is_drawn_from_where_they_are_found():
    model = tiny_model(deform=True)
    with torch.no_grad():
        model.netG.deformer.out.bias.fill_(0.5)
    label, source, _ = tiny_batch()
    model.netG.eval()
    known = torch.zeros(len(source), 2, GRID, GRID)
    known[0] = torch.nan
    drawn, _, _ = model.netG(source, label, known)
    free, _ = model.netG(source, label)
    assert torch.equal(drawn[0], free[0])
    assert not torch.equal(drawn[1], free[1])


def test_the_error_of_what_is_not_known_does_not_count():
    goal = torch.tensor([[1.0, 2.0], [torch.nan, torch.nan]])
    found = torch.tensor([[1.0, 4.0], [7.0, 7.0]], requires_grad=True)
    loss = known_mse_loss(found, goal)
    loss.backward()
    assert loss.item() == 2.0
    assert found.grad.tolist() == [[0.0, 2.0], [0.0, 0.0]]
    assert known_mse_loss(found, goal * torch.nan).item() == 0.0


def test_a_signal_while_strokes_are_aligned_ends_the_run_before_it_began(tmp_path, capsys, monkeypatch):
    def stopped(data, pairs, image_size, device):
        os.kill(os.getpid(), signal.SIGTERM)
        yield np.zeros((16, 2, GRID, GRID), np.float32)
        pytest.fail("it went on")

    monkeypatch.setattr(trainer, "register_pairs", stopped)
    assert run_train(tmp_path / "run", "--deform", "--max_steps", 1) == 128 + signal.SIGTERM
    assert "stopped before the first step of this run" in capsys.readouterr().out
    assert not list((tmp_path / "run" / "checkpoint").iterdir())


def test_a_run_learns_where_strokes_lie(tmp_path, capsys):
    flags = ["--deform", "--max_steps", 20, "--batch_size", 8]
    assert run_train(tmp_path / "with", *flags) == 0
    assert "pixels from the source's, on average" in capsys.readouterr().out
    with (tmp_path / "with" / "losses.csv").open() as file:
        losses = [float(row["deform_loss"]) for row in csv.DictReader(file)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert run_train(tmp_path / "without", *flags, "--max_steps", 1, "--no-deform") == 0
    assert "deform" not in (tmp_path / "without" / "losses.csv").read_text()
