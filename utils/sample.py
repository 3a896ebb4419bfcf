"""Drawing glyphs with a model, from pixels to pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from utils.images import to_float, to_uint8
from utils.labels import Label, weights_of


def label_tensor(labels: Sequence[Label], count: int) -> torch.Tensor:
    """Labels as what a generator with room for `count` of them takes: int64 [N], or weights [N, count] for blends."""
    if all(isinstance(label, int) for label in labels):
        return torch.tensor(labels)
    weights = torch.zeros(len(labels), count)
    for row, label in zip(weights, labels, strict=True):
        for one, weight in weights_of(label).items():
            row[one] = weight
    return weights


def images_of(model: Any, source: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    """Draw uint8 [N, S, S] in the given labels, to the same; [N, S, S, 3] for a model in colour."""
    pixels = to_float(torch.from_numpy(source).to(model.device), model.config.input_nc)
    return to_uint8(model.sample(pixels, label_tensor(labels, model.config.embedding_num)))
