"""Pages to write your glyphs on, as a PDF to print; and the glyphs out of photos or scans of these pages.

python -m utils.template --count 60 --out template.pdf
python -m utils.template --charset mine.txt
python -m utils.template --scan page1.jpg page2.jpg --out_dir hand
"""

import io
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.cli import Flag, FlagTable, Parser, at_least, run_script
from utils.errors import UserError, abbreviate
from utils.experiment.marks import REDRAW, marked, read_marks
from utils.files import write_whole
from utils.glyphs.charset import codepoint_name, read_charset
from utils.glyphs.components import choose
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.writing_page import cut_off, draw_page, left_out, page_forms, read_page
from utils.images import read_image, save_image
from utils.messages import _

logger = logging.getLogger("utils.template")  # which is __main__ when it runs

COUNT = 100  # characters of a template that nothing is said of

TEMPLATE: FlagTable = {
    "pages to print": (
        Flag("charset", "characters to write: charsets joined by +, or a text file (default: some of Big5 level 1)"),
        Flag(
            "count",
            "of these only so many, as utils.choose has them (default: all; without --charset 100)",
            at_least(1),
        ),
        Flag("redraw", "review.json: the characters that it marks to be redrawn"),
        Flag("out", "PDF to write", str, "template.pdf"),
        Flag("cell", "millimetres of a side of an em box, 12 to 60", float, 22.0),
        Flag("src_font", "font of the small characters above the cells", str, "bundled:source.otf"),
    ),
    "pages that are written on": (
        Flag("scan", "photos or scans of them", many=True),
        Flag("out_dir", "folder for the glyphs, as --dst_imgs takes it", str, "hand"),
        Flag("overwrite", "write glyphs anew that are there", bool, False),
    ),
}


@dataclass(frozen=True)
class TemplateOptions:
    """The value of every flag."""

    charset: str | None = None
    count: int | None = None
    redraw: str | None = None
    out: str = "template.pdf"
    cell: float = 22.0
    src_font: str = "bundled:source.otf"
    scan: list[str] | None = None
    out_dir: str = "hand"
    overwrite: bool = False


def build_parser() -> Parser:
    """The command line of the template."""
    return Parser("utils.template", (__doc__ or "").split("\n\n")[0], TEMPLATE)


def main(argv: list[str] | None = None) -> int:
    """Run the template with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Write the pages, or cut the glyphs out of photos; returns 1 when a page could not be read."""
    options = TemplateOptions(**given)
    naming = [name for name in ("redraw", "charset", "count") if name in given]
    if options.scan and naming:
        raise UserError(
            _("--scan reads pages that are written on, which tell their characters: leave --{name} out", name=naming[0])
        )
    if options.redraw and len(naming) > 1:
        raise UserError(_("--redraw tells the characters: leave --{name} out", name=naming[1]))
    return cut(options) if options.scan else write_pages(options)


def write_pages(options: TemplateOptions) -> int:
    """Write the PDF."""
    font = GlyphRenderer(options.src_font)
    characters = to_write(options, font)
    if Path(options.out).suffix.lower() != ".pdf":
        raise UserError(_("--out {out} does not end in .pdf", out=options.out))
    forms = page_forms(characters, options.cell)
    lacking = "".join(c for c in characters if not font.covers(c))
    if lacking:
        logger.info(
            _(
                "{name} lacks {count}, shown by their code points alone: {lacking}",
                name=font.name,
                count=len(lacking),
                lacking=abbreviate(lacking),
            )
        )
    pages = [draw_page(form, font, len(forms)) for form in tqdm(forms, desc="drawing", unit="page", disable=None)]

    content = io.BytesIO()
    pages[0].save(content, "PDF", resolution=300, save_all=True, append_images=pages[1:])
    write_whole(Path(options.out), content.getvalue())
    logger.info(
        _(
            "{out}: {count} cells, pages: {total}, to be printed at actual size",
            out=options.out,
            count=len(characters),
            total=len(forms),
        )
    )
    return 0


def to_write(options: TemplateOptions, font: GlyphRenderer) -> str:
    """The characters of the pages, in the order of their charset."""
    if options.redraw:
        marks = read_marks(Path(options.redraw))
        if not marked(marks, (REDRAW,)):
            raise UserError(_("{redraw} marks no character to be redrawn", redraw=options.redraw))
        return marked(marks, (REDRAW,))
    characters, count = read_charset(options.charset or "big5_1", font.covered), options.count
    if count is None and options.charset is None:
        count = COUNT
    if count is None or count >= len(characters):
        return characters
    shown = "".join(filter(font.covers, characters))
    chosen = choose(characters, count, among=shown if len(shown) >= count else characters)
    logger.info(
        _(
            "{count} of {total} characters, which have most of the components of the others",
            count=count,
            total=len(characters),
        )
    )
    return "".join(filter(set(chosen).__contains__, characters))


def cut(options: TemplateOptions) -> int:
    """Cut the glyphs out of photos; a page that can't be read is named, the others are cut."""
    folder, failed, total = Path(options.out_dir), 0, 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in tqdm(options.scan or [], desc="cutting", unit="page", disable=None):
        try:
            form, glyphs = read_page(as_grey(Path(name)))
            written = dict(glyphs)
        except UserError as error:
            logger.error(f"{name} {error}")
            failed += 1
            continue
        there = [c for c in written if (folder / f"{codepoint_name(c)}.png").exists() and not options.overwrite]
        for character in written.keys() - there:
            save_image(written[character], folder / f"{codepoint_name(character)}.png")
        blank = left_out(form, list(written))
        said = [_("{name}, page {number}: {count} glyphs", name=name, number=form.number, count=len(written))]
        said += (
            [_("{count} of them are there already (--overwrite writes them anew)", count=len(there))] if there else []
        )
        beyond = cut_off(written)
        said += (
            [_("{count} reach the edge of their cell: {beyond}", count=len(beyond), beyond=abbreviate(beyond, 12))]
            if beyond
            else []
        )
        said += [f"{len(blank)} left blank: {abbreviate(blank, 12)}"] if blank else []
        logger.info("; ".join(said))
        total += len(written) - len(there)
    logger.info(_("{total} glyphs are new in {folder}", total=total, folder=folder))
    return 1 if failed else 0


def as_grey(path: Path) -> np.ndarray:
    """A photo as uint8 [H, W].

    Raises:
        UserError: when it can't be read; the message does not name the file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(_("can't be read: {reason}", reason=error.strerror)) from error
    return np.asarray(read_image(content))


if __name__ == "__main__":
    sys.exit(main())
