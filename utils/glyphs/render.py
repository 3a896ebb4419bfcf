"""From a character to pixels: one font, one fixed placement, never one per glyph.

Rendering is unhinted. Outlines are taken in font units, transformed once, and rasterised by
FreeType straight into the canvas, so that a glyph is drawn alike in training and at inference.
"""

import ctypes
import functools
import hashlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import freetype
import numpy as np
from freetype.ft_enums.ft_load_flags import FT_LOAD_FLAGS
from freetype.ft_enums.ft_pixel_modes import FT_PIXEL_MODES
from freetype.raw import (
    FT_BBox,
    FT_Bitmap,
    FT_Matrix,
    FT_Outline_Get_BBox,
    FT_Outline_Get_Bitmap,
    FT_Outline_Transform,
    FT_Outline_Translate,
)

from utils.errors import UserError, abbreviate
from utils.glyphs.charset import is_han
from utils.glyphs.font_file import FontFile, OpenFont, em_bottom, glyph_data
from utils.glyphs.placement import Box, Movement, Placement
from utils.glyphs.spec import BUNDLED, PREFIX, font_files
from utils.glyphs.variation import Axis, axes_of, describe_axes, name_of
from utils.messages import _

# What fontTools finds odd in a font that can be read all the same is no line for the user.
logging.getLogger("fontTools").addHandler(logging.NullHandler())
MEASURED = 300  # ideographs that tell the advance of all
FEWEST_SHARING = 5  # Han characters with one outline: it is that of none of them. Compatibility forms make up to four
LOAD_FLAGS = sum(FT_LOAD_FLAGS[f"FT_LOAD_NO_{what}"] for what in ("SCALE", "HINTING", "BITMAP"))


class Outline(NamedTuple):
    """An outline as FreeType has it."""

    points: list[tuple[int, int]]
    tags: list[int]  # of each point
    contours: list[int]  # the number of the last point of each
    advance: int = 0


class GlyphRenderer:
    """Renders characters of one font on square canvases.

    `spec` is as in `utils.glyphs.spec`; of several files these are the slices of one font, unless `files` has them.
    Without a `placement` the font's em box (`em_bottom`) is centred on the canvas.
    Instances can be pickled, and used after a fork: each process opens the files for itself.

    Raises:
        UserError: when a file is missing, no font, or has no outlines.
    """

    def __init__(self, spec: str, placement: Placement | None = None, files: Sequence[FontFile] | None = None):
        self.spec = spec
        self.files = list(files or font_files(spec))
        self.path, self.index = self.files[0].path, self.files[0].index
        self._opened: tuple[int, list[OpenFont]] | None = None
        self._placeholders: frozenset[str] | None = None
        self.disregarded: frozenset[str] = frozenset()  # what it has, but as if it had not
        if len({file.variation for file in self.files}) > 1:
            raise UserError(
                _("font {spec}: its slices are at different places: after + each file needs its own place", spec=spec)
            )
        try:
            if not all(font.face.is_scalable for font in self._fonts):
                raise UserError(_("font {spec} has bitmaps only, no outlines", spec=spec))
            self.placement = placement or self.em_placement()
        except UserError:
            raise
        # Neither FreeType's binding nor fontTools documents a closed set of errors for damaged files.
        except Exception as error:
            reason = " ".join(str(error).removeprefix("FT_Exception:").split()) or type(error).__name__
            raise UserError(
                _("font {spec} can't be read: {reason}", spec=spec, reason=abbreviate(reason, 200))
            ) from error

    @property
    def fonts(self) -> "list[GlyphRenderer]":
        """The fonts that characters are drawn from: this one alone, where it is not a series of several."""
        return [self]

    def place(self, placement: Placement) -> None:
        """Place the font otherwise."""
        self.placement = placement

    def font_of(self, character: str) -> "GlyphRenderer":
        """That of `fonts` that draws a character."""
        return self

    def covers_itself(self, character: str) -> bool:
        """Whether the font covers a character without the further ones of a series."""
        return self.covers(character)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": None}

    @property
    def _fonts(self) -> list[OpenFont]:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), [OpenFont(file) for file in self.files]
        return self._opened[1]

    @property
    def face(self) -> freetype.Face:
        """FreeType's face of the font, of its first slice."""
        return self._fonts[0].face

    @property
    def is_symbolic(self) -> bool:
        """Whether the font numbers its characters as symbols, which does not tell which they are."""
        return all(font.symbolic for font in self._fonts)

    @property
    def name(self) -> str:
        """The font's family and style, for people."""
        family, style = (
            part.decode("utf-8", "replace") if part else "" for part in (self.face.family_name, self.face.style_name)
        )
        style = self._variation[0] or style
        if family.endswith(f" {style}"):
            style = ""
        return " ".join(part for part in (family, style) if part and part != "Regular") or self.path.stem

    @property
    def title(self) -> str:
        """The font's name and file; of a collection, also which of its fonts this is; of a variable font, where."""
        count = self.face.num_faces
        which = (
            _(", font {index} of {count}: choose with #0 to #{last}", index=self.index, count=count, last=count - 1)
            if count > 1
            else ""
        )
        more = len(self.files) - 1
        slices = _(" and 1 more slice") if more == 1 else _(" and {more} more slices", more=more) if more else ""
        return _("{name}, from {file}", name=self.name, file=self.path.name) + slices + which + self._where()

    @functools.cached_property
    def _variation(self) -> tuple[str, list[Axis]]:
        """Of a variable font, the name of the place where it was put, and its axes."""
        if not self.face.has_multiple_masters:
            return "", []
        try:
            with self.files[0].open_as_it_is() as font:
                place, axes = self.files[0].variation, axes_of(font)
                return name_of(font, dict(place)) if place else "", axes
        # As above: what is raised for a damaged table is no closed set. The glyphs can be drawn all the same.
        except Exception:
            return "", []

    def _where(self) -> str:
        """What is said of the place of a variable font."""
        if not self.face.has_multiple_masters:
            return ""
        place, axes = dict(self.files[0].variation), self._variation[1]
        if not axes:
            return _(", a variable font")
        at = abbreviate(" ".join(f"{axis.tag} {place.get(axis.tag, axis.usual):g}" for axis in axes), 60)
        hint = _(", as it is: choose with :{tag}=VALUE ({axes})", tag=axes[0].tag, axes=describe_axes(axes))
        return _(", a variable font at {at}{choose}", at=at, choose="" if place else hint)

    @functools.cached_property
    def em_bottom(self) -> int:
        """Where the font's em box begins, in units above the baseline."""
        with self.files[0].open() as font:
            return em_bottom(font)

    @functools.cached_property
    def ideograph_advance(self) -> int | None:
        """The commonest advance of the font's ideographs, in units; None where it has none."""
        known = [c for c in map(chr, self.codepoints()) if is_han(ord(c)) and self.covers(c)]
        advances = Counter(map(self._advance, known[:: max(1, len(known) // MEASURED)]))
        del advances[None]
        return advances.most_common(1)[0][0] if advances else None

    def _advance(self, character: str) -> int | None:
        try:
            face = self._load(character)
        except freetype.FT_Exception:
            return None
        return None if face is None else face.glyph.advance.x

    def em_placement(self) -> Placement:
        """The font's em box in the middle of the canvas."""
        units = [font.face.units_per_EM for font in self._fonts]
        if units[0] < 16:
            raise UserError(
                _("font {spec} has {units} units per em: at least 16 are needed", spec=self.spec, units=units[0])
            )
        if len(set(units)) > 1:
            raise UserError(
                _(
                    "font {spec}: these are no slices of one font, their units per em differ: {units}",
                    spec=self.spec,
                    units=units,
                )
            )
        return Placement.centred(units[0], self.em_bottom)

    def codepoints(self) -> list[int]:
        """The code points of the font's cmap, whether their glyphs have ink or not."""
        return sorted({codepoint for font in self._fonts for codepoint in font.characters()})

    @property
    def placeholders(self) -> frozenset[str]:
        """Han characters that the font only seems to have: FEWEST_SHARING or more have one outline, or any .notdef's.

        Such are the boxes that stand for what nobody drew. The bytes of glyphs are compared, not their pictures.
        """
        if self._placeholders is None:
            self._placeholders = self._find_placeholders()
        return self._placeholders

    def take_placeholders_for_glyphs(self) -> None:
        """Cover every character whose glyph has ink from here on, as experiments did once."""
        self._placeholders = frozenset()

    def _find_placeholders(self) -> frozenset[str]:
        sharing: defaultdict[bytes, set[str]] = defaultdict(set)
        undefined: set[bytes] = set()
        try:
            for file, opened in zip(self.files, self._fonts, strict=True):
                characters = opened.characters()
                with file.open_as_it_is() as font:
                    data = glyph_data(font)
                    undefined.add(data(0))
                    for codepoint, glyph in characters.items():
                        if is_han(codepoint):
                            sharing[data(glyph)].add(chr(codepoint))
        # As above: what is damaged may be what tells glyphs apart, and then all count as drawn.
        except Exception:
            return frozenset()
        shared = [some for data, some in sharing.items() if len(some) >= FEWEST_SHARING or data in undefined]
        return frozenset(c for some in shared if self._has_ink(min(some)) for c in some)

    def covers(self, character: str) -> bool:
        """Whether the font has the character: in its cmap, with an outline that is not empty and no placeholder.

        And not disregarded.
        """
        return character not in self.disregarded and self._has_ink(character) and character not in self.placeholders

    def covered(self) -> str:
        """All characters that the font covers."""
        return "".join(filter(self.covers, map(chr, self.codepoints())))

    def _has_ink(self, character: str) -> bool:
        try:
            return self.ink_box(character) is not None
        except freetype.FT_Exception:
            return False

    def ink_box(self, character: str) -> Box | None:
        """Left, bottom, right, top of the ink on a canvas of side 1, y upwards; None without ink."""
        face = self._load(character)
        if face is None:
            return None
        box = FT_BBox()
        if FT_Outline_Get_BBox(ctypes.byref(face.glyph.outline._FT_Outline), ctypes.byref(box)):
            return None
        if box.xMax <= box.xMin or box.yMax <= box.yMin:
            return None
        unit = self.placement.em / self.placement.units_per_em
        return (
            box.xMin * unit + self.placement.x,
            box.yMin * unit + self.placement.y,
            box.xMax * unit + self.placement.x,
            box.yMax * unit + self.placement.y,
        )

    def outline(self, character: str) -> Outline:
        """The outline of a character, in units of the font; empty where it has none."""
        face = self._load(character)
        if face is None:
            return Outline([], [], [])
        found = face.glyph.outline
        return Outline(found.points, found.tags, found.contours, face.glyph.advance.x)

    def is_clipped(self, character: str) -> bool:
        """Whether ink of the character reaches beyond the canvas."""
        box = self.ink_box(character)
        return box is not None and (min(box) < 0 or max(box) > 1)

    def _load(self, character: str) -> freetype.Face | None:
        """The face that has the character's outline, in font units, in its slot; None when there is none."""
        for font in self._fonts:
            index = font.glyph_index(character)
            if index:
                font.face.load_glyph(index, LOAD_FLAGS)
                if font.face.glyph.outline.n_points > 0:
                    return font.face
        return None

    def render(self, character: str, image_size: int, move: Movement | None = None) -> np.ndarray:
        """The character, moved or as it is placed, as uint8 [image_size, image_size], ink 0 on paper 255.

        Raises:
            UserError: when the font lacks the character, or is damaged there.
        """
        name = f"{character} (U+{ord(character):04X})"
        try:
            face = self._load(character)
            if face is None:
                raise UserError(_("font {spec} lacks {name}", spec=self.spec, name=name))
            return 255 - self._ink(face, image_size, move)
        except freetype.FT_Exception as error:
            raise UserError(
                _("font {spec} is damaged: {name} can't be drawn: {error}", spec=self.spec, name=name, error=error)
            ) from error

    def _ink(self, face: freetype.Face, image_size: int, move: Movement | None) -> np.ndarray:
        """The outline in a face's slot as uint8 [image_size, image_size], ink 255; it is moved in the slot."""
        move = move or Movement()
        outline = ctypes.byref(face.glyph.outline._FT_Outline)
        pixels = 64 * image_size  # FreeType counts 64ths of a pixel, and factors in 65536ths
        scale = self.placement.em / self.placement.units_per_em * pixels * 65536
        matrix = FT_Matrix(*(round(factor * scale) for factor in move[:4]))
        FT_Outline_Transform(outline, ctypes.byref(matrix))
        FT_Outline_Translate(outline, *(round(value * pixels) for value in move.of(self.placement.x, self.placement.y)))
        ink = np.zeros((image_size, image_size), np.uint8)
        bitmap = FT_Bitmap(
            rows=image_size,
            width=image_size,
            pitch=image_size,
            buffer=ink.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte)),
            num_grays=256,
            pixel_mode=FT_PIXEL_MODES["FT_PIXEL_MODE_GRAY"],
        )
        error = FT_Outline_Get_Bitmap(freetype.get_handle(), outline, ctypes.byref(bitmap))
        if error:
            raise freetype.FT_Exception(error)
        return ink

    @property
    def _recorded_spec(self) -> str:
        is_bundled = self.path.parent == BUNDLED and self.spec.startswith(PREFIX)
        return f"{PREFIX}{self.path.name}" if is_bundled else "+".join(file.full_name for file in self.files)

    def sha256(self) -> str:
        """The SHA-256 of the font file, in hexadecimal; of slices in any order, that of theirs."""
        digests = [file.sha256() for file in self.files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()

    def describe(self) -> dict:
        """What config.json keeps of the font: file, name, SHA-256, placement."""
        return {
            "spec": self._recorded_spec,
            "name": self.name,
            "sha256": self.sha256(),
            "placement": asdict(self.placement),
            "em_bottom": self.em_bottom,
            "full_width": self.ideograph_advance or self.placement.units_per_em,
            **({"generated": "".join(sorted(self.disregarded))} if self.disregarded else {}),
        }
