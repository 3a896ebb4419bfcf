"""Other ways to train, to be compared with the one in use: what `tests.study` takes apart, not part of the program."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model import EMA, Zi2ZiConfig, Zi2ZiModel, losses
from model.config import AMP_TYPES
from model.model import Batch


@dataclass(frozen=True)
class Variant:
    """One way to train: changes of the model's config, and of what the config does not know."""

    config: dict[str, Any] = field(default_factory=dict)  # fields of Zi2ZiConfig
    batch_size: int = 16
    program: bool = False  # the program's own training step, of which only the config is changed
    schedule: str = "constant"  # constant | cosine | linear | late (constant for a half, then linear): over the run
    halved_after: int = 0  # epochs after which the learning rate halves, each time
    warm_up: float = 0.0  # share of the run in which the learning rate rises from 0
    adversarial: str = "bce"  # bce | hinge | lsgan | none
    adversarial_weight: float = 1.0
    every: int = 1  # steps of G to one with D, whose adversarial terms count as many times
    begin: float = 0.0  # share of the run before D joins
    one_stage: bool = False  # Shen et al., CVPR 2021: G's adversarial gradient out of D's own backward
    edge_weight: float = 0.0  # weight of the L1 between the differences of neighbouring pixels
    ink_weight: float = 0.0  # how much more an error in ink counts than one in paper, in the L1 loss
    beta1: float = 0.5  # of both Adams
    init: str = "dcgan"  # dcgan | kaiming
    augment: bool = True
    scale: tuple[float, float] | None = None  # another range of the augmentation's scale
    shift: float | None = None  # and of its shift
    warp: float = 0.0  # or how far glyphs are stretched, sheared and turned
    foretold: float = 0.0  # share of the glyphs that are drawn from where the strokes are found, not where they are
    with_base: bool = False  # begin with the base, at its size
    style: str = "likest"  # mean | likest: of the styles that the base knows
    keep_deformer: bool = False  # leave what finds the strokes' places as the base has it
    styling: int = 0  # steps on the style alone, before those on all
    mixed: float = 0.0  # share of the pairs of which a part is that of another pair, in source and target alike


def learning_rate_factor(variant: Variant, progress: float, epoch: float) -> float:
    """What the learning rate is multiplied with when `progress` (0 to 1) of the run is over."""
    if variant.halved_after:
        return 0.5 ** (int(epoch) // variant.halved_after)
    rising = min(1.0, progress / variant.warm_up) if variant.warm_up else 1.0
    if variant.schedule == "cosine":
        return rising * float(torch.cos(torch.tensor(progress * torch.pi)) + 1) / 2
    if variant.schedule == "linear":
        return rising * (1 - progress)
    if variant.schedule == "late":
        return rising * min(1.0, 2 * (1 - progress))
    return rising


def verdict_loss(form: str, logits: Tensor, is_real: bool, for_generator: bool = False) -> Tensor:
    """The adversarial loss of D's `logits` in one of its forms."""
    if form == "hinge":
        if for_generator:
            return -logits.mean()
        return F.relu(1 - logits if is_real else 1 + logits).mean()
    if form == "lsgan":
        return F.mse_loss(logits, torch.full_like(logits, float(is_real)))
    return losses.adversarial_loss(logits, is_real)


def mix(source: Tensor, target: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Put together characters that do not exist: one side of a pair from another pair, in source and target alike.

    CutMix (Yun et al., ICCV 2019) along one line, as characters are made of parts side by side or one above the other.
    """
    count, side = len(source), source.shape[-1]
    other = torch.randperm(count)
    at = (side * (0.3 + 0.4 * torch.rand(count))).long()[:, None, None]
    place = torch.arange(side)
    beyond = (place[None, None, :] >= at).expand(count, side, side)
    mask = torch.where(torch.rand(count, 1, 1) < 0.5, beyond, beyond.transpose(1, 2))
    mask = (mask & (torch.rand(count, 1, 1) < share))[:, None]
    return torch.where(mask, source[other], source), torch.where(mask, target[other], target)


class VariantModel(Zi2ZiModel):
    """A model that is trained as its `variant` says; `progress` tells how much of the run is over."""

    def __init__(self, config: Zi2ZiConfig, variant: Variant):
        super().__init__(config)
        self.variant, self.progress, self.count = variant, 0.0, 0
        if variant.init == "kaiming":
            for module in (*self.netG.modules(), *self.netD.modules()):
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(module.weight, 0.2)
            self.ema = EMA(self.netG, config.ema_decay)
        for optimizer in (self.optimizer_G, self.optimizer_D):
            for group in optimizer.param_groups:
                group["betas"] = (variant.beta1, 0.999)

    def optimize_parameters(self) -> dict[str, Tensor]:
        """One step on the batch of `set_input`, without accumulation."""
        if self.variant.program:
            return super().optimize_parameters()
        variant, (batch,) = self.variant, self.micro_batches
        with_D = variant.adversarial != "none" and self.count % variant.every == 0 and self.progress >= variant.begin
        self.count += 1
        dtype = AMP_TYPES[self.config.amp]
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            fake, encoded = self.forward(batch)
            gradient = self._update_D(batch, fake) if with_D else None
            terms = self._terms(batch, fake, encoded, with_D and not variant.one_stage)
        self.optimizer_G.zero_grad()
        sum(terms.values()).backward(retain_graph=gradient is not None)
        if gradient is not None and variant.one_stage:
            fake.backward(gradient)
        self.optimizer_G.step()
        self.ema.update()
        return {name: term.detach() for name, term in terms.items()}

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """As in training, with the deformations that the variant has the levels see."""
        known = batch.deformation
        if known is None or not self.variant.foretold:
            return super().forward(batch)
        with torch.no_grad():
            found = self.netG.deformer(batch.source, self.netG.embedder(batch.label)).to(known.dtype)
        chosen = torch.rand(len(known), 1, 1, 1) < self.variant.foretold
        return super().forward(batch._replace(deformation=torch.where(chosen, found, known)))

    def _update_D(self, batch: Batch, fake: Tensor) -> Tensor | None:
        """D's step; in one stage also G's adversarial gradient with respect to `fake`."""
        variant = self.variant
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        leaf = fake.detach().requires_grad_(variant.one_stage)
        real, category_real = self.netD(torch.cat([batch.source, batch.target], 1))
        drawn, category_fake = self.netD(torch.cat([batch.source, leaf], 1))
        category = losses.category_loss(category_real, batch.label) + losses.category_loss(category_fake, batch.label)
        form = variant.adversarial
        loss = verdict_loss(form, real, True) + verdict_loss(form, drawn, False)
        (loss + self.config.Lcategory_penalty * category / 2).backward()
        self.optimizer_D.step()
        if not variant.one_stage:
            return None
        # d softplus(-v) / d softplus(v) of each glyph: what turns D's gradient into G's (batch norm mixes glyphs a bit)
        ratio = -torch.sigmoid(-drawn.detach()) / torch.sigmoid(drawn.detach()).clamp(min=1e-3)
        return leaf.grad * ratio[:, :, None, None] * variant.adversarial_weight * variant.every

    def _terms(self, batch: Batch, fake: Tensor, encoded: Tensor, with_D: bool) -> dict[str, Tensor]:
        variant, config = self.variant, self.config
        weight = 1 + variant.ink_weight * (1 - batch.target) / 2
        terms = {"l1_loss": config.L1_penalty * (weight * (fake - batch.target).abs()).mean()}
        if variant.edge_weight:
            differences = [losses.l1_loss(fake.diff(dim=d), batch.target.diff(dim=d)) for d in (2, 3)]
            terms["edge_loss"] = variant.edge_weight * sum(differences)
        if config.Lconst_penalty:
            encoded_fake = self.netG.encode(fake)
            terms["const_loss"] = config.Lconst_penalty * losses.const_loss(encoded, encoded_fake)
        if with_D:
            self.netD.requires_grad_(False)
            verdict, category = self.netD(torch.cat([batch.source, fake], 1))
            weight = variant.every * variant.adversarial_weight
            terms["adv_loss"] = weight * verdict_loss(variant.adversarial, verdict, True, for_generator=True)
            share = variant.every * config.Lcategory_penalty
            terms["category_loss"] = share * losses.category_loss(category, batch.label)
        return terms
