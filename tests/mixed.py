"""Set lines that mix drawn and generated glyphs, all in black: can a reader tell which is which?

python -m tests.mixed Full1.ttf Full2.ttf --count 20 --out mixed.png

Each font has its .generated.json beside it. Half of the characters of each line are drawn, half generated, in an order
by chance; which were generated is printed.
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw

from utils.glyphs.charset import is_han
from utils.glyphs.font_file import FontFile
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import one_font_file
from utils.specimen import find_made

MARGIN = 16  # pixels
ACROSS = 20  # characters of a row


def mixed(font: Path, count: int, seed: int) -> tuple[str, str]:
    """A line of `count` characters of a font, and those of them that were generated."""
    glyphs = GlyphRenderer(str(font))
    made = sorted(find_made(glyphs, None))
    drawn = sorted({c for c in glyphs.covered() if is_han(ord(c))} - set(made))
    chance = random.Random(seed)
    chosen = chance.sample(made, count // 2)
    line = chosen + chance.sample(drawn, count - len(chosen))
    chance.shuffle(line)
    return "".join(line), "".join(chosen)


def picture(lines: list[tuple[FontFile, str]], size: int) -> Image.Image:
    """Each line in its font, black on white, in rows of ACROSS."""
    rows = [(file, line[start : start + ACROSS]) for file, line in lines for start in range(0, len(line), ACROSS)]
    height = size * 5 // 4
    image = Image.new("L", (ACROSS * size + 2 * MARGIN, len(rows) * height + 2 * MARGIN), 255)
    draw = ImageDraw.Draw(image)
    for number, (file, row) in enumerate(rows):
        font = file.for_pillow(size)
        for column, character in enumerate(row):
            draw.text((MARGIN + column * size, MARGIN + number * height), character, font=font, fill=0)
    return image


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=20, help="characters of a line")
    parser.add_argument("--size", type=int, default=48, help="pixels of a character")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = []
    for font in args.fonts:
        line, made = mixed(font, args.count, args.seed)
        lines.append((one_font_file(str(font)), line))
        print(f"{font}: {line}; generated: {''.join(c for c in line if c in made)}")
    picture(lines, args.size).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
