"""Where an edge is cut into pieces: corners and extremes."""

from dataclasses import dataclass

import numpy as np

CORNER_REACH = 2  # samples on each side of a point that tell its direction
CORNER_ANGLE = 50.0  # degrees that an outline turns within twice that reach to have a corner there
SHARP = 1.2  # pixels between an outline and the point where its straight prolongations meet, for a sharp corner
EXTREME_REACH = 3  # samples on each side that tell where an extreme is
MOST_MOVED = 0.6  # pixels that a cut is moved onto a line


class Samples:
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
        return unit(self.points[end] - self.points[begin])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(norms(vectors), 1e-12)[..., None]


def norms(vectors: np.ndarray) -> np.ndarray:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@dataclass
class Knots:
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
    def new(cls, index: np.ndarray, at: np.ndarray, into: np.ndarray, out: np.ndarray, spared: np.ndarray) -> "Knots":
        count = len(index)
        blank = np.zeros((count, 2, 2)), np.zeros(count, bool), np.zeros(count, bool)
        return cls(index, at, into, out, spared, *blank)

    def joined(self, other: "Knots") -> "Knots":
        """Both, in the order of the samples."""
        arrays = [np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)]
        order = np.argsort(arrays[0], kind="stable")
        return Knots(*(array[order] for array in arrays))


def corners(samples: Samples) -> Knots:
    """The corners, sharp ones put where the straight prolongations of both sides meet."""
    every, reach = np.arange(len(samples.points)), CORNER_REACH
    before = samples.direction(samples.walk(every, -reach), every)
    after = samples.direction(every, samples.walk(every, reach))
    turn = np.abs(np.degrees(np.arctan2(cross(before, after), dot(before, after))))
    around = np.stack([turn[samples.walk(every, step)] for step in range(-reach, reach + 1) if step])
    # Of equal neighbours the first is taken.
    highest = (turn > around[:reach].max(0)) & (turn >= around[reach:].max(0))
    index = np.flatnonzero(highest & (turn > CORNER_ANGLE))
    into = samples.direction(samples.walk(index, -1 - reach), samples.walk(index, -1))
    out = samples.direction(samples.walk(index, 1), samples.walk(index, 1 + reach))
    a, b = samples.points[samples.walk(index, -1)], samples.points[samples.walk(index, 1)]
    bend = cross(into, out)
    along = cross(b - a, out) / np.where(np.abs(bend) < 1e-6, np.inf, bend)
    tip = a + into * along[:, None]
    sharp = (np.hypot(*(tip - samples.points[index]).T) < SHARP) & (along > 0)
    at = np.where(sharp[:, None], tip, samples.points[index])
    return Knots.new(index, at, into, out, np.where(sharp, 1, 0))


def smooth(samples: Samples, index: np.ndarray) -> Knots:
    """Cuts without a corner."""
    direction = samples.direction(samples.walk(index, -2), samples.walk(index, 2))
    return Knots.new(index, samples.points[index], direction, direction, np.zeros(len(index), int))


def extremes(samples: Samples, index: np.ndarray, axis: np.ndarray) -> Knots:
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
    return Knots.new(nearest, at, direction, direction, np.zeros(len(index), int))


def pieces_between(samples: Samples, knots: Knots) -> tuple[np.ndarray, np.ndarray]:
    """The knot that ends each piece, and its number of steps; piece i begins at knot i."""
    outline = samples.first[knots.index]
    number = np.arange(len(knots.index))
    last = np.append(outline[1:] != outline[:-1], True)
    first_of_outline = np.searchsorted(outline, outline)
    end = np.where(last, first_of_outline, number + 1)
    steps = (knots.index[end] - knots.index) % samples.count[knots.index]
    return end, np.where(steps == 0, samples.count[knots.index], steps)


def samples_inside(samples: Samples, knots: Knots, chosen: np.ndarray, end: np.ndarray, steps: np.ndarray):
    """The samples strictly within pieces: flat sample indices, the piece of each, where each piece begins."""
    skip = 1 + knots.spared[chosen]
    counts = np.maximum(steps[chosen] - skip - knots.spared[end[chosen]], 0)
    piece = np.repeat(np.arange(len(chosen)), counts)
    begin = np.cumsum(counts) - counts
    step = np.arange(len(piece)) - begin[piece] + skip[piece]
    return samples.walk(knots.index[chosen][piece], step), piece, begin, counts


def add_extremes(samples: Samples, knots: Knots) -> Knots:
    """Cut where an outline bulges along x or y beyond both ends of its piece."""
    for _ in range(4):
        end, steps = pieces_between(samples, knots)
        found, axes = [], []
        chosen = np.arange(len(end))
        inside, piece, begin, counts = samples_inside(samples, knots, chosen, end, steps)
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
        near = (np.diff(index) <= 3) & (np.diff(samples.first[index]) == 0)
        apart = np.append(~near, True)  # two extremes side by side are one
        index, axis = index[apart], axis[once][apart]
        knots = knots.joined(extremes(samples, index, axis))
    return knots
