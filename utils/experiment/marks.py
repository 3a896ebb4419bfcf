"""What a font maker has decided of drawings on the review page, as its review.json tells."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError, abbreviate
from utils.glyphs.charset import codepoint_name
from utils.labels import Label
from utils.messages import _

FORMAT = 1  # of review.json
GOOD, REDRAW, LEAVE_OUT = MARKS = ("good", "redraw", "leave_out")
NETWORK = ("generator", "image_size", "input_nc", "ngf", "embedding_num")  # what no resumed run changes
LARGEST = 8_000_000  # bytes of a review.json that is read; all of Unicode's ideographs are far fewer


def experiment_id(config: Mapping[str, Any]) -> str:
    """What tells an experiment from others, also after it was resumed, or its fonts have moved: 16 hex digits."""
    data = config["data"]
    fonts = [data.get("sha256"), data.get("src_font"), *(data.get("targets") or [])]
    digests = [font["sha256"] if isinstance(font, dict) else font for font in fonts]
    network = [config["model"].get(name) for name in NETWORK]
    known = [network, digests, [data.get(name) for name in ("labels", "train", "held_out")]]
    return hashlib.blake2b(json.dumps(known, sort_keys=True).encode(), digest_size=8).hexdigest()


def read_marks(path: Path, config: Mapping[str, Any] | None = None, label: Label | None = None) -> dict[str, str]:
    """The mark of each character in a review.json; with a `config` or a `label`, one of that experiment or label.

    Raises:
        UserError: when it can't be read, or is of another experiment or label.
    """
    if not path.is_file():
        raise UserError(_("{path}: no such file: the review page saves it", path=path))
    if path.stat().st_size > LARGEST:
        raise UserError(_("{path} can't be read: it is larger than any review can be", path=path))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise UserError(_("{path} was written by another version of this program", path=path))
        marks = {chr(int(name.removeprefix("U+"), 16)): mark for name, mark in content["marks"].items()}
        "".join(marks).encode("utf-8")  # a lone surrogate is no character
        experiment, name = str(content["experiment"]), abbreviate(str(content.get("name", "")), 60)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            _("{path} can't be read: {error}", path=path, error=abbreviate(" ".join(str(error).split()), 100))
        ) from error
    wrong = next((character for character, mark in marks.items() if mark not in MARKS), None)
    if wrong is not None:
        raise UserError(
            _(
                "{path} is damaged: the mark of {wrong} is none of {marks}",
                path=path,
                wrong=codepoint_name(wrong),
                marks=", ".join(MARKS),
            )
        )
    if config is not None and experiment != experiment_id(config):
        raise UserError(
            _(
                "{path} is a review of another experiment ({name}): its marks are of other drawings",
                path=path,
                name=name,
            )
        )
    if label not in (None, content.get("label")):
        where = abbreviate(str(content.get("label")), 60)
        raise UserError(
            _(
                "{path} is a review of label {where}, and the drawings are of label {label}",
                path=path,
                where=where,
                label=label,
            )
        )
    return marks


def marked(marks: Mapping[str, str], wanted: Collection[str]) -> str:
    """The characters that have one of the `wanted` marks."""
    return "".join(character for character, mark in marks.items() if mark in wanted)
