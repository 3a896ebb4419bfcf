"""Drawings beside the true glyphs: sheets and scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model import Zi2ZiModel
from utils import metrics
from utils.data.pairs import Pair
from utils.drawing.job import Job
from utils.drawing.session import Session
from utils.experiment.manifest import Drawing
from utils.images import save_sheet, to_float, to_grey
from utils.labels import Label
from utils.legibility import legibility
from utils.sample import draw, label_tensor
from utils.strokes import score_all

SHEET_GLYPHS = 60  # most glyphs on a sheet
COMPARED_GLYPHS = 200  # most glyphs that are scored
SHIFTED_GLYPHS = 16  # of them those whose sources are moved to see what changes


def compare(session: Session, path: Path) -> dict[str, dict[str, float]]:
    """Draw what is drawn with each model, write a sheet (source | each model | target), and score each model.

    Characters that a target lacks have no target to score against and no column for it; at most 200, evenly spread,
    are drawn. With --compare there is also the change under a shift of the source, with --legibility the share of
    glyphs that are read right, of the targets too.
    """
    job, models, truth = session.job, session.models, session.job.truth
    chosen, known = choose_compared(job)
    if not chosen:
        return {}
    labels, size = [item.label for item in chosen], session.model.config.image_size
    source = np.stack([job.source.render(item.key, size) for item in chosen])
    drawn = {heading: draw(model, source, labels, session.batch_size) for heading, model in models.items()}
    columns, scores = {"source": source, **drawn}, {}
    if truth is not None and known:
        columns["target"] = truth.render_pairs(known, size)[1]
        grey = {heading: to_grey(images) for heading, images in drawn.items()}
        scores = score_all(grey, to_grey(columns["target"]), to_grey(source))
        if session.options.compare:
            for heading, model in models.items():
                scores[heading]["shift_change"] = shift_change(model, source[:SHIFTED_GLYPHS], labels[:SHIFTED_GLYPHS])
        if session.read is not None:
            characters = [str(item.key) for item in chosen]
            for heading in ("target", *models):
                share = legibility(session.read, to_grey(columns[heading]), characters)
                scores.setdefault(heading, {})["legibility"] = share
                if heading != "target" and scores["target"]["legibility"]:
                    scores[heading]["legible_of_readable"] = round(share / scores["target"]["legibility"], 5)
    shown = evenly_spread(len(chosen), SHEET_GLYPHS)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown_columns = {heading: images[shown] for heading, images in columns.items()}
    save_sheet(shown_columns, path, blocks=4, caption=[session.caption], letters=job.source)
    return scores


def choose_compared(job: Job) -> tuple[list[Drawing], list[Pair]]:
    """The drawings that are compared, and, where there is a truth to score them against, their pairs."""
    covered = [item for item in job.drawings if job.source.covers(item.key)]
    pairs = [(item.label, item.key) for item in covered if isinstance(item.label, int)]
    known = {pair for pair in pairs if job.truth is not None and job.truth.has_target(pair)}
    chosen = [item for item in covered if (item.label, item.key) in known] or covered
    chosen = [chosen[i] for i in evenly_spread(len(chosen), COMPARED_GLYPHS)]
    return chosen, [(item.label, item.key) for item in chosen if isinstance(item.label, int)] if known else []


def evenly_spread(count: int, most: int) -> np.ndarray:
    """The places of at most `most` of `count` things, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def shift_change(model: Zi2ZiModel, source: np.ndarray, labels: Sequence[Label]) -> float:
    """How much a drawing changes when its source, uint8 [N, S, S], moves by a pixel: `metrics.shift_consistency`."""
    pixels = to_float(torch.from_numpy(source).to(model.device), model.config.input_nc)
    label = label_tensor(labels, model.config.embedding_num)
    return round(metrics.shift_consistency(lambda x: model.sample(x, label), pixels), 5)
