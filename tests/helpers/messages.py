"""The messages of the program, as its sources have them."""

import ast
import string
from pathlib import Path
from typing import NamedTuple

import infer
import train
from tests.helpers.ranks import ROOT
from utils import app, choose, font_export, prepare, review, specimen, template
from utils.cli import FlagTable
from utils.drawing.flags import DRAW
from utils.errors import WORDS
from utils.fonts.flags import EXPORT
from utils.glyphs.charset import NAMED
from utils.training.flags import TRAIN

TABLES: tuple[FlagTable, ...] = (
    *(TRAIN, DRAW, EXPORT, prepare.PACK, prepare.UNPACK, template.TEMPLATE),
    *(choose.CHOOSE, review.REVIEW, app.APP, specimen.SPECIMEN),
)
SCRIPTS = (train, infer, app, choose, prepare, review)
# What argparse says of itself.
ARGPARSE = (
    *(
        "usage: ",
        "options",
        "positional arguments",
        "show this help message and exit",
        "argument %(argument_name)s: %(message)s",
    ),
    *("expected one argument", "expected at least one argument", "unrecognized arguments: %s"),
    *("the following arguments are required: %s", "invalid choice: %(value)r (choose from %(choices)s)"),
    *("invalid %(type)s value: %(value)r", "%(prog)s: error: %(message)s\n", "unexpected option string: %s"),
)


class Call(NamedTuple):
    """A message where it is said."""

    where: str
    text: str
    values: set[str]


def calls() -> list[Call]:
    """Every `_("...", ...)` with a text, in the order of the files."""
    found = []
    for path in sorted((ROOT / "utils").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                text = node.args[0]
                if isinstance(text, ast.Constant):
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    found.append(Call(where, text.value, {word.arg or "" for word in node.keywords}))
    return found


def placeholders(text: str) -> list[str]:
    """The placeholders of a message with their formats, sorted."""
    return sorted(f"{name}!{kind}:{form}" for _text, name, form, kind in string.Formatter().parse(text) if name)


def descriptions() -> list[str]:
    """What --help says of each script."""
    return [getattr(script, "__doc__", "") or "" for script in SCRIPTS]


def all_messages() -> list[str]:
    """Everything that a table can translate, each once."""
    helps = [flag.help for table in TABLES for flags in table.values() for flag in flags]
    headings = [heading for table in TABLES for heading in table]
    parsers = [module.build_parser().description or "" for module in (*SCRIPTS, font_export, specimen, template)]
    named = [what for what, _characters in NAMED.values()]
    found = [
        *parsers,
        *headings,
        *helps,
        "on",
        "off",
        "held-out",
        "training",
        *ARGPARSE,
        *named,
        *WORDS.values(),
        *(call.text for call in calls()),
    ]
    return list(dict.fromkeys(found))


def table_path(name: str) -> Path:
    """The file of a table."""
    return ROOT / "utils" / "languages" / f"{name}.json"
