"""Punctuation in vertical text, set by HarfBuzz."""

from pathlib import Path

import pytest
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.DefaultTable import DefaultTable

from tests.helpers.exports import export, pictures, sanitize
from tests.helpers.fonts import boxes, make_font

PLAIN, FORMS = "，。「」（", "︐︒﹁﹂︵"
RULES = "feature vert { sub uFF0C by uFE10; sub u300C by uFE41; sub u300D by uFE42; sub uFF08 by uFE35; } vert;"


def featured(path: Path, characters: str, rules: str, family: str) -> Path:
    make_font(path, boxes(characters, (100, 0, 900, 800)), family)
    with TTFont(path) as font:
        addOpenTypeFeaturesFromString(font, rules, tables=["GSUB"])
        font.save(path)
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    """A source that turns brackets and the comma in vertical text, and leaves the full stop as it is."""
    return featured(tmp_path / "source.ttf", "永" + PLAIN + FORMS, RULES, "Source")


def set_vertically(path: Path, text: str) -> str:
    """The characters whose glyphs HarfBuzz puts one below the other."""
    hb = pytest.importorskip("uharfbuzz")
    face = hb.Face(hb.Blob.from_file_path(str(path)))
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.direction, buffer.script, buffer.language = "ttb", "Hani", "zh-TW"
    hb.shape(hb.Font(face), buffer)
    with TTFont(path) as font:
        characters = {font.getGlyphID(name): chr(code) for code, name in font.getBestCmap().items()}
    return "".join(characters[info.codepoint] for info in buffer.glyph_infos)


@pytest.mark.parametrize("extension", [".ttf", ".otf"])
def test_a_new_font_turns_what_the_source_turns(source, tmp_path, capsys, extension):
    out = tmp_path / f"New{extension}"
    drawings = pictures(tmp_path / "drawn", str(source), "永" + PLAIN + FORMS)
    assert export(out, drawings, spec=str(source)) == 0
    assert "punctuation with another form in vertical text (vert): 4" in capsys.readouterr().out
    sanitize(out)
    assert set_vertically(out, "永，。「」（") == "永︐。﹁﹂︵"


def test_what_lacks_its_form_is_said(source, tmp_path, capsys):
    out, drawings = tmp_path / "New.ttf", pictures(tmp_path / "drawn", str(source), "永，「︐")
    assert export(out, drawings, spec=str(source)) == 0
    said = capsys.readouterr().out
    assert "in vertical text (vert): 1" in said
    assert "in vertical text these stay as they are, since their other forms are not drawn: 「" in said
    assert set_vertically(out, "，「") == "︐「"


def test_what_has_a_form_that_unicode_lacks_is_said_too(tmp_path, capsys):
    rules = "feature vert { sub u3041 by u3043; sub u6C38 by u3043; } vert;"  # as small kana are moved
    source = featured(tmp_path / "source.ttf", "永ぁぃ", rules, "Source")
    out, drawings = tmp_path / "New.ttf", pictures(tmp_path / "drawn", str(source), "永ぁぃ")
    assert export(out, drawings, spec=str(source)) == 0
    assert "their other forms are not drawn: ぁ\n" in capsys.readouterr().out


def test_text_without_punctuation_needs_no_feature(source, tmp_path):
    out = tmp_path / "New.ttf"
    assert export(out, pictures(tmp_path / "drawn", str(source), "永"), spec=str(source)) == 0
    with TTFont(out) as font:
        assert "GSUB" not in font


@pytest.mark.parametrize(
    "rules",
    [
        None,
        "feature liga { sub u7532 by u4E59; } liga;",
        "feature vert { sub u7532 by u4E59; } vert;",
        "languagesystem hani ZHT; feature ccmp {sub u7532 by u4E59;} ccmp; feature zero {sub u4E59 by u7532;} zero;",
    ],
)
def test_a_base_keeps_its_features_and_gets_these_beside(source, tmp_path, rules):
    base = tmp_path / "base.ttf"
    if rules:
        featured(base, "甲乙", f"languagesystem DFLT dflt; {rules}", "Base")
    else:
        make_font(base, boxes("甲乙"), "Base")
    drawings, out = pictures(tmp_path / "drawn", str(source), "永" + PLAIN + FORMS), tmp_path / "Full.ttf"
    assert export(out, drawings, "--base", base, spec=str(source)) == 0
    sanitize(out)
    expected = "乙" if rules and ("ccmp" in rules or "vert" in rules) else "甲"
    assert set_vertically(out, "甲，。「」（") == f"{expected}︐。﹁﹂︵"
    again = tmp_path / "Again.ttf"
    assert export(again, drawings, "--base", out, spec=str(source)) == 0
    assert set_vertically(again, "甲，。「」（") == f"{expected}︐。﹁﹂︵"
    with TTFont(out) as one, TTFont(again) as two:
        lookups = [len(font["GSUB"].table.LookupList.Lookup) for font in (one, two)]
    assert lookups[0] == lookups[1]


def test_features_that_cannot_be_read_stay_as_they_are(source, tmp_path, capsys):
    base, torn = make_font(tmp_path / "base.ttf", boxes("甲乙"), "Base"), tmp_path / "torn.ttf"
    with TTFont(base) as font:
        table = DefaultTable("GSUB")
        table.data = b"\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff"
        font["GSUB"] = table
        font.save(torn)
    drawings, out = pictures(tmp_path / "drawn", str(source), "永" + PLAIN + FORMS), tmp_path / "Full.ttf"
    assert export(out, drawings, "--base", torn, spec=str(source)) == 0
    assert "the features of the base can't be read: it gets no vertical forms" in capsys.readouterr().out
    with TTFont(out, lazy=True) as font:
        assert font.reader["GSUB"] == table.data
