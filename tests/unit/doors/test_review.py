"""The review page as a file, and what is done with a review.json."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from tests.helpers.exports import SOURCE, TARGET, export, pictures
from tests.helpers.reviews import reviewable
from tests.helpers.scripts import FEW, run_infer, run_train
from utils import review, template
from utils.data.font_pairs import FontData
from utils.drawing.review import CELL, neighbours
from utils.errors import UserError
from utils.experiment.config import Paths, read_config
from utils.experiment.marks import LARGEST, experiment_id, marked, read_marks
from utils.glyphs.render import GlyphRenderer

DRAWN = "一二三四五六七八九十"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    return reviewable(tmp_path_factory.mktemp("reviewed") / "run1", DRAWN, str(FEW))


def config_of(root: Path) -> dict:
    return read_config(Paths(root)) or {}


def write_review(path: Path, root: Path, marked_as: dict[str, str], **changes) -> Path:
    named = {f"U+{ord(character):04X}": mark for character, mark in marked_as.items()}
    content = {"format": 1, "experiment": experiment_id(config_of(root)), "name": root.name, "label": 0, "marks": named}
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


def page_of(root: Path, *flags: str) -> tuple[str, dict]:
    """The text of the page, and the data in it."""
    assert review.main(["--experiment_dir", str(root), *flags]) == 0
    text = (root / "infer" / "review.html").read_text(encoding="utf-8")
    return text, json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def sprite(text: str, kind: str) -> np.ndarray:
    packed = re.search(rf'id="{kind}-0">([^<]*)<', text)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(packed))).convert("L"))


def test_the_page_has_every_drawing_the_worst_first(experiment):
    text, data = page_of(experiment)
    assert [chr(glyph[0]) for glyph in data["glyphs"]] == list(DRAWN[::-1])
    assert [data["reasons"][number] for number in data["glyphs"][0][2]] == ["parts", "greyness"]
    assert data["step"] == 150 and data["label_name"] == "Sample Kai"
    expected = GlyphRenderer(SOURCE).render("九", CELL)
    found = sprite(text, "source")[:CELL, CELL : 2 * CELL]
    assert np.abs(found.astype(int) - expected).max() <= 255 / 15
    assert (
        np.abs(sprite(text, "drawn")[:CELL, :CELL].astype(int) - GlyphRenderer(SOURCE).render("十", CELL)).mean() < 10
    )
    own = FontData.from_config(config_of(experiment)["data"]).targets[0].render(data["own"][0], CELL)
    assert np.abs(sprite(text, "own")[:CELL, :CELL].astype(int) - own).max() <= 255 / 15


def test_neighbours_share_components_of_which_rare_ones_count_more():
    own = "林明說"
    assert neighbours("森話", own)[0][0] == own.index("林")
    assert neighbours("話", own)[0][0] == own.index("說")
    assert neighbours("A", own) == [[]]


def test_two_folders_are_shown_side_by_side(experiment, tmp_path):
    other = pictures(tmp_path / "other", TARGET, DRAWN[:3], 64)
    text, data = page_of(experiment, "--other", str(other))
    assert data["compared"]
    before = sprite(text, "other")
    assert before[:CELL, :CELL].min() == 255, "十 is not there"
    assert before[:CELL, 9 * CELL : 10 * CELL].min() < 100, "一 is"


def test_no_script_but_its_own_runs_in_the_page(tmp_path):
    root = reviewable(tmp_path / "<img src=x onerror=alert(1)>", DRAWN, str(FEW))
    config = config_of(root)
    config["data"]["labels"] = ['</script><script>alert("{{sheets}}")</script>']
    (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
    text, data = page_of(root)
    assert data["label_name"] == config["data"]["labels"][0]
    assert "<img" not in text and "alert(" in text  # in the data alone, where < is escaped
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in text
    without_sprites = re.sub(r'(?s)<script type="text/plain".*?</script>', "", text)
    assert "http" not in without_sprites.replace("http-equiv", "")


def test_a_page_needs_neither_scores_nor_the_fonts_of_the_training(tmp_path, capsys):
    root = reviewable(tmp_path / "run", DRAWN, str(FEW))
    (root / "infer" / "suspects.json").unlink()
    config = config_of(root)
    config["data"]["targets"][0]["spec"] = str(tmp_path / "gone.ttf")
    (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _, data = page_of(root)
    assert [chr(glyph[0]) for glyph in data["glyphs"]] == sorted(DRAWN)
    assert data["own"] == "" and data["glyphs"][0][1] is None
    said = capsys.readouterr().out
    assert "has not ranked these drawings" in said
    assert "your own glyphs are not shown beside: " in said


def test_infer_writes_the_page_with_the_suspects(tmp_path, capsys):
    assert run_train(tmp_path / "run", "--max_steps", 1) == 0
    assert run_infer(tmp_path / "run", "--src_txt", DRAWN, "--suspects") == 0
    assert f"{tmp_path / 'run' / 'infer' / 'review.html'}: to be looked through" in capsys.readouterr().out
    assert (tmp_path / "run" / "infer" / "review.html").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"marks": {"U+4E00": "nice"}}, "is damaged: the mark of U+4E00 is none of good, redraw, leave_out"),
        ({"marks": {"U+110000": "good"}}, "can't be read"),
        ({"marks": {"one": "good"}}, "can't be read"),
        ({"marks": {"U+D800": "good"}}, "can't be read"),
        ({"marks": ["U+4E00"]}, "can't be read"),
        ({"format": 2}, "was written by another version of this program"),
        ({"experiment": "0" * 16, "name": "run2"}, "is a review of another experiment (run2)"),
        ({"label": 1}, "is a review of label 1, and the drawings are of label 0"),
    ],
)
def test_a_review_that_is_none_is_refused_in_a_line(changes, words, experiment, tmp_path, capsys):
    path = write_review(tmp_path / "review.json", experiment, {"一": "redraw"}, **changes)
    flags = ["--experiment_dir", experiment, "--exclude", path]
    assert export(tmp_path / "New.ttf", experiment / "infer", *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "New.ttf").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"format": 1}'])
def test_damaged_files_are_refused(content, tmp_path):
    path = tmp_path / "review.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="can't be read"):
        read_marks(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "review.json"
    path.write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(UserError, match="larger than any review can be"):
        read_marks(path)


def test_what_is_marked_does_not_go_into_the_font(experiment, tmp_path, capsys):
    path = write_review(tmp_path / "review.json", experiment, {"一": "redraw", "二": "leave_out", "三": "good"})
    flags = ["--experiment_dir", experiment, "--exclude", path]
    out = tmp_path / "New.ttf"
    assert export(out, experiment / "infer", *flags) == 0
    assert "leaves out 2 characters: 一二" in capsys.readouterr().out
    with TTFont(out) as font:
        assert sorted(chr(code) for code in font.getBestCmap() if code > 0x4E00 - 1) == sorted(DRAWN[2:])


def test_what_is_to_be_redrawn_is_listed_and_becomes_a_template(experiment, tmp_path, capsys, monkeypatch):
    path = write_review(tmp_path / "review.json", experiment, {"一": "redraw", "二": "leave_out", "五": "redraw"})
    assert review.main(["--redraw", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "一五"
    assert review.main(["--redraw", str(path), "--out", str(tmp_path / "redraw.txt")]) == 0
    assert (tmp_path / "redraw.txt").read_text(encoding="utf-8") == "一五\n"
    forms = []
    monkeypatch.setattr(template, "draw_page", lambda form, *_: forms.append(form) or Image.new("L", (40, 60)))
    assert template.main(["--redraw", str(path), "--out", str(tmp_path / "page.pdf")]) == 0
    assert [cell[0] for form in forms for cell in form.cells] == ["一", "五"]
    none = write_review(tmp_path / "none.json", experiment, {"一": "good"})
    assert review.main(["--redraw", str(none)]) == 2
    assert template.main(["--redraw", str(none)]) == 2
    assert capsys.readouterr().err.count("marks no character to be redrawn") == 2
    assert review.main(["--redraw", str(path), "--label", "1"]) == 2
    assert "leave --label out" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["review", "text", "both"])
def test_what_is_excluded_is_not_learned(kind, experiment, tmp_path):
    text = FEW.read_text(encoding="utf-8").replace("\n", "")
    if kind == "review":
        path = write_review(tmp_path / "review.json", experiment, {text[0]: "redraw", text[1]: "good"})
        expected = {text[0]}
    else:
        path, expected = tmp_path / "not.txt", set(text[:2])
        path.write_text(text[:2], encoding="utf-8")
    if kind == "both":
        marks = write_review(tmp_path / "review.json", experiment, {text[2]: "leave_out", text[3]: "good"})
        path, expected = f"{path}+{marks}", {*expected, text[2]}
    assert run_train(tmp_path / "run", "--charset", FEW, "--exclude_characters", path, "--max_steps", 1) == 0
    data = config_of(tmp_path / "run")["data"]
    assert set(text) - set(data["train"] + data["held_out"]) == expected


def test_something_has_to_be_left_to_learn(tmp_path, capsys):
    assert run_train(tmp_path / "run", "--charset", FEW, "--exclude_characters", "big5_1", "--max_steps", 1) == 2
    assert "--exclude_characters leaves no character to learn" in capsys.readouterr().err


def test_pairs_have_no_characters_to_exclude(tmp_path, capsys):
    (tmp_path / "pairs").mkdir()
    Image.new("L", (128, 64)).save(tmp_path / "pairs" / "1.png")
    assert run_train(tmp_path / "run", "--data_dir", tmp_path / "pairs", "--exclude_characters", "big5_1") == 2
    assert "--exclude_characters needs fonts" in capsys.readouterr().err


def test_an_experiment_is_known_after_its_fonts_have_moved_and_it_was_resumed(tmp_path):
    assert run_train(tmp_path / "run", "--max_steps", 1) == 0
    known = experiment_id(config_of(tmp_path / "run"))
    changed = ["--lr", 0.5, "--L1_penalty", 3, "--amp", "bf16", "--dropout", 0]
    assert run_train(tmp_path / "run", "--resume", "latest", "--max_steps", 2, *changed) == 0
    config = config_of(tmp_path / "run")
    assert experiment_id(config) == known
    config["data"]["targets"][0]["spec"] = "elsewhere.ttf"
    assert experiment_id(config) == known
    config["data"]["train"] += "永"
    assert experiment_id(config) != known
    assert marked({"一": "good", "二": "redraw"}, ("redraw",)) == "二"


@pytest.mark.parametrize("step", [[], "five", float("nan"), None, True])
def test_a_manifest_with_odd_steps_is_shown_without_one(step, tmp_path):
    root = reviewable(tmp_path / "run", DRAWN, str(FEW))
    manifest = root / "infer" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    for entry in content["characters"]:
        entry["step"] = step
    manifest.write_text(json.dumps(content), encoding="utf-8")
    _, data = page_of(root)
    assert data["step"] is None


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path, capsys):
    root = reviewable(tmp_path / "run", DRAWN, str(FEW))
    (root / "infer" / "0" / "U+4E00.png").write_bytes(b"none")
    text, data = page_of(root)
    assert len(data["glyphs"]) == len(DRAWN)
    assert "U+4E00.png can't be read as an image" in capsys.readouterr().err
    assert sprite(text, "drawn")[:CELL, 9 * CELL : 10 * CELL].min() == 255


def test_a_label_that_there_is_not_is_refused(experiment, capsys):
    assert review.main(["--experiment_dir", str(experiment), "--label", "3"]) == 2
    assert "--label 3: the experiment has 1 labels, from 0" in capsys.readouterr().err
