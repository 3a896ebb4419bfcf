"""What goes wrong: a mistake of the user's, work that can't go on, too little memory."""

import re
from collections.abc import Mapping
from typing import TypeVar

from utils.messages import _

Key = TypeVar("Key")
# What torch, cuDNN and cuBLAS say when there is too little.
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory|STATUS_ALLOC_FAILED")


class UserError(Exception):
    """A mistake that the user can mend; the message is one line that says how. Scripts exit with 2.

    A `code` names the kind of it, where files record it: messages are for people, and may be in their language.
    """

    def __init__(self, message: str = "", code: str = ""):
        super().__init__(message)
        self.code = code


# The words for codes, where nothing more is known than these.
WORDS = {
    "no_image": "is no image that can be read",
    "unnamed": "is not named by a character",
    "second": "is a second image of a character",
    "heic": "is HEIC, which could not be read",
    "too_large": "has too many pixels",
    "damaged": "is damaged",
    "border": "has a dark border",
    "blank": "shows no ink",
    "shape": "is not two squares side by side",
    "label": "has too high a label",
    "no_pair": "is no pair of a label and an image",
}


class Reason(str):
    """Why something is left out, in words that follow its name, with the `code` that files have for it."""

    code: str

    def __new__(cls, words: str, code: str) -> "Reason":
        reason = super().__new__(cls, words)
        reason.code = code
        return reason

    def __getnewargs__(self) -> tuple[str, str]:  # for pickle
        return str(self), self.code

    @classmethod
    def recorded(cls, code: str) -> "Reason":
        """The reason that a file has a code for; older files have words."""
        return cls(_(WORDS[code]) if code in WORDS else code, code)

    @classmethod
    def of(cls, error: UserError) -> "Reason":
        """The reason that an error tells."""
        return cls(str(error), error.code or "unusable")


def codes(reasons: Mapping[Key, Reason]) -> dict[Key, str]:
    """What files have of some reasons."""
    return {key: reason.code for key, reason in reasons.items()}


class Failure(Exception):
    """Work that can't go on; the message is one line. Scripts exit with 1."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is too little memory; torch has a RuntimeError for it on every device."""
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)) is not None


def abbreviate(text: str, length: int = 20) -> str:
    """The first characters of a long list of characters, for a message."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"
