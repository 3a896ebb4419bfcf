"""What the state dicts of weights that come without a config tell of their architecture.

Two families of ports are known. What their weights draw with, as read from keys and shapes:

| | the earlier PyTorch ports of zi2zi | max32002's zi2zi-pytorch (2026) |
| --- | --- | --- |
| a level is joined | by its channels | by a sum with the activated map |
| instance norm | has weights | has none; convolutions have biases |
| self-attention | none | after the ways down that have `att` keys |
| levels | down to 1 or 3 pixels | 8, at 384 pixels 7 |
| discriminator | plain | plain, or with spectral norm, which is taken into the weights |

Neither knows a bias or a sharpness of drawings: they are drawn with 0 and 1.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from model.config import num_downs

NORM_AFTER_SHUFFLE = re.compile(r"(model\.(?:submodule\.)+up)\.3\.")
ATTENTION = re.compile(r"model\.((?:submodule\.)*)att\.gamma")


def translated(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with the names of this program: those of max32002's port differ, and spectral norms are folded.

    There a convolution and the pixel shuffle after it are two modules, here one. A weight with a spectral norm
    (Miyato et al., ICLR 2018) is divided by its largest singular value, as that was estimated last.
    """
    found = {}
    for key, value in state.items():
        name = NORM_AFTER_SHUFFLE.sub(r"\1.2.", key) if isinstance(key, str) else key
        found[name] = value
    for key in [key for key in found if isinstance(key, str) and key.endswith(".weight_orig")]:
        stem = key.removesuffix("_orig")
        parts = [found.get(f"{stem}_{part}") for part in ("orig", "u", "v")]
        if not all(isinstance(part, torch.Tensor) and part.is_floating_point() for part in parts):
            continue
        weight, left, right = (part.float() for part in parts if part is not None)
        if not weight.numel() or (left.numel(), left.numel() * right.numel()) != (weight.shape[0], weight.numel()):
            continue
        found[stem] = weight / torch.dot(left.flatten(), weight.flatten(1) @ right.flatten())
        for part in ("orig", "u", "v"):
            del found[f"{stem}_{part}"]
    return found


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
        "norm_type": norm_type(generator, is_residual),
        "up_mode": residual_up_mode(generator) if is_residual else up_mode(generator["model.up.1.weight"], input_nc),
        "g_blur": any(key.endswith(".blur") for key in generator),
        "deform": "deformer.out.weight" in generator,
        **({} if is_residual else joins(generator)),
    }


def norm_type(generator: Mapping[str, Any], is_residual: bool = False) -> str:
    """Which norms a generator has.

    Batch norms have statistics; instance norms have weights, or else the convolutions have biases.
    """
    if any(key.endswith("running_mean") for key in generator):
        return "batch"
    return "instance" if is_residual or "model.down.0.bias" not in generator else "plain_instance"


def joins(generator: Mapping[str, Any]) -> dict[str, Any]:
    """How zi2zi's levels are joined, which have self-attention, and how many there are."""
    looking = [match[1].count("submodule.") + 1 for key in generator if (match := ATTENTION.fullmatch(key))]
    down, up = generator["model.down.0.weight"], generator["model.up.1.weight"]
    # A transposed convolution has its inputs first.
    taken_in = up.shape[0 if up.shape[2] == 4 else 1]
    return {
        "skip": "add" if taken_in == down.shape[0] else "concat",
        "attention": ",".join(map(str, sorted(looking))),
        "levels": levels_of(generator),
    }


def levels_of(generator: Mapping[str, Any]) -> int:
    """How many levels the U-Net of a generator has."""
    return 1 + max(key.count("submodule.") for key in generator)


def settled(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture whose image size is known: as many levels as that has anyway are none to be named.

    Raises:
        ValueError: when the image size is none, or has fewer levels.
    """
    levels, most = architecture.get("levels", 0), num_downs(architecture["image_size"])
    if levels > most:
        raise ValueError(f"it has {levels} levels, an image size of {architecture['image_size']} allows {most}")
    return {**architecture, **({"levels": 0} if levels == most else {})}


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
    levels = levels_of(generator)
    if "model.down.1.weight" not in generator:
        if joins(generator)["skip"] == "add":  # there 512 pixels have 8 levels too
            return 384 if levels == 7 else 256
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
