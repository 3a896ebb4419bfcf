"""Messages in the user's language: English, or one of the tables in languages/.

A message is written `_("step {step} is not there", step=step)`. No code reads one, no file holds one, and what a
table lacks stays English.
"""

import contextlib
import functools
import json
import locale
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

LANGUAGES = Path(__file__).parent / "languages"  # LANGUAGE.json: the messages in it, by their English
VARIABLES = ("ZI2ZI_LANG", "LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts
# What a locale's name begins with, and the table for it.
NAMES = {"zh_tw": "zh_TW", "zh_hk": "zh_TW", "zh_mo": "zh_TW", "zh_hant": "zh_TW"}
# What a line is broken between: words and single ideographs, each with the brackets and marks that stay with it.
OPENING, CLOSING = "（「『《〈", "，。、；：！？）」』》〉"
ATOM = re.compile(rf"\s*[{OPENING}]*(?:[^\s\u2e80-\u9fff\uff00-\uffef]+|\S)[{CLOSING}]*")
_english: ContextVar[bool] = ContextVar("_english", default=False)


def _(text: str, /, **values: object) -> str:
    """A message in the user's language, with the values of its placeholders, as `str.format` has them."""
    found = _table(language()).get(text, text)
    return found.format(**values) if values else found


@contextlib.contextmanager
def in_english() -> Iterator[None]:
    """Within, messages are English: what goes into files is the same for everyone."""
    token = _english.set(True)
    try:
        yield
    finally:
        _english.reset(token)


def language() -> str:
    """The language of the messages: `en`, or the name of a table."""
    if _english.get():
        return "en"
    name = next((os.environ[variable] for variable in VARIABLES if os.environ.get(variable)), "") or _of_windows()
    name = name.replace("-", "_").lower()
    return next((table for prefix, table in NAMES.items() if name.startswith(prefix)), "en")


def _of_windows() -> str:
    """The name of the language that Windows speaks; empty elsewhere."""
    if sys.platform != "win32":
        return ""
    import ctypes

    return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: an ideograph takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` columns, if no word is longer than that."""
    lines = [""]
    for atom in ATOM.findall(text):
        if lines[-1] and columns(lines[-1] + atom) > width:
            lines.append(atom.lstrip())
        else:
            lines[-1] += atom if lines[-1] else atom.lstrip()
    return lines


@functools.cache
def _table(name: str) -> dict[str, str]:
    return {} if name == "en" else json.loads((LANGUAGES / f"{name}.json").read_text(encoding="utf-8"))
