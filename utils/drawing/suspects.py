"""Which drawn glyphs a font maker should look at first: those least like what the target font's glyphs are like.

Each is compared with its source glyph, and the comparison with that of true pairs of the training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from model import Zi2ZiModel
from utils import metrics
from utils.drawing.job import Job
from utils.errors import UserError
from utils.experiment.manifest import entry
from utils.images import DARK, read_image, save_sheet, to_grey
from utils.labels import heaviest
from utils.metrics import SPECK, connected_parts
from utils.sample import draw

GRID = 16  # cells a side, in which the distribution of ink is compared
SPECK_SHARE = 0.0012  # of the canvas: ink parts smaller than this are specks
REFERENCE = 300  # true pairs that are looked at
SHOWN = 60  # suspects on the sheet
MOST_SPREADS = 8.0  # that one reason counts
# The least spread of a measure that is taken for one, so that where all true pairs agree a small step is not endless.
FLOORS = {
    "parts": 0.7,
    "holes": 0.7,
    "ink": 0.06,
    "specks": 0.35,
    "likeness": 0.02,
    "local": 0.05,
    "reach": 0.02,
    "border": 0.25,
    "greyness": 0.25,
    "weights": 0.004,
}
REASONS = {
    "parts": "other number of parts than its source",
    "holes": "other number of holes than its source",
    "ink": "other amount of ink than its source",
    "specks": "stray specks",
    "likeness": "its ink lies elsewhere than that of its source",
    "local": "ink is missing or added in a place",
    "reach": "its box is another than that of its source",
    "border": "cut at the border",
    "greyness": "grey edges",
    "weights": "raw and EMA weights disagree",
}


def measure(source: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """What tells a good drawing from a bad one, of two glyphs uint8 [S, S]; differences to the source, mostly."""
    side = len(drawn)
    true, ink = source < DARK, drawn < DARK
    (parts, specks), (true_parts, _) = (_parts(mask, SPECK_SHARE * side * side) for mask in (ink, true))
    grey = ((drawn > 0.1 * 255) & (drawn < 0.9 * 255)).sum()
    outline = metrics.outline(ink).sum()
    return {
        "parts": parts - true_parts,
        "holes": _parts(~ink, SPECK, diagonal=False)[0] - _parts(~true, SPECK, diagonal=False)[0],
        "ink": float(np.log((ink.sum() + 1) / (true.sum() + 1))),
        "specks": specks,
        "likeness": 1 - _correlation(_density(ink), _density(true)),
        "local": float(np.abs(_density(ink) - _density(true)).max() / (_density(true).max() + 1e-9)),
        "reach": float(np.abs(_box(ink) - _box(true)).max()),
        "border": float(ink[0].any() + ink[-1].any() + ink[:, 0].any() + ink[:, -1].any()),
        "greyness": float(grey / (outline + 1)),
    }


def _parts(mask: np.ndarray, smallest: float, diagonal: bool = True) -> tuple[int, int]:
    """How many connected parts there are of at least `smallest` pixels, and how many smaller ones that count."""
    labels, count = connected_parts(mask, diagonal)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return int((sizes >= smallest).sum()), int(((sizes < smallest) & (sizes >= SPECK)).sum())


def _density(ink: np.ndarray) -> np.ndarray:
    """The share of ink in each cell of a coarse grid, smoothed: where it lies, whatever its style."""
    edges = np.arange(GRID) * len(ink) // GRID
    cells = np.add.reduceat(np.add.reduceat(ink.astype(np.float32), edges, 0), edges, 1)
    return ndimage.gaussian_filter(cells, 1.0)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9))


def _box(ink: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of the ink as shares of the canvas."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(ink)


@dataclass
class Norm:
    """What is usual: the median of every measure over true pairs, and its spread."""

    middle: dict[str, float]
    spread: dict[str, float]

    @classmethod
    def of(cls, measured: Sequence[dict[str, float]]) -> "Norm":
        """The norm of true pairs."""
        middle, spread = {}, {}
        for name in measured[0]:
            values = np.array([one[name] for one in measured])
            middle[name] = float(np.median(values))
            spread[name] = max(float(np.percentile(np.abs(values - middle[name]), 80)), FLOORS[name])
        return cls(middle, spread)

    def oddness(self, measured: dict[str, float]) -> dict[str, float]:
        """By how many spreads each measure is out of the ordinary; what is better than usual does not count."""
        found = {}
        for name, value in measured.items():
            off = (value - self.middle[name]) / self.spread[name]
            found[name] = min(max(abs(off) if name in ("parts", "holes", "ink") else off, 0.0), MOST_SPREADS)
        return found


def rank(
    entries: Sequence[dict[str, Any]],
    measured: Sequence[dict[str, float]],
    norms: dict[Any, Norm],
    disagreement: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Manifest entries, the most suspicious first, each with a score and its reasons, the strongest first.

    `norms` are those of the labels; `disagreement` is the L1 between what raw and EMA weights draw.
    """
    odd = [norms[item["label"]].oddness(one) for item, one in zip(entries, measured, strict=True)]
    if disagreement is not None and len(entries):
        norm = Norm.of([{"weights": value} for value in disagreement])
        for one, value in zip(odd, disagreement, strict=True):
            one |= norm.oddness({"weights": value})
    ranked = []
    for item, one in zip(entries, odd, strict=True):
        reasons = sorted((name for name, value in one.items() if value > 1), key=lambda name: -one[name])
        score = float(np.sqrt(sum(value**2 for value in one.values())))
        ranked.append({**item, "score": round(score, 3), "reasons": [REASONS[name] for name in reasons]})
    return sorted(ranked, key=lambda item: -item["score"])


def rank_drawings(job: Job, models: Sequence[Zi2ZiModel], batch_size: int) -> list[dict[str, Any]]:
    """Rank the drawings that are there, as `rank` does; of two `models` the disagreement counts as well.

    Raises:
        UserError: when the truth has no pair of a label to tell what is usual.
    """
    source, truth = job.source, job.truth
    if truth is None:
        raise UserError("--suspects: there are no true glyphs to tell what is usual")
    done = [drawing for drawing in job.drawings if drawing.path.is_file() and source.covers(drawing.key)]
    size, norms = models[0].config.image_size, {}
    for label in {drawing.label for drawing in done}:
        pairs = [pair for pair in truth.train_pairs if pair[0] == heaviest(label)]
        if not pairs:
            raise UserError(f"--suspects: label {label} has no true glyphs to tell what is usual")
        norms[label] = norm_of_pairs(lambda pair: truth.render_pair(pair, size), pairs)
    measured, disagreement = [], []
    bar = tqdm(total=len(done), desc="comparing", unit="glyph", disable=None)
    for start in range(0, len(done), batch_size):
        batch = done[start : start + batch_size]
        sources = np.stack([source.render(drawing.key, size) for drawing in batch])
        for drawing, glyph in zip(batch, sources, strict=True):
            drawn = np.asarray(read_image(drawing.path.read_bytes()))
            measured.append(measure(to_grey(glyph[None])[0], drawn))
        if len(models) == 2:
            labels = [drawing.label for drawing in batch]
            one, other = (to_grey(draw(model, sources, labels, batch_size)).astype(np.float32) for model in models)
            disagreement += (np.abs(one - other).mean((1, 2)) / 255).tolist()
        bar.update(len(batch))
    bar.close()
    return rank([entry(drawing) for drawing in done], measured, norms, disagreement or None)


def draw_suspects(ranked: Sequence[dict[str, Any]], job: Job, path: Path) -> None:
    """A sheet of the worst: source and drawing side by side, in reading order down the columns."""
    by_name = {(drawing.label, drawing.key): drawing for drawing in job.drawings}
    worst = [by_name[one["label"], one["character"]] for one in ranked[:SHOWN]]
    if worst:
        drawn = [np.asarray(read_image(drawing.path.read_bytes())) for drawing in worst]
        sources = [job.source.render(drawing.key, len(drawn[0])) for drawing in worst]
        columns = {"source": np.stack(sources), "drawn": np.stack(drawn)}
        save_sheet(columns, path, blocks=5, caption=[f"the {len(worst)} most suspicious of {len(ranked)}"])


def norm_of_pairs(render: Callable[[Any], tuple[np.ndarray, np.ndarray]], pairs: Sequence[Any]) -> Norm:
    """The norm of true pairs, of which at most REFERENCE are looked at, evenly spread; `render` gives two glyphs."""
    step = max(1, len(pairs) // REFERENCE)
    return Norm.of([measure(*render(pair)) for pair in pairs[::step]])
