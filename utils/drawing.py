"""Drawing characters to files: names, manifest, and the comparison with the true glyphs.

Models come as objects with the `sample` method of `Zi2ZiModel`.
"""

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

from utils import checkpoint, metrics
from utils.charset import codepoint_name
from utils.cli import UserError
from utils.dataset import Pair
from utils.experiment import FontData, write_json
from utils.images import save_image, save_sheet, to_float, to_uint8
from utils.render import GlyphRenderer

SHEET_GLYPHS = 60  # most glyphs on a sheet
COMPARED_GLYPHS = 200  # most glyphs that are scored


@dataclass(frozen=True)
class Weights:
    """One generator file of a checkpoint, read."""

    step: int
    kind: str  # ema | raw
    path: Path
    state_dict: dict[str, torch.Tensor]


def find_weights(folder: Path, resume: str, kind: str) -> tuple[Weights, list[str]]:
    """Read the generator of step `resume` (or `latest`) in a checkpoint folder, and say what was passed over.

    `kind` is `ema`, `raw`, or `auto`: EMA weights, or the raw ones where there are none. `latest` takes
    complete steps only, unless there is none.

    Raises:
        UserError: when there is nothing to draw with.
    """
    parts = {"ema": (checkpoint.EMA_GENERATOR,), "raw": (checkpoint.GENERATOR,)}
    wanted = parts["ema"] + parts["raw"] if kind == "auto" else parts[kind]
    present = sorted({step for part in wanted for step in checkpoint.steps_with(folder, part)}, reverse=True)
    if not present:
        raise UserError(f"{folder} has no {' or '.join(wanted)} of any step: train first")
    said = []
    if resume == "latest":
        complete = set(checkpoint.steps_with(folder, checkpoint.STATE)) or set(present)
        said += [f"step {step} is passed over: its write was cut" for step in present if step not in complete]
        steps = [step for step in present if step in complete]
    elif int(resume) in present:
        steps = [int(resume)]
    else:
        raise UserError(f"{folder} has no generator of step {resume}; it has steps {present[::-1]}")
    for step in steps:
        for part in wanted:
            path = checkpoint.part_path(folder, step, part)
            is_ema = part == checkpoint.EMA_GENERATOR
            if is_ema and kind == "auto" and not path.is_file():
                raw = checkpoint.part_path(folder, step, checkpoint.GENERATOR)
                said.append(f"step {step} has no EMA weights: drawing with {raw.name}")
                continue
            try:
                return Weights(step, "ema" if is_ema else "raw", path, checkpoint.load_part(path)), said
            except UserError as error:
                if resume != "latest":
                    raise
                said.append(f"passed over: {error}")
    raise UserError(f"no generator in {folder} can be read: {said[-1]}")


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
    """One character in one label, and the file it goes to."""

    label: int
    character: str
    path: Path


def plan(characters: str, labels: Sequence[int], folder: Path, rule: str, extension: str) -> list[Drawing]:
    """A drawing for every character in every label, in `folder/<label>/`."""
    return [
        Drawing(label, character, folder / str(label) / f"{file_stem(character, rule, number)}.{extension}")
        for label in labels
        for number, character in enumerate(characters, 1)
    ]


def images_of(model: Any, source: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Draw uint8 [N, S, S] in the given labels: uint8 [N, S, S], or [N, S, S, 3] for a model in colour."""
    pixels = to_float(torch.from_numpy(source).to(model.device), model.config.input_nc)
    return to_uint8(model.sample(pixels, torch.tensor(labels)))


def draw_files(
    model: Any, font: GlyphRenderer, drawings: Sequence[Drawing], batch_size: int, skip_exist: bool
) -> Iterator[dict[str, Any]]:
    """Draw and write every file, with a progress bar; yields a manifest entry for each, once it is written.

    Raises:
        OSError: when a file can't be written.
    """
    todo = []
    for drawing in drawings:
        if not font.covers(drawing.character):
            yield entry(drawing, error=f"{font.name} lacks the character")
        elif skip_exist and drawing.path.is_file():
            yield entry(drawing)
        else:
            todo.append(drawing)
    for folder in {drawing.path.parent for drawing in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as writer, tqdm(total=len(todo), desc="drawing", unit="glyph", disable=None) as bar:
        written: list[tuple[Drawing, Future]] = []
        for start in range(0, len(todo), batch_size):
            batch = todo[start : start + batch_size]
            source = np.stack([font.render(drawing.character, model.config.image_size) for drawing in batch])
            drawn = images_of(model, source, [drawing.label for drawing in batch])
            yield from finished(written, bar)  # the batch before was written while this one was drawn
            written = [(d, writer.submit(save_image, pixels, d.path)) for d, pixels in zip(batch, drawn, strict=True)]
        yield from finished(written, bar)


def finished(written: Sequence[tuple[Drawing, Future]], bar: tqdm) -> Iterator[dict[str, Any]]:
    """Wait for files and yield their manifest entries."""
    for drawing, future in written:
        future.result()
        bar.update()
        yield entry(drawing)


def entry(drawing: Drawing, error: str | None = None) -> dict[str, Any]:
    """What the manifest says of a drawing."""
    place = {"file": f"{drawing.label}/{drawing.path.name}"} if error is None else {"error": error}
    return {
        "character": drawing.character,
        "codepoint": codepoint_name(drawing.character),
        "label": drawing.label,
        **place,
    }


def write_manifest(folder: Path, header: Mapping[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Write manifest.json; entries of earlier runs stay for what this run did not touch."""
    path = folder / "manifest.json"
    earlier: list[dict[str, Any]] = []
    if path.is_file():
        with suppress(ValueError, KeyError, TypeError):  # a manifest that is none is written anew
            earlier = list(json.loads(path.read_text(encoding="utf-8"))["characters"])
    drawn = {(item["label"], item["codepoint"]) for item in entries}
    kept = [item for item in earlier if (item.get("label"), item.get("codepoint")) not in drawn]
    write_json(path, {**header, "characters": kept + list(entries)})


def compare(
    models: Mapping[str, Any], data: FontData, pairs: Sequence[Pair], path: Path, batch_size: int, caption: str
) -> dict[str, dict[str, float]]:
    """Draw pairs with each model, write a sheet (source | each model | target), and score each model.

    `models` maps a heading to a model. Characters that a target font lacks have no target to score
    against and no column for it; at most 200 pairs, evenly spread, are drawn.
    """
    pairs = [pair for pair in pairs if data.source.covers(pair[1])]
    known = [pair for pair in pairs if data.targets[pair[0]].covers(pair[1])]
    chosen = known or pairs
    chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, min(len(chosen), COMPARED_GLYPHS)).astype(int)]
    if not chosen:
        return {}
    size = next(iter(models.values())).config.image_size
    columns = {"source": np.stack([data.source.render(character, size) for _, character in chosen])}
    for heading, model in models.items():
        parts = []
        for start in range(0, len(chosen), batch_size):
            labels = [label for label, _ in chosen[start : start + batch_size]]
            parts.append(images_of(model, columns["source"][start : start + batch_size], labels))
        drawn = np.concatenate(parts)
        columns[heading] = drawn[..., 0] if drawn.ndim == 4 else drawn
    scores = {}
    if known:
        columns["target"] = data.render_pairs(chosen, size)[1]
        scores = {heading: metrics.score(columns[heading], columns["target"]) for heading in models}
    shown = np.linspace(0, len(chosen) - 1, min(len(chosen), SHEET_GLYPHS)).astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_sheet({heading: images[shown] for heading, images in columns.items()}, path, blocks=4, caption=[caption])
    return scores
