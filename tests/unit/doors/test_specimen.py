"""The page to look at a font on."""

import base64
import re

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from tests.helpers.exports import TARGET, export, pictures, some, without
from tests.helpers.fonts import boxes, make_collection, make_font
from utils import specimen
from utils.glyphs.render import GlyphRenderer


def test_drawn_and_generated_glyphs_are_told_apart(tmp_path, capsys):
    """A font and the base it was made from, which lacks two of its characters."""
    font = GlyphRenderer(TARGET).path
    first, second, third = some(TARGET, 3)
    base = without(TARGET, first + second, tmp_path / "base.ttf")
    text = f"{first}{third}\n{second}龘<"
    out = tmp_path / "out"
    assert specimen.main([str(font), "--base", str(base), "--text", text, "--out_dir", str(out)]) == 0
    assert "lacks 2 characters of the text, left out: 龘<" in capsys.readouterr().out
    page = (out / "specimen.html").read_text("utf-8")
    assert re.findall('<span class="g">(.)</span>', page)[:2] == [first, second]
    assert f'<span class="g">{first}</span>{third}<br>' in page
    assert f'<span class="g">{third}</span>' not in page
    assert "glyphs: 2, drawn:" in page
    embedded = re.search(r"base64,([A-Za-z0-9+/=]+)", page)[1]
    assert base64.b64decode(embedded) == font.read_bytes()
    pixels = np.asarray(Image.open(out / "specimen.png")).reshape(-1, 3)
    for colour in (specimen.DRAWN, specimen.GENERATED):
        assert (pixels == colour).all(1).any()


def test_a_new_font_is_all_generated(tmp_path):
    font = str(GlyphRenderer(TARGET).path)
    assert specimen.main([font, "--most", "5", "--out_dir", str(tmp_path)]) == 0
    glyphs = (tmp_path / "specimen.html").read_text("utf-8").split('<p class="glyphs">')[1]
    assert glyphs.count('<span class="g">') == 5


def test_markup_in_a_text_stays_text(tmp_path):
    font = str(GlyphRenderer("bundled:source.otf").path)
    (tmp_path / "t.txt").write_text("<b>\n" + some("bundled:source.otf", 2), encoding="utf-8")
    assert specimen.main([font, "--text_file", str(tmp_path / "t.txt"), "--out_dir", str(tmp_path)]) == 0
    assert "<b>" not in (tmp_path / "specimen.html").read_text("utf-8").split("<body>")[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["no.ttf"], "no.ttf: no such file"), ([TARGET, "--text", "a", "--text_file", "b"], "two texts")],
)
def test_mistakes_are_one_line(flags, words, capsys):
    code = specimen.main(flags)
    assert code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_font_of_a_collection_is_shown_alone(tmp_path):
    fonts = [make_font(tmp_path / f"{c}.ttf", boxes(f"{c}天")) for c in "永字"]
    collection = make_collection(tmp_path / "全部.ttc", fonts)
    assert specimen.main([f"{collection}#1", "--out_dir", str(tmp_path)]) == 0
    page = (tmp_path / "specimen.html").read_text("utf-8")
    assert '<span class="g">字</span>' in page
    embedded = base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", page)[1])
    (tmp_path / "embedded.ttf").write_bytes(embedded)
    assert sorted(GlyphRenderer(str(tmp_path / "embedded.ttf")).covered()) == sorted("字天")


def test_placeholders_are_not_shown(tmp_path):
    path = make_font(tmp_path / "a.ttf", boxes("天地") | dict.fromkeys("玄黃宇宙洪", (0, 0, 500, 500)))
    assert specimen.main([str(path), "--out_dir", str(tmp_path)]) == 0
    assert '<span class="g">玄</span>' not in (tmp_path / "specimen.html").read_text("utf-8")


def test_how_much_of_each_charset_a_font_has(tmp_path, capsys):
    path = make_font(tmp_path / "a.ttf", boxes("一丁七，。ㄅ"), family="Some")
    assert specimen.main([str(path), "--charsets"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Some, from a.ttf")
    rows = {line.split()[0]: line.split()[1:5] for line in said[1:-1]}
    assert rows["big5_1"] == ["3", "of", "5401", "0.1%"]
    assert rows["punctuation"][:3] == ["2", "of", "101"]
    assert rows["latin"][0] == "0"
    assert said[-1] == "3 ideographs in all"
    assert not (tmp_path / "specimen.html").exists()


def test_what_was_corrected_or_lent_is_not_shown_as_generated(tmp_path):
    first, second, third = some(TARGET, 3)
    drawings = pictures(tmp_path / "drawn", TARGET, first + second, 64)
    lender = make_font(tmp_path / "lender.ttf", boxes(third), family="Lender")
    out = tmp_path / "New.ttf"
    assert export(out, drawings, "--fill", lender) == 0
    with TTFont(out) as font:
        glyph = font["glyf"][font.getBestCmap()[ord(second)]]
        glyph.coordinates.translate((0, 9))
        font.save(out)
    assert specimen.main([str(out), "--out_dir", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "specimen.html").read_text("utf-8")
    assert f'<p class="glyphs"><span class="g">{first}</span></p>' in page or f'class="glyphs">{first}</p>' in page
    assert f'<span class="g">{second}</span>' not in page and f'<span class="g">{third}</span>' not in page
    assert "glyphs: 1, drawn:" in page
