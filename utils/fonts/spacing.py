"""How wide a character of a new or a completed font is, and where its ink stands within that width.

In a new font as in the source font, scaled to the em; in a completed one as the font's own characters are.
"""

import unicodedata
from collections import Counter, defaultdict
from statistics import median
from typing import NamedTuple, Protocol

from fontTools import unicodedata as scripts
from fontTools.ttLib import TTFont

from utils.glyphs.charset import is_han
from utils.glyphs.font_file import table, unicode_cmap
from utils.glyphs.placement import Placement
from utils.glyphs.render import GlyphRenderer

IDEOGRAPHS, WIDE = "ideographs", "wide"
WIDE_SCRIPTS = ("Hang", "Hira", "Kana", "Bopo")  # that stand beside ideographs, and mostly are as wide
FIXED_SHARE = 0.9  # of the characters of a kind with one advance: it is the advance of all
FEWEST = 3  # characters of a kind that can show that
MEASURED = 200  # characters of a kind whose side bearings are looked at


class Place(NamedTuple):
    """The advance of a character, and how far its ink is to be moved to the right, in units."""

    advance: int
    shift: int


class Spacing(Protocol):
    """What gives a character its width."""

    def place(self, character: str, left: int, right: int) -> Place:
        """The place of a character whose ink reaches from `left` to `right` where the target font would have it."""
        ...


def width_kind(character: str) -> str:
    """What a character is like in its width: those of one script, and of one width in East Asian typesetting."""
    if is_han(ord(character)):
        return IDEOGRAPHS
    width = {"W": WIDE, "F": WIDE, "H": "half"}.get(unicodedata.east_asian_width(character), "")
    script = scripts.script(character)
    if script in ("Zyyy", "Zinh") and width != WIDE:  # digits and punctuation, of which every block has its own
        script = f"{scripts.block(character)} {unicodedata.category(character)[0]}"
    return f"{script} {width}"


def read_advances(font: TTFont) -> dict[int, int]:
    """The advances of a font's characters, by their code points, in units."""
    widths = table(font, "hmtx").metrics
    return {codepoint: widths[name][0] for codepoint, name in (unicode_cmap(font) or {}).items() if name in widths}


class SourceSpacing:
    """That of a new font: the advances of the source font, scaled to the em; of a series, of the font it is drawn from.

    An ideograph stands in its advance as in that of the target font, whose ideographs have `target_width`; any other
    character as in that of the source.
    """

    def __init__(self, source: GlyphRenderer, target: Placement, units_per_em: int, target_width: int | None = None):
        self.source, self.target, self.units_per_em = source, target, units_per_em
        self.advances: dict[int, int] = {}
        for file in reversed(source.files):
            with file.open() as font:
                self.advances |= read_advances(font)
                self.source_units = table(font, "head").unitsPerEm
        self.full_width = source.ideograph_advance or self.source_units
        self.inset = 0 if target_width is None else round((self.scaled(self.full_width) - target_width) / 2)
        self.further = {font: SourceSpacing(font, target, units_per_em, target_width) for font in source.fonts[1:]}

    def scaled(self, units: float) -> int:
        """A measure of the source font in units of the new one."""
        return round(units * self.units_per_em / self.source_units)

    def of(self, character: str) -> "SourceSpacing":
        """The spacing of the font that a character is drawn from."""
        return self.further.get(self.source.font_of(character), self)

    def place(self, character: str, left: int, right: int) -> Place:
        of_font = self.of(character)
        return self._place(character) if of_font is self else of_font.place(character, left, right)

    def _place(self, character: str) -> Place:
        own = self.advances.get(ord(character), self.full_width)
        advance = self.scaled(own)
        if own in (self.full_width, self.source_units):
            return Place(advance, self.inset)
        # The middle of the advance on the canvas of the source is that of the new one.
        source = self.source.placement
        middle = source.x + own / self.source_units * source.em / 2
        return Place(advance, round(advance / 2 - (middle - self.target.x) / self.target.em * self.units_per_em))


class BaseSpacing:
    """That of a font that is completed: as its own characters of the same kind."""

    def __init__(self, base: TTFont, glyphs: GlyphRenderer, source: SourceSpacing):
        self.source = source
        self.units_per_em = table(base, "head").unitsPerEm
        self.glyphs = GlyphRenderer(glyphs.spec, Placement(self.units_per_em, 1, 0, 0))
        self.advances = {c: advance for c, advance in read_advances(base).items() if glyphs.covers(chr(c))}
        self.kinds: defaultdict[str, list[int]] = defaultdict(list)
        for codepoint in self.advances:
            self.kinds[width_kind(chr(codepoint))].append(codepoint)
        self.full_width = glyphs.ideograph_advance or self._commonest_of_wide() or self.units_per_em
        self._bearings: dict[str, tuple[int, int] | None] = {}

    def place(self, character: str, left: int, right: int) -> Place:
        kind = width_kind(character)
        fixed = self.fixed_advance(kind)
        if fixed is not None:
            return Place(fixed, 0)
        bearings = self.bearings(kind)
        if bearings is not None:
            before, after = bearings
            return Place(max(before + right - left + after, 0), before - left)
        source = self.source.of(character)
        own = source.advances.get(ord(character), source.full_width)
        if kind.endswith(WIDE) or own in (source.full_width, source.source_units):
            return Place(self.full_width, 0)
        return source.place(character, left, right)

    def fixed_advance(self, kind: str) -> int | None:
        """The advance of all characters of a kind; None where each has its own, or the font has none of them."""
        if kind == IDEOGRAPHS:
            return self.full_width
        counts = Counter(self.advances[c] for c in self.kinds.get(kind, ()))
        if not counts:
            return None
        ((advance, count),) = counts.most_common(1)
        enough = counts.total() >= FEWEST or advance == self.full_width
        return advance if enough and count >= FIXED_SHARE * counts.total() else None

    def bearings(self, kind: str) -> tuple[int, int] | None:
        """The usual space before and after the ink of the font's characters of a kind; None where it has none."""
        if kind not in self._bearings:
            known = self.kinds.get(kind, [])
            found = []
            for codepoint in known[:: max(1, len(known) // MEASURED)]:
                box = self.glyphs.ink_box(chr(codepoint))
                if box is not None:
                    left, right = (round(edge * self.units_per_em) for edge in (box[0], box[2]))
                    found.append((left, self.advances[codepoint] - right))
            columns = list(zip(*found, strict=True))
            self._bearings[kind] = (round(median(columns[0])), round(median(columns[1]))) if found else None
        return self._bearings[kind]

    def _commonest_of_wide(self) -> int | None:
        of_scripts = (known for kind, known in self.kinds.items() if kind.startswith(WIDE_SCRIPTS))
        counts = Counter(self.advances[codepoint] for known in of_scripts for codepoint in known)
        return counts.most_common(1)[0][0] if counts else None
