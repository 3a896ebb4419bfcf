"""Finding the deformation that moves the strokes of a source glyph to where a target glyph has them.

By descent on a grid of control points (Rueckert et al., IEEE TMI 1999), from blurred glyphs to clear ones, and with a
penalty on bends and stretches. Deformations are as in `model.deform`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.deform import GRID, deformed
from utils.data.pairs import Pair, PairData
from utils.errors import UserError
from utils.images import to_float, to_grey
from utils.messages import _

SIDE = 64  # pixels of a side of the glyphs that are compared
PASSES = ((4.0, 2), (2.0, 2), (1.25, 1), (0.75, 1))  # standard deviation of the blur, pixels taken together thereafter
STEPS = 40  # of descent in each pass
RATE = 0.01
BENDING, STRETCHING = 2.0, 0.6  # how much they count, against the difference of the glyphs
AT_ONCE = 256  # pairs: fewer leave a second core idle
FEWEST = 1.0  # pixels of ink, of SIDE * SIDE, that a glyph has which is not blank


def register_pairs(
    data: PairData, pairs: Sequence[Pair], image_size: int, device: torch.device
) -> Iterator[np.ndarray]:
    """The deformations float32 [N, 2, GRID, GRID] of `pairs`, some at a time.

    Raises:
        UserError: when the data can't be read any more.
    """
    for start in range(0, len(pairs), AT_ONCE):
        try:
            source, target = data.render_pairs(pairs[start : start + AT_ONCE], image_size)
        except OSError as error:
            raise UserError(
                _("the data can't be read any more: {file}: {reason}", file=error.filename, reason=error.strerror)
            ) from error
        yield register(*(torch.from_numpy(to_grey(glyphs)).to(device) for glyphs in (source, target))).cpu().numpy()


def register(source: Tensor, target: Tensor) -> Tensor:
    """The deformation [N, 2, GRID, GRID] of each pair of glyphs uint8 [N, S, S]; 0 where one is blank."""
    inks = [F.interpolate((1 - to_float(glyphs)) / 2, size=(SIDE, SIDE), mode="area") for glyphs in (source, target)]
    found = torch.zeros(len(source), 2, GRID, GRID, device=source.device, requires_grad=True)
    for deviation, taken in PASSES:
        start, goal = (_evened(F.avg_pool2d(_blurred(ink, deviation), taken)) for ink in inks)
        optimizer = torch.optim.Adam([found], lr=RATE)
        scale = goal.square().mean((1, 2, 3)).clamp(min=1e-6)
        for _step in range(STEPS):
            moved = deformed(1 - start, found).neg() + 1
            off = (moved - goal).square().mean((1, 2, 3)) / scale
            optimizer.zero_grad()
            (off + BENDING * _roughness(found, 2) + STRETCHING * _roughness(found, 1)).sum().backward()
            optimizer.step()
    shown = torch.stack([ink.sum((1, 2, 3)) > FEWEST for ink in inks]).all(0)
    return found.detach() * shown[:, None, None, None]


def _blurred(ink: Tensor, deviation: float) -> Tensor:
    """Images [N, 1, S, S] with a Gaussian blur."""
    reach = int(3 * deviation) + 1
    line = torch.exp(-(torch.arange(-reach, reach + 1, device=ink.device) ** 2) / (2 * deviation**2))
    line = line / line.sum()
    along = F.conv2d(ink, line[None, None, None], padding=(0, reach))
    return F.conv2d(along, line[None, None, :, None], padding=(reach, 0))


def _evened(ink: Tensor) -> Tensor:
    """Images [N, 1, S, S] with as much ink in each, so that heavy and light strokes can be compared."""
    return ink / ink.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)


def _roughness(deformation: Tensor, order: int) -> Tensor:
    """The sum of the squared differences of an order, along both axes: [N]."""
    along = [torch.diff(deformation, order, dim).square().sum((1, 2, 3)) for dim in (2, 3)]
    return along[0] + along[1]
