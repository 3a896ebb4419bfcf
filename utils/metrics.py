"""How far a drawn glyph is from the true one. Images are uint8 [N, S, S], ink 0 on paper 255."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

INK = 128  # a pixel below it is ink
SPECK = 4  # pixels of the smallest speck that counts


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
    x, y = (torch.from_numpy(image).double()[:, None] / 255 for image in (fake, target))
    mean_x, mean_y = F.avg_pool2d(x, 7, 1), F.avg_pool2d(y, 7, 1)
    sample = 49 / 48
    var_x = sample * (F.avg_pool2d(x * x, 7, 1) - mean_x**2)
    var_y = sample * (F.avg_pool2d(y * y, 7, 1) - mean_y**2)
    covariance = sample * (F.avg_pool2d(x * y, 7, 1) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def ink_iou(fake: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of the ink, the mean over glyphs; two blank glyphs count as 1."""
    a, b = ((image < INK).reshape(len(image), -1) for image in (fake, target))
    union = (a | b).sum(1)
    return float(np.where(union == 0, 1.0, (a & b).sum(1) / np.maximum(union, 1)).mean())


def stray_specks(fake: np.ndarray, target: np.ndarray) -> float:
    """Specks a glyph: 8-connected ink of 4 pixels or more that touches no ink of the target."""
    total = 0
    for drawn, true in zip(fake < INK, target < INK, strict=True):
        labels, count = ndimage.label(drawn, structure=np.ones((3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        touching = np.unique(labels[true])
        total += sum(size >= SPECK for number, size in enumerate(sizes) if number and number not in touching)
    return total / len(fake)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ink_iou": ink_iou,
    "stray_specks": stray_specks,
}


def score(fake: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Every measure of `METRICS`, rounded to five digits."""
    return {name: round(measure(fake, target), 5) for name, measure in METRICS.items()}


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
