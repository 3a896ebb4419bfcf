"""Glyph outlines into a font file: a new font, or a font of the user's completed.

Both kinds of outlines are written: quadratic in a `glyf` table, cubic in a `CFF ` table.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables.ttProgram import Program

from utils.errors import UserError
from utils.files import write_whole
from utils.fonts.glyph import Box, OutlinedGlyph, compiled, glyph_name
from utils.fonts.names import Names, latin
from utils.fonts.os2 import find_languages, set_bits
from utils.fonts.vertical import add_vertical_forms
from utils.glyphs.font_file import em_bottom, os2_of, table
from utils.messages import _

MOST_GLYPHS = 65_535
MOST_NAMED = 64_600  # glyphs of a new CFF table that names them: it holds 65,000 strings, with those that all have
LATIN_TEXT, MONOSPACED = 2, 9  # PANOSE: the family is the one in which a font can say that its advances are all alike
ALL_SIZES = 0xFFFF
SMOOTH = 0x000F  # gasp: anti-aliased and grid-fitted, both ways, which without instructions leaves outlines alone


@dataclass
class Metrics:
    """The vertical metrics of a font, in units."""

    units_per_em: int
    ascent: int
    descent: int  # negative below the baseline
    line_gap: int = 0
    cap_height: int = 0
    x_height: int = 0
    em_top: int | None = None  # where the em box ends, which is not the ascent of every font; None: there

    @classmethod
    def of(cls, font: TTFont) -> "Metrics":
        """Those of another font."""
        os2, hhea, units = os2_of(font), table(font, "hhea"), table(font, "head").unitsPerEm
        return cls(
            units,
            hhea.ascent,
            hhea.descent,
            hhea.lineGap,
            getattr(os2, "sCapHeight", 0),
            getattr(os2, "sxHeight", 0),
            em_bottom(font) + units,
        )

    @property
    def top(self) -> int:
        """Where the em box ends, above the baseline: there a glyph of vertical text begins."""
        return self.ascent if self.em_top is None else self.em_top


# --------------------------------------------------------------------------------- a new font


def most_glyphs(cubic: bool) -> int:
    """How many glyphs a new font can have: fewer as .otf, whose glyphs are named in its outlines."""
    return MOST_NAMED if cubic else MOST_GLYPHS


def too_many(cubic: bool) -> str:
    """The message for a new font of more glyphs than that."""
    other = _(", or let --font_out end in .ttf, which holds {most:,}", most=MOST_GLYPHS) if cubic else ""
    return _(
        "a new {kind} holds at most {most:,} glyphs: name fewer characters{other}",
        kind=".otf" if cubic else ".ttf",
        most=most_glyphs(cubic),
        other=other,
    )


def build_font(
    path: Path,
    glyphs: Iterable[OutlinedGlyph],
    spaces: Mapping[str, int],
    names: Names,
    metrics: Metrics,
    vertical: Mapping[str, str] | None = None,
) -> int:
    """Write a font of `glyphs`, with .notdef and the empty `spaces` (character to advance); returns their number.

    The extension of `path` tells the kind of outlines: .otf cubic, .ttf quadratic. In vertical text characters are
    replaced by others as `vertical` tells.

    Raises:
        UserError: when there are more glyphs than a font can hold.
    """
    collected = _Collected(metrics.units_per_em, cubic=path.suffix.lower() == ".otf")
    collected.take(".notdef", _notdef(metrics))
    for character, advance in spaces.items():
        name = "space" if character == " " else glyph_name(character)
        collected.take(name, OutlinedGlyph(character, advance, []))
    for glyph in glyphs:
        collected.take(glyph_name(glyph.character), glyph)
    builder = FontBuilder(metrics.units_per_em, isTTF=not collected.cubic)
    _set_up_glyphs(builder, collected, names)
    _set_up_metrics(builder, collected, metrics)
    builder.setupNameTable({}, mac=False)
    names.write(builder.font["name"], find_languages(names.family, collected.cmap))
    _set_up_os2(builder, collected, names, metrics)
    if len({collected.advances[name] for name in collected.order[1 + len(spaces) :]}) == 1:
        panose = table(builder.font, "OS/2").panose
        panose.bFamilyType, panose.bProportion = LATIN_TEXT, MONOSPACED
    builder.setupPost(keepGlyphNames=not collected.cubic and len(collected.order) < 20_000)
    if not collected.cubic:
        add_smoothing(builder.font)
    head = table(builder.font, "head")
    head.fontRevision = float(names.version)
    head.macStyle = (1 if names.is_bold() else 0) | (2 if names.is_italic() else 0)
    add_vertical_forms(builder.font, vertical or {})
    save_font(builder.font, path)
    return len(collected.order)


class _Collected:
    """The glyphs of a new font, by their names."""

    def __init__(self, units: int, cubic: bool):
        self.units, self.cubic = units, cubic
        self.order: list[str] = []
        self.drawn: dict[str, Any] = {}
        self.bounds: dict[str, Box] = {}
        self.advances: dict[str, int] = {}
        self.heights: dict[str, tuple[int | None, int | None]] = {}  # vertical advance and origin
        self.cmap: dict[int, str] = {}

    def take(self, name: str, glyph: OutlinedGlyph) -> None:
        """Add a glyph.

        Raises:
            UserError: when there are more than a font can hold.
        """
        self.order.append(name)
        self.drawn[name], self.bounds[name] = compiled(glyph, self.cubic, self.units)
        self.advances[name] = glyph.advance
        self.heights[name] = (glyph.height, glyph.origin_y)
        if glyph.character:
            self.cmap[ord(glyph.character)] = name
        if len(self.order) > most_glyphs(self.cubic):
            raise UserError(too_many(self.cubic))


def _set_up_glyphs(builder: FontBuilder, collected: _Collected, names: Names) -> None:
    builder.setupGlyphOrder(collected.order)
    builder.setupCharacterMap(collected.cmap, allowFallback=True)
    if not collected.cubic:
        builder.setupGlyf(collected.drawn)
        return
    strings, family = names.english_table(), latin(names.english_family)
    fields = {"FullName": latin(strings["fullName"]), "FamilyName": family, "version": names.version}
    builder.setupCFF(strings["psName"], fields, collected.drawn, {})


def _set_up_metrics(builder: FontBuilder, collected: _Collected, metrics: Metrics) -> None:
    order, bounds, units = collected.order, collected.bounds, metrics.units_per_em
    builder.setupHorizontalMetrics({name: (collected.advances[name], bounds[name][0]) for name in order})
    builder.setupHorizontalHeader(ascent=metrics.ascent, descent=metrics.descent, lineGap=metrics.line_gap)
    verticals = {name: _vertical(collected.heights[name], metrics) for name in order}
    builder.setupVerticalMetrics({name: (high, top - bounds[name][3]) for name, (high, top) in verticals.items()})
    builder.setupVerticalHeader(ascent=units // 2, descent=-(units // 2))
    if collected.cubic:  # without these a program would have to find the top of a glyph's ink, and some don't
        builder.setupVerticalOrigins({name: top for name, (_, top) in verticals.items()}, metrics.top)


def _set_up_os2(builder: FontBuilder, collected: _Collected, names: Names, metrics: Metrics) -> None:
    boxes, units = collected.bounds.values(), metrics.units_per_em
    builder.setupOS2(
        sTypoAscender=metrics.top,
        sTypoDescender=metrics.top - units,
        sTypoLineGap=max(metrics.ascent - metrics.descent + metrics.line_gap - units, 0),
        usWinAscent=max(metrics.ascent, *(box[3] for box in boxes), 0),
        usWinDescent=max(-metrics.descent, *(-box[1] for box in boxes), 0),
        sCapHeight=metrics.cap_height,
        sxHeight=metrics.x_height,
        achVendID="NONE",
        fsType=0,
        usWeightClass=names.weight(),
        fsSelection=(0x20 if names.is_bold() else 0) | (0x01 if names.is_italic() else 0)
        or (0x40 if names.style.casefold() == "regular" else 0),
    )
    set_bits(builder.font, collected.cmap)


def _notdef(metrics: Metrics) -> OutlinedGlyph:
    """A hollow box, as wide as half an em."""
    units = metrics.units_per_em
    left, right, low, high, stem = units // 16, units * 7 // 16, 0, metrics.ascent * 3 // 4, units // 24
    calls = []
    boxes = ((left, low, right, high, 1), (left + stem, low + stem, right - stem, high - stem, -1))
    for x0, y0, x1, y1, turn in boxes:
        corners = [(x0, y0), (x0, y1), (x1, y1), (x1, y0)][::turn]
        calls += [("moveTo", (corners[0],)), *(("lineTo", (corner,)) for corner in corners[1:]), ("closePath", ())]
    return OutlinedGlyph("", units // 2, calls)


def _vertical(given: tuple[int | None, int | None], metrics: Metrics) -> tuple[int, int]:
    """Vertical advance and origin; where they are not given, the em box."""
    height, top = given
    return metrics.units_per_em if height is None else height, metrics.top if top is None else top


def add_smoothing(font: TTFont) -> None:
    """Have a font without instructions drawn as it is designed: smart dropout, and smoothing at all sizes.

    Without these FreeType and Windows would fit its outlines to the grid by rules of their own.
    """
    program = Program()
    program.fromAssembly(["PUSHW[] 511", "SCANCTRL[]", "PUSHB[] 4", "SCANTYPE[]"])
    font["prep"] = newTable("prep")
    table(font, "prep").program = program
    font["gasp"] = newTable("gasp")
    table(font, "gasp").version = 1
    table(font, "gasp").gaspRange = {ALL_SIZES: SMOOTH}


def save_font(font: TTFont, path: Path) -> None:
    content = io.BytesIO()
    font.save(content)
    write_whole(path, content.getvalue(), durable=True)
