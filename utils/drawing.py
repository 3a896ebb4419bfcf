"""Drawing characters to files: names, manifest, and the comparison with the true glyphs.

Models come as objects with the `sample` method of `Zi2ZiModel`.
"""

import itertools
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from utils import metrics
from utils.charset import codepoint_name
from utils.dataset import Pair, PairData
from utils.experiment import write_json
from utils.files import write_whole
from utils.images import save_image, save_sheet, to_float, to_grey, to_uint8
from utils.labels import Label, folder_of, weights_of
from utils.legibility import Reader, legibility
from utils.vectorize import to_svg, trace

SHEET_GLYPHS = 60  # most glyphs on a sheet
MOST_WRITERS = 4  # threads that render and write beside the network
COMPARED_GLYPHS = 200  # most glyphs that are scored
SHIFTED_GLYPHS = 16  # of them those whose sources are moved to see what changes


def is_safe_name(character: str) -> bool:
    """Whether a character can name a file on every system, without meeting another character's file.

    Cased letters meet on systems that ignore case, characters that normalise to others on those
    that normalise names; of the rest, letters, digits and symbols beyond ASCII are safe.
    """
    if character.isascii():
        return character.isdigit() or character.islower()
    forms = (unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC"))
    caseless = character == character.lower() == character.casefold() and character.upper() == character
    return caseless and all(form == character for form in forms) and unicodedata.category(character)[0] in "LNS"


def file_stem(character: str, rule: str, number: int) -> str:
    """The name of a drawing without its extension, by --filename_rule; `number` counts from 1."""
    if rule == "unicode_int":
        return str(ord(character))
    if rule == "seq":
        return f"{number:05d}"
    if rule == "char" and is_safe_name(character):
        return character
    return codepoint_name(character)


@dataclass(frozen=True)
class Drawing:
    """One character, or the source glyph of one record, in one label, and the file it goes to."""

    label: Label
    key: str | int  # the character, or the number of the record
    path: Path


def plan(characters: str, labels: Sequence[Label], folder: Path, rule: str, extension: str) -> list[Drawing]:
    """A drawing for every character in every label, in `folder/<label>/`."""
    return [
        Drawing(label, character, folder / folder_of(label) / f"{file_stem(character, rule, number)}.{extension}")
        for label in labels
        for number, character in enumerate(characters, 1)
    ]


def plan_records(pairs: Sequence[Pair], folder: Path, extension: str) -> list[Drawing]:
    """A drawing for every record in its own label, named by its number."""
    return [Drawing(label, key, folder / str(label) / f"{abs(key):05d}.{extension}") for label, key in pairs]


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


def shift_change(model: Any, source: np.ndarray, labels: Sequence[Label]) -> float:
    """How much a drawing changes when its source, uint8 [N, S, S], moves by a pixel: `metrics.shift_consistency`."""
    pixels = to_float(torch.from_numpy(source).to(model.device), model.config.input_nc)
    label = label_tensor(labels, model.config.embedding_num)
    return round(metrics.shift_consistency(lambda x: model.sample(x, label), pixels), 5)


def draw_files(
    model: Any, source: Any, drawings: Sequence[Drawing], batch_size: int, skip_exist: bool
) -> Iterator[dict[str, Any]]:
    """Draw and write every file, with a progress bar; yields a manifest entry for each, once it is written.

    `source` renders what is drawn from, as the `source` of `PairData`.

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

    def render(batch: Sequence[Drawing]) -> np.ndarray | None:
        return np.stack([source.render(drawing.key, model.config.image_size) for drawing in batch]) if batch else None

    batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)] + [[]]
    workers = ThreadPoolExecutor(MOST_WRITERS)  # threads: encoding a PNG leaves the interpreter free
    with workers, tqdm(total=len(todo), desc="drawing", unit="glyph", disable=None) as bar:
        written: list[tuple[Drawing, Future]] = []
        rendered = workers.submit(render, batches[0])
        for batch, after in itertools.pairwise(batches):
            glyphs = rendered.result()
            rendered = workers.submit(render, after)  # the next one, while the network draws this one
            drawn = images_of(model, glyphs, [drawing.label for drawing in batch])
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


def entry(drawing: Drawing, error: str | None = None) -> dict[str, Any]:
    """What the manifest says of a drawing."""
    place = {"file": f"{folder_of(drawing.label)}/{drawing.path.name}"} if error is None else {"error": error}
    if isinstance(drawing.key, int):
        return {"record": abs(drawing.key), "label": drawing.label, **place}
    return {"character": drawing.key, "codepoint": codepoint_name(drawing.key), "label": drawing.label, **place}


def title_of(item: Mapping[str, Any]) -> str:
    """What a manifest entry is about, for people."""
    what = f"record {item['record']}" if "record" in item else f"{item['character']} ({item['codepoint']})"
    return f"{what}, label {item['label']}" if "label" in item else what


def write_manifest(folder: Path, header: Mapping[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Write manifest.json; entries of earlier runs stay for what this run did not touch."""
    path = folder / "manifest.json"
    earlier: list[dict[str, Any]] = []
    if path.is_file():
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # a manifest that is none is written anew
            earlier = list(json.loads(path.read_text(encoding="utf-8"))["characters"])
            earlier = [item for item in earlier if isinstance(item, dict)]

    def identity(item: dict[str, Any]) -> str:
        return repr((item.get("label"), item.get("codepoint"), item.get("record")))

    drawn = set(map(identity, entries))
    kept = [item for item in earlier if identity(item) not in drawn]
    write_json(path, {**header, "characters": kept + list(entries)})


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
