"""Around a font: what is missing, which drawings are suspect, blends of labels."""

import argparse
import json
import random

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from PIL import Image

from tests.helpers.exports import without
from tests.helpers.models import tiny_batch, tiny_model
from tests.helpers.scripts import run_infer
from utils.drawing import suspects
from utils.fonts.coverage import coverage, coverage_lines
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image
from utils.labels import choose_labels, heaviest, label_folder, label_or_blend
from utils.sample import label_tensor

TARGET = "bundled:target.ttf"


# ------------------------------------------------------------------------------------ blends of labels


def test_a_blend_is_made_to_sum_to_one():
    assert label_or_blend("3") == 3
    assert label_or_blend("0:3,2:1") == "0:0.75,2:0.25"
    assert heaviest("0:0.2,4:0.8") == 4
    assert label_folder("0:0.75,2:0.25") == "0x0.75+2x0.25"
    assert label_folder(2) == "2"


@pytest.mark.parametrize("text", ["", "a", "0:1,0:2", "0:0", "1:", "0:0.5;1:0.5", "-1", "0:-1,1:2", "9999999"])
def test_what_is_no_label_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        label_or_blend(text)


def test_a_blend_is_drawn_between_its_labels():
    """A blend of one label is that label; halves of two are neither, and come alike in any order."""
    model = tiny_model()
    model.netG.eval()
    _, source, _ = tiny_batch(count=1)

    def draw(label):
        return model.sample(source, label_tensor([label], 3))

    assert torch.allclose(draw("1:1"), draw(1), atol=1e-6)
    assert torch.allclose(draw("0:0.5,1:0.5"), draw("1:0.5,0:0.5"), atol=1e-6)
    distance = {label: float((draw("0:0.9,1:0.1") - draw(label)).abs().mean()) for label in (0, 1)}
    assert 0 < distance[0] < distance[1]


def test_infer_draws_a_blend(trained, tmp_path, capsys):
    character = json.loads((trained / "config.json").read_text("utf-8"))["data"]["train"][0]
    assert run_infer(trained, "--src_txt", character, "--label", "0:1", "--infer_dir", tmp_path) == 0
    (entry,) = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["characters"]
    assert entry["label"] == "0:1"
    assert (tmp_path / "0x1").is_dir()
    assert (tmp_path / entry["file"]).is_file()
    assert run_infer(trained, "--src_txt", character, "--label", "0:0.5,1:0.5", "--infer_dir", tmp_path) == 2
    assert "there are the labels" in capsys.readouterr().err
    assert choose_labels(None, True, ["a", "b"]) == [0, 1]


# ---------------------------------------------------------------------------------- what is missing


def test_coverage_counts_each_character_once():
    found = coverage("天地A", "地玄", {"all": "天地玄黃A", "two": "天黃"})
    assert found["charsets"] == {
        "all": {"have": 3, "generated": 1, "missing": 1},
        "two": {"have": 1, "generated": 0, "missing": 1},
    }
    assert found["blocks"]["Basic Latin"] == {"have": 1, "generated": 0, "missing": 0}
    assert found["blocks"]["CJK Unified Ideographs"] == {"have": 2, "generated": 1, "missing": 1}
    assert found["missing"] == ["U+9EC3"]
    lines = coverage_lines(found)
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["all", "3", "1", "1"]


def sound_drawings(folder, characters: str) -> None:
    """Put the true glyphs where infer.py would draw them: with --skip_exist they stay."""
    (folder / "0").mkdir(parents=True)
    for character in characters:
        save_image(GlyphRenderer(TARGET).render(character, 64), folder / "0" / f"U+{ord(character):04X}.png")


def test_infer_draws_what_a_font_lacks_and_completes_it(trained, tmp_path, capsys):
    """From a font with gaps to one without, in one command."""
    characters = json.loads((trained / "config.json").read_text("utf-8"))["data"]["train"][:6]
    base = without(TARGET, characters[:4], tmp_path / "base.ttf")
    (tmp_path / "c.txt").write_text(characters, encoding="utf-8")
    sound_drawings(tmp_path / "out", characters)
    flags = ["--missing", base, "--charset", tmp_path / "c.txt", "--infer_dir", tmp_path / "out", "--skip_exist"]
    assert run_infer(trained, *flags, "--font_out", tmp_path / "full.ttf", "--base", base) == 0
    assert f"lacks 4 of 6 characters: {characters[:4]}" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "coverage.json").read_text("utf-8"))
    assert found["charsets"][str(tmp_path / "c.txt")] == {"have": 2, "generated": 4, "missing": 0}
    with TTFont(base) as before, TTFont(tmp_path / "full.ttf") as after:
        assert after.getBestCmap().keys() - before.getBestCmap().keys() == set(map(ord, characters[:4]))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--missing", TARGET], "of which characters"),
        (["--missing", TARGET, "--src_txt", "CHARACTER"], "there is nothing to draw"),
        (["--missing", "no.ttf", "--src_txt", "CHARACTER"], "no such file"),
        (["--font_out", "x.woff"], "ends neither in .otf nor in .ttf"),
        (["--font_out", "x.ttf", "--run_all_label"], "makes a font of one label"),
        (["--font_out", "x.ttf", "--image_ext", "svg"], "leave out --image_ext svg"),
    ],
)
def test_mistakes_about_fonts_are_one_line(trained, tmp_path, capsys, flags, words):
    character = json.loads((trained / "config.json").read_text("utf-8"))["data"]["train"][0]
    code = run_infer(trained, *[character if f == "CHARACTER" else f for f in flags], "--infer_dir", tmp_path / "out")
    assert code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


# ---------------------------------------------------------------------------------------- suspects


def damaged(glyph: np.ndarray, kind: int, other: np.ndarray) -> np.ndarray:
    """A glyph spoilt in one of five ways, as a network spoils them."""
    side, glyph = len(glyph), glyph.copy()
    ink = np.argwhere(glyph < 128)
    y, x = ink[len(ink) // 2]
    reach = side // 8
    if kind == 0:  # a piece is missing
        glyph[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = 255
    elif kind == 1:  # a blot
        glyph[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = 0
    elif kind == 2:  # out of the canvas
        glyph = np.roll(glyph, side // 4, axis=1)
    elif kind == 3:  # spray
        spots = np.random.default_rng(int(y)).integers(2, side - 4, (12, 2))
        for row, column in spots:
            glyph[row : row + 3, column : column + 3] = 0
    else:  # another character
        glyph = other.copy()
    return glyph


def test_damaged_glyphs_are_among_the_worst():
    """40 of 400: as a font maker would meet them, among drawings that are sound."""
    source, target = GlyphRenderer("bundled:source.otf"), GlyphRenderer(TARGET)
    characters = [chr(c) for c in sorted(target.codepoints()) if c >= 0x4E00 and source.covers(chr(c))]
    random.Random(1).shuffle(characters)
    known, drawn = characters[:180], characters[180:580]
    norm = suspects.norm_of_pairs(lambda c: (source.render(c, 96), target.render(c, 96)), known)
    planted = set(drawn[::10])
    measured = []
    for number, character in enumerate(drawn):
        glyph = target.render(character, 96)
        if character in planted:
            glyph = damaged(glyph, number // 10 % 5, target.render(drawn[number - 7], 96))
        measured.append(suspects.measure(source.render(character, 96), glyph))
    ranked = suspects.rank([{"character": c, "label": 0} for c in drawn], measured, {0: norm})
    assert len(planted) == 40
    found = planted & {entry["character"] for entry in ranked[:60]}
    assert len(found) >= 36, len(found)
    assert ranked[0]["reasons"]


def test_disagreement_of_weights_makes_suspect():
    same = suspects.measure(np.full((32, 32), 255, np.uint8), np.full((32, 32), 255, np.uint8))
    norm = suspects.Norm.of([same] * 3)
    entries = [{"character": c, "label": 0} for c in "abc"]
    ranked = suspects.rank(entries, [same] * 3, {0: norm}, [0.01, 0.2, 0.01])
    assert ranked[0]["character"] == "b"
    assert ranked[0]["reasons"] == ["weights"]


def test_infer_ranks_its_drawings_and_leaves_the_worst_out_of_the_font(trained, tmp_path):
    known = json.loads((trained / "config.json").read_text("utf-8"))["data"]
    characters, out = known["train"][:5], tmp_path / "out"
    sound_drawings(out, characters)
    flags = ["--src_txt", characters, "--infer_dir", out, "--skip_exist", "--weights", "ema"]
    new = ["--font_out", tmp_path / "New.ttf", "--exclude_suspects", 1]
    assert run_infer(trained, *flags, "--suspects", *new) == 0
    ranked = json.loads((out / "suspects.json").read_text("utf-8"))["suspects"]
    assert len(ranked) == 5
    assert (out / "suspects.png").is_file()
    cmap = TTFont(tmp_path / "New.ttf").getBestCmap()
    assert ord(ranked[0]["character"]) not in cmap
    assert {ord(entry["character"]) for entry in ranked[1:]} <= cmap.keys()


def test_what_was_retouched_is_no_disagreement_and_processes_share_the_work(trained, tmp_path, monkeypatch):
    known = json.loads((trained / "config.json").read_text("utf-8"))["data"]
    characters, out = known["train"][:12], tmp_path / "out"
    flags = ["--src_txt", characters, "--infer_dir", out]
    assert run_infer(trained, *flags) == 0
    retouched = out / "0" / f"U+{ord(characters[0]):04X}.png"
    save_image(255 - np.asarray(Image.open(retouched)), retouched)
    seen = []

    def spy(entries, measured, norms, disagreement=None):
        ranked = rank(entries, measured, norms, disagreement)
        seen.append((dict(zip((entry["character"] for entry in entries), disagreement, strict=True)), ranked))
        return ranked

    rank = suspects.rank
    monkeypatch.setattr(suspects, "rank", spy)
    assert run_infer(trained, *flags, "--skip_exist", "--suspects") == 0
    monkeypatch.setattr(suspects, "FEW_TO_SHARE", 0)
    monkeypatch.setattr(suspects, "cores", lambda: 2)
    assert run_infer(trained, *flags, "--skip_exist", "--suspects") == 0
    assert seen[0] == seen[1]
    disagreement, _ = seen[0]
    assert disagreement[characters[0]] == 0
    assert all(disagreement[character] > 0 for character in characters[1:])


def test_suspects_need_pictures_of_characters(tmp_path, capsys, trained):
    assert run_infer(trained, "--suspects", "--image_ext", "svg", "--infer_dir", tmp_path) == 2
    assert "--suspects compares pictures" in capsys.readouterr().err
