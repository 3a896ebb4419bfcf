"""A page to look at a font on: a picture and an HTML file with the font in it, drawn and generated glyphs told apart.

python -m utils.specimen Full.ttf --base MyFont.ttf
python -m utils.specimen New.otf --text 永遠的字 --out_dir specimen
python -m utils.specimen Full.ttf --charsets
"""

import base64
import html
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from utils.cli import Flag, FlagTable, Parser, at_least, run_script
from utils.errors import UserError, abbreviate
from utils.files import write_whole
from utils.glyphs.charset import NAMED, is_han, read_charset, read_text, unique
from utils.glyphs.font_file import FontFile
from utils.glyphs.generated import find_generated
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import one_font_file
from utils.images import write_atomic
from utils.messages import _

logger = logging.getLogger("utils.specimen")  # which is __main__ when it runs

# The beginning of the Thousand Character Classic (6th century).
TEXT = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨露結為霜金生麗水玉出崑岡"
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


SPECIMEN: FlagTable = {
    "what is shown": (
        Flag("base", "font that was completed: its glyphs are the drawn ones (default: none is)"),
        Flag("text", "text to set (default: a classic)"),
        Flag("text_file", "text file to set, UTF-8"),
        Flag("size", "pixels of the glyphs in the picture", at_least(8, 512), 64),
        Flag("most", "most generated glyphs that are shown one by one", at_least(0), 400),
        Flag("charsets", "say how much of each charset the font has, and draw nothing", bool, False),
        Flag("out_dir", "folder for specimen.png and specimen.html (default: beside the font)"),
    )
}


@dataclass(frozen=True)
class SpecimenOptions:
    """The font to show, and the value of every flag."""

    font: str
    base: str | None = None
    text: str | None = None
    text_file: str | None = None
    size: int = 64
    most: int = 400
    charsets: bool = False
    out_dir: str | None = None


def build_parser() -> Parser:
    """The command line of the specimen."""
    parser = Parser("utils.specimen", (__doc__ or "").split("\n\n")[0], SPECIMEN)
    parser.add_argument("font", help=_("font to show: .ttf, .otf, .woff2, or .ttc#INDEX"))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the specimen with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Write specimen.png and specimen.html."""
    options = SpecimenOptions(**given)
    if options.text is not None and options.text_file is not None:
        raise UserError(_("--text and --text_file are two texts: give one of them"))
    if options.charsets:
        say_charsets(GlyphRenderer(options.font))
        return 0
    file, glyphs = one_font_file(options.font), GlyphRenderer(options.font)
    path, covered = file.path, glyphs.covered()
    made = find_made(glyphs, options.base)
    generated = "".join(filter(is_shown, made))
    text = (
        options.text if options.text is not None else read_text(Path(options.text_file)) if options.text_file else TEXT
    )
    lacking = unique(c for c in text if c not in covered and not c.isspace())
    text = "".join(c for c in text if c in covered or c.isspace())
    if lacking:
        logger.info(
            _(
                "{name} lacks {count} characters of the text, left out: {lacking}",
                name=path.name,
                count=len(lacking),
                lacking=lacking[:20],
            )
        )
    if not text.strip():
        text = generated[:200]
    if not text:
        raise UserError(_("{path} has no glyph to show", path=path))
    folder = Path(options.out_dir) if options.out_dir else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(picture(file, text, generated[: options.most], options.size), folder / "specimen.png")
    page = make_page(file, text, generated[: options.most], generated, len(covered) - len(made))
    write_whole(folder / "specimen.html", page.encode())
    for name in ("specimen.png", "specimen.html"):
        logger.info(folder / name)
    return 0


def is_shown(character: str) -> bool:
    """Whether a character is worth a place among the generated ones; spaces are not."""
    return not character.isspace() and (is_han(ord(character)) or character.isprintable())


def break_lines(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
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


def find_made(glyphs: GlyphRenderer, base: str | None) -> str:
    """The generated glyphs of a font: those that the file beside it tells of, or else those that its base lacks.

    What was corrected since is drawn; what another font lent is not generated.
    """
    found = find_generated(glyphs)
    if found is not None:
        return "".join(c for c in glyphs.covered() if c in found.entries and "font" not in found.entries[c])
    drawn = set(GlyphRenderer(base).covered()) if base else set()
    return "".join(c for c in glyphs.covered() if c not in drawn)


def say_charsets(font: GlyphRenderer) -> None:
    """Say how much of each named charset a font has, and the first characters that it lacks."""
    width = max(map(len, NAMED))
    logger.info(font.title)
    for name in NAMED:
        characters = read_charset(name)
        lacking = "".join(c for c in characters if not font.covers(c))
        count = len(characters) - len(lacking)
        some = f"  lacks {abbreviate(lacking, 12)}" if lacking else ""
        logger.info(f"{name:{width}}{count:>7} of {len(characters):>6}{count / len(characters):>7.1%}{some}")
    ideographs = sum(is_han(ord(c)) for c in font.covered())
    logger.info(_("{ideographs} ideographs in all", ideographs=ideographs))


def picture(file: FontFile, text: str, generated: str, size: int) -> Image.Image:
    """The text, then the generated glyphs one by one, these in another colour than the drawn ones."""
    marked = set(generated)
    font, small = (file.for_pillow(pixels) for pixels in (size, max(8, size // 2)))
    width = WIDTH - 2 * MARGIN
    parts = [(font, line) for line in break_lines(text, font, width)] + [(small, "")]
    parts += [(small, line) for line in break_lines(generated, small, width) if generated]
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


def make_page(file: FontFile, text: str, shown: str, generated: str, drawn: int) -> str:
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
