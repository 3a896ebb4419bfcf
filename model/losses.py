"""The losses of zi2zi as pure functions: every one takes network outputs and returns a scalar."""

import torch
from torch import Tensor
from torch.nn import functional as F


def adversarial_loss(logits: Tensor, is_real: bool) -> Tensor:
    """Binary cross-entropy of D's verdict `logits` [N, 1] against all-real or all-fake."""
    target = torch.ones_like(logits) if is_real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)


def category_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of D's category `logits` [N, K] against one-hot `label` [N].

    The one-hot table is computed, never a parameter: the auxiliary classifier of AC-GAN
    (Odena et al., 2017) in the independent-sigmoid form that zi2zi uses.
    """
    one_hot = F.one_hot(label, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, one_hot)


def l1_loss(fake: Tensor, target: Tensor, ink_weight: float = 0.0) -> Tensor:
    """Mean absolute difference of two images [N, C, S, S] in [-1, 1] (pix2pix, Isola et al., 2017).

    An error where the target is ink (-1) counts 1 + `ink_weight` times. Most of a glyph is paper, so that a network in
    doubt leaves strokes out and draws them thin: with the weight it draws them where ink is a little less likely.
    """
    if not ink_weight:
        return F.l1_loss(fake, target)
    return ((1 + ink_weight * (1 - target) / 2) * (fake - target).abs()).mean()


def const_loss(encoded_source: Tensor, encoded_fake: Tensor) -> Tensor:
    """Mean squared distance of two encodings [N, E]: the drawing must still be the same character.

    The f-constancy of DTN (Taigman et al., 2017). Gradients flow through both arguments.
    """
    return F.mse_loss(encoded_fake, encoded_source)


def known_mse_loss(found: Tensor, goal: Tensor) -> Tensor:
    """The mean squared error of `found`, over what is known of `goal`: what is NaN there does not count."""
    known = ~goal.isnan()
    return (found - goal.where(known, found)).square().sum() / known.sum().clamp(min=1)
