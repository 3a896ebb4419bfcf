"""What a model is and how it learns."""

import math
from dataclasses import dataclass, fields

import torch

from model.layers import NORM_TYPES, UP_MODES

SKIPS = ("concat", "add")  # how a level of zi2zi's is joined to what came in
GENERATORS = ("zi2zi", "residual")  # kinds of levels of the generator
OPTIMIZERS = ("muon", "adam")
AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Beyond these a value is a slip: no machine could hold the network.
LARGEST = {"ngf": 1024, "ndf": 1024, "embedding_num": 10_000, "embedding_dim": 4096, "accum_steps": 8192}


@dataclass(frozen=True)
class Zi2ZiConfig:
    """What a model is and how it learns; the fields are named as the flags of train.py.

    Raises:
        ValueError: when a value is out of range, naming the field.
    """

    image_size: int = 256  # pixels of a side
    input_nc: int = 1  # channels of an image: 1 grey, 3 colour
    generator: str = "zi2zi"  # zi2zi | residual: kind of its levels
    ngf: int = 64  # filters of the generator's first level
    ndf: int = 64  # filters of the discriminator's first level
    embedding_num: int = 40  # labels the tables have room for
    embedding_dim: int = 128  # width of a label's embedding
    norm_type: str = "batch"  # batch | instance | plain_instance, which has no weights
    up_mode: str = "conv"  # conv | upsample | pixelshuffle
    g_blur: bool = False  # anti-aliased downsampling in the generator
    d_blur: bool = False  # anti-aliased downsampling in the discriminator
    dropout: float = 0.5  # in the generator's deep levels
    deform: bool = False  # have the generator move the source's strokes to where the target has them, first
    skip: str = "concat"  # concat | add: how zi2zi's levels are joined to what came in
    attention: str = ""  # levels of zi2zi's with self-attention, counted from the outside, as "3,4"
    levels: int = 0  # how many zi2zi's U-Net has; 0: as many as halve the image down to 1 or 3 pixels
    L1_penalty: float = 100.0  # weight of the L1 loss
    ink_weight: float = 0.0  # how much more an error in ink counts than one in paper, in the L1 loss
    Ladv_penalty: float = 1.0  # weight of the adversarial loss; 0: the discriminator is left out of the training
    Lconst_penalty: float = 15.0  # weight of the constant-encoding loss
    Lcategory_penalty: float = 1.0  # weight of the category loss
    optimizer: str = "adam"  # muon | adam: what trains G; D is trained by Adam
    lr: float = 0.001  # learning rate of G
    lr_D: float = 0.001  # learning rate of D
    ema_decay: float = 0.999  # decay of the shadow weights; 0: no shadow
    accum_steps: int = 1  # micro-batches that a batch is cut into
    freeze_encoder: bool = False  # train the generator's way up and its embedding alone
    amp: str = "off"  # off | bf16 | fp16: precision of the convolutions in training; weights stay in float32

    def __post_init__(self):
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if not (type(value) is kind or (kind is float and type(value) is int)):
                raise ValueError(f"{field.name} {value!r} is not of type {kind.__name__}")
        num_downs(self.image_size)
        if self.input_nc not in (1, 3):
            raise ValueError(f"input_nc {self.input_nc} is not 1 (grey) or 3 (colour)")
        for name in ("ngf", "ndf", "embedding_num", "embedding_dim", "accum_steps"):
            if not 1 <= getattr(self, name) <= LARGEST[name]:
                raise ValueError(f"{name} {getattr(self, name)} is not in 1 to {LARGEST[name]}")
        for name in ("L1_penalty", "ink_weight", "Ladv_penalty", "Lconst_penalty", "Lcategory_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is not a number of 0 or more")
        for name in ("lr", "lr_D"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} is not a number above 0")
        for name in ("dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not in [0, 1)")
        modes = {
            "generator": GENERATORS,
            "norm_type": NORM_TYPES,
            "skip": SKIPS,
            "up_mode": UP_MODES,
            "optimizer": OPTIMIZERS,
            "amp": AMP_TYPES,
        }
        for name, choices in modes.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(choices)}")
        self._check_levels()

    def _check_levels(self) -> None:
        most = num_downs(self.image_size)
        if self.levels and not 4 <= self.levels <= most:
            raise ValueError(f"levels {self.levels} is not 0, or 4 to {most}")
        count = self.levels or most
        known = {str(number) for number in range(1, count + 1)}
        if self.attention and not known.issuperset(self.attention.split(",")):
            raise ValueError(f"attention {self.attention!r} is not of levels 1 to {count}, such as 3,4")
        if self.generator != "zi2zi" and (self.skip != "concat" or self.attention or self.levels):
            raise ValueError(f"skip, attention and levels are of generator zi2zi, not {self.generator}")

    def generator_arguments(self) -> dict:
        """The keyword arguments of `UNetGenerator`."""
        names = (
            *("generator", "input_nc", "ngf", "embedding_num", "embedding_dim", "image_size", "norm_type", "up_mode"),
            *("g_blur", "dropout", "deform", "skip", "attention", "levels"),
        )
        return {name: getattr(self, name) for name in names}

    def discriminator_arguments(self) -> dict:
        """The keyword arguments of `Discriminator`."""
        names = "ndf embedding_num image_size norm_type d_blur"
        return {"input_nc": 2 * self.input_nc} | {name: getattr(self, name) for name in names.split()}

    @classmethod
    def field_names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


def num_downs(image_size: int) -> int:
    """How many times an image is halved, down to 1x1 (sizes 2^k) or 3x3 (3 * 2^k).

    Raises:
        ValueError: for any other size, naming the nearest ones that work.
    """
    sizes = sorted({2**k for k in range(6, 11)} | {3 * 2**k for k in range(5, 9)})
    if image_size not in sizes:
        low, high = sorted(sorted(sizes, key=lambda size: abs(size - image_size))[:2])
        raise ValueError(f"image_size {image_size} is not 2^k or 3*2^k from 64 to 1024: use {low} or {high}")
    return int(math.log2(image_size if image_size & (image_size - 1) == 0 else image_size // 3))
