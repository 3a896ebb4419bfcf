"""Folders of drawn glyphs: names, formats, paper and ink, the em box, and what is left out."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import infer
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_train
from utils import images as image_files
from utils.data.font_pairs import FontData, Split, distinct, open_recorded
from utils.errors import UserError
from utils.glyphs.file_names import named_character, read_names
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.placement import Movement
from utils.glyphs.render import GlyphRenderer


def drawn(width=100, height=100, box=(20, 30, 60, 80), ink=0, paper=255):
    """A grey image with a rectangle of ink: left, top, right, bottom."""
    pixels = np.full((height, width), paper, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = ink
    return Image.fromarray(pixels)


def glyph(folder, image, name="永.png"):
    """The glyph that a folder with this one image renders at 86 pixels of em on 100 of canvas."""
    folder.mkdir(exist_ok=True)
    image.save(folder / name)
    return GlyphImages(str(folder)).render("永", 100)


def ink(image):
    """Left, top, right, bottom of the ink, in pixels."""
    rows, columns = np.flatnonzero((image < 128).any(1)), np.flatnonzero((image < 128).any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize(
    ("stem", "character"),
    [
        *((stem, "永") for stem in ("永", "U+6C38", "u+6c38", "27704", "uni6C38", "u6C38", "0x6c38", "0X6C38")),
        *((stem, "永") for stem in ("U+6C38 (1)", "永 (12)", "永 copy", "永 copy 2", "永 - 複製", "uni6C38 (2)")),
        *(("u1F600", "\U0001f600"), ("uni6C38.vert", None), ("uni6C386C38", None), ("uni6c38", None), ("6C38", None)),
        *(("U+20000", "𠀀"), ("𠀀", "𠀀"), ("7", "7")),
        *(("か\u3099", "が"), ("065", None), ("00060", None)),
        *((stem, None) for stem in ("永字", "U+6C38x", "", "U+D800", "99999999", " ", "10")),
    ],
)
def test_names(stem, character):
    assert named_character(stem) == character


@pytest.mark.parametrize(
    ("stems", "first", "note"),
    [
        (["6C38", "4E00", "6691"], "永", "3 names are read as hexadecimal code points, such as 6C38 for 永"),
        (["6691", "7530", "5341"], "暑", "3 names are read as hexadecimal code points, such as 6691 for 暑"),
        (["27704", "19968", "20108"], "永", "3 names are read as decimal code points, such as 27704 for 永"),
        (["6691", "7530", "永"], chr(6691), "2 names are read as decimal code points, such as 6691 for"),
        (["6C38", "永"], None, None),
        (["U+6C38", "uni4E00"], "永", None),
        (["永", "一 (1)"], "永", None),
        ([], None, None),
    ],
)
def test_bare_numbers_are_read_alike_in_a_folder(stems, first, note):
    found = read_names(stems)
    assert found.characters.get(stems[0] if stems else "") == first
    assert found.note == note or found.note.startswith(note)


def test_a_copy_counts_where_there_is_nothing_else(tmp_path):
    drawn(box=(10, 10, 60, 60)).save(tmp_path / "U+4E00 (1).png")
    drawn(box=(30, 30, 90, 90)).save(tmp_path / "U+4E00.png")
    drawn().save(tmp_path / "uni4E8C (1).png")
    images = GlyphImages(str(tmp_path))
    assert set(images.codepoints()) == {0x4E00, 0x4E8C}
    assert images.dropped == {"U+4E00 (1).png": "is a second image of 一"}
    assert images.ink_box("一") == pytest.approx(GlyphImages(str(tmp_path)).ink_box("一"))
    assert ink(images.render("一", 100))[0] > 30


def test_photos_of_phones(tmp_path, monkeypatch):
    plain = glyph(tmp_path / "png", drawn())
    head = b"\x00\x00\x00\x18ftypheic" + b"\x00" * 40
    (tmp_path / "heic").mkdir()
    (tmp_path / "heic" / "一.heic").write_bytes(head)
    drawn().save(tmp_path / "heic" / "永.png")
    monkeypatch.setattr(image_files, "find_spec", lambda _: None)
    images = GlyphImages(str(tmp_path / "heic"))
    assert images.dropped == {"一.heic": "is HEIC: python -m pip install -r utils/requirements/heic.txt"}
    monkeypatch.undo()
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(drawn().convert("RGB")).save(tmp_path / "heic" / "一.heic", quality=95)
    images = GlyphImages(str(tmp_path / "heic"))
    assert np.abs(images.render("一", 100).astype(int) - plain).mean() < 3
    (tmp_path / "heic" / "一.heic").write_bytes(head)
    assert "can't be read as an image" in GlyphImages(str(tmp_path / "heic")).dropped["一.heic"]


def test_light_ink_on_dark_paper_is_turned(tmp_path):
    plain = glyph(tmp_path / "a", drawn())
    turned = glyph(tmp_path / "b", drawn(ink=255, paper=0))
    assert np.array_equal(plain, turned)
    images = GlyphImages(str(tmp_path / "b"))
    assert images.notes == ["b: images that were light on dark, and are turned: 1"]
    # What an earlier version left out stays so, for an experiment to go on as it was.
    again = GlyphImages(str(tmp_path / "a"), dropped={"二.png": "is light on dark: invert it"})
    drawn(ink=255, paper=0).save(tmp_path / "a" / "二.png")
    record = again.describe()
    assert open_recorded(record).codepoints() == [0x6C38]


def test_the_image_is_the_em_box(tmp_path):
    """Whole, whatever its ink: 86 of 100 canvas pixels, the rest margin."""
    image = glyph(tmp_path / "a", drawn())
    np.testing.assert_allclose(ink(image), [7 + 20 * 0.86, 7 + 30 * 0.86, 7 + 60 * 0.86, 7 + 80 * 0.86], atol=1)
    dot = glyph(tmp_path / "b", drawn(box=(45, 45, 55, 55)))
    assert (dot < 128).sum() == pytest.approx(8.6**2, rel=0.25)


def test_an_image_that_is_not_square_is_padded_with_paper(tmp_path):
    image = glyph(tmp_path / "a", drawn(width=60, height=100, box=(0, 20, 60, 80)))
    np.testing.assert_allclose(ink(image), [7 + 20 * 0.86, 7 + 20 * 0.86, 7 + 80 * 0.86, 7 + 80 * 0.86], atol=1)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "bmp", "1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_formats_and_modes_draw_alike(tmp_path, kind):
    plain = drawn(400, 400, (80, 120, 240, 320))
    name, image = "永.png", plain
    if kind in ("png", "jpg", "tif", "bmp"):
        name = f"永.{kind}"
    elif kind in ("LA", "RGBA"):  # ink on nothing
        image = Image.new(kind, plain.size, 0)
        image.putalpha(Image.fromarray(255 - np.asarray(plain)))
    elif kind == "I;16":
        image = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257)
    elif kind == "CMYK":
        name, image = "永.jpg", plain.convert("CMYK")
    else:
        image = plain.convert(kind)
    found, expected = glyph(tmp_path / "found", image, name), glyph(tmp_path / "expected", plain)
    assert np.abs(found.astype(int) - expected).max() <= 40
    assert np.abs(found.astype(int) - expected).mean() < 0.5


def test_grey_paper_becomes_white_and_pale_ink_black(tmp_path):
    generator = np.random.default_rng(0)
    scan = np.asarray(drawn(300, 300, (60, 90, 180, 240), ink=70, paper=205)) + generator.normal(0, 6, (300, 300))
    image = glyph(tmp_path / "a", Image.fromarray(scan.clip(0, 255).astype(np.uint8)))
    assert (image[:15] == 255).all()
    assert np.median(image[image < 128]) <= 10


@pytest.mark.parametrize("size", [(256, 15, 15), (256, 130, 2), (1000, 800, 5), (64, 5, 5)])
def test_little_ink_is_ink(tmp_path, size):
    """The dot of 、 and the line of a fine pen's 一."""
    side, width, height = size
    left, top = (side - width) // 2, (side - height) // 2
    image = glyph(tmp_path / "a", drawn(side, side, (left, top, left + width, top + height)))
    assert (image < 200).any()


def test_the_lines_of_a_grid_are_not_taken_for_ink_or_paper(tmp_path):
    pixels = np.asarray(drawn(200, 200, (60, 60, 140, 140))).copy()
    pixels[[0, -1]] = 40
    pixels[:, [0, -1]] = 40
    Image.fromarray(pixels).save(tmp_path / "一.png")
    drawn().save(tmp_path / "永.png")
    assert GlyphImages(str(tmp_path)).dropped == {"一.png": "has a dark border: cut the lines of the grid off"}


def test_a_name_in_another_encoding_is_named_and_left_out(tmp_path):
    folder = tmp_path / "hand"
    folder.mkdir()
    drawn().save(folder / "國.png")
    (folder / os.fsdecode(b"\xa4\xc3.png")).write_bytes((folder / "國.png").read_bytes())
    flags = ["--src_font", "bundled:source.otf", "--dst_imgs", folder]
    assert run_train(tmp_path / "run", *flags, "--max_steps", 1) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert list(config["data"]["targets"][0]["dropped"]) == ["\\udca4\\udcc3.png"]


def test_what_can_not_be_used_is_left_out_with_its_reason(tmp_path):
    drawn().save(tmp_path / "永.png")
    drawn().save(tmp_path / "U+6C38.png")
    drawn().save(tmp_path / "scan1.png")
    drawn(ink=255).save(tmp_path / "一.png")
    drawn(ink=255, paper=0).save(tmp_path / "二.png")
    (tmp_path / "三.png").write_bytes(b"no image")
    (tmp_path / "四.png").write_bytes((tmp_path / "永.png").read_bytes()[:-40])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_bytes(b"")
    images = GlyphImages(str(tmp_path))
    reasons = {name: reason.split(" (")[0] for name, reason in images.dropped.items()}
    assert reasons == {
        "永.png": "is a second image of 永",
        "scan1.png": "is not named by a character",
        "一.png": "shows no ink",
        "三.png": "can't be read as an image",
        "四.png": "can't be read as an image",
        "notes.txt": "is no png, jpg, tif, bmp or heic",
    }
    assert images.codepoints() == [0x6C38, 0x4E8C]


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_glyphs_is_refused(tmp_path, make):
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    with pytest.raises(UserError, match=r"no such folder|holds no glyph image"):
        GlyphImages(str(folder))


def test_a_movement_moves_images_as_it_moves_outlines(tmp_path):
    font = GlyphRenderer(str(make_font(tmp_path / "a.ttf", {"永": (200, 80, 600, 580)})))
    drawn(1000, 1000, (200, 300, 600, 800)).save(tmp_path / "永.png")
    images = GlyphImages(str(tmp_path))
    turned = Movement(0.95, 0.06, -0.05, 1.04, 0.02, -0.01)
    for move in (None, Movement.scaling(0.9, 0.03, -0.02), Movement.scaling(1.06, -0.03, 0.03), turned):
        of_image, of_font = images.render("永", 200, move), font.render("永", 200, move)
        np.testing.assert_allclose(ink(of_image), ink(of_font), atol=1)
        assert np.abs(of_image.astype(int) - of_font).mean() < 1, move  # the grey of the edges alone differs
    np.testing.assert_allclose(images.ink_box("永"), font.ink_box("永"), atol=0.003)


def test_a_recorded_folder_is_recognised_by_its_content(tmp_path):
    folder = tmp_path / "hand"
    folder.mkdir()
    drawn().save(folder / "永.png")
    images = pickle.loads(pickle.dumps(GlyphImages(str(folder))))
    record = images.describe()
    moved = shutil.move(folder, tmp_path / "moved")
    again = open_recorded(record, str(moved))
    assert np.array_equal(again.render("永", 64), images.render("永", 64))
    drawn(box=(1, 1, 9, 9)).save(moved / "永.png")
    with pytest.raises(UserError, match="content is another"):
        open_recorded(record, str(moved))
    with pytest.raises(UserError, match="no such folder"):
        open_recorded(record)


def test_folders_and_fonts_are_labels_together(tmp_path):
    characters = "一二三四五"
    source = make_font(tmp_path / "s.ttf", boxes(characters))
    target = make_font(tmp_path / "t.ttf", boxes(characters, (100, 0, 500, 800)), family="Font")
    folders = [tmp_path / n / "hand" for n in "ab"]
    for folder, shown in zip(folders, ("三四五六A", "一"), strict=True):
        folder.mkdir(parents=True)
        for character in shown:
            drawn().save(folder / f"{character}.png")
    data = FontData.from_fonts(str(source), [str(target)], list(map(str, folders)), None, Split(0.0, 0))
    assert data.labels == ["Font", "hand", "hand (2)"]
    assert distinct(["A", "A", "A (2)", "A"]) == ["A", "A (3)", "A (2)", "A (4)"]
    pairs = {label: {c for n, c in data.train_pairs if n == label} for label in range(3)}
    assert pairs == {0: set(characters), 1: set("三四五"), 2: {"一"}}
    assert data.lacking[f"{data.source.name}"] == "A六"


@pytest.mark.slow
def test_drawn_glyphs_train_and_resume(tmp_path, capsys):
    folder = tmp_path / "hand"
    folder.mkdir()
    for number, character in enumerate("國是的我你他"):
        drawn(box=(20, 20, 40 + 5 * number, 80), ink=60, paper=220).save(folder / f"{character}.png")
    drawn(ink=255).save(folder / "不.png")
    flags = ["--src_font", "bundled:source.otf", "--dst_imgs", folder]
    assert run_train(tmp_path / "run", *flags, "--max_steps", 2) == 0
    said = capsys.readouterr().out
    assert "label 0 hand, 6 images: 5 characters to train on, 1 held out" in said
    assert "不.png is left out: it shows no ink" in said
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["data"]["targets"][0]["dropped"] == {"不.png": "blank"}
    assert run_train(tmp_path / "run", "--resume", "latest", "--max_steps", 3, "--num_workers", 1) == 0
    moved = shutil.move(folder, tmp_path / "moved")
    assert run_train(tmp_path / "run", "--resume", "latest", "--max_steps", 4, "--dst_imgs", moved) == 0
    run = ["--experiment_dir", str(tmp_path / "run"), "--gpu_ids", "-1"]
    assert infer.main([*run, "--src_txt", "木水國"]) == 0
    assert len(list((tmp_path / "run" / "infer" / "0").glob("U+*.png"))) == 3


def test_why_a_file_is_left_out_is_told_in_words_and_recorded_as_a_code(tmp_path):
    drawn(ink=255).save(tmp_path / "一.png")
    drawn().save(tmp_path / "二.png")
    images = GlyphImages(str(tmp_path))
    assert images.dropped == {"一.png": "shows no ink"}
    recorded = images.describe()["dropped"]
    assert recorded == {"一.png": "blank"}
    again = pickle.loads(pickle.dumps(GlyphImages(str(tmp_path))))
    assert again.describe()["dropped"] == recorded
    assert GlyphImages(str(tmp_path), dropped=recorded).describe()["dropped"] == recorded
