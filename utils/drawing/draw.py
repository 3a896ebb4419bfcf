"""Drawing characters to files."""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from model import Zi2ZiModel
from utils.experiment.manifest import Drawing, Manner, drawn_entry, entry, kept_entry
from utils.files import write_whole
from utils.fonts.trace import to_svg, trace
from utils.glyphs.source import GlyphSource
from utils.images import save_image, to_grey, to_uint8
from utils.messages import _
from utils.sample import draw_field

MOST_WRITERS = 4  # threads that render and write beside the network
STEEPEST = 4.0  # of a field, what is kept in the file of one: at its edges it rises less from pixel to pixel

logger = logging.getLogger(__name__)


Earlier = Mapping[str, Mapping[str, Any]]  # the entries of the manifest before, by their identity


def draw_files(
    model: Zi2ZiModel,
    source: GlyphSource,
    drawings: Sequence[Drawing],
    manner: Manner,
    batch_size: int,
    earlier: Earlier | None = None,
) -> Iterator[dict[str, Any]]:
    """Draw and write every file, with a progress bar; yields a manifest entry for each, once it is written.

    Given the entries of `earlier` runs, what is there already stays, unless it was drawn in another manner.

    Raises:
        OSError: when a file can't be written.
    """
    todo: list[Drawing] = []
    for drawing, known in look_for(drawings, manner, source, earlier):
        if known is None:
            todo.append(drawing)
        else:
            yield known
    for folder in {(drawing.field if manner.with_fields else drawing.path).parent for drawing in todo}:
        folder.mkdir(parents=True, exist_ok=True)

    def render(batch: Sequence[Drawing]) -> np.ndarray:
        glyphs = [source.render(drawing.key, model.config.image_size) for drawing in batch]
        return np.stack(glyphs) if glyphs else np.empty(0)

    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)] + [[]]
    workers = ThreadPoolExecutor(MOST_WRITERS)  # threads: encoding a PNG leaves the interpreter free
    with workers, tqdm(total=len(todo), desc="drawing", unit="glyph", disable=None) as bar:
        written: list[Future] = []
        rendered = workers.submit(render, batches[0])
        for batch, after in itertools.pairwise(batches):
            glyphs = rendered.result()
            rendered = workers.submit(render, after)  # the next one, while the network draws this one
            field = draw_field(model, glyphs, [drawing.label for drawing in batch], at_once=batch_size)
            pictures, fields = to_uint8(torch.tanh(field)), to_grey(to_uint8(field / STEEPEST))
            yield from finished(written, bar)  # the batch before was written meanwhile
            written = [
                workers.submit(save_drawing, *each, manner) for each in zip(batch, pictures, fields, strict=True)
            ]
        yield from finished(written, bar)


def look_for(
    drawings: Sequence[Drawing], manner: Manner, source: GlyphSource, earlier: Earlier | None
) -> list[tuple[Drawing, dict[str, Any] | None]]:
    """Each drawing with its entry where it need not be drawn, or can't be; says how many are there."""
    found, kept, anew = [], 0, 0
    for drawing in drawings:
        known = None
        if not source.covers(drawing.key):
            only = " (it has a placeholder there)" if drawing.key in source.placeholders else ""
            known = entry(drawing, error=f"{source.name} lacks the character{only}")
        elif earlier is not None:
            known = kept_entry(drawing, earlier, manner)
            kept += known is not None
            anew += known is None and drawing.path.is_file()
        found.append((drawing, known))
    if kept or anew:
        logger.info(
            _(
                "{kept} drawings are there already{more}",
                kept=kept,
                more=f", {anew} were drawn otherwise: these anew" if anew else "",
            )
        )
    return found


def save_drawing(drawing: Drawing, picture: np.ndarray, field: np.ndarray, manner: Manner) -> dict[str, Any]:
    """Write a drawing, uint8 [S, S] or [S, S, 3], in the format of its path's extension: as .svg, its outlines.

    `field`, uint8 [S, S], has the zero line of the network's field as its 50% level, without the steepness that the
    tanh gives to a picture: between two pixels the line can be told more closely. Returns the manifest's entry.
    """
    if drawing.path.suffix == ".svg":
        write_whole(drawing.path, to_svg(trace(field), len(field)).encode())
    else:
        if manner.with_fields:
            save_image(field, drawing.field)
        save_image(picture, drawing.path)
    return drawn_entry(drawing, manner)


def finished(written: Sequence[Future], bar: tqdm) -> Iterator[dict[str, Any]]:
    """Wait for files and yield their manifest entries."""
    for future in written:
        found = future.result()
        bar.update()
        yield found
