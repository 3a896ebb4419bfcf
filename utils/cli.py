"""What the commands share: their flags, messages of one line, and exit codes."""

import argparse
import contextlib
import errno
import io
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NoReturn

from tqdm import tqdm

from utils.errors import Failure, UserError, abbreviate, is_out_of_memory
from utils.messages import _, wrap

# What a path that the user gave can be: there already, a file instead of a folder, not there, forbidden.
WRONG_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)
argparse._ = _  # pyright: ignore[reportAttributeAccessIssue]: argparse asks gettext for its own words by this name
TYPOGRAPHIC_FLAG = re.compile(r"^[‐-―−]+-*(?=[A-Za-z])")


class Kept(Enum):
    """What becomes of a flag's value when its training is resumed."""

    FREE = auto()  # recorded; another value may be given
    FIXED = auto()  # recorded; the checkpoint is what it says
    MACHINE = auto()  # recorded; where it was not given, each machine has its own
    SOURCE = auto()  # recorded; given again, it says where the data lies now
    NOT = auto()  # of this call alone


@dataclass(frozen=True)
class Flag:
    """A flag of a command."""

    name: str
    help: str
    type: Callable[[str], Any] = str  # bool: `--name` and `--no-name`
    default: Any = None
    choices: Sequence[Any] | None = None
    many: bool = False  # takes several values
    one_way: bool = False  # of a bool: there is no `--no-name`
    required: bool = False
    metavar: str | None = None
    kept: Kept = Kept.FREE

    def add_to(self, group: argparse._ArgumentGroup) -> None:
        """Add the flag to a group of a parser, which leaves it None where it is not given."""
        text = _(self.help)
        if self.default is not None and not self.one_way:
            value = _(("off", "on")[self.default]) if self.type is bool else self.default
            text += _(" (default {value})", value=value)
        kwargs: dict[str, Any] = {"default": None, "help": text.replace("%", "%%"), "required": self.required}
        if self.type is bool:
            kwargs["action"] = "store_true" if self.one_way else argparse.BooleanOptionalAction
        else:
            kwargs |= {"type": self.type, "choices": self.choices, "nargs": "+" if self.many else None}
            kwargs["metavar"] = self.metavar or self.name.rsplit("_", 1)[-1].upper()
        group.add_argument(f"--{self.name}", **kwargs)

    def accepts(self, value: Any) -> bool:
        """Whether the flag could have this value, read from JSON."""
        if self.type is bool:
            return isinstance(value, bool)
        if self.many:
            return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
        if isinstance(value, bool) or not isinstance(value, str if self.type is str else (int, float)):
            return False
        try:
            return self.type(str(value)) == value and (self.choices is None or value in self.choices)
        except (ValueError, argparse.ArgumentTypeError):
            return False


FlagTable = Mapping[str, Sequence[Flag]]  # the flags of a command, by the headings of its --help


def flags_in(table: FlagTable) -> dict[str, Flag]:
    """The flags of a table by their names."""
    return {flag.name: flag for flags in table.values() for flag in flags}


def defaults_in(table: FlagTable) -> dict[str, Any]:
    """The values of those flags of a table that have a default."""
    return {name: flag.default for name, flag in flags_in(table).items() if flag.default is not None}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps the help of a flag by the columns that it takes, and not by its letters."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError, and takes no abbreviated flags."""

    def __init__(self, prog: str, description: str | None, table: FlagTable | None = None, **kwargs: Any):
        kwargs.setdefault("formatter_class", HelpFormatter)
        super().__init__(prog=prog, description=_(description or ""), allow_abbrev=False, **kwargs)
        for heading, flags in (table or {}).items():
            group = self.add_argument_group(_(heading))
            for flag in flags:
                flag.add_to(group)

    def given(self, argv: Sequence[str] | None) -> dict[str, Any]:
        """The values that `argv` gives, by default the command line.

        Raises:
            UserError: when it can't be understood.
        """
        argv = sys.argv[1:] if argv is None else argv
        for arg in argv:
            if TYPOGRAPHIC_FLAG.match(arg):
                name = TYPOGRAPHIC_FLAG.sub("", arg)
                self.error(
                    _(
                        "{arg} begins with a typographic dash, as copied from a web page: type --{name}",
                        arg=arg,
                        name=name,
                    )
                )
            if arg.partition("=")[0] == "--use_ema":
                self.error(_("--use_ema is not needed: EMA is on by default, --ema_decay 0 turns it off"))
        return {name: value for name, value in vars(self.parse_args(argv)).items() if value is not None}

    def error(self, message: str) -> NoReturn:
        raise UserError(" ".join(message.split()))


def as_given(name: str, value: Any) -> str:
    """A flag as it stands on the command line: `--lr 0.1`, `--g_blur`, `--no-g_blur`."""
    return f"--no-{name}" if value is False else f"--{name}" if value is True else f"--{name} {value}"


class LineHandler(logging.Handler):
    """Prints messages as they are, each a line: errors to stderr, all else to stdout; progress bars stay whole."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        with tqdm.external_write_mode(file=stream):
            print(record.getMessage(), file=stream, flush=True)


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """Within, what the modules of this program log is printed."""
    logger, handler = logging.getLogger("utils"), LineHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run_script(parser: Parser, run: Callable[[dict[str, Any]], int], argv: Sequence[str] | None) -> int:
    """Call `run` with the flags that `argv` gives, and return its exit code; what goes wrong is one line on stderr.

    A mistake of the user's has the code 2, a failing disk or too little memory 1, SIGINT and SIGTERM
    130 and 143 after the files at hand are closed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # where its encoding lacks Chinese, names are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with terminating(), messages():
            return run(parser.given(argv))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        code, line = told(error)
        if line is None and not isinstance(error, SystemExit):
            raise
        if line is not None:
            print(f"{parser.prog}: {line}", file=sys.stderr)
        return code


def told(error: BaseException) -> tuple[int, str | None]:
    """The exit code that an error ends a script with, and the line that tells of it; None where none does."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None), None
    if isinstance(error, UserError):
        return 2, _("error: {error}", error=error)
    if isinstance(error, Failure):
        return 1, _("error: {error}", error=error)
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, _("interrupted")
    if isinstance(error, OSError):
        code = 2 if error.errno in WRONG_PATH else 1
        where, why = error.filename or _("writing"), error.strerror or error
        return code, _("error: {error}", error=f"{where}: {why}")
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        return 1, _("error: {error}", error=_("there is too little memory: lower --batch_size"))
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


def at_least(minimum: int, most: int = 2**63 - 1):
    """An argparse type: an integer of `minimum` or more, up to `most`."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(_("{text} is not a whole number", text=abbreviate(repr(text)))) from None
        if value < minimum:
            raise argparse.ArgumentTypeError(_("{value} is less than {minimum}", value=value, minimum=minimum))
        if value > most:
            raise argparse.ArgumentTypeError(_("{text} is more than {most}", text=abbreviate(text), most=most))
        return value

    return integer


def step_latest_or_best(text: str) -> str:
    """An argparse type for --resume: `latest`, `best` or a step."""
    if text not in ("latest", "best") and not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(
            _("{text} is neither 'latest' nor 'best' nor a step number", text=abbreviate(repr(text)))
        )
    return text
