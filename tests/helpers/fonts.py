"""Small fonts made for the tests: squares and bars at known places."""

from pathlib import Path

from fontTools import varLib
from fontTools.designspaceLib import DesignSpaceDocument
from fontTools.fontBuilder import FontBuilder
from fontTools.otlLib.builder import buildStatTable
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont

Box = tuple[int, int, int, int]  # left, bottom, right, top in font units


def boxes(characters: str, box: Box = (100, 0, 900, 800)) -> dict[str, Box]:
    """A box for each character, each a little narrower than the one before: one outline for all is a placeholder."""
    left, bottom, right, top = box
    return {character: (left + number, bottom, right, top) for number, character in enumerate(characters)}


def make_font(path: Path, glyphs: dict[str, Box | None], family: str = "Boxes", **metrics: int) -> Path:
    """A font with one box a character; None is a character whose glyph is empty. .otf is CFF, else TrueType."""
    upem = metrics.get("upem", 1000)
    ascent, descent = metrics.get("ascent", 880), metrics.get("descent", -120)
    names = [".notdef", *(f"u{ord(character):X}" for character in glyphs)]
    is_ttf = path.suffix != ".otf"
    builder = FontBuilder(upem, isTTF=is_ttf)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): f"u{ord(character):X}" for character in glyphs})
    drawn = {}
    for name, box in zip(names, [None, *glyphs.values()], strict=True):
        pen = TTGlyphPen(None) if is_ttf else T2CharStringPen(upem, None)
        if box:
            left, bottom, right, top = box
            pen.moveTo((left, bottom))
            for point in ((left, top), (right, top), (right, bottom)):
                pen.lineTo(point)
            pen.closePath()
        drawn[name] = pen.glyph() if is_ttf else pen.getCharString()
    if is_ttf:
        builder.setupGlyf(drawn)
    else:
        builder.setupCFF(family, {}, drawn, {})
    lefts = [box[0] if box else 0 for box in (None, *glyphs.values())]
    builder.setupHorizontalMetrics({name: (upem, left) for name, left in zip(names, lefts, strict=True)})
    builder.setupHorizontalHeader(
        ascent=metrics.get("hhea_ascent", ascent), descent=metrics.get("hhea_descent", descent)
    )
    builder.setupOS2(sTypoAscender=ascent, sTypoDescender=descent)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupPost()
    builder.save(path)
    return path


def make_variable(path: Path, light: dict[str, Box], bold: dict[str, Box], family: str = "Variable") -> Path:
    """A variable font from wght 100, its default, to 900, with instances Thin, Regular (400) and Black."""
    space = DesignSpaceDocument()
    space.addAxisDescriptor(tag="wght", name="Weight", minimum=100, default=100, maximum=900)
    for weight, glyphs in ((100, light), (900, bold)):
        master = TTFont(make_font(path.with_name(f"{weight}{path.suffix}"), glyphs, family))
        space.addSourceDescriptor(font=master, location={"Weight": weight}, familyName=family)
    for name, weight in (("Thin", 100), ("Regular", 400), ("Black", 900)):
        space.addInstanceDescriptor(styleName=name, familyName=family, location={"Weight": weight})
    font, *_ = varLib.build(space)
    weights = [{"value": w, "name": n} for n, w in (("Thin", 100), ("Regular", 400), ("Black", 900))]
    buildStatTable(font, [{"tag": "wght", "name": "Weight", "values": weights}])
    font.save(path)
    return path


def make_collection(path: Path, fonts: list[Path]) -> Path:
    """A .ttc of several fonts."""
    collection = TTCollection()
    collection.fonts = [TTFont(font) for font in fonts]
    collection.save(path)
    return path
