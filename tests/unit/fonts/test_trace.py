"""From pictures to outlines."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.helpers.scripts import run_infer
from utils import metrics
from utils.fonts.fit import Contour, Lattice
from utils.fonts.trace import to_svg, trace
from utils.glyphs.render import GlyphRenderer
from utils.outlines import area

FINE = 16  # times finer than the picture, to paint it without aliasing
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of x and y, whether they are within


def painted(*shapes: Shape, side: int = 128) -> np.ndarray:
    """A picture of shapes, anti-aliased: the first is black, what is within two of them white, and so on."""
    at = (np.arange(side * FINE) + 0.5) / FINE
    x, y = np.meshgrid(at, at)
    ink = np.zeros((side * FINE, side * FINE), bool)
    for shape in shapes:
        ink ^= shape(x, y)
    share = ink.reshape(side, FINE, side, FINE).mean((1, 3))
    return np.round(255 * (1 - share)).astype(np.uint8)


def disc(centre_x: float, centre_y: float, radius: float) -> Shape:
    return lambda x, y: (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2


def polygon(*corners: tuple[float, float]) -> Shape:
    """A convex polygon, its corners clockwise with y downwards."""

    def within(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sides = zip(corners, [*corners[1:], corners[0]], strict=True)
        return np.all([(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0 for (x0, y0), (x1, y1) in sides], axis=0)

    return within


def ends(contour: Contour) -> np.ndarray:
    return np.array([segment.end for segment in contour.segments])


def flattened(contour: Contour) -> np.ndarray:
    """Points along a contour."""
    points, start = [], np.array(contour.start)
    for end, controls in contour.segments:
        p0, p3, t = start, np.array(end), np.linspace(0, 1, 20)[1:, None]
        p1, p2 = (np.array(c) for c in controls) if controls else (p0 + (p3 - p0) / 3, p0 + (p3 - p0) * 2 / 3)
        points.append((1 - t) ** 3 * p0 + 3 * t * (1 - t) ** 2 * p1 + 3 * t**2 * (1 - t) * p2 + t**3 * p3)
        start = p3
    return np.concatenate(points)


def test_a_tilted_square_has_four_straight_sides_and_its_true_corners():
    corners = [(30.3, 20.7), (100.2, 34.1), (86.8, 104.0), (16.9, 90.6)]
    (contour,) = trace(painted(polygon(*corners)))
    assert len(contour.segments) == 4
    assert all(segment.controls is None for segment in contour.segments)
    distances = np.linalg.norm(ends(contour)[:, None] - np.array(corners), axis=2)
    assert distances.min(0).max() < 0.1
    assert distances.min(1).max() < 0.1


def test_a_disc_is_a_few_curves_cut_at_its_extremes():
    (contour,) = trace(painted(disc(64.3, 61.8, 40)))
    assert all(segment.controls for segment in contour.segments)
    assert len(contour.segments) <= 8
    radii = np.linalg.norm(flattened(contour) - (64.3, 61.8), axis=1)
    assert np.abs(radii - 40).max() < 0.15
    for extreme in ((24.3, 61.8), (104.3, 61.8), (64.3, 21.8), (64.3, 101.8)):
        assert np.linalg.norm(ends(contour) - extreme, axis=1).min() < 1.5
        assert np.abs(ends(contour) - extreme).min(1).min() < 0.1


def test_holes_turn_the_other_way_round():
    contours = trace(painted(disc(64, 64, 50), disc(64, 64, 30), disc(64, 64, 12)))
    areas = sorted(area(flattened(contour)) for contour in contours)
    expected = sorted(sign * np.pi * radius**2 for sign, radius in ((1, 50), (-1, 30), (1, 12)))
    assert np.sign(areas).tolist() in ([-1, 1, 1], [-1, -1, 1])
    assert np.abs(areas) == pytest.approx(np.abs(expected), rel=0.01)


def test_specks_and_blank_pictures_have_no_outline():
    assert trace(np.full((64, 64), 255, np.uint8)) == []
    assert trace(painted(polygon((10, 10), (11, 10), (11, 11), (10, 11)))) == []


def test_ink_at_the_border_is_closed_there():
    (contour,) = trace(np.zeros((64, 64), np.uint8))
    box = np.concatenate([ends(contour).min(0), ends(contour).max(0)])
    assert box == pytest.approx([0, 0, 64, 64], abs=0.6)


def test_segments_end_on_the_lattice():
    lattice = Lattice(0.22, 0.07, 0.13)
    contours = trace(painted(disc(64, 64, 40), polygon((50, 50), (80, 55), (70, 80))), lattice=lattice)
    for contour in contours:
        steps = (ends(contour) - (lattice.x, lattice.y)) / lattice.step
        assert np.abs(steps - np.round(steps)).max() < 1e-9


def test_real_glyphs_are_drawn_again_with_few_points():
    """The bundled fonts at 256 px: within what is promised of traced fonts, before any rounding to units."""
    font = GlyphRenderer("bundled:target.ttf")
    characters = [chr(codepoint) for codepoint in font.codepoints() if codepoint > 0x4E00][:12]
    for character in characters:
        true = font.render(character, 256)
        contours = trace(true)
        image = Image.new("1", (256 * 8, 256 * 8), 1)
        ink = np.zeros((256 * 8, 256 * 8), bool)
        for contour in contours:
            one = image.copy()
            ImageDraw.Draw(one).polygon([tuple(p) for p in flattened(contour) * 8], fill=0)
            ink ^= ~np.asarray(one)
        drawn = 255 - np.asarray(Image.fromarray(ink.astype(np.uint8) * 255).resize((256, 256), Image.Resampling.BOX))
        assert metrics.ink_iou(drawn[None], true[None]) > 0.97
        assert metrics.l1(drawn[None], true[None]) < 0.006
        assert sum(contour.points() for contour in contours) < 600


def test_svg_of_a_square():
    svg = to_svg(trace(painted(polygon((20, 20), (100, 20), (100, 100), (20, 100)))), 128)
    assert 'viewBox="0 0 128 128"' in svg
    path = re.search(r'd="([^"]*)"', svg)[1]
    assert path.count("L") == 4
    assert path.startswith("M")
    assert path.endswith("Z")
    numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert max(abs(n - min((20, 100), key=lambda corner: abs(n - corner))) for n in numbers) < 0.05


def test_infer_writes_svg(trained, tmp_path):
    assert run_infer(trained, "--image_ext", "svg", "--infer_dir", tmp_path) == 0
    files = list((tmp_path / "0").glob("*.svg"))
    assert len(files) == 9
    assert all(file.read_text().startswith("<svg ") for file in files)
