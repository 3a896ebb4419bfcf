"""Drawing glyphs with a model, from pixels to pixels."""

from collections.abc import Sequence

import numpy as np
import torch

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
    drawn = []
    for start in range(0, len(source), at_once):
        part = slice(start, start + at_once)
        pixels = to_float(torch.from_numpy(source[part]).to(model.device), model.config.input_nc)
        label = label_tensor(labels[part], model.config.embedding_num)
        drawn.append(to_uint8(model.sample(pixels, label, weights)))
    return np.concatenate(drawn)
