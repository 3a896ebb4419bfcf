"""Pages to write on: printed, photographed askew in bad light, and cut again."""

import random

import numpy as np
import pytest
from PIL import Image

from tests.helpers.fonts import boxes, make_font
from utils import template
from utils.errors import UserError
from utils.glyphs import writing_page
from utils.glyphs.charset import read_charset
from utils.glyphs.components import choose
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.placement import Movement
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.writing_page import DOTS, PageForm, draw_page, page_forms, read_page

cv2 = pytest.importorskip("cv2")
HAND, LABELS = GlyphRenderer("bundled:target.ttf"), GlyphRenderer("bundled:source.otf")
WRITTEN = "的一是不了人我在有他這為之大來以個中上們到說國和地也子時"


def written(form: PageForm, characters: str) -> np.ndarray:
    """A printed page on which some characters are written, in dark grey ink."""
    page = np.asarray(draw_page(form, LABELS, 1).convert("L")).copy()
    side = round(form.side * DOTS)
    for character, x, y in form.cells:
        if character in characters:
            left, top = round(x * DOTS), round(y * DOTS)
            glyph = HAND.render(character, side)
            page[top : top + side, left : left + side] = 255 - (255 - glyph.astype(float)) * 0.8
    return page


def photographed(page: np.ndarray, turned: int = 0, seed: int = 1) -> np.ndarray:
    """A photo of a page: smaller, in perspective, with a shadow, noise, and a table around."""
    dice = np.random.default_rng(seed)
    high, wide = page.shape
    scale = 0.75
    corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
    there = corners * scale + 150 + dice.uniform(-90, 90, (4, 2)).astype(np.float32)
    size = round(wide * scale) + 300, round(high * scale) + 300
    photo = cv2.warpPerspective(page, cv2.getPerspectiveTransform(corners, there), size, borderValue=120)
    photo = cv2.GaussianBlur(photo, (0, 0), 0.8).astype(float)
    rows, columns = np.mgrid[: size[1], : size[0]]
    light = 0.62 + 0.3 * columns / size[0] - 0.15 * (rows > 0.6 * size[1]) * rows / size[1]
    photo = photo * light + dice.normal(0, 4, photo.shape)
    return np.rot90(np.clip(photo, 0, 255).astype(np.uint8), turned)


def iou(one: np.ndarray, two: np.ndarray) -> float:
    a, b = one < 128, two < 128
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("turned", [0, 1, 2])
def test_what_is_written_is_cut_out_of_a_photo(turned):
    (form,) = page_forms(WRITTEN, 22.0)
    blank = WRITTEN[3:6]
    photo = photographed(written(form, "".join(c for c in WRITTEN if c not in blank)), turned, seed=turned)
    found, glyphs = read_page(photo)
    assert found == form
    glyphs = dict(glyphs)
    assert set(glyphs) == set(WRITTEN) - set(blank)
    scores = []
    for character, cell in glyphs.items():
        expected = HAND.render(character, len(cell))
        scores.append(iou(cell, expected))
        assert np.median(cell[expected == 255]) > 245  # white paper, whatever the light was
    assert min(scores) > 0.75
    assert np.mean(scores) > 0.88


def test_pages_are_printed_and_photos_cut_by_the_command(tmp_path, capsys):
    text = tmp_path / "mine.txt"
    text.write_text(WRITTEN * 2 + "龘", "utf-8")  # which the small font lacks
    pdf = tmp_path / "template.pdf"
    assert template.main(["--charset", str(text), "--out", str(pdf), "--cell", "40"]) == 0
    assert "29 cells, pages: 2, to be printed" in capsys.readouterr().out
    assert pdf.read_bytes().startswith(b"%PDF")
    forms = page_forms(WRITTEN + "龘", 40.0)
    files = []
    for number, form in enumerate(forms):
        files.append(tmp_path / f"page{number}.jpg")
        Image.fromarray(photographed(written(form, WRITTEN), number, number)).save(files[-1], quality=90)
    Image.new("L", (800, 1000), 200).save(tmp_path / "no.png")
    (tmp_path / "torn.jpg").write_bytes(files[0].read_bytes()[:5000])
    out = tmp_path / "hand"
    photos = [files[0], tmp_path / "no.png", tmp_path / "torn.jpg", files[1], tmp_path / "gone.jpg"]
    given = ["--scan", *map(str, photos)]
    assert template.main([*given, "--out_dir", str(out)]) == 1
    said = capsys.readouterr()
    assert "no.png shows 0 of the four corner marks" in said.err
    assert "torn.jpg can't be read as an image" in said.err
    assert "gone.jpg can't be read: No such file" in said.err
    assert "28 glyphs are new in" in said.out
    assert "1 left blank: 龘" in said.out
    hand = GlyphImages(str(out))
    assert set(map(chr, hand.codepoints())) == set(WRITTEN)
    in_cell = Movement.scaling(HAND.placement.em)  # the cell is the em box, in which the glyph was with its margin
    scores = [iou(hand.render(c, 128), HAND.render(c, 128, in_cell)) for c in WRITTEN]
    assert np.mean(scores) > 0.85
    before = (out / "U+7684.png").read_bytes()
    (out / "U+7684.png").write_bytes(b"mine")
    assert template.main(["--scan", str(files[0]), "--out_dir", str(out)]) == 0
    assert "are there already (--overwrite writes them anew)" in capsys.readouterr().out
    assert (out / "U+7684.png").read_bytes() == b"mine"
    assert template.main(["--scan", str(files[0]), "--out_dir", str(out), "--overwrite"]) == 0
    assert (out / "U+7684.png").read_bytes() == before


def test_a_page_of_something_else_is_named():
    form = PageForm(22.0, "一二三")
    assert PageForm.from_code(form.code()) == form
    for text in (
        "",
        "http://example.com/a/b",
        "ZI2ZI2/22/1/4E00",
        "ZI2ZI1/22/1/110000",
        "ZI2ZI1/5/1/4E00",
        "ZI2ZI1/x/1/4E",
    ):
        with pytest.raises(UserError):
            PageForm.from_code(text)
    with pytest.raises(UserError, match="code of something else"):
        PageForm.from_code(PageForm(22.0, "一" * 500).code())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--charset", "big5_1", "--scan", "a.jpg"], "tell their characters: leave --charset out"),
        (["--count", "5", "--scan", "a.jpg"], "tell their characters: leave --count out"),
        (["--redraw", "review.json", "--count", "5"], "--redraw tells the characters: leave --count out"),
        (["--redraw", "nowhere.json"], "nowhere.json: no such file: the review page saves it"),
        (["--charset", "big5_1", "--cell", "5"], "--cell 5 is not from 12 to 60 millimetres"),
        (["--charset", "nope"], "neither a charset"),
        (["--charset", "big5_1", "--out", "a.png"], "does not end in .pdf"),
    ],
)
def test_mistakes_are_one_line(flags, words, capsys):
    assert template.main(flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(writing_page, "find_spec", lambda _: None)
    font = make_font(tmp_path / "a.ttf", boxes("一"))
    assert template.main(["--charset", "source", "--src_font", str(font), "--out", str(tmp_path / "a.pdf")]) == 2
    assert "python -m pip install -r utils/requirements/scan.txt" in capsys.readouterr().err


def test_every_page_can_be_read():
    """Whatever characters its code holds, also as it comes out of the printer."""
    dice = random.Random(1)
    known = read_charset("big5_1")
    for number in range(6):
        form = PageForm(22.0, "".join(dice.sample(known, 49)), number + 1)
        page = np.asarray(draw_page(form, LABELS, 6).convert("L"))
        assert read_page(page)[0] == form


def test_what_reaches_the_edge_of_its_cell_is_said(tmp_path, capsys):
    (form,) = page_forms(WRITTEN[:3], 22.0)
    page = written(form, WRITTEN[:3])
    _, x, y = form.cells[1]
    left, top, side = (round(length * DOTS) for length in (x, y, form.side))
    page[top + side // 2 : top + side // 2 + 30, left - 9 : left + side + 9] = 0
    Image.fromarray(page).save(tmp_path / "page.png")
    assert template.main(["--scan", str(tmp_path / "page.png"), "--out_dir", str(tmp_path / "hand")]) == 0
    assert f"1 reach the edge of their cell: {WRITTEN[1]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "charset", "count"),
    [
        ([], "big5_1", template.COUNT),
        (["--count", "30"], "big5_1", 30),
        (["--charset", "jis_1", "--count", "9"], "jis_1", 9),
    ],
)
def test_a_template_has_the_characters_to_draw_first(flags, charset, count, tmp_path, monkeypatch):
    forms = []
    monkeypatch.setattr(template, "draw_page", lambda form, *_: forms.append(form) or Image.new("L", (40, 60)))
    assert template.main([*flags, "--out", str(tmp_path / "page.pdf")]) == 0
    characters = "".join(cell[0] for form in forms for cell in form.cells)
    among = "".join(filter(LABELS.covers, read_charset(charset)))  # so that each cell shows its character
    assert sorted(characters) == sorted(choose(read_charset(charset), count, among=among))
    assert list(characters) == sorted(characters, key=read_charset(charset).index)
