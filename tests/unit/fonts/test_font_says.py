"""What a new or completed font says of itself: code pages, names; and whether there is room in it."""

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph

from tests.helpers.exports import boxed, export, pictures, refused, sanitize, without
from tests.helpers.fonts import boxes, make_font
from tests.helpers.old_fonts import short_os2
from tests.helpers.scripts import run_infer
from utils.errors import UserError
from utils.fonts import build
from utils.fonts import build as font_build
from utils.fonts.build import Metrics, build_font
from utils.fonts.complete import check_room, complete_font, open_base
from utils.fonts.glyph import OutlinedGlyph
from utils.fonts.names import Names, ascii_name
from utils.fonts.os2 import code_page_bits, complete_pages, find_languages
from utils.glyphs.font_file import os2_of

TARGET = "bundled:target.ttf"
METRICS = Metrics(1000, 1160, -288, em_top=880)


# ------------------------------------------------------------------------------------------- code pages


def ideographs(codec: str, count: int, step: int = 7) -> str:
    """Characters of a code page, evenly spread."""
    known = [c for c in map(chr, range(0x4E00, 0x9FA6)) if len(c.encode(codec, "replace")) == 2]
    return "".join(known[::step][:count])


@pytest.mark.parametrize(
    ("characters", "bits"),
    [
        ("一丁七", {20}),  # in all four: Traditional
        ("们这为说国", {18}),
        ("実図円気", {17}),
        ("一丁かな", {17}),
        ("가나다", {19}),
        ("乭乫", {19}),
        ("臺灣妳かな", {20}),
        ("가나다" * 9 + "學校", {19}),
        ("臺灣繁體", {20}),
        ("ABC", set()),
        (ideographs("big5", 900), {20}),
        (ideographs("gb2312", 900), {18}),
        (ideographs("euc_jp", 900), {17}),
        (ideographs("euc_kr", 900), {19}),
    ],
)
def test_a_code_page_is_that_of_most_ideographs(characters, bits):
    assert code_page_bits(map(ord, characters)) & {17, 18, 19, 20, 21} == bits


def test_code_pages_that_are_complete_are_set_beside():
    both = ideographs("big5", 99_999, 1) + ideographs("gb2312", 99_999, 1)
    assert [page.bit for page in complete_pages(map(ord, both))][:2] == [20, 18]
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    assert code_page_bits(map(ord, syllables)) >= {19, 21}
    korean = syllables + ideographs("big5", 500)
    assert code_page_bits(map(ord, korean)) & {17, 18, 19, 20} == {19, 20}
    latin = "".join(map(chr, range(0x20, 0x100)))
    assert code_page_bits(map(ord, latin + "一")) >= {0, 20}


def test_a_page_whose_common_characters_are_there_comes_before_one_with_more_in_part():
    """Big5 is twice as large as JIS: a Japanese font has more of it than of its own, and is not for it."""
    japanese = ideographs("euc_jp", 99_999, 1) + ideographs("big5", 99_999, 3)
    assert len(ideographs("big5", 99_999, 1)) > 13_000
    assert code_page_bits(map(ord, japanese)) & {17, 18, 19, 20} == {17}
    assert find_languages("明朝", map(ord, japanese)) == [0x411]


def test_a_name_is_in_the_language_of_its_letters():
    assert find_languages("我的字", map(ord, "一丁七")) == [0x404]
    assert find_languages("我的字", map(ord, "们这为")) == [0x804]
    assert find_languages("ゴシック", map(ord, "臺灣")) == [0x411]
    assert find_languages("바탕", map(ord, "臺灣")) == [0x412]
    assert find_languages("我的字", []) == [0x404]


@pytest.mark.parametrize("kind", ["ttf", "otf"])
def test_a_new_font_says_which_characters_it_has(kind, tmp_path):
    build_font(tmp_path / f"new.{kind}", map(boxed, "臺灣乜かA"), {" ": 250}, Names("New"), METRICS)
    with TTFont(tmp_path / f"new.{kind}") as font:
        assert font["OS/2"].getUnicodeRanges() >= {0, 49, 59}
        assert font["OS/2"].getCodePageRanges() & {17, 18, 19, 20} == {20}


def test_a_completed_font_says_what_was_added(tmp_path):
    base = make_font(tmp_path / "base.ttf", boxes("妳國", (0, 0, 500, 500)))
    with TTFont(base) as font:
        font["OS/2"].version = 4
        font["OS/2"].setUnicodeRanges({0, 88})
        font["OS/2"].setCodePageRanges({0})
        font["OS/2"].xAvgCharWidth = 3
        font.save(base)
    wide = [OutlinedGlyph(c, 1300, boxed(c).calls) for c in "龍가"]
    complete_font(open_base(str(base)), tmp_path / "full.ttf", wide)
    with TTFont(tmp_path / "full.ttf") as font:
        assert font["OS/2"].getUnicodeRanges() == {0, 88, 59, 56}
        assert font["OS/2"].getCodePageRanges() == {0, 20}
        assert font["OS/2"].xAvgCharWidth == round((3 * 1000 + 2 * 1300) / 5)


def test_a_completed_font_with_an_old_os2_table(tmp_path):
    """Of the first version, which has no code pages, or cut short."""
    base = make_font(tmp_path / "base.ttf", boxes("國"))
    with TTFont(base) as font:
        font["OS/2"].version, font["OS/2"].xAvgCharWidth = 0, 321
        font.save(base)
    complete_font(open_base(str(base)), tmp_path / "full.ttf", [boxed("龍")])
    with TTFont(tmp_path / "full.ttf") as font:
        assert font["OS/2"].getCodePageRanges() == {20}
        assert font["OS/2"].xAvgCharWidth == 321
    cut = short_os2(base, 68, tmp_path / "cut.ttf")
    complete_font(open_base(str(cut)), tmp_path / "full.ttf", [boxed("龍")])
    with TTFont(cut) as old, TTFont(tmp_path / "full.ttf") as new:
        assert os2_of(new) is None
        assert old.reader["OS/2"] == new.reader["OS/2"]


# ------------------------------------------------------------------------------------------------ names


def test_two_families_have_two_postscript_names():
    families = ["我的字", "我的书", "My 字", "My字 ", "字" * 60, "字" * 61, "Font", "Font!", "字型 A", "字型 B"]
    names = [Names(family).english_table()["psName"] for family in families]
    assert len(set(names)) == len(families) - 1  # a space is no difference
    for name in names:
        assert name.isascii()
        assert len(name) <= 63
        assert not set(name) & set("[](){}<>/% ")
    assert Names("Source Han", "Bold").english_table()["psName"] == "SourceHan-Bold"
    assert ascii_name("我的 Font") == "u6211u7684Font"


@pytest.mark.parametrize("kind", ["ttf", "otf"])
@pytest.mark.parametrize("english", [None, "My Hand"])
def test_a_chinese_name_is_in_chinese_and_beside_it_an_english_one(kind, english, tmp_path):
    path = tmp_path / f"new.{kind}"
    build_font(path, map(boxed, "臺灣"), {}, Names("我的字", "Bold", english=english), METRICS)
    with TTFont(path) as font:
        names = {(r.nameID, r.langID): str(r) for r in font["name"].names}
        assert names[1, 0x404] == "我的字"
        assert names[4, 0x404] == "我的字 Bold"
        assert names[1, 0x409] == (english or "u6211u7684u5B57")
        assert names[6, 0x409] == ("MyHand-Bold" if english else "u6211u7684u5B57-Bold")
        assert names[3, 0x409] == f"1.000;{names[6, 0x409]}"
        if kind == "otf":
            assert font["CFF "].cff.fontNames == [names[6, 0x409]]
    sanitize(path)


def test_a_completed_font_is_renamed_in_both_languages(tmp_path, capsys):
    base = make_font(tmp_path / "base.ttf", boxes("臺灣"))
    with TTFont(base) as font:
        font["name"].setName("舊字", 1, 3, 1, 0x404)
        font["name"].setName("旧字", 1, 3, 1, 0x804)
        font.save(base)
    drawings = pictures(tmp_path / "in", str(base), "臺")
    next(drawings.iterdir()).rename(drawings / "新.png")
    flags = ["--base", base, "--font_name", "新字", "--font_name_en", "New Hand"]
    assert export(tmp_path / "full.ttf", drawings, *flags, spec=str(base)) == 0
    assert "English" not in capsys.readouterr().out
    with TTFont(tmp_path / "full.ttf") as font:
        assert {(r.langID, str(r)) for r in font["name"].names if r.nameID == 1} == {
            (0x404, "新字"),
            (0x409, "New Hand"),
        }
    assert export(tmp_path / "other.ttf", drawings, *flags[:4], spec=str(base)) == 0
    assert "the font's name in English is u65B0u5B57: --font_name_en gives it another" in capsys.readouterr().out
    refused("renames the base: give --font_name too", capsys, tmp_path / "x.ttf", drawings, "--base", base, *flags[4:])
    refused("has other letters", capsys, tmp_path / "x.ttf", drawings, "--font_name_en", "Größe")


# ------------------------------------------------------------------------------------------------- room


def crowded(path: Path, count: int, names_in_post: bool = False) -> Path:
    """A font with `count` glyphs, all but a few of them empty and without a character."""
    make_font(path, boxes("國永"))
    with TTFont(path) as font:
        order = font.getGlyphOrder()
        more = [f"empty{number}" for number in range(count - len(order))]
        font.setGlyphOrder(order + more)
        font["post"].formatType = 2.0 if names_in_post else 3.0
        if names_in_post:
            font["post"].extraNames, font["post"].mapping = [], {}
        for name in more:
            font["glyf"].glyphs[name], font["hmtx"].metrics[name] = Glyph(), (1000, 0)
        font.save(path)
    return path


@pytest.mark.parametrize(("count", "fits"), [(65_534, False), (65_533, True)])
def test_a_full_base_is_refused_before_anything_is_drawn(count, fits, trained, tmp_path, capsys):
    characters = "的是"
    base = crowded(tmp_path / "full.ttf", count)
    flags = ["--src_txt", characters, "--base", base, "--font_out", tmp_path / "x.ttf", "--infer_dir", tmp_path / "out"]
    code = run_infer(trained, *flags)
    assert fits or code == 2
    refusal = f"the base has {count:,} glyphs and can hold 65,535: there is no room for 2 more"
    assert (refusal in capsys.readouterr().err) != fits
    assert len(list((tmp_path / "out" / "0").glob("*.png"))) == (2 if fits else 0)


@pytest.mark.slow
def test_a_post_table_holds_fewer_names_than_glyphs(tmp_path):
    base = open_base(str(crowded(tmp_path / "full.ttf", 65_270, names_in_post=True)))
    check_room(base, 7)
    with pytest.raises(UserError, match="can hold 65,277: there is no room for 8 more"):
        check_room(base, 8)


def test_a_new_otf_holds_fewer_glyphs_than_a_ttf(tmp_path, monkeypatch):
    """A CFF table holds 65,000 strings, 391 of which all have; here it is made to hold five."""
    assert build.MOST_NAMED <= 65_000 - 391
    monkeypatch.setattr(font_build, "MOST_NAMED", 5)
    with pytest.raises(UserError, match=r"a new \.otf holds at most 5 glyphs: name fewer characters, or let .* 65,535"):
        build_font(tmp_path / "big.otf", map(boxed, "一丁七永國"), {}, Names("Big"), METRICS)
    assert not list(tmp_path.iterdir())
    assert build_font(tmp_path / "big.ttf", map(boxed, "一丁七永國"), {}, Names("Big"), METRICS) == 6


def test_other_refusals_come_before_the_drawing(trained, tmp_path, capsys):
    base = without(TARGET, "的", tmp_path / "base.ttf")
    (tmp_path / "file").write_text("")
    cases = {
        ("--src_txt", "是", "--base", base, "--font_out", tmp_path / "x.ttf"): "has all 1 characters already",
        ("--src_txt", "的", "--font_out", tmp_path / "file" / "x.ttf"): "file is no folder",
        (
            "--src_txt",
            "的",
            "--font_out",
            tmp_path / "x.ttf",
            "--suspects",
            "--exclude_suspects",
            9,
        ): "leaves none of the 1",
        ("--src_txt", "的", "--font_out", tmp_path / "x.ttf", "--font_name_en", "字"): "has other letters",
    }
    for flags, words in cases.items():
        assert run_infer(trained, *flags, "--infer_dir", tmp_path / "out") == 2
        assert words in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("style", "weight"),
    [("Regular", 400), ("Semi Bold", 600), ("Demi-Bold", 600), ("Extra Light", 200), ("ExtraBold", 800), ("Bold", 700)],
)
def test_the_weight_of_a_style(style, weight):
    assert Names("My Hand", style).weight() == weight
