"""Drawing glyphs with a model, from pixels to pixels."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from model import Zi2ZiModel
from utils.images import to_float, to_uint8
from utils.labels import Label, label_weights

AT_ONCE = 16  # glyphs in a batch of the network's, where nobody says how many


def label_tensor(labels: Sequence[Label], count: int) -> torch.Tensor:
    """Labels as what a generator with room for `count` of them takes: int64 [N], or weights [N, count] for blends."""
    if all(isinstance(label, int) for label in labels):
        return torch.tensor(labels)
    weights = torch.zeros(len(labels), count)
    for row, label in zip(weights, labels, strict=True):
        for one, weight in label_weights(label).items():
            row[one] = weight
    return weights


def draw(
    model: Zi2ZiModel, source: np.ndarray, labels: Sequence[Label], at_once: int = AT_ONCE, weights: str = "auto"
) -> np.ndarray:
    """Draw uint8 [N, S, S] in the given labels, `at_once` at a time, to the same; [N, S, S, 3] for a model in colour.

    `weights` is as in `Zi2ZiModel.sample`.
    """
    fields = _fields(model, source, labels, at_once, weights)
    return np.concatenate([to_uint8(torch.tanh(field)) for field in fields])


def draw_field(
    model: Zi2ZiModel, source: np.ndarray, labels: Sequence[Label], at_once: int = AT_ONCE, weights: str = "auto"
) -> Tensor:
    """As `draw`, but what `Zi2ZiModel.field` gives: float32 [N, C, S, S], whose tanh is the picture."""
    return torch.cat(list(_fields(model, source, labels, at_once, weights)))


def _fields(
    model: Zi2ZiModel, source: np.ndarray, labels: Sequence[Label], at_once: int, weights: str
) -> Iterator[Tensor]:
    for start in range(0, len(source), at_once):
        part = slice(start, start + at_once)
        pixels = to_float(torch.from_numpy(source[part]).to(model.device), model.config.input_nc)
        yield model.field(pixels, label_tensor(labels[part], model.config.embedding_num), weights)
