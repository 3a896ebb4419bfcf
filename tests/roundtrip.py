"""Truth in, truth out: glyphs of a font rendered, traced, made into a font, and rendered again; not a test.

    python -m tests.roundtrip LXGWWenKai-Regular.ttf NotoSansCJK-Regular.ttc#3 --count 500 --sizes 128 256 512

Prints how far the pictures are from each other, the points of a glyph beside the original's (control points included),
how far boxes and advances are off, in thousandths of the em, and the milliseconds of a glyph on one core.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont

from utils import font_export, metrics
from utils.fonts import flags
from utils.fonts.fit import Lattice
from utils.fonts.trace_cache import CHUNK, trace_files
from utils.glyphs.charset import codepoint_name, read_charset
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image


def points_of(font: TTFont, character: str) -> int:
    """The points of a glyph: those in its `glyf` entry (of its parts, where it is composed), or of its charstring."""
    name = font.getBestCmap()[ord(character)]
    if "glyf" in font:
        return len(font["glyf"][name].getCoordinates(font["glyf"])[0])
    pen = DecomposingRecordingPen(font.getGlyphSet())
    font.getGlyphSet()[name].draw(pen)
    return sum(len(points) for operator, points in pen.value if operator != "closePath")


def rebuild(spec: str, characters: str, size: int, folder: Path) -> Path:
    """Render characters at `size` pixels and make a font of the pictures alone; returns its path."""
    original = GlyphRenderer(spec)
    with TTFont(original.path, fontNumber=original.index, lazy=True) as font:
        kind = "otf" if "CFF " in font else "ttf"
    pictures = folder / f"pictures_{size}"
    pictures.mkdir()
    for character in characters:
        save_image(original.render(character, size), pictures / f"{codepoint_name(character)}.png")
    out = folder / f"rebuilt_{size}.{kind}"
    flags = ["--infer_dir", pictures, "--src_font", spec, "--font_out", out, "--experiment_dir", folder]
    assert font_export.main([*map(str, flags)]) == 0
    return out


def compare(spec: str, rebuilt: Path, characters: str, size: int) -> dict[str, float]:
    """What the rebuilt font is like beside the original."""
    original = GlyphRenderer(spec)
    again = GlyphRenderer(str(rebuilt), original.placement)
    pictures = [np.stack([font.render(c, size) for c in characters]) for font in (again, original)]
    boxes = [np.array([font.ink_box(c) for c in characters]) for font in (again, original)]
    off = np.abs(boxes[0] - boxes[1]).max() / original.placement.em * 1000
    with TTFont(original.path, fontNumber=original.index, lazy=True) as true, TTFont(rebuilt) as made:
        units = true["head"].unitsPerEm
        points = [np.mean([points_of(font, c) for c in characters]) for font in (made, true)]
        advances = [
            np.array([font["hmtx"][font.getBestCmap()[ord(c)]][0] for c in characters]) for font in (made, true)
        ]
    return {
        "l1": metrics.l1(*pictures),
        "ink_iou": metrics.ink_iou(*pictures),
        "points": points[0],
        "points_of_original": points[1],
        "times_the_points": points[0] / points[1],
        "box_off": off,
        "advance_off": np.abs(advances[0] - advances[1]).max() / units * 1000,
    }


def milliseconds(spec: str, characters: str, size: int) -> float:
    """The processor time of tracing one glyph, from its file on."""
    font = GlyphRenderer(spec)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(character, Path(folder) / f"{number}.png") for number, character in enumerate(characters[:100])]
        for character, path in jobs:
            save_image(font.render(character, size), path)
        start = time.process_time()
        for place in range(0, len(jobs), CHUNK):
            trace_files(jobs[place : place + CHUNK], flags.DEFAULTS["tolerance"], Lattice(0.001))
    return (time.process_time() - start) / len(jobs) * 1000


def main() -> None:
    """Print one row for each font and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", nargs="+")
    parser.add_argument("--charset", default="big5_1")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256])
    args = parser.parse_args()
    for spec in args.fonts:
        font = GlyphRenderer(spec)
        covered = [c for c in read_charset(args.charset) if font.covers(c) and not font.is_clipped(c)]
        characters = "".join(sorted(random.Random(777).sample(covered, min(args.count, len(covered)))))
        for size in args.sizes:
            with tempfile.TemporaryDirectory() as folder:
                found = compare(spec, rebuild(spec, characters, size, Path(folder)), characters, size)
            found["ms"] = milliseconds(spec, characters, size)
            print(font.name, size, ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
