"""From a grey glyph to outlines: closed contours of straight lines and cubic curves, with few points.

The outline is the 50% level of the anti-aliased image, found to a fraction of a pixel. It is cut at corners and at
extremes, and each piece is fitted by a straight line, or by the cubic of least squares whose ends keep their directions
(Schneider, "An Algorithm for Automatically Fitting Digitized Curves", Graphics Gems, 1990); what does not fit is cut in
two where it is worst, with one direction for both halves. All pieces of a glyph are fitted at once, in flat arrays.
"""

from dataclasses import dataclass
from typing import NamedTuple

import contourpy
import numpy as np

STEP = 0.75  # pixels between the points that an outline is sampled at
CORNER_REACH = 2  # samples on each side of a point that tell its direction
CORNER_ANGLE = 50.0  # degrees that an outline turns within twice that reach to have a corner there
SHARP = 1.2  # pixels between an outline and the point where its straight prolongations meet, for a sharp corner
TOLERANCE = 0.17  # pixels that a curve may be away from the outline
STRAIGHT = 0.3  # pixels that a straight line may be away from it
BOW = 0.08  # and its middle on the average further to one side than its ends: a flat bow is no line
SMALLEST = 3.0  # square pixels: what is smaller is no contour
EXTREME_REACH = 3  # samples on each side that tell where an extreme is
FEWEST_FOR_LINE = 4  # samples that tell where a straight line runs
LEAST_BEND = 0.2  # sine of the angle at which two lines meet at a place that is well known
MOST_MOVED = 0.6  # pixels that a cut is moved onto a line
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


def trace(image: np.ndarray, tolerance: float = TOLERANCE, lattice: Lattice | None = None) -> list[Contour]:
    """The outlines of a grey glyph, uint8 [S, S], ink 0 on paper 255; pixel (0, 0) spans 0 to 1.

    Ink lies to the right of an outline in the direction it runs (seen with y downwards), so that holes run the
    other way round than what they are in. A blank image has none. With a `lattice` every segment ends on it.
    """
    contours = []
    for line in level_lines(image):
        samples = resample(line)
        if samples is not None:
            contours.append(samples)
    return fit(contours, tolerance, lattice) if contours else []


def to_svg(contours: list[Contour], side: int) -> str:
    """The outlines of an image of `side` pixels as an SVG document of one path, filled black."""

    def numbers(*points: tuple[float, float]) -> str:
        return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for point in points for value in point)

    path = ""
    for contour in contours:
        path += f"M{numbers(contour.start)}"
        for end, controls in contour.segments:
            path += f"C{numbers(*controls, end)}" if controls else f"L{numbers(end)}"
        path += "Z"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}"><path d="{path}"/></svg>\n'


def level_lines(image: np.ndarray) -> list[np.ndarray]:
    """The closed lines of the 50% level, [N, 2] as (x, y) without the repeated end, pixel centres at halves."""
    ink = np.pad(255.0 - image, 1)  # paper all around closes every line
    generator = contourpy.contour_generator(z=ink, name="serial", line_type=contourpy.LineType.Separate)
    return [line[:-1] - 0.5 for line in generator.lines(255 / 2)]


def resample(line: np.ndarray) -> np.ndarray | None:
    """Points of a closed line at equal distances of about STEP; None where it is too small."""
    if abs(area(line)) < SMALLEST:
        return None
    closed = np.vstack([line, line[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    position = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(8, round(position[-1] / STEP))
    at = np.arange(count) * (position[-1] / count)
    return np.stack([np.interp(at, position, closed[:, axis]) for axis in (0, 1)], 1)


def area(line: np.ndarray) -> float:
    """The signed area within a closed line, positive where it runs clockwise with y downwards."""
    x, y = line.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


class _Samples:
    """The samples of all outlines of a glyph in one flat array, and walks along each outline around its end."""

    def __init__(self, outlines: list[np.ndarray]):
        counts = np.array([len(outline) for outline in outlines])
        self.points = np.concatenate(outlines)
        self.first = np.repeat(np.cumsum(counts) - counts, counts)  # of the outline that a sample is on
        self.count = np.repeat(counts, counts)
        self.starts = np.cumsum(counts) - counts

    def walk(self, index: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
        """The samples so many steps further along the outlines of `index`."""
        return self.first[index] + (index - self.first[index] + steps) % self.count[index]

    def direction(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Unit vectors from samples to samples."""
        return _unit(self.points[end] - self.points[begin])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(_length(vectors), 1e-12)[..., None]


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@dataclass
class _Knots:
    """Where outlines are cut, and the pieces between: piece i begins at knot i, and ends at the next of its outline."""

    index: np.ndarray  # [K] the sample of a cut
    at: np.ndarray  # [K, 2] where it lies
    into: np.ndarray  # [K, 2] the direction of the outline before it
    out: np.ndarray  # [K, 2] and after it
    spared: np.ndarray  # [K] samples on each side that a sharp corner has rounded off
    controls: np.ndarray  # [K, 2, 2] the control points of the piece that begins here
    straight: np.ndarray  # [K] whether it is a straight line instead
    settled: np.ndarray  # [K] whether it has been fitted well enough

    @classmethod
    def new(cls, index: np.ndarray, at: np.ndarray, into: np.ndarray, out: np.ndarray, spared: np.ndarray) -> "_Knots":
        count = len(index)
        blank = np.zeros((count, 2, 2)), np.zeros(count, bool), np.zeros(count, bool)
        return cls(index, at, into, out, spared, *blank)

    def joined(self, other: "_Knots") -> "_Knots":
        """Both, in the order of the samples."""
        arrays = [np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)]
        order = np.argsort(arrays[0], kind="stable")
        return _Knots(*(array[order] for array in arrays))


def _corners(samples: _Samples) -> _Knots:
    """The corners, sharp ones put where the straight prolongations of both sides meet."""
    every, reach = np.arange(len(samples.points)), CORNER_REACH
    before = samples.direction(samples.walk(every, -reach), every)
    after = samples.direction(every, samples.walk(every, reach))
    turn = np.abs(np.degrees(np.arctan2(_cross(before, after), _dot(before, after))))
    around = np.stack([turn[samples.walk(every, step)] for step in range(-reach, reach + 1) if step])
    # Of equal neighbours the first is taken.
    highest = (turn > around[:reach].max(0)) & (turn >= around[reach:].max(0))
    index = np.flatnonzero(highest & (turn > CORNER_ANGLE))
    into = samples.direction(samples.walk(index, -1 - reach), samples.walk(index, -1))
    out = samples.direction(samples.walk(index, 1), samples.walk(index, 1 + reach))
    a, b = samples.points[samples.walk(index, -1)], samples.points[samples.walk(index, 1)]
    bend = _cross(into, out)
    along = _cross(b - a, out) / np.where(np.abs(bend) < 1e-6, np.inf, bend)
    tip = a + into * along[:, None]
    sharp = (np.hypot(*(tip - samples.points[index]).T) < SHARP) & (along > 0)
    at = np.where(sharp[:, None], tip, samples.points[index])
    return _Knots.new(index, at, into, out, np.where(sharp, 1, 0))


def _smooth(samples: _Samples, index: np.ndarray) -> _Knots:
    """Cuts without a corner."""
    direction = samples.direction(samples.walk(index, -2), samples.walk(index, 2))
    return _Knots.new(index, samples.points[index], direction, direction, np.zeros(len(index), int))


def _extremes(samples: _Samples, index: np.ndarray, axis: np.ndarray) -> _Knots:
    """Cuts at samples where an outline is furthest along an axis (0: x, 1: y): it runs along the other one there.

    The place is the vertex of a parabola through the samples around, since a flat bow has no sample at it.
    """
    steps = np.arange(-EXTREME_REACH, EXTREME_REACH + 1)
    around = samples.points[samples.walk(index[:, None], steps)]
    every = np.arange(len(index))
    height, along = around[every, :, axis], around[every, :, 1 - axis]
    square = steps**2 - np.mean(steps**2)
    slope, bend = (height * steps).sum(1) / (steps**2).sum(), (height * square).sum(1) / (square**2).sum()
    vertex = np.clip(-slope / np.where(np.abs(bend) < 1e-9, np.inf, 2 * bend), -EXTREME_REACH, EXTREME_REACH)
    top = height.mean(1) - bend * np.mean(steps**2) + slope * vertex + bend * vertex**2
    lower = np.clip(np.floor(vertex).astype(int) + EXTREME_REACH, 0, 2 * EXTREME_REACH - 1)
    part = vertex + EXTREME_REACH - lower
    place = along[every, lower] * (1 - part) + along[every, lower + 1] * part
    true = np.abs(top - samples.points[index, axis]) < MOST_MOVED  # else a parabola is no likeness
    at = samples.points[index].copy()
    at[every, axis], at[every, 1 - axis] = (
        np.where(true, top, at[every, axis]),
        np.where(true, place, at[every, 1 - axis]),
    )
    direction = samples.direction(samples.walk(index, -2), samples.walk(index, 2))
    direction = np.where(np.arange(2) == (1 - axis)[:, None], np.sign(direction), 0.0)
    nearest = samples.walk(index, np.where(true, np.round(vertex), 0).astype(int))
    return _Knots.new(nearest, at, direction, direction, np.zeros(len(index), int))


def _pieces(samples: _Samples, knots: _Knots) -> tuple[np.ndarray, np.ndarray]:
    """The knot that ends each piece, and its number of steps; piece i begins at knot i."""
    outline = samples.first[knots.index]
    number = np.arange(len(knots.index))
    last = np.append(outline[1:] != outline[:-1], True)
    first_of_outline = np.searchsorted(outline, outline)
    end = np.where(last, first_of_outline, number + 1)
    steps = (knots.index[end] - knots.index) % samples.count[knots.index]
    return end, np.where(steps == 0, samples.count[knots.index], steps)


def _inside(samples: _Samples, knots: _Knots, chosen: np.ndarray, end: np.ndarray, steps: np.ndarray):
    """The samples strictly within pieces: flat sample indices, the piece of each, where each piece begins."""
    skip = 1 + knots.spared[chosen]
    counts = np.maximum(steps[chosen] - skip - knots.spared[end[chosen]], 0)
    piece = np.repeat(np.arange(len(chosen)), counts)
    begin = np.cumsum(counts) - counts
    step = np.arange(len(piece)) - begin[piece] + skip[piece]
    return samples.walk(knots.index[chosen][piece], step), piece, begin, counts


def _add_extremes(samples: _Samples, knots: _Knots) -> _Knots:
    """Cut where an outline bulges along x or y beyond both ends of its piece."""
    for _ in range(4):
        end, steps = _pieces(samples, knots)
        found, axes = [], []
        chosen = np.arange(len(end))
        inside, piece, begin, counts = _inside(samples, knots, chosen, end, steps)
        full = np.flatnonzero(counts > 4)
        if not len(full):
            break
        for axis in (0, 1):
            ends = np.stack([knots.at[:, axis], knots.at[end][:, axis]])
            for sign in (1, -1):
                values = samples.points[inside, axis] * sign
                highest = np.full(len(end), -np.inf)
                np.maximum.at(highest, piece, values)
                bulging = highest - (ends * sign).max(0) > 0.5
                at = np.flatnonzero((values == highest[piece]) & bulging[piece])
                _, once = np.unique(piece[at], return_index=True)
                at = at[once]
                place = at - begin[piece[at]]
                far = (place >= 2) & (place < counts[piece[at]] - 2)
                found.append(inside[at[far]])
                axes.append(np.full(int(far.sum()), axis))
        index, axis = np.concatenate(found), np.concatenate(axes)
        index, once = np.unique(index, return_index=True)
        if not len(index):
            break
        apart = np.append(np.diff(index) > 3, True)  # two extremes side by side are one
        index, axis = index[apart], axis[once][apart]
        knots = knots.joined(_extremes(samples, index, axis))
    return knots


def fit(outlines: list[np.ndarray], tolerance: float, lattice: Lattice | None = None) -> list[Contour]:
    """Fit closed outlines, each [N, 2] samples at equal distances, by lines and cubics that end on a lattice."""
    samples = _Samples(outlines)
    knots = _corners(samples)
    bare = np.setdiff1d(samples.starts, samples.first[knots.index])  # round outlines are cut at their left
    if len(bare):
        left = np.array([start + np.argmin(samples.points[start : start + samples.count[start], 0]) for start in bare])
        knots = knots.joined(_extremes(samples, left, np.zeros(len(left), int)))
    knots = _add_extremes(samples, knots)
    for cut in range(CUTS + 1):
        worst = _fit_pieces(samples, knots, tolerance)
        if cut == CUTS or not len(worst):
            break
        knots = knots.joined(_smooth(samples, worst))
    knots = _refined(samples, knots)
    if lattice is not None:
        knots.at = _snapped(knots, lattice)
    _fit_pieces(samples, knots, tolerance)
    return _assemble(samples, knots)


def _snapped(knots: _Knots, lattice: Lattice) -> np.ndarray:
    """The knots on points of the lattice: of those near by, the one that is least off the directions of the outline.

    Rounding to the nearest would move a slanting stroke sideways by half a step, where a step along it does no harm.
    """
    exact = (knots.at - (lattice.x, lattice.y)) / lattice.step
    near = np.arange(-REACHED, REACHED + 1)
    choices = np.round(exact)[:, None] + np.stack(np.meshgrid(near, near), -1).reshape(1, -1, 2)
    off = choices - exact[:, None]
    cost = sum(_cross(direction[:, None], off) ** 2 for direction in (knots.into, knots.out))
    cost += ALONG * (off**2).sum(2)
    best = choices[np.arange(len(exact)), cost.argmin(1)]
    return best * lattice.step + (lattice.x, lattice.y)


def _refined(samples: _Samples, knots: _Knots) -> _Knots:
    """Knots moved onto the straight lines beside them, which all of a piece's samples tell better than a few do.

    Between two straight pieces that is where the lines meet. A smooth knot takes on the direction of its line.
    """
    end, steps = _pieces(samples, knots)
    count = len(end)
    inside, piece, _, counts = _inside(samples, knots, np.arange(count), end, steps)
    points = samples.points[inside]
    many = np.maximum(counts, 1)
    centre = np.stack([_sum(points[:, axis], piece, count) / many for axis in (0, 1)], 1)
    x, y = (points - centre[piece]).T
    xx, xy, yy = (_sum(product, piece, count) for product in (x * x, x * y, y * y))
    angle = np.arctan2(2 * xy, xx - yy) / 2
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    along *= np.sign(_dot(along, knots.at[end] - knots.at))[:, None]
    known = knots.straight & (counts >= FEWEST_FOR_LINE)
    before = np.empty(count, int)
    before[end] = np.arange(count)
    at, into, out = knots.at.copy(), knots.into.copy(), knots.out.copy()
    smooth = (knots.into == knots.out).all(1)
    for line, other in ((before, np.arange(count)), (np.arange(count), before)):
        off = _cross(along[line], at - centre[line])
        normal = np.stack([-along[line][:, 1], along[line][:, 0]], 1)
        moved = known[line] & ~known[other] & (np.abs(off) < MOST_MOVED)
        at = np.where(moved[:, None], at - normal * off[:, None], at)
        turned = (moved & smooth)[:, None]
        into, out = np.where(turned, along[line], into), np.where(turned, along[line], out)
    first, second = along[before], along
    bend = _cross(first, second)
    reach = _cross(centre - centre[before], second) / np.where(np.abs(bend) < LEAST_BEND, np.inf, bend)
    meeting = centre[before] + first * reach[:, None]
    met = known & known[before] & (np.abs(bend) >= LEAST_BEND) & (np.hypot(*(meeting - knots.at).T) < 2 * MOST_MOVED)
    return _Knots.new(knots.index, np.where(met[:, None], meeting, at), into, out, knots.spared)


def _fit_pieces(samples: _Samples, knots: _Knots, tolerance: float) -> np.ndarray:
    """Fit the pieces that are not settled; returns the samples at which those should be cut that don't fit."""
    end, steps = _pieces(samples, knots)
    chosen = np.flatnonzero(~knots.settled)
    inside, piece, begin, counts = _inside(samples, knots, chosen, end, steps)
    p0, p3 = knots.at[chosen], knots.at[end[chosen]]
    chord, points, total = _length(p3 - p0), samples.points[inside], len(chosen)
    away = _cross(_unit(p3 - p0)[piece], points - p0[piece])
    straight = (_highest(np.abs(away), piece, total) <= STRAIGHT) & (chord > 1e-9)
    straight &= np.abs(_bow(away, piece, begin, counts)) <= BOW
    t1, t2 = knots.out[chosen], -knots.into[end[chosen]]
    u, length = _by_chords(points, piece, begin, counts, p0, p3)
    for _ in range(ROUNDS):
        controls = _least_squares(points, u, piece, p0, p3, t1, t2, length)
        u = _nearest(points, u, piece, p0, controls, p3)
    error = _length(_bezier(u, p0[piece], controls[piece, 0], controls[piece, 1], p3[piece]) - points)
    worst = _highest(error, piece, total)
    bad = (worst > tolerance) & ~straight & (counts >= FEWEST_TO_CUT)
    knots.controls[chosen], knots.straight[chosen], knots.settled[chosen] = controls, straight, ~bad
    at = np.flatnonzero((error == worst[piece]) & bad[piece])
    at = at[np.unique(piece[at], return_index=True)[1]]
    place = np.clip(at - begin[piece[at]], 2, counts[piece[at]] - 3)
    return inside[begin[piece[at]] + place]


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
    way = np.cumsum(_length(points - previous))
    before = np.zeros(len(counts))
    before[has] = np.concatenate([[0.0], way])[begin[has]]
    length = _length(p3 - p0) + 1e-9
    last = begin[has] + counts[has] - 1
    length[has] = way[last] - before[has] + _length(p3[has] - points[last])
    return (way - before[piece]) / length[piece], length


def _highest(values: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    highest = np.zeros(count)
    np.maximum.at(highest, piece, values)
    return highest


def _sum(values: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(piece, values, minlength=count)


def _bezier(u: np.ndarray, p0: np.ndarray, p1: np.ndarray, p2: np.ndarray, p3: np.ndarray) -> np.ndarray:
    u = u[:, None]
    v = 1 - u
    return v**3 * p0 + 3 * u * v**2 * p1 + 3 * u**2 * v * p2 + u**3 * p3


def _least_squares(points, u, piece, p0, p3, t1, t2, total) -> np.ndarray:
    """How far the control points lie along the directions at the ends, by least squares, for all pieces at once."""
    v, count = 1 - u, len(p0)
    b1, b2 = 3 * u * v**2, 3 * u**2 * v
    a1, a2 = t1[piece] * b1[:, None], t2[piece] * b2[:, None]
    b0_p0 = (v**3 + b1)[:, None] * p0[piece]
    b3_p3 = (u**3 + b2)[:, None] * p3[piece]
    rest = points - b0_p0 - b3_p3
    c11, c12, c22 = (_sum(_dot(x, y), piece, count) for x, y in ((a1, a1), (a1, a2), (a2, a2)))
    x1, x2 = (_sum(_dot(x, rest), piece, count) for x in (a1, a2))
    determinant = c11 * c22 - c12**2
    safe = np.abs(determinant) > 1e-9
    determinant = np.where(safe, determinant, 1.0)
    first, second = (x1 * c22 - x2 * c12) / determinant, (c11 * x2 - c12 * x1) / determinant
    fair = safe & (first > 0.01 * total) & (second > 0.01 * total) & (first < 2 * total) & (second < 2 * total)
    first, second = np.where(fair, first, total / 3), np.where(fair, second, total / 3)
    return np.stack([p0 + t1 * first[:, None], p3 + t2 * second[:, None]], 1)


def _nearest(points, u, piece, p0, controls, p3) -> np.ndarray:
    """One step of Newton's method for the parameter of each sample to that of its nearest point on the curve."""
    q0, q1, q2, q3 = p0[piece], controls[piece, 0], controls[piece, 1], p3[piece]
    w, v = u[:, None], 1 - u[:, None]
    off = _bezier(u, q0, q1, q2, q3) - points
    first = 3 * (v**2 * (q1 - q0) + 2 * v * w * (q2 - q1) + w**2 * (q3 - q2))
    second = 6 * (v * (q2 - 2 * q1 + q0) + w * (q3 - 2 * q2 + q1))
    slope = _dot(first, first) + _dot(off, second)
    step = _dot(off, first) / np.where(np.abs(slope) < 1e-9, np.inf, slope)
    return np.clip(u - np.clip(step, -0.2, 0.2), 0, 1)


def _assemble(samples: _Samples, knots: _Knots) -> list[Contour]:
    end, _ = _pieces(samples, knots)
    contours = []
    for start in samples.starts:
        mine = np.flatnonzero(samples.first[knots.index] == start)
        segments = [
            Segment(tuple(knots.at[end[i]]), None if knots.straight[i] else tuple(map(tuple, knots.controls[i])))
            for i in mine
        ]
        contours.append(Contour(tuple(knots.at[mine[0]]), segments))
    return contours
