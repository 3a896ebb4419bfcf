"""Drawing characters to files."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from model import Zi2ZiModel
from utils.experiment.manifest import Drawing, entry
from utils.files import write_whole
from utils.fonts.trace import to_svg, trace
from utils.glyphs.source import GlyphSource
from utils.images import save_image, to_grey
from utils.sample import draw

MOST_WRITERS = 4  # threads that render and write beside the network


def draw_files(
    model: Zi2ZiModel, source: GlyphSource, drawings: Sequence[Drawing], batch_size: int, skip_exist: bool
) -> Iterator[dict[str, Any]]:
    """Draw and write every file, with a progress bar; yields a manifest entry for each, once it is written.

    Raises:
        OSError: when a file can't be written.
    """
    todo = []
    for drawing in drawings:
        if not source.covers(drawing.key):
            only = " (it has a placeholder there)" if drawing.key in source.placeholders else ""
            yield entry(drawing, error=f"{source.name} lacks the character{only}")
        elif skip_exist and drawing.path.is_file() and drawing.path.stat().st_size:  # empty after a loss of power
            yield entry(drawing)
        else:
            todo.append(drawing)
    for folder in {drawing.path.parent for drawing in todo}:
        folder.mkdir(parents=True, exist_ok=True)

    def render(batch: Sequence[Drawing]) -> np.ndarray:
        glyphs = [source.render(drawing.key, model.config.image_size) for drawing in batch]
        return np.stack(glyphs) if glyphs else np.empty(0)

    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)] + [[]]
    workers = ThreadPoolExecutor(MOST_WRITERS)  # threads: encoding a PNG leaves the interpreter free
    with workers, tqdm(total=len(todo), desc="drawing", unit="glyph", disable=None) as bar:
        written: list[tuple[Drawing, Future]] = []
        rendered = workers.submit(render, batches[0])
        for batch, after in itertools.pairwise(batches):
            glyphs = rendered.result()
            rendered = workers.submit(render, after)  # the next one, while the network draws this one
            drawn = draw(model, glyphs, [drawing.label for drawing in batch], at_once=batch_size)
            yield from finished(written, bar)  # the batch before was written meanwhile
            written = [
                (d, workers.submit(save_drawing, pixels, d.path)) for d, pixels in zip(batch, drawn, strict=True)
            ]
        yield from finished(written, bar)


def save_drawing(pixels: np.ndarray, path: Path) -> None:
    """Write a drawing, uint8 [S, S] or [S, S, 3], in the format of the path's extension: as .svg, its outlines."""
    if path.suffix == ".svg":
        write_whole(path, to_svg(trace(to_grey(pixels[None])[0]), len(pixels)).encode())
    else:
        save_image(pixels, path)


def finished(written: Sequence[tuple[Drawing, Future]], bar: tqdm) -> Iterator[dict[str, Any]]:
    """Wait for files and yield their manifest entries."""
    for drawing, future in written:
        future.result()
        bar.update()
        yield entry(drawing)
