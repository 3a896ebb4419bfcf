"""Fonts as people have them: paths, slices, packed fonts, old cmaps and tables, and boxes for what nobody drew."""

import time
from pathlib import Path

import freetype
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable

from tests.helpers.exports import boxed
from tests.helpers.fonts import boxes, make_collection, make_font
from tests.helpers.old_fonts import short_os2
from tests.helpers.scripts import run_infer, run_train
from utils.data.font_pairs import FontData, Split, open_recorded
from utils.errors import UserError
from utils.fonts.complete import complete_font, open_base
from utils.glyphs.font_file import FontFile, unicode_cmap
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import font_files

SOURCE, TARGET = (str(GlyphRenderer(f"bundled:{name}").path) for name in ("source.otf", "target.ttf"))


def packed(path: Path, flavor: str, out: Path) -> Path:
    """A copy of a font as it is packed for the web."""
    with TTFont(path) as font:
        font.flavor = flavor
        font.save(out)
    return out


def recoded(path: Path, out: Path, codes: dict[int, str], kind: tuple[int, int]) -> Path:
    """A copy of a font whose only cmap is of the given platform and encoding: glyphs of characters by their codes."""
    with TTFont(path) as font:
        names = font.getBestCmap()
        table = CmapSubtable.newSubtable(4)
        table.platformID, table.platEncID, table.language = *kind, 0
        table.cmap = {code: names[ord(character)] for code, character in codes.items()}
        font["cmap"].tables = [table]
        font.save(out)
    return out


def refused(words: str, *fonts: object, charset: str | None = None) -> None:
    source, *targets = map(str, fonts)
    with pytest.raises(UserError) as caught:
        FontData.from_fonts(source, targets, [], charset, Split(0.1, 1))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------- where they lie


def test_no_path_reaches_a_library_that_reads_it_in_another_encoding(tmp_path, monkeypatch):
    """FreeType opens paths on Windows in the code page of the system."""

    def refuse(*_: object) -> int:
        return 1

    monkeypatch.setattr(freetype, "FT_New_Face", refuse)
    folder = tmp_path / "字型 ü"
    folder.mkdir()
    fonts = [make_font(folder / f"筆{n}.ttf", boxes("一二三", (n, 0, 900, 500))) for n in (1, 2)]
    collection = make_collection(folder / "全部.ttc", fonts)
    for spec in (str(fonts[1]), f"{collection}#1", str(packed(fonts[1], "woff", folder / "網.woff"))):
        font = GlyphRenderer(spec)
        assert font.covered() == "一三二"
        assert np.array_equal(font.render("三", 64), GlyphRenderer(str(fonts[1])).render("三", 64))
        assert font.files[0].for_pillow(40).getmask("三").getbbox()


def test_a_font_is_mapped_or_else_read(tmp_path, monkeypatch):
    path = make_font(tmp_path / "a.ttf", boxes("一二"))
    expected = GlyphRenderer(str(path)).render("二", 64)

    def refuse(*_: object) -> None:
        raise OSError("this file system can't do that")

    monkeypatch.setattr(np, "memmap", refuse)
    assert np.array_equal(GlyphRenderer(str(path)).render("二", 64), expected)


# ------------------------------------------------------------------------------------ packed and sliced


@pytest.mark.parametrize("flavor", ["woff", "woff2"])
@pytest.mark.parametrize("path", [SOURCE, TARGET])
def test_a_font_of_the_web_is_the_font_that_was_packed(flavor, path, tmp_path):
    out = packed(Path(path), flavor, tmp_path / f"web.{flavor}")
    one, other = GlyphRenderer(path), GlyphRenderer(str(out))
    assert other.covered() == one.covered()
    assert np.array_equal(one.render("國", 96), other.render("國", 96))
    assert out.stat().st_size < Path(path).stat().st_size


def test_woff2_without_its_package_is_one_line(tmp_path, monkeypatch):
    out = packed(Path(TARGET), "woff2", tmp_path / "web.woff2")

    def missing(*_: object, **__: object) -> None:
        raise ImportError("No module named brotli")

    monkeypatch.setattr("fontTools.ttLib.woff2.WOFF2Reader.__init__", missing)
    with pytest.raises(UserError, match="pip install brotli"):
        GlyphRenderer(str(out))


def test_slices_are_one_label(tmp_path, capsys):
    """As a web font is served: each slice has some of the characters."""
    parts = ["一二三", "四五六", "七八九"]
    source = make_font(tmp_path / "s.ttf", boxes("".join(parts)))
    slices = [
        packed(make_font(tmp_path / f"{n}.ttf", boxes(part, (50 * n, 0, 900, 700))), "woff2", tmp_path / f"{n}.woff2")
        for n, part in enumerate(parts)
    ]
    joined, pattern = "+".join(map(str, slices)), str(tmp_path / "?.woff2")
    for spec in (joined, pattern):
        data = FontData.from_fonts(str(source), [spec], [], None, Split(0.0, 1))
        assert len(data.labels) == 1
        assert set(data.train) == set("".join(parts))
    assert "and 2 more slices" in data.summary()[1]
    assert not any("are called" in line for line in data.summary())
    several = FontData.from_fonts(str(source), list(map(str, slices)), [], None, Split(0.0, 1))
    assert any("3 labels are called Boxes and have different characters" in line for line in several.summary())
    record = data.describe()
    again = FontData.from_config(record)
    assert np.array_equal(again.targets[0].render("八", 64), data.targets[0].render("八", 64))
    run = tmp_path / "run"
    assert run_train(run, "--src_font", source, "--dst_font", joined, "--max_steps", 2) == 0
    assert run_train(run, "--resume", "latest", "--dst_font", pattern, "--max_steps", 3) == 0
    assert "label 0" in capsys.readouterr().out
    make_font(tmp_path / "1.woff2", boxes("四五", (0, 0, 500, 500)))
    with pytest.raises(UserError, match="content is another"):
        FontData.from_config(record)


def test_a_plus_joins_only_what_is_no_file_of_that_name(tmp_path):
    for name in ("a.ttf", "b.ttf", "a.ttf+b.ttf", "c+d.ttf"):
        make_font(tmp_path / name, {"一": (0, 0, 500, 500)})
    here = str(tmp_path)
    assert [file.path.name for file in font_files(f"{here}/a.ttf+b.ttf")] == ["a.ttf+b.ttf"]
    assert [file.path.name for file in font_files(f"{here}/c+d.ttf+{here}/a.ttf")] == ["c+d.ttf", "a.ttf"]
    for spec, words in ((f"{here}/a.ttf+{here}/no.ttf", "no.ttf: no such file"), (f"{here}/*.otf", "no such file")):
        with pytest.raises(UserError, match=words):
            font_files(spec)


def test_slices_in_a_folder_of_an_odd_name_and_in_another_order(tmp_path):
    folder = tmp_path / "字 型[1]+a"
    folder.mkdir()
    parts = [make_font(folder / f"{c}.ttf", boxes(c)) for c in "永字"]
    assert sorted(GlyphRenderer(f"{folder}/*.ttf").covered()) == sorted("永字")
    joined = [f"{a}+{b}" for a, b in (parts, parts[::-1])]
    assert open_recorded(GlyphRenderer(joined[0]).describe(), joined[1]).covers("字")
    with pytest.raises(UserError, match="there are no such files"):
        GlyphRenderer(f"{folder}/*.otf")


def test_slices_of_several_fonts_are_refused(tmp_path):
    one = make_font(tmp_path / "a.ttf", {"一": (0, 0, 500, 500)})
    other = make_font(tmp_path / "b.ttf", {"二": (0, 0, 500, 500)}, upem=2048)
    with pytest.raises(UserError, match="units per em differ"):
        GlyphRenderer(f"{one}+{other}")


def test_what_needs_one_file_says_so(trained, tmp_path, capsys):
    fonts = [make_font(tmp_path / f"{c}.ttf", {c: (0, 0, 500, 500)}) for c in "永字"]
    both = f"{fonts[0]}+{fonts[1]}"
    assert run_infer(trained, "--src_txt", "一", "--base", both, "--font_out", tmp_path / "x.ttf") == 2
    assert "is in 2 slices: one file is needed here" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ placeholders


def repeating(path: Path, real: str, boxed: str, shared_glyph: bool) -> Path:
    """A font that has one outline for all of `boxed`, as one glyph or as one each."""
    make_font(path, boxes(real) | dict.fromkeys(boxed, (0, 0, 700, 700)))
    if shared_glyph:
        with TTFont(path) as font:
            for table in font["cmap"].tables:
                name = table.cmap[ord(boxed[0])]
                table.cmap |= {ord(character): name for character in boxed}
            font.save(path)
    return path


@pytest.mark.parametrize("kind", ["ttf", "otf"])
@pytest.mark.parametrize("shared_glyph", [True, False])
def test_an_outline_of_five_ideographs_is_that_of_none(kind, shared_glyph, tmp_path):
    path = repeating(tmp_path / f"a.{kind}", "永字", "甲乙丙丁戊", shared_glyph)
    font = GlyphRenderer(str(path))
    assert font.placeholders == set("甲乙丙丁戊")
    assert sorted(font.covered()) == sorted("永字")
    assert [font.covers(c) for c in "永甲"] == [True, False]


def test_forms_of_one_character_and_other_scripts_may_share_an_outline(tmp_path):
    """Compatibility ideographs make up to four; letters, and syllables that ideographs repeat, are themselves."""
    glyphs = boxes("永字") | dict.fromkeys("甲乙丙丁", (0, 0, 700, 700)) | dict.fromkeys("ABCDEF가", (0, 0, 300, 700))
    assert GlyphRenderer(str(make_font(tmp_path / "a.ttf", glyphs))).placeholders == frozenset()
    hanja = "價家加可歌"
    path = make_font(tmp_path / "b.ttf", boxes("가나") | dict.fromkeys(hanja, boxes("가")["가"]))
    font = GlyphRenderer(str(path))
    assert font.placeholders == set(hanja)
    assert font.covered() == "가나"


def test_placeholders_are_not_trained_on_and_are_named(tmp_path):
    source = make_font(tmp_path / "s.ttf", boxes("永字甲乙丙丁戊己"), family="Source")
    target = repeating(tmp_path / "t.otf", "永字", "甲乙丙丁戊己", False)
    data = FontData.from_fonts(str(source), [str(target)], [], None, Split(0.0, 1))
    assert set(data.train) == set("永字")
    assert set(data.lacking["Boxes"]) == set("甲乙丙丁戊己")
    assert any("of these Boxes has 6 only as placeholders" in line and "丁" in line for line in data.summary())
    refused("all 5 characters that are both in", source, repeating(tmp_path / "u.ttf", "一二", "甲乙丙丁戊", True))


def test_why_nothing_is_left_is_said_of_placeholders_in_either_font(tmp_path):
    whole = make_font(tmp_path / "s.ttf", boxes("甲乙丙丁戊永"))
    boxed = repeating(tmp_path / "t.ttf", "一二", "甲乙丙丁戊", False)
    charset = tmp_path / "c.txt"
    charset.write_text("甲乙", encoding="utf-8")
    refused("all 2 characters that are both in", whole, boxed, charset=str(charset))
    refused("are placeholders in one of them", boxed, whole)
    refused("all 2 characters that are both in", boxed, whole, charset=str(charset))


def test_the_outline_of_notdef_is_that_of_no_character(tmp_path):
    path = make_font(tmp_path / "a.ttf", boxes("永字甲"))
    with TTFont(path) as font:
        names = font.getGlyphOrder()
        font["glyf"].glyphs[names[0]] = font["glyf"][names[3]]
        font.save(path)
    assert GlyphRenderer(str(path)).placeholders == set("甲")


def test_several_files_with_the_same_characters_are_no_placeholders(tmp_path):
    for number in range(6):
        make_font(tmp_path / f"v{number}.ttf", boxes("永字"))
    font = GlyphRenderer(str(tmp_path / "v?.ttf"))
    assert len(font.files) == 6
    assert sorted(font.covered()) == sorted("永字")


def test_an_older_experiment_keeps_the_characters_that_it_recorded(tmp_path):
    source = make_font(tmp_path / "s.ttf", boxes("永字甲乙丙丁戊"))
    target = repeating(tmp_path / "t.ttf", "永字", "甲乙丙丁戊", False)
    record = FontData.from_fonts(str(source), [str(target)], [], None, Split(0.0, 1)).describe()
    del record["validation"], record["src_font"]["em_bottom"], record["targets"][0]["em_bottom"]
    record |= {"train": "永字甲乙丙", "held_out": "丁戊"}
    data = FontData.from_config(record)
    assert [c for _, c in data.train_pairs] == list("永字甲乙丙")
    assert [c for _, c in data.held_out_pairs] == list("丁戊")
    assert "validation" not in data.describe()
    source_record = repeating(tmp_path / "u.ttf", "永字", "甲乙丙丁戊", False)
    old = GlyphRenderer(str(source_record)).describe()
    del old["em_bottom"]
    assert open_recorded(old).covers("甲")
    assert not open_recorded(old | {"em_bottom": -120}).covers("甲")


def test_drawing_and_coverage_count_placeholders_as_lacking(trained, tmp_path, capsys):
    base = repeating(tmp_path / "base.ttf", "永字", "的一是不了", True)
    assert run_infer(trained, "--src_txt", "永的一是", "--missing", base, "--infer_dir", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lacks 3 of 4 characters: 的一是" in said
    assert "has 3 only as placeholders" in said
    assert "have a placeholder in the font, and count as not there" in said
    source = repeating(tmp_path / "source.ttf", "永字", "的一是不了", True)
    flags = ["--src_font", source, "--src_txt", "永的", "--infer_dir", tmp_path / "other"]
    assert run_infer(trained, *flags) == 1
    assert "lacks the character (it has a placeholder there)" in capsys.readouterr().err


def test_looking_for_placeholders_takes_less_than_looking_for_ink():
    """The share of it, that is: of asking a font what it covers, most of the time goes into its outlines."""
    path = GlyphRenderer("bundled:target.ttf").spec
    spent = {"ink": 0.0, "placeholders": 0.0}
    for _ in range(5):
        font = GlyphRenderer(path)
        started = time.process_time()
        for codepoint in font.codepoints():
            font.ink_box(chr(codepoint))
        middle = time.process_time()
        assert not font.placeholders
        spent["ink"] += middle - started
        spent["placeholders"] += time.process_time() - middle
    assert spent["placeholders"] < 2 * spent["ink"]


# --------------------------------------------------------------------------------- old cmaps and tables


def test_a_cmap_of_big5_is_read(tmp_path):
    characters = GlyphRenderer(TARGET).covered()[100:160]
    codes = {int.from_bytes(c.encode("cp950"), "big"): c for c in characters if c not in "兀嗀"}
    old = GlyphRenderer(str(recoded(Path(TARGET), tmp_path / "old.ttf", codes, (3, 4))))
    assert sorted(old.covered()) == sorted(codes.values())
    for character in characters[:5]:
        assert np.array_equal(old.render(character, 64), GlyphRenderer(TARGET).render(character, 64))
    data = FontData.from_fonts(SOURCE, [old.spec], [], None, Split(0.0, 1))
    assert set(data.train) == {c for c in codes.values() if GlyphRenderer(SOURCE).covers(c)}
    with FontFile(old.path).open() as font:
        assert set(unicode_cmap(font)) == set(map(ord, codes.values()))


def test_a_cmap_that_is_made_up_from_glyph_names_is_not_taken_for_the_font_s_own(tmp_path):
    """FreeType has one of Unicode as soon as a single glyph has the name of a letter."""
    codes = {int.from_bytes(c.encode("cp950"), "big"): c for c in "人大天"}
    path = recoded(Path(TARGET), tmp_path / "old.ttf", codes, (3, 4))
    with TTFont(path) as font:
        names = {name: f"g{number}" for number, name in enumerate(font.getGlyphOrder())}
        names[font.getGlyphOrder()[3]] = "A"
        glyphs, order = font["glyf"].glyphs, font.getGlyphOrder()
        font["glyf"].glyphs = {names[name]: glyphs[name] for name in order}
        font["hmtx"].metrics = {names[name]: metrics for name, metrics in font["hmtx"].metrics.items()}
        for table in font["cmap"].tables:
            table.cmap = {code: names[name] for code, name in table.cmap.items()}
        font.setGlyphOrder([names[name] for name in order])
        font["glyf"].glyphOrder = font.getGlyphOrder()
        font["post"].formatType, font["post"].extraNames, font["post"].mapping = 2.0, [], {}
        font.save(path)
    old = GlyphRenderer(str(path))
    assert any(charmap.cmap_format < 0 for charmap in old.face.charmaps)
    assert sorted(old.covered()) == sorted("人大天")


@pytest.mark.parametrize(("kind", "codec"), [((3, 3), "gbk"), ((3, 2), "cp932"), ((3, 5), "cp949"), ((1, 2), "cp950")])
def test_other_old_cmaps_are_read(kind, codec, tmp_path):
    codes = {int.from_bytes(c.encode(codec), "big"): c for c in "人大天"}
    old = GlyphRenderer(str(recoded(Path(TARGET), tmp_path / "old.ttf", codes, kind)))
    assert sorted(old.covered()) == sorted("人大天")


def test_why_fonts_share_nothing_is_said(tmp_path):
    characters = GlyphRenderer(TARGET).covered()[100:130]
    symbols = recoded(Path(TARGET), tmp_path / "sy.ttf", {0xF021 + n: c for n, c in enumerate(characters)}, (3, 0))
    refused("sy.ttf numbers its glyphs as symbols (cmap 3,0)", SOURCE, symbols)
    refused("sy.ttf numbers its glyphs as symbols (cmap 3,0)", symbols, TARGET)
    kana = [make_font(tmp_path / f"{n}.ttf", boxes("かきくけこ")) for n in "ab"]
    refused("share no Han ideograph, but 5 other characters, かきくけこ: name those to learn with --charset", *kana)
    refused("no character is both in", kana[0], make_font(tmp_path / "c.ttf", boxes("가나")))
    charset = tmp_path / "c.txt"
    charset.write_text("永遠", encoding="utf-8")
    refused(f"no character of {charset} is both in", *kana, charset=str(charset))
    charset.write_text("きこ", encoding="utf-8")
    assert FontData.from_fonts(*map(str, kana[:1]), [str(kana[1])], [], str(charset), Split(0.0, 1)).train == "きこ"


@pytest.mark.parametrize("length", [0, 40, 68])
def test_a_short_os2_table_gives_way_to_hhea(length, tmp_path):
    whole = make_font(tmp_path / "a.ttf", boxes("一二三"), ascent=800, descent=-200)
    cut = short_os2(whole, length, tmp_path / "cut.ttf")
    assert GlyphRenderer(str(cut)).em_bottom == -200
    assert np.array_equal(GlyphRenderer(str(cut)).render("二", 64), GlyphRenderer(str(whole)).render("二", 64))


def test_a_base_with_an_old_cmap_gets_one_of_unicode(tmp_path):
    characters = "人大天"
    codes = {int.from_bytes(c.encode("cp950"), "big"): c for c in characters}
    old = recoded(Path(TARGET), tmp_path / "old.ttf", codes, (3, 4))
    complete_font(open_base(str(old)), tmp_path / "full.ttf", [boxed("龍")])
    with TTFont(tmp_path / "full.ttf") as font:
        assert set(font.getBestCmap()) == set(map(ord, characters + "龍"))
        assert {(table.platformID, table.platEncID) for table in font["cmap"].tables} == {(3, 4), (3, 10)}
    assert GlyphRenderer(str(tmp_path / "full.ttf")).covers("人")
    symbols = recoded(Path(TARGET), tmp_path / "sy.ttf", {0xF021: "人"}, (3, 0))
    with pytest.raises(UserError, match="no Unicode cmap: its characters are numbered as symbols"):
        open_base(str(symbols))


def test_a_variable_font_can_be_asked_what_it_lacks(trained, tmp_path, capsys):
    path = make_font(tmp_path / "v.ttf", boxes("永字"))
    builder = FontBuilder(font=TTFont(path))
    builder.setupFvar([("wght", 100, 400, 900, "Weight")], [])
    builder.save(path)
    assert run_infer(trained, "--src_txt", "永的", "--missing", path, "--infer_dir", tmp_path / "out") == 0
    assert f"{path} lacks 1 of 2 characters: 的" in capsys.readouterr().out
    for broken, words in ((tmp_path / "no.ttf", "no such file"), (tmp_path / "torn.ttf", "can't be read")):
        (tmp_path / "torn.ttf").write_bytes(path.read_bytes()[:200])
        assert run_infer(trained, "--src_txt", "永的", "--missing", broken) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "--base" not in error
