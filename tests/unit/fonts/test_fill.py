"""Glyphs that another font lends, as they are: punctuation, Latin letters, whatever nobody drew."""

import json

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from tests.helpers.exports import TARGET, export, pictures, refused, sanitize, some
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_infer
from utils.glyphs.generated import find_generated
from utils.glyphs.render import GlyphRenderer

LENT = "，。「」ABCㄅㄆ"


@pytest.fixture(params=[".ttf", ".otf"])
def lender(request, tmp_path):
    """A font of either kind of outlines on an em of 2,048 units, that has some of the drawn characters too."""
    first, *_ = some(TARGET, 1)
    path = make_font(
        tmp_path / f"lender{request.param}", boxes(LENT + first, (100, 0, 1000, 1500)), "Lender", upem=2048
    )
    with TTFont(path) as font:
        font["hmtx"]["u41"] = (1024, 100)
        font["name"].setName("(c) 2020 Somebody", 0, 3, 1, 0x409)
        font["name"].setName("SIL Open\nFont License", 13, 3, 1, 0x409)
        font.save(path)
    return path


@pytest.mark.parametrize("extension", [".ttf", ".otf"])
def test_what_is_not_drawn_is_lent_as_it_is(lender, tmp_path, capsys, extension):
    characters, out = some(TARGET, 3), tmp_path / f"New{extension}"
    drawings = pictures(tmp_path / "drawn", TARGET, characters)
    assert export(out, drawings, "--fill", lender) == 0
    said = capsys.readouterr().out
    assert f"{len(LENT)} characters are lent by Lender: (c) 2020 Somebody; SIL Open Font License" in said
    sanitize(out)
    made, lent = GlyphRenderer(str(out)), GlyphRenderer(str(lender))
    assert set(made.covered()) == set(characters + LENT)
    box, own = made.ink_box("，"), lent.ink_box("，")
    lefts = [(edge - font.placement.x) / font.placement.em for font, edge in ((made, box[0]), (lent, own[0]))]
    assert lefts[0] == pytest.approx(lefts[1], abs=2e-3)
    assert (box[2] - box[0], box[3] - box[1]) == pytest.approx((own[2] - own[0], own[3] - own[1]), abs=2e-3)
    with TTFont(out) as font:
        widths = {chr(code): font["hmtx"][name][0] for code, name in font.getBestCmap().items()}
        assert font["head"].unitsPerEm == 1000
    assert (widths["A"], widths["B"], widths["，"]) == (500, 1000, 1000)
    found = json.loads((drawings / "coverage.json").read_text("utf-8"))["lent"]
    assert (found["font"], len(found["characters"])) == ("Lender", len(LENT))
    items = json.loads((tmp_path / "New.generated.json").read_text("utf-8"))["characters"]
    assert {item["character"]: item.get("font") for item in items}.items() >= {
        "，": "Lender",
        characters[0]: None,
    }.items()


def test_a_base_keeps_what_it_has_and_is_lent_the_rest(lender, tmp_path):
    characters = some(TARGET, 2)
    base = make_font(tmp_path / "base.ttf", boxes("，A龍", (200, 0, 800, 600)), family="Base")
    out, drawings = tmp_path / "Full.ttf", pictures(tmp_path / "drawn", TARGET, characters)
    assert export(out, drawings, "--base", base, "--fill", lender, "--fill_charset", "punctuation+latin") == 0
    made = GlyphRenderer(str(out))
    assert set(made.covered()) == set("，A龍" + characters + "。「」BC")
    assert np.array_equal(made.render("，", 64), GlyphRenderer(str(base)).render("，", 64))
    again = tmp_path / "Again.ttf"  # lent glyphs are known, and are no reason to draw or to lend anew
    assert export(again, drawings, "--base", out, "--fill", lender, "--fill_charset", "punctuation+latin") == 0
    assert set(find_generated(GlyphRenderer(str(again))).unchanged) == set(characters + "。「」BC")


def test_mistakes_are_one_line(lender, tmp_path, capsys):
    out, drawings = tmp_path / "New.ttf", pictures(tmp_path / "drawn", TARGET, some(TARGET, 1))
    refused("which font lends its glyphs", capsys, out, drawings, "--fill_charset", "latin")
    refused("has no character of kana", capsys, out, drawings, "--fill", lender, "--fill_charset", "kana")
    refused("no such file", capsys, out, drawings, "--fill", tmp_path / "none.ttf")
    refused(
        "is a font that this one is made from", capsys, lender.with_suffix(lender.suffix), drawings, "--fill", lender
    )


def test_a_drawing_without_an_outline_is_lent_and_fonts_that_say_nothing_lend(tmp_path, capsys):
    first, second = some(TARGET, 2)
    drawings = pictures(tmp_path / "drawn", TARGET, first)
    Image.new("L", (64, 64), 255).save(drawings / f"U+{ord(second):04X}.png")
    with TTFont(make_font(tmp_path / "lender.ttf", boxes(second + "，"), "Lender")) as font:
        del font["name"]
        font.save(tmp_path / "lender.ttf")
    out = tmp_path / "New.ttf"
    assert export(out, drawings, "--fill", tmp_path / "lender.ttf") == 1
    assert "2 characters are lent by lender: it says nothing of its licence" in capsys.readouterr().out
    assert set(GlyphRenderer(str(out)).covered()) == set(first + second + "，")


def test_a_font_that_does_not_tell_its_characters_lends_none(tmp_path, capsys):
    with TTFont(make_font(tmp_path / "lender.ttf", boxes("一二"), "Lender")) as font:
        font["cmap"].tables = []
        font.save(tmp_path / "lender.ttf")
    drawings = pictures(tmp_path / "drawn", TARGET, some(TARGET, 1))
    refused("lender.ttf", capsys, tmp_path / "New.ttf", drawings, "--fill", tmp_path / "lender.ttf")


@pytest.mark.parametrize(
    "flag", [("--fill", "a.ttf"), ("--base", "a.ttf"), ("--font_name", "My"), ("--exclude_suspects", 3)]
)
def test_what_is_said_of_a_font_that_is_not_made_is_refused(trained, capsys, flag):
    assert run_infer(trained, "--src_txt", "國", *flag) == 2
    assert f"{flag[0]} is for a font that is made: name it with --font_out" in capsys.readouterr().err
