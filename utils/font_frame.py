"""Where drawings belong in a font: the inverse of the placement in training, and the advances of the source font."""

import math
from dataclasses import dataclass
from typing import Any

from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont

from utils.charset import is_han
from utils.cli import UserError
from utils.font_build import Metrics, OutlinedGlyph
from utils.jobs import framed_font, source_font
from utils.labels import Label, heaviest, labels_of
from utils.render import GlyphRenderer, Placement
from utils.traces import Contours, calls_of
from utils.vectorize import Lattice


@dataclass
class Frame:
    """How a canvas lies in the font that is made: the inverse of a placement, and the advances of the source font."""

    target: Placement  # of the target font's glyphs on the canvas
    units_per_em: int  # of the font that is made
    source: GlyphRenderer
    full_width: int  # advance of a character that is an em wide in the source font
    vertical: tuple[int, int] | None  # advance and origin of a full-width character, where the base has them

    def __post_init__(self):
        with TTFont(self.source.path, fontNumber=self.source.index, lazy=True) as font:
            cmap, widths = font.getBestCmap() or {}, font["hmtx"].metrics
            self.source_units = font["head"].unitsPerEm
            self.advances = {codepoint: widths[name][0] for codepoint, name in cmap.items() if name in widths}
            self.metrics = Metrics.of(font)
        self.unit = self.units_per_em / self.target.em  # units of the font in a canvas of side 1

    @property
    def lattice(self) -> Lattice:
        """The whole units on the canvas, as shares of it, y downwards."""
        return Lattice(1 / self.unit, self.target.x, 1 - self.target.y)

    def advance(self, character: str) -> tuple[int, float]:
        """The advance of a character, and how far to the right of its place on the canvas its origin is."""
        own = self.advances.get(ord(character), self.source_units)
        if own == self.source_units or is_han(ord(character)):
            return self.full_width, 0.0
        placement = self.source.placement
        scale = placement.em / placement.units_per_em * self.unit
        return round(own * scale), (placement.x - self.target.x) * self.unit

    def glyph(self, character: str, contours: Contours) -> OutlinedGlyph:
        """A traced glyph in font units."""
        advance, origin = self.advance(character)

        def place(x: float, y: float) -> tuple[int, int]:
            return round((x - self.target.x) * self.unit - origin), round((1 - y - self.target.y) * self.unit)

        height, top = self.vertical or (None, None)
        return OutlinedGlyph(character, advance, calls_of(contours, place), height, top)


def find_frame(src_font: str | None, label: Label, config: dict[str, Any] | None, base: TTFont | None) -> Frame:
    """Where drawings of a label belong, in a font of their own or in `base`; `src_font` is what they were drawn from.

    Raises:
        UserError: when the experiment does not tell, or its fonts are gone.
    """
    known = config["data"] if config else {}
    if known.get("kind") == "fonts":
        source = source_font(src_font, known["src_font"])
        labels_of([label], False, known["labels"])
        target = Placement(**known["targets"][heaviest(label)]["placement"])
    elif src_font:
        source = framed_font(src_font, known.get("frame"))
        target = source.placement
    else:
        raise UserError("what the glyphs' advances are is not recorded: name the source font with --src_font")
    if base is None:
        with TTFont(source.path, fontNumber=source.index, lazy=True) as font:
            units = font["head"].unitsPerEm
        return Frame(target, units, source, units, None)
    units = base["head"].unitsPerEm
    han = next((name for codepoint, name in base.getBestCmap().items() if is_han(codepoint)), None)
    full_width = base["hmtx"].metrics[han][0] if han else units
    return Frame(target, units, source, full_width, vertical_of(base, han))


def vertical_of(base: TTFont, name: str | None) -> tuple[int, int] | None:
    """Vertical advance and origin of a glyph, where a font has vertical metrics."""
    if name is None or "vmtx" not in base:
        return None
    height, bearing = base["vmtx"].metrics[name]
    if "VORG" in base:
        return height, base["VORG"][name]
    pen = BoundsPen(base.getGlyphSet())
    base.getGlyphSet()[name].draw(pen)
    return height, bearing + math.ceil(pen.bounds[3]) if pen.bounds else base["hhea"].ascent
