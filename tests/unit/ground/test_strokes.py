"""The measures of strokes: against shapes whose true values are known, and three controls."""

import math

import numpy as np
import pytest
from scipy import ndimage

from utils import strokes
from utils.glyphs.placement import Movement
from utils.glyphs.render import GlyphRenderer
from utils.outlines import level_lines

SIDE, FINE = 128, 8  # pixels, and how much finer a shape is painted


def painted(inside) -> np.ndarray:
    """A shape as a picture without aliasing; `inside(x, y)` tells where ink is, in pixels."""
    at = (np.arange(SIDE * FINE) + 0.5) / FINE
    x, y = np.meshgrid(at, at)
    share = inside(x, y).reshape(SIDE, FINE, SIDE, FINE).mean((1, 3))
    return (255 - 255 * share).round().astype(np.uint8)


def bar(width: float, degrees: float) -> np.ndarray:
    """A straight stroke through the middle."""
    angle = math.radians(degrees)

    def inside(x, y):
        along = (x - 64) * math.cos(angle) + (y - 64) * math.sin(angle)
        across = -(x - 64) * math.sin(angle) + (y - 64) * math.cos(angle)
        return (np.abs(along) < 45) & (np.abs(across) < width / 2)

    return painted(inside)


def disc(radius: float, hole: float = 0.0) -> np.ndarray:
    return painted(lambda x, y: (np.hypot(x - 64, y - 64) < radius) & (np.hypot(x - 64, y - 64) >= hole))


@pytest.fixture(scope="module")
def glyphs() -> tuple[np.ndarray, np.ndarray]:
    """Ten glyphs of the bundled source and of the bundled target."""
    fonts = [GlyphRenderer(f"bundled:{name}") for name in ("source.otf", "target.ttf")]
    characters = [c for c in fonts[0].covered() if ord(c) > 0x4E00 and fonts[1].covers(c)][:300:30]
    source, target = (np.stack([font.render(c, SIDE) for c in characters]) for font in fonts)
    return source, target


def scored(drawn: np.ndarray, glyphs: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    return strokes.score_all({"drawn": drawn}, glyphs[1], glyphs[0])["drawn"]


def test_the_width_of_straight_strokes_is_known_to_half_a_percent():
    angles = range(0, 180, 17)
    thin, thick = ([strokes.strokes(bar(width, degrees)) for degrees in angles] for width in (8.0, 8.6))
    assert strokes.stroke_width(thick, thin) == pytest.approx(8.6 / 8.0, rel=0.005)


@pytest.mark.parametrize("scale", [0.93, 1.05])
def test_the_width_of_a_font_that_is_scaled_is_known_to_half_a_percent(scale):
    font = GlyphRenderer("bundled:target.ttf")
    characters = [c for c in font.covered() if ord(c) > 0x4E00][:300:10]
    moves = (None, Movement.scaling(scale))
    plain, scaled = ([strokes.strokes(font.render(c, SIDE, move)) for c in characters] for move in moves)
    assert strokes.stroke_width(scaled, plain) == pytest.approx(scale, rel=0.005)


def test_a_disc_turns_once_and_a_ring_has_two_contours():
    count, length, turning = strokes.outline_turning(level_lines(disc(40)))
    assert count == 1
    assert length == pytest.approx(80 * math.pi, rel=0.005)
    assert 0 <= turning < 2  # of 6.28; the rest are the steps of pixels
    assert strokes.strokes(disc(40, hole=20)).contours == 2


def test_waves_on_the_edge_are_rough():
    def wavy(depth):
        return painted(lambda x, y: np.hypot(x - 64, y - 64) < 40 + depth * np.sin(16 * np.arctan2(y - 64, x - 64)))

    rough = [strokes.roughness([strokes.strokes(wavy(depth))], [strokes.strokes(wavy(0.3))]) for depth in (0.6, 1.2)]
    assert 1.5 < rough[0] < rough[1]


def test_the_truth_has_the_best_score_and_every_control_loses_clearly(glyphs):
    source, target = glyphs
    blurred = ndimage.gaussian_filter(target.astype(float), (0, 0.8, 0.8))
    sharpened = np.clip((blurred - 127.5) * 2 + 127.5, 0, 255).round().astype(np.uint8)
    truth, copy, soft = (scored(drawn, glyphs) for drawn in (target, source, sharpened))
    assert truth["stroke_score"] == truth["stroke_width"] == truth["contours_right"] == truth["nearness"] == 1
    assert copy["nearness"] == 0
    assert copy["stroke_score"] < 0.6
    assert soft["stroke_score"] < 0.98
    assert soft["nearness"] == 1


def test_blank_drawings_score_nothing_and_are_numbers(glyphs):
    found = scored(np.full_like(glyphs[1], 255), glyphs)
    assert all(math.isfinite(value) for value in found.values())
    assert found["stroke_width"] == found["outline_length"] == found["ink"] == 0
    assert found["stroke_score"] < 0.01


def test_the_sparse_and_the_dense_third_are_told_apart(glyphs):
    """Drawings that are too heavy only where strokes are many."""
    target = glyphs[1]
    true = [strokes.strokes(glyph) for glyph in target]
    _, dense = strokes.by_density(true)
    drawn = list(true)
    for i in dense:
        drawn[i] = strokes.strokes(ndimage.minimum_filter(target[i], 2))
    found = strokes.score_strokes(drawn, true)
    assert found["stroke_width_sparse"] == 1
    assert found["stroke_width_dense"] > 1.1
