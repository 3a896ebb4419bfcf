"""How good the drawings are while a run goes on: quality.csv, the best step, and when nothing gets better."""

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils import metrics
from utils.data.pairs import Pair, PairData
from utils.experiment import pth
from utils.experiment.tables import StepTable, read_quality
from utils.images import to_float, to_grey, to_uint8

DRAWN_AT_ONCE = 16
SATURATED_REPORTS = 20  # reports of losses in a row that show the discriminator to have won
SATURATED_D, SATURATED_G = 0.1, 3.0  # D's loss under the one and G's adversarial loss above the other


class QualityLog:
    """quality.csv: the scores of a run, one row for every step that is scored.

    Opened at step n it keeps the rows up to n.
    """

    def __init__(self, path: Path, step: int):
        self._table = StepTable(path, step)
        self.rows = read_quality(path)

    def add(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Write the scores of a step: measures by what was drawn and with which weights, as in validation_EMA."""
        row = {f"{what}_{name}": value for what, measures in scores.items() for name, value in measures.items()}
        if self.rows and next(iter(self.rows.values())).keys() != row.keys():
            self.rows.clear()  # scores of other weights are not compared with these
        self._table.append(["step", *row], [[str(step), *(f"{value:.5g}" for value in row.values())]])
        self.rows[step] = {name: float(f"{value:.5g}") for name, value in row.items()}


class Examiner:
    """Draws and scores the same pairs of glyphs again and again while `model` learns."""

    def __init__(self, model: Any, data: PairData, image_size: int, channels: int):
        self.model, self.data, self.image_size, self.channels = model, data, image_size, channels

    def kinds(self) -> list[str]:
        """The weights there are to draw with: raw, and EMA where there are any."""
        return ["raw", "EMA"] if self.model.ema else ["raw"]

    def columns(self, pairs: Sequence[Pair], kinds: Sequence[str]) -> dict[str, np.ndarray]:
        """Source, drawings with each kind of weights, and target: uint8 [N, S, S], or [N, S, S, 3] in colour."""
        source, target = self.data.render_pairs(pairs, self.image_size)
        label = torch.tensor([label for label, _ in pairs])
        drawn = {kind: self._draw(source, label, kind.lower()) for kind in kinds}
        return {"source": source, **drawn, "target": target}

    @contextlib.contextmanager
    def weights_of(self, path: Path) -> Iterator[None]:
        """Within, the network that draws best (EMA where there is one) has the weights of a file."""
        net = self.model.ema.shadow if self.model.ema else self.model.netG
        newest = copy.deepcopy(net.state_dict())
        pth.fit(net, pth.load_weights(path), path)
        try:
            yield
        finally:
            net.load_state_dict(newest)

    def _draw(self, source: np.ndarray, label: torch.Tensor, weights: str) -> np.ndarray:
        parts = []
        for start in range(0, len(source), DRAWN_AT_ONCE):
            part = slice(start, start + DRAWN_AT_ONCE)
            pixels = to_float(torch.from_numpy(source[part]).to(self.model.device), self.channels)
            parts.append(to_uint8(self.model.sample(pixels, label[part], weights)))
        return np.concatenate(parts)


def scores_of(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The measures of every column between source and target."""
    target = to_grey(columns["target"])
    drawn = {kind: images for kind, images in columns.items() if kind not in ("source", "target")}
    return {kind: metrics.score(to_grey(images), target) for kind, images in drawn.items()}


class SaturationWatch:
    """Tells when the discriminator has won: what it says then no longer teaches the generator anything."""

    def __init__(self):
        self._in_a_row = 0

    def look(self, losses: Mapping[str, float]) -> str | None:
        """Take the losses of one report; returns a line to say, once for each time that it comes to this."""
        won = losses.get("d_loss", math.inf) < SATURATED_D and losses.get("adv_loss", 0) > SATURATED_G
        self._in_a_row = self._in_a_row + 1 if won else 0
        if self._in_a_row != SATURATED_REPORTS:
            return None
        return "the discriminator tells every drawing from a true glyph and teaches little: try a lower --lr_D or --ndf"
