"""Which characters the files of a folder are named after: as people, scanners and font tools name them."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from utils.glyphs.charset import CODEPOINT, is_drawable, is_han
from utils.messages import _

# What a file manager adds to the name of a second file: `U+4E00 (1)`, `永 copy 2`, `永 - 複製`.
COPY = re.compile(r"( \([0-9]{1,3}\)| ?-? (copy|複製|副本)( [0-9]{1,3})?( \([0-9]{1,3}\))?)$")
# Names of glyphs by the Adobe Glyph List, of one character and without a variant; and hexadecimal numbers.
PREFIXED = re.compile(r"uni([0-9A-F]{4})|u([0-9A-F]{4,6})|0[xX]([0-9A-Fa-f]{4,6})")
DECIMAL = re.compile(r"[1-9][0-9]{1,6}")
HEXADECIMAL = re.compile(r"[0-9A-F]{4,6}")


class Names(NamedTuple):
    """What the names in a folder mean."""

    characters: dict[str, str | None]  # by the stem of a file; None: it names no character
    note: str | None  # how names were read that could be read otherwise


def read_names(stems: Sequence[str]) -> Names:
    """Read the stems of all files of a folder alike: bare numbers are decimal or hexadecimal in all of them.

    Hexadecimal they are only where all names are such numbers, and one has a letter, or more of them mean a Han
    ideograph so than as decimal numbers.
    """
    bare = [COPY.sub("", stem) for stem in stems]
    all_hexadecimal = bool(bare) and all(map(HEXADECIMAL.fullmatch, bare))
    with_letters = [stem for stem in bare if not stem.isdigit()]
    of_han = {base: sum(is_han(int(stem, base)) for stem in bare if DECIMAL.fullmatch(stem)) for base in (10, 16)}
    is_hexadecimal = all_hexadecimal and (bool(with_letters) or of_han[16] > of_han[10])
    found = {stem: named_character(stem, 16 if is_hexadecimal else 10) for stem in stems}
    return Names(found, _note(found, bare, is_hexadecimal, of_han[16]))


def named_character(stem: str, base: int = 10) -> str | None:
    """The character that a file name means: `永`, `U+6C38`, `uni6C38`, `u6C38`, `0x6c38` or `27704`; None if none.

    A bare number is in the given base; one with leading zeros is that of a scan, unless it is hexadecimal. macOS
    decomposes names, `が` into two characters. What marks a copy is left out.
    """
    stem = COPY.sub("", stem)
    if len(stem) > 1:
        stem = unicodedata.normalize("NFC", stem)
    if len(stem) == 1:
        return stem if is_drawable(stem) else None
    match = CODEPOINT.fullmatch(stem) or PREFIXED.fullmatch(stem)
    if match:
        codepoint = int(next(filter(None, match.groups())), 16)
    elif (DECIMAL if base == 10 else HEXADECIMAL).fullmatch(stem):
        codepoint = int(stem, base)
    else:
        return None
    return chr(codepoint) if codepoint <= 0x10FFFF and is_drawable(chr(codepoint)) else None


def _note(
    found: dict[str, str | None], bare: Sequence[str], is_hexadecimal: bool, could_be_hexadecimal: int
) -> str | None:
    numbers = [stem for stem in bare if (HEXADECIMAL if is_hexadecimal else DECIMAL).fullmatch(stem)]
    example = next(
        (_(", such as {stem} for {found}", stem=stem, found=found[stem]) for stem in numbers if found.get(stem)), ""
    )
    if is_hexadecimal:
        return _("{count} names are read as hexadecimal code points{example}", count=len(numbers), example=example)
    if could_be_hexadecimal and example:
        return _("{count} names are read as decimal code points{example}", count=len(numbers), example=example)
    return None
