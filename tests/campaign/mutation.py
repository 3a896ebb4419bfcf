"""Damaged and hostile inputs: seeds of every kind of file that is read, and random changes to them."""

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph, GlyphComponent
from PIL import Image

from tests.helpers.fonts import make_collection, make_font
from tests.helpers.scripts import run_train
from utils.cli import Parser, run_script
from utils.data.font_pairs import FontData, Split
from utils.data.record_pairs import RecordData
from utils.experiment.manifest import write_manifest
from utils.experiment.tables import read_columns
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import BUNDLED
from utils.training.log import LossLog
from utils.training.recorded import check_recorded
from utils.training.report import plot_losses

HERE = Path(__file__).parent.parent
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TEXTS = [  # inserted into text
    "\ufeff",
    "\0",
    "U+110000",
    "U+D800",
    "U+0000",
    "\ufe0f",
    "\U000e0100",
    "\r\n",
    "𠀀",
    "/",
    "..",
    "\x1b[31m",
    "\ud800",
]
VALUES = [
    None,
    True,
    False,
    -1,
    0,
    1.5,
    2**70,
    1e308,
    float("nan"),
    "",
    "x" * 5000,
    "..",
    "\ud800",
    [],
    {},
    [[]],
    "a\0b",
]


# -------------------------------------------------------------------------------------------------- seeds


def make_composite(path: Path, cyclic: bool) -> Path:
    """A TrueType font whose 二 is made of two 一; `cyclic`: and 一 of 二."""
    names = [".notdef", "u4E00", "u4E8C"]
    builder = FontBuilder(1000, isTTF=True)
    builder.font.recalcBBoxes = False  # it would follow the cycle
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x4E00: "u4E00", 0x4E8C: "u4E8C"})
    pen = TTGlyphPen(None)
    pen.moveTo((100, 300))
    for point in ((100, 400), (900, 400), (900, 300)):
        pen.lineTo(point)
    pen.closePath()

    def made_of(name: str) -> Glyph:
        glyph = Glyph()
        glyph.numberOfContours, glyph.components = -1, []
        for y in (0, 300):
            part = GlyphComponent()
            part.glyphName, part.x, part.y, part.flags = name, 0, y, 0x0003
            glyph.components.append(part)
        return glyph

    plain = pen.glyph()
    glyphs = {".notdef": plain, "u4E00": made_of("u4E8C") if cyclic else plain, "u4E8C": made_of("u4E00")}
    builder.setupGlyf(glyphs, calcGlyphBounds=False)
    for glyph in glyphs.values():
        glyph.xMin, glyph.yMin, glyph.xMax, glyph.yMax = 100, 300, 900, 700
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120)
    builder.setupNameTable({"familyName": "Composite", "styleName": "Regular"})
    builder.setupPost()
    builder.font["maxp"].maxComponentDepth = 2
    builder.save(path)
    return path


def picture(kind: str, mode: str = "L", size: tuple[int, int] = (64, 64)) -> bytes:
    """An image file of a thick bar."""
    pixels = np.full(size[::-1], 255, np.uint8)
    pixels[size[1] // 3 : size[1] // 2, size[0] // 5 : -size[0] // 5] = 20
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Whole files of every kind that is read, by the kind; `folder/run` is a trained experiment."""
    folder.mkdir(parents=True)
    characters = "一二三人大小中上下天"
    fonts = [
        make_font(folder / "boxes.ttf", {c: (100, 0, 300 + 50 * i, 700) for i, c in enumerate(characters)}),
        make_font(folder / "boxes.otf", {c: (100, 50, 900, 200 + 50 * i) for i, c in enumerate(characters)}),
        make_composite(folder / "composite.ttf", cyclic=False),
        make_composite(folder / "cyclic.ttf", cyclic=True),
    ]
    fonts.append(make_collection(folder / "two.ttc", fonts[:1] + fonts[2:3]))
    fonts += [shutil.copy(BUNDLED / name, folder) for name in ("source.otf", "target.ttf")]
    images = []
    for number, (kind, mode) in enumerate(
        [("PNG", m) for m in ("1", "L", "RGB", "RGBA", "P", "I;16")]
        + [("JPEG", "L"), ("JPEG", "RGB"), ("BMP", "L"), ("BMP", "1"), ("TIFF", "L"), ("TIFF", "RGBA"), ("TIFF", "F")]
    ):
        images.append(folder / f"{number}.{kind.lower()}")
        images[-1].write_bytes(picture(kind, mode, (128, 64)))
    pairs = folder / "pairs"
    pairs.mkdir()
    shutil.copy(HERE / "port" / "train.obj", pairs)
    run = folder / "run"
    flags = ["--src_font", fonts[0], "--dst_font", fonts[1], "--checkpoint_steps", 1, "--max_steps", 2]
    assert run_train(run, *flags) == 0
    assert run_train(folder / "records", "--data_dir", pairs, "--max_steps", 1) == 0
    texts = [folder / f"{encoding}.txt" for encoding in ("utf-8", "utf-8-sig", "utf-16")]
    for path in texts:
        path.write_text(f"{characters}\r\nU+4E00 永\n", encoding=path.stem)
    texts[:0] = [folder / "odd.txt"] * 3
    odd = "".join(TEXTS) + "".join(chr(codepoint) for codepoint in (*range(0x20, 0x250), *range(0x2000, 0x2100)))
    texts[0].write_bytes(odd.encode("utf-8", "ignore"))
    manifest = folder / "manifest.json"
    write_manifest(folder, {"step": 1}, [{"codepoint": "U+4E00", "label": 0, "file": "0/U+4E00.png"}])
    return {
        "font": [Path(path) for path in fonts],
        "image": images,
        "obj": [pairs / "train.obj"],
        "pth": [*sorted(run.glob("checkpoint/2_*.pth")), *sorted((HERE / "port").glob("*.pth"))],
        "config": [run / "config.json", folder / "records" / "config.json"],
        "manifest": [manifest],
        "text": texts,
        "log": [run / "losses.csv"],
    }


# ---------------------------------------------------------------------------------------------- mutations


def mutate(content: bytes, kind: str, dice: random.Random) -> bytes:
    """A file after one to six random changes."""
    if kind in ("config", "manifest") and dice.random() < 0.7:
        return mutate_json(content, dice)
    if kind == "pth" and dice.random() < 0.5:
        return mutate_archive(content, dice)
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        dice.choice(CHANGES)(changed, dice)
    if kind in ("config", "manifest", "text", "log") and dice.random() < 0.5:
        place = dice.randrange(len(changed) + 1)
        changed[place:place] = dice.choice(TEXTS).encode("utf-8", "surrogatepass")
    return bytes(changed)


def _span(content: bytearray, dice: random.Random) -> slice:
    start = dice.randrange(len(content) + 1)
    return slice(start, start + dice.choice((1, 4, 16, 200, 5000)))


def _flip(content: bytearray, dice: random.Random) -> None:
    if content:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def _near_the_start(content: bytearray, dice: random.Random) -> None:
    if content:
        content[dice.randrange(min(len(content), 300))] = dice.randrange(256)


def _number(content: bytearray, dice: random.Random) -> None:
    width = dice.choice((1, 2, 4))
    value = (dice.choice(INTERESTING) & (256**width - 1)).to_bytes(width, dice.choice(("big", "little")))
    place = dice.randrange(len(content) + 1)
    content[place : place + width] = value


def _cut(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(len(content) + 1) :]


def _delete(content: bytearray, dice: random.Random) -> None:
    del content[_span(content, dice)]


def _repeat(content: bytearray, dice: random.Random) -> None:
    part = content[_span(content, dice)]
    place = dice.randrange(len(content) + 1)
    content[place:place] = part * dice.choice((1, 1, 3))


def _noise(content: bytearray, dice: random.Random) -> None:
    span = _span(content, dice)
    content[span] = dice.randbytes(len(content[span]))


def _zeros(content: bytearray, dice: random.Random) -> None:
    span = _span(content, dice)
    content[span] = bytes(len(content[span]))


CHANGES = (_flip, _flip, _near_the_start, _number, _number, _cut, _delete, _repeat, _noise, _zeros)


def mutate_archive(content: bytes, dice: random.Random) -> bytes:
    """A file of torch.save in which an entry is another, and the checksums are right."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        entries = {name: old.read(name) for name in old.namelist()}
        pickled = next(name for name in entries if name.endswith("data.pkl"))
        name = pickled if dice.random() < 0.8 else dice.choice(list(entries))
        entry = bytearray(entries[name])
        dice.choice((_flip, _near_the_start, _number, _repeat, _delete, _noise))(entry, dice)
        entries[name] = bytes(entry)
        for name, entry in entries.items():
            new.writestr(name, entry)
    return changed.getvalue()


def mutate_json(content: bytes, dice: random.Random) -> bytes:
    """A JSON file in which some values are others, gone or elsewhere."""
    whole = json.loads(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        places = list(_places(whole))
        holder, key = dice.choice(places)
        if dice.random() < 0.2:
            del holder[key]
        elif dice.random() < 0.3:
            other, name = dice.choice(places)
            holder[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
        else:
            value = holder[key]
            numbers = [value * 1000, -value, value + 0.5] if isinstance(value, (int, float)) else []
            holder[key] = dice.choice(VALUES + numbers)
        if not whole:
            break
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", dice.choice(("backslashreplace", "surrogatepass")))


def _places(value: object):
    """Every (container, key) within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


# ------------------------------------------------------------------------------------------------ readers


def read_font(path: Path) -> None:
    data = FontData.from_fonts("bundled:source.otf", [str(path)], [], None, Split(0.1, 0))
    print(*data.summary(), sep="\n")
    for pair in data.train_pairs[:8]:
        data.render_pair(pair, 64)
    print(json.dumps(data.describe())[:100])
    font = GlyphRenderer(f"{path}#1" if path.suffix == ".ttc" else str(path))
    for codepoint in font.codepoints()[:20]:
        if font.covers(chr(codepoint)):
            font.render(chr(codepoint), 64)


def read_pictures(path: Path) -> None:
    glyphs = path.parent / "glyphs"
    glyphs.mkdir()
    shutil.copy(path, glyphs / f"永{path.suffix}")
    shutil.copy(path, glyphs / f"U+570B{path.suffix}")
    drawn = GlyphImages(str(glyphs))
    for codepoint in drawn.codepoints():
        drawn.ink_box(chr(codepoint))
        drawn.render(chr(codepoint), 64)
    pairs = path.parent / "pairs"
    pairs.mkdir()
    shutil.copy(path, pairs)
    read_records(pairs)


def read_records(path: Path) -> None:
    for channels in (1, 3):
        data = RecordData.open(path, channels, 0.1)
        print(*data.summary(), sep="\n")
        data.render_pairs(data.train_pairs[:5], 64)
        print(str(data.describe())[:100])


def read_weights(path: Path) -> None:
    import train
    from model import Zi2ZiConfig, Zi2ZiModel
    from model.architecture import discriminator_architecture
    from utils.experiment import checkpoint, pth, weights
    from utils.training import pretrained
    from utils.training.state import check_parts

    if path.stem.endswith(("net_G", "net_D", "net_G_EMA")):
        data = FontData.from_fonts("bundled:source.otf", ["bundled:target.ttf"] * 2, [], None, Split(0.1, 0))
        pretrained.read_pretrained(path.parent, image_size=None).for_labels(data, 2)
    step, part = path.stem.split("_", 1)
    content = pth.read_part(path) if part == checkpoint.STATE else pth.read_weights(path)
    if part in weights.KIND_OF:
        found = weights.Weights(int(step), weights.KIND_OF[part], path, content)
        config = Zi2ZiConfig(**weights.foreign_config(found, 256 if step == "100" else 64)["model"])
        pth.check_fit(Zi2ZiModel(config, "meta", is_training=False).netG, content, path)
        pth.fit(Zi2ZiModel(config, is_training=False).netG, content, path)
    elif part == checkpoint.DISCRIMINATOR:
        with weights.naming_weights(path):
            print(discriminator_architecture(content))
    if step == "2":
        run = path.parent.parent
        names = ("image_size", "ngf", "ndf", "embedding_dim", "embedding_num")
        model = Zi2ZiModel(Zi2ZiConfig(**dict(zip(names, (64, 4, 2, 8, 1), strict=True))), "meta")
        parts = checkpoint.read_step(path.parent, 2)
        check_parts(model, parts, path.parent, 2)
        print(f"{train.__name__} could go on in {run}")


def read_config_file(path: Path) -> None:
    from model import Zi2ZiConfig
    from utils.data.open import data_from_config
    from utils.experiment.config import Paths, read_config

    config = read_config(Paths(path.parent))
    check_recorded(config["training"], str(path))
    data = data_from_config(config["data"])
    data.render_pairs(data.some_pairs(5), 64)
    try:
        Zi2ZiConfig(**config["model"])
    except (TypeError, ValueError) as error:
        print(f"refused: {error}")


def read_manifest(path: Path) -> None:
    write_manifest(path.parent, {"step": 2}, [{"codepoint": "U+4E00", "label": 0, "file": "0/U+4E00.png"}])


def read_text(path: Path) -> None:
    from utils.drawing.job import file_stem
    from utils.glyphs.charset import codepoint_name, read_charset

    for number, character in enumerate(read_charset(str(path)), 1):
        for rule in ("unicode_hex", "unicode_int", "char", "seq"):
            stem = file_stem(character, rule, number)
            assert Path(stem).name == stem, f"{codepoint_name(character)} is named {stem!r}"


def read_log(path: Path) -> None:
    LossLog(path, 1)
    plot_losses(read_columns(path), path.with_suffix(".png"))


READERS: dict[str, Callable[[Path], None]] = {
    "font": read_font,
    "image": read_pictures,
    "obj": lambda path: read_records(path.parent),
    "pth": read_weights,
    "config": read_config_file,
    "manifest": read_manifest,
    "text": read_text,
    "log": read_log,
}


def place(kind: str, seed: Path, content: bytes, folder: Path) -> Path:
    """Put a mutated file where its reader expects it, with what else belongs there whole."""
    folder.mkdir(parents=True)
    if kind == "pth" and seed.parent.name == "port":
        shutil.copytree(seed.parent, folder / "port", ignore=shutil.ignore_patterns("*.npz", "*.obj"))
        path = folder / "port" / seed.name
    elif kind == "pth":
        shutil.copytree(seed.parent.parent, folder / "run")
        path = folder / "run" / "checkpoint" / seed.name
    else:
        names = {"config": "config.json", "obj": "train.obj", "manifest": "manifest.json", "log": "losses.csv"}
        path = folder / names.get(kind, seed.name)
    path.write_bytes(content)
    return path


def read(kind: str, path: str) -> int:
    """Read a file of some kind as the scripts do; returns the exit code."""

    def reader(_) -> int:
        READERS[kind](Path(path))
        return 0

    return run_script(Parser("reader", None), reader, [])
