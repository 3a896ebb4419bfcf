"""An app in the browser: your glyphs in, training, drawing, review, a font out. For this computer alone.

python -m utils.app
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import Flag, FlagTable, Parser, at_least, run_script

logger = logging.getLogger("utils.app")  # which is __main__ when it runs

APP: FlagTable = {
    "the app": (
        Flag("app_dir", "folder of its projects", str, "experiments/app"),
        Flag("port", "port of the server, which only this computer reaches; 0: any", at_least(0, 65535), 7860),
        Flag("browser", "open it in a browser", bool, True),
    )
}


@dataclass(frozen=True)
class AppOptions:
    """The value of every flag."""

    app_dir: str = "experiments/app"
    port: int = 7860
    browser: bool = True


def build_parser() -> Parser:
    """The command line of the app."""
    return Parser("utils.app", __doc__ or "", APP)


def main(argv: list[str] | None = None) -> int:
    """Run with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(given: dict[str, Any]) -> int:
    """Serve until Ctrl-C."""
    from utils.web.server import serve  # which needs an extra

    options = AppOptions(**given)
    folder = Path(options.app_dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    serve(folder, options.port, options.browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
