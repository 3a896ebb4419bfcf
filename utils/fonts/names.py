"""What a font says of itself: its names, in English and in the language of its characters."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fontTools.ttLib import TTFont
from fontTools.ttLib.tables._n_a_m_e import table__n_a_m_e as NameTable

from utils.errors import UserError
from utils.messages import _

LONGEST_TEXT = 32_000  # characters of an entry of the name table
LONGEST_POSTSCRIPT = 40, 20  # characters of family and style; 63 are allowed in all
EAST_ASIAN = 0x2E80  # the first code point of letters that an English name can't have
ENGLISH = 0x409
NUMBERS = {  # of the entries of a name table
    **{"familyName": 1, "styleName": 2, "uniqueFontIdentifier": 3, "fullName": 4, "version": 5, "psName": 6},
    "licenseDescription": 13,
}
WEIGHTS = {  # of a style by a word in its name, the longer words first
    **{"extralight": 200, "ultralight": 200, "semibold": 600, "demibold": 600, "extrabold": 800, "ultrabold": 800},
    **{"thin": 100, "light": 300, "medium": 500, "bold": 700, "black": 900, "heavy": 900},
}


@dataclass
class Names:
    """What a font says of itself; `english` is the family's name in English, beside one in other letters.

    Raises:
        ValueError: when a value can't be part of a font, naming the field.
    """

    family: str
    style: str = "Regular"
    version: str = "1.000"
    licence: str | None = None
    english: str | None = None

    def __post_init__(self):
        fields = {"name": self.family, "style": self.style, "license": self.licence or "-", "name_en": self.english}
        for field, text in fields.items():
            if text is None:
                continue
            if not text.strip() or len(text.encode("utf-16-be", "surrogatepass")) >= 2 * LONGEST_TEXT:
                raise ValueError(
                    _(
                        "font_{field} is empty or longer than {most} characters",
                        field=field,
                        most=LONGEST_TEXT,
                    )
                )
            if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
                raise ValueError(_("font_{field} is not UTF-8", field=field))
        if self.english is not None and not self.english.isascii():
            raise ValueError(_("font_name_en {english!r} has other letters than those of ASCII", english=self.english))
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", self.version):
            raise ValueError(_("font_version {version!r} is not a number such as 1.002", version=self.version))

    @property
    def is_derived(self) -> bool:
        """Whether the family's name in English is made from its characters, which nobody can read."""
        return self.english is None and is_east_asian(self.family)

    @property
    def english_family(self) -> str:
        """The family's name for programs that speak English."""
        return self.english or (ascii_name(self.family, " ") if self.is_derived else self.family)

    def english_table(self) -> dict[str, str]:
        """The strings of the English entries of a name table, by fontTools' names for them."""
        strings = {
            **self._named(self.english_family),
            "psName": self._postscript(),
            "version": f"Version {self.version}",
        }
        strings["uniqueFontIdentifier"] = f"{self.version};{strings['psName']}"
        return strings | ({"licenseDescription": self.licence} if self.licence else {})

    def own_table(self) -> dict[str, str]:
        """The strings of the entries in the language of the family's name; none where that is the English one."""
        return self._named(self.family) if self.family != self.english_family else {}

    def _named(self, family: str) -> dict[str, str]:
        full = family if self.style == "Regular" else f"{family} {self.style}"
        return {"familyName": family, "styleName": self.style, "fullName": full}

    def _postscript(self) -> str:
        parts = self.english or self.family, self.style
        family, style = (limited(ascii_name(part), most) for part, most in zip(parts, LONGEST_POSTSCRIPT, strict=True))
        return f"{family}-{style}"

    def write(self, table: NameTable, languages: Iterable[int]) -> None:
        """Put the names into a name table: in English, and in each of `languages`, by their numbers in Windows."""
        for language, strings in ((ENGLISH, self.english_table()), *((one, self.own_table()) for one in languages)):
            for key, text in strings.items():
                table.setName(text, NUMBERS[key], 3, 1, language)

    def weight(self) -> int:
        """The weight class that the style means."""
        style = re.sub(r"[\s_-]", "", self.style.casefold())
        return next((weight for word, weight in WEIGHTS.items() if word in style), 400)

    def is_bold(self) -> bool:
        return self.style.casefold() in ("bold", "bold italic")

    def is_italic(self) -> bool:
        return "italic" in self.style.casefold() or "oblique" in self.style.casefold()


def is_east_asian(text: str) -> bool:
    """Whether a text has Chinese, Japanese or Korean letters."""
    return any(ord(c) >= EAST_ASIAN for c in text)


def ascii_name(text: str, between: str = "") -> str:
    """A text in ASCII letters and digits, another for every other text: 我的 Font is u6211u7684Font.

    Spaces and hyphens are left out, or replaced by `between`; what else is not ASCII is named by its code point.
    """
    words = re.split(r"[\s_-]+", text.strip())
    named = ("".join(c if c.isascii() and c.isalnum() else f"u{ord(c):04X}" for c in word) for word in words)
    return between.join(filter(None, named)) or f"u{ord(text[0]):04X}"


def limited(name: str, most: int) -> str:
    """A name of at most `most` characters, which still is another one for every other name."""
    return name if len(name) <= most else name[: most - 9] + "x" + hashlib.sha256(name.encode()).hexdigest()[:8]


def rename(font: TTFont, names: Names, languages: Iterable[int]) -> None:
    """Give a font another name, in English and in `languages`, in place of those that it has."""
    table = font["name"]
    replaced = {NUMBERS[key] for key in names.english_table()} | {16, 17, 21, 22}
    table.names = [record for record in table.names if record.nameID not in replaced]
    names.write(table, languages)
    if "CFF " in font:
        cff, strings = font["CFF "].cff, names.english_table()
        cff.fontNames[0] = strings["psName"]
        top = cff.topDictIndex[0]
        top.FullName, top.FamilyName = latin(strings["fullName"]), latin(names.english_family)


def latin(text: str) -> str:
    """A name as a CFF table can hold it, which knows Latin letters alone."""
    return "".join(c for c in text if ord(c) < 256).strip() or "Untitled"


def style_name(font: TTFont) -> str:
    """The style name of a font."""
    return (font["name"].getDebugName(17) or font["name"].getDebugName(2) or "Regular") if "name" in font else "Regular"


def family_name(font: TTFont) -> str:
    """The family name of a font."""
    return (font["name"].getDebugName(16) or font["name"].getDebugName(1) or "") if "name" in font else ""


def check_name(name: str, reserved: Sequence[str]) -> None:
    """See to it that a font that is made from others does not bear a name that their licence reserves.

    Raises:
        UserError: when it would.
    """
    for word in reserved:
        if word.casefold() in name.casefold():
            raise UserError(
                _(
                    "the licence reserves the name {word!r}: give the font another with --font_name, not {name!r}",
                    word=word,
                    name=name,
                )
            )
