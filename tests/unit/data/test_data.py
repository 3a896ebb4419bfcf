"""From fonts to pairs: charsets, placement, coverage, split, augmentation, order."""

import pickle

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont

from tests.helpers.fonts import boxes, make_collection, make_font
from utils.data.font_pairs import FontData, Split, open_recorded
from utils.data.loader import ResumableSampler, TrainingPairs, collate, training_batches
from utils.data.pairs import split_held_out
from utils.errors import UserError
from utils.glyphs.charset import codepoint_name, is_han, parse_text, read_charset, unique
from utils.glyphs.placement import EM_SHARE, Placement, align
from utils.glyphs.render import GlyphRenderer

BUNDLED = "bundled:source.otf", ["bundled:target.ttf"]


def ink(image):
    """Left, top, right, bottom of the ink, in pixels."""
    rows, columns = np.flatnonzero((image < 128).any(1)), np.flatnonzero((image < 128).any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


# ---------------------------------------------------------------------------------------------- charsets


@pytest.mark.parametrize(
    ("name", "count", "inside", "outside"),
    [
        ("big5_1", 5401, "一籲永國", "国乂"),
        ("big5", 13053, "一籲乂龘", "国"),
        ("gb2312_1", 3755, "啊座国", "國亍"),
        ("gb2312", 6763, "啊齄国", "國"),
        ("jis_1", 2965, "亜腕国", "弌"),
        ("ksx1001", 7238, "가힝伽詰", "国"),
        ("hkscs", 4522, "啲嘅喺咗", "國的"),
        ("punctuation", 69 + 32, "，。、「」《》…—︑﹁", "Aㄅ"),
        ("bopomofo", 75, "ㄅㄩˊ˙ㆠ", "ａ"),
        ("kana", 183, "あんアヴー", "ㄅ"),
        ("latin", 188, "Az!~é", "，"),
        ("big5_1+hkscs", 5401 + 4522, "永啲", "乂"),
        ("U+6C38", 1, "永", "字"),
        ("U+3400-34FF", 256, "㐀㓿", "㔀"),
        ("u+4e00-U+4e01+U+20000-20001", 4, "一丁𠀀𠀁", "七"),
    ],
)
def test_named_charsets(name, count, inside, outside):
    characters = read_charset(name)
    assert len(characters) == len(set(characters)) == count
    assert set(inside) <= set(characters)
    assert not set(outside) & set(characters)


def test_charset_from_a_text_file(tmp_path):
    path = tmp_path / "characters.txt"
    path.write_bytes("\ufeff永 字\r\nU+6C38 U+20000\t永\u200b\ufe00\n".encode())
    assert read_charset(str(path)) == "永字𠀀"


def test_a_charset_of_the_source_and_files_with_a_plus_in_their_names(tmp_path):
    path = tmp_path / "a+b.txt"
    path.write_text("永字", "utf-8")
    assert read_charset(f"{path}+source+{path}", lambda: "A一永二。") == "永字一二"
    with pytest.raises(UserError, match="here is none"):
        read_charset("source")


@pytest.mark.parametrize(
    ("charset", "words"),
    [
        ("big5_1+big6", "'big6' is neither a charset"),
        ("U+9000-8000", "is no range of code points"),
        ("U+4E00-110000", "is no range"),
        ("U+FE00-FE0F", "holds no character"),
        ("big5_1+", "is neither"),
    ],
)
def test_what_is_no_charset_is_named(charset, words):
    with pytest.raises(UserError, match=words):
        read_charset(charset)


def test_bad_charsets_are_one_line(tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("永".encode("big5"))
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    for name, message in ((str(latin), "not UTF-8"), (str(empty), "no character"), ("big6", "neither a charset")):
        with pytest.raises(UserError, match=message) as caught:
            read_charset(name)
        assert "\n" not in str(caught.value)


def test_text_of_an_argument():
    assert parse_text("永 永U+6c38字") == "永字"
    assert parse_text("U+110000") == "U+10"
    assert codepoint_name("𠀀") == "U+20000"
    assert unique("abab") == "ab"
    assert is_han(ord("永"))
    assert not is_han(ord("あ"))


# --------------------------------------------------------------------------------------------- rendering


@pytest.mark.parametrize("extension", ["ttf", "otf"])
def test_a_box_lands_where_its_font_says(tmp_path, extension):
    """Em 1000 from -120 to 880: centred on the canvas, with a margin of 7%, at any size."""
    font = GlyphRenderer(str(make_font(tmp_path / f"a.{extension}", {"一": (100, 380, 900, 480)})))
    for size in (100, 400):
        image = font.render("一", size)
        expected = [size * (0.07 + EM_SHARE * part) for part in (0.1, 0.4, 0.9, 0.5)]
        assert image.dtype == np.uint8
        assert image.shape == (size, size)
        np.testing.assert_allclose(ink(image), expected, atol=1)
        area = (255 - image.astype(float)).sum() / 255
        assert area == pytest.approx(EM_SHARE**2 * 0.8 * 0.1 * size**2, rel=0.01)


def test_one_placement_for_all_glyphs(tmp_path):
    glyphs = {"一": (100, 400, 900, 460), "國": (0, -120, 1000, 880), "丶": (450, 600, 550, 700)}
    font = GlyphRenderer(str(make_font(tmp_path / "a.ttf", glyphs)))
    small, large, dot = (ink(font.render(character, 200)) for character in glyphs)
    assert large[2] - large[0] == large[3] - large[1] == round(200 * EM_SHARE)
    assert small[3] - small[1] < 15
    assert dot[3] < small[1]


def test_em_box_falls_back_to_hhea_and_to_the_centre(tmp_path):
    glyph = {"國": (0, -200, 1000, 800)}
    hhea = make_font(tmp_path / "h.ttf", glyph, ascent=1200, descent=-300, hhea_ascent=800, hhea_descent=-200)
    neither = make_font(tmp_path / "n.ttf", glyph, ascent=1200, descent=-300, hhea_ascent=900, hhea_descent=-300)
    for path in (hhea, neither):
        left, top, right, bottom = ink(GlyphRenderer(str(path)).render("國", 100))
        assert (left, right) == (top, bottom) == (7, 93)


def test_collection_index(tmp_path):
    fonts = [make_font(tmp_path / f"{n}.ttf", {"一": (0, 0, 100 * n, 100)}, family=f"F{n}") for n in (2, 5)]
    path = make_collection(tmp_path / "both.ttc", fonts)
    widths = [np.diff(ink(GlyphRenderer(f"{path}#{index}").render("一", 500))[::2])[0] for index in (0, 1)]
    np.testing.assert_allclose(widths, [86, 215], atol=1)
    assert GlyphRenderer(f"{path}#1").name == "F5"
    for spec, message in ((f"{path}#x", "number of a font"), (f"{path}#9", "can't be read")):
        with pytest.raises(UserError, match=message):
            GlyphRenderer(spec)


def test_fonts_of_one_collection_are_told_apart(tmp_path):
    """One file, two fonts: each is recognised, and the one is not taken for the other."""
    fonts = [make_font(tmp_path / f"{n}.ttf", {"一": (0, 0, width, 500)}) for n, width in enumerate((300, 600))]
    path = make_collection(tmp_path / "all.ttc", fonts)
    first, second = (GlyphRenderer(f"{path}#{index}") for index in (0, 1))
    assert first.sha256() != second.sha256()
    assert open_recorded(second.describe()).index == 1
    with pytest.raises(UserError, match="content is another"):
        open_recorded(second.describe(), f"{path}#0")


def test_bad_fonts_are_one_line(tmp_path):
    text = tmp_path / "text.ttf"
    text.write_text("no font")
    for spec, message in ((str(text), "can't be read"), (str(tmp_path / "none.ttf"), "no such file")):
        with pytest.raises(UserError, match=message) as caught:
            GlyphRenderer(spec)
        assert "\n" not in str(caught.value)


def test_coverage_needs_a_cmap_entry_and_an_outline(tmp_path):
    font = GlyphRenderer(str(make_font(tmp_path / "a.ttf", {"一": (0, 0, 9, 9), "二": None, "𠀀": (0, 0, 500, 500)})))
    assert [font.covers(character) for character in "一二三𠀀"] == [True, False, False, True]
    with pytest.raises(UserError, match="lacks"):
        font.render("三", 64)


def test_clipped_glyphs_are_found(tmp_path):
    font = GlyphRenderer(str(make_font(tmp_path / "a.ttf", {"一": (0, 0, 1000, 800), "二": (0, 0, 1200, 100)})))
    assert not font.is_clipped("一")
    assert font.is_clipped("二")


def test_alignment_matches_the_median_ink_box(tmp_path):
    source = GlyphRenderer(str(make_font(tmp_path / "s.ttf", dict.fromkeys("一二三", (100, 0, 900, 800)))))
    target = GlyphRenderer(str(make_font(tmp_path / "t.ttf", dict.fromkeys("一二三", (300, 100, 700, 500)))))
    before = ink(target.render("一", 256))
    target.placement = align(target, source, "一二三")
    np.testing.assert_allclose(ink(target.render("一", 256)), ink(source.render("一", 256)), atol=1)
    assert abs(before[2] - before[0]) < 100


def test_renderers_travel_to_workers():
    font = GlyphRenderer("bundled:source.otf", Placement(1000, 0.5, 0.2, 0.3))
    again = pickle.loads(pickle.dumps(font))
    assert np.array_equal(again.render("國", 64), font.render("國", 64))


# ------------------------------------------------------------------------------------------------- pairs


def test_split_is_seeded_and_independent_of_order():
    characters = "".join(map(chr, range(0x4E00, 0x5200)))
    train, held_out = split_held_out(characters, 0.1, 7)
    assert 70 <= len(held_out) <= 135
    assert set(train) | set(held_out) == set(characters)
    assert not set(train) & set(held_out)
    assert set(split_held_out(characters[::-1], 0.1, 7)[1]) == set(held_out)
    assert split_held_out(characters, 0.1, 8)[1] != held_out
    assert split_held_out(characters, 0.0, 7)[1] == []
    assert [len(part) for part in split_held_out("一二", 0.001, 0)] == [1, 1]
    assert [len(part) for part in split_held_out("一二", 0.999, 0)] == [1, 1]
    assert [len(part) for part in split_held_out("一", 0.9, 0)] == [1, 0]


def test_a_character_stays_held_out_when_others_are_added_or_left_out():
    characters = "".join(map(chr, range(0x4E00, 0x4F00)))
    held_out = set(split_held_out(characters, 0.2, 7)[1])
    assert set(split_held_out("龘" + characters, 0.2, 7)[1]) - {"龘"} == held_out
    assert set(split_held_out(characters[1:-1], 0.2, 7)[1]) == held_out & set(characters[1:-1])
    assert held_out < set(split_held_out(characters, 0.4, 7)[1])


def test_missing_characters_are_left_out_and_named(tmp_path):
    box = (100, 0, 900, 800)
    source = make_font(tmp_path / "s.ttf", boxes("一二三四五六", box) | {"七": None}, family="Source")
    first = make_font(tmp_path / "a.ttf", boxes("一二三四七八", box), family="First")
    second = make_font(tmp_path / "b.otf", dict.fromkeys("三四五", box), family="Second")
    charset = tmp_path / "c.txt"
    charset.write_text("一二三四五六七八九", encoding="utf-8")
    data = FontData.from_fonts(str(source), [str(first), str(second)], [], str(charset), Split(0.2, 0))
    assert set(data.train + data.held_out) == set("一二三四五")
    assert data.lacking == {"Source": "七八九", "First": "五六九", "Second": "一二六七八九"}
    assert any("Source lacks 3 characters, left out: 七八九" in line for line in data.summary())
    pairs = data.train_pairs + data.held_out_pairs
    assert {label: {c for n, c in pairs if n == label} for label in (0, 1)} == {0: set("一二三四"), 1: set("三四五")}


def test_without_a_charset_all_shared_han_are_used(tmp_path):
    box = (100, 0, 900, 800)
    source = make_font(tmp_path / "s.ttf", dict.fromkeys("一二三Aあ", box))
    target = make_font(tmp_path / "t.ttf", dict.fromkeys("三二四Aあ", box))
    data = FontData.from_fonts(str(source), [str(target)], [], None, Split(0.0, 0))
    assert set(data.train) == set("二三")


def test_fonts_without_a_shared_character_are_refused(tmp_path):
    source, target = (make_font(tmp_path / f"{c}.ttf", {c: (0, 0, 9, 9)}) for c in "一二")
    with pytest.raises(UserError, match="no character"):
        FontData.from_fonts(str(source), [str(target)], [], None, Split(0.1, 0))


def test_a_variable_font_says_at_which_weight_it_is_drawn(tmp_path):
    path = make_font(tmp_path / "s.ttf", {"一": (100, 0, 900, 800)}, family="Source")
    builder = FontBuilder(font=TTFont(path))
    names = {"en": "Thin", "ja": "細"}
    builder.setupFvar([("wght", 100, 100, 900, "Weight")], [{"location": {"wght": 100}, "stylename": names}])
    builder.setupGvar({})
    builder.save(path)
    data = FontData.from_fonts(str(path), [str(path)], [], None, Split(0.0, 0))
    assert all("wght 100, as it is: choose with :wght=VALUE (wght 100 to 900)" in each for each in data.summary()[:2])


def test_a_variable_font_with_a_damaged_table_can_be_drawn_all_the_same(tmp_path, monkeypatch):
    font = GlyphRenderer(str(make_font(tmp_path / "s.ttf", {"一": (100, 0, 900, 800)})))
    monkeypatch.setattr(type(font.face), "has_multiple_masters", True)  # but there is no fvar
    assert font.title == "Boxes, from s.ttf, a variable font"


def test_what_is_recorded_renders_the_same_at_inference():
    data = FontData.from_fonts(*BUNDLED, [], None, Split(0.1, 777))
    again = FontData.from_config(data.describe())
    assert (again.train, again.held_out) == (data.train, data.held_out)
    pairs = TrainingPairs(data, 128)
    for index in (0, 100, 500):
        label, source, target = pairs[0, index]
        character = pairs.pairs[index][1]
        assert np.array_equal(source, open_recorded(data.describe()["src_font"]).render(character, 128))
        assert np.array_equal(target, again.targets[label].render(character, 128))


def test_another_font_under_the_same_name_is_refused(tmp_path):
    path = make_font(tmp_path / "a.ttf", {"一": (0, 0, 500, 500)})
    record = GlyphRenderer(str(path)).describe()
    make_font(path, {"一": (0, 0, 600, 600)})
    with pytest.raises(UserError, match="content is another"):
        open_recorded(record)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        open_recorded(record)


def bundled_pairs(**changes):
    return TrainingPairs(FontData.from_fonts(*BUNDLED, [], None, Split(0.1, 777)), 64, **changes)


def test_augmentation_moves_both_glyphs_alike_and_never_flips(tmp_path):
    corner = dict.fromkeys("一二", (0, 500, 300, 800))
    fonts = [GlyphRenderer(str(make_font(tmp_path / f"{n}.ttf", corner))) for n in "st"]
    pairs = TrainingPairs(FontData(fonts[0], fonts[1:], "", "一", "", {}), 128, augment=True, seed=3)
    plain = ink(fonts[0].render("一", 128))
    boxes = []
    for epoch in range(40):
        _, source, target = pairs[epoch, 0]
        assert np.array_equal(source, target)
        boxes.append(ink(source))
    boxes = np.array(boxes)
    assert (boxes[:, 2] < 64).all()
    assert (boxes[:, 3] < 64).all()
    assert np.abs(boxes - plain).max() <= 0.1 * 128
    assert len(np.unique(boxes, axis=0)) > 20


def test_a_warp_stretches_shears_and_turns_both_glyphs_alike(tmp_path):
    cross = dict.fromkeys("一", (350, 100, 650, 700))
    fonts = [GlyphRenderer(str(make_font(tmp_path / f"{n}.ttf", cross))) for n in "st"]
    data = FontData(fonts[0], fonts[1:], "", "一", "", {})
    shapes = []
    for warp in (0.0, 0.5, 1.0):
        pairs = TrainingPairs(data, 128, augment=True, seed=3, warp=warp)
        drawn = [pairs[epoch, 0][1:] for epoch in range(40)]
        assert all(np.array_equal(source, target) for source, target in drawn)
        boxes = np.array([ink(source) for source, _ in drawn])
        shapes.append((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1]))
    spread = np.std(shapes, axis=1)
    assert spread[0] < 0.01  # whole pixels of the box
    assert 2 * spread[0] < spread[1] < 0.7 * spread[2]
    assert np.abs(np.mean(shapes, axis=1) - 0.5).max() < 0.1


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    first, again = (bundled_pairs(augment=True, warp=1.0) for _ in range(2))
    other = bundled_pairs(augment=True, warp=1.0, seed=1)
    assert np.array_equal(first[2, 5][1], again[2, 5][1])
    assert not np.array_equal(first[2, 5][1], first[3, 5][1])
    assert not np.array_equal(first[2, 5][1], other[2, 5][1])
    plain = bundled_pairs(augment=False)
    assert np.array_equal(plain[0, 5][1], plain[1, 5][1])


def test_sampler_goes_on_where_it_stopped():
    def batches(start, count):
        sampler = iter(ResumableSampler(10, 4, seed=1, start=start))
        return [next(sampler) for _ in range(count)]

    whole = batches(0, 10)
    assert batches(12, 7) == whole[3:]
    keys = [key for batch in whole for key in batch]
    for epoch in range(4):
        assert sorted(index for e, index in keys if e == epoch) == list(range(10))
    assert [i for e, i in keys if e == 0] != [i for e, i in keys if e == 1]


def test_fewer_pairs_than_a_batch_still_make_full_batches():
    assert next(iter(ResumableSampler(1, 3, seed=0))) == [(0, 0), (1, 0), (2, 0)]


def test_workers_change_nothing():
    pairs = bundled_pairs(augment=True)
    found = []
    for workers in (0, 2):
        sampler = ResumableSampler(len(pairs), 3, seed=0)
        with training_batches(pairs, sampler, workers, pin_memory=False) as batches:
            found.append([next(batches) for _ in range(5)])
    for one, two in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_batches_are_stacked():
    label, source, target = collate([bundled_pairs()[0, index] for index in (0, 1)])
    assert label.dtype == torch.int64
    assert source.shape == target.shape == (2, 64, 64)
    assert source.dtype == target.dtype == torch.uint8
