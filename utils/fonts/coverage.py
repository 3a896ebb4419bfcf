"""Which characters a font has, which are drawn for it, and which it still lacks."""

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fontTools import unicodedata

from utils.files import write_json
from utils.glyphs.charset import NAMED, codepoint_name, read_charset
from utils.messages import _

COUNTS = ("have", "generated", "missing")


def coverage(
    have: str, generated: str, wanted: Mapping[str, str], placeholders: Collection[str] = ()
) -> dict[str, Any]:
    """Counts for each of the `wanted` charsets (its characters by its name) and for each Unicode block in them.

    `have` are the characters of the font itself, `generated` those drawn for it; of the others it has `placeholders`.
    """
    had, drawn = set(have), set(generated) - set(have)
    everything = dict.fromkeys("".join(wanted.values()))
    blocks: dict[str, str] = {}
    for character in everything:
        block = unicodedata.block(character)
        blocks[block] = blocks.get(block, "") + character

    def count(characters: str) -> dict[str, int]:
        missing = sum(c not in had and c not in drawn for c in characters)
        generated_here = sum(c in drawn for c in characters)
        return dict(zip(COUNTS, (len(characters) - missing - generated_here, generated_here, missing), strict=True))

    return {
        "charsets": {name: count(characters) for name, characters in wanted.items()},
        "blocks": {name: count(characters) for name, characters in sorted(blocks.items())},
        "placeholders": [codepoint_name(c) for c in everything if c in placeholders],
        "missing": [codepoint_name(c) for c in everything if c not in had and c not in drawn],
    }


def charsets_for(chosen: str | None, characters: str, source: Callable[[], str] | None = None) -> dict[str, str]:
    """The charsets to report on: the chosen one, and every named one that `characters` lie in to a good part.

    `source` is as in `read_charset`.
    """
    wanted = {chosen or "characters": read_charset(chosen, source) if chosen else characters}
    for name in NAMED:
        known = read_charset(name)
        if name not in wanted and 2 * len(set(known) & set(characters)) >= len(known):
            wanted[name] = known
    return wanted


def add_lent(path: Path, font: str, terms: str, characters: str) -> None:
    """Note in a coverage.json, which need not be there yet, what another font lends to the one that is made."""
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):  # one that can't be read is written anew
        found = json.loads(path.read_text("utf-8"))
    lent = {"font": font, "terms": terms, "characters": [codepoint_name(c) for c in characters]}
    write_json(path, {**(found if isinstance(found, dict) else {}), "lent": lent})


def coverage_lines(found: Mapping[str, Any]) -> list[str]:
    """The counts as the lines of a table."""
    rows: list[Sequence[Any]] = [("", *COUNTS)]
    for kind in ("charsets", "blocks"):
        rows += [(name, *counts.values()) for name, counts in found[kind].items()]
    width = max(len(str(row[0])) for row in rows)
    boxes = found["placeholders"]
    note = (
        [_("{count} of these have a placeholder in the font, and count as not there", count=len(boxes))]
        if boxes
        else []
    )
    return note + [f"{row[0]!s:{width}}" + "".join(f"{value!s:>11}" for value in row[1:]) for row in rows]
