"""Where the glyphs of a new or completed font stand: vertical origins, advances, bearings."""

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont

from tests.helpers.exports import boxed, export, pictures, sanitize
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_train
from utils import font_export
from utils.data.open import data_from_config
from utils.experiment.config import Paths, read_config
from utils.fonts.build import Metrics, build_font
from utils.fonts.complete import Base
from utils.fonts.glyph import OutlinedGlyph
from utils.fonts.layout import vertical_metrics
from utils.fonts.names import Names
from utils.fonts.spacing import BaseSpacing, SourceSpacing, width_kind
from utils.glyphs.placement import Placement
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image

hb = pytest.importorskip("uharfbuzz")
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
    assert width_kind("永") == width_kind("〇") == width_kind("\U00020000")
    assert width_kind("あ") != width_kind("ア") != width_kind("ｱ")
    assert width_kind("A") == width_kind("é") != width_kind("Ａ")
    assert width_kind("1") != width_kind(",")
    assert width_kind("가") != width_kind("永")


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
