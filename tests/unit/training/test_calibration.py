"""The bias and the sharpness that a step is drawn with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.helpers.scripts import run_train
from utils.experiment.calibration import Calibration, read_calibrations
from utils.glyphs.render import GlyphRenderer
from utils.images import to_uint8
from utils.metrics import greyness
from utils.strokes import stroke_width, strokes
from utils.training.calibration import TRAINED_WIDTH, Calibrator, find, measured, pairs_to_look_at

CHARACTERS = "國是的不一三中大學生"
SIDE = 128  # pixels of a side


@pytest.fixture(scope="module")
def glyphs() -> np.ndarray:
    font = GlyphRenderer("bundled:target.ttf")
    return np.stack([font.render(character, SIDE) for character in CHARACTERS])


def field_of(glyphs: np.ndarray, heavier: float, steepness: float) -> torch.Tensor:
    """A field whose pictures are glyphs that are blurred, too crisp or not enough, and too heavy."""
    soft = ndimage.gaussian_filter(1 - glyphs / 127.5, (0, 0.8, 0.8))
    return -torch.from_numpy(steepness * (np.arctanh(soft.clip(-0.999, 0.999)) + heavier))[:, None].float()


@pytest.mark.parametrize("heavier", [-0.5, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("steepness", [0.5, 2.0])
def test_strokes_become_as_wide_and_edges_as_crisp_as_the_true_ones(glyphs, heavier, steepness):
    field = field_of(glyphs, heavier, steepness)
    found = find(field, measured(glyphs))
    drawn = to_uint8(torch.tanh(found.sharpness * field + found.bias))
    true = [strokes(glyph) for glyph in glyphs]
    assert stroke_width([strokes(glyph) for glyph in drawn], true) == pytest.approx(1, abs=0.02)
    assert greyness(drawn, glyphs) == pytest.approx(1, abs=0.02)
    plain = to_uint8(torch.tanh(field))
    if heavier > 0:
        assert stroke_width([strokes(glyph) for glyph in plain], true) > 1.04
        assert found.bias > 0


def test_what_is_given_stays(glyphs):
    field = field_of(glyphs, 1.0, 2.0)
    both, bias, sharpness = (
        find(field, measured(glyphs), 1.0, *given) for given in ((0.3, 2.5), (0.3, None), (None, 2.5))
    )
    assert both == Calibration(0.3, 2.5)
    assert bias.bias == 0.3
    assert bias.sharpness != 2.5
    assert sharpness.sharpness == 2.5
    assert sharpness.bias > 1


def test_another_width_can_be_asked_for(glyphs):
    field = field_of(glyphs, 0.0, 2.0)
    found = find(field, measured(glyphs), 0.9)
    drawn = to_uint8(torch.tanh(found.sharpness * field + found.bias))
    widths = ([strokes(glyph) for glyph in images] for images in (drawn, glyphs))
    assert stroke_width(*widths) == pytest.approx(0.9, abs=0.025)


@pytest.mark.parametrize("what", ["blank", "black", "not finite", "no truth"])
def test_what_is_no_drawing_yet_is_left_as_it_is(glyphs, what):
    field = field_of(glyphs, 0.0, 2.0)
    values = {"blank": 5.0, "black": -5.0, "not finite": torch.nan}
    if what in values:
        field = torch.full_like(field, values[what])
    found = find(field, measured(np.full_like(glyphs, 255) if what == "no truth" else glyphs))
    assert np.isfinite([found.bias, found.sharpness]).all()
    if what != "black":
        assert found == Calibration()


class Data:
    """Pairs of two labels, the source being the target: label 0 has some for validation, label 1 none."""

    labels = ("one", "two")

    def __init__(self, glyphs: np.ndarray):
        self.glyphs = dict(zip(CHARACTERS, glyphs, strict=True))
        self.train_pairs = [(label, c) for label, chosen in enumerate((CHARACTERS, CHARACTERS[5:])) for c in chosen]

    def validation_keys(self, ratio: float, seed: int) -> set:
        return set(CHARACTERS[: round(ratio * len(CHARACTERS))])

    def render_pairs(self, pairs, image_size: int):
        glyphs = np.stack([self.glyphs[character] for _, character in pairs])
        return glyphs, glyphs


class Model:
    """Draws a field whose strokes are wider than the source's, in label 1 more so."""

    device = torch.device("cpu")
    config = SimpleNamespace(image_size=SIDE, input_nc=1, embedding_num=3)

    def __init__(self):
        self.tables: dict[str, torch.Tensor | None] = {}

    def kinds(self) -> list[str]:
        return ["raw", "ema"]

    def calibrate(self, table, kind: str) -> None:
        self.tables[kind] = table

    def field(self, pixels, label, weights: str) -> torch.Tensor:
        assert self.tables[weights] is None, "what is found is found without what was found before"
        return field_of(to_uint8(pixels), 0.4 + 0.4 * int(label[0]), 1.0 if weights == "raw" else 2.0)


def test_each_label_is_calibrated_by_its_own_pairs_for_validation_where_there_are_some(glyphs):
    looked_at = pairs_to_look_at(Data(glyphs), 0.5, 777)
    assert looked_at == [([(0, c) for c in CHARACTERS[:5]], False), ([(1, c) for c in CHARACTERS[5:]], True)]
    assert [is_trained for _, is_trained in pairs_to_look_at(Data(glyphs), 0.3, 777)] == [True, True]


def test_every_kind_of_weights_is_calibrated_for_every_label(glyphs):
    model, data = Model(), Data(glyphs)
    Calibrator(model, data, pairs_to_look_at(data, 0.5, 777)).calibrate()
    for kind, steepness in (("raw", 1.0), ("ema", 2.0)):
        rows = model.tables[kind].tolist()
        assert rows[2] == [0, 1], "a label that was not trained"
        for label, width in ((0, 1.0), (1, TRAINED_WIDTH)):
            own = np.stack([data.glyphs[c] for c in (CHARACTERS[:5], CHARACTERS[5:])[label]])
            expected = find(field_of(own, 0.4 + 0.4 * label, steepness), measured(own), width)
            assert rows[label] == pytest.approx([expected.bias, expected.sharpness])
    before = model.tables["raw"]
    Calibrator(model, data, pairs_to_look_at(data, 0.5, 777), 0.2, 3.0).calibrate(["ema"])
    torch.testing.assert_close(model.tables["ema"], torch.tensor([[0.2, 3.0], [0.2, 3.0], [0.0, 1.0]]))
    assert model.tables["raw"] is before


def test_a_run_writes_what_each_step_is_drawn_with(tmp_path, trained):
    for step in (6, 12):
        found = read_calibrations(trained / "checkpoint" / f"{step}_draw.json")
        assert found.keys() == {"raw", "ema"}
        assert all(len(labels) == 1 for labels in found.values())
    flags = ["--max_steps", 1, "--weight_bias", 0.3, "--sharpness", 2]
    assert run_train(tmp_path, *flags) == 0
    assert read_calibrations(tmp_path / "checkpoint" / "1_draw.json")["ema"] == [Calibration(0.3, 2.0)]
