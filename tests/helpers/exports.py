"""Drawings made of a font's own glyphs, and fonts made of them."""

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from utils import font_export
from utils.fonts.glyph import OutlinedGlyph
from utils.glyphs.charset import codepoint_name
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image

SOURCE, TARGET = "bundled:source.otf", "bundled:target.ttf"


def sanitize(path: Path) -> None:
    """What browsers ask of a font before they use it."""
    ots = pytest.importorskip("ots")
    done = ots.sanitize(str(path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def shaped(path: Path, text: str) -> list[tuple[int, int]]:
    """Glyph and advance of each character, by HarfBuzz."""
    hb = pytest.importorskip("uharfbuzz")
    font = hb.Font(hb.Face(hb.Blob.from_file_path(str(path))))
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    hb.shape(font, buffer)
    return [
        (info.codepoint, place.x_advance)
        for info, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True)
    ]


def pictures(folder: Path, spec: str, characters: str, size: int = 128) -> Path:
    """A folder of pictures as infer.py draws them, of a font's own glyphs."""
    font = GlyphRenderer(spec)
    folder.mkdir()
    for character in characters:
        save_image(font.render(character, size), folder / f"{codepoint_name(character)}.png")
    return folder


def export(out: Path, drawings: Path, *flags: object, spec: str = TARGET) -> int:
    given = ["--experiment_dir", out.parent, "--infer_dir", drawings, "--src_font", spec, "--font_out", out]
    return font_export.main([*map(str, given), "--num_workers", "1", *map(str, flags)])


def some(spec: str, count: int) -> str:
    """Han characters that a font has."""
    font = GlyphRenderer(spec)
    return "".join(chr(c) for c in sorted(font.codepoints()) if c >= 0x4E00 and font.covers(chr(c)))[:count]


def refused(words: str, capsys, *arguments: object, **named: object) -> None:
    code = export(*arguments, **named)
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


def without(spec: str, characters: str, path: Path) -> Path:
    """A copy of a font that lacks some characters in its cmap."""
    with TTFont(GlyphRenderer(spec).path) as font:
        for table in font["cmap"].tables:
            table.cmap = {c: name for c, name in table.cmap.items() if chr(c) not in characters}
        font.save(path)
    return path


def boxed(character: str, box=(100, 0, 900, 800)) -> OutlinedGlyph:
    """A glyph that is a box, turning clockwise."""
    left, low, right, high = box
    corners = [(left, low), (left, high), (right, high), (right, low)]
    calls = [("moveTo", (corners[0],)), *(("lineTo", (corner,)) for corner in corners[1:]), ("closePath", ())]
    return OutlinedGlyph(character, 1000, calls)
