"""A page to look through drawings on, the worst first, beside their source and your own glyphs; and what you marked.

python -m utils.review --experiment_dir experiments/run1
python -m utils.review --experiment_dir experiments/run2 --other experiments/run1
python -m utils.review --redraw review.json --out redraw.txt
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import Flag, FlagTable, Parser, run_script
from utils.errors import UserError, abbreviate
from utils.experiment.marks import REDRAW, marked, read_marks
from utils.files import write_whole
from utils.labels import Label, label_or_blend
from utils.messages import _

logger = logging.getLogger("utils.review")  # which is __main__ when it runs

REVIEW: FlagTable = {
    "the page": (
        Flag("experiment_dir", "folder of the experiment", str, "experiments/default"),
        Flag("infer_dir", "folder of the drawings (default: EXPERIMENT_DIR/infer)"),
        Flag("label", "label, or blend of labels, whose drawings are shown", label_or_blend, 0),
        Flag("src_font", "the source font, if it has moved or none is recorded"),
        Flag("other", "experiment, or folder of drawings, to compare with"),
        Flag("out", "file to write (default: review.html beside the drawings, with --redraw none)"),
    ),
    "what was marked on it": (Flag("redraw", "review.json whose characters to redraw are listed"),),
}


@dataclass(frozen=True)
class ReviewOptions:
    """The value of every flag."""

    experiment_dir: str = "experiments/default"
    infer_dir: str | None = None
    label: Label = 0
    src_font: str | None = None
    other: str | None = None
    out: str | None = None
    redraw: str | None = None


def build_parser() -> Parser:
    """The command line of the review page."""
    return Parser("utils.review", __doc__ or "", REVIEW)


def main(argv: list[str] | None = None) -> int:
    """Run with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Write the page, or the list of characters that were marked on one."""
    options = ReviewOptions(**given)
    if options.redraw is not None:
        others = [name for name in ("experiment_dir", "infer_dir", "label", "src_font", "other") if name in given]
        if others:
            raise UserError(_("--redraw lists what a review.json holds: leave --{name} out", name=others[0]))
        return list_marked(Path(options.redraw), options.out)
    from utils.drawing.review import open_review  # which loads torch

    folder = Path(options.infer_dir) if options.infer_dir else Path(options.experiment_dir) / "infer"
    out = Path(options.out) if options.out else folder / "review.html"
    review = open_review(Path(options.experiment_dir), folder, options.label, options.src_font, options.other)
    review.write(out)
    logger.info(_("{out}: {count} drawings, to be opened in a browser", out=out, count=len(review.drawings)))
    return 0


def list_marked(path: Path, out: str | None) -> int:
    """Print the characters of a review.json that are to be redrawn, or write them."""
    characters = marked(read_marks(path), (REDRAW,))
    if not characters:
        raise UserError(_("{path} marks no character to be redrawn", path=path))
    if out is None:
        print(characters)
    else:
        write_whole(Path(out), f"{characters}\n".encode())
    logger.info(
        _("{count} characters to redraw: {characters}", count=len(characters), characters=abbreviate(characters))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
