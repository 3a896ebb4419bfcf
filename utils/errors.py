"""What goes wrong: a mistake of the user's, work that can't go on, too little memory."""

import re

# What torch, cuDNN and cuBLAS say when there is too little.
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory|STATUS_ALLOC_FAILED")


class UserError(Exception):
    """A mistake that the user can mend; the message is one line that says how. Scripts exit with 2."""


class Failure(Exception):
    """Work that can't go on; the message is one line. Scripts exit with 1."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is too little memory; torch has a RuntimeError for it on every device."""
    return isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)) is not None


def abbreviate(text: str, length: int = 20) -> str:
    """The first characters of a long list of characters, for a message."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"
