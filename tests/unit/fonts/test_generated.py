"""Corrections survive: in the font that was made, what was generated is told from what was drawn or corrected."""

import json
from pathlib import Path

import numpy as np
import pytest
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

from tests.helpers.exports import SOURCE, TARGET, export, pictures, refused, sanitize, some, without
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_infer, run_train
from utils.glyphs.generated import find_generated, generated_path, outline_digest
from utils.glyphs.render import GlyphRenderer

COUNT = 50  # glyphs that are generated, of which 3 are corrected


def otf_of(path: Path, characters: str) -> Path:
    """A CFF font of boxes."""
    return make_font(path, boxes(characters, (50, -80, 950, 820)), family="Base")


@pytest.fixture(params=[".ttf", ".otf"])
def made(request, tmp_path):
    """A base of few characters, and the font that it was completed to, with COUNT more."""
    characters = some(TARGET, 2 * COUNT)
    own, lacking = characters[:COUNT], characters[COUNT:]
    if request.param == ".ttf":
        base = without(TARGET, "".join(set(GlyphRenderer(TARGET).covered()) - set(own)), tmp_path / "Mine.ttf")
    else:
        base = otf_of(tmp_path / "Mine.otf", own)
    full = tmp_path / f"Full{request.param}"
    drawings = pictures(tmp_path / "drawn", TARGET, lacking, 64)
    assert export(full, drawings, "--base", base) == 0
    return own, lacking, full


def edit(path: Path, characters: str) -> None:
    """Correct glyphs, as a designer would in an editor."""
    with TTFont(path) as font:
        names = font.getBestCmap()
        for character in characters:
            name = names[ord(character)]
            if "glyf" in font:
                pen = TTGlyphPen(None)
                for points in ([(0, 0), (0, 700), (500, 700), (500, 0)], [(600, 0), (600, 700), (900, 700), (900, 0)]):
                    pen.moveTo(points[0])
                    for point in points[1:]:
                        pen.lineTo(point)
                    pen.closePath()
                font["glyf"][name] = pen.glyph()
            else:
                strings = font["CFF "].cff.topDictIndex[0].CharStrings
                strings[name].decompile()
                program = strings[name].program
                place = next(i for i, token in enumerate(program) if token in ("rmoveto", "hmoveto", "vmoveto"))
                program[place - 1] += 40
        font.save(path)


def test_the_file_beside_a_font_tells_what_was_generated(made):
    _, lacking, full = made
    content = json.loads(generated_path(full).read_text("utf-8"))
    assert content["font"] == full.name
    assert [item["character"] for item in content["characters"]] == sorted(lacking)
    found = find_generated(GlyphRenderer(str(full)))
    assert (set(found.unchanged), found.edited) == (set(lacking), "")
    edit(full, lacking[:3])
    found = find_generated(GlyphRenderer(str(full)))
    assert (set(found.unchanged), set(found.edited)) == (set(lacking[3:]), set(lacking[:3]))


def test_a_completed_font_is_completed_again_and_corrections_stay(made, tmp_path, capsys):
    own, lacking, full = made
    corrected = lacking[:3]
    edit(full, corrected)
    before = GlyphRenderer(str(full))
    sizes = {"corrected": before.render(corrected[0], 64), "own": before.render(own[0], 64)}
    count = len(TTFont(full).getGlyphOrder())
    drawings = pictures(tmp_path / "again", SOURCE, lacking, 64)  # other drawings of all of them
    again = full.with_name(f"Again{full.suffix}")
    assert export(again, drawings, "--base", full) == 0
    said = capsys.readouterr().out
    assert f"0 glyphs added to the {count} of the base; 47 that had been generated before are made anew" in said
    after = GlyphRenderer(str(again))
    assert np.array_equal(after.render(corrected[0], 64), sizes["corrected"])
    assert np.array_equal(after.render(own[0], 64), sizes["own"])
    assert not np.array_equal(after.render(lacking[5], 64), before.render(lacking[5], 64))
    assert len(TTFont(again).getGlyphOrder()) == count
    assert set(find_generated(after).unchanged) == set(lacking[3:])
    sanitize(again)


def test_a_corrected_advance_is_a_correction(made):
    _, lacking, full = made
    with TTFont(full) as font:
        name = font.getBestCmap()[ord(lacking[0])]
        advance, bearing = font["hmtx"][name]
        font["hmtx"][name] = (advance - 20, bearing)
        font.save(full)
    assert find_generated(GlyphRenderer(str(full))).edited == lacking[0]


def test_what_is_not_drawn_again_stays_known_as_generated(made, tmp_path):
    _, lacking, full = made
    drawings = pictures(tmp_path / "again", SOURCE, lacking[:10], 64)
    again = full.with_name(f"Again{full.suffix}")
    assert export(again, drawings, "--base", full) == 0
    assert set(find_generated(GlyphRenderer(str(again))).unchanged) == set(lacking)


def test_a_training_learns_corrections_and_no_generated_glyphs(made, tmp_path, capsys):
    own, lacking, full = made
    edit(full, lacking[:3])
    run = tmp_path / "run"
    flags = ["--src_font", SOURCE, "--dst_font", full, "--max_steps", 1]
    assert run_train(run, *flags) == 0
    said = capsys.readouterr().out
    assert f"{full.name}: 47 glyphs are as they were generated, and count as lacking" in said
    assert f"3 were changed since, and count as drawn: {lacking[:3]}" in said
    data = json.loads((run / "config.json").read_text("utf-8"))["data"]
    assert set(data["train"] + data["held_out"]) == set(own + lacking[:3])
    assert run_infer(run, "--src_txt", own[0] + lacking, "--missing", full) == 0
    assert f"{full} lacks 47 of 51 characters" in capsys.readouterr().out
    counts = json.loads((run / "infer" / "coverage.json").read_text("utf-8"))["charsets"]["characters"]
    assert counts["generated"] == 47
    # What was learned stays what it was, whatever becomes of the file.
    generated_path(full).rename(tmp_path / "elsewhere.json")
    assert run_train(run, "--resume", "latest", "--max_steps", 2) == 0
    other = tmp_path / "other"
    assert run_train(other, *flags, "--generated", tmp_path / "elsewhere.json") == 0
    assert json.loads((other / "config.json").read_text("utf-8"))["data"]["train"] == data["train"]


def test_two_fonts_of_one_name_keep_what_was_generated_in_each(tmp_path):
    drawings = pictures(tmp_path / "drawn", TARGET, some(TARGET, 10), 64)
    fonts = [tmp_path / "My.otf", tmp_path / "My.ttf"]
    for font in fonts:
        assert export(font, drawings) == 0
    for font in fonts:
        assert len(find_generated(GlyphRenderer(str(font))).unchanged) == 10


def test_a_named_file_tells_of_one_font(made, tmp_path, capsys):
    _, _, full = made
    flags = ["--src_font", SOURCE, "--dst_font", full, TARGET, "--generated", generated_path(full)]
    assert run_train(tmp_path / "run", *flags, "--max_steps", 1) == 2
    assert "--generated tells of one font" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["{", '{"characters": [{"codepoint": "U+110000", "outline": "a"}]}', "[" * 9999, "5"]
)
def test_a_damaged_file_is_named(made, tmp_path, capsys, content):
    _, _, full = made
    generated_path(full).write_text(content)
    assert run_train(tmp_path / "run", "--src_font", SOURCE, "--dst_font", full, "--max_steps", 1) == 2
    assert "generated.json can't be read" in capsys.readouterr().err
    refused("no such file", capsys, full, tmp_path / "drawn", "--base", full, "--generated", tmp_path / "none.json")


def test_a_digest_is_that_of_the_shape_whatever_the_order_of_its_points(tmp_path):
    def with_points(name: str, contours: list[list[tuple[int, int]]]) -> str:
        path = make_font(tmp_path / name, boxes("永"))
        with TTFont(path) as font:
            pen = TTGlyphPen(None)
            for points in contours:
                pen.qCurveTo(*points, None)
                pen.closePath()
            font["glyf"]["u6C38"] = pen.glyph()
            font.save(path)
        return outline_digest(GlyphRenderer(str(path)).outline("永"))

    one, two = [(0, 0), (0, 800), (800, 800), (800, 0)], [(200, 200), (600, 200), (600, 600)]
    digest = with_points("a.ttf", [one, two])
    assert with_points("b.ttf", [two[1:] + two[:1], one[::-1]]) == digest
    assert with_points("c.ttf", [one, [(200, 200), (600, 200), (600, 601)]]) != digest
