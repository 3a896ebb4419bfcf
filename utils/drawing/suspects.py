"""Which drawn glyphs a font maker should look at first: those least like what the target font's glyphs are like.

Each is compared with its source glyph, and the comparison with that of true pairs of the training.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from utils.labels import Label, heaviest
from utils.messages import _
from utils.metrics import SPECK, connected_parts
from utils.outlines import bounds
from utils.processes import cores, process_pool
from utils.sample import draw

GRID = 16  # cells a side, in which the distribution of ink is compared
SPECK_SHARE = 0.0012  # of the canvas: ink parts smaller than this are specks
REFERENCE = 300  # true pairs that are looked at
MOST_WORKERS = 8  # processes, each of which loads torch
MOST_WAITING = 32  # batches
FEW_TO_SHARE = 500  # drawings that are sooner measured than processes are started
SHOWN = 60  # suspects on the sheet
MOST_SPREADS = 8.0  # that one reason counts
# The least spread of a measure that is taken for one, so that where all true pairs agree a small step is not endless.
FLOORS = {
    "parts": 0.7,  # other number of parts than the source has
    "holes": 0.7,  # other number of holes
    "ink": 0.06,  # other amount of ink
    "specks": 0.35,
    "likeness": 0.02,  # the ink lies elsewhere
    "local": 0.05,  # ink is missing or added in a place
    "reach": 0.02,  # another box
    "border": 0.25,  # cut at the border
    "greyness": 0.25,  # grey edges
    "weights": 0.004,  # raw and EMA weights disagree
}
REASONS = tuple(FLOORS)  # as suspects.json has them: the review page says in words what each means


def measure(source: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """What tells a good drawing from a bad one, of two glyphs uint8 [S, S]; differences to the source, mostly."""
    side = len(drawn)
    true, ink = source < DARK, drawn < DARK
    inner, true_inner = _framed(ink), _framed(true)
    (parts, specks), (true_parts, _) = (_parts(mask, SPECK_SHARE * side * side) for mask in (inner, true_inner))
    grey = ((drawn > 0.1 * 255) & (drawn < 0.9 * 255)).sum()
    outline = metrics.outline(ink).sum()
    density, true_density = _density(ink), _density(true)
    return {
        "parts": parts - true_parts,
        "holes": _parts(~inner, SPECK, diagonal=False)[0] - _parts(~true_inner, SPECK, diagonal=False)[0],
        "ink": float(np.log((ink.sum() + 1) / (true.sum() + 1))),
        "specks": specks,
        "likeness": 1 - _correlation(density, true_density),
        "local": float(np.abs(density - true_density).max() / (true_density.max() + 1e-9)),
        "reach": float(np.abs(_box(ink) - _box(true)).max()),
        "border": float(ink[0].any() + ink[-1].any() + ink[:, 0].any() + ink[:, -1].any()),
        "greyness": float(grey / (outline + 1)),
    }


def _framed(ink: np.ndarray) -> np.ndarray:
    """The box of the ink with a frame of paper around, which has its parts and its holes."""
    left, top, right, bottom = bounds(ink)
    return np.pad(ink[top:bottom, left:right], 2)


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
    return np.array(bounds(ink)) / len(ink)


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
        ranked.append({**item, "score": round(score, 3), "reasons": reasons})
    return sorted(ranked, key=lambda item: -item["score"])


def rank_drawings(
    job: Job, models: Mapping[str, Zi2ZiModel], drawn: str, batch_size: int, changed: Collection[Path] = ()
) -> list[dict[str, Any]]:
    """Rank the drawings that are there, as `rank` does; of two `models` the disagreement counts as well.

    `drawn` is the one of them that has made the drawings: the other draws each to compare, but for those that the user
    has `changed` since.

    Raises:
        UserError: when the truth has no pair of a label to tell what is usual.
    """
    source, size = job.source, models[drawn].config.image_size
    done = [drawing for drawing in job.drawings if drawing.path.is_file() and source.covers(drawing.key)]
    norms = norms_of(job, {drawing.label for drawing in done}, size)
    other = next((model for name, model in models.items() if name != drawn), None)
    measured: list[dict[str, float]] = []
    disagreement: list[float] = []
    bar = tqdm(total=len(done), desc="comparing", unit="glyph", disable=None)
    with bar, measuring(len(done)) as measure_some:
        waiting: deque[Measuring] = deque()
        for start in range(0, len(done), batch_size):
            batch = done[start : start + batch_size]
            sources = np.stack([source.render(drawing.key, size) for drawing in batch])
            paths = [drawing.path for drawing in batch]
            waiting.append(measure_some(list(zip(to_grey(sources), paths, strict=True))))
            if len(waiting) > MOST_WAITING:  # they hold their glyphs in memory
                measured += waiting.popleft()()
            if other is not None:
                glyphs = to_grey(draw(other, sources, [drawing.label for drawing in batch], batch_size))
                pairs = zip(paths, glyphs, strict=True)
                disagreement += [0.0 if path in changed else difference(path, glyph) for path, glyph in pairs]
            bar.update(len(batch))
        while waiting:
            measured += waiting.popleft()()
    return rank([entry(drawing) for drawing in done], measured, norms, disagreement or None)


def norms_of(job: Job, labels: Collection[Label], size: int) -> dict[Label, Norm]:
    """What is usual in each of the labels, by the pairs that are known to be true.

    Raises:
        UserError: when there are none.
    """
    truth, norms = job.truth, {}
    if truth is None:
        raise UserError(_("--suspects: there are no true glyphs to tell what is usual"))
    for label in labels:
        pairs = [pair for pair in truth.train_pairs if pair[0] == heaviest(label)]
        if not pairs:
            raise UserError(_("--suspects: label {label} has no true glyphs to tell what is usual", label=label))
        norms[label] = norm_of_pairs(lambda pair: truth.render_pair(pair, size), pairs)
    return norms


def difference(path: Path, glyph: np.ndarray) -> float:
    """The mean difference of a drawing's file and a glyph uint8 [S, S], in grey levels of 0 to 1."""
    there = np.asarray(read_image(path.read_bytes()).resize(glyph.shape[::-1]), np.float32)
    return float(np.abs(there - glyph).mean() / 255)


Pairs = list[tuple[np.ndarray, Path]]  # source glyphs uint8 [S, S], and the files of their drawings
Measuring = Callable[[], list[dict[str, float]]]  # waits for the result


def measure_files(pairs: Pairs) -> list[dict[str, float]]:
    """As `measure`, of drawings in files."""
    return [measure(glyph, np.asarray(read_image(path.read_bytes()))) for glyph, path in pairs]


@contextlib.contextmanager
def measuring(count: int) -> Iterator[Callable[[Pairs], Measuring]]:
    """What measures some of `count` pairs: in other processes, where they are many, while the network draws.

    Raises:
        Failure: when one of these is killed.
    """
    workers = min(cores(), MOST_WORKERS)
    if workers == 1 or count < FEW_TO_SHARE:
        yield lambda pairs: functools.partial(measure_files, pairs)
        return
    with process_pool(workers, "compares") as pool:
        yield lambda pairs: pool.submit(measure_files, pairs).result


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
