"""Hand-drawn glyphs: a folder of images, each named by its character, each an em box."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from utils.errors import Reason, UserError, codes
from utils.glyphs.file_names import COPY, read_names
from utils.glyphs.placement import Box, Movement, Placement, on_canvas
from utils.images import EXTENSIONS, INK, NO_IMAGE, PAPER, ink_box, read_image
from utils.messages import _

SIDE = 512  # pixels that an em box is kept at, if it has more
FEWEST = 20  # pixels of ink
CONTRAST = 40  # grey levels between paper and ink, at least
LEVELS = (0.15, 0.75)  # of the way from ink to paper, what is below and above is taken for ink and for paper


class GlyphImages:
    """A folder of drawn glyphs, with the interface of `GlyphRenderer`.

    A file is named `永.png`, `U+6C38.png` or otherwise as in `file_names`. Its image is the em box: padded to a square
    with paper, resized whole, never cropped to its ink. The paper becomes white and the ink black, also where the ink
    was the lighter, so that a scan's grey paper is not learnt. Files that can't be used are in `dropped`, with the
    reason; those that were in a recorded folder's are not looked at again.

    Raises:
        UserError: when the folder holds no glyph that can be used.
    """

    placeholders: frozenset[str] = frozenset()  # every image was drawn

    def __init__(self, folder: str, placement: Placement | None = None, dropped: Mapping[str, str] | None = None):
        self.spec = folder
        self.path = Path(folder)
        self.name = self.path.resolve().name
        self.placement = placement or Placement.centred(1, 0)
        self.dropped = {name: Reason.recorded(code) for name, code in (dropped or {}).items()}
        self.notes: list[str] = []
        self._glyphs: dict[str, bytes] = {}  # compressed: thousands of them fit into memory
        digest = hashlib.sha256()
        if not self.path.is_dir():
            raise UserError(_("{folder}: no such folder of glyph images", folder=folder))
        files = sorted(file for file in self.path.iterdir() if file.is_file() and not file.name.startswith("."))
        files = [file for file in files if printable(file.name) not in self.dropped]
        named = read_names([file.stem for file in files if file.suffix.lower() in EXTENSIONS])
        files.sort(key=lambda file: bool(COPY.search(file.stem)))  # a copy counts only where there is nothing else
        self._turned = 0
        for file in tqdm(files, desc=f"reading {self.name}", unit="image", disable=None, leave=False):
            digest.update(self._add(file, named.characters.get(file.stem)))
        self._sha256 = digest.hexdigest()
        if not self._glyphs:
            reason = next((f": {name} {why}" for name, why in self.dropped.items()), "")
            raise UserError(
                _(
                    "{folder} holds no glyph image named 永.png, U+6C38.png or uni6C38.png{reason}",
                    folder=folder,
                    reason=reason,
                )
            )
        turned = (
            _("images that were light on dark, and are turned: {turned}", turned=self._turned) if self._turned else None
        )
        self.notes += [f"{self.name}: {note}" for note in (named.note, turned) if note]

    def _add(self, file: Path, character: str | None) -> bytes:
        """Take a file in, or note why not; returns what identifies its content."""
        try:
            if file.suffix.lower() not in EXTENSIONS:
                raise UserError(_(NO_IMAGE), code="no_image")
            if character is None:
                raise UserError(_("is not named by a character"), code="unnamed")
            if character in self._glyphs:
                raise UserError(_("is a second image of {character}", character=character), code="second")
            content = file.read_bytes()
            pixels = np.asarray(read_image(content))
            known = shades(pixels)
            if known.are_light_on_dark:
                self._turned, pixels = self._turned + 1, 255 - pixels
                known = shades(pixels)
            glyph = em_box(pixels, known)
        except UserError as error:
            self.dropped[printable(file.name)] = Reason.of(error)
            return b""
        packed = io.BytesIO()
        glyph.save(packed, "PNG", compress_level=1)
        self._glyphs[character] = packed.getvalue()
        return character.encode() + hashlib.sha256(content).digest()

    @property
    def title(self) -> str:
        """The folder's name and what is in it."""
        return f"{self.name}, {len(self._glyphs)} images"

    def codepoints(self) -> list[int]:
        """The code points there are images of."""
        return [ord(character) for character in self._glyphs]

    def covers(self, character: str) -> bool:
        """Whether there is an image of the character."""
        return character in self._glyphs

    def _glyph(self, character: str) -> Image.Image:
        if character not in self._glyphs:
            raise UserError(
                _(
                    "{spec} has no image of {character} (U+{ord:04X})",
                    spec=self.spec,
                    character=character,
                    ord=ord(character),
                )
            )
        return Image.open(io.BytesIO(self._glyphs[character]))

    def ink_box(self, character: str) -> Box | None:
        """Left, bottom, right, top of the ink on a canvas of side 1, y upwards; None without an image."""
        if character not in self._glyphs:
            return None
        box = ink_box(self._glyph(character))
        if box is None:
            return None
        (left, bottom, right, top), em = box, self.placement.em
        x, y = self.placement.x, self.placement.y
        return left * em + x, bottom * em + y, right * em + x, top * em + y

    def is_clipped(self, character: str) -> bool:
        """Whether ink of the character reaches beyond the canvas."""
        box = self.ink_box(character)
        return box is not None and (min(box) < 0 or max(box) > 1)

    def render(self, character: str, image_size: int, move: Movement | None = None) -> np.ndarray:
        """The character as uint8 [image_size, image_size], ink 0 on paper 255.

        Raises:
            UserError: when there is no image of the character.
        """
        place = self.placement
        return on_canvas(self._glyph(character), image_size, place.x, place.y, place.em, move)

    def sha256(self) -> str:
        """A hash of all the images that are used, in hexadecimal."""
        return self._sha256

    def describe(self) -> dict[str, Any]:
        """What config.json keeps of the folder."""
        return {
            "folder": str(self.path.resolve()),
            "name": self.name,
            "sha256": self.sha256(),
            "placement": asdict(self.placement),
            "dropped": codes(self.dropped),
        }


class Shades(NamedTuple):
    """The grey levels of an image's darkest parts, its border, a ring a little further in, and its lightest parts."""

    dark: float
    paper: float
    ring: float
    light: float

    @property
    def are_light_on_dark(self) -> bool:
        """Whether the ink is lighter than the paper."""
        more = max(self.paper - self.dark, CONTRAST)
        return self.ring - self.paper <= CONTRAST and self.light - self.paper > more


def shades(pixels: np.ndarray) -> Shades:
    """Those of an image uint8 [H, W]."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    y, x = (max(1, side // 20) for side in pixels.shape)
    inner = pixels[y:-y, x:-x]
    ring = np.concatenate([inner[0], inner[-1], inner[:, 0], inner[:, -1]]) if inner.size else border
    few = max(FEWEST, pixels.size // 2000)  # the ink of a dot is more than this, the dust of a scan is less
    dark = float(np.partition(pixels, few, axis=None)[few]) if pixels.size > few else float(pixels.min())
    return Shades(dark, float(np.median(border)), float(np.median(ring)), float(np.percentile(pixels, 99.5)))


def printable(name: str) -> str:
    """A file's name as it can be written to config.json, whatever encoding it is in."""
    return name.encode("utf-8", "backslashreplace").decode()


def em_box(pixels: np.ndarray, known: Shades) -> Image.Image:
    """A drawn glyph uint8 [H, W], dark on light, with its `shades`, as a square image, paper 255 and ink 0.

    Paper is what most of the border shows. In a scan or photo the grey levels near to it become paper, those
    near to the darkest become ink, which takes out the grain of both; a clean drawing is left as it is.

    Raises:
        UserError: when there is no ink to tell from the paper, or there are lines around.
    """
    dark, paper, ring, _inked = known
    if ring - paper > CONTRAST:
        raise UserError(_("has a dark border: cut the lines of the grid off"), code="border")
    if paper - dark < CONTRAST:
        raise UserError(_("shows no ink"), code="blank")
    if (dark, paper) != (INK, PAPER):
        black, white = (dark + share * (paper - dark) for share in LEVELS)
        levels = (np.arange(256) - black) / (white - black) * (PAPER - INK) + INK
        pixels = levels.clip(INK, PAPER).astype(np.uint8)[pixels]
    image = Image.fromarray(pixels)
    side = max(image.size)
    if image.size != (side, side):
        square = Image.new("L", (side, side), PAPER)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    return image if side <= SIDE else image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
