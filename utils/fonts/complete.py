"""A font of the user's with the characters it lacks: everything that is in it stays as it is."""

import io
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fontTools.misc.fixedTools import otRound
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable

from utils.errors import UserError
from utils.fonts.build import MOST_GLYPHS, save_font
from utils.fonts.glyph import Box, OutlinedGlyph, charstring, compiled, glyph_name
from utils.fonts.names import Names, rename
from utils.fonts.os2 import extend_bits, find_languages
from utils.fonts.vertical import add_vertical_forms
from utils.glyphs.charset import unique
from utils.glyphs.font_file import FontFile, em_bottom, table, unicode_cmap
from utils.glyphs.generated import disregard_generated
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import one_font_file
from utils.glyphs.variation import axes_of
from utils.messages import _

FULL_CMAPS = ((3, 10), (0, 4), (0, 6))  # platform and encoding of the cmaps that hold characters beyond U+FFFF
BASIC_CMAPS = ((3, 1), (0, 0), (0, 1), (0, 2), (0, 3))
LAST_BASIC = 0xFFFF
LAST_CID = 65_535
MOST_STRINGS = 64_600  # of a CFF table, beside those that all have
MOST_POST_NAMES = 65_535 - 258  # glyphs that a post table can name, all of them by names of their own


@dataclass
class Base:
    """A font that is to be completed, opened twice: its tables, and its glyphs as they are drawn.

    Glyphs of it that were generated, and not changed since, are to be made anew: `generated`, with what is known of
    each.

    Raises:
        UserError: when it is none that can be completed.
    """

    spec: str
    told_by: str | None = None  # the file that tells which were generated; None: that beside the font

    def __post_init__(self):
        self.font = open_base(self.spec)
        self.file = base_file(self.spec)
        self.glyphs = GlyphRenderer(self.spec)
        found = disregard_generated(self.glyphs, self.told_by)
        self.generated = found.entries if found else {}

    def lacks(self, characters: str) -> str:
        """Those of `characters` that the font lacks."""
        return missing_from(self.glyphs, characters)


def base_file(spec: str) -> FontFile:
    """The file of a base; of a variable font, all its axes have a value."""
    file = one_font_file(spec, "--base")
    with file.open_as_it_is() as font:
        place = {axis.tag: axis.usual for axis in axes_of(font)} | dict(file.variation)
    return replace(file, variation=tuple(place.items()))


def open_base(spec: str) -> TTFont:
    """Open a font to be completed, in a way that leaves its glyphs as they are.

    A variable font is no more variable then: it is what it was at the place that `spec` names, or by default.

    Raises:
        UserError: when it is none that can be completed.
    """
    try:
        file = base_file(spec)
        how: dict[str, Any] = {"recalcBBoxes": False, "recalcTimestamp": False}
        font = TTFont(io.BytesIO(file.alone()), **how) if file.variation else file.open(**how)
        tables = set(font.keys())
        font.getGlyphOrder()
        cmap = unicode_cmap(font)
    except UserError:
        raise
    # fontTools documents no closed set of errors for damaged files.
    except Exception as error:
        raise UserError(
            _("--base {spec} can't be read: {error}", spec=spec, error=" ".join(str(error).split())[:200])
        ) from error
    if not tables & {"glyf", "CFF "}:
        raise UserError(
            _("--base {spec} has bitmaps only, no outlines: there is nothing that could be completed", spec=spec)
        )
    if "sbix" in tables:
        raise UserError(_("--base {spec} has bitmaps beside its outlines (sbix), which can't be completed", spec=spec))
    if cmap is None:
        raise UserError(_("--base {spec} has no Unicode cmap: its characters are numbered as symbols", spec=spec))
    if font.getBestCmap() is None:
        table(font, "cmap").tables.append(new_cmap(cmap))
    return font


def missing_from(font: GlyphRenderer, characters: str) -> str:
    """Those of `characters` that a font lacks: not in its cmap, or there with an empty glyph or a placeholder."""
    return "".join(c for c in unique(characters) if not font.covers(c))


def check_room(font: TTFont, count: int) -> None:
    """See whether `count` glyphs can be added to a base.

    Raises:
        UserError: when there would be more than a font can hold.
    """
    own, most = len(font.getGlyphOrder()), MOST_GLYPHS
    if "CFF " in font and not hasattr(table(font, "CFF ").cff.topDictIndex[0], "ROS"):
        most = min(most, own + MOST_STRINGS - len(table(font, "CFF ").cff.strings.strings))
    if "post" in font and table(font, "post").formatType == 2:
        most = min(most, MOST_POST_NAMES)
    if own + count > most:
        raise UserError(
            _(
                "the base has {own:,} glyphs and can hold {most:,}: there is no room for {count:,} more, name fewer "
                "characters, or a new font without --base",
                own=own,
                most=most,
                count=count,
            )
        )


def complete_font(
    font: TTFont,
    path: Path,
    glyphs: Iterable[OutlinedGlyph],
    names: Names | None = None,
    replaced: Collection[str] = (),
    vertical: Mapping[str, str] | None = None,
) -> int:
    """Write `font`, fresh from `open_base`, with further glyphs at the end of its own; returns how many were added.

    Those of `replaced` characters take the place of the glyph that is there. Other glyphs, tables, features and
    instructions that are there stay; what counts glyphs counts the new ones too, and a signature, which would not be
    true any more, is left out. With `names` the font gets another name. In vertical text characters are replaced by
    others as `vertical` tells, beside what the font's features do.

    Raises:
        UserError: when there would be more glyphs than a font can hold.
    """
    own = len(font.getGlyphOrder())
    addition, cmap = _Addition(font), font.getBestCmap() or {}
    for glyph in glyphs:
        place = cmap.get(ord(glyph.character)) if glyph.character in replaced else None
        if place is None and len(addition.order) >= MOST_GLYPHS:
            raise UserError(
                _(
                    "a font holds at most {most:,} glyphs, the base has {own:,} of its own",
                    most=MOST_GLYPHS,
                    own=own,
                )
            )
        addition.add(glyph, place)
    addition.finish()
    add_vertical_forms(font, vertical or {})
    if names is not None:
        rename(font, names, find_languages(names.family, font.getBestCmap() or {}))
    if "DSIG" in font:
        del font["DSIG"]
    font.flavor = None  # a base may be packed for the web
    save_font(font, path)
    return len(addition.added)


class _Addition:
    """Glyphs added at the end of a font's own, in all tables that know of each glyph."""

    def __init__(self, font: TTFont):
        self.font = font
        self.order = list(font.getGlyphOrder())
        self.added: dict[int, str] = {}
        self.units = table(font, "head").unitsPerEm
        self._taken = set(self.order)
        self._em_top = em_bottom(font) + self.units
        self._extents = _Extents(font)
        self._cff = _CffTable(font, self.order) if "CFF " in font else None
        self._device_widths = _device_widths(font)

    def add(self, glyph: OutlinedGlyph, place: str | None = None) -> None:
        """Add a glyph, or put it in the place of the glyph of that name."""
        cff = self._cff
        name = place or (cff.new_name() if cff and cff.is_cid else _free_name(glyph_name(glyph.character), self._taken))
        if place is None:
            self._taken.add(name)
            self.order.append(name)
            self.added[ord(glyph.character)] = name
        if cff:
            cff.add(name, glyph, replaces=place is not None)
            box = glyph.bounds()
        else:
            drawn, box = compiled(glyph, cubic=False, units=self.units)
            table(self.font, "glyf").glyphs[name] = drawn
            self._extents.count_points(drawn)
        table(self.font, "hmtx").metrics[name] = (glyph.advance, box[0])
        self._extents.add(box, glyph.advance)
        if "vmtx" in self.font:
            self._add_vertical(name, glyph, box)

    def _add_vertical(self, name: str, glyph: OutlinedGlyph, box: Box) -> None:
        height = self.units if glyph.height is None else glyph.height
        top = self._em_top if glyph.origin_y is None else glyph.origin_y
        table(self.font, "vmtx").metrics[name] = (height, top - box[3])
        if "VORG" in self.font and top != table(self.font, "VORG").defaultVertOriginY:
            table(self.font, "VORG")[name] = top
        self._extents.add_vertical(box, height, top)

    def finish(self) -> None:
        """Have the tables that count glyphs, or say how large they are, say so of the new ones too."""
        font = self.font
        font.setGlyphOrder(self.order)
        if self._cff:
            self._cff.finish()
        else:
            table(font, "glyf").glyphOrder = self.order
        _add_to_cmaps(font, self.added)
        _extend_device_tables(font, self._device_widths, self.added.values())
        self._extents.write(font, len(self.order))
        extend_bits(font, self.added)


def _free_name(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}.alt{number}", number + 1
    return candidate


class _CffTable:
    """Adds glyphs to a CFF table, name-keyed or CID-keyed, whose own charstrings are not touched."""

    def __init__(self, font: TTFont, order: list[str]):
        self.top: Any = table(font, "CFF ").cff.topDictIndex[0]
        self.strings = self.top.CharStrings
        self.is_cid = hasattr(self.top, "ROS")
        self.charset = self.top.charset
        if self.is_cid:
            used = {int(name[3:]) for name in order if name != ".notdef"}
            # Those above all that are there, and then the gaps.
            self.free = iter([*range(1 + max(used, default=0), LAST_CID), *sorted(set(range(1, LAST_CID)) - used)])
            self.highest = max(used, default=0)
            select = self.top.FDSelect
            self.part = Counter(select[number] for number in range(len(order))).most_common(1)[0][0]
            self.private = self.top.FDArray[self.part].Private
        else:
            self.private = self.top.Private

    def new_name(self) -> str:
        """The name of the next glyph of a CID-keyed font."""
        number = next(self.free)
        self.highest = max(self.highest, number)
        return f"cid{number:05d}"

    def finish(self) -> None:
        """Have the table say how far its CIDs go."""
        if self.is_cid:
            self.top.CIDCount = max(getattr(self.top, "CIDCount", 0), self.highest + 1)

    def add(self, name: str, glyph: OutlinedGlyph, replaces: bool) -> None:
        number, private = self.strings.charStrings[name] if replaces else None, self.private
        if number is not None and self.is_cid:
            private = self.top.FDArray[self.top.FDSelect[number]].Private
        widths = (getattr(private, field, 0) for field in ("defaultWidthX", "nominalWidthX"))
        string = charstring(glyph, private, *widths)
        string.globalSubrs = self.strings.globalSubrs
        if number is not None:
            self.strings.charStringsIndex.items[number] = string
            return
        self.strings.charStringsIndex.append(string)
        self.strings.charStrings[name] = len(self.strings.charStringsIndex) - 1
        self.charset.append(name)
        if self.is_cid:
            self.top.FDSelect.append(self.part)


class _Extents:
    """What a font says of the largest of its glyphs, and of how many there are."""

    def __init__(self, font: TTFont):
        head, hhea = table(font, "head"), table(font, "hhea")
        self.box = [head.xMin, head.yMin, head.xMax, head.yMax]
        self.advance, self.points, self.contours = hhea.advanceWidthMax, 0, 0
        self.left, self.right, self.extent = hhea.minLeftSideBearing, hhea.minRightSideBearing, hhea.xMaxExtent
        self.vertical = [0, 0, 0, 0]  # largest advance, smallest top and bottom bearing, largest extent
        if "vhea" in font:
            vhea = table(font, "vhea")
            self.vertical = [vhea.advanceHeightMax, vhea.minTopSideBearing, vhea.minBottomSideBearing, vhea.yMaxExtent]

    def add(self, box: Box, advance: int) -> None:
        self.advance = max(self.advance, advance)
        if box == (0, 0, 0, 0):
            return
        low, high = zip(self.box[:2], box[:2], strict=True), zip(self.box[2:], box[2:], strict=True)
        self.box = [*map(min, low), *map(max, high)]
        self.left, self.right = min(self.left, box[0]), min(self.right, advance - box[2])
        self.extent = max(self.extent, box[2])

    def add_vertical(self, box: Box, height: int, top: int) -> None:
        above, below = top - box[3], height - (top - box[1])
        largest, least_above, least_below, extent = self.vertical
        self.vertical = [
            max(largest, height),
            min(least_above, above),
            min(least_below, below),
            max(extent, top - box[1]),
        ]

    def count_points(self, drawn: Any) -> None:
        self.points = max(self.points, len(getattr(drawn, "coordinates", ())))
        self.contours = max(self.contours, drawn.numberOfContours)

    def write(self, font: TTFont, count: int) -> None:
        head, hhea, maxp = (table(font, tag) for tag in ("head", "hhea", "maxp"))
        head.xMin, head.yMin, head.xMax, head.yMax = map(otRound, self.box)
        hhea.advanceWidthMax = self.advance
        hhea.minLeftSideBearing, hhea.minRightSideBearing, hhea.xMaxExtent = self.left, self.right, self.extent
        maxp.numGlyphs = count
        if "vhea" in font:
            vhea = table(font, "vhea")
            vhea.advanceHeightMax, vhea.minTopSideBearing, vhea.minBottomSideBearing, vhea.yMaxExtent = self.vertical
        if "glyf" in font:
            maxp.maxPoints = max(maxp.maxPoints, self.points)
            maxp.maxContours = max(maxp.maxContours, self.contours)
        else:
            table(font, "CFF ").cff.topDictIndex[0].FontBBox = [head.xMin, head.yMin, head.xMax, head.yMax]


def _add_to_cmaps(font: TTFont, added: dict[int, str]) -> None:
    """Map the new characters in every Unicode cmap that can hold them; one for all is made where they need it.

    A cmap of format 4 holds a limited number of runs of code points: one that would overflow stays as it is.
    """
    tables = table(font, "cmap").tables
    full = [t for t in tables if (t.platformID, t.platEncID) in FULL_CMAPS and t.format in (12, 13)]
    basic = [t for t in tables if (t.platformID, t.platEncID) in BASIC_CMAPS and t.format in (4, 6, 12)]
    everything = {**(font.getBestCmap() or {}), **added}
    burst = False
    for each in basic:
        before = dict(each.cmap)
        each.cmap = before | {codepoint: name for codepoint, name in added.items() if codepoint <= LAST_BASIC}
        if not _can_be_written(each, font):
            each.cmap, burst = before, True
    for each in full:
        each.cmap.update(added)
    if not full and (burst or any(codepoint > LAST_BASIC for codepoint in added)):
        tables.append(new_cmap(everything))


def new_cmap(cmap: Mapping[int, str]) -> CmapSubtable:
    """A cmap for all of Unicode."""
    found: Any = CmapSubtable.newSubtable(12)
    found.platformID, found.platEncID, found.language, found.cmap = 3, 10, 0, dict(cmap)
    return found


def _can_be_written(subtable: CmapSubtable, font: TTFont) -> bool:
    try:
        subtable.compile(font)
    except (struct.error, OverflowError, AssertionError):
        return False
    return True


def _device_widths(font: TTFont) -> dict[int, dict[str, int]]:
    """The widths of a font's own glyphs by size, where it lists them: to be read before glyphs are added."""
    if "hdmx" not in font:
        return {}
    order = font.getGlyphOrder()
    return {size: {name: widths[name] for name in order} for size, widths in table(font, "hdmx").hdmx.items()}


def _extend_device_tables(font: TTFont, device_widths: dict[int, dict[str, int]], names: Iterable[str]) -> None:
    """Tables with a value for each glyph and size: of the new glyphs the widths scale linearly at every size."""
    names = list(names)
    if "LTSH" in font:
        table(font, "LTSH").yPels.update(dict.fromkeys(names, 1))
    if device_widths:
        units, metrics = table(font, "head").unitsPerEm, table(font, "hmtx").metrics
        table(font, "hdmx").hdmx = {
            size: widths | {name: min(otRound(metrics[name][0] * size / units), 255) for name in names}
            for size, widths in device_widths.items()
        }
