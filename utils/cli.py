"""What the scripts' command lines share: one-line errors, and values resolved from several places."""

import argparse
import contextlib
import errno
import io
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from utils.errors import Failure, UserError, abbreviate, is_out_of_memory

# What a path that the user gave can be: there already, a file instead of a folder, not there, forbidden.
WRONG_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)
TYPOGRAPHIC_FLAG = re.compile(r"^[‐-―−]+-*(?=[A-Za-z])")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and that takes no abbreviated flags."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        args = sys.argv[1:] if args is None else list(args)
        for arg in args:
            if TYPOGRAPHIC_FLAG.match(arg):
                name = TYPOGRAPHIC_FLAG.sub("", arg)
                self.error(f"{arg} begins with a typographic dash, as copied from a web page: type --{name}")
            if arg.partition("=")[0] == "--use_ema":
                self.error("--use_ema is not needed: EMA is on by default, --ema_decay 0 turns it off")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def add_flag(group: argparse._ArgumentGroup, name: str, help_text: str, default: Any = None, **kwargs: Any) -> None:
    """Add --name to `group` with the parser default None: values are chosen by `resolve`, not by argparse."""
    if default is not None:
        help_text += f" (default {('off', 'on')[default] if isinstance(default, bool) else default})"
    if isinstance(default, bool):
        kwargs["action"] = argparse.BooleanOptionalAction
    elif "action" not in kwargs:
        kwargs.setdefault("metavar", name.rsplit("_", 1)[-1].upper())
    group.add_argument(f"--{name}", default=None, help=help_text.replace("%", "%%"), **kwargs)


def as_given(name: str, value: Any) -> str:
    """A flag as it stands on the command line: `--lr 0.1`, `--g_blur`, `--no-g_blur`."""
    return f"--no-{name}" if value is False else f"--{name}" if value is True else f"--{name} {value}"


def resolve(args: argparse.Namespace, *sources: Mapping[str, Any]) -> argparse.Namespace:
    """Fill every flag that was not given from the first of `sources` that knows it."""
    values = dict(vars(args))
    for name, value in values.items():
        if value is None:
            values[name] = next((source[name] for source in sources if source.get(name) is not None), None)
    return argparse.Namespace(**values)


def run_script(parser: Parser, run: Callable[[argparse.Namespace], int], argv: Sequence[str] | None) -> int:
    """Parse `argv` and return `run(args)`; what goes wrong is one line on stderr.

    A mistake of the user's exits with 2, a failing disk or too little memory with 1, SIGINT and SIGTERM
    with 130 and 143 after the files at hand are closed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # where its encoding lacks Chinese, names are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    args = parser.parse_args(argv)
    try:
        with terminating():
            return run(args)
    except UserError as error:
        parser.error(str(error))
    except (Exception, KeyboardInterrupt) as error:
        code, line = told(error)
        if line is None:
            raise
        print(f"{parser.prog}: {line}", file=sys.stderr)
        return code


def told(error: BaseException) -> tuple[int, str | None]:
    """The exit code that an error ends a script with, and the line that tells of it; None where none does."""
    if isinstance(error, UserError):
        return 2, f"error: {error}"
    if isinstance(error, Failure):
        return 1, f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, "interrupted"
    if isinstance(error, OSError):
        code = 2 if error.errno in WRONG_PATH else 1
        return code, f"error: {error.filename or 'writing'}: {error.strerror or error}"
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return 1, "error: there is too little memory: lower --batch_size"
    return 1, None


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """Within, SIGTERM leaves as `sys.exit` does, through every `finally`."""

    def leave(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def say(*lines: str | None) -> None:
    """Print lines at once, so that they come before a progress bar."""
    for line in lines:
        if line:
            print(line, flush=True)


def at_least(minimum: int, most: int = 2**63 - 1):
    """An argparse type: an integer of `minimum` or more, up to `most`."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{abbreviate(repr(text))} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{value} is less than {minimum}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{abbreviate(text)} is more than {most}")
        return value

    return integer


def step_latest_or_best(text: str) -> str:
    """An argparse type for --resume: `latest`, `best` or a step."""
    if text not in ("latest", "best") and not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{abbreviate(repr(text))} is neither 'latest' nor 'best' nor a step number")
    return text
