"""How far a drawn glyph is from the true one. Images are uint8 [N, S, S], ink 0 on paper 255."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from utils.images import DARK

AT_ONCE = 64  # glyphs
SPECK = 4  # pixels of the smallest speck that counts
GREY_FROM = 0.1  # share of the way from ink to paper, and back: what lies between is grey


def l1(fake: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference of grey levels in [0, 1]."""
    return float(np.abs(fake.astype(np.float32) - target.astype(np.float32)).mean() / 255)


def psnr(fake: np.ndarray, target: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, the mean over glyphs; identical glyphs count as 100 dB."""
    error = (fake.astype(np.float64) - target).reshape(len(fake), -1) / 255
    squares = (error**2).mean(1)
    return float(np.mean([-10 * math.log10(max(square, 1e-10)) for square in squares]))


def ssim(fake: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004), as scikit-image computes it by default: uniform 7x7 windows."""
    x, y = (torch.from_numpy(image).double() / 255 for image in (fake, target))
    mean_x, mean_y = _mean_7x7(x), _mean_7x7(y)
    sample = 49 / 48
    var_x = sample * (_mean_7x7(x * x) - mean_x**2)
    var_y = sample * (_mean_7x7(y * y) - mean_y**2)
    covariance = sample * (_mean_7x7(x * y) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def _mean_7x7(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.avg_pool2d(x, (7, 1), stride=1), (1, 7), stride=1)


def ink_iou(fake: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of the ink, the mean over glyphs; two blank glyphs count as 1."""
    a, b = ((image < DARK).reshape(len(image), -1) for image in (fake, target))
    union = (a | b).sum(1)
    return float(np.where(union == 0, 1.0, (a & b).sum(1) / np.maximum(union, 1)).mean())


def edge_distance(fake: np.ndarray, target: np.ndarray) -> float:
    """Mean distance in pixels from each outline to the other, both ways, the mean over glyphs.

    An outline is the ink that borders on paper. A glyph without ink is as far away as the canvas is wide.
    """
    return float(
        np.mean([_outline_distance(drawn, true) for drawn, true in zip(fake < DARK, target < DARK, strict=True)])
    )


def _outline_distance(drawn: np.ndarray, true: np.ndarray) -> float:
    if not (drawn.any() and true.any()):
        return 0.0 if drawn.any() == true.any() else float(drawn.shape[0])
    a, b = outline(drawn), outline(true)
    there, back = _distance_from(b)[a], _distance_from(a)[b]
    return float((there.mean() + back.mean()) / 2)


def outline(ink: np.ndarray) -> np.ndarray:
    """The ink that borders on paper: bool [S, S]."""
    return ink & ~np.asarray(ndimage.binary_erosion(ink), bool)


def _distance_from(mask: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.distance_transform_edt(~mask))


def connected_parts(mask: np.ndarray, diagonal: bool) -> tuple[np.ndarray, int]:
    """The number of the connected part that each pixel of `mask` is in, from 1, and how many parts there are."""
    labels = np.empty(mask.shape, np.int32)
    count = ndimage.label(mask, np.ones((3, 3)) if diagonal else None, output=labels)
    return labels, int(np.asarray(count))


def stray_specks(fake: np.ndarray, target: np.ndarray) -> float:
    """Specks a glyph: 8-connected ink of 4 pixels or more that touches no ink of the target."""
    return _stray_parts(fake < DARK, target < DARK, diagonal=True)


def stray_holes(fake: np.ndarray, target: np.ndarray) -> float:
    """Holes a glyph: 4-connected paper of 4 pixels or more that lies wholly within ink of the target."""
    return _stray_parts(fake >= DARK, target >= DARK, diagonal=False)


def _stray_parts(drawn: np.ndarray, true: np.ndarray, diagonal: bool) -> float:
    total = 0
    for mask, truth in zip(drawn, true, strict=True):
        labels, count = connected_parts(mask, diagonal)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        stray = sizes >= SPECK
        stray[0] = False
        stray[np.unique(labels[truth])] = False
        total += int(stray.sum())
    return total / len(drawn)


def greyness(fake: np.ndarray, target: np.ndarray) -> float:
    """How furry the edges are: the share of grey pixels over that of the target; 1 is as sharp as it.

    Without grey in the target it is counted as one pixel's.
    """
    return float(grey_pixels(fake) / max(grey_pixels(target), 1))


def grey_pixels(images: np.ndarray) -> int:
    """How many pixels of uint8 [N, S, S] are neither ink nor paper."""
    return int(np.count_nonzero((images > GREY_FROM * 255) & (images < (1 - GREY_FROM) * 255)))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ink_iou": ink_iou,
    "edge_distance": edge_distance,
    "stray_specks": stray_specks,
    "stray_holes": stray_holes,
    "greyness": greyness,
}


def score(fake: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Every measure of `METRICS`, rounded to five digits; of many glyphs a part at a time, to bound the memory."""

    def of_parts(measure: Callable[[np.ndarray, np.ndarray], float]) -> float:
        if measure is greyness:  # a ratio of sums, not a mean over glyphs; and takes little memory
            return measure(fake, target)
        starts = range(0, len(fake), AT_ONCE)
        parts = [(fake[start : start + AT_ONCE], target[start : start + AT_ONCE]) for start in starts]
        return sum(measure(*part) * len(part[0]) for part in parts) / len(fake)

    return {name: round(of_parts(measure), 5) for name, measure in METRICS.items()}


def shift_consistency(draw: Callable[[torch.Tensor], torch.Tensor], source: torch.Tensor) -> float:
    """Mean change of the drawing, in grey levels of [0, 1], when the input moves by one pixel.

    `draw` maps [N, C, S, S] in [-1, 1] to the same; the four shifts are undone on the output
    before it is compared, and a border of 8 pixels is left out. Lower is better (Zhang, 2019).
    """
    plain, changes = draw(source), []
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        moved = draw(torch.roll(source, shift, (2, 3)))
        back = torch.roll(moved, [-step for step in shift], (2, 3))
        changes.append((back - plain)[..., 8:-8, 8:-8].abs().mean() / 2)
    return float(torch.stack(changes).mean())
