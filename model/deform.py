"""Moving the strokes of a source glyph to where the target has them, before the levels of a generator draw them.

A network that is not sure where a stroke lies draws the mean of all its places, a blot. So it is asked for the place
first, whose mean is a place. Free-form deformation (Rueckert et al., IEEE TMI 1999) before a U-Net, as a spatial
transformer (Jaderberg et al., NeurIPS 2015), but one that is taught deformations found beforehand.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import conv2d, norm_layer
from model.residual import ResidualBlock

GRID = 8  # control points of a side
LOOKED_AT = 64  # pixels of a side of the glyph that is looked at, or up to twice as many
WIDTH = 16  # channels of the first layer
DROPOUT = 0.2
LARGE = 0.1  # a large displacement, as a share of half a canvas: what the network gives is a part of it


def deformed(image: Tensor, deformation: Tensor) -> Tensor:
    """Move the ink of images [N, C, S, S]; beyond their border there is paper, 1.

    `deformation` [N, 2, GRID, GRID] has displacements (x, y), y downwards, of control points from the upper left corner
    to the lower right one, in halves of the canvas: what is seen at p comes from p + displacement.
    """
    displacement = F.interpolate(deformation, size=image.shape[2:], mode="bicubic", align_corners=True)
    still = torch.eye(2, 3, dtype=image.dtype, device=image.device).expand(len(image), 2, 3)
    places = F.affine_grid(still, list(image.shape), align_corners=False) + displacement.permute(0, 2, 3, 1)
    return F.grid_sample(image - 1, places, align_corners=False) + 1


class Deformer(nn.Module):
    """Tells by a source glyph and the embedding of a label where the target has its strokes, as `deformed` takes it."""

    def __init__(self, embedding_dim: int, norm_type: str, blur: bool):
        super().__init__()

        def halved(in_channels: int, out_channels: int) -> list[nn.Module]:
            conv = conv2d(in_channels, out_channels, 3, stride=2, bias=False, blur=blur)
            return [conv, norm_layer(norm_type, out_channels), nn.ReLU(inplace=True)]

        widths = [WIDTH, 2 * WIDTH, 4 * WIDTH]
        blocks = [ResidualBlock(width, norm_type, dropout=0.0) for width in (widths[1], widths[2], widths[2])]
        self.down = nn.Sequential(
            *halved(1, widths[0]), *halved(widths[0], widths[1]), blocks[0], *halved(widths[1], widths[2]), *blocks[1:]
        )
        self.near = nn.Conv2d(widths[2], widths[2], 1)
        self.whole = nn.Linear(widths[2] + embedding_dim, widths[2])
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Conv2d(widths[2], 2, 3, padding=1)
        for parameter in self.out.parameters():  # so that a new one moves nothing
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """Images [N, C, S, S] and embeddings [N, embedding_dim] to [N, 2, GRID, GRID]."""
        grey = F.avg_pool2d(image.mean(1, keepdim=True), image.shape[-1] // LOOKED_AT)
        near = self.down(grey)
        whole = self.whole(torch.cat([near.mean((2, 3)), style.to(near.dtype)], 1))
        found = self.out(self.dropout(F.relu(self.near(near) + whole[:, :, None, None])))
        if found.shape[-1] != GRID:
            found = F.interpolate(found, size=(GRID, GRID), mode="bilinear", align_corners=True)
        return LARGE * found.to(image.dtype)
