"""Pixels in and out: the only code that maps [-1, 1] to 8 bit and back, and that writes pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

GAP = 4  # pixels between the cells of a sheet
PAPER, INK, RULE = 255, 0, 200


def to_float(pixels: Tensor, channels: int = 1) -> Tensor:
    """uint8 [N, S, S] in [0, 255] to float32 [N, channels, S, S] in [-1, 1]: ink -1, paper +1."""
    return (pixels.float() / 127.5 - 1)[:, None].expand(-1, channels, -1, -1)


def to_uint8(image: Tensor) -> np.ndarray:
    """Float [N, C, S, S] in [-1, 1] to uint8 [N, S, S] or, of three channels, [N, S, S, 3]."""
    pixels = ((image.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
    return (pixels[:, 0] if pixels.shape[1] == 1 else pixels.permute(0, 2, 3, 1)).numpy()


def save_image(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W] or [H, W, 3] in the format of the path's extension, whole or not at all."""
    write_atomic(Image.fromarray(pixels), path)


def write_atomic(image: Image.Image, path: Path) -> None:
    """Save under a temporary name beside `path`, then rename: a reader never sees half a picture."""
    temporary = path.with_name(f".{path.name}.tmp")
    kind = Image.registered_extensions()[path.suffix.lower()]
    try:
        image.save(temporary, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_sheet(columns: dict[str, np.ndarray], path: Path, blocks: int = 3, caption: Sequence[str] = ()) -> None:
    """Draw glyphs side by side: one row a glyph, one column a kind, `blocks` rows beside each other.

    `columns` maps a heading to uint8 [N, S, S] or [N, S, S, 3], the same N in each; `caption`
    lines stand above. The headings are ASCII.
    """
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
        draw.text((GAP, number * line), text, fill=(INK,) * 3)
    for block in range(blocks):
        left = block * block_width
        if block:
            draw.line([(left - GAP, line * len(caption)), (left - GAP, sheet.height)], fill=(RULE,) * 3)
        for column, heading in enumerate(headings):
            draw.text((left + column * cell, top - line), heading, fill=(INK,) * 3)
            for row in range(min(rows, count - block * rows)):
                pixels = np.broadcast_to(images[column][block * rows + row], (size, size, 3))
                sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left + column * cell, top + row * cell))
    write_atomic(sheet, path)
