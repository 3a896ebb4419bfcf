"""A tiny model and a batch for it."""

import torch

from model import Zi2ZiConfig, Zi2ZiModel

TINY = {"image_size": 64, "ngf": 4, "ndf": 2, "embedding_num": 3, "embedding_dim": 8}


def tiny_model(dtype: torch.dtype = torch.float32, seed: int = 0, **changes) -> Zi2ZiModel:
    """A model of a few thousand weights, seeded."""
    torch.manual_seed(seed)
    model = Zi2ZiModel(Zi2ZiConfig(**TINY | changes))
    model.netG.to(dtype)
    model.netD.to(dtype)
    return model


def tiny_batch(count: int = 4, channels: int = 1, dtype: torch.dtype = torch.float32, seed: int = 1):
    """label, source, target of random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, count, channels, 64, 64, generator=generator, dtype=dtype) * 2 - 1
    return torch.arange(count) % 3, images[0], images[1]
