"""A page to look at a font on: a picture and an HTML file with the font in it, drawn and generated glyphs told apart.

python -m utils.specimen Full.ttf --base MyFont.ttf
python -m utils.specimen New.otf --text 永遠的字 --out_dir specimen
"""

import argparse
import base64
import html
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from utils.cli import Parser, add_flag, at_least, resolve, run_script, say
from utils.errors import UserError
from utils.files import write_whole
from utils.glyphs.charset import is_han, read_text, unique
from utils.glyphs.font_file import FontFile, one_font_file
from utils.glyphs.render import GlyphRenderer
from utils.images import write_atomic

# The beginning of the Thousand Character Classic (6th century).
TEXT = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨露結為霜金生麗水玉出崑岡"
DEFAULTS = {"size": 64, "most": 400}
DRAWN, GENERATED = (17, 17, 17), (178, 58, 36)  # colours
WIDTH, MARGIN = 1200, 40  # pixels of the picture
SIZES = (20, 28, 40, 64)  # pixels of the text on the page
PAGE = """<!DOCTYPE html>
<html lang="zh-Hant">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
@font-face {{ font-family: "Specimen"; src: url("data:font/{kind};base64,{data}") format("{format}"); }}
body {{ margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #111; background: #fff; font-family: sans-serif; }}
p.text, p.glyphs {{ font-family: "Specimen"; line-height: 1.6; overflow-wrap: anywhere; }}
p.vertical {{ writing-mode: vertical-rl; height: 16em; }}
p.glyphs {{ font-size: 2rem; }}
.g {{ color: rgb{generated}; }}
body.plain .g {{ color: inherit; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p><label><input type="checkbox" onchange="document.body.classList.toggle('plain')"> one colour</label>;
<span class="g">generated</span> glyphs: {count_generated}, drawn: {count_drawn}</p>
{texts}
<h2>Generated glyphs</h2>
<p class="glyphs">{glyphs}</p>
</body>
</html>
"""


def build_parser() -> Parser:
    """The command line of the specimen."""
    parser = Parser(prog="utils.specimen", description=__doc__.split("\n\n")[0])
    parser.add_argument("font", help="font to show: .ttf, .otf, .woff2, or .ttc#INDEX")
    group = parser.add_argument_group("what is shown")

    def flag(name: str, help_text: str, **kwargs: Any) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    flag("base", "font that was completed: its glyphs are the drawn ones (default: none is)")
    flag("text", "text to set (default: a classic)")
    flag("text_file", "text file to set, UTF-8")
    flag("size", "pixels of the glyphs in the picture", type=at_least(8, 512))
    flag("most", "most generated glyphs that are shown one by one", type=at_least(0))
    flag("out_dir", "folder for specimen.png and specimen.html (default: beside the font)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the specimen with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Write specimen.png and specimen.html."""
    args = resolve(args, DEFAULTS)
    if args.text is not None and args.text_file is not None:
        raise UserError("--text and --text_file are two texts: give one of them")
    file, glyphs = one_font_file(args.font), GlyphRenderer(args.font)
    path, covered = file.path, glyphs.covered()
    drawn = set(GlyphRenderer(args.base).covered()) if args.base else set()
    generated = "".join(c for c in covered if c not in drawn and is_shown(c))
    text = args.text if args.text is not None else read_text(Path(args.text_file)) if args.text_file else TEXT
    lacking = unique(c for c in text if c not in covered and not c.isspace())
    text = "".join(c for c in text if c in covered or c.isspace())
    if lacking:
        say(f"{path.name} lacks {len(lacking)} characters of the text, left out: {lacking[:20]}")
    if not text.strip():
        text = generated[:200]
    if not text:
        raise UserError(f"{path} has no glyph to show")
    folder = Path(args.out_dir) if args.out_dir else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(picture(file, text, generated[: args.most], args.size), folder / "specimen.png")
    page = page_of(file, text, generated[: args.most], generated, len(drawn & set(covered)))
    write_whole(folder / "specimen.html", page.encode())
    say(str(folder / "specimen.png"), str(folder / "specimen.html"))
    return 0


def is_shown(character: str) -> bool:
    """Whether a character is worth a place among the generated ones; spaces are not."""
    return not character.isspace() and (is_han(ord(character)) or character.isprintable())


def lines_of(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines that are no wider than `width` pixels."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for character in paragraph:
            if line and font.getlength(line + character) > width:
                lines.append(line)
                line = ""
            line += character
        lines.append(line)
    return lines


def picture(file: FontFile, text: str, generated: str, size: int) -> Image.Image:
    """The text, then the generated glyphs one by one, these in another colour than the drawn ones."""
    marked = set(generated)
    font, small = (file.for_pillow(pixels) for pixels in (size, max(8, size // 2)))
    width = WIDTH - 2 * MARGIN
    parts = [(font, line) for line in lines_of(text, font, width)] + [(small, "")]
    parts += [(small, line) for line in lines_of(generated, small, width) if generated]
    heights = [round(part.size * 1.5) for part, _ in parts]
    image = Image.new("RGB", (WIDTH, sum(heights) + 2 * MARGIN), (255, 255, 255))
    draw, y = ImageDraw.Draw(image), MARGIN
    for (part, line), height in zip(parts, heights, strict=True):
        x = float(MARGIN)
        for character in line:
            draw.text((x, y), character, font=part, fill=GENERATED if character in marked else DRAWN)
            x += part.getlength(character)
        y += height
    return image


def page_of(file: FontFile, text: str, shown: str, generated: str, drawn: int) -> str:
    """The HTML page, with the font embedded, of a collection the one that is shown: it can be sent as it is."""
    marked = set(generated)

    def coloured(part: str) -> str:
        spans = (f'<span class="g">{html.escape(c)}</span>' if c in marked else html.escape(c) for c in part)
        return "".join(spans).replace("\n", "<br>")

    content = file.alone()
    kind = "otf" if content.startswith(b"OTTO") else "ttf"
    texts = [f'<p class="text" style="font-size: {size}px">{coloured(text)}</p>' for size in SIZES]
    texts.append(f'<p class="text vertical" style="font-size: 28px">{coloured(text)}</p>')
    return PAGE.format(
        title=html.escape(file.path.stem),
        kind=kind,
        format={"otf": "opentype", "ttf": "truetype"}[kind],
        data=base64.b64encode(content).decode(),
        generated=GENERATED,
        count_generated=len(generated),
        count_drawn=drawn,
        texts="\n".join(texts),
        glyphs=coloured(shown),
    )


if __name__ == "__main__":
    sys.exit(main())
