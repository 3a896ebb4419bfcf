"""The networks of zi2zi: generator, discriminator, EMA, and the model that trains them."""

from model.config import Zi2ZiConfig
from model.discriminator import Discriminator
from model.layers import BlurPool, fold_norms
from model.model import EMA, UNetGenerator, Zi2ZiModel

__all__ = ["EMA", "BlurPool", "Discriminator", "UNetGenerator", "Zi2ZiConfig", "Zi2ZiModel", "fold_norms"]
