"""From drawings to a font: a new one, and one that is completed."""

import itertools
import json
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._g_l_y_f import Glyph
from PIL import Image, ImageFont

from tests import roundtrip
from tests.helpers.exports import SOURCE, TARGET, boxed, export, pictures, refused, sanitize, shaped, some, without
from tests.helpers.fonts import make_collection, make_font
from utils.cli import flags_in
from utils.data.font_pairs import FontData, Split
from utils.drawing.flags import DrawOptions
from utils.experiment import manifest
from utils.fonts import trace_cache
from utils.fonts.complete import complete_font, open_base
from utils.fonts.fit import Lattice
from utils.fonts.flags import EXPORT, ExportOptions
from utils.fonts.layout import Layout
from utils.fonts.spacing import SourceSpacing
from utils.glyphs.placement import Placement
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image

# Tables that tell of all glyphs together, or of what is in the others.
COUNTING = {
    "glyf",
    "loca",
    "CFF ",
    "cmap",
    "hmtx",
    "vmtx",
    "hhea",
    "vhea",
    "head",
    "maxp",
    "post",
    "OS/2",
    "GlyphOrder",
}


# -------------------------------------------------------------------------------------- a new font


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SOURCE, TARGET])
def test_truth_in_truth_out(spec, tmp_path):
    """A font rendered, traced and built again is the same font, within a small error, with few points."""
    characters = some(spec, 30)
    found = roundtrip.compare(spec, roundtrip.rebuild(spec, characters, 256, tmp_path), characters, 256)
    assert found["l1"] < 0.0035
    assert found["ink_iou"] > 0.985
    assert found["times_the_points"] < 2
    assert found["box_off"] <= 3
    assert found["advance_off"] <= 3


@pytest.mark.parametrize("kind", ["otf", "ttf"])
def test_a_new_font_is_read_by_every_program(kind, tmp_path, capsys):
    characters = some(TARGET, 12)
    out = tmp_path / f"New.{kind}"
    names = ["--font_name", "My 字", "--font_style", "Bold", "--font_version", "2.5", "--font_license", "OFL"]
    assert export(out, pictures(tmp_path / "in", TARGET, characters), *names) == 0
    assert f"{out}: 12 drawn glyphs" in capsys.readouterr().out
    sanitize(out)
    with TTFont(out) as font:
        assert sorted(font.getBestCmap()) == sorted(map(ord, characters + " \u00a0\u3000"))
        assert {str(record) for record in font["name"].names if record.nameID == 1} == {"My 字", "My u5B57"}
        assert font["name"].getDebugName(2) == "Bold"
        assert font["name"].getDebugName(6).isascii()
        assert font["name"].getDebugName(13) == "OFL"
        assert font["head"].fontRevision == pytest.approx(2.5)
        with TTFont(GlyphRenderer(TARGET).path) as true:
            assert font["head"].unitsPerEm == true["head"].unitsPerEm
            assert (font["hhea"].ascent, font["hhea"].descent) == (true["hhea"].ascent, true["hhea"].descent)
        assert ("glyf" in font, "CFF " in font) == (kind == "ttf", kind == "otf")
        assert ("prep" in font, "gasp" in font) == (kind == "ttf", kind == "ttf")
    units = TTFont(out)["head"].unitsPerEm
    assert shaped(out, characters[:4]) == [(4 + i, units) for i in range(4)]
    assert ImageFont.truetype(str(out), 64).getbbox(characters[0]) is not None
    assert not list(tmp_path.glob(".*"))


def test_infer_passes_its_flags_on_to_the_export():
    assert {field.name for field in fields(ExportOptions)} - {"missing"} == set(flags_in(EXPORT))
    shared = {"experiment_dir": "e", "infer_dir": "i", "src_font": "s", "base": "b", "exclude_suspects": 3}
    shared |= {"font_out": "o", "font_name": "n", "font_name_en": "N", "missing": "m"}
    assert DrawOptions(label=[2], **shared).of_font() == ExportOptions(label=2, **shared)
    assert DrawOptions().of_font() == ExportOptions()


def test_characters_beyond_the_first_plane(tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(
        pictures(tmp_path / "one", TARGET, some(TARGET, 1)).glob("*.png").__next__(), tmp_path / "in/U+2A6D6.png"
    )
    out = tmp_path / "New.ttf"
    assert export(out, tmp_path / "in") == 0
    assert TTFont(out).getBestCmap()[0x2A6D6] == "u2A6D6"
    sanitize(out)
    assert shaped(out, "\U0002a6d6")[0][0] != 0


def test_proportional_characters_have_the_advances_of_the_source_font(tmp_path):
    """A narrow letter in a source font: its advance and its side bearing come back."""
    source = make_font(tmp_path / "source.ttf", {"i": (40, 0, 210, 700), "國": (50, -50, 950, 850)})
    with TTFont(source) as font:
        font["hmtx"]["u69"] = (250, 40)
        font.save(source)
    out = tmp_path / "New.otf"
    assert export(out, pictures(tmp_path / "in", str(source), "i國"), spec=str(source)) == 0
    with TTFont(out) as font:
        cmap = font.getBestCmap()
        assert font["hmtx"][cmap[ord("i")]][0] == 250
        assert font["hmtx"][cmap[ord("國")]][0] == 1000
    boxes = [GlyphRenderer(str(path), Placement(1000, 1, 0, 0)).ink_box("i") for path in (source, out)]
    assert boxes[1] == pytest.approx(boxes[0], abs=0.003)


# ------------------------------------------------------------------------------- a font that is completed


@pytest.mark.parametrize("spec", [SOURCE, TARGET])
def test_completing_a_font_leaves_what_is_there(spec, tmp_path, capsys):
    characters = some(spec, 20)
    added, kept = characters[:8], characters[8:]
    base = without(spec, added, tmp_path / f"base{Path(spec).suffix}")
    before = base.read_bytes()
    out = tmp_path / f"full{Path(spec).suffix}"
    assert export(out, pictures(tmp_path / "in", spec, characters), "--base", base, spec=spec) == 0
    assert "8 glyphs added" in capsys.readouterr().out
    assert base.read_bytes() == before
    sanitize(out)
    with TTFont(base, lazy=True) as old, TTFont(out, lazy=True) as new:
        order = old.getGlyphOrder()
        assert new.getGlyphOrder()[: len(order)] == order
        assert len(new.getGlyphOrder()) == len(order) + 8
        for tag in set(old.keys()) - COUNTING:
            assert old.reader[tag] == new.reader[tag], tag
        if "glyf" in old:
            for name in order:
                assert old["glyf"].glyphs[name].compile(old["glyf"]) == new["glyf"].glyphs[name].compile(new["glyf"])
        else:
            strings = [font["CFF "].cff.topDictIndex[0].CharStrings.charStringsIndex for font in (old, new)]
            for number in range(len(order)):
                assert strings[0][number].bytecode == strings[1][number].bytecode
        for character in kept:
            assert new.getBestCmap()[ord(character)] == old.getBestCmap()[ord(character)]
    original, made = GlyphRenderer(spec), GlyphRenderer(str(out))
    for character in characters:
        assert made.ink_box(character) == pytest.approx(original.ink_box(character), abs=0.004)
    advances = [advance for _, advance in shaped(out, characters)]
    assert set(advances) == {TTFont(out)["hmtx"][TTFont(base).getBestCmap()[ord(kept[0])]][0]}


def test_a_placed_glyph_sits_where_a_drawn_one_would(tmp_path):
    """The target is placed with a scale and a shift of its own in training: the export undoes them."""
    source = make_font(tmp_path / "source.ttf", dict.fromkeys("國永字", (100, 0, 900, 800)))
    target = make_font(tmp_path / "target.ttf", dict.fromkeys("國永", (250, 150, 650, 550)), upem=1000)
    data = FontData.from_fonts(str(source), [str(target)], [], None, Split(0.0, 1))
    placement = data.targets[0].placement
    assert placement.em > 1.2 * data.source.placement.em
    drawn = np.full((256, 256), 255, np.uint8)
    box = [round(v * 256) for v in data.source.ink_box("字")]
    drawn[256 - box[3] : 256 - box[1], box[0] : box[2]] = 0
    (tmp_path / "in").mkdir()
    save_image(drawn, tmp_path / "in" / "字.png")
    frame = Layout(placement, 1000, SourceSpacing(data.source, placement, 1000), data.source)
    (traced,) = trace_cache.trace_files([("字", tmp_path / "in" / "字.png")], 0.2, frame.lattice)
    glyph = frame.glyph("字", traced["contours"])
    assert glyph.bounds() == pytest.approx((250, 150, 650, 550), abs=3)


def raw_glyphs(path: Path) -> list[bytes]:
    """The bytes of each glyph in a TrueType font."""
    with TTFont(path) as font:
        places, data = font["loca"].locations, font.reader["glyf"]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def test_glyphs_of_the_base_are_not_written_anew(tmp_path):
    """Also those that the drawings are compared with, and whose bytes fontTools would put otherwise."""
    base = make_font(tmp_path / "base.ttf", dict.fromkeys("國永", (50, -50, 950, 850)))
    with TTFont(base, recalcBBoxes=False) as font:
        for name in font.getGlyphOrder()[1:]:
            glyph = font["glyf"][name]
            raw = glyph.compile(font["glyf"]) + b"\0\0\0\0"  # padding that is not needed
            font["glyf"].glyphs[name] = Glyph(raw)
        font.save(base)
    names = TTFont(base).getGlyphOrder()
    before = raw_glyphs(base)
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 1))
    for name in ("國", "永"):
        shutil.copy(next(drawings.glob("U*.png")), drawings / f"{name}.png")
    assert export(tmp_path / "full.ttf", drawings, "--base", base) == 0
    assert raw_glyphs(tmp_path / "full.ttf")[: len(names)] == before


def test_tables_with_a_value_for_each_glyph_are_extended(tmp_path):
    base = make_font(tmp_path / "base.ttf", {"國": (50, -50, 950, 850)})
    with TTFont(base) as font:
        font["LTSH"], font["hdmx"] = newTable("LTSH"), newTable("hdmx")
        font["LTSH"].version, font["LTSH"].yPels = 0, dict.fromkeys(font.getGlyphOrder(), 20)
        font["hdmx"].version, font["hdmx"].recordSize = 0, 0
        font["hdmx"].hdmx = {12: dict.fromkeys(font.getGlyphOrder(), 11), 13: dict.fromkeys(font.getGlyphOrder(), 14)}
        font.save(base)
    complete_font(open_base(str(base)), tmp_path / "full.ttf", [boxed("永")])
    with TTFont(tmp_path / "full.ttf") as full:
        assert full["LTSH"].yPels == {".notdef": 20, "u570B": 20, "uni6C38": 1}
        assert dict(full["hdmx"].hdmx[12]) == {".notdef": 11, "u570B": 11, "uni6C38": 12}
        assert dict(full["hdmx"].hdmx[13])["uni6C38"] == 13
    sanitize(tmp_path / "full.ttf")


@pytest.mark.slow
def test_more_runs_of_code_points_than_a_short_cmap_holds(tmp_path):
    """No two characters are neighbours: there are as many runs as there are characters."""
    codepoints = range(0x4E00, 0x4E00 + 20_000)
    base = make_font(tmp_path / "base.ttf", {chr(c): (50, -50, 950, 850) for c in codepoints[::4]})
    count = complete_font(open_base(str(base)), tmp_path / "full.ttf", (boxed(chr(c)) for c in codepoints[2::4]))
    assert count == 5_000
    with TTFont(tmp_path / "full.ttf", lazy=True) as full:
        assert len(full.getBestCmap()) == 10_000
        assert {table.format for table in full["cmap"].tables} == {4, 12}


def test_a_cid_keyed_font_whose_numbers_are_used_up(tmp_path):
    """Subsets keep the numbers of their glyphs: what is above them is soon full."""
    base = open_base(str(GlyphRenderer(SOURCE).path))
    highest = max(int(name[3:]) for name in base.getGlyphOrder()[1:])
    room = 65_535 - highest
    added = [chr(0x20000 + n) for n in range(room + 50)]
    complete_font(base, tmp_path / "full.otf", map(boxed, added))
    sanitize(tmp_path / "full.otf")
    with TTFont(tmp_path / "full.otf") as full:
        assert set(map(ord, added)) <= full.getBestCmap().keys()
        assert full["CFF "].cff.topDictIndex[0].CIDCount == 65_535
    assert GlyphRenderer(str(tmp_path / "full.otf"), Placement(1000, 1, 0, 0)).ink_box(added[-1]) == (0.1, 0, 0.9, 0.8)


def test_a_base_that_is_packed_for_the_web_is_unpacked(tmp_path):
    base = make_font(tmp_path / "base.ttf", {"國": (50, -50, 950, 850)})
    with TTFont(base) as font:
        font.flavor = "woff"
        font.save(tmp_path / "base.woff")
    complete_font(open_base(str(tmp_path / "base.woff")), tmp_path / "full.ttf", [boxed("永")])
    assert (tmp_path / "full.ttf").read_bytes()[:4] == b"\0\1\0\0"


def test_a_new_name_for_a_completed_font(tmp_path):
    base = make_font(tmp_path / "base.ttf", {"國": (50, -50, 950, 850)})
    with TTFont(base) as font:
        font["name"].setName("Bold", 2, 3, 1, 0x409)
        font.save(base)
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 1))
    flags = ["--base", base, "--font_name", "New", "--font_license", "L" * 300]
    assert export(tmp_path / "full.ttf", drawings, *flags) == 0
    with TTFont(tmp_path / "full.ttf") as full:
        names = {number: full["name"].getDebugName(number) for number in (1, 2, 4, 6, 13)}
        assert names == {1: "New", 2: "Bold", 4: "New Bold", 6: "New-Bold", 13: "L" * 300}


def test_an_empty_glyph_of_the_base_is_filled(tmp_path):
    base = make_font(tmp_path / "base.ttf", {"國": (50, -50, 950, 850), "永": None})
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 1))
    shutil.move(next(drawings.glob("*.png")), drawings / "永.png")
    out = tmp_path / "full.ttf"
    assert export(out, drawings, "--base", base) == 0
    assert GlyphRenderer(str(out)).covers("永")


# -------------------------------------------------------------------------------------- what is refused


def test_bad_input_is_one_line(tmp_path, capsys):
    good = pictures(tmp_path / "in", TARGET, some(TARGET, 2))
    out = tmp_path / "New.ttf"
    unnamed = tmp_path / "unnamed"
    unnamed.mkdir()
    Image.new("L", (64, 64), 0).save(unnamed / "scan one.png")
    refused("none is named by a character, as 永.png is", capsys, out, unnamed)
    refused("no such folder", capsys, out, tmp_path / "nowhere")
    refused("ends neither in .otf nor in .ttf", capsys, tmp_path / "New.woff", good)
    refused("has all 2 characters already", capsys, out, good, "--base", GlyphRenderer(TARGET).path)
    base = without(TARGET, some(TARGET, 2), tmp_path / "base.ttf")
    refused("is a font that this one is made from", capsys, base, good, "--base", base)
    refused("let --font_out end in .ttf", capsys, tmp_path / "New.otf", good, "--base", base)
    refused("the licence reserves the name", capsys, out, good, "--reserved_font_name", "new")
    refused("the licence reserves the name", capsys, out, good, "--base", base, "--reserved_font_name", "Sample")
    for flags, words in {
        ("--font_version", "20240105"): "font_version '20240105' is not a number",
        ("--font_name", "\udcff"): "font_name is not UTF-8",
        ("--font_license", "x" * 40_000): "font_license is empty or longer",
        ("--base", base, "--font_style", "Bold"): "renames the base: give --font_name too",
    }.items():
        refused(words, capsys, out, good, *flags)
    latin = tmp_path / "licence.txt"
    latin.write_bytes("Lizenz für".encode("latin-1"))
    refused("is not UTF-8", capsys, out, good, "--font_license", latin)
    copy = shutil.copy(GlyphRenderer(TARGET).path, tmp_path / "source.ttf")
    refused("is a font that this one is made from", capsys, copy, good, spec=str(copy))
    (good / "manifest.json").write_text('{"characters": [{"label": 0, "codepoint": "U+FFFFFFFF", "file": "a.png"}]}')
    refused("manifest.json can't be read", capsys, out, good)
    (good / "manifest.json").unlink()
    refused("suspects.json: no such file", capsys, out, good, "--exclude_suspects", 1)
    assert not out.exists()


def test_a_blank_drawing_is_left_out_and_said(tmp_path, capsys):
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 2))
    Image.new("L", (64, 64), 255).save(drawings / "龘.png")
    assert export(tmp_path / "New.ttf", drawings) == 1
    error = capsys.readouterr().err
    assert "龘 (U+9F98): the drawing has no outline: it is blank; left out" in error
    assert len(TTFont(tmp_path / "New.ttf").getBestCmap()) == 5
    shutil.rmtree(drawings)
    drawings.mkdir()
    Image.new("L", (64, 64), 255).save(drawings / "龘.png")
    assert export(tmp_path / "Other.ttf", drawings) == 2
    assert "none of the 1 drawings has an outline" in capsys.readouterr().err


def test_bitmap_fonts_are_refused(tmp_path, capsys):
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 1))
    base = make_font(tmp_path / "base.ttf", {"國": (50, -50, 950, 850)})
    with TTFont(base) as font:
        for tag in ("glyf", "loca"):
            del font[tag]
        font.save(tmp_path / "other.ttf")
    refused("bitmaps only", capsys, tmp_path / "New.ttf", drawings, "--base", tmp_path / "other.ttf")
    (tmp_path / "torn.ttf").write_bytes(base.read_bytes()[:300])
    refused("can't be read", capsys, tmp_path / "New.ttf", drawings, "--base", tmp_path / "torn.ttf")


def test_a_font_of_a_collection_can_be_completed(tmp_path):
    boxes = {"one": "國", "two": "永"}
    fonts = [make_font(tmp_path / f"{name}.ttf", {c: (50, -50, 950, 850)}, name) for name, c in boxes.items()]
    collection = make_collection(tmp_path / "both.ttc", fonts)
    drawings = pictures(tmp_path / "in", str(fonts[0]), "國")
    out = tmp_path / "full.ttf"
    assert export(out, drawings, "--base", f"{collection}#1", spec=str(fonts[0])) == 0
    assert sorted(map(chr, TTFont(out).getBestCmap())) == ["國", "永"]


# -------------------------------------------------------------------------------- stopped and gone on with


def test_what_was_traced_is_not_traced_again(tmp_path, monkeypatch):
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 6))
    images = manifest.find_drawings(drawings, 0)
    path = tmp_path / ".New.ttf.traces"
    lattice = Lattice(0.001)
    first = trace_cache.Traces(path, dict(list(images.items())[:4]), 0.2, lattice)
    first.trace(1)
    with path.open("ab") as file:
        file.write(b'{"character": "U+4E')  # a kill within a line
    changed = list(images.values())[1]
    save_image(GlyphRenderer(TARGET).render(some(TARGET, 1), 96), changed)
    traced = []
    real = trace_cache.trace_files
    monkeypatch.setattr(trace_cache, "trace_files", lambda jobs, **how: traced.extend(jobs) or real(jobs, **how))
    again = trace_cache.Traces(path, images, 0.2, lattice)
    again.trace(1)
    assert len(traced) == 3
    assert [character for character, _ in again] == sorted(images)
    whole = trace_cache.Traces(tmp_path / "whole", images, 0.2, lattice)
    whole.trace(1)
    assert list(whole) == list(again)


@pytest.mark.slow
def test_several_processes_trace_alike(tmp_path):
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 20), 64)
    images = manifest.find_drawings(drawings, 0)
    found = []
    for workers in (1, 2):
        one = trace_cache.Traces(tmp_path / f"{workers}", images, 0.2, Lattice(0.001))
        one.trace(workers)
        found.append(list(one))
    assert found[0] == found[1]
    assert len(found[0]) == 20


def test_the_manifest_tells_which_drawing_is_which(tmp_path):
    drawings = pictures(tmp_path / "in", TARGET, some(TARGET, 1))
    name = next(drawings.glob("*.png")).name
    entries = [
        {"character": "永", "codepoint": "U+6C38", "label": 0, "file": name},
        {"character": "字", "codepoint": "U+5B57", "label": 1, "file": name},
        {"character": "一", "codepoint": "U+4E00", "label": 0, "error": "lacks"},
    ]
    (drawings / "manifest.json").write_text(json.dumps({"characters": entries}))
    assert list(manifest.find_drawings(drawings, 0)) == ["永"]
