"""The bias and the sharpness that a step is drawn with, found so that strokes are as wide, and edges as crisp, as true.

An L1 loss says little of either: a network that is not sure where a stroke lies draws it too wide or too narrow.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model import Zi2ZiModel
from utils.data.pairs import Pair, PairData, evenly
from utils.experiment.calibration import PLAIN, Calibration, as_table
from utils.images import to_grey, to_uint8
from utils.metrics import GREY_FROM, grey_pixels
from utils.sample import draw_field
from utils.strokes import ridge_widths

MOST, LEAST = 32, 8  # glyphs of a label that are looked at: fewer of each where there are many labels,
IN_ALL = 256  # so that there are not many more than so many
FEWEST = 4  # validation pairs of a label that tell enough; with fewer, those it was trained on are looked at
TRAINED_WIDTH = 0.99  # strokes of glyphs that were trained on, over those of new ones, as default runs draw them
LOOKS = 3  # at the width of the strokes
CLOSE = 0.002  # relative error of it that is good enough
# Of the offset of the field, and of the logarithm of the sharpness: beyond, there is no drawing yet.
RANGE = (-2.0, 2.0)
HALVINGS = 14  # of this range
SAMPLED = 1 << 15  # values of a field that tell how much ink there is
GREY = math.atanh(1 - 2 * GREY_FROM)  # what the field of a pixel that counts as grey is nearer to 0 than

Looked = tuple[list[Pair], bool]  # pairs of a label, and whether they are trained on


def pairs_to_look_at(data: PairData, val_ratio: float, seed: int) -> list[Looked]:
    """For each label of `data` those of its pairs that tell what to draw it with."""
    validation = data.validation_keys(val_ratio, seed)
    most = max(LEAST, min(MOST, IN_ALL // len(data.labels)))
    found = []
    for label in range(len(data.labels)):
        own = [pair for pair in data.train_pairs if pair[0] == label]
        new = [pair for pair in own if pair[1] in validation]
        is_trained = len(new) < FEWEST
        found.append((evenly(own if is_trained else new, most), is_trained))
    return found


class Calibrator:
    """Finds what `model` is to be drawn with as it is now, for each label by its `pairs`, and each kind of weights.

    A `bias` or a `sharpness` that is given is that of all.
    """

    def __init__(
        self,
        model: Zi2ZiModel,
        data: PairData,
        pairs: Sequence[Looked],
        bias: float | None = None,
        sharpness: float | None = None,
    ):
        self.model, self.data, self.pairs = model, data, pairs
        self.bias, self.sharpness = bias, sharpness
        self._truths: dict[int, Truth] = {}  # by label

    def calibrate(self, kinds: Sequence[str] | None = None) -> None:
        """Have the model draw with what is found for these kinds of weights, or for all there are."""
        for kind in kinds or self.model.kinds():
            self.model.calibrate(None, kind)
            found = [self._find(label, kind) for label in range(len(self.pairs))]
            self.model.calibrate(as_table(found, self.model.config.embedding_num), kind)

    def _find(self, label: int, kind: str) -> Calibration:
        pairs, is_trained = self.pairs[label]
        if not pairs or (self.bias is not None and self.sharpness is not None):
            return plain(self.bias, self.sharpness)
        source, target = self.data.render_pairs(pairs, self.model.config.image_size)
        field = draw_field(self.model, source, [label] * len(pairs), weights=kind).mean(1, keepdim=True).cpu()
        if label not in self._truths:
            self._truths[label] = measured(to_grey(target))
        return find(field, self._truths[label], TRAINED_WIDTH if is_trained else 1.0, self.bias, self.sharpness)


def plain(bias: float | None, sharpness: float | None) -> Calibration:
    """What is given, and of what is not what the network draws by itself."""
    return Calibration(PLAIN.bias if bias is None else bias, PLAIN.sharpness if sharpness is None else sharpness)


class Truth(NamedTuple):
    """What is measured of true glyphs."""

    width: float  # the mean of their strokes, in pixels
    grey: int  # pixels of their edges


def measured(target: np.ndarray) -> Truth:
    """Measure true glyphs uint8 [N, S, S]."""
    return Truth(mean_width(target), grey_pixels(target))


class Levels:
    """The values of a field [N, 1, S, S] in their order, for what can be told of its pictures without drawing them."""

    def __init__(self, field: Tensor):
        self.values = np.sort(field.numpy(), axis=None)
        # The middle of each so many values stands for all of them.
        self.each = max(1, len(self.values) // SAMPLED)
        self.sampled = self.values[self.each // 2 :: self.each]

    def grey(self, bias: float, sharpness: float) -> int:
        """How many pixels of its picture are `grey_pixels`."""
        edges = (np.array([-GREY, GREY]) - bias) / sharpness
        return int(np.diff(np.searchsorted(self.values, edges))[0])

    def ink(self, bias: float, sharpness: float) -> float:
        """How much ink its picture has, in pixels."""
        return float((1 - np.tanh(sharpness * self.sampled + bias)).sum() / 2 * self.each)


def find(
    field: Tensor, truth: Truth, width: float = 1.0, bias: float | None = None, sharpness: float | None = None
) -> Calibration:
    """What makes pictures of a field [N, 1, S, S], on the CPU, as the true glyphs are.

    `width` is the stroke width to come to, over that of these; a `bias` or a `sharpness` that is given stays. What is
    not drawn yet, or has no ink, is left as it is.
    """
    start, goal = plain(bias, sharpness), width * truth.width
    if not (goal and torch.isfinite(field).all()):
        return start
    levels, grey = Levels(field), max(1, truth.grey)
    if start.sharpness * levels.values[0] + start.bias >= 0:  # nowhere darker than half
        return start

    def drawn_width(bias: float, sharpness: float) -> float:
        return mean_width(to_uint8(torch.tanh(sharpness * field + bias)))

    def crisp(offset: float) -> float:
        """The sharpness with which edges are as grey as true ones."""
        if sharpness is not None:
            return sharpness
        return math.exp(falling_to(grey, lambda x: levels.grey(math.exp(x) * offset + start.bias, math.exp(x))))

    # The zero line of s (z + c) is that of z + c: width and crispness hang on each other but a little.
    first, offset = crisp(0.0), 0.0
    if bias is None:
        offset = solve_width(lambda c: drawn_width(first * c, first), lambda c: levels.ink(first * c, first), goal)
    last = crisp(offset)
    return Calibration(round(last * offset + start.bias, 4), round(last, 4))


def mean_width(glyphs: np.ndarray) -> float:
    """The mean width of the strokes of uint8 [N, S, S], in pixels; 0 where there is no ink."""
    widths = np.concatenate([ridge_widths(glyph) for glyph in glyphs])
    return float(widths.mean()) if len(widths) else 0.0


def solve_width(width: Callable[[float], float], ink: Callable[[float], float], goal: float) -> float:
    """Where strokes are as wide as `goal`: their width and the ink fall with an offset.

    As long as strokes stay where they are, they are as much wider as there is more ink, which is quickly known.
    """
    offset = 0.0
    for _ in range(LOOKS):
        ratio = width(offset) / goal
        if not ratio or abs(ratio - 1) <= CLOSE:
            break
        offset = falling_to(ink(offset) / ratio, ink)
    return offset


def falling_to(value: float, function: Callable[[float], float]) -> float:
    """Where a falling function comes to a value, within RANGE."""
    low, high = RANGE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > value else (low, middle)
    return (low + high) / 2
