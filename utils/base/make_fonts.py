"""Make the fonts that the base is trained on, from the packages that `faces.json` lists.

    python utils/base/make_fonts.py PACKAGES OUT_DIR

PACKAGES is a folder of npm packages, as `npm pack` fetches them, unpacked to NAME-VERSION; Debian's are installed. Of
every face those characters of Big5 level 1 are kept whose form in its region is that of Taiwan: whose glyph Noto Sans
CJK has for both. A base that learned from other forms would change strokes. At most MOST are kept, chosen by a hash, so
that no face outweighs the others.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.glyphs.charset import read_charset

HERE = Path(__file__).parent
SOURCE = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
REGIONS = {"JP": 0, "SC": 2, "TW": 3, "HK": 4}  # the faces of the source's collection
MOST = 2500  # characters of a face
NEAR = 1.0  # units per em that a curve may be off by


def outline_of(glyphs: Any, name: str) -> Any:
    """The outline of a glyph, its components drawn into it, with quadratic curves."""
    recorded = DecomposingRecordingPen(glyphs)
    glyphs[name].draw(recorded)
    pen = TTGlyphPen(None)
    recorded.replay(Cu2QuPen(pen, NEAR))
    return pen.glyph()


def allowed(region: str) -> list[str]:
    """The characters of Big5 level 1 that have one form in `region` and in Taiwan."""
    fonts = (TTFont(SOURCE, fontNumber=REGIONS[name], lazy=True) for name in ("TW", region))
    here, there = (font.getBestCmap() or {} for font in fonts)
    return [c for c in read_charset("big5_1") if here.get(ord(c)) and here[ord(c)] == there.get(ord(c))]


def files_of(face: dict[str, Any], packages: Path) -> list[Path]:
    """The font of a face, or its slices."""
    where, pattern = (Path("/"), face["file"].lstrip("/")) if face["file"][0] == "/" else (packages, face["file"])
    return sorted(where.glob(pattern))


def digest(files: list[Path]) -> str:
    """The SHA-256 of a file; of several, of their contents one after the other."""
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()


def chosen(face: dict[str, Any], covered: set[str]) -> list[str]:
    """The characters that are kept of a face."""
    usable = [c for c in allowed(face["region"]) if c in covered]
    by_hash = sorted(usable, key=lambda c: hashlib.sha256(f"{face['name']} {c}".encode()).digest())
    return sorted(by_hash[:MOST])


def drawn(face: dict[str, Any], files: list[Path]) -> Iterator[tuple[str, Any, int]]:
    """Each character that is kept, its outline and its advance."""
    fonts = [TTFont(file, fontNumber=face.get("number", 0)) for file in files]
    sets = [font.getGlyphSet(location=face.get("location")) for font in fonts]
    where = {
        chr(code): (glyphs, name)
        for font, glyphs in zip(fonts, sets, strict=True)
        for code, name in (font.getBestCmap() or {}).items()
    }
    for character in chosen(face, set(where)):
        glyphs, name = where[character]
        outline = outline_of(glyphs, name)
        if outline.numberOfContours:
            yield character, outline, round(glyphs[name].width)


def make(face: dict[str, Any], packages: Path, out: Path) -> str:
    """Write the font of a face; returns a line on it."""
    files = files_of(face, packages)
    if not files:
        return f"{face['name']}: {face['file']} is not there"
    found = digest(files)
    if face.get("sha256") not in (None, found):
        return f"{face['name']}: {face['file']} is another than the base was trained on"
    glyphs = {f"u{ord(c):04X}": (c, outline, advance) for c, outline, advance in drawn(face, files)}
    first: Any = TTFont(files[0], fontNumber=face.get("number", 0))
    builder = FontBuilder(first["head"].unitsPerEm, isTTF=True)
    builder.setupGlyphOrder([".notdef", *glyphs])
    builder.setupCharacterMap({ord(c): name for name, (c, _, _) in glyphs.items()})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), **{name: glyph[1] for name, glyph in glyphs.items()}})
    advances = {name: (advance, 0) for name, (_, _, advance) in glyphs.items()}
    table = builder.font["glyf"]
    advances = {name: (advance, table[name].xMin) for name, (advance, _) in advances.items()}
    builder.setupHorizontalMetrics({".notdef": (first["head"].unitsPerEm, 0), **advances})
    builder.setupHorizontalHeader(ascent=first["hhea"].ascent, descent=first["hhea"].descent)
    builder.setupNameTable(
        {"familyName": face["name"], "styleName": "Regular", "psName": face["name"].replace(" ", "")}
    )
    builder.setupOS2(sTypoAscender=first["hhea"].ascent, sTypoDescender=first["hhea"].descent)
    builder.setupPost()
    builder.save(out / (face["name"].replace(" ", "-") + ".ttf"))
    return f"{face['name']}: {len(glyphs)} characters, sha256 {found}"


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise SystemExit(__doc__)
    packages, out = map(Path, argv)
    out.mkdir(parents=True, exist_ok=True)
    faces = json.loads((HERE / "faces.json").read_text(encoding="utf-8"))
    with ProcessPoolExecutor() as pool:
        for line in pool.map(make, faces, [packages] * len(faces), [out] * len(faces)):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
