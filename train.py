"""Train zi2zi on pairs of glyphs: the same characters in a source font and in one or more target fonts."""

import sys
from typing import Any

from utils.cli import Parser, run_script
from utils.training.flags import TRAIN


def build_parser() -> Parser:
    """The command line of train.py."""
    return Parser("train.py", __doc__, TRAIN)


def main(argv: list[str] | None = None) -> int:
    """Run train.py with `argv`; returns the exit code, 2 for a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Train as the given flags say, or say what would be trained."""
    from utils.training import start

    return start.dry_run(given) if given.get("dry_run") else start.train(given)


if __name__ == "__main__":
    sys.exit(main())
