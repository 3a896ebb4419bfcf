"""Which characters of a charset to draw first: those whose components the others are made of.

python -m utils.choose --charset big5_1 --count 100
python -m utils.choose --charset big5_1 --count 50 --drawn drawn.txt --out next.txt
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import Flag, FlagTable, Parser, at_least, run_script
from utils.errors import UserError
from utils.files import write_whole
from utils.glyphs.charset import is_han, read_charset, unique
from utils.glyphs.components import choose, coverage
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.render import GlyphRenderer
from utils.messages import _

logger = logging.getLogger("utils.choose")  # which is __main__ when it runs

CHOOSE: FlagTable = {
    "characters": (
        Flag("charset", "characters of the font to be: charsets joined by +, or a text file", str, "big5_1"),
        Flag("count", "characters to choose", at_least(1), 100),
        Flag("drawn", "characters that are drawn already: charsets joined by +, or a text file"),
        Flag("dst_font", "fonts whose characters are drawn already", many=True),
        Flag("dst_imgs", "folders of drawn glyphs", many=True),
        Flag("src_font", "font that has to have them (default: any)"),
        Flag("out", "text file for them (default: they are printed)"),
    )
}


@dataclass(frozen=True)
class ChooseOptions:
    """The value of every flag."""

    charset: str = "big5_1"
    count: int = 100
    drawn: str | None = None
    dst_font: list[str] | None = None
    dst_imgs: list[str] | None = None
    src_font: str | None = None
    out: str | None = None


def build_parser() -> Parser:
    """The command line of utils.choose."""
    return Parser("utils.choose", __doc__ or "", CHOOSE)


def main(argv: list[str] | None = None) -> int:
    """Choose with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Print the characters, or write them, and say how much of the charset they cover."""
    options = ChooseOptions(**given)
    source = GlyphRenderer(options.src_font) if options.src_font else None
    charset = read_charset(options.charset, source.covered if source else None)
    wanted = "".join(c for c in charset if is_han(ord(c)) and (source is None or source.covers(c)))
    if not wanted:
        raise UserError(_("--charset {charset} has no ideograph to choose", charset=options.charset))
    drawn = already_drawn(options)
    chosen = choose(wanted, options.count, drawn)
    if not chosen:
        raise UserError(
            _(
                "all {count} ideographs of --charset {charset} are drawn already",
                count=len(wanted),
                charset=options.charset,
            )
        )
    if options.out:
        write_whole(Path(options.out), f"{chosen}\n".encode())
    else:
        print(chosen)
    before = _(", {coverage:.0%} without them", coverage=coverage(wanted, drawn)) if drawn else ""
    share = coverage(wanted, drawn + chosen)
    logger.info(
        _(
            "{count} of {total} characters: {share:.0%} of the components, by use{before}",
            count=len(chosen),
            total=len(wanted),
            share=share,
            before=before,
        )
    )
    return 0


def already_drawn(options: ChooseOptions) -> str:
    """The characters that are drawn already, as the flags tell."""
    found = read_charset(options.drawn) if options.drawn else ""
    for spec in options.dst_font or []:
        found += GlyphRenderer(spec).covered()
    for folder in options.dst_imgs or []:
        found += "".join(map(chr, GlyphImages(folder).codepoints()))
    return unique(found)


if __name__ == "__main__":
    sys.exit(main())
