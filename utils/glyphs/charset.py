"""Which characters: named charsets, charsets from text files, and names of single characters."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from utils.errors import UserError

CODEPOINT = re.compile(r"[Uu]\+([0-9A-Fa-f]{4,6})(?![0-9A-Fa-f])")


def _decode(encoding: str, leads: Iterable[int], trails: Iterable[int]) -> str:
    """Every character of the given double-byte ranges that `encoding` defines, in code order."""
    trails = list(trails)
    codes = (bytes((lead, trail)) for lead in leads for trail in trails)
    return "".join(code.decode(encoding, errors="ignore") for code in codes)


_BIG5_TRAILS = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
_EUC_TRAILS = range(0xA1, 0xFF)


def _big5_level_1() -> str:
    # The level ends in the middle of its last row, at 0xC67E; what follows there is not Big5 itself.
    rows = _decode("big5", range(0xA4, 0xC6), _BIG5_TRAILS)
    return rows + _decode("big5", [0xC6], range(0x40, 0x7F))


NAMED: dict[str, tuple[str, Callable[[], str]]] = {
    "big5_1": ("Big5 level 1, common Traditional Chinese, 5,401 characters", _big5_level_1),
    "big5": (
        "Big5, Traditional Chinese, 13,053 characters",
        lambda: _big5_level_1() + _decode("big5", range(0xC9, 0xFA), _BIG5_TRAILS)[:7652],
    ),
    "gb2312_1": (
        "GB 2312 level 1, common Simplified Chinese, 3,755 characters",
        lambda: _decode("gb2312", range(0xB0, 0xD8), _EUC_TRAILS),
    ),
    "gb2312": (
        "GB 2312, Simplified Chinese, 6,763 characters",
        lambda: _decode("gb2312", range(0xB0, 0xF8), _EUC_TRAILS),
    ),
    "jis_1": (
        "JIS X 0208 level 1, common Japanese kanji, 2,965 characters",
        lambda: _decode("euc_jp", range(0xB0, 0xD0), _EUC_TRAILS),
    ),
    "ksx1001": (
        "KS X 1001, 2,350 Korean syllables and 4,888 hanja",
        lambda: _decode("euc_kr", [*range(0xB0, 0xC9), *range(0xCA, 0xFE)], _EUC_TRAILS),
    ),
}


def read_charset(name_or_path: str) -> str:
    """The characters of a named charset or of a UTF-8 text file, each once, in order.

    Raises:
        UserError: when it is neither, or the file is not UTF-8 or holds no character.
    """
    if name_or_path in NAMED:
        return unique(NAMED[name_or_path][1]())
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(f"{name_or_path} is neither a charset ({', '.join(NAMED)}) nor a text file")
    return read_text_file(path)


def read_text_file(path: Path) -> str:
    """The characters of a UTF-8 text file, each once; `U+6C38` stands for its character.

    Raises:
        UserError: when the file can't be read, is not UTF-8 or holds no character.
    """
    characters = parse_text(read_text(path))
    if not characters:
        raise UserError(f"{path} holds no character")
    return characters


def read_text(path: Path) -> str:
    """A UTF-8 text file.

    Raises:
        UserError: when it can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def parse_text(text: str) -> str:
    """The drawable characters of `text`, each once, in order; `U+6C38` stands for its character."""

    def named(match: re.Match) -> str:
        codepoint = int(match[1], 16)
        return chr(codepoint) if codepoint <= 0x10FFFF else match[0]

    return unique(character for character in CODEPOINT.sub(named, text) if is_drawable(character))


def is_drawable(character: str) -> bool:
    """False for spaces, control and format characters, surrogates and variation selectors."""
    if unicodedata.category(character)[0] in "CZ" and unicodedata.category(character) not in ("Co", "Cn"):
        return False
    return not (0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF)


def is_han(codepoint: int) -> bool:
    """Whether a code point is a Han ideograph: the unified blocks, their extensions, the compatibility ones."""
    return (
        0x3400 <= codepoint <= 0x4DBF
        or 0x4E00 <= codepoint <= 0x9FFF
        or 0xF900 <= codepoint <= 0xFAFF
        or 0x20000 <= codepoint <= 0x3FFFF
        or codepoint == 0x3007
    )


def unique(characters: Iterable[str]) -> str:
    """Each character once, in the order of its first appearance."""
    return "".join(dict.fromkeys(characters))


def codepoint_name(character: str) -> str:
    """`U+6C38` for 永."""
    return f"U+{ord(character):04X}"


def named_character(stem: str) -> str | None:
    """The character that a file name means: `永`, `U+6C38` or `27704`; None if it means none.

    macOS decomposes names, `が` into two characters. A number with leading zeros is that of a scan.
    """
    if len(stem) > 1:
        stem = unicodedata.normalize("NFC", stem)
    if len(stem) == 1:
        return stem if is_drawable(stem) else None
    match = CODEPOINT.fullmatch(stem)
    codepoint = int(match[1], 16) if match else int(stem) if re.fullmatch(r"[1-9][0-9]{1,6}", stem) else -1
    return chr(codepoint) if 0 <= codepoint <= 0x10FFFF and is_drawable(chr(codepoint)) else None
