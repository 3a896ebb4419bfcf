"""What the state dicts of weights that come without a config tell of their architecture."""

import math
from collections.abc import Mapping
from typing import Any


def generator_architecture(generator: Mapping[str, Any]) -> dict[str, Any]:
    """What a generator's state dict tells of its architecture, named as the flags; all but the image size.

    Raises:
        ValueError: when the state dict is not that of a zi2zi generator.
    """
    is_residual = "model.down.1.weight" in generator
    down, up = ("model.down.1", "model.up.2") if is_residual else ("model.down.0", "model.up.1")
    for key, ndim in {f"{down}.weight": 4, f"{up}.weight": 4, "embedder.weight": 2}.items():
        if getattr(generator.get(key), "ndim", None) != ndim:
            first = ", ".join(str(key) for key in list(generator)[:3]) or "nothing"
            raise ValueError(f"it is no generator of zi2zi: it has no {key}, but {first}")
    ngf, taken_in = generator[f"{down}.weight"].shape[:2]
    input_nc = taken_in // patch_of(taken_in) ** 2 if is_residual else taken_in
    return {
        "generator": "residual" if is_residual else "zi2zi",
        "input_nc": input_nc,
        "ngf": ngf,
        "embedding_num": generator["embedder.weight"].shape[0],
        "embedding_dim": generator["embedder.weight"].shape[1],
        "norm_type": "batch" if any(key.endswith("running_mean") for key in generator) else "instance",
        "up_mode": residual_up_mode(generator) if is_residual else up_mode(generator["model.up.1.weight"], input_nc),
        "g_blur": any(key.endswith(".blur") for key in generator),
        "deform": "deformer.out.weight" in generator,
    }


def up_mode(last: Any, input_nc: int) -> str:
    """How zi2zi's levels upsample, by the outermost one's weight."""
    outer, _, size = last.shape[:3]
    return "conv" if size == 4 else "pixelshuffle" if outer == 4 * input_nc else "upsample"


def residual_up_mode(generator: Mapping[str, Any]) -> str:
    """How residual levels upsample, by the names in the second one."""
    modes = {"2.conv.weight": "upsample", "2.0.weight": "pixelshuffle"}
    return next((mode for name, mode in modes.items() if f"model.submodule.up.{name}" in generator), "conv")


def patch_of(folded: int) -> int:
    """The side of the patch that residual levels fold into so many channels; in colour there are thrice as many."""
    return max(1, math.isqrt(folded // 3 if folded % 3 == 0 else folded))


def likely_image_size(generator: Mapping[str, Any]) -> int:
    """The image size that a generator is most likely for: the power of two that has its levels."""
    levels = 1 + max(key.count("submodule.") for key in generator)
    if "model.down.1.weight" not in generator:
        return 2 ** min(levels, 11)
    return patch_of(generator["model.down.1.weight"].shape[1]) * 8 * 2 ** (min(levels, 8) - 1)


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
