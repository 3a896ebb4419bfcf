"""Drawings beside the true glyphs: sheets and scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils import metrics
from utils.data.pairs import Pair, PairData
from utils.images import save_sheet, to_float, to_grey
from utils.labels import Label
from utils.legibility import Reader, legibility
from utils.sample import images_of, label_tensor

SHEET_GLYPHS = 60  # most glyphs on a sheet
COMPARED_GLYPHS = 200  # most glyphs that are scored
SHIFTED_GLYPHS = 16  # of them those whose sources are moved to see what changes


def shift_change(model: Any, source: np.ndarray, labels: Sequence[Label]) -> float:
    """How much a drawing changes when its source, uint8 [N, S, S], moves by a pixel: `metrics.shift_consistency`."""
    pixels = to_float(torch.from_numpy(source).to(model.device), model.config.input_nc)
    label = label_tensor(labels, model.config.embedding_num)
    return round(metrics.shift_consistency(lambda x: model.sample(x, label), pixels), 5)


def compare(
    models: Mapping[str, Any],
    source: Any,
    truth: PairData | None,
    pairs: Sequence[Pair],
    path: Path,
    batch_size: int,
    caption: str,
    with_shift: bool = False,
    read: Reader | None = None,
) -> dict[str, dict[str, float]]:
    """Draw pairs with each model, write a sheet (source | each model | target), and score each model.

    `models` maps a heading to a model. Characters that a target lacks have no target to score
    against and no column for it; at most 200 pairs, evenly spread, are drawn. `with_shift` adds the change
    under a shift of the source, `read` the legibility, also of the targets.
    """
    pairs = [pair for pair in pairs if source.covers(pair[1])]
    known = [pair for pair in pairs if truth is not None and isinstance(pair[0], int) and truth.has_target(pair)]
    chosen = known or pairs
    chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, min(len(chosen), COMPARED_GLYPHS)).astype(int)]
    if not chosen:
        return {}
    size = next(iter(models.values())).config.image_size
    columns = {"source": np.stack([source.render(key, size) for _, key in chosen])}
    for heading, model in models.items():
        parts = []
        for start in range(0, len(chosen), batch_size):
            labels = [label for label, _ in chosen[start : start + batch_size]]
            parts.append(images_of(model, columns["source"][start : start + batch_size], labels))
        columns[heading] = np.concatenate(parts)
    scores = {}
    if known:
        columns["target"] = truth.render_pairs(chosen, size)[1]
        target = to_grey(columns["target"])
        scores = {heading: metrics.score(to_grey(columns[heading]), target) for heading in models}
        if with_shift:
            labels = [label for label, _ in chosen[:SHIFTED_GLYPHS]]
            for heading, model in models.items():
                scores[heading]["shift_change"] = shift_change(model, columns["source"][:SHIFTED_GLYPHS], labels)
        if read is not None:
            characters = [key for _, key in chosen]
            for heading in models:
                scores[heading]["legibility"] = legibility(read, to_grey(columns[heading]), characters)
            scores["target"] = {"legibility": legibility(read, target, characters)}
    shown = np.linspace(0, len(chosen) - 1, min(len(chosen), SHEET_GLYPHS)).astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown_columns = {heading: images[shown] for heading, images in columns.items()}
    save_sheet(shown_columns, path, blocks=4, caption=[caption], letters=source)
    return scores
