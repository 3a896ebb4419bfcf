"""Make a font of drawn glyphs, or complete one with them.

    python -m utils.font_export --experiment_dir experiments/run1 --font_out MyFont.otf --font_name "My Font"
    python -m utils.font_export --experiment_dir experiments/run1 --font_out Full.ttf --base MyFont.ttf

Drawings are those of infer.py. Each is traced and put where a drawn glyph of the target font would be: the inverse of
its placement in training.
"""

import argparse
import sys
from typing import Any

from utils.cli import Parser, add_flag, at_least, run_script
from utils.fonts.export import DEFAULTS, run
from utils.labels import label_or_blend


def build_parser() -> Parser:
    """The command line of the export."""
    parser = Parser(prog="utils.font_export", description=__doc__.split("\n\n")[0])

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs: Any) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    what = parser.add_argument_group("what goes into the font")
    flag(what, "experiment_dir", "folder of the experiment")
    flag(what, "infer_dir", "folder of the drawings (default: EXPERIMENT_DIR/infer)")
    flag(what, "label", "label, or blend of labels, whose drawings are taken", type=label_or_blend)
    flag(what, "src_font", "the source font, if it has moved or none is recorded")
    flag(what, "base", "font to complete: .ttf, .otf, or .ttc#INDEX; what it has stays as it is")
    flag(what, "exclude_suspects", "worst of suspects.json to leave out", type=at_least(0))
    flag(what, "tolerance", "pixels that an outline may be away from a drawing's edge", type=float)

    out = parser.add_argument_group("the font")
    flag(out, "font_out", "file to write: .otf (cubic) or .ttf (quadratic outlines)")
    flag(out, "font_name", "name of the family (default: that of the base, or of the file)")
    flag(out, "font_name_en", "name of the family in English, beside a Chinese one (default: its code points)")
    flag(out, "font_style", "name of the style (default: Regular, or that of the base)")
    flag(out, "font_version", "version number (default: 1.000)")
    flag(out, "font_license", "text of the licence, or a file that holds it")
    flag(out, "reserved_font_name", "names that the licence of a font it is made from reserves", nargs="+")
    flag(out, "num_workers", "processes that trace (default: one a core)", type=at_least(1, 256))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the export with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
