"""Glyph outlines into a font file: a new font, or a font of the user's completed.

Both kinds of outlines are written: quadratic in a `glyf` table, cubic in a `CFF ` table.
"""

import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.misc.psCharStrings import T2CharString
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import RecordingPen
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables.ttProgram import Program

from utils.cli import UserError
from utils.files import write_whole

Box = tuple[int, int, int, int]  # left, bottom, right, top
NOTHING: Box = (0, 0, 0, 0)
MOST_GLYPHS = 65_535
LONGEST_TEXT = 32_000  # characters of an entry of the name table
WEIGHTS = {  # of a style by a word in its name, the longer words first
    **{"extralight": 200, "ultralight": 200, "semibold": 600, "demibold": 600, "extrabold": 800, "ultrabold": 800},
    **{"thin": 100, "light": 300, "medium": 500, "bold": 700, "black": 900, "heavy": 900},
}
QUADRATIC_ERROR = 0.0007  # of the em: how far a quadratic curve may be from the cubic one
ALL_SIZES = 0xFFFF
SMOOTH = 0x000F  # gasp: anti-aliased and grid-fitted, both ways, which without instructions leaves outlines alone


@dataclass
class OutlinedGlyph:
    """What a font needs of a glyph: the character, its advances, and the calls that draw it, in font units."""

    character: str
    advance: int
    calls: list[tuple[str, tuple]]  # of a segment pen, y upwards; filled where the outline turns clockwise around it
    height: int | None = None  # vertical advance
    origin_y: int | None = None  # where the top of the vertical advance is

    def draw(self, pen: Any) -> None:
        recording = RecordingPen()
        recording.value = self.calls
        recording.replay(pen)

    def bounds(self) -> Box:
        """Left, bottom, right, top of the curves themselves, widened to whole units; zeros where there is nothing."""
        pen = BoundsPen(None)
        self.draw(pen)
        return (*map(math.floor, pen.bounds[:2]), *map(math.ceil, pen.bounds[2:])) if pen.bounds else NOTHING


@dataclass
class Names:
    """What a font says of itself.

    Raises:
        ValueError: when a value can't be part of a font, naming the field.
    """

    family: str
    style: str = "Regular"
    version: str = "1.000"
    licence: str | None = None

    def __post_init__(self):
        for field, text in (("name", self.family), ("style", self.style), ("license", self.licence or "-")):
            if not text.strip() or len(text.encode("utf-16-be", "surrogatepass")) >= 2 * LONGEST_TEXT:
                raise ValueError(f"font_{field} is empty or longer than {LONGEST_TEXT} characters")
            if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
                raise ValueError(f"font_{field} is not UTF-8")
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", self.version):
            raise ValueError(f"font_version {self.version!r} is not a number such as 1.002")

    def table(self) -> dict[str, str]:
        """The strings of a name table, by fontTools' names for them."""
        full = self.family if self.style == "Regular" else f"{self.family} {self.style}"
        postscript = plain(self.family) or "Untitled"
        strings = {
            "familyName": self.family,
            "styleName": self.style,
            "uniqueFontIdentifier": f"{self.version};{postscript}",
            "fullName": full,
            "psName": f"{postscript[:40]}-{plain(self.style)[:20] or 'Regular'}",
            "version": f"Version {self.version}",
        }
        return strings | ({"licenseDescription": self.licence} if self.licence else {})

    def weight(self) -> int:
        """The weight class that the style means."""
        return next((weight for word, weight in WEIGHTS.items() if word in self.style.casefold()), 400)

    def is_bold(self) -> bool:
        return self.style.casefold() in ("bold", "bold italic")

    def is_italic(self) -> bool:
        return "italic" in self.style.casefold() or "oblique" in self.style.casefold()


def plain(text: str) -> str:
    """What a PostScript name can hold of a text."""
    return "".join(c for c in text if c.isascii() and c.isalnum())


@dataclass
class Metrics:
    """The vertical metrics of a font, in units."""

    units_per_em: int
    ascent: int
    descent: int  # negative below the baseline
    line_gap: int = 0
    cap_height: int = 0
    x_height: int = 0

    @classmethod
    def of(cls, font: TTFont) -> "Metrics":
        """Those of another font."""
        os2, hhea = font.get("OS/2"), font["hhea"]
        return cls(
            font["head"].unitsPerEm,
            hhea.ascent,
            hhea.descent,
            hhea.lineGap,
            getattr(os2, "sCapHeight", 0),
            getattr(os2, "sxHeight", 0),
        )


def glyph_name(character: str) -> str:
    """The name of a character's glyph by the rules of the Adobe Glyph List: uni6C38, u2A6D6."""
    codepoint = ord(character)
    return f"uni{codepoint:04X}" if codepoint <= 0xFFFF else f"u{codepoint:X}"


# --------------------------------------------------------------------------------- a new font


def build_font(
    path: Path, glyphs: Iterable[OutlinedGlyph], spaces: Mapping[str, int], names: Names, metrics: Metrics
) -> int:
    """Write a font of `glyphs`, with .notdef and the empty `spaces` (character to advance); returns their number.

    The extension of `path` tells the kind of outlines: .otf cubic, .ttf quadratic.

    Raises:
        UserError: when there are more glyphs than a font can hold.
    """
    cubic = path.suffix.lower() == ".otf"
    units = metrics.units_per_em
    order, drawn, advances, heights, bounds = [], {}, {}, {}, {}
    cmap: dict[int, str] = {}

    def take(name: str, glyph: OutlinedGlyph) -> None:
        order.append(name)
        drawn[name], bounds[name] = compiled(glyph, cubic, units)
        advances[name] = glyph.advance
        heights[name] = (glyph.height, glyph.origin_y)
        if glyph.character:
            cmap[ord(glyph.character)] = name
        if len(order) > MOST_GLYPHS:
            raise UserError(f"a font holds at most {MOST_GLYPHS} glyphs: name fewer characters")

    take(".notdef", _notdef(metrics))
    for character, advance in spaces.items():
        take("space" if character == " " else glyph_name(character), OutlinedGlyph(character, advance, []))
    for glyph in glyphs:
        take(glyph_name(glyph.character), glyph)
    builder = FontBuilder(units, isTTF=not cubic)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(cmap, allowFallback=True)
    strings = names.table()
    if cubic:
        fields = {"FullName": latin(strings["fullName"]), "FamilyName": latin(names.family), "version": names.version}
        builder.setupCFF(strings["psName"], fields, drawn, {})
    else:
        builder.setupGlyf(drawn)
    builder.setupHorizontalMetrics({name: (advances[name], bounds[name][0]) for name in order})
    builder.setupHorizontalHeader(ascent=metrics.ascent, descent=metrics.descent, lineGap=metrics.line_gap)
    builder.setupVerticalMetrics({name: _vertical(heights[name], bounds[name], metrics) for name in order})
    builder.setupVerticalHeader(ascent=units // 2, descent=-(units // 2))
    builder.setupNameTable(strings, mac=False)
    builder.setupOS2(
        sTypoAscender=metrics.ascent,
        sTypoDescender=metrics.descent,
        sTypoLineGap=metrics.line_gap,
        usWinAscent=max(metrics.ascent, *(box[3] for box in bounds.values()), 0),
        usWinDescent=max(-metrics.descent, *(-box[1] for box in bounds.values()), 0),
        sCapHeight=metrics.cap_height,
        sxHeight=metrics.x_height,
        achVendID="NONE",
        fsType=0,
        usWeightClass=names.weight(),
        fsSelection=(0x20 if names.is_bold() else 0) | (0x01 if names.is_italic() else 0)
        or (0x40 if names.style.casefold() == "regular" else 0),
    )
    builder.setupPost(keepGlyphNames=cubic is False and len(order) < 20_000)
    if not cubic:
        add_smoothing(builder.font)
    builder.font["head"].fontRevision = float(names.version)
    builder.font["head"].macStyle = (1 if names.is_bold() else 0) | (2 if names.is_italic() else 0)
    save_font(builder.font, path)
    return len(order)


def latin(text: str) -> str:
    """A name as a CFF table can hold it, which knows Latin letters alone; the name table has it as it is."""
    return "".join(c for c in text if ord(c) < 256).strip() or "Untitled"


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


def _vertical(given: tuple[int | None, int | None], box: tuple, metrics: Metrics) -> tuple[int, int]:
    """Vertical advance and top side bearing; the em box is as high as the em and ends at the ascent."""
    height, top = given
    height = metrics.units_per_em if height is None else height
    top = metrics.ascent if top is None else top
    return height, top - box[3]


def compiled(glyph: OutlinedGlyph, cubic: bool, units: int) -> tuple[Any, Box]:
    """A glyph in the form that a new font keeps, and its box.

    The box is that of what is kept: where a left side bearing is not that of its glyph, a TrueType renderer moves it.
    """
    if cubic:
        return charstring(glyph, None, 0, 0), glyph.bounds()
    pen = TTGlyphPen(None)
    glyph.draw(Cu2QuPen(pen, QUADRATIC_ERROR * units))
    drawn = pen.glyph()
    drawn.recalcBounds(None)
    return drawn, (drawn.xMin, drawn.yMin, drawn.xMax, drawn.yMax) if drawn.numberOfContours else NOTHING


def charstring(glyph: OutlinedGlyph, private: Any, default_width: int, nominal_width: int) -> T2CharString:
    """A Type 2 charstring; its outline turns the other way round than in TrueType."""
    width = None if glyph.advance == default_width and private is not None else glyph.advance - nominal_width
    pen = T2CharStringPen(width, None)
    for contour in _contours(glyph.calls):
        for operator, points in reversed_contour(contour):
            getattr(pen, operator)(*points)
    return pen.getCharString(private)


def _contours(calls: list[tuple[str, tuple]]) -> Iterable[list[tuple[str, tuple]]]:
    contour = []
    for call in calls:
        contour.append(call)
        if call[0] == "closePath":
            yield contour
            contour = []


def reversed_contour(contour: list[tuple[str, tuple]]) -> list[tuple[str, tuple]]:
    """The same closed contour, walked the other way round from the same start."""
    start = contour[0][1][0]
    ends = [start, *(points[-1] for operator, points in contour[1:] if operator != "closePath")]
    turned: list[tuple[str, tuple]] = [("moveTo", (ends[-1],))]
    for number in range(len(ends) - 1, 0, -1):
        operator, points = contour[number]
        turned.append((operator, (*reversed(points[:-1]), ends[number - 1])))
    turned.append(("closePath", ()))
    return turned


def add_smoothing(font: TTFont) -> None:
    """Have a font without instructions drawn as it is designed: smart dropout, and smoothing at all sizes.

    Without these FreeType and Windows would fit its outlines to the grid by rules of their own.
    """
    program = Program()
    program.fromAssembly(["PUSHW[] 511", "SCANCTRL[]", "PUSHB[] 4", "SCANTYPE[]"])
    font["prep"] = newTable("prep")
    font["prep"].program = program
    font["gasp"] = newTable("gasp")
    font["gasp"].version = 1
    font["gasp"].gaspRange = {ALL_SIZES: SMOOTH}


def save_font(font: TTFont, path: Path) -> None:
    content = io.BytesIO()
    font.save(content)
    write_whole(path, content.getvalue(), durable=True)
