"""Residual levels of the U-Net, which draw smoother strokes than one strided and one transposed convolution a level do.

The outermost level folds pixels into channels and back (Shi et al., CVPR 2016), so that none works at full resolution.
Each has residual blocks (He et al., CVPR 2016) on the way down and up, and adds what it was given to what it gives.
The label's embedding scales and shifts maps on the way up (FiLM, Perez et al., AAAI 2018).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import Form, Level, Styled, WayUp, conv2d, norm_layer

FINEST = 64  # pixels of a side that the outermost level works at, as long as LARGEST_PATCH allows
LARGEST_PATCH = 4  # pixels of a side that are folded into channels
COARSEST = 12  # pixels of a side of the innermost level, at most
WIDTHS = (1, 2, 4, 6)  # channels of a level, in `ngf`; a further one is as wide as the last
DROPPING = 16  # pixels of a side up to which blocks drop out; above, it costs more than it brings
BLOCKS_UP = 2  # residual blocks of a level on the way up; on the way down there is one


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to the map: [N, C, H, W] to the same.

    The last norm starts at zero, so that a new block passes the map on.
    """

    def __init__(self, channels: int, norm_type: str, dropout: float):
        super().__init__()
        norms = [norm_layer(norm_type, channels) for _ in range(2)]
        self.first = nn.Sequential(conv2d(channels, channels, 3, stride=1, bias=False), norms[0])
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.second = nn.Sequential(conv2d(channels, channels, 3, stride=1, bias=False), norms[1])
        nn.init.zeros_(norms[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return self._add(x, self.first(x))

    def _add(self, x: Tensor, inner: Tensor) -> Tensor:
        inner = self.dropout(F.relu(inner, inplace=True))
        return F.relu(x + self.second(inner), inplace=True)


class StyledBlock(ResidualBlock, Styled):
    """A residual block whose inner map the label's embedding [N, embedding_dim] scales and shifts."""

    def __init__(self, channels: int, norm_type: str, dropout: float, embedding_dim: int):
        super().__init__(channels, norm_type, dropout)
        self.style = nn.Linear(embedding_dim, 2 * channels)
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        return self._add(x, torch.addcmul(shift.to(x.dtype), self.first(x), 1 + scale.to(x.dtype)))


class Upsampled(nn.Module):
    """A 1x1 convolution, then twice the size by bilinear interpolation: [N, C, H, W] to [N, D, 2H, 2W].

    Interpolation commutes with a convolution of one pixel, which is cheaper before it.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear", align_corners=False)


def upsampling(up_mode: str, in_channels: int, out_channels: int) -> nn.Module:
    """What doubles the size of a map between two levels, by `up_mode`."""
    if up_mode == "conv":
        return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
    if up_mode == "upsample":
        return Upsampled(in_channels, out_channels)
    return nn.Sequential(nn.Conv2d(in_channels, 4 * out_channels, 1), nn.PixelShuffle(2))


def patch_side(image_size: int) -> int:
    """Pixels of a side that the outermost level folds into channels."""
    patch = 1
    while patch < LARGEST_PATCH and image_size // patch > FINEST:
        patch *= 2
    return patch


def residual_levels(form: Form) -> list[Level]:
    """The ways down and up of every level, the innermost first."""
    patch = patch_side(form.image_size)
    sides = [form.image_size // patch]
    while sides[-1] > COARSEST:
        sides.append(sides[-1] // 2)
    widths = [form.ngf * WIDTHS[min(number, len(WIDTHS) - 1)] for number in range(len(sides))]
    levels = []
    for number, (side, width) in enumerate(zip(sides, widths, strict=True)):
        drop = form.dropout if side <= DROPPING else 0.0
        folded = form.input_nc * patch**2
        if number == 0:
            begin = [nn.PixelUnshuffle(patch), conv2d(folded, width, 3, stride=1, bias=True)]
            end = [conv2d(width, folded, 3, stride=1, bias=True), nn.PixelShuffle(patch)]
        else:
            begin = [conv2d(widths[number - 1], width, 3, stride=2, bias=True, blur=form.blur)]
            end = [upsampling(form.up_mode, width, widths[number - 1])]
        blocks = [ResidualBlock(width, form.norm_type, drop) for _ in range(BLOCKS_UP - 1)]
        down = nn.Sequential(*begin, ResidualBlock(width, form.norm_type, drop))
        up = WayUp(StyledBlock(width, form.norm_type, drop, form.embedding_dim), *blocks, *end)
        levels.append(Level(down, up))
    return levels[::-1]
