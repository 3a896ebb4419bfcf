"""Which characters: charsets by name, from text files and by ranges.

A charset, as --charset has it, is one or several of these, joined by +:

    NAME       one of NAMED, or `source`: all ideographs of the source font
    FILE       a UTF-8 text file: the characters in it; `U+6C38` stands for its character
    RANGE      U+3400-4DBF: all code points from the first to the last
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from utils.errors import UserError
from utils.messages import _

Part = TypeVar("Part")
SOURCE = "source"
RANGE = re.compile(r"U\+([0-9A-F]{4,6})(?:-(?:U\+)?([0-9A-F]{4,6}))?", re.IGNORECASE)
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


def _big5() -> str:
    return _big5_level_1() + _decode("big5", range(0xC9, 0xFA), _BIG5_TRAILS)[:7652]


def _hkscs() -> str:
    known = set(_big5())
    # One at a time, since some codes stand for two code points.
    codes = (bytes((lead, trail)).decode("big5hkscs", "ignore") for lead in range(0x87, 0xFF) for trail in _BIG5_TRAILS)
    return "".join(c for c in codes if len(c) == 1 and is_han(ord(c)) and c not in known)


def _in_ranges(*ranges: tuple[int, int]) -> str:
    return "".join(chr(code) for first, last in ranges for code in range(first, last + 1) if is_drawable(chr(code)))


def _vertical_forms() -> dict[str, str]:
    found: dict[str, str] = {}
    for code in (*range(0xFE10, 0xFE20), *range(0xFE30, 0xFE50)):  # Vertical Forms, CJK Compatibility Forms
        kind, _, plain = unicodedata.decomposition(chr(code)).partition(" ")
        if kind == "<vertical>":
            point = int(plain, 16)
            found.setdefault(chr(point + _FULL_WIDTH if point < 0x80 else point), chr(code))
    return found


_FULL_WIDTH = 0xFEE0  # from an ASCII character to its full-width form
VERTICAL_FORMS = _vertical_forms()  # of marks of punctuation, as Unicode pairs them: 、 and its form in vertical text
_PUNCTUATION = (
    *((0x00B7, 0x00B7), (0x2013, 0x2014), (0x2018, 0x2019), (0x201C, 0x201D), (0x2025, 0x2027), (0x203B, 0x203B)),
    *((0x3001, 0x3003), (0x3008, 0x3011), (0x3014, 0x301F), (0x30FB, 0x30FB)),
    *((0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF5E)),
)
_BOPOMOFO = ((0x3105, 0x312F), (0x31A0, 0x31BB), (0x02C7, 0x02C7), (0x02CA, 0x02CB), (0x02D9, 0x02D9))
_KANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF))
_LATIN = ((0x0021, 0x007E), (0x00A1, 0x00FF))

NAMED: dict[str, tuple[str, Callable[[], str]]] = {
    "big5_1": ("Big5 level 1, common Traditional Chinese, 5,401 characters", _big5_level_1),
    "big5": (
        "Big5, Traditional Chinese, 13,053 characters",
        _big5,
    ),
    "hkscs": ("what HKSCS adds to Big5, for Hong Kong, 4,522 characters", _hkscs),
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
    "punctuation": (
        "punctuation of Chinese text, full-width, and its vertical forms",
        lambda: _in_ranges(*_PUNCTUATION) + "".join(VERTICAL_FORMS.values()),
    ),
    "bopomofo": ("bopomofo and its tone marks", lambda: _in_ranges(*_BOPOMOFO)),
    "kana": ("hiragana and katakana", lambda: _in_ranges(*_KANA)),
    "latin": ("ASCII and Latin-1", lambda: _in_ranges(*_LATIN)),
}


def read_charset(charset: str, source: Callable[[], str] | None = None) -> str:
    """The characters of a charset, each once, in order; `source` gives those of the source font.

    Raises:
        UserError: when a part is none, or a file is not UTF-8 or holds no character.
    """

    def read(name: str) -> str | None:
        if name in NAMED:
            return NAMED[name][1]()
        if Path(name).is_file():
            return read_text_file(Path(name))
        if name == SOURCE:
            if source is None:
                raise UserError(_("the charset source is that of a source font: here is none"))
            return "".join(c for c in source() if is_han(ord(c)))
        match = RANGE.fullmatch(name)
        return None if match is None else _range(match, name)

    parts = read_joined("+".join(part.strip() for part in charset.split("+")), read)
    if isinstance(parts, str):
        names = f"{', '.join(NAMED)}, {SOURCE}"
        raise UserError(
            _(
                "'{parts}' is neither a charset ({names}), a range such as U+3400-4DBF, nor a text file",
                parts=parts,
                names=names,
            )
        )
    return unique("".join(parts))


def _range(match: re.Match, name: str) -> str:
    first, last = int(match[1], 16), int(match[2] or match[1], 16)
    if not first <= last <= 0x10FFFF:
        raise UserError(_("{name} is no range of code points, from the first to the last", name=name))
    found = _in_ranges((first, last))
    if not found:
        raise UserError(_("{name} holds no character", name=name))
    return found


def read_joined(text: str, read: Callable[[str], Part | None]) -> "list[Part] | str":
    """What `read` makes of each part of a text joined by `+`; a part that it makes nothing of, where there is one.

    A name may hold a `+` itself: the longest that `read` makes something of counts.
    """
    pieces, found = text.split("+"), []
    while pieces:
        for count in range(len(pieces), 0, -1):
            part = read("+".join(pieces[:count]))
            if part:
                break
        else:
            return pieces[0]
        found.append(part)
        pieces = pieces[count:]
    return found


def read_text_file(path: Path) -> str:
    """The characters of a UTF-8 text file, each once; `U+6C38` stands for its character.

    Raises:
        UserError: when the file can't be read, is not UTF-8 or holds no character.
    """
    characters = parse_text(read_text(path))
    if not characters:
        raise UserError(_("{path} holds no character", path=path))
    return characters


def read_text(path: Path) -> str:
    """A UTF-8 text file.

    Raises:
        UserError: when it can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            _("{path} is not UTF-8 (byte {start}): save it as UTF-8", path=path, start=error.start)
        ) from None
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
