"""What was drawn, as manifest.json and suspects.json tell."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError, abbreviate
from utils.experiment.calibration import Calibration
from utils.files import short_digest, write_json
from utils.glyphs.charset import codepoint_name
from utils.glyphs.file_names import read_names
from utils.images import EXTENSIONS
from utils.labels import Label, label_folder, label_weights
from utils.messages import _


def find_drawings(folder: Path, label: Label, to_trace: bool = False) -> dict[str, Path]:
    """The drawings in a folder of infer.py, by their characters, as its manifest tells, or else the names of its files.

    With `to_trace` a drawing is its field, where that is kept and the drawing was not changed since.

    Raises:
        UserError: when there are none.
    """
    manifest, found = folder / "manifest.json", {}
    if manifest.is_file():
        for entry in read_manifest(manifest):
            if entry.get("label") == label and "error" not in entry and "codepoint" in entry:
                path, field = folder / entry["file"], folder / entry.get("field", ".")
                use_field = to_trace and field.is_file() and is_unchanged(path, entry)
                found[chr(int(entry["codepoint"][2:], 16))] = field if use_field else path
        if any(path.suffix == ".svg" for path in found.values()):
            raise UserError(
                _("{folder} holds outlines: draw pictures for a font, without --image_ext svg", folder=folder)
            )
        if not found:
            raise UserError(
                _(
                    "{manifest} names no drawing of a character in label {label}: draw some with infer.py",
                    manifest=manifest,
                    label=label,
                )
            )
        return dict(sorted(found.items()))
    if not folder.is_dir():
        raise UserError(_("{folder}: no such folder of drawings: draw some with infer.py", folder=folder))
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    named = read_names([path.stem for path in files]).characters
    for path in files:
        character = named[path.stem]
        if character is not None:
            found[character] = path
    if not found:
        first = _(", such as {name}", name=files[0].name) if files else ""
        raise UserError(
            _(
                "{folder} has {count} images{first}, and none is named by a character, as 永.png is",
                folder=folder,
                count=len(files),
                first=first,
            )
        )
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
            for file in map(Path, (entry["file"], entry.get("field", "."))):
                if file.is_absolute() or ".." in file.parts:
                    raise ValueError("a file outside of the folder")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(_("{path} can't be read: {error}", path=path, error=abbreviate(str(error), 100))) from error
    return known


def read_suspects(folder: Path, label: Label) -> dict[str, dict[str, Any]]:
    """What suspects.json tells of each character, the worst first: its score and reasons.

    Raises:
        UserError: when it is not there or can't be read.
    """
    path = folder / "suspects.json"
    if not path.is_file():
        raise UserError(_("{path}: no such file: infer.py --suspects makes it", path=path))
    try:
        entries = [entry for entry in json.loads(path.read_text("utf-8"))["suspects"] if entry["label"] == label]
        return {
            chr(int(entry["codepoint"][2:], 16)): {
                "score": _finite(entry["score"]),
                "reasons": [str(reason) for reason in entry["reasons"]],
            }
            for entry in entries
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(_("{path} can't be read: {error}", path=path, error=abbreviate(str(error), 100))) from error


def _finite(value: Any) -> float:
    """A number; raises ValueError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return value


@dataclass(frozen=True)
class Manner:
    """How drawings are made: what a manifest tells of each beside what it shows."""

    step: int
    weights: str  # ema | raw
    labels: Sequence[Calibration]  # of each label
    with_fields: bool = False  # whether fields are kept, for a font to be traced from

    def of(self, label: Label) -> dict[str, Any]:
        """What the manifest says of a drawing in a label, or in a blend, which mixes those of its labels."""
        shares = [(self.labels[one], share) for one, share in label_weights(label).items()]
        bias = sum(share * each.bias for each, share in shares)
        sharpness = sum(share * each.sharpness for each, share in shares)
        drawn_with = {"bias": round(bias, 4), "sharpness": round(sharpness, 4)}
        return {"step": self.step, "weights": self.weights, **drawn_with}


@dataclass(frozen=True)
class Drawing:
    """One character, or the source glyph of one record, in one label, and the file it goes to."""

    label: Label
    key: str | int  # the character, or the number of the record
    path: Path
    font: str | None = None  # of --src_font's further fonts, the one that the character is drawn from

    @property
    def field(self) -> Path:
        """Where its field is kept: a picture of what the network gives before the tanh."""
        return self.path.parent / "field" / f"{self.path.stem}.png"


def entry(drawing: Drawing, error: str | None = None) -> dict[str, Any]:
    """What the manifest says of a drawing."""
    place = {"file": f"{label_folder(drawing.label)}/{drawing.path.name}"} if error is None else {"error": error}
    if isinstance(drawing.key, int):
        return {"record": abs(drawing.key), "label": drawing.label, **place}
    font = {} if drawing.font is None else {"src_font": drawing.font}
    return {"character": drawing.key, "codepoint": codepoint_name(drawing.key), "label": drawing.label, **place, **font}


def entry_title(item: Mapping[str, Any]) -> str:
    """What a manifest entry is about, for people."""
    what = f"record {item['record']}" if "record" in item else f"{item['character']} ({item['codepoint']})"
    return f"{what}, label {item['label']}" if "label" in item else what


def drawn_entry(drawing: Drawing, manner: Manner) -> dict[str, Any]:
    """What the manifest says of a drawing that has just been written."""
    found = {**entry(drawing), **manner.of(drawing.label), "digest": short_digest(drawing.path.read_bytes())}
    if manner.with_fields:
        found["field"] = f"{label_folder(drawing.label)}/field/{drawing.field.name}"
    return found


def is_unchanged(path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a drawing is still what was written when the manifest's entry was; False where it does not tell."""
    return path.is_file() and "digest" in entry and short_digest(path.read_bytes()) == entry["digest"]


def identity(item: Mapping[str, Any]) -> str:
    """What tells an entry from every other one."""
    return repr((item.get("label"), item.get("codepoint"), item.get("record")))


def earlier_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of a folder's manifest by their identity; none where it can't be read.

    Where the step of each is in the head alone, as earlier versions wrote it, it is put into each.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # a manifest that is none is written anew
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        shared = {} if manifest.get("each_tells") else {"step": manifest.get("step")}
        return {identity(item): {**shared, **item} for item in manifest["characters"] if isinstance(item, dict)}
    return {}


def kept_entry(drawing: Drawing, earlier: Mapping[str, Mapping[str, Any]], manner: Manner) -> dict[str, Any] | None:
    """The entry of a drawing that is there and may stay; None where it is to be drawn, perhaps anew.

    What was drawn in another manner is drawn anew; what was changed since, or is not known to be drawn, is the user's.
    """
    plain = entry(drawing)
    if not (drawing.path.is_file() and drawing.path.stat().st_size):  # empty after a loss of power
        return None
    known = earlier.get(identity(plain), {})
    if known.get("file") != plain["file"] or "step" not in known:
        return plain
    if "digest" in known and not is_unchanged(drawing.path, known):
        return plain
    same = all(known.get(name) == value for name, value in manner.of(drawing.label).items())
    has_field = not manner.with_fields or ("field" in known and drawing.field.is_file())
    return dict(known) if same and has_field else None


def changed_since(folder: Path, drawings: Sequence[Drawing]) -> set[Path]:
    """The files of those drawings that are not what was written when the manifest's entries were."""
    known = earlier_entries(folder)
    return {
        drawing.path
        for drawing in drawings
        if drawing.path.is_file() and not is_unchanged(drawing.path, known.get(identity(entry(drawing)), {}))
    }


def write_manifest(folder: Path, header: Mapping[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Write manifest.json; entries of earlier runs stay for what this run did not touch."""
    drawn = set(map(identity, entries))
    kept = [item for name, item in earlier_entries(folder).items() if name not in drawn]
    write_json(folder / "manifest.json", {**header, "each_tells": True, "characters": kept + list(entries)})
