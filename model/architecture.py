"""What the state dicts of weights that come without a config tell of their architecture."""

import math
from collections.abc import Mapping
from typing import Any


def generator_architecture(generator: Mapping[str, Any]) -> dict[str, Any]:
    """What a generator's state dict tells of its architecture, named as the flags; all but the image size.

    Raises:
        ValueError: when the state dict is not that of a zi2zi generator.
    """
    for key, ndim in {"model.down.0.weight": 4, "model.up.1.weight": 4, "embedder.weight": 2}.items():
        if getattr(generator.get(key), "ndim", None) != ndim:
            first = ", ".join(str(key) for key in list(generator)[:3]) or "nothing"
            raise ValueError(f"it is no generator of zi2zi: it has no {key}, but {first}")
    ngf, input_nc = generator["model.down.0.weight"].shape[:2]
    outer, _, size = generator["model.up.1.weight"].shape[:3]
    up_mode = "conv" if size == 4 else "pixelshuffle" if outer == 4 * input_nc else "upsample"
    return {
        "input_nc": input_nc,
        "ngf": ngf,
        "embedding_num": generator["embedder.weight"].shape[0],
        "embedding_dim": generator["embedder.weight"].shape[1],
        "norm_type": "batch" if any(key.endswith("running_mean") for key in generator) else "instance",
        "up_mode": up_mode,
        "g_blur": any(key.endswith(".blur") for key in generator),
    }


def count_levels(generator: Mapping[str, Any]) -> int:
    """How many times a generator halves its image; more than there can be count as one too many."""
    return min(1 + max(key.count("submodule.") for key in generator), 11)


def discriminator_architecture(discriminator: Mapping[str, Any]) -> dict[str, Any]:
    """What a discriminator's state dict tells: filters, blur, and the image size.

    Raises:
        ValueError: when the state dict is not that of a zi2zi discriminator.
    """
    for key, ndim in {"model.0.weight": 4, "binary.weight": 2}.items():
        if getattr(discriminator.get(key), "ndim", None) != ndim:
            raise ValueError(f"it is no discriminator of zi2zi: it has no {key}")
    return {
        "ndf": discriminator["model.0.weight"].shape[0],
        "d_blur": any(key.endswith(".blur") for key in discriminator),
        "image_size": 8 * math.isqrt(discriminator["binary.weight"].shape[1]),
    }
