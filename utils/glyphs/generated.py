"""Which glyphs of a font were generated, and which of these have been changed by hand since.

Beside a font that is made lies `<name>.generated.json`: its generated characters, each with a digest of its outline;
of fonts that differ in their extension alone, those of all. A glyph whose outline still is that one is not the
designer's, and counts as lacking; one that was corrected is.
"""

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError, abbreviate
from utils.files import write_json
from utils.glyphs.charset import codepoint_name
from utils.glyphs.render import GlyphRenderer, Outline
from utils.messages import _

ON_CURVE, CUBIC = 1, 2  # bits of a point's tag, as FreeType has them


class Generated(NamedTuple):
    """The generated characters of a font."""

    unchanged: str
    edited: str
    entries: dict[str, dict[str, Any]]  # of the unchanged ones, what the file says of each


def generated_path(font: Path) -> Path:
    """The file beside a font that tells which of its glyphs were generated."""
    return font.with_name(f"{font.stem}.generated.json")


def find_generated(font: GlyphRenderer, file: str | None = None) -> Generated | None:
    """What `file`, or else the file beside a font, tells of its glyphs; None where there is none.

    Raises:
        UserError: when the file is named and is not there, or can't be read.
    """
    path = Path(file) if file else generated_path(font.path)
    if not path.is_file():
        if file:
            raise UserError(_("--generated {file}: no such file", file=file))
        return None
    known = _read(path)
    there = [c for c in known if font.covers(c)]
    digests = {c: outline_digest(font.outline(c)) for c in there}
    same = {c: known[c][digest] for c, digest in digests.items() if digest in known[c]}
    unchanged, edited = ("".join(c for c in there if (c in same) == wanted) for wanted in (True, False))
    return Generated(unchanged, edited, same)


def disregard_generated(font: GlyphRenderer, file: str | None = None) -> Generated | None:
    """As `find_generated`; from here on the font is as if it had none of the unchanged ones."""
    found = find_generated(font, file)
    if found is not None:
        font.disregarded = frozenset(found.unchanged)
    return found


def generated_line(font: GlyphRenderer, found: Generated) -> str:
    """The line that says what became of a font's generated glyphs."""
    if found.edited and not found.unchanged:
        return _(
            "{name}: none of its {count} generated glyphs is as it was made, and all count as drawn: if the font "
            "was converted or scaled, and not corrected, use it as it was",
            name=font.path.name,
            count=len(found.edited),
        )
    kept = _(
        "; {count} were changed since, and count as drawn: {edited}",
        count=len(found.edited),
        edited=abbreviate(found.edited),
    )
    return _(
        "{name}: {count} glyphs are as they were generated, and count as lacking{more}",
        name=font.path.name,
        count=len(found.unchanged),
        more=kept if found.edited else "",
    )


def write_generated(font: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the file beside a font, of what is said of each generated character but its digest."""
    drawn = GlyphRenderer(str(font))
    known = [
        {"character": c, "codepoint": codepoint_name(c), "outline": outline_digest(drawn.outline(c)), **entries[c]}
        for c in sorted(entries)
        if drawn.covers(c)
    ]
    path = generated_path(font)
    there = {name: items for name, items in _sections(path).items() if path.with_name(name).is_file()}
    others = {name: items for name, items in there.items() if name != font.name}
    write_json(path, {"font": font.name, "characters": known, **({"others": others} if others else {})})


def _sections(path: Path) -> dict[str, list]:
    """What a file tells of each font, by the font's name; nothing where it can't be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        content = json.loads(path.read_text("utf-8"))
        return {**content.get("others", {}), content["font"]: content["characters"]}
    return {}


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What a file tells of each character, by the digests of its outlines."""
    try:
        content = json.loads(path.read_text("utf-8"))
        known: dict[str, dict[str, dict[str, Any]]] = {}
        for item in itertools.chain(*content.get("others", {}).values(), content["characters"]):
            character = chr(int(item["codepoint"][2:], 16))
            entry = {key: item[key] for key in ("step", "experiment", "font") if key in item}
            known.setdefault(character, {})[str(item["outline"])] = entry
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            _(
                "{path} can't be read as a record of generated glyphs: {error}",
                path=path,
                error=abbreviate(str(error), 100),
            )
        ) from error
    return known


def outline_digest(outline: Outline) -> str:
    """A digest of an outline and its advance, whatever the order and the direction of its contours and their starts."""
    segments = sorted(min(each, each[::-1]) for each in _segments(outline))
    return hashlib.sha256(repr((segments, outline.advance)).encode()).hexdigest()[:16]


def _segments(outline: Outline) -> Iterable[tuple[tuple[float, float], ...]]:
    """The segments of an outline: a line has two points, a quadratic curve three, a cubic one four."""
    first = 0
    for last in outline.contours:
        points = [tuple(map(float, point)) for point in outline.points[first : last + 1]]
        tags = outline.tags[first : last + 1]
        first = last + 1
        explicit = list(_with_implied(points, tags))
        starts = [number for number, (_, on) in enumerate(explicit) if on]
        for start, end in zip(starts, [*starts[1:], starts[0] + len(explicit)] if starts else [], strict=True):
            segment = tuple(explicit[number % len(explicit)][0] for number in range(start, end + 1))
            if len(set(segment)) > 1:
                yield segment


def _with_implied(points: list, tags: list[int]) -> Iterable[tuple[tuple[float, float], bool]]:
    """The points of a contour, each with whether it is on the curve; between two quadratic ones there is one more."""
    for number, (point, tag) in enumerate(zip(points, tags, strict=True)):
        yield point, bool(tag & ON_CURVE)
        after = (number + 1) % len(points)
        if not (tag & ON_CURVE or tags[after] & ON_CURVE or tag & CUBIC):
            yield ((point[0] + points[after][0]) / 2, (point[1] + points[after][1]) / 2), True
