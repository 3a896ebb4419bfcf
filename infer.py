"""Draw characters with a trained model: its EMA weights where there are any."""

import sys
from typing import Any

from utils.cli import Parser, run_script
from utils.drawing.flags import DRAW, DrawOptions


def build_parser() -> Parser:
    """The command line of infer.py."""
    return Parser("infer.py", __doc__, DRAW)


def main(argv: list[str] | None = None) -> int:
    """Run infer.py with `argv`; returns the exit code, 2 for a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Draw as the given flags say; returns 1 when something could not be drawn."""
    from utils.drawing.run import run

    return run(DrawOptions(**given))


if __name__ == "__main__":
    sys.exit(main())
