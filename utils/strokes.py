"""How the strokes of drawn glyphs compare with those of the true ones: what a designer sees and L1 does not tell.

Images are uint8 [N, S, S], ink 0 on paper 255. Most measures are ratios to the target: 1 is as it is there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from utils import metrics
from utils.images import DARK
from utils.outlines import level_lines, points_along

ENLARGED = 4  # times, before distances are taken,
FINE = 512  # as long as a side does not get more pixels than these
STEP = 0.5  # pixels between the points of an outline,
CHORD = 4  # and points from one end of a chord to the other
LEAST = 1e-3  # in place of a ratio of 0, so that one fault does not hide all the others from the score


@dataclass(frozen=True)
class Strokes:
    """What is measured of one glyph, in pixels."""

    ridge: int  # pixels on the ridge of the ink, of the enlarged picture
    width: float  # the sum of the stroke's width over these
    ink: float  # square pixels
    contours: int
    length: float  # of the outline
    turning: float  # of the outline, beyond the once that each contour turns anyway


def strokes(glyph: np.ndarray) -> Strokes:
    """Measure a glyph uint8 [S, S]."""
    widths = ridge_widths(glyph)
    lines = level_lines(glyph)
    count, length, turning = outline_turning(lines)
    ink = float((255.0 - glyph).sum() / 255)
    return Strokes(len(widths), float(widths.sum()), ink, count, length, turning)


def ridge_widths(glyph: np.ndarray) -> np.ndarray:
    """The width of the stroke, in pixels, at every pixel of the ridge of its ink.

    Twice the distance to the paper, less the ridge's own pixel, on a picture that is enlarged so that this is a
    small part of it. The ridge is where no neighbour is further away from paper.
    """
    times = enlargement(len(glyph))
    mask = enlarged(glyph, times) < DARK
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(0)
    mask = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    distance = np.asarray(ndimage.distance_transform_edt(mask), np.float32)
    ridge = mask & (ndimage.maximum_filter(distance, 3) == distance)
    return (2 * distance[ridge] - 1) / times


def enlargement(side: int) -> int:
    """How many times a picture of so many pixels a side is enlarged before distances are taken."""
    return max(1, min(ENLARGED, FINE // side))


def enlarged(glyph: np.ndarray, times: int) -> np.ndarray:
    """A glyph uint8 [S, S], so many times as large."""
    side = times * len(glyph)
    return np.asarray(Image.fromarray(glyph).resize((side, side), Image.Resampling.BICUBIC))


def outline_turning(lines: Sequence[np.ndarray]) -> tuple[int, float, float]:
    """Of the closed lines of a glyph: how many there are, their length, and by how much they turn to and fro.

    The turning is in radians, over chords of STEP * CHORD pixels, less the full turn that each line makes anyway.
    """
    count, length, turning = 0, 0.0, 0.0
    for line in lines:
        points = points_along(line, STEP)
        if points is None:
            continue
        chords = np.roll(points, -CHORD, 0) - points
        length += float(np.hypot(*(np.roll(points, -1, 0) - points).T).sum())
        after = np.roll(chords, -CHORD, 0)
        cross = chords[:, 0] * after[:, 1] - chords[:, 1] * after[:, 0]
        turn = np.abs(np.arctan2(cross, (chords * after).sum(1)))
        turning += float(turn.sum() / CHORD) - 2 * math.pi  # each of CHORD polygons is one phase of the chords
        count += 1
    return count, length, turning


def stroke_width(drawn: Sequence[Strokes], true: Sequence[Strokes]) -> float:
    """The mean width of the drawn strokes over that of the true ones."""
    return _ratio(_mean_width(drawn), _mean_width(true))


def _mean_width(glyphs: Sequence[Strokes]) -> float:
    return sum(glyph.width for glyph in glyphs) / max(1, sum(glyph.ridge for glyph in glyphs))


def roughness(drawn: Sequence[Strokes], true: Sequence[Strokes]) -> float:
    """How much the outlines turn to and fro in each pixel of their length, over that of the true ones."""
    return _ratio(_roughness(drawn), _roughness(true))


def _roughness(glyphs: Sequence[Strokes]) -> float:
    return sum(glyph.turning for glyph in glyphs) / max(1.0, sum(glyph.length for glyph in glyphs))


def _ratio(part: float, whole: float) -> float:
    """The ratio; of nothing to nothing it is 1, of something to nothing 0: either is wrong, and both are numbers."""
    return part / whole if whole else float(not part)


def by_density(true: Sequence[Strokes]) -> tuple[np.ndarray, np.ndarray]:
    """The places of the sparsest and of the densest third of glyphs, by the length of their strokes."""
    order = np.argsort([glyph.ridge for glyph in true], kind="stable")
    third = max(1, len(order) // 3)
    return order[:third], order[-third:]


def grown(glyph: np.ndarray, by: float) -> np.ndarray:
    """The ink of a glyph uint8 [S, S], bool [S, S], with its edge moved outwards by so many pixels, or inwards."""
    ink = glyph < DARK
    if by > 0:
        return np.asarray(ndimage.distance_transform_edt(~ink)) < by + 0.5
    return np.asarray(ndimage.distance_transform_edt(ink)) > 0.5 - by


def nearness(glyphs: Sequence[np.ndarray], measured: Sequence[Sequence[Strokes]]) -> float:
    """The share of drawn glyphs that are nearer to the target's glyph than to the source's.

    By the intersection over union of the ink, all three brought to the target's width of strokes. `glyphs` are those
    drawn, of the target and of the source, `measured` their strokes.
    """
    nearer, widths = 0, [[_mean_width([glyph]) for glyph in group] for group in measured]
    for number, three in enumerate(zip(*glyphs, strict=True)):
        goal = widths[1][number]
        inks = [grown(glyph, (goal - width[number]) / 2) for glyph, width in zip(three, widths, strict=True)]
        nearer += _iou(inks[0], inks[1]) > _iou(inks[0], inks[2])
    return nearer / len(glyphs[0])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


# What the one score is made of, and how much each part weighs.
WEIGHTS = {
    "ink_iou": 3.0,
    "roughness": 2.0,
    "contours_right": 2.0,
    "outline_length": 2.0,
    "stroke_width_sparse": 1.0,
    "stroke_width_dense": 1.0,
    "greyness": 0.5,
    "nearness": 1.0,
}


def stroke_score(scores: Mapping[str, float]) -> float:
    """One number by which ways to train are ranked, from 0 to 1, which the truth has: a weighted geometric mean.

    A ratio counts as what it is away from 1, up or down; a share as it is. `scores` are those of `metrics.score`,
    `score_strokes` and `nearness`.
    """
    total = 0.0
    for name, weight in WEIGHTS.items():
        value = scores[name]
        part = min(value, 1 / max(value, LEAST))
        total += weight * math.log(max(part, LEAST))
    return math.exp(total / sum(WEIGHTS.values()))


def score_strokes(drawn: Sequence[Strokes], true: Sequence[Strokes]) -> dict[str, float]:
    """How drawn strokes compare with the true ones."""
    sparse, dense = by_density(true)
    return {
        "stroke_width": stroke_width(drawn, true),
        "stroke_width_sparse": stroke_width([drawn[i] for i in sparse], [true[i] for i in sparse]),
        "stroke_width_dense": stroke_width([drawn[i] for i in dense], [true[i] for i in dense]),
        "ink": _ratio(sum(glyph.ink for glyph in drawn), sum(glyph.ink for glyph in true)),
        "outline_length": _ratio(sum(glyph.length for glyph in drawn), sum(glyph.length for glyph in true)),
        "roughness": roughness(drawn, true),
        "contours_right": float(np.mean([a.contours == b.contours for a, b in zip(drawn, true, strict=True)])),
    }


def score_all(drawn: Mapping[str, np.ndarray], target: np.ndarray, source: np.ndarray) -> dict[str, dict[str, float]]:
    """Every measure of drawings of `source` against the true glyphs, and the one score made of them, to five digits.

    `drawn` and what is returned are by what was drawn with.
    """
    true, start = ([strokes(glyph) for glyph in images] for images in (target, source))
    found = {}
    for kind, images in drawn.items():
        own = [strokes(glyph) for glyph in images]
        scores = metrics.score(images, target) | score_strokes(own, true)
        scores["nearness"] = nearness((images, target, source), (own, true, start))
        scores["stroke_score"] = stroke_score(scores)
        found[kind] = {name: round(value, 5) for name, value in scores.items()}
    return found
