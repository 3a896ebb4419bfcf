"""What was drawn, as manifest.json and suspects.json tell."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError, abbreviate
from utils.files import write_json
from utils.glyphs.charset import codepoint_name, named_character
from utils.images import EXTENSIONS
from utils.labels import Label, label_folder


def find_drawings(folder: Path, label: Label) -> dict[str, Path]:
    """The drawings in a folder of infer.py, by their characters, as its manifest tells, or else the names of its files.

    Raises:
        UserError: when there are none.
    """
    manifest, found = folder / "manifest.json", {}
    if manifest.is_file():
        for entry in read_manifest(manifest):
            if entry.get("label") == label and "error" not in entry and "codepoint" in entry:
                found[chr(int(entry["codepoint"][2:], 16))] = folder / entry["file"]
        if any(path.suffix == ".svg" for path in found.values()):
            raise UserError(f"{folder} holds outlines: draw pictures for a font, without --image_ext svg")
        if not found:
            raise UserError(f"{manifest} names no drawing of a character in label {label}: draw some with infer.py")
        return dict(sorted(found.items()))
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of drawings: draw some with infer.py")
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    for path in files:
        character = named_character(path.stem)
        if character is not None:
            found[character] = path
    if not found:
        first = f", such as {files[0].name}" if files else ""
        raise UserError(f"{folder} has {len(files)} images{first}, and none is named by a character, as 永.png is")
    return dict(sorted(found.items()))


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest.json.

    Raises:
        UserError: when it can't be read.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))["characters"]
        known = [entry for entry in entries if isinstance(entry, dict)]
        for entry in known:
            if "error" in entry or "record" in entry:
                continue
            chr(int(entry["codepoint"][2:], 16))
            file = Path(entry["file"])
            if file.is_absolute() or ".." in file.parts:
                raise ValueError("a file outside of the folder")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {abbreviate(str(error), 100)}") from error
    return known


def read_suspects(folder: Path, label: Label) -> list[str]:
    """The characters of suspects.json, the worst first.

    Raises:
        UserError: when it is not there or can't be read.
    """
    path = folder / "suspects.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file: infer.py --suspects makes it")
    try:
        entries = json.loads(path.read_text("utf-8"))["suspects"]
        return [chr(int(entry["codepoint"][2:], 16)) for entry in entries if entry["label"] == label]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {abbreviate(str(error), 100)}") from error


@dataclass(frozen=True)
class Drawing:
    """One character, or the source glyph of one record, in one label, and the file it goes to."""

    label: Label
    key: str | int  # the character, or the number of the record
    path: Path


def entry(drawing: Drawing, error: str | None = None) -> dict[str, Any]:
    """What the manifest says of a drawing."""
    place = {"file": f"{label_folder(drawing.label)}/{drawing.path.name}"} if error is None else {"error": error}
    if isinstance(drawing.key, int):
        return {"record": abs(drawing.key), "label": drawing.label, **place}
    return {"character": drawing.key, "codepoint": codepoint_name(drawing.key), "label": drawing.label, **place}


def entry_title(item: Mapping[str, Any]) -> str:
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
