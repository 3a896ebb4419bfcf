"""Variable fonts: named with a place on their axes, as source, as target and as base."""

import json

import numpy as np
import pytest
from fontTools.ttLib import TTFont

from tests.helpers.fonts import boxes, make_font, make_variable
from tests.helpers.scripts import run_infer, run_train
from utils import font_export
from utils.errors import UserError
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.series import FontSeries
from utils.glyphs.spec import font_files

LIGHT, BOLD = boxes("一二三四五六", (450, 0, 550, 800)), boxes("一二三四五六", (50, 0, 950, 800))


@pytest.fixture(scope="module", params=[".ttf", ".otf"])
def variable(request, tmp_path_factory):
    """A variable font of either kind of outlines, whose name has brackets as those of Google's fonts."""
    return make_variable(tmp_path_factory.mktemp("vf") / f"V[wght]{request.param}", LIGHT, BOLD)


def width(font: GlyphRenderer) -> float:
    left, _, right, _ = font.ink_box("一")
    return (right - left) / font.placement.em


@pytest.mark.parametrize(
    ("place", "expected"),
    [("", 100), (":wght=100", 100), (":wght=500", 500), (":wght=900", 900), (":Regular", 400), (":black", 900)],
)
def test_a_font_is_drawn_as_it_is_at_a_place(variable, place, expected):
    font = GlyphRenderer(f"{variable}{place}")
    assert width(font) == pytest.approx(0.1 + 0.8 * (expected - 100) / 800, abs=2e-3)
    thin = GlyphRenderer(str(variable))
    same = np.array_equal(font.render("一", 64), thin.render("一", 64))
    assert same == (expected == 100)
    assert (font.sha256() == thin.sha256()) == (not place)


def test_a_place_has_a_name(variable):
    assert GlyphRenderer(f"{variable}:wght=900").name == "Variable Black"
    assert GlyphRenderer(f"{variable}:wght=400").name == "Variable"
    assert GlyphRenderer(f"{variable}:wght=450").name == "Variable wght 450"
    assert GlyphRenderer(f"{variable}:wght=450").title.endswith(", a variable font at wght 450")
    assert "choose with :wght=VALUE (wght 100 to 900)" in GlyphRenderer(str(variable)).title


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("wght=50", "wght is from 100 to 900, not 50"),
        ("wdth=100", "has no axis wdth: it has wght 100 to 900"),
        ("Heavy", "'Heavy' after the colon is not AXIS=VALUE nor one of Thin, Regular, Black"),
        ("wght=", "'wght=' after the colon is not AXIS=VALUE"),
    ],
)
def test_a_place_that_is_none_is_refused(variable, place, words):
    with pytest.raises(UserError, match=words):
        font_files(f"{variable}:{place}")


def test_a_font_that_is_not_variable_has_no_places(tmp_path):
    path = make_font(tmp_path / "a.ttf", LIGHT)
    with pytest.raises(UserError, match="is not variable: leave out :wght=400"):
        font_files(f"{path}:wght=400")
    with pytest.raises(UserError, match="no such file"):
        font_files(f"{tmp_path / 'b.ttf'}:wght=400")
    with pytest.raises(UserError, match="no such font is bundled"):
        font_files("bundled:none.otf")


def test_signs_in_the_names_of_files_are_left_alone(tmp_path):
    for name in ("d:wght=1.ttf", "e.ttf:wght=400", "c#1.ttf"):
        make_font(tmp_path / "plain.ttf", LIGHT).rename(tmp_path / name)
        (file,) = font_files(str(tmp_path / name))
        assert (file.path.name, file.which) == (name, "")
    make_variable(tmp_path / "v:wght=1.ttf", LIGHT, BOLD)
    joined = f"{tmp_path}/v:wght=1.ttf:wght=400+{tmp_path}/c#1.ttf"
    assert [(file.path.name, file.which) for file in font_files(joined)] == [
        ("v:wght=1.ttf", ":wght=400"),
        ("c#1.ttf", ""),
    ]


def test_a_pattern_has_one_place_for_all_its_slices(tmp_path):
    for number, characters in enumerate(("一二", "三四")):
        light, bold = ({c: box for c, box in both.items() if c in characters} for both in (LIGHT, BOLD))
        make_variable(tmp_path / f"slice{number}.woff", light, bold)
    font = GlyphRenderer(f"{tmp_path}/slice*.woff:wght=900")
    assert font.covered() == "一三二四"
    assert width(font) == pytest.approx(0.9, abs=2e-3)


def test_a_run_from_a_variable_font_records_the_place(variable, tmp_path, capsys):
    target = make_font(tmp_path / "t.ttf", boxes("一二三四五六"), family="Target")
    run, fonts = tmp_path / "run", ["--src_font", f"{variable}:wght=400", "--dst_font", target]
    assert run_train(run, *fonts, "--max_steps", 1) == 0
    assert "source Variable, from V[wght]" in capsys.readouterr().out
    record = json.loads((run / "config.json").read_text("utf-8"))["data"]["src_font"]
    assert record["spec"] == f"{variable.resolve()}:wght=400"
    assert run_infer(run, "--src_txt", "一") == 0
    assert run_train(run, "--resume", "latest", "--src_font", f"{variable}:Regular", "--max_steps", 2) == 0
    assert run_train(run, "--resume", "latest", "--src_font", f"{variable}:wght=500", "--max_steps", 3) == 2
    assert "is not the Variable of the training" in capsys.readouterr().err


def test_a_variable_base_is_completed_as_it_is_at_its_place(variable, tmp_path, capsys):
    more = "七八九"
    source = make_font(tmp_path / "s.ttf", boxes("一二三四五六" + more), family="Source")
    run, spec = tmp_path / "run", f"{variable}:wght=900"
    assert run_train(run, "--src_font", source, "--dst_font", spec, "--max_steps", 1) == 0
    assert run_infer(run, "--src_txt", more, "--missing", spec) == 0
    out = tmp_path / f"Full{variable.suffix}"
    assert font_export.main(["--experiment_dir", str(run), "--base", spec, "--font_out", str(out)]) in (0, 1)
    assert "of the base, a variable font, as it is at wght=900" in capsys.readouterr().out
    with TTFont(out) as font:
        assert not {"fvar", "gvar", "CFF2", "HVAR"} & set(font.keys())
        assert font["OS/2"].usWeightClass == 900
        assert font["name"].getBestFamilyName() == "Variable" and font["name"].getBestSubFamilyName() == "Black"
    full = GlyphRenderer(str(out))
    assert width(full) == pytest.approx(0.9, abs=2e-3)
    assert full.covers("一")


def test_slices_at_different_places_are_refused(tmp_path):
    for number in range(2):
        make_variable(tmp_path / f"slice{number}.ttf", LIGHT, BOLD)
    spec = f"{tmp_path}/slice0.ttf+{tmp_path}/slice1.ttf:wght=900"
    for kind in (GlyphRenderer, FontSeries):
        with pytest.raises(UserError, match="its slices are at different places"):
            kind(spec)
    font = GlyphRenderer(f"{tmp_path}/slice0.ttf:wght=900+{tmp_path}/slice1.ttf:wght=900")
    assert font.title == "Variable Black, from slice0.ttf and 1 more slice, a variable font at wght 900"


def test_an_axis_that_is_mistyped_is_named(variable):
    with pytest.raises(UserError, match="has no axis wgt: it has wght 100 to 900"):
        font_files(f"{variable}:wgt=400")
