"""Which characters are never trained on, in a run, in one that goes on from it, and when characters are added."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.exports import pictures, refused
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_infer, run_train
from utils.data.font_pairs import Earlier, FontData, Split
from utils.data.obj_file import write_obj
from utils.data.pairs import MOST_VALIDATED, sample_held_out, sample_validation
from utils.data.record_pairs import RecordData
from utils.glyphs.render import GlyphRenderer
from utils.images import save_sheet

MANY = "".join(map(chr, range(0x4E00, 0x4E00 + 240)))


def fonts_of(folder: Path, characters: str, family: str = "Hand") -> list[str]:
    """A source with all characters, and a target with some."""
    source = make_font(folder / "source.ttf", boxes(MANY, (100, 0, 600, 800)), family="Source")
    target = make_font(folder / "target.ttf", boxes(characters, (50, 0, 600, 700)), family=family)
    return [str(source), str(target)]


def split(folder: Path, characters: str, earlier: Earlier | None = None, **changes) -> FontData:
    source, target = fonts_of(folder, characters, changes.pop("family", "Hand"))
    values = {"ratio": 0.1, "seed": 7, "val_ratio": 0.1} | changes
    return FontData.from_fonts(source, [target], [], None, Split(earlier=earlier, **values))


def earlier_of(data: FontData, **changes) -> Earlier:
    known = Earlier(data.train, data.held_out, data.validation, data.labels, data.label_digests())
    return known._replace(**changes)


def test_added_characters_change_nothing_for_the_others(tmp_path):
    some, more = split(tmp_path, MANY[:150]), split(tmp_path, MANY)
    assert set(some.held_out) == set(more.held_out) & set(MANY[:150])
    assert set(some.validation) == set(more.validation) & set(MANY[:150])
    assert set(more.held_out) - set(some.held_out)
    assert len(set(more.train) | set(more.held_out)) == 240


def test_what_an_earlier_run_held_out_is_not_trained_on(tmp_path):
    """Whatever the seed, and if it drew a sample, as older experiments did."""
    train, held_out = map("".join, sample_held_out(MANY[:150], 0.1, 1))
    validation = "".join(sorted(sample_validation(train, 0.1, 1)))
    known = Earlier(train, held_out, validation, ["Hand"], [])
    data = split(tmp_path, MANY[50:], known)
    kept = set(held_out) & set(MANY[50:])
    assert kept <= set(data.held_out)
    trained = set(train) - set(validation)
    assert not trained & set(data.held_out)
    assert not trained & set(data.validation)
    assert set(data.held_out) - kept, "new characters are held out too"
    assert set(validation) & set(data.train) <= set(data.validation)
    lines = data.kept_lines(known, "experiments/run1")
    assert lines == [
        f"{len(kept)} of the {len(data.held_out)} held-out characters were held out in experiments/run1, and stay so"
    ]


def test_a_run_on_all_characters_holds_nothing_out(tmp_path):
    first = split(tmp_path, MANY)
    last = split(tmp_path, MANY, earlier_of(first), ratio=0.0, val_ratio=0.0)
    assert (set(last.train), last.held_out, last.validation) == (set(MANY), "", "")
    assert last.kept_lines(earlier_of(first), "run") == []


def test_what_can_only_be_too_good_is_said(tmp_path):
    """All characters were trained on: some are held out all the same, and their scores mean little."""
    known = Earlier(MANY, "", "", ["Hand"], [])
    data = split(tmp_path, MANY, known)
    assert 10 <= len(data.held_out) <= 45
    said = f"{len(data.held_out)} of them were trained on in run: their scores will be too good"
    assert data.kept_lines(known, "run")[1] == said


def test_another_font_is_scored_on_as_many_characters_as_were_asked_for(tmp_path):
    """The style is new: a character that was trained on in another one tells how well it is learned."""
    known = earlier_of(split(tmp_path, MANY))
    data = split(tmp_path, MANY, known, family="Other", ratio=0.5)
    assert 90 <= len(data.held_out) <= 150
    assert set(known.held_out) <= set(data.held_out)


@pytest.mark.slow
def test_fine_tuning_keeps_the_held_out_characters(tmp_path, capsys):
    """In the scripts: draw some more characters, and train on from the last run."""
    source, target = fonts_of(tmp_path, MANY[:120])
    fonts = ["--src_font", source, "--dst_font", target, "--max_steps", 1]
    assert run_train(tmp_path / "one", *fonts, "--random_seed", 3) == 0
    before = json.loads((tmp_path / "one" / "config.json").read_text("utf-8"))["data"]
    fonts_of(tmp_path, MANY[:160])
    assert run_train(tmp_path / "two", *fonts, "--fine_tune", tmp_path / "one", "--random_seed", 4) == 0
    data = json.loads((tmp_path / "two" / "config.json").read_text("utf-8"))["data"]
    assert set(before["held_out"]) <= set(data["held_out"])
    assert not set(data["held_out"]) & (set(before["train"]) - set(before["validation"]))
    assert f"held-out characters were held out in {tmp_path / 'one'}, and stay so" in capsys.readouterr().out


def test_an_older_experiment_goes_on_with_its_own_validation(tmp_path):
    """Its config.json has no validation characters: they are drawn as they were, and all their pairs are scored."""
    source, target = fonts_of(tmp_path, MANY)
    record = FontData.from_fonts(source, [target, target], [], None, Split(0.1, 7)).describe()
    del record["validation"]
    data = FontData.from_config(record)
    trained, validation = data.split_validation(0.4, 7)
    expected = sample_validation(set(record["train"]), 0.4, 7)
    assert {character for _, character in validation} == expected
    assert len(expected) == MOST_VALIDATED
    assert len(validation) == 2 * MOST_VALIDATED
    assert len(trained) + len(validation) == len(data.train_pairs)


def test_at_most_so_many_pairs_are_scored_with_any_number_of_fonts(tmp_path):
    source, target = fonts_of(tmp_path, MANY)
    data = FontData.from_fonts(source, [target] * 9, [], None, Split(0.1, 7, 0.2))
    trained, validation = data.split_validation(0.2, 7)
    assert len(validation) == MOST_VALIDATED
    assert {label for label, _ in validation} == set(range(9))
    assert not {character for _, character in trained} & set(data.validation)


def picture(width: int, height: int) -> bytes:
    """A record: a bar of its own for the source on the right, and another for the target."""
    image = Image.new("L", (128, 64), 255)
    image.paste(0, (70, 10, 70 + width, 20))
    image.paste(0, (10, 10, 20, 10 + height))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_records_of_one_character_are_held_out_together_and_stay_so(tmp_path):
    """They have no names: the source glyph tells the character, in every label and wherever in the file it is."""
    pairs = [(label, picture(5 + width, 9 + label)) for label in range(2) for width in range(40)]
    files = {}
    for name, records in {"all": pairs, "added": [(0, picture(50, 9)), *pairs], "some": pairs[3:]}.items():
        write_obj(tmp_path / f"{name}.obj", records)
        data = RecordData.open(tmp_path / f"{name}.obj", 1, 0.2, 5)
        files[name] = {data.picture(key) for key in data.held_out_keys}
        assert RecordData.from_config(data.describe()).held_out_keys == data.held_out_keys
    assert len(files["all"]) % 2 == 0 and 6 <= len(files["all"]) <= 30
    assert files["added"] - {picture(50, 9)} == files["all"]
    assert files["some"] == files["all"] & {content for _, content in pairs[3:]}
    older = RecordData.open(tmp_path / "all.obj", 1, 0.2, 5).describe()
    del older["split"]
    assert RecordData.from_config(older).held_out_keys == sample_held_out(range(1, 81), 0.2, 5)[1]


# ------------------------------------------------------------------------------- what else goes by labels


def test_a_drawing_of_one_label_is_not_added_to_the_font_of_another(tmp_path, capsys):
    source = make_font(tmp_path / "source.ttf", boxes("一二三四五六"), family="Source")
    fonts = [make_font(tmp_path / f"{n}.ttf", boxes("一二三四", (n, 0, 500, 500)), family=f"Hand {n}") for n in (1, 2)]
    run = tmp_path / "run"
    assert run_train(run, "--src_font", source, "--dst_font", *fonts, "--max_steps", 1) == 0
    drawings = pictures(tmp_path / "in", str(source), "五六")
    flags = ["--experiment_dir", run, "--infer_dir", drawings]
    words = "is Hand 2, label 1 of the training, and the drawings are of label 0: draw with --label 1"
    refused(words, capsys, tmp_path / "full.ttf", drawings, *flags, "--base", fonts[1], spec=str(source))
    # Its content may be another by now: then its name tells.
    changed = make_font(tmp_path / "new.ttf", boxes("一二", (2, 0, 500, 500)), family="Hand 2")
    refused(words, capsys, tmp_path / "full.ttf", drawings, *flags, "--base", changed, spec=str(source))
    assert run_infer(run, "--src_txt", "五", "--base", fonts[0], "--label", 1, "--font_out", tmp_path / "full.ttf") == 2
    assert "is Hand 1, label 0 of the training, and the drawings are of label 1" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- captions


def test_a_chinese_name_in_a_caption_is_drawn(tmp_path):
    """By the font that is drawn from, whose glyphs Pillow's own font lacks; what no font has is named."""
    glyphs = {"images": np.full((1, 400, 400), 255, np.uint8)}
    font = GlyphRenderer("bundled:target.ttf")

    def caption(text: str, letters: GlyphRenderer | None) -> np.ndarray:
        save_sheet(glyphs, tmp_path / "sheet.png", caption=[text], letters=letters)
        return np.asarray(Image.open(tmp_path / "sheet.png"))[:16]

    assert not np.array_equal(caption("國, step 1", font), caption("人, step 1", font))
    box = caption("國", font)[:, 4:18, 0]
    assert np.array_equal(box[:14], font.render("國", 14))
    assert np.array_equal(caption("\U0002a6d6", font), caption("U+2A6D6", None))
    assert np.array_equal(caption("國", None), caption("U+570B", None))
