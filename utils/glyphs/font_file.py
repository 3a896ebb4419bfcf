"""Font files: how one is opened, and which characters its cmap tells of.

FreeType and Pillow never see a path: on Windows both take one in the code page of the system, which has few characters.
"""

import ctypes
import functools
import hashlib
import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import freetype
import numpy as np
from fontTools.cffLib import Index
from fontTools.misc.textTools import Tag
from fontTools.ttLib import TTFont
from PIL import ImageFont

from utils.errors import UserError
from utils.glyphs.variation import Variation, as_text, instantiate, set_face, with_metrics_of
from utils.messages import _

PACKED = (b"wOFF", b"wOF2")
COLLECTION = b"ttcf"
# Python's codecs for cmaps that are older than Unicode, the likelier first, by platform and encoding.
CODECS = {
    (3, 4): ("cp950", "big5hkscs"),
    (3, 3): ("gbk", "gb18030"),
    (3, 2): ("cp932",),
    (3, 5): ("cp949",),
    (3, 6): ("johab",),
    (1, 2): ("cp950",),
    (1, 25): ("gbk",),
    (1, 1): ("cp932",),
    (1, 3): ("cp949",),
}
SYMBOLS = (3, 0)
LAST = 0x10FFFF


@dataclass(frozen=True)
class FontFile:
    """A font: a file, in a collection which of its fonts, and of a variable font at which place of its axes."""

    path: Path
    index: int = 0
    variation: Variation = ()

    def open(self, **how: Any) -> TTFont:
        """The font for fontTools, read lazily; `how` is for TTFont. At a place it has metrics alone, no outlines.

        Raises:
            Exception: of any kind, when the file is damaged; fontTools documents no closed set.
        """
        font = self.open_as_it_is(**how)
        return with_metrics_of(font, self.variation) if self.variation else font

    def open_as_it_is(self, **how: Any) -> TTFont:
        """The font as its file has it, whatever the place is."""
        packed = unpacked(self)
        return TTFont(io.BytesIO(packed) if packed else self.path, fontNumber=self.index, lazy=True, **how)

    def face(self) -> freetype.Face:
        """The font for FreeType, to be used in this process alone.

        Raises:
            Exception: of any kind, when the file is damaged.
        """
        packed = unpacked(self)
        if packed:
            face = freetype.Face(_Memory(np.frombuffer(packed, np.uint8)), 0)
        else:
            try:
                content = np.memmap(self.path, np.uint8, "r")
            except OSError:  # not every file system can do that
                content = np.frombuffer(self.path.read_bytes(), np.uint8)
            face = freetype.Face(_Memory(content), self.index)
        if self.variation:
            set_face(face, self.variation)
        return face

    def for_pillow(self, size: int) -> ImageFont.FreeTypeFont:
        """The font for Pillow, at `size` pixels an em."""
        if self.variation:
            return ImageFont.truetype(io.BytesIO(self.alone()), size)
        content = unpacked(self) or self.path.read_bytes()
        return ImageFont.truetype(io.BytesIO(content), size, index=self.index)

    def alone(self) -> bytes:
        """The font as the content of a file that holds nothing else, not packed, and of a variable font no other place.

        For a large variable font that takes a minute.
        """
        if self.variation:
            state = self.path.stat()
            return _instantiate(self, state.st_mtime_ns, state.st_size)
        packed = unpacked(self)
        if packed:
            return packed
        with self.path.open("rb") as opened:
            if opened.read(4) != COLLECTION:
                return self.path.read_bytes()
        content = io.BytesIO()
        with self.open(recalcBBoxes=False, recalcTimestamp=False) as font:
            font.save(content, reorderTables=None)
        return content.getvalue()

    def sha256(self) -> str:
        """The SHA-256 of the file, in hexadecimal; after the file come the index, if not 0, and the place, if any."""
        return hashlib.sha256(self.path.read_bytes() + self.which.encode()).hexdigest()

    @property
    def full_name(self) -> str:
        """The file as a flag may name it from anywhere."""
        return f"{self.path.resolve()}{self.which}"

    @property
    def which(self) -> str:
        """What stands after the path where a flag names the font."""
        return (f"#{self.index}" if self.index else "") + (f":{as_text(self.variation)}" if self.variation else "")


class _Memory:
    """What freetype-py takes for an open file: bytes that are in memory, or mapped into it."""

    def __init__(self, content: np.ndarray):
        self._content = content
        self._as_parameter_ = ctypes.c_void_p(content.ctypes.data)

    def read(self) -> "_Memory":
        return self

    def __len__(self) -> int:
        return len(self._content)


def unpacked(file: FontFile) -> bytes | None:
    """The font of a WOFF or WOFF2 file as it was before it was packed for the web; None of any other file.

    Raises:
        UserError: when a package for that is not there.
    """
    with file.path.open("rb") as opened:
        if opened.read(4) not in PACKED:
            return None
    state = file.path.stat()
    return _unpack(file.path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=32)  # unpacking a large one takes seconds
def _unpack(path: Path, _time: int, _size: int) -> bytes:
    plain = io.BytesIO()
    try:
        with TTFont(path, recalcBBoxes=False, recalcTimestamp=False) as font:
            font.flavor = None
            font.save(plain, reorderTables=None)
    except ImportError as error:
        raise UserError(
            _("font {path} is packed as WOFF2: python -m pip install brotli reads it", path=path)
        ) from error
    return plain.getvalue()


@functools.lru_cache(maxsize=2)
def _instantiate(file: FontFile, _time: int, _size: int) -> bytes:
    return instantiate(file.open_as_it_is, file.variation)


# ----------------------------------------------------------------------------------- its characters


class OpenFont:
    """A font that is open in this process: its face, and the glyphs of its characters."""

    def __init__(self, file: FontFile):
        self.face = file.face()
        self.symbolic = False  # its codes don't tell which characters they are
        self._codecs: tuple[str, ...] = ()
        self._choose_charmap()

    def _choose_charmap(self) -> None:
        """Where there is no Unicode cmap: one that is older, else one of symbols.

        FreeType chooses one of Unicode; but where the file has none it makes one up, from the names of the glyphs.
        """
        current = self.face.charmap
        if current._FT_Charmap and current.cmap_format >= 0:
            return
        real = (charmap for charmap in self.face.charmaps if charmap.cmap_format >= 0)
        charmaps = {(charmap.platform_id, charmap.encoding_id): charmap for charmap in real}
        chosen = next((kind for kind in (*CODECS, SYMBOLS) if kind in charmaps), None)
        if chosen:
            self.face.set_charmap(charmaps[chosen])
            self._codecs, self.symbolic = CODECS.get(chosen, ()), chosen == SYMBOLS

    def glyph_index(self, character: str) -> int:
        """The number of a character's glyph; 0 where there is none."""
        if not self._codecs:
            return self.face.get_char_index(ord(character))
        return next(filter(None, map(self.face.get_char_index, legacy_codes(character, self._codecs))), 0)

    def characters(self) -> dict[int, int]:
        """The glyphs of the font's code points, with ink or without."""
        # A damaged cmap may count beyond the last code point, up to 2^32.
        known = {
            code: glyph for code, glyph in itertools.takewhile(lambda p: p[0] <= LAST, self.face.get_chars()) if glyph
        }
        if not self._codecs:
            return known
        decoded = ((character_of_code(code, self._codecs), glyph) for code, glyph in known.items())
        return {ord(character): glyph for character, glyph in decoded if character}


def legacy_codes(character: str, codecs: tuple[str, ...]) -> list[int]:
    """The codes of a character in encodings of one and two bytes."""
    found = []
    for codec in codecs:
        try:
            code = character.encode(codec)
        except UnicodeEncodeError:
            continue
        if len(code) <= 2:
            found.append(int.from_bytes(code, "big"))
    return found


def character_of_code(code: int, codecs: tuple[str, ...]) -> str | None:
    """The character of a code; None where no codec knows it."""
    if code > 0xFFFF:
        return None
    content = code.to_bytes(2 if code > 0xFF else 1, "big")
    for codec in codecs:
        try:
            character = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if len(character) == 1:
            return character
    return None


# ----------------------------------------------------------------------------------- its glyphs and metrics


def table(font: TTFont, tag: str) -> Any:
    """A table of a font: what attributes it has depends on its data, and fontTools declares none."""
    return font[tag]


def glyph_data(font: TTFont) -> Callable[[int], bytes]:
    """What tells glyphs apart without drawing them: the bytes of each, by its number; empty beyond the last."""
    if "glyf" in font:
        width, unit = (">u4", 1) if table(font, "head").indexToLocFormat else (">u2", 2)
        reader: Any = font.reader
        places = (np.frombuffer(reader["loca"], width).astype(np.int64) * unit).tolist()
        data = reader["glyf"]
        return lambda glyph: data[places[glyph] : places[glyph + 1]] if glyph + 1 < len(places) else b""
    tag = "CFF " if "CFF " in font else "CFF2"
    top = table(font, tag).cff.topDictIndex[0]
    top.file.seek(top.rawDict["CharStrings"])
    strings = Index(top.file, isCFF2=tag == "CFF2")
    return lambda glyph: bytes(strings[glyph]) if glyph < len(strings.items) else b""


def os2_of(font: TTFont) -> Any | None:
    """The OS/2 table; None where there is none, or one that is cut short, as old fonts have them."""
    try:
        return font.get("OS/2")
    # What fontTools raises for a damaged table is no closed set.
    except Exception:
        font.tables.pop(Tag("OS/2"), None)  # half read; it is written as it is in the file
        return None


def em_bottom(font: TTFont) -> int:
    """Where a font's em box begins, in units; it is as high as the em.

    By the typographic metrics of OS/2; by hhea where these don't span an em, in the middle of what hhea spans.
    """
    units, os2, hhea = table(font, "head").unitsPerEm, os2_of(font), table(font, "hhea")
    if os2 is not None and os2.sTypoAscender - os2.sTypoDescender == units:
        return os2.sTypoDescender
    if hhea.ascent - hhea.descent == units:
        return hhea.descent
    return round((hhea.ascent + hhea.descent - units) / 2)


def unicode_cmap(font: TTFont) -> Mapping[int, str] | None:
    """The glyph names of a font's code points, of a cmap older than Unicode through its codec; None without either."""
    found = font.getBestCmap()
    if found is not None:
        return found
    tables = {(each.platformID, each.platEncID): each for each in table(font, "cmap").tables}
    for kind, codecs in CODECS.items():
        if kind in tables:
            decoded = ((character_of_code(code, codecs), name) for code, name in tables[kind].cmap.items())
            return {ord(character): name for character, name in decoded if character}
    return None
