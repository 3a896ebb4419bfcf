"""Pixels in and out: the only code that maps [-1, 1] to 8 bit and back, and that reads and writes pictures."""

import importlib
import io
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError
from torch import Tensor

from utils.errors import UserError, abbreviate
from utils.files import write_whole
from utils.messages import _

DARK = 128  # a grey level below it is ink
GAP = 4  # pixels between the cells of a sheet
CAPTION = 14  # pixels of a character of a caption, where Pillow's font lacks it
PAPER, INK, RULE = 255, 0, 200
READABLE = ("PNG", "JPEG", "TIFF", "BMP")
HEIC = (".heic", ".heif")  # photos of phones, which pillow-heif reads, where it is installed
EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *HEIC)
NO_IMAGE = "is no png, jpg, tif, bmp or heic"
HEIC_MARK = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|mif1|msf1)", re.DOTALL)
LARGEST = 64_000_000  # pixels of an image that is read; more is a mistake or a bomb


def to_float(pixels: Tensor, channels: int = 1) -> Tensor:
    """uint8 [N, S, S] or [N, S, S, 3] in [0, 255] to float32 [N, channels, S, S] in [-1, 1]: ink -1, paper +1."""
    image = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    return (image.float() / 127.5 - 1).expand(-1, channels, -1, -1)


def to_uint8(image: Tensor) -> np.ndarray:
    """Float [N, C, S, S] in [-1, 1] to uint8 [N, S, S] or, of three channels, [N, S, S, 3]."""
    pixels = ((image.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
    return (pixels[:, 0] if pixels.shape[1] == 1 else pixels.permute(0, 2, 3, 1)).numpy()


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, S, S] or [N, S, S, 3] to uint8 [N, S, S], the mean of the channels: what is measured."""
    return pixels if pixels.ndim == 3 else pixels.mean(-1).round().astype(np.uint8)


def read_image(content: bytes, channels: int = 1) -> Image.Image:
    """An image file of any mode as 8 bit grey or, of three channels, RGB.

    PNG, JPEG, TIFF or BMP, or HEIC where pillow-heif is installed. What is transparent becomes paper, photos are turned
    upright.

    Raises:
        UserError: when it can't be read as an image, or is too large; the message does not name the file.
    """
    formats = READABLE
    if HEIC_MARK.match(content):
        if not find_spec("pillow_heif"):
            raise UserError(_("is HEIC: python -m pip install -r utils/requirements/heic.txt"), code="heic")
        importlib.import_module("pillow_heif").register_heif_opener()
        formats = ("HEIF",)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is odd in a file that it reads all the same
            with Image.open(io.BytesIO(content), formats=formats) as image:
                if image.width * image.height > LARGEST:
                    raise UserError(
                        _("is {width} x {height} pixels, too large", width=image.width, height=image.height),
                        code="too_large",
                    )
                return _plain(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(_("claims to have far more pixels than can be read"), code="too_large") from error
    except UnidentifiedImageError as error:
        raise UserError(_("can't be read as an image (it {reason})", reason=_(NO_IMAGE)), code="no_image") from error
    # Pillow documents no closed set of errors for damaged files.
    except Exception as error:
        raise UserError(
            _("can't be read as an image ({error})", error=" ".join(str(error).split())[:80]), code="damaged"
        ) from error


def _plain(image: Image.Image) -> Image.Image:
    """Without transparency, and at most 8 bit a channel."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.array(image, np.float32)
        values *= 255 / max(float(values.max()), 1e-9)
        return Image.fromarray(values.clip(0, 255, out=values).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (PAPER,) * 3 + (255,)), image)
    return image


def resample(image: Image.Image, image_size: int, left: float, top: float, side: float) -> np.ndarray:
    """Place a square image on a canvas of side 1, its edges at `left` and `top` and `side` wide, the rest paper.

    Returns uint8 [image_size, image_size], or with a third axis for colour; y is downwards.
    """
    if (image.width, left, top, side) == (image_size, 0, 0, 1):
        return np.asarray(image)
    count = image.width
    pad = round(count * max(0.0, left, top, 1 - left - side, 1 - top - side) / side) + 2
    padded = ImageOps.expand(image, pad, fill=PAPER if image.mode == "L" else (PAPER,) * 3)
    x0, y0, x1, y1 = (pad + (edge - start) / side * count for edge in (0, 1) for start in (left, top))
    return np.asarray(padded.resize((image_size, image_size), Image.Resampling.BICUBIC, box=(x0, y0, x1, y1)))


def ink_box(image: Image.Image) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top of the ink of a square grey image of side 1, y upwards; None without ink."""
    ink = np.asarray(image) < DARK
    if not ink.any():
        return None
    rows, columns, count = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0)), len(ink)
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return left / count, 1 - bottom / count, right / count, 1 - top / count


def save_image(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W] or [H, W, 3] in the format of the path's extension, whole or not at all."""
    write_atomic(Image.fromarray(pixels), path)


def write_atomic(image: Image.Image, path: Path) -> None:
    """Write in the format of the path's extension, whole or not at all: a reader never sees half a picture."""
    kind = Image.registered_extensions()[path.suffix.lower()]
    content = io.BytesIO()
    image.save(content, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
    write_whole(path, content.getvalue())


class Letters(Protocol):
    """A font that draws what Pillow's own has not: `GlyphRenderer` is one."""

    def covers(self, character: str, /) -> bool:
        """Whether it has the character."""
        ...

    def render(self, character: str, image_size: int, /) -> np.ndarray:
        """The character: uint8 [image_size, image_size]."""
        ...


def grid_maker() -> Callable[..., Tensor]:
    """torchvision's `make_grid`, loaded when it is needed, since that takes a second.

    Raises:
        UserError: when torchvision is missing, or is that of another torch.
    """
    try:
        from torchvision.utils import make_grid
    except (ImportError, RuntimeError) as error:
        reason = abbreviate(" ".join(str(error).split()), 100)
        raise UserError(
            _(
                "torchvision can't be loaded beside torch {version}: install both together ({reason})",
                version=torch.__version__,
                reason=reason,
            )
        ) from error
    return make_grid


def save_sheet(
    columns: dict[str, np.ndarray],
    path: Path,
    blocks: int = 3,
    caption: Sequence[str] = (),
    letters: Letters | None = None,
) -> None:
    """Draw glyphs side by side: one row a glyph, one column a kind, `blocks` rows beside each other.

    `columns` maps a heading to uint8 [N, S, S] or [N, S, S, 3], the same N in each; `caption`
    lines stand above, those of their characters that are not ASCII as `letters` draws them. The headings are ASCII.
    """
    make_grid = grid_maker()
    headings, images = list(columns), [pixels if pixels.ndim == 4 else pixels[..., None] for pixels in columns.values()]
    count, size = images[0].shape[:2]
    blocks = min(blocks, count)
    rows = -(-count // blocks)
    cell, line = size + GAP, 16
    block_width = cell * len(headings) + 2 * GAP
    top = line * (len(caption) + 1)
    sheet = Image.new("RGB", (block_width * blocks, top + rows * cell), (PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(caption):
        draw_caption(sheet, (GAP, number * line), text, letters)
    for block in range(blocks):
        left = block * block_width
        if block:
            draw.line([(left - GAP, line * len(caption)), (left - GAP, sheet.height)], fill=(RULE,) * 3)
        for column, heading in enumerate(headings):
            draw.text((left + column * cell, top - line), heading, fill=(INK,) * 3)
        shown = range(block * rows, min(count, (block + 1) * rows))
        if not shown:
            continue
        glyphs = np.stack([np.broadcast_to(pixels[n], (size, size, 3)) for n in shown for pixels in images])
        grid = make_grid(torch.from_numpy(glyphs).permute(0, 3, 1, 2), len(images), padding=GAP, pad_value=PAPER)
        if len(glyphs) > 1:  # else it is given no border
            grid = grid[:, GAP:, GAP:]
        sheet.paste(Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy()), (left, top))
    write_atomic(sheet, path)


def draw_caption(sheet: Image.Image, place: tuple[int, int], text: str, letters: Letters | None) -> None:
    """Write a line of text; a character that neither Pillow's font nor `letters` has is named by its code point."""
    draw, (x, y) = ImageDraw.Draw(sheet), place
    for is_ascii, run in itertools.groupby(text, str.isascii):
        for part in ["".join(run)] if is_ascii else run:
            if is_ascii or letters is None or not letters.covers(part):
                known = part if is_ascii else f"U+{ord(part):04X}"
                draw.text((x, y), known, fill=(INK,) * 3)
                x += round(draw.textlength(known))
            else:
                sheet.paste(Image.fromarray(letters.render(part, CAPTION)), (x, y))
                x += CAPTION
