"""Nothing is let in: files from strangers end in a normal result or in one line, run no code and write nowhere else."""

import os
import pickle
import shutil
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.DefaultTable import DefaultTable
from PIL import Image

from tests.campaign.cases import judge
from tests.campaign.mutation import make_composite, picture
from tests.helpers.faults import run_child
from tests.helpers.fonts import make_font
from tests.helpers.hostile import boxes, refused
from tests.helpers.scripts import TINY_FLAGS, run_infer, run_train
from utils.data.obj_file import read_obj, write_obj
from utils.errors import UserError
from utils.experiment.config import Paths, read_config
from utils.files import write_json
from utils.glyphs.render import GlyphRenderer
from utils.images import read_image

MEGABYTE = 10**6


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


# ---------------------------------------------------------------------------------------------- code in files


@pytest.mark.parametrize("part", ["net_G_EMA", "net_D", "state"])
def test_a_checkpoint_with_code_is_refused_where_nothing_else_is_wrong(trained, tmp_path, capsys, part):
    folder, ran = shutil.copytree(trained, tmp_path / "run"), tmp_path / "ran"
    path = folder / "checkpoint" / f"12_{part}.pth"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"payload": Payload(ran)}, path)
    error = refused(capsys, run_train, folder, "--resume", 12, "--max_steps", 13)
    assert f"12_{part}.pth can't be read: it holds something else than tensors" in error
    if part == "net_G_EMA":
        assert "12_net_G_EMA.pth" in refused(capsys, run_infer, folder, "--src_txt", "國", "--resume", 12)
        assert run_infer(folder, "--src_txt", "國", "--infer_dir", tmp_path / "out") == 0
    assert run_train(folder, "--resume", "latest", "--max_steps", 7) == 0
    assert not ran.exists()
    torch.load(path if path.is_file() else folder / "checkpoint" / "after_6" / path.name, weights_only=False)
    assert ran.exists(), "the payload was no payload"


def test_an_obj_file_with_code_is_refused_where_nothing_else_is_wrong(tmp_path, capsys):
    ran, pairs = tmp_path / "ran", tmp_path / "pairs"
    pairs.mkdir()
    write_obj(pairs / "train.obj", [(0, picture("PNG", size=(128, 64)))] * 5)
    with (pairs / "train.obj").open("ab") as file:
        pickle.dump((0, Payload(ran)), file)
    error = refused(capsys, run_train, tmp_path / "run", "--data_dir", pairs)
    assert "record 6 holds a class, not an image: the file is refused" in error
    assert not ran.exists()


def test_an_obj_record_without_an_end_is_no_hang(tmp_path):
    path = tmp_path / "train.obj"
    write_obj(path, [(0, picture("PNG", size=(128, 64)))])
    with path.open("ab") as file:
        file.write(b"(" * 20_000_000)
    started = time.monotonic()
    index = read_obj(path)
    assert len(index) == 1
    assert "it does not end" in index.dropped[2]
    assert time.monotonic() - started < 5


def test_weights_that_claim_to_be_large_cost_nothing(trained, tmp_path):
    """By compression, by repetition, and by what config.json says."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "checkpoint" / "12_net_G_EMA.pth"
    flags = ["--experiment_dir", folder, "--gpu_ids", "-1", "--src_txt", "國", "--resume", "12"]
    content = torch.load(path, weights_only=True)

    torch.save(content | {"more": torch.zeros(500 * MEGABYTE // 4)}, tmp_path / "zeros.pth")
    with zipfile.ZipFile(tmp_path / "zeros.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    packed = run_child("infer.py", *flags, folder=tmp_path / "said")
    assert "packed in another way than torch.save packs" in packed.err

    torch.save(content | {"embedder.weight": torch.zeros(1).expand(1, 8)}, path)
    assert "embedder.weight is no tensor of numbers" in run_child("infer.py", *flags, folder=tmp_path / "said").err

    torch.save(content, path)
    config = read_config(Paths(folder))
    config["model"] |= {"ngf": 1000, "embedding_dim": 4000}
    write_json(folder / "config.json", config)
    large = run_child("infer.py", *flags, folder=tmp_path / "said")
    assert "does not fit" in large.err
    resumed = run_child("train.py", *flags[:4], "--resume", "latest", folder=tmp_path / "said")
    assert "is skipped" in resumed.out
    for result in (packed, large, resumed):
        assert result.code == 2
        assert judge(result) is None
        assert result.memory < 600 * MEGABYTE


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path.with_name("nowhere")),
        os.mkfifo,
        lambda path: torch.save({"parts": ["net_G"] * 10**6, "step": 99}, path),
    ],
)
def test_what_is_no_state_file_is_no_hang(trained, tmp_path, make):
    folder = shutil.copytree(trained, tmp_path / "run")
    make(folder / "checkpoint" / "99_state.pth")
    make(folder / "checkpoint" / "98_net_G_EMA.pth")
    flags = ["--experiment_dir", folder, "--gpu_ids", "-1"]
    drawn = run_child("infer.py", *flags, "--src_txt", "國", folder=tmp_path / "said")
    assert (drawn.code, drawn.err) == (0, "")
    done = run_child("train.py", *flags, "--resume", "latest", "--max_steps", 13, folder=tmp_path / "said")
    assert done.code == 0
    assert "resuming from step 12" in done.out
    assert max(drawn.seconds, done.seconds) < 30


def rows_of_nothing(count: int, width: int) -> torch.Tensor:
    """A tensor that claims to be large, in four bytes."""
    return torch.zeros(1, 1).expand(count, width)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("net_G", {"embedder.weight": rows_of_nothing(10**9, 8)}),
        ("net_G", {"embedder.weight": rows_of_nothing(1, 10**9)}),
        ("net_G", {"submodule." * 20_000: torch.zeros(1)}),
        ("net_D", {"catagory.bias": 5}),
        ("net_D", {"catagory.bias": torch.zeros(())}),
        ("net_D", {"catagory.weight": torch.zeros(1, 64, dtype=torch.int64)}),
        ("net_G", {"embedder.weight": torch.zeros(1, 8).to(torch.float8_e5m2)}),
    ],
)
def test_weights_of_an_odd_shape_are_refused_before_they_are_used(trained, tmp_path, part, changes):
    """In a folder without a config, where the architecture is read from them, and for fine-tuning."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("net_G", "net_D"):
        content = torch.load(trained / "checkpoint" / f"12_{name}.pth", weights_only=True)
        torch.save(content | changes if name == part else content, folder / f"12_{name}.pth")
    fonts = ["--src_font", "bundled:source.otf", "--dst_font", "bundled:target.ttf"]
    flags = ["--fine_tune", folder, *fonts, "--max_steps", 1, "--gpu_ids", "-1", "--experiment_dir", tmp_path / "run"]
    results = [run_child("train.py", *flags, folder=tmp_path / "said")]
    flags = ["--experiment_dir", folder, "--gpu_ids", "-1", "--src_txt", "國", *fonts[:2]]
    results.append(run_child("infer.py", *flags, folder=tmp_path / "said"))
    assert results[0].code == 2
    for result in results:
        assert judge(result) is None, result.err
        assert result.memory < 600 * MEGABYTE


def test_a_lock_that_is_a_link_is_not_followed(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / ".training.lock").symlink_to(tmp_path / "victim")
    (folder / ".config.json.tmp").symlink_to(tmp_path / "victim")
    flags = [folder, "--resume", "latest", "--max_steps", 13]
    assert run_train(*flags) == 1
    (folder / ".training.lock").unlink()
    assert run_train(*flags) == 0
    assert not (tmp_path / "victim").exists()


# ------------------------------------------------------------------------------------------------- images


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and has hardly any data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def bmp_header(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + head + bytes(100)


BOMBS = {
    "gigapixels.png": png_header(60_000, 60_000),
    "most.png": png_header(2**31 - 1, 2**31 - 1),
    "cut.png": png_header(7000, 7000),
    "large.bmp": bmp_header(40_000, 40_000),
    "negative.bmp": bmp_header(64, -(2**31)),
    "text.png": b"no picture at all",
    "empty.png": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_that_claims_too_much_is_refused(name):
    with pytest.raises(UserError) as caught:
        read_image(BOMBS[name])
    words = {"text.png": "it is no png", "empty.png": "it is no png", "cut.png": "truncated"}.get(
        name, "far more pixels"
    )
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bombs_among_glyphs_are_left_out_and_named(tmp_path):
    folder = tmp_path / "glyphs"
    folder.mkdir()
    for number, (name, content) in enumerate(BOMBS.items()):
        (folder / f"U+{0x4E00 + number:04X}{Path(name).suffix}").write_bytes(content)
    for character in "國是的":
        (folder / f"{character}.png").write_bytes(picture("PNG"))
    flags = [*TINY_FLAGS, "--src_font", "bundled:source.otf", "--dst_imgs", folder, "--max_steps", 1]
    done = run_child("train.py", *flags, "--experiment_dir", tmp_path / "run", folder=tmp_path / "said")
    assert (done.code, done.err) == (0, "")
    assert f"{len(BOMBS)} left out in all" in done.out
    assert done.memory < 700 * MEGABYTE


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "F"])
def test_the_largest_image_that_is_read_fits_into_memory(tmp_path, mode):
    side, folder = 8000, tmp_path / "glyphs"
    folder.mkdir()
    pixels = np.full((side, side), 255, np.uint8)
    pixels[2000:3000, 1000:7000] = 0
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save(folder / "國.tif", **({} if mode == "I;16" else {"compression": "tiff_deflate"}))
    flags = [*TINY_FLAGS, "--src_font", "bundled:source.otf", "--dst_imgs", folder, "--max_steps", 1]
    done = run_child("train.py", *flags, "--experiment_dir", tmp_path / "run", folder=tmp_path / "said")
    assert (done.code, done.err) == (0, "")
    assert done.memory < 2000 * MEGABYTE


# -------------------------------------------------------------------------------------------------- fonts


def with_table(path: Path, tag: str, data: bytes) -> Path:
    """A font with a table of our own making."""
    with TTFont(boxes(path)) as font:
        font["post"].formatType = 3  # without glyph names, of which FreeType would make a cmap
        font[tag] = table = DefaultTable(tag)
        table.data = data
        font.save(path)
    return path


def cmap_of_everything() -> bytes:
    """A cmap in format 13 that gives one glyph to each of four thousand million code points."""
    subtable = struct.pack(">HHIII", 13, 0, 28, 0, 1) + struct.pack(">III", 0, 2**32 - 2, 1)
    return struct.pack(">HHHHI", 0, 1, 3, 10, 12) + subtable


def nested_composites(path: Path, depth: int, width: int) -> Path:
    """A font in which every glyph consists of `width` of the next, `depth` times over: width ** depth parts."""
    from fontTools.ttLib.tables._g_l_y_f import Glyph, GlyphComponent

    characters = [chr(0x4E00 + level) for level in range(depth)]
    make_font(path, dict.fromkeys(characters, (0, 0, 500, 500)))
    with TTFont(path, recalcBBoxes=False) as font:
        font["maxp"].maxComponentDepth = depth
        for one, other in zip(characters, [*characters[1:], None], strict=True):
            glyph = Glyph()
            if other is not None:
                glyph.numberOfContours, glyph.components = -1, []
                for _ in range(width):
                    part = GlyphComponent()
                    part.glyphName, part.x, part.y, part.flags = f"u{ord(other):X}", 0, 0, 0x0003
                    glyph.components.append(part)
                glyph.xMin = glyph.yMin = 0
                glyph.xMax = glyph.yMax = 500
                font["glyf"][f"u{ord(one):X}"] = glyph
        font.save(path)
    return path


FONTS = {
    "empty.ttf": lambda path: path.write_bytes(b""),
    "text.ttf": lambda path: path.write_text("no font"),
    "cut.ttf": lambda path: path.write_bytes(boxes(path).read_bytes()[:300]),
    "no_cmap.ttf": lambda path: with_table(path, "cmap", struct.pack(">HH", 0, 0)),
    "no_head.ttf": lambda path: with_table(path, "head", b""),
    "cyclic.ttf": lambda path: make_composite(path, cyclic=True),
    "small_em.ttf": lambda path: boxes(path, upem=1),
    "no_hhea.ttf": lambda path: with_table(path, "hhea", b""),
}


@pytest.mark.parametrize("name", FONTS)
def test_a_font_that_can_not_be_used_is_a_line(name, tmp_path):
    FONTS[name](tmp_path / name)
    flags = [*TINY_FLAGS, "--src_font", "bundled:source.otf", "--dst_font", tmp_path / name, "--max_steps", 1]
    done = run_child("train.py", *flags, "--experiment_dir", tmp_path / "run", folder=tmp_path / "said")
    assert judge(done) is None, done.err
    assert done.code == 2 or name == "cyclic.ttf"
    assert name in done.err or name == "cyclic.ttf"


def test_glyphs_of_a_cyclic_font_are_left_out(tmp_path):
    font = GlyphRenderer(str(make_composite(tmp_path / "cyclic.ttf", cyclic=True)))
    assert not font.covers("一")
    assert not font.covers("二")
    font = GlyphRenderer(str(make_composite(tmp_path / "whole.ttf", cyclic=False)))
    assert font.covers("二")
    assert (font.render("二", 64) < 128).any()


def test_a_cmap_that_never_ends_ends(tmp_path):
    path = with_table(tmp_path / "all.ttf", "cmap", cmap_of_everything())
    done = run_child(count_codepoints, path, folder=tmp_path / "said")
    assert judge(done) is None, done.err or done.seconds
    assert int(done.out or 0) <= 0x110000


def count_codepoints(path: str) -> int:
    print(len(GlyphRenderer(path).codepoints()))
    return 0


def test_an_absurd_em_draws_something(tmp_path):
    for upem in (16, 16384):
        font = GlyphRenderer(str(boxes(tmp_path / f"{upem}.ttf", upem=upem)))
        assert font.render("一", 64).shape == (64, 64)


def test_a_glyph_with_coordinates_far_away_is_drawn_or_refused(tmp_path):
    path = make_font(tmp_path / "far.ttf", {"一": (-16000, -16000, 16000, 16000)}, upem=16)
    done = run_child(render_one, path, folder=tmp_path / "said")
    assert judge(done) is None, done.err
    assert done.code == 0


def render_one(path: str) -> int:
    GlyphRenderer(path).render("一", 256)
    return 0


def test_composites_that_multiply_are_no_hang(tmp_path):
    path = nested_composites(tmp_path / "bomb.ttf", depth=8, width=60)
    done = run_child(cover_one, path, folder=tmp_path / "said")
    assert judge(done) is None, (done.seconds, done.err)


def cover_one(path: str) -> int:
    GlyphRenderer(path).covers("一")
    return 0
