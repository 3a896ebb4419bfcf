"""The style of a new label, found among those that a network knows, before anything is trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from model import Zi2ZiModel
from model.losses import l1_loss
from utils.data.pairs import Pair, PairData, evenly
from utils.images import to_float

MOST = 8  # glyphs of a label that are looked at


@torch.inference_mode()
def likest(model: Zi2ZiModel, styles: Tensor, label: int, source: Tensor, target: Tensor) -> int:
    """Which of `styles` [N, embedding_dim] has the model draw `source` most like `target`, both [K, C, S, S].

    The model's own style of `label` stays what it is.
    """
    row, labels, errors = drawing_network(model).embedder.weight[label], torch.full((len(source),), label), []
    before = row.clone()
    for style in styles:
        row.copy_(style)
        errors.append(float(l1_loss(model.sample(source, labels), target, model.config.ink_weight)))
    row.copy_(before)
    return errors.index(min(errors))


def take_likest(
    model: Zi2ZiModel, styles: Tensor, labels: Sequence[int], data: PairData, pairs: Sequence[Pair]
) -> dict[int, int]:
    """Let new `labels` begin in the likest of the known `styles`; returns which, for each that has pairs.

    By some of `pairs`, which are those to train on.
    """
    styles, found = styles.to(model.device, torch.float32), {}
    for label in labels:
        own = evenly([pair for pair in pairs if pair[0] == label], MOST)
        if not own:
            continue
        glyphs = data.render_pairs(own, model.config.image_size)
        images = (to_float(model.moved(torch.from_numpy(each)), model.config.input_nc) for each in glyphs)
        found[label] = likest(model, styles, label, *images)
        with torch.no_grad():
            for net in {model.netG, drawing_network(model)}:
                net.embedder.weight[label] = styles[found[label]]
    return found


def drawing_network(model: Zi2ZiModel) -> Any:
    """The network that is drawn with by default."""
    return model.netG if model.ema is None else model.ema.shadow
