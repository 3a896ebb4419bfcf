"""A source in several fonts: rare characters are in a second one for nearly everybody."""

import json

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont

from tests.helpers.fonts import boxes, make_collection, make_font
from tests.helpers.scripts import run_infer, run_train
from utils import font_export
from utils.errors import UserError
from utils.fonts.layout import vertical_metrics
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.series import FontSeries
from utils.glyphs.spec import font_files

COMMON, RARE = "一二三四五六七八九十", "㐀㐁㐂𠀀𠀁"


@pytest.fixture
def fonts(tmp_path):
    """A source of common characters, one of rare ones on another em and smaller in it, and a target of both."""
    first = make_font(tmp_path / "a.ttf", boxes(COMMON, (100, -100, 900, 700)), family="Common")
    second = make_font(
        tmp_path / "b.otf", boxes("一" + RARE, (600, 0, 1400, 800)), "Rare", upem=2048, ascent=1800, descent=-248
    )
    return first, second, make_font(tmp_path / "t.ttf", boxes(COMMON + RARE, (200, 0, 800, 600)), family="Target")


def test_a_character_is_that_of_the_first_font_that_has_it(fonts):
    first, second, _ = fonts
    both, alone = FontSeries(f"{first}+{second}"), GlyphRenderer(str(first))
    assert both.covered() == "".join(sorted(COMMON + RARE))
    assert both.font_of("一") is both.fonts[0] and both.font_of("㐀").name == "Rare"
    assert np.array_equal(both.render("一", 64), alone.render("一", 64))
    assert (both.name, both.sha256(), both.placement) == (alone.name, alone.sha256(), alone.placement)
    assert "Rare, from b.otf" in both.title
    assert not both.covers("龍")
    with pytest.raises(UserError, match="lacks 龍"):
        both.render("龍", 64)


def test_a_further_font_is_as_large_as_the_first_and_at_its_place(fonts):
    first, second, _ = fonts
    both = FontSeries(f"{first}+{second}")
    assert both.ink_box("㐀") == pytest.approx(both.ink_box("一"), abs=0.02)
    moved = both.placement.scaled(0.5, 0.1, 0.0)
    both.place(moved)
    assert both.ink_box("㐀") == pytest.approx(both.ink_box("一"), abs=0.02)


def test_slices_are_one_font_and_other_fonts_are_not(tmp_path):
    for number, characters in enumerate(("一二", "三四")):
        make_font(tmp_path / f"{number}.ttf", boxes(characters), family="Sliced")
    make_font(tmp_path / "more.ttf", boxes("五六"), family="More")
    series = FontSeries(f"{tmp_path}/0.ttf+{tmp_path}/1.ttf+{tmp_path}/more.ttf")
    assert [len(series.files), [font.name for font in series.fonts[1:]]] == [2, ["More"]]
    (tmp_path / "torn.ttf").write_bytes((tmp_path / "more.ttf").read_bytes()[:100])
    with pytest.raises(UserError, match=r"torn\.ttf"):
        FontSeries(f"{tmp_path}/0.ttf+{tmp_path}/torn.ttf")


def test_the_first_font_is_learned_and_all_are_drawn_from(fonts, tmp_path, capsys):
    first, second, target = fonts
    run, spec = tmp_path / "run", f"{first}+{second}"
    assert run_train(run, "--src_font", spec, "--dst_font", target, "--max_steps", 1) == 0
    data = json.loads((run / "config.json").read_text("utf-8"))["data"]
    assert sorted(data["train"] + data["held_out"]) == sorted(COMMON)
    assert data["lacking"]["Common"] == "".join(sorted(RARE))
    capsys.readouterr()
    assert run_infer(run, "--src_txt", "一㐀𠀁龍") == 1
    said = capsys.readouterr()
    assert "2 of 4 characters are drawn from Rare: 㐀𠀁" in said.out
    assert "龍 (U+9F8D), label 0: Common lacks the character" in said.err
    items = json.loads((run / "infer" / "manifest.json").read_text("utf-8"))["characters"]
    assert {item["character"]: item.get("src_font") for item in items if "error" not in item} == {
        "一": None,
        "㐀": "Rare",
        "𠀁": "Rare",
    }
    assert run_infer(run, "--src_txt", "一㐀", "--src_font", first, "--infer_dir", tmp_path / "alone") == 1
    assert run_train(run, "--resume", "latest", "--max_steps", 2) == 0
    make_font(second, boxes(RARE), family="Rare")
    assert run_infer(run, "--src_txt", "一") == 2
    assert "is not the Rare of the training: its content is another" in capsys.readouterr().err


def test_all_fonts_are_learned_where_that_is_asked_for(fonts, tmp_path):
    first, second, target = fonts
    run = tmp_path / "run"
    flags = ["--src_font", f"{first}+{second}", "--dst_font", target, "--all_sources", "--max_steps", 1]
    assert run_train(run, *flags) == 0
    data = json.loads((run / "config.json").read_text("utf-8"))["data"]
    assert sorted(data["train"] + data["held_out"]) == sorted(COMMON + RARE)


def test_advances_are_those_of_the_font_a_character_is_drawn_from(fonts, tmp_path):
    first, second, target = fonts
    with TTFont(second) as font:
        font["hmtx"]["u3401"] = (1024, 0)  # half an em
        font.save(second)
    run, out = tmp_path / "run", tmp_path / "New.ttf"
    assert run_train(run, "--src_font", f"{first}+{second}", "--dst_font", target, "--max_steps", 1) == 0
    assert run_infer(run, "--src_txt", "一㐀㐁") == 0
    assert font_export.main(["--experiment_dir", str(run), "--font_out", str(out)]) in (0, 1)
    with TTFont(out) as font:
        widths = {character: font["hmtx"][name][0] for character, name in font.getBestCmap().items()}
    known = {chr(code): width for code, width in widths.items() if chr(code) in "一㐀㐁"}
    assert known.items() <= {"一": 1000, "㐀": 1000, "㐁": 500}.items()
    assert known


def test_the_charset_source_is_all_that_the_source_has(fonts, tmp_path, capsys):
    first, second, target = fonts
    run = tmp_path / "run"
    flags = ["--src_font", f"{first}+{second}", "--dst_font", target, "--charset", "source"]
    assert run_train(run, *flags, "--max_steps", 1) == 0
    assert run_infer(run, "--charset", "source+U+3400", "--missing", first) == 0
    assert f"{first} lacks {len(RARE)} of {len(COMMON + RARE)} characters" in capsys.readouterr().out
    found = json.loads((run / "infer" / "coverage.json").read_text("utf-8"))
    assert found["charsets"]["source+U+3400"] == {"have": len(COMMON), "generated": len(RARE), "missing": 0}


def test_bundled_fonts_and_fonts_of_collections_can_be_joined(tmp_path):
    more = make_font(tmp_path / "more.ttf", boxes(RARE), family="More")
    collection = make_collection(tmp_path / "all.ttc", [more, more])
    for spec, names in (
        (f"bundled:source.otf+{more}", ["source.otf", "more.ttf"]),
        ("bundled:source.otf+bundled:target.ttf", ["source.otf", "target.ttf"]),
        (f"{collection}#1+{more}", ["all.ttc", "more.ttf"]),
        (f"bundled:source.otf#0+{collection}#1", ["source.otf", "all.ttc"]),
    ):
        assert [file.path.name for file in font_files(spec)] == names
    for wrong in ("bundled:../samples/source.otf", "bundled:none.ttf", "bundled:"):
        with pytest.raises(UserError, match="no such"):
            font_files(wrong)


def test_a_further_font_without_ideographs_keeps_its_em(tmp_path):
    first = make_font(tmp_path / "a.ttf", boxes(COMMON, (100, -100, 900, 700)), family="Common")
    latin = make_font(tmp_path / "b.ttf", boxes("abcdefg", (100, 0, 400, 500)), family="Latin")
    both = FontSeries(f"{first}+{latin}")
    assert both.fonts[1].placement == GlyphRenderer(str(latin)).placement
    other_way = FontSeries(f"{latin}+{first}")
    assert other_way.fonts[1].placement == GlyphRenderer(str(first)).placement
    assert other_way.ideograph_advance is None
    shared = make_font(tmp_path / "c.ttf", boxes("abcdefgh", (200, 0, 800, 1000)), "Double", upem=2000)
    assert FontSeries(f"{latin}+{shared}").ink_box("h") == pytest.approx(both.ink_box("g"), abs=0.02)
    with TTFont(first) as font:
        font["cmap"].tables = []
        font.save(tmp_path / "empty.ttf")
    assert FontSeries(f"{tmp_path / 'empty.ttf'}+{latin}").covers("a")


def test_vertical_metrics_move_as_the_ink_does(tmp_path):
    """B's glyphs stand lower in their em, and as high as A's once they are placed: so do the tops of their advances."""
    placed, made = [], [("A", COMMON, (100, -100, 900, 700), 880), ("B", RARE, (100, 100, 900, 900), 1080)]
    for name, characters, box, top in made:
        path = make_font(tmp_path / f"{name}.ttf", boxes(characters, box), name)
        with TTFont(path) as font:
            builder = FontBuilder(font=font)
            tops = dict.fromkeys(font.getGlyphOrder(), (1000, top - box[3]))
            builder.setupVerticalMetrics(tops)
            builder.setupVerticalHeader(ascent=500, descent=-500)
            font.save(path)
        placed.append(path)
    series = FontSeries("+".join(map(str, placed)))
    vertical = vertical_metrics(series)
    assert vertical("一") == pytest.approx((1000, 880), abs=2)
    assert vertical("㐀") == pytest.approx((1000, 880), abs=2)


def test_a_first_font_that_shares_nothing_is_said(fonts, tmp_path, capsys):
    first, second, _ = fonts
    target = make_font(tmp_path / "rare.ttf", boxes(RARE), family="Target")
    flags = ["--src_font", f"{first}+{second}", "--dst_font", target, "--max_steps", 1]
    assert run_train(tmp_path / "run", *flags) == 2
    assert "Common shares no character with Target: --all_sources learns" in capsys.readouterr().err
    assert run_train(tmp_path / "run", *flags, "--all_sources") == 0
