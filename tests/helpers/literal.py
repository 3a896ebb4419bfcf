"""The training step and the drawing written the plain way: what the fast ones must equal, and are timed against.

Stride-1 convolution and then blur; the whole generator again for the encoding of its drawing; NCHW; Adam and EMA
tensor by tensor; every loss read at every step. The mathematics is that of the model, the networks are its own.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from model import Zi2ZiModel, losses
from model.layers import BlurConv2d, ContiguousGradient
from utils.images import to_float, to_uint8


class LiteralBlurConv2d(nn.Module):
    """BlurPool as it is written down: convolve at stride 1, then blur at stride 2; the border is padded once."""

    def __init__(self, conv: BlurConv2d):
        super().__init__()
        self.conv = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, bias=conv.bias is not None)
        self.conv.weight, self.conv.bias = conv.weight, conv.bias
        self.border = conv.border
        kernel = conv.blur.expand(conv.out_channels, 1, 3, 3).clone()
        self.register_buffer("kernel", kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(x, (self.border,) * 4, mode="replicate"))
        return F.conv2d(x, self.kernel, stride=2, groups=x.shape[1])


def literal_net(net: nn.Module) -> nn.Module:
    """A copy of a network, in NCHW, with every blurred convolution in its literal form."""
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BlurConv2d):
                setattr(module, name, LiteralBlurConv2d(child))
            if isinstance(child, ContiguousGradient):
                setattr(module, name, nn.Identity())
    return net


class LiteralModel:
    """The same model as `model`, from the same weights, trained by the plain step."""

    def __init__(self, model: Zi2ZiModel, ema_decay: float | None = None):
        self.config = config = model.config
        self.ema_decay = config.ema_decay if ema_decay is None else ema_decay
        self.netG, self.netD = literal_net(model.netG), literal_net(model.netD)
        self.shadow = {name: tensor.detach().clone() for name, tensor in self.netG.state_dict().items()}
        self.num_updates = 0
        plain = {"betas": (0.5, 0.999), "foreach": False, "fused": False}
        self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=config.lr, **plain)
        self.optimizer_D = torch.optim.Adam(self.netD.parameters(), lr=config.lr_D, **plain)

    def step(self, label: Tensor, source: Tensor, target: Tensor) -> dict[str, float]:
        """One update of D, one of G, and EMA; returns the losses as numbers."""
        config = self.config
        fake, encoded = self.netG(source, label)
        self.optimizer_D.zero_grad()
        binary_real, category_real = self.netD(torch.cat([source, target], 1))
        binary_fake, category_fake = self.netD(torch.cat([source, fake.detach()], 1))
        category = losses.category_loss(category_real, label) + losses.category_loss(category_fake, label)
        adversarial = losses.adversarial_loss(binary_real, True) + losses.adversarial_loss(binary_fake, False)
        d_loss = adversarial + config.Lcategory_penalty * category / 2
        d_loss.backward()
        self.optimizer_D.step()

        self.netD.requires_grad_(False)
        self.optimizer_G.zero_grad()
        binary, category = self.netD(torch.cat([source, fake], 1))
        encoded_fake = self.netG(fake, label)[1]
        terms = {
            "adv_loss": losses.adversarial_loss(binary, True),
            "category_loss": config.Lcategory_penalty * losses.category_loss(category, label),
            "l1_loss": config.L1_penalty * losses.l1_loss(fake, target),
            "const_loss": config.Lconst_penalty * losses.const_loss(encoded, encoded_fake),
        }
        g_loss = sum(terms.values())
        g_loss.backward()
        self.optimizer_G.step()
        self.netD.requires_grad_(True)
        self.update_ema()
        return {name: loss.item() for name, loss in {"d_loss": d_loss, "g_loss": g_loss, **terms}.items()}

    @torch.no_grad()
    def update_ema(self) -> None:
        """Tensor by tensor, as it is usually written."""
        decay = min(self.ema_decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, tensor in self.netG.state_dict().items():
            if tensor.is_floating_point():
                self.shadow[name] = decay * self.shadow[name] + (1 - decay) * tensor
            else:
                self.shadow[name] = tensor.clone()
        self.num_updates += 1


@torch.no_grad()
def literal_drawing(net: nn.Module, font, characters: str, image_size: int, batch_size: int, folder: Path) -> None:
    """Text to PNG as the earlier ports draw: render, run the generator and once more for its encoding, save."""
    for start in range(0, len(characters), batch_size):
        batch = characters[start : start + batch_size]
        pixels = np.stack([font.render(character, image_size) for character in batch])
        source = to_float(torch.from_numpy(pixels))
        label = torch.zeros(len(batch), dtype=torch.int64)
        fake, _ = net(source, label)
        net(fake, label)
        for character, image in zip(batch, to_uint8(fake), strict=True):
            Image.fromarray(image).save(folder / f"{ord(character):X}.png")
