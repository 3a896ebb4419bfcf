"""Where drawings belong in a font: the inverse of the placement in training, advances, and vertical origins."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fontTools.ttLib import TTFont

from utils.data.open import framed_font, source_font
from utils.errors import UserError
from utils.fonts.complete import Base
from utils.fonts.fit import Lattice
from utils.fonts.glyph import OutlinedGlyph
from utils.fonts.spacing import BaseSpacing, SourceSpacing, Spacing
from utils.fonts.trace_cache import Contours, pen_calls
from utils.glyphs.charset import is_han
from utils.glyphs.font_file import FontFile, em_bottom, table, unicode_cmap
from utils.glyphs.placement import Placement
from utils.glyphs.render import GlyphRenderer
from utils.labels import Label, choose_labels, heaviest
from utils.messages import _

LOOKED_AT = 300  # ideographs of a base whose vertical metrics tell those of all
Vertical = tuple[int, int]  # advance, and how far above the baseline it begins


@dataclass
class Layout:
    """How a canvas lies in the font that is made: the inverse of a placement, the widths, the vertical metrics."""

    target: Placement  # of the target font's glyphs on the canvas
    units_per_em: int  # of the font that is made
    spacing: Spacing
    source: GlyphRenderer  # what was drawn from
    vertical: Callable[[str], Vertical | None] = lambda _: None  # of a character; None where the em box tells
    rise: int = 0  # units that the baseline is higher in the target font's em than in that of the font that is made
    overrun: list[str] = field(default_factory=list)  # the characters so far whose ink is beyond their advance

    def __post_init__(self):
        self.unit = self.units_per_em / self.target.em  # units of the font in a canvas of side 1

    @property
    def lattice(self) -> Lattice:
        """The whole units on the canvas, as shares of it, y downwards."""
        return Lattice(1 / self.unit, self.target.x, 1 - self.target.y)

    def glyph(self, character: str, contours: Contours) -> OutlinedGlyph:
        """A traced glyph in font units."""
        found = OutlinedGlyph(character, 0, self._calls(contours, 0))
        left, _, right, _ = found.bounds()
        advance, shift = self.spacing.place(character, left, right)
        calls = self._calls(contours, shift) if shift else found.calls
        if left + shift < 0 or right + shift > advance:
            self.overrun.append(character)
        height, top = self.vertical(character) or (None, None)
        return OutlinedGlyph(character, advance, calls, height, top)

    def _calls(self, contours: Contours, shift: int) -> list[tuple[str, tuple]]:
        def place(x: float, y: float) -> tuple[int, int]:
            across, up = (x - self.target.x) * self.unit, (1 - y - self.target.y) * self.unit
            return round(across) + shift, round(up) + self.rise

        return pen_calls(contours, place)


def find_layout(src_font: str | None, label: Label, config: dict[str, Any] | None, base: Base | None) -> Layout:
    """Where drawings of a label belong, in a font of their own or in `base`; `src_font` is what they were drawn from.

    Raises:
        UserError: when the experiment does not tell, or its fonts are gone.
    """
    known = config["data"] if config else {}
    record: dict[str, Any] = {}
    if known.get("kind") == "fonts":
        source = source_font(src_font, known["src_font"])
        choose_labels([label], False, known["labels"])
        record = known["targets"][heaviest(label)]
        target = Placement(**record["placement"])
    elif src_font:
        source = framed_font(src_font, known.get("frame"))
        target = source.placement
    else:
        raise UserError(_("what the glyphs' advances are is not recorded: name the source font with --src_font"))
    if base is None:
        units = source.placement.units_per_em
        # The new font has the metrics of the source: what stands in the target's em box is to stand in the source's.
        rise, width = 0, None
        own = recorded_em_box(record)
        if own is not None:
            rise, width = source.em_bottom - round(own[0] * units), round(own[1] * units)
        spacing = SourceSpacing(source, target, units, width)
        return Layout(target, units, spacing, source, vertical_metrics(source), rise)
    units = table(base.font, "head").unitsPerEm
    spacing = BaseSpacing(base.font, base.glyphs, SourceSpacing(source, target, units))
    usual = usual_vertical(base.glyphs)
    rise = em_bottom(base.font) if "folder" in record else 0  # drawings have an em box alone, and no baseline
    return Layout(target, units, spacing, source, lambda _: usual, rise)


def recorded_em_box(record: dict[str, Any]) -> tuple[float, float] | None:
    """Where the em box of a recorded target begins, and how wide its ideographs are, in ems; None if not recorded."""
    if "folder" in record:
        return 0.0, 1.0
    if not {"em_bottom", "full_width"} <= record.keys():
        return None
    units = record["placement"]["units_per_em"]
    return record["em_bottom"] / units, record["full_width"] / units


def vertical_metrics(glyphs: GlyphRenderer) -> Callable[[str], Vertical | None]:
    """What gives the vertical metrics of a font's characters, in its units; None for those that have none."""
    tables = {
        font: [found for each in font.files if (found := _vertical_tables(each)) is not None] for font in glyphs.fonts
    }

    def vertical(character: str) -> Vertical | None:
        font = glyphs.font_of(character)
        height_and_top = next(filter(None, (_vertical(character, *found, font) for found in tables[font])), None)
        if height_and_top is None or font is glyphs.fonts[0]:
            return height_and_top
        # On the canvas a further font is moved and scaled as its ink is.
        (height, top), own, first = height_and_top, font.placement, glyphs.placement
        top = top / own.units_per_em * own.em + own.y
        scale = first.units_per_em / own.units_per_em
        return round(height * scale), round((top - first.y) / first.em * first.units_per_em)

    return vertical


def _vertical_tables(file: FontFile) -> tuple[TTFont, Mapping[int, str]] | None:
    """A font with vertical metrics, and its cmap; None of one without."""
    font = file.open_as_it_is()  # where glyphs begin is the same at every place of a variable font
    try:
        cmap = unicode_cmap(font)
        complete = "vmtx" in font and bool(table(font, "vmtx").metrics) and font.get("VORG", True)
    # What fontTools raises for a damaged table is no closed set. The font can be set horizontally all the same.
    except Exception:
        return None
    return (font, cmap) if complete and cmap is not None else None


def _vertical(character: str, font: TTFont, cmap: Mapping[int, str], glyphs: GlyphRenderer) -> Vertical | None:
    name = cmap.get(ord(character))
    if name is None or name not in table(font, "vmtx").metrics or not glyphs.covers(character):
        return None
    height, bearing = table(font, "vmtx").metrics[name]
    if height <= 0:  # some fonts say so of all their glyphs, which then would lie on each other
        return None
    if "VORG" in font:
        return height, font["VORG"][name]
    if "glyf" in font:  # the bearing is that to the box in the glyph's header, which control points may widen
        return height, bearing + font["glyf"][name].yMax
    placement, box = glyphs.placement, glyphs.ink_box(character)
    if box is None:
        return None
    top = box[3]
    return height, bearing + round((top - placement.y) / placement.em * placement.units_per_em)


def usual_vertical(glyphs: GlyphRenderer) -> Vertical | None:
    """The commonest vertical metrics of a font's ideographs; None where it has none."""
    known = [chr(codepoint) for codepoint in glyphs.codepoints() if is_han(codepoint)]
    found = Counter(map(vertical_metrics(glyphs), known[:: max(1, len(known) // LOOKED_AT)]))
    del found[None]
    return found.most_common(1)[0][0] if found else None
