"""For which languages a font says it is: the bits of its OS/2 table, by the characters in it."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.O_S_2f_2 import calcCodePageRanges, intersectUnicodeRanges

from utils.glyphs.charset import is_han, read_charset
from utils.glyphs.font_file import os2_of

COMPLETE = 0.95  # of the common characters of a code page: it can be written with the font, whatever else it is for


class Page(NamedTuple):
    """A code page of East Asia."""

    bit: int  # in ulCodePageRange
    language: int  # by its number in Windows
    codec: str  # Python's
    common: str  # the charset of its common characters
    letters: range  # the code points of its own letters


# Where two cover a font alike, the first is taken.
PAGES = (
    Page(20, 0x0404, "big5", "big5_1", range(0x3105, 0x3130)),
    Page(18, 0x0804, "gb2312", "gb2312_1", range(0)),
    Page(17, 0x0411, "euc_jp", "jis_1", range(0x3041, 0x3100)),
    Page(19, 0x0412, "euc_kr", "ksx1001", range(0xAC00, 0xD7A4)),
)
SYLLABLES = PAGES[-1].letters
JOHAB = 21
EAST_ASIAN = {page.bit for page in PAGES} | {JOHAB}


def complete_pages(codepoints: Iterable[int]) -> list[Page]:
    """The East Asian code pages that a font of these characters is for, the best covered first.

    Those whose common ideographs are all but complete; where none is, the one that has most of the font's ideographs,
    and, of several, most of its letters. Korean is written without ideographs: its syllables will do.
    """
    known = set(codepoints)
    counts = {page: (len(_ideographs(page.codec) & known), len(known.intersection(page.letters))) for page in PAGES}
    ranked = sorted((page for page in PAGES if any(counts[page])), key=counts.__getitem__, reverse=True)
    complete = [page for page in ranked if _is_complete(page, known, han=True)] or ranked[:1]
    return [page for page in ranked if page in complete or _is_complete(page, known, han=False)]


def find_languages(name: str, codepoints: Iterable[int]) -> list[int]:
    """The languages that an East Asian name of a font is in, by their numbers in Windows: at least one.

    By the letters in it; Han ideographs alone are of every language that a font of these characters is for.
    """
    lettered = [page for page in PAGES if any(ord(c) in page.letters for c in name)]
    pages = lettered or complete_pages(codepoints) or complete_pages(map(ord, name)) or PAGES[:1]
    return [page.language for page in pages]


def code_page_bits(codepoints: Iterable[int]) -> set[int]:
    """The bits of ulCodePageRange1 and 2 for a font of these characters."""
    known = set(codepoints)
    # fontTools tells the East Asian ones by a single character each, which a small font may lack or have by chance.
    bits = calcCodePageRanges(known) - EAST_ASIAN | {page.bit for page in complete_pages(known)}
    return bits | {JOHAB} if known.issuperset(SYLLABLES) else bits


def set_bits(font: TTFont, codepoints: Iterable[int]) -> None:
    """Have a new font say which characters it has."""
    os2, known = font["OS/2"], set(codepoints)
    os2.setUnicodeRanges(intersectUnicodeRanges(known))
    os2.setCodePageRanges(code_page_bits(known))


def extend_bits(font: TTFont, added: Iterable[int]) -> None:
    """Have a font to which characters were `added` say so as well; what it says already stays."""
    os2 = os2_of(font)
    if os2 is None:
        return
    os2.setUnicodeRanges(os2.getUnicodeRanges() | intersectUnicodeRanges(set(added)))
    if os2.version == 0:  # it has no code pages, and is read as if it were for those that its cmap is for
        os2.version, os2.ulCodePageRange1, os2.ulCodePageRange2 = 1, 0, 0
    os2.setCodePageRanges(os2.getCodePageRanges() | code_page_bits(font.getBestCmap() or {}))
    if os2.version >= 3:  # before, it was the mean of the small Latin letters
        os2.recalcAvgCharWidth(font)


def _is_complete(page: Page, known: set[int], han: bool) -> bool:
    """Whether nearly all common ideographs of a page are there, or else nearly all its syllables."""
    common = [ord(c) for c in read_charset(page.common) if is_han(ord(c)) == han]
    return bool(common) and sum(c in known for c in common) >= COMPLETE * len(common)


@cache
def _ideographs(codec: str) -> frozenset[int]:
    """The Han ideographs of an encoding."""

    def is_in(codepoint: int) -> bool:
        try:
            return len(chr(codepoint).encode(codec)) == 2
        except UnicodeEncodeError:
            return False

    return frozenset(c for c in (*range(0x3400, 0xA000), *range(0xF900, 0xFB00)) if is_han(c) and is_in(c))
