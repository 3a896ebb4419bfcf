"""Fitting lines and curves to the points of an edge."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.fonts.knots import (
    MOST_MOVED,
    Knots,
    Samples,
    add_extremes,
    corners,
    cross,
    dot,
    extremes,
    norms,
    pieces_between,
    samples_inside,
    smooth,
    unit,
)

TOLERANCE = 0.17  # pixels that a curve may be away from the outline
STRAIGHT = 0.3  # pixels that a straight line may be away from it
BOW = 0.08  # and its middle on the average further to one side than its ends: a flat bow is no line
FEWEST_FOR_LINE = 4  # samples that tell where a straight line runs
LEAST_BEND = 0.2  # sine of the angle at which two lines meet at a place that is well known
FEWEST_TO_CUT = 5  # samples of a piece that may be cut in two
ROUNDS = 4  # of moving the samples along a curve to where they are nearest
REACHED = 2  # steps of a lattice that a cut may be moved by
ALONG = 0.02  # how much less a step along the outline counts than one across it
CUTS = 7  # times that a piece may be cut in two


class Lattice(NamedTuple):
    """The points that a font can hold, in pixels of the image: a step, and where one of them is."""

    step: float
    x: float = 0.0
    y: float = 0.0


class Segment(NamedTuple):
    """From where the last segment ended to `end`, along two control points where it is a curve."""

    end: tuple[float, float]
    controls: tuple[tuple[float, float], tuple[float, float]] | None = None


@dataclass
class Contour:
    """A closed outline in pixels, y downwards; its last segment ends at `start`."""

    start: tuple[float, float]
    segments: list[Segment]

    def points(self) -> int:
        """How many points it takes, control points included."""
        return sum(3 if segment.controls else 1 for segment in self.segments)


def fit(outlines: list[np.ndarray], tolerance: float, lattice: Lattice | None = None) -> list[Contour]:
    """Fit closed outlines, each [N, 2] samples at equal distances, by lines and cubics that end on a lattice."""
    samples = Samples(outlines)
    knots = corners(samples)
    bare = np.setdiff1d(samples.starts, samples.first[knots.index])  # round outlines are cut at their left
    if len(bare):
        left = np.array([start + np.argmin(samples.points[start : start + samples.count[start], 0]) for start in bare])
        knots = knots.joined(extremes(samples, left, np.zeros(len(left), int)))
    knots = add_extremes(samples, knots)
    for cut in range(CUTS + 1):
        worst = _fit_pieces(samples, knots, tolerance)
        if cut == CUTS or not len(worst):
            break
        knots = knots.joined(smooth(samples, worst))
    knots = _refined(samples, knots)
    if lattice is not None:
        knots.at = _snapped(knots, lattice)
    _fit_pieces(samples, knots, tolerance)
    return _assemble(samples, knots)


def _snapped(knots: Knots, lattice: Lattice) -> np.ndarray:
    """The knots on points of the lattice: of those near by, the one that is least off the directions of the outline.

    Rounding to the nearest would move a slanting stroke sideways by half a step, where a step along it does no harm.
    """
    exact = (knots.at - (lattice.x, lattice.y)) / lattice.step
    near = np.arange(-REACHED, REACHED + 1)
    choices = np.round(exact)[:, None] + np.stack(np.meshgrid(near, near), -1).reshape(1, -1, 2)
    off = choices - exact[:, None]
    cost = sum(cross(direction[:, None], off) ** 2 for direction in (knots.into, knots.out))
    cost += ALONG * (off**2).sum(2)
    best = choices[np.arange(len(exact)), cost.argmin(1)]
    return best * lattice.step + (lattice.x, lattice.y)


def _refined(samples: Samples, knots: Knots) -> Knots:
    """Knots moved onto the straight lines beside them, which all of a piece's samples tell better than a few do.

    Between two straight pieces that is where the lines meet. A smooth knot takes on the direction of its line.
    """
    end, steps = pieces_between(samples, knots)
    count = len(end)
    inside, piece, _, counts = samples_inside(samples, knots, np.arange(count), end, steps)
    points = samples.points[inside]
    many = np.maximum(counts, 1)
    centre = np.stack([_sum(points[:, axis], piece, count) / many for axis in (0, 1)], 1)
    x, y = (points - centre[piece]).T
    xx, xy, yy = (_sum(product, piece, count) for product in (x * x, x * y, y * y))
    angle = np.arctan2(2 * xy, xx - yy) / 2
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    along *= np.sign(dot(along, knots.at[end] - knots.at))[:, None]
    known = knots.straight & (counts >= FEWEST_FOR_LINE)
    before = np.empty(count, int)
    before[end] = np.arange(count)
    at, into, out = knots.at.copy(), knots.into.copy(), knots.out.copy()
    smooth = (knots.into == knots.out).all(1)
    for line, other in ((before, np.arange(count)), (np.arange(count), before)):
        off = cross(along[line], at - centre[line])
        normal = np.stack([-along[line][:, 1], along[line][:, 0]], 1)
        moved = known[line] & ~known[other] & (np.abs(off) < MOST_MOVED)
        at = np.where(moved[:, None], at - normal * off[:, None], at)
        turned = (moved & smooth)[:, None]
        into, out = np.where(turned, along[line], into), np.where(turned, along[line], out)
    first, second = along[before], along
    bend = cross(first, second)
    reach = cross(centre - centre[before], second) / np.where(np.abs(bend) < LEAST_BEND, np.inf, bend)
    meeting = centre[before] + first * reach[:, None]
    met = known & known[before] & (np.abs(bend) >= LEAST_BEND) & (np.hypot(*(meeting - knots.at).T) < 2 * MOST_MOVED)
    return Knots.new(knots.index, np.where(met[:, None], meeting, at), into, out, knots.spared)


def _fit_pieces(samples: Samples, knots: Knots, tolerance: float) -> np.ndarray:
    """Fit the pieces that are not settled; returns the samples at which those should be cut that don't fit."""
    end, steps = pieces_between(samples, knots)
    chosen = np.flatnonzero(~knots.settled)
    inside, piece, begin, counts = samples_inside(samples, knots, chosen, end, steps)
    p0, p3 = knots.at[chosen], knots.at[end[chosen]]
    chord, points, total = norms(p3 - p0), samples.points[inside], len(chosen)
    away = cross(unit(p3 - p0)[piece], points - p0[piece])
    straight = (_highest(np.abs(away), piece, total) <= STRAIGHT) & (chord > 1e-9)
    straight &= np.abs(_bow(away, piece, begin, counts)) <= BOW
    u, length = _by_chords(points, piece, begin, counts, p0, p3)
    curves = _Curves(points, piece, _Sums(begin, counts), (p0, p3), (knots.out[chosen], -knots.into[end[chosen]]))
    for _ in range(ROUNDS):
        curves.fit(u, length)
        u = curves.nearest(u)
    error = np.abs(curves.off(u))
    worst = _highest(error, piece, total)
    bad = (worst > tolerance) & ~straight & (counts >= FEWEST_TO_CUT)
    knots.controls[chosen], knots.straight[chosen], knots.settled[chosen] = curves.controls(), straight, ~bad
    at = np.flatnonzero((error == worst[piece]) & bad[piece])
    at = at[np.unique(piece[at], return_index=True)[1]]
    place = np.clip(at - begin[piece[at]], 2, counts[piece[at]] - 3)
    return inside[begin[piece[at]] + place]


class _Sums:
    """Sums over the samples of each piece, which lie one after the other."""

    def __init__(self, begin: np.ndarray, counts: np.ndarray):
        self.has, self.count = counts > 0, len(counts)
        self.begin = begin[self.has]

    def of(self, *values: np.ndarray) -> np.ndarray:
        """Of each array [N] the sums [K], all together [len(values), K]."""
        found = np.zeros((len(values), self.count), np.result_type(*values))
        if len(self.begin):
            found[:, self.has] = np.add.reduceat(np.stack(values), self.begin, axis=1)
        return found


class _Curves:
    """Cubics for all pieces at once, whose ends and the directions there are given.

    Points and vectors are complex numbers, x + iy: of small arrays the number of operations is what takes the time.
    """

    def __init__(self, points: np.ndarray, piece: np.ndarray, sums: _Sums, ends: tuple, directions: tuple):
        self.points, self.piece, self.sums = _complex(points), piece, sums
        (self.p0, self.p3), (self.t1, self.t2) = map(_complex, ends), map(_complex, directions)
        self.q0, self.q3 = self.p0[piece], self.p3[piece]  # the same for each sample
        self.square1, self.both, self.square2 = (
            (a.conj() * b).real for a, b in ((self.t1, self.t1), (self.t1, self.t2), (self.t2, self.t2))
        )

    def fit(self, u: np.ndarray, length: np.ndarray) -> None:
        """Find by least squares how far the control points lie along the directions, from the samples' parameters."""
        v = 1 - u
        uu, vv = u * u, v * v
        b1, b2 = 3 * u * vv, 3 * uu * v
        rest = self.points - (vv * v + b1) * self.q0 - (uu * u + b2) * self.q3
        b11, b12, b22 = self.sums.of(b1 * b1, b1 * b2, b2 * b2)
        r1, r2 = self.sums.of(b1 * rest, b2 * rest)
        c11, c12, c22 = self.square1 * b11, self.both * b12, self.square2 * b22
        x1, x2 = (self.t1.conj() * r1).real, (self.t2.conj() * r2).real
        determinant = c11 * c22 - c12 * c12
        safe = np.abs(determinant) > 1e-9
        determinant = np.where(safe, determinant, 1.0)
        first, second = (x1 * c22 - x2 * c12) / determinant, (c11 * x2 - c12 * x1) / determinant
        fair = safe & (np.minimum(first, second) > 0.01 * length) & (np.maximum(first, second) < 2 * length)
        first, second = np.where(fair, first, length / 3), np.where(fair, second, length / 3)
        self.p1, self.p2 = self.p0 + self.t1 * first, self.p3 + self.t2 * second
        self.q1, self.q2 = self.p1[self.piece], self.p2[self.piece]

    def off(self, u: np.ndarray) -> np.ndarray:
        """From each sample to its point on the curve."""
        v = 1 - u
        uu, vv = u * u, v * v
        return vv * v * self.q0 + 3 * u * vv * self.q1 + 3 * uu * v * self.q2 + uu * u * self.q3 - self.points

    def nearest(self, u: np.ndarray) -> np.ndarray:
        """One step of Newton's method for the parameter of each sample to that of its nearest point on the curve."""
        v = 1 - u
        d0, d1, d2 = self.q1 - self.q0, self.q2 - self.q1, self.q3 - self.q2
        off = self.off(u)
        first = 3 * (v * v * d0 + 2 * v * u * d1 + u * u * d2)
        second = 6 * (v * (d1 - d0) + u * (d2 - d1))
        slope = (first.conj() * first + off.conj() * second).real
        step = (off.conj() * first).real / np.where(np.abs(slope) < 1e-9, np.inf, slope)
        return np.clip(u - np.clip(step, -0.2, 0.2), 0, 1)

    def controls(self) -> np.ndarray:
        """The control points of each piece: [K, 2, 2]."""
        return np.stack([part(point) for point in (self.p1, self.p2) for part in (np.real, np.imag)], 1).reshape(
            -1, 2, 2
        )


def _complex(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, 2] as complex numbers [N]."""
    return vectors[:, 0] + 1j * vectors[:, 1]


def _bow(away, piece, begin, counts) -> np.ndarray:
    """How much further to one side the middle half of each piece is than the rest; a tilt does not count."""
    middle = np.abs((np.arange(len(piece)) - begin[piece] + 0.5) / counts[piece] - 0.5) < 0.25
    inner, outer = (
        _sum(away * part, piece, len(counts)) / np.maximum(_sum(part.astype(float), piece, len(counts)), 1)
        for part in (middle, ~middle)
    )
    return inner - outer


def _by_chords(points, piece, begin, counts, p0, p3) -> tuple[np.ndarray, np.ndarray]:
    """The parameter of each sample by the length of the way to it, and the length of each piece."""
    first = np.zeros(len(points), bool)
    has = counts > 0
    first[begin[has]] = True
    previous = np.where(first[:, None], p0[piece], np.roll(points, 1, axis=0))
    way = np.cumsum(norms(points - previous))
    before = np.zeros(len(counts))
    before[has] = np.concatenate([[0.0], way])[begin[has]]
    length = norms(p3 - p0) + 1e-9
    last = begin[has] + counts[has] - 1
    length[has] = way[last] - before[has] + norms(p3[has] - points[last])
    return (way - before[piece]) / length[piece], length


def _highest(values: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    highest = np.zeros(count)
    np.maximum.at(highest, piece, values)
    return highest


def _sum(values: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(piece, values, minlength=count)


def _assemble(samples: Samples, knots: Knots) -> list[Contour]:
    end, _ = pieces_between(samples, knots)
    starts, ends, controls = (list(map(tuple, at.tolist())) for at in (knots.at, knots.at[end], knots.controls))
    segments = [
        Segment(at, None if straight else (tuple(first), tuple(second)))
        for at, (first, second), straight in zip(ends, controls, knots.straight.tolist(), strict=True)
    ]
    _, first = np.unique(samples.first[knots.index], return_index=True)
    limits = [*first.tolist(), len(segments)]
    return [Contour(starts[begin], segments[begin:stop]) for begin, stop in itertools.pairwise(limits)]
