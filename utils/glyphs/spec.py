"""The grammar of fonts: what a flag such as --src_font, --dst_font, --base or --missing names.

    FONT      one font, or several joined by +
    one font  PATH[#INDEX][:PLACE], or a PATTERN[:PLACE] that names the slices of one font
    PATH      a file .ttf, .otf, .ttc, .woff or .woff2; bundled:NAME is one of those that come along
    INDEX     which font of a collection, from 0
    PLACE     of a variable font: AXIS=VALUE,... or the name of an instance; where nothing is named, its default
    PATTERN   a path with * or ?

A file whose very name holds such a sign is that file: `a+b.ttf`, `c#1.ttf`, `d:wght=1.ttf`; of several readings the one
with the longest path counts. A drive letter is part of the path.
"""

import glob
import re
from pathlib import Path

from utils.errors import UserError
from utils.glyphs.charset import read_joined
from utils.glyphs.font_file import FontFile
from utils.glyphs.variation import find_variation
from utils.messages import _

BUNDLED = Path(__file__).parent.parent / "samples"
PREFIX = "bundled:"
BUNDLED_NAME = re.compile(r"bundled:([\w.-]+)((?:#.*)?)")


def font_files(spec: str) -> list[FontFile]:
    """The fonts that a spec names, in its order.

    Raises:
        UserError: when there is no such file, an index is not a number, or a font has no such place.
    """
    found = read_joined(spec, _named)
    if isinstance(found, str):
        if "*" in spec or "?" in spec:
            raise UserError(_("font {spec}: there are no such files", spec=spec))
        missing = spec if "+" not in spec else f"{spec}: {found}"
        raise UserError(_("font {missing}: no such file", missing=missing))
    return [file for files in found for file in files]


def one_font_file(spec: str, what: str = "font") -> FontFile:
    """The font of a spec that names a single one.

    Raises:
        UserError: when there is no such file, or `spec` names several.
    """
    files = font_files(spec)
    if len(files) > 1:
        raise UserError(
            _("{what} {spec} is in {count} slices: one file is needed here", what=what, spec=spec, count=len(files))
        )
    return files[0]


def _named(name: str) -> list[FontFile]:
    """The fonts of a name without +; none where it names no file."""
    found = _without_place(name)
    head, colon, place = name.rpartition(":")
    if found or not colon or "+" in place:  # after which comes another font
        return found
    return [_at(file, place, name) for file in _without_place(head)]


def _at(file: FontFile, place: str, name: str) -> FontFile:
    """A variable font at a place.

    Raises:
        UserError: when it has no such place, or can't be read.
    """
    try:
        with file.open() as font:
            return FontFile(file.path, file.index, find_variation(font, place, name))
    except UserError:
        raise
    # fontTools documents no closed set of errors for damaged files.
    except Exception as error:
        raise UserError(
            _("font {name} can't be read: {error}", name=name, error=" ".join(str(error).split())[:200])
        ) from error


def _without_place(name: str) -> list[FontFile]:
    if name.startswith(PREFIX):
        match = BUNDLED_NAME.fullmatch(name)
        if match is None:  # a place or another font comes after it
            return []
        if not (BUNDLED / match[1]).is_file():
            raise UserError(_("font {name}: no such font is bundled", name=name))
        name = f"{BUNDLED / match[1]}{match[2]}"
    if Path(name).is_file():
        return [FontFile(Path(name))]
    stem, _sign, index = name.rpartition("#")
    if stem and Path(stem).is_file():
        if not (index.isascii() and index.isdigit()):
            if set(index) & set("+:"):  # a place or another font comes after it
                return []
            raise UserError(
                _(
                    "font {name}: '{index}' after # is not the number of a font in the collection",
                    name=name,
                    index=index,
                )
            )
        return [FontFile(Path(stem), int(index))]
    if "*" in name or "?" in name:
        found = sorted(glob.glob(name.replace("[", "[[]")))  # noqa: PTH207
        return [FontFile(Path(path)) for path in found if Path(path).is_file()]
    return []
