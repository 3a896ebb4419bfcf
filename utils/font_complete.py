"""A font of the user's with the characters it lacks: everything that is in it stays as it is."""

import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from fontTools.misc.fixedTools import otRound
from fontTools.pens.boundsPen import ControlBoundsPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable

from utils.charset import unique
from utils.cli import UserError
from utils.font_build import MOST_GLYPHS, Box, Names, OutlinedGlyph, charstring, compiled, glyph_name, latin, save_font
from utils.render import split_spec

FULL_CMAPS = ((3, 10), (0, 4), (0, 6))  # platform and encoding of the cmaps that hold characters beyond U+FFFF
BASIC_CMAPS = ((3, 1), (0, 0), (0, 1), (0, 2), (0, 3))
LAST_BASIC = 0xFFFF
LAST_CID = 65_535


def open_base(spec: str, what: str = "--base") -> TTFont:
    """Open a font to be completed, in a way that leaves its glyphs as they are; `what` is what messages call it.

    Raises:
        UserError: when it is none that can be completed.
    """
    path, index = split_spec(spec)
    try:
        font = TTFont(path, fontNumber=index, lazy=True, recalcBBoxes=False, recalcTimestamp=False)
        tables = set(font.keys())
        font.getBestCmap()
        font.getGlyphOrder()
    # fontTools documents no closed set of errors for damaged files.
    except Exception as error:
        raise UserError(f"{what} {spec} can't be read: {' '.join(str(error).split())[:200]}") from error
    if tables & {"fvar", "CFF2"}:
        raise UserError(f"{what} {spec} is a variable font: make a font of one of its instances first")
    if not tables & {"glyf", "CFF "}:
        raise UserError(f"{what} {spec} has bitmaps only, no outlines: there is nothing that could be completed")
    if "sbix" in tables:
        raise UserError(f"{what} {spec} has bitmaps beside its outlines (sbix), which can't be completed")
    if font["cmap"].getBestCmap() is None:
        raise UserError(f"{what} {spec} has no Unicode cmap")
    return font


def missing_from(font: TTFont, characters: str) -> str:
    """Those of `characters` that a font lacks: not in its cmap, or there with a glyph that is empty.

    Looking at a glyph may change its bytes when the font is saved: complete another instance than this.
    """
    cmap, glyphs = font.getBestCmap(), font.getGlyphSet()
    return "".join(c for c in unique(characters) if ord(c) not in cmap or _is_empty(font, glyphs, cmap[ord(c)]))


def covered_by(font: TTFont) -> str:
    """The characters that a font has, with glyphs that are not empty."""
    glyphs = font.getGlyphSet()
    return "".join(chr(c) for c, name in sorted(font.getBestCmap().items()) if not _is_empty(font, glyphs, name))


def _is_empty(font: TTFont, glyphs, name: str) -> bool:
    if "glyf" in font:
        return font["glyf"][name].numberOfContours == 0
    pen = ControlBoundsPen(None)
    glyphs[name].draw(pen)
    return pen.bounds is None


def complete_font(font: TTFont, path: Path, glyphs: Iterable[OutlinedGlyph], names: Names | None = None) -> int:
    """Write `font`, fresh from `open_base`, with further glyphs at the end of its own; returns how many.

    Glyphs, tables, features and instructions that are there stay; what counts glyphs counts the new ones too, and a
    signature, which would not be true any more, is left out. With `names` the font gets another name.

    Raises:
        UserError: when there would be more glyphs than a font can hold.
    """
    cubic = "CFF " in font
    order, taken = list(font.getGlyphOrder()), set(font.getGlyphOrder())
    units, own = font["head"].unitsPerEm, len(order)
    extents = _Extents(font)
    cff = _CffTable(font, order) if cubic else None
    device_widths = _device_widths(font)
    added: dict[int, str] = {}
    for glyph in glyphs:
        if len(order) >= MOST_GLYPHS:
            raise UserError(f"a font holds at most {MOST_GLYPHS} glyphs, the base has {own} of its own")
        name = cff.new_name() if cubic and cff.is_cid else _free_name(glyph_name(glyph.character), taken)
        taken.add(name)
        order.append(name)
        added[ord(glyph.character)] = name
        if cubic:
            cff.add(name, glyph)
            box = glyph.bounds()
        else:
            drawn, box = compiled(glyph, cubic=False, units=units)
            font["glyf"].glyphs[name] = drawn
            extents.count_points(drawn)
        font["hmtx"].metrics[name] = (glyph.advance, box[0])
        extents.add(box, glyph.advance)
        if "vmtx" in font:
            height = units if glyph.height is None else glyph.height
            top = font["hhea"].ascent if glyph.origin_y is None else glyph.origin_y
            font["vmtx"].metrics[name] = (height, top - box[3])
            extents.add_vertical(box, height, top)
    font.setGlyphOrder(order)
    if cubic:
        cff.finish()
    else:
        font["glyf"].glyphOrder = order
    _add_to_cmaps(font, added)
    _extend_device_tables(font, device_widths, added.values())
    extents.write(font, len(order))
    if names is not None:
        rename(font, names)
    if "DSIG" in font:
        del font["DSIG"]
    font.flavor = None  # a base may be packed for the web
    save_font(font, path)
    return len(order) - own


def _free_name(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}.alt{number}", number + 1
    return candidate


class _CffTable:
    """Adds glyphs to a CFF table, name-keyed or CID-keyed, whose own charstrings are not touched."""

    def __init__(self, font: TTFont, order: list[str]):
        self.top = font["CFF "].cff.topDictIndex[0]
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

    def add(self, name: str, glyph: OutlinedGlyph) -> None:
        widths = (getattr(self.private, field, 0) for field in ("defaultWidthX", "nominalWidthX"))
        string = charstring(glyph, self.private, *widths)
        string.globalSubrs = self.strings.globalSubrs
        self.strings.charStringsIndex.append(string)
        self.strings.charStrings[name] = len(self.strings.charStringsIndex) - 1
        self.charset.append(name)
        if self.is_cid:
            self.top.FDSelect.append(self.part)


class _Extents:
    """What a font says of the largest of its glyphs, and of how many there are."""

    def __init__(self, font: TTFont):
        head, hhea = font["head"], font["hhea"]
        self.box = [head.xMin, head.yMin, head.xMax, head.yMax]
        self.advance, self.points, self.contours = hhea.advanceWidthMax, 0, 0
        self.left, self.right, self.extent = hhea.minLeftSideBearing, hhea.minRightSideBearing, hhea.xMaxExtent
        self.vertical = [0, 0, 0, 0]  # largest advance, smallest top and bottom bearing, largest extent
        if "vhea" in font:
            vhea = font["vhea"]
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

    def count_points(self, drawn) -> None:
        self.points = max(self.points, len(getattr(drawn, "coordinates", ())))
        self.contours = max(self.contours, drawn.numberOfContours)

    def write(self, font: TTFont, count: int) -> None:
        head, hhea, maxp = font["head"], font["hhea"], font["maxp"]
        head.xMin, head.yMin, head.xMax, head.yMax = map(otRound, self.box)
        hhea.advanceWidthMax = self.advance
        hhea.minLeftSideBearing, hhea.minRightSideBearing, hhea.xMaxExtent = self.left, self.right, self.extent
        maxp.numGlyphs = count
        if "vhea" in font:
            vhea = font["vhea"]
            vhea.advanceHeightMax, vhea.minTopSideBearing, vhea.minBottomSideBearing, vhea.yMaxExtent = self.vertical
        if "glyf" in font:
            maxp.maxPoints = max(maxp.maxPoints, self.points)
            maxp.maxContours = max(maxp.maxContours, self.contours)
        else:
            font["CFF "].cff.topDictIndex[0].FontBBox = [head.xMin, head.yMin, head.xMax, head.yMax]


def _add_to_cmaps(font: TTFont, added: dict[int, str]) -> None:
    """Map the new characters in every Unicode cmap that can hold them; one for all is made where they need it.

    A cmap of format 4 holds so and so many runs of code points: one that would burst stays as it is.
    """
    tables = font["cmap"].tables
    full = [t for t in tables if (t.platformID, t.platEncID) in FULL_CMAPS and t.format in (12, 13)]
    basic = [t for t in tables if (t.platformID, t.platEncID) in BASIC_CMAPS and t.format in (4, 6, 12)]
    everything = {**font.getBestCmap(), **added}
    burst = False
    for table in basic:
        before = dict(table.cmap)
        table.cmap = before | {codepoint: name for codepoint, name in added.items() if codepoint <= LAST_BASIC}
        if not _can_be_written(table, font):
            table.cmap, burst = before, True
    for table in full:
        table.cmap.update(added)
    if not full and (burst or any(codepoint > LAST_BASIC for codepoint in added)):
        table = CmapSubtable.newSubtable(12)
        table.platformID, table.platEncID, table.language, table.cmap = 3, 10, 0, everything
        tables.append(table)


def _can_be_written(table: CmapSubtable, font: TTFont) -> bool:
    try:
        table.compile(font)
    except (struct.error, OverflowError, AssertionError):
        return False
    return True


def _device_widths(font: TTFont) -> dict[int, dict[str, int]]:
    """The widths of a font's own glyphs by size, where it lists them: to be read before glyphs are added."""
    if "hdmx" not in font:
        return {}
    order = font.getGlyphOrder()
    return {size: {name: widths[name] for name in order} for size, widths in font["hdmx"].hdmx.items()}


def _extend_device_tables(font: TTFont, device_widths: dict[int, dict[str, int]], names: Iterable[str]) -> None:
    """Tables with a value for each glyph and size: of the new glyphs the widths scale linearly at every size."""
    names = list(names)
    if "LTSH" in font:
        font["LTSH"].yPels.update(dict.fromkeys(names, 1))
    if device_widths:
        units, metrics = font["head"].unitsPerEm, font["hmtx"].metrics
        font["hdmx"].hdmx = {
            size: widths | {name: min(otRound(metrics[name][0] * size / units), 255) for name in names}
            for size, widths in device_widths.items()
        }


def rename(font: TTFont, names: Names) -> None:
    """Give a font another name, in all languages in which it has one."""
    table = font["name"]
    strings = names.table()
    numbers = {1: "familyName", 2: "styleName", 3: "uniqueFontIdentifier", 4: "fullName", 5: "version", 6: "psName"}
    numbers |= {13: "licenseDescription"}
    replaced = {number for number, key in numbers.items() if key in strings} | {16, 17, 21, 22}
    table.names = [record for record in table.names if record.nameID not in replaced]
    for number, key in numbers.items():
        if key in strings and number in replaced:
            table.setName(strings[key], number, 3, 1, 0x409)
    if "CFF " in font:
        cff = font["CFF "].cff
        cff.fontNames[0] = strings["psName"]
        top = cff.topDictIndex[0]
        top.FullName, top.FamilyName = latin(strings["fullName"]), latin(names.family)


def style_of(font: TTFont) -> str:
    """The style name of a font."""
    return (font["name"].getDebugName(17) or font["name"].getDebugName(2) or "Regular") if "name" in font else "Regular"


def family_of(font: TTFont) -> str:
    """The family name of a font."""
    return (font["name"].getDebugName(16) or font["name"].getDebugName(1) or "") if "name" in font else ""


def check_name(name: str, reserved: list[str]) -> None:
    """See to it that a font that is made from others does not bear a name that their licence reserves.

    Raises:
        UserError: when it would.
    """
    for word in reserved:
        if word.casefold() in name.casefold():
            raise UserError(
                f"the licence reserves the name {word!r}: give the font another with --font_name, not {name!r}"
            )
