"""From a character to pixels: one font, one fixed placement, never one per glyph.

Rendering is unhinted. Outlines are taken in font units, transformed once, and rasterised by
FreeType straight into the canvas, so that a glyph is drawn alike in training and at inference.
"""

import ctypes
import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import freetype
import numpy as np
from fontTools.ttLib import TTFont
from freetype.raw import (
    FT_PIXEL_MODE_GRAY,
    FT_BBox,
    FT_Bitmap,
    FT_Matrix,
    FT_Outline_Get_BBox,
    FT_Outline_Get_Bitmap,
    FT_Outline_Transform,
    FT_Outline_Translate,
)

from utils.cli import UserError, abbreviate

# What fontTools finds odd in a font that can be read all the same is no line for the user.
logging.getLogger("fontTools").addHandler(logging.NullHandler())

Box = tuple[float, float, float, float]  # left, bottom, right, top on a canvas of side 1, y upwards

BUNDLED = Path(__file__).parent / "samples"
EM_SHARE = 0.86  # of the canvas; the rest is margin, so that overshooting strokes are not clipped
LOAD_FLAGS = freetype.FT_LOAD_NO_SCALE | freetype.FT_LOAD_NO_HINTING | freetype.FT_LOAD_NO_BITMAP


class Movement(NamedTuple):
    """Scaling about the centre of the canvas, then a shift, as shares of the canvas, y upwards."""

    scale: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Placement:
    """Where a font's em lies on a canvas of side 1, y upwards: canvas = units / units_per_em * em + (x, y)."""

    units_per_em: int
    em: float  # side of the em on the canvas
    x: float  # canvas position of the origin of a glyph
    y: float  # canvas position of the baseline

    @classmethod
    def centred(cls, units_per_em: int, descender: int) -> "Placement":
        """The em, which begins at `descender` units, in the middle of the canvas."""
        margin = (1 - EM_SHARE) / 2
        return cls(units_per_em, EM_SHARE, margin, margin - descender / units_per_em * EM_SHARE)

    def moved(self, move: Movement) -> "Placement":
        """The same placement on a canvas that is moved."""
        x, y = ((value - 0.5) * move.scale + 0.5 for value in (self.x, self.y))
        return Placement(self.units_per_em, self.em * move.scale, x + move.dx, y + move.dy)


def split_spec(spec: str) -> tuple[Path, int]:
    """The file and face index of `font.ttf`, `fonts.ttc#3` or `bundled:target.ttf`.

    Raises:
        UserError: when there is no such file or the index is not a number.
    """
    if spec.startswith("bundled:"):
        path = BUNDLED / Path(spec.removeprefix("bundled:")).name
        if not path.is_file():
            raise UserError(f"font {spec}: no such font is bundled")
        return path, 0
    path, index = Path(spec), "0"
    if not path.is_file() and "#" in spec:
        name, _, index = spec.rpartition("#")
        path = Path(name)
    if not path.is_file():
        raise UserError(f"font {path}: no such file")
    if not (index.isascii() and index.isdigit()):
        raise UserError(f"font {spec}: '{index}' after # is not the number of a font in the collection")
    return path, int(index)


class GlyphRenderer:
    """Renders characters of one font on square canvases.

    `spec` is a .ttf or .otf file, or a .ttc file with `#index`. Without a `placement` the font's
    em box (OS/2 typographic metrics; hhea where these don't span an em) is centred on the canvas.
    Instances can be pickled, and used after a fork: each process opens the file for itself.

    Raises:
        UserError: when the file is missing, no font, or has no outlines.
    """

    def __init__(self, spec: str, placement: Placement | None = None):
        self.spec = spec
        self.path, self.index = split_spec(spec)
        self._opened: tuple[int, freetype.Face] | None = None
        try:
            if not self.face.is_scalable:
                raise UserError(f"font {spec} has bitmaps only, no outlines")
            self.placement = placement or self._em_placement()
        except UserError:
            raise
        # Neither FreeType's binding nor fontTools documents a closed set of errors for damaged files.
        except Exception as error:
            reason = " ".join(str(error).removeprefix("FT_Exception:").split()) or type(error).__name__
            raise UserError(f"font {spec} can't be read: {abbreviate(reason, 200)}") from error

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": None}

    @property
    def face(self) -> freetype.Face:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), freetype.Face(str(self.path), index=self.index)
        return self._opened[1]

    @property
    def name(self) -> str:
        """The font's family and style, for people."""
        parts = (part.decode("utf-8", "replace") for part in (self.face.family_name, self.face.style_name) if part)
        return " ".join(part for part in parts if part != "Regular") or self.path.stem

    @property
    def title(self) -> str:
        """The font's name and file; of a collection, also which of its fonts this is; of a variable font, where."""
        count = self.face.num_faces
        which = f", font {self.index} of {count}: choose with #0 to #{count - 1}" if count > 1 else ""
        if self.face.has_multiple_masters:
            which += f", a variable font, as it is{self._where_in_its_variations()}"
        return f"{self.name}, from {self.path.name}{which}"

    def _where_in_its_variations(self) -> str:
        try:
            with TTFont(self.path, fontNumber=self.index, lazy=True) as font:
                axes = " ".join(f"{axis.axisTag} {axis.defaultValue:g}" for axis in font["fvar"].axes)
        # As above: what is raised for a damaged table is no closed set. The glyphs can be drawn all the same.
        except Exception:
            return ""
        return f" at {abbreviate(axes, 60)}"

    def _em_placement(self) -> Placement:
        with TTFont(self.path, fontNumber=self.index, lazy=True) as font:
            units_per_em, typo, hhea = font["head"].unitsPerEm, font.get("OS/2"), font["hhea"]
        if units_per_em < 16:
            raise UserError(f"font {self.spec} has {units_per_em} units per em: at least 16 are needed")
        descender = hhea.descent
        if typo is not None and typo.sTypoAscender - typo.sTypoDescender == units_per_em:
            descender = typo.sTypoDescender
        elif hhea.ascent - hhea.descent != units_per_em:  # neither spans an em: centre what hhea spans
            descender = round((hhea.ascent + hhea.descent - units_per_em) / 2)
        return Placement.centred(units_per_em, descender)

    def codepoints(self) -> list[int]:
        """The code points of the font's cmap, whether their glyphs have ink or not."""
        # A damaged cmap may count beyond the last code point, up to 2^32.
        known = itertools.takewhile(lambda pair: pair[0] <= 0x10FFFF, self.face.get_chars())
        return [codepoint for codepoint, glyph in known if glyph]

    def covers(self, character: str) -> bool:
        """Whether the font has the character: in its cmap, and with an outline that is not empty."""
        try:
            return self.ink_box(character) is not None
        except freetype.FT_Exception:
            return False

    def ink_box(self, character: str) -> Box | None:
        """Left, bottom, right, top of the ink on a canvas of side 1, y upwards; None without ink."""
        if not self._load(character):
            return None
        box = FT_BBox()
        if FT_Outline_Get_BBox(ctypes.byref(self.face.glyph.outline._FT_Outline), ctypes.byref(box)):
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

    def is_clipped(self, character: str) -> bool:
        """Whether ink of the character reaches beyond the canvas."""
        box = self.ink_box(character)
        return box is not None and (min(box) < 0 or max(box) > 1)

    def _load(self, character: str) -> bool:
        """Load a glyph's outline in font units into the face's slot; False when there is none."""
        index = self.face.get_char_index(ord(character))
        if index == 0:
            return False
        self.face.load_glyph(index, LOAD_FLAGS)
        return self.face.glyph.outline.n_points > 0

    def render(self, character: str, image_size: int, move: Movement | None = None) -> np.ndarray:
        """The character, moved or as it is placed, as uint8 [image_size, image_size], ink 0 on paper 255.

        Raises:
            UserError: when the font lacks the character, or is damaged there.
        """
        name = f"{character} (U+{ord(character):04X})"
        try:
            if not self._load(character):
                raise UserError(f"font {self.spec} lacks {name}")
            return 255 - self._ink(image_size, move)
        except freetype.FT_Exception as error:
            raise UserError(f"font {self.spec} is damaged: {name} can't be drawn: {error}") from error

    def _ink(self, image_size: int, move: Movement | None) -> np.ndarray:
        """The outline in the face's slot as uint8 [image_size, image_size], ink 255; it is moved in the slot."""
        placement = self.placement.moved(move) if move else self.placement
        outline = ctypes.byref(self.face.glyph.outline._FT_Outline)
        pixels = 64 * image_size  # FreeType counts 64ths of a pixel, and factors in 65536ths
        scale = round(placement.em / placement.units_per_em * pixels * 65536)
        FT_Outline_Transform(outline, ctypes.byref(FT_Matrix(scale, 0, 0, scale)))
        FT_Outline_Translate(outline, round(placement.x * pixels), round(placement.y * pixels))
        ink = np.zeros((image_size, image_size), np.uint8)
        bitmap = FT_Bitmap(
            rows=image_size,
            width=image_size,
            pitch=image_size,
            buffer=ink.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte)),
            num_grays=256,
            pixel_mode=FT_PIXEL_MODE_GRAY,
        )
        error = FT_Outline_Get_Bitmap(freetype.get_handle(), outline, ctypes.byref(bitmap))
        if error:
            raise freetype.FT_Exception(error)
        return ink

    def sha256(self) -> str:
        """The SHA-256 of the font file, in hexadecimal; in a collection, of the file and the index after the first."""
        which = f"#{self.index}".encode() if self.index else b""
        return hashlib.sha256(self.path.read_bytes() + which).hexdigest()

    def describe(self) -> dict:
        """What config.json keeps of the font: file, name, SHA-256, placement."""
        spec = self.spec if self.spec.startswith("bundled:") else f"{self.path.resolve()}#{self.index}"
        return {
            "spec": spec.removesuffix("#0"),
            "name": self.name,
            "sha256": self.sha256(),
            "placement": asdict(self.placement),
        }


def align(target: GlyphRenderer, source: GlyphRenderer, characters: str) -> Placement:
    """A placement of `target` whose median ink box matches that of `source`.

    One further scale and shift for the whole font: skip connections learn best from aligned
    pairs. Measured on up to 300 of `characters`, evenly spread, which both fonts must cover.
    """
    chosen = characters[:: max(1, len(characters) // 300)]
    boxes = [(source.ink_box(character), target.ink_box(character)) for character in chosen]
    boxes = [pair for pair in boxes if None not in pair]
    if not boxes:
        return target.placement

    scale = median(side(from_source) for from_source, _ in boxes) / median(side(box) for _, box in boxes)
    scale = min(max(scale, 0.5), 2.0)
    shift = [
        median(centre(goal, axis) - ((centre(box, axis) - 0.5) * scale + 0.5) for goal, box in boxes) for axis in (0, 1)
    ]
    return target.placement.moved(Movement(scale, *shift))


def side(box: Box) -> float:
    """The longer side of an ink box."""
    return max(box[2] - box[0], box[3] - box[1])


def centre(box: Box, axis: int) -> float:
    """The middle of an ink box along x (0) or y (1)."""
    return (box[axis] + box[axis + 2]) / 2


def frame_of(boxes: Sequence[Box]) -> tuple[float, float, float]:
    """The median side and centre of ink boxes: what is known of the placement of pictures without a font."""
    return median(map(side, boxes)), median(centre(box, 0) for box in boxes), median(centre(box, 1) for box in boxes)


def place_in_frame(font: GlyphRenderer, characters: str, frame: Sequence[float]) -> Placement:
    """A placement of `font` at which the frame of `characters`, as far as it covers them, is `frame`."""
    boxes = [box for box in map(font.ink_box, characters) if box is not None]
    if not boxes:
        return font.placement
    own = frame_of(boxes)
    scale = frame[0] / own[0]
    return font.placement.moved(Movement(scale, *(frame[i] - ((own[i] - 0.5) * scale + 0.5) for i in (1, 2))))
