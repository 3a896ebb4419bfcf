"""Outlines as a font's tables hold them."""

import math
from dataclasses import dataclass
from typing import Any

from fontTools.misc.psCharStrings import T2CharString
from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import RecordingPen
from fontTools.pens.reverseContourPen import ReverseContourPen
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen

Box = tuple[int, int, int, int]  # left, bottom, right, top
NOTHING: Box = (0, 0, 0, 0)
QUADRATIC_ERROR = 0.0007  # of the em: how far a quadratic curve may be from the cubic one


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
        if not pen.bounds:
            return NOTHING
        left, bottom, right, top = pen.bounds
        return math.floor(left), math.floor(bottom), math.ceil(right), math.ceil(top)


def glyph_name(character: str) -> str:
    """The name of a character's glyph by the rules of the Adobe Glyph List: uni6C38, u2A6D6."""
    codepoint = ord(character)
    return f"uni{codepoint:04X}" if codepoint <= 0xFFFF else f"u{codepoint:X}"


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
    glyph.draw(ReverseContourPen(pen))
    return pen.getCharString(private)
