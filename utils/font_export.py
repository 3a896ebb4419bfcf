"""Make a font of drawn glyphs, or complete one with them.

    python -m utils.font_export --experiment_dir experiments/run1 --font_out MyFont.otf --font_name "My Font"
    python -m utils.font_export --experiment_dir experiments/run1 --font_out Full.ttf --base MyFont.ttf

Drawings are those of infer.py. Each is traced and put where a drawn glyph of the target font would be: the inverse of
its placement in training.
"""

import sys
from typing import Any

from utils.cli import Parser, run_script
from utils.fonts.flags import EXPORT, ExportOptions


def build_parser() -> Parser:
    """The command line of the export."""
    return Parser("utils.font_export", (__doc__ or "").split("\n\n")[0], EXPORT)


def main(argv: list[str] | None = None) -> int:
    """Run the export with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Make the font; returns 1 when a drawing had no outline."""
    from utils.fonts import export

    return export.run(ExportOptions(**given))


if __name__ == "__main__":
    sys.exit(main())
