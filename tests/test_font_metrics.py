"""What a new or completed font says of itself: origins, advances, code pages, names, and whether there is room."""

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._g_l_y_f import Glyph

from tests.conftest import run_train
from tests.fonts import boxes, make_font
from tests.test_font_export import boxed, export, pictures, refused, sanitize, without
from tests.test_font_files import short_os2
from tests.test_train_infer import run_infer
from utils import font_export
from utils.cli import UserError
from utils.experiment import Paths, data_from_config, read_config
from utils.font_build import Metrics, OutlinedGlyph, build_font
from utils.font_complete import Base, check_room, complete_font, open_base
from utils.font_files import os2_of
from utils.font_frame import vertical_metrics
from utils.font_names import Names, ascii_name
from utils.font_os2 import code_page_bits, languages_of, pages_of
from utils.font_spacing import BaseSpacing, SourceSpacing, kind_of
from utils.images import save_image
from utils.render import GlyphRenderer, Placement

hb = pytest.importorskip("uharfbuzz")
TARGET = "bundled:target.ttf"
METRICS = Metrics(1000, 1160, -288, em_top=880)


def set_text(path: Path, text: str, direction: str = "ltr") -> list[tuple[int, int, int, int]]:
    """What HarfBuzz makes of a line: x and y advance, x and y offset of each character."""
    font, buffer = hb.Font(hb.Face(hb.Blob.from_file_path(str(path)))), hb.Buffer()
    buffer.add_str(text)
    buffer.direction, buffer.script, buffer.language = direction, "hani", "zh-Hant"
    hb.shape(font, buffer)
    return [(p.x_advance, p.y_advance, p.x_offset, p.y_offset) for p in buffer.glyph_positions]


def with_tables(path: Path, advances: dict[str, int] | None = None, tops: dict[str, int] | None = None) -> Path:
    """A font whose characters have other advances, and, with `tops`, vertical metrics with these origins."""
    with TTFont(path) as font:
        cmap, glyphs = font.getBestCmap(), font.getGlyphSet()
        for character, advance in (advances or {}).items():
            name = cmap[ord(character)]
            font["hmtx"].metrics[name] = (advance, font["hmtx"][name][1])
        if tops:
            builder, units = FontBuilder(font=font), font["head"].unitsPerEm
            highest = {}
            for name in font.getGlyphOrder():
                pen = BoundsPen(glyphs)
                glyphs[name].draw(pen)
                highest[name] = pen.bounds[3] if pen.bounds else 0
            named = {cmap[ord(c)]: top for c, top in tops.items()}
            usual = max(tops.values(), key=list(tops.values()).count)
            builder.setupVerticalMetrics({n: (units, named.get(n, usual) - high) for n, high in highest.items()})
            builder.setupVerticalHeader(ascent=units // 2, descent=-(units // 2))
            if "glyf" not in font:
                builder.setupVerticalOrigins(named, usual)
        font.save(path)
    return path


# ------------------------------------------------------------------------------------------- vertical


@pytest.mark.parametrize("kind", ["ttf", "otf"])
@pytest.mark.parametrize(("units", "top", "ascent"), [(1000, 880, 1160), (2048, 1802, 2300), (1000, 800, 800)])
def test_vertical_text_of_a_new_font_begins_at_the_em_box(kind, units, top, ascent, tmp_path):
    """Whatever its glyphs look like, and however far above the em the lines are."""
    high = [boxed("永", (0, 0, units, units // 2)), boxed("一", (0, units // 3, units, units // 2))]
    metrics = Metrics(units, ascent, top - units, em_top=top)
    build_font(tmp_path / f"new.{kind}", high, {" ": units // 4}, Names("New"), metrics)
    assert [(y, off) for _, y, _, off in set_text(tmp_path / f"new.{kind}", "永一", "ttb")] == [(-units, -top)] * 2
    with TTFont(tmp_path / f"new.{kind}") as font:
        assert (font["OS/2"].sTypoAscender, font["OS/2"].sTypoDescender) == (top, top - units)
        assert font["hhea"].ascent == ascent
        assert ("VORG" in font) == (kind == "otf")
    sanitize(tmp_path / f"new.{kind}")


@pytest.mark.parametrize("kind", ["ttf", "otf"])
def test_a_new_font_has_the_vertical_metrics_of_its_source(kind, tmp_path):
    """A mark that stands in a corner begins elsewhere than the ideographs do."""
    box = (100, 0, 900, 800)
    source = make_font(tmp_path / "source.otf", {"國": box, "永": box, "。": (50, 500, 300, 800)})
    with_tables(source, tops={"國": 850, "永": 850, "。": 700})
    out = tmp_path / f"new.{kind}"
    assert export(out, pictures(tmp_path / "in", str(source), "國永。"), spec=str(source)) == 0
    for direction in ("ltr", "ttb"):
        expected = set_text(source, "國永。", direction)
        for made, true in zip(set_text(out, "國永。", direction), expected, strict=True):
            assert made == pytest.approx(true, abs=4)


def test_vertical_metrics_that_are_no_good_are_not_taken_over(tmp_path):
    """Some fonts have vertical advances of 0; a box of a header is larger than the ink; a source may be in slices."""
    one = make_font(tmp_path / "one.ttf", boxes("國永"))
    other = make_font(tmp_path / "other.ttf", boxes("字。"))
    with_tables(one, tops=dict.fromkeys("國永", 850))
    with_tables(other, tops={"字": 850, "。": 700})
    vertical = vertical_metrics(GlyphRenderer(f"{one}+{other}"))
    assert [vertical(c) for c in "國字。"] == [(1000, 850), (1000, 850), (1000, 700)]
    with TTFont(one, recalcBBoxes=False) as font:
        name = font.getBestCmap()[ord("永")]
        font["glyf"][name].yMax += 30
        font["vmtx"].metrics[name] = (1000, font["vmtx"][name][1] - 30)
        font["vmtx"].metrics[font.getBestCmap()[ord("國")]] = (0, 10)
        font.save(tmp_path / "odd.ttf")
    vertical = vertical_metrics(GlyphRenderer(str(tmp_path / "odd.ttf")))
    assert [vertical(c) for c in "國永"] == [None, (1000, 850)]


@pytest.mark.parametrize("kind", ["ttf", "otf"])
def test_what_stands_in_the_em_of_the_target_stands_in_that_of_the_source(kind, tmp_path):
    """The target's baseline is higher in its em than that of the source, whose metrics the new font has."""
    source = make_font(tmp_path / "s.ttf", boxes("國永字", (100, -20, 900, 780)))
    target = make_font(tmp_path / "t.ttf", boxes("國永字", (100, -100, 900, 700)), ascent=800, descent=-200)
    run, drawings, out = tmp_path / "run", tmp_path / "in", tmp_path / f"new.{kind}"
    assert run_train(run, "--src_font", source, "--dst_font", target, "--max_steps", 1) == 0
    drawings.mkdir()
    data = data_from_config(read_config(Paths(run))["data"])
    save_image(data.targets[0].render("國", 256), drawings / "國.png")
    flags = ["--experiment_dir", run, "--infer_dir", drawings, "--font_out", out, "--num_workers", 1]
    assert font_export.main(list(map(str, flags))) == 0
    ink = GlyphRenderer(str(out), Placement(1000, 1, 0, 0)).ink_box("國")
    assert ink == pytest.approx((0.1, -0.02, 0.9, 0.78), abs=0.004)


def test_ideographs_that_are_narrower_than_the_em_stand_in_the_middle(tmp_path):
    source = make_font(tmp_path / "s.ttf", boxes("國永字", (100, 0, 900, 800)))
    target = make_font(tmp_path / "t.ttf", boxes("國永字", (60, 0, 860, 800)))
    with_tables(target, dict.fromkeys("國永字", 920))
    run, drawings, out = tmp_path / "run", tmp_path / "in", tmp_path / "new.otf"
    assert run_train(run, "--src_font", source, "--dst_font", target, "--max_steps", 1) == 0
    drawings.mkdir()
    save_image(data_from_config(read_config(Paths(run))["data"]).targets[0].render("國", 256), drawings / "國.png")
    flags = ["--experiment_dir", run, "--infer_dir", drawings, "--font_out", out, "--num_workers", 1]
    assert font_export.main(list(map(str, flags))) == 0
    ink = GlyphRenderer(str(out), Placement(1000, 1, 0, 0)).ink_box("國")
    assert ink == pytest.approx((0.1, 0, 0.9, 0.8), abs=0.004)
    assert set_text(out, "國", "ttb")[0][3] == -880


def test_a_drawing_stands_in_the_em_of_a_base(tmp_path):
    """A folder of pictures has no baseline: the edge of a picture is that of the em."""
    source = make_font(tmp_path / "s.ttf", boxes("國永字", (100, -20, 900, 780)))
    base = make_font(tmp_path / "base.ttf", boxes("國永", (100, -60, 900, 700)), ascent=850, descent=-150)
    folder = pictures(tmp_path / "hand", str(GlyphRenderer(str(source)).path), "國永字", 256)
    run, out = tmp_path / "run", tmp_path / "full.ttf"
    assert run_train(run, "--src_font", source, "--dst_imgs", folder, "--max_steps", 1) == 0
    data = data_from_config(read_config(Paths(run))["data"])
    (tmp_path / "in").mkdir()
    save_image(data.targets[0].render("字", 256), tmp_path / "in" / "字.png")
    flags = ["--experiment_dir", run, "--infer_dir", tmp_path / "in", "--font_out", out, "--base", base]
    assert font_export.main([*map(str, flags), "--num_workers", "1"]) == 0
    made = GlyphRenderer(str(out)).ink_box("字")
    # The pictures show the em with a margin, so that the glyphs in them are smaller than the em.
    assert made[1] + made[3] == pytest.approx(sum(GlyphRenderer(str(source)).ink_box("字")[1::2]), abs=0.02)


# --------------------------------------------------------------------------------------------- advances


def spacing_of(base: Path, source: Path) -> BaseSpacing:
    opened, renderer = Base(str(base)), GlyphRenderer(str(source))
    return BaseSpacing(opened.font, opened.glyphs, SourceSpacing(renderer, renderer.placement, 1000))


def test_kinds_of_characters():
    assert kind_of("永") == kind_of("〇") == kind_of("\U00020000")
    assert kind_of("あ") != kind_of("ア") != kind_of("ｱ")
    assert kind_of("A") == kind_of("é") != kind_of("Ａ")
    assert kind_of("1") != kind_of(",")
    assert kind_of("가") != kind_of("永")


def test_the_commonest_advance_of_ideographs_is_that_of_new_ones(tmp_path):
    base = make_font(tmp_path / "base.ttf", boxes("〇一丁七永國"))
    with_tables(base, {"〇": 800, "一": 640} | dict.fromkeys("丁七永國", 1100))
    source = make_font(tmp_path / "source.ttf", boxes("字"))
    assert spacing_of(base, source).place("字", 100, 900) == (1100, 0)


def test_a_script_with_one_advance_keeps_it_and_others_have_ink_and_bearings(tmp_path):
    narrow = {"i": (60, 0, 160, 700), "l": (60, 0, 180, 700), "m": (60, 0, 760, 500), "w": (60, 0, 700, 500)}
    base = make_font(tmp_path / "base.ttf", boxes("國永가나다라") | boxes("かきく") | narrow)
    with_tables(base, dict.fromkeys("가나다라", 940) | {"i": 200, "l": 220, "m": 800, "w": 740})
    source = make_font(tmp_path / "source.ttf", boxes("國字마n") | {"я": (30, 0, 430, 500)})
    with_tables(source, {"마": 920, "n": 500, "я": 470})
    spacing = spacing_of(base, source)
    assert spacing.place("마", 100, 900) == (940, 0)
    assert spacing.place("こ", 100, 900) == (1000, 0)
    assert spacing.place("n", 20, 420) == (60 + 400 + 40, 40)
    assert spacing.place("я", 0, 500) == (470, 0)  # the base has no such letter: as in the source


def test_what_a_base_has_none_of_is_as_wide_as_in_the_source(tmp_path):
    """Full-width punctuation, kana and 注音 too: the advance of the base's ideographs, whatever their ink."""
    source = make_font(tmp_path / "source.ttf", boxes("國，。「！ーあㄅＡi"))
    with_tables(source, {"i": 250})
    han = make_font(tmp_path / "han.ttf", boxes("國永字"))
    with_tables(han, dict.fromkeys("國永字", 920))
    marks = make_font(tmp_path / "marks.ttf", boxes("國永字、。」ア"))
    for base, width in ((han, 920), (marks, 1000)):
        spacing = spacing_of(base, source)
        assert {spacing.place(c, 40, 300) for c in "，「！ーあㄅＡ"} == {(width, 0)}
        assert spacing.place("i", 40, 300).advance == 250


def test_only_glyphs_with_ink_tell_the_advance(tmp_path):
    """Not the empty slots of an editor, nor boxes; and of a base without ideographs not its symbols."""
    source = make_font(tmp_path / "source.ttf", boxes("國"))
    empty = "".join(map(chr, range(0x4E00, 0x4E20)))
    base = make_font(
        tmp_path / "base.ttf", boxes("永字") | dict.fromkeys(empty) | dict.fromkeys("甲乙丙丁戊", (0, 0, 9, 9))
    )
    with_tables(base, dict.fromkeys(empty, 600) | dict.fromkeys("甲乙丙丁戊", 500))
    assert spacing_of(base, source).place("國", 100, 900) == (1000, 0)
    latin = make_font(tmp_path / "latin.ttf", boxes("ABC⌚⏰"))
    with_tables(latin, dict.fromkeys("ABC⌚⏰", 600))
    assert spacing_of(latin, source).place("國", 100, 900) == (1000, 0)
    kana = make_font(tmp_path / "kana.ttf", boxes("あいう"))
    with_tables(kana, dict.fromkeys("あいう", 930))
    assert spacing_of(kana, source).place("國", 100, 900) == (930, 0)


def test_ink_beyond_an_advance_is_named(tmp_path, capsys):
    base = make_font(tmp_path / "base.ttf", boxes("國永"))
    wide = make_font(tmp_path / "wide.ttf", {"字": (-60, 0, 900, 800), "國": (100, 0, 900, 800)})
    drawings = pictures(tmp_path / "in", str(wide), "字")
    assert export(tmp_path / "full.ttf", drawings, "--base", base, spec=str(wide)) == 0
    assert "the ink of 1 glyphs reaches beyond their advance: 字" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["ttf", "otf"])
def test_new_ideographs_stand_as_those_of_the_base(kind, tmp_path):
    """In both directions of text; the base's own 〇 is narrower and lower."""
    base = make_font(tmp_path / f"base.{kind}", boxes("〇國永字的", (100, 0, 900, 800)))
    with_tables(base, {"〇": 700}, {"〇": 600} | dict.fromkeys("國永字的", 860))
    drawings = pictures(tmp_path / "in", str(base), "永字")
    for old, new in zip("永字", "新増", strict=True):
        (drawings / f"U+{ord(old):04X}.png").rename(drawings / f"{new}.png")
    out = tmp_path / f"full.{kind}"
    assert export(out, drawings, "--base", base, spec=str(base)) == 0
    sanitize(out)
    for direction in ("ltr", "ttb"):
        (own,) = set_text(base, "國", direction)
        for made in set_text(out, "新増國", direction):
            assert made == pytest.approx(own, abs=4)
    assert set_text(out, "〇", "ttb") == set_text(base, "〇", "ttb")


def test_a_font_of_one_advance_says_so(tmp_path):
    narrow = OutlinedGlyph("i", 300, boxed("i").calls)
    for name, glyphs in {"fixed": [boxed("永"), boxed("字")], "not": [boxed("永"), narrow]}.items():
        build_font(tmp_path / f"{name}.ttf", glyphs, {" ": 250}, Names("New"), METRICS)
        with TTFont(tmp_path / f"{name}.ttf") as font:
            assert (font["OS/2"].panose.bProportion == 9) == (name == "fixed")


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
    assert [page.bit for page in pages_of(map(ord, both))][:2] == [20, 18]
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
    assert languages_of("明朝", map(ord, japanese)) == [0x411]


def test_a_name_is_in_the_language_of_its_letters():
    assert languages_of("我的字", map(ord, "一丁七")) == [0x404]
    assert languages_of("我的字", map(ord, "们这为")) == [0x804]
    assert languages_of("ゴシック", map(ord, "臺灣")) == [0x411]
    assert languages_of("바탕", map(ord, "臺灣")) == [0x412]
    assert languages_of("我的字", []) == [0x404]


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


@pytest.mark.parametrize(("count", "fits"), [(65_535, False), (65_534, False), (65_533, True)])
def test_a_full_base_is_refused_before_anything_is_drawn(count, fits, trained, tmp_path, capsys):
    characters = "的是"
    base = crowded(tmp_path / "full.ttf", count)
    flags = ["--src_txt", characters, "--base", base, "--font_out", tmp_path / "x.ttf", "--infer_dir", tmp_path / "out"]
    with pytest.raises(SystemExit):  # the drawings of a network that has learned nothing are blank
        run_infer(trained, *flags)
    refusal = f"the base has {count:,} glyphs and can hold 65,535: there is no room for 2 more"
    assert (refusal in capsys.readouterr().err) != fits
    assert len(list((tmp_path / "out").rglob("*.png"))) == (2 if fits else 0)


def test_a_post_table_holds_fewer_names_than_glyphs(tmp_path):
    base = open_base(str(crowded(tmp_path / "full.ttf", 65_270, names_in_post=True)))
    check_room(base, 7)
    with pytest.raises(UserError, match="can hold 65,277: there is no room for 8 more"):
        check_room(base, 8)


def test_a_new_otf_holds_fewer_glyphs_than_a_ttf(tmp_path):
    many = (boxed(chr(0x20000 + number)) for number in range(64_610))
    with pytest.raises(UserError, match=r"a new \.otf holds at most 64,600 glyphs: name fewer characters, or let"):
        build_font(tmp_path / "big.otf", many, {}, Names("Big"), METRICS)
    assert not list(tmp_path.iterdir())


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
        with pytest.raises(SystemExit):
            run_infer(trained, *flags, "--infer_dir", tmp_path / "out")
        assert words in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.png"))
