"""The U-Net generator of zi2zi with optional BlurPool, its EMA shadow, and the training step.

Images are [N, C, S, S] in [-1, 1], ink -1 and paper +1; labels are int64 [N].
"""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from model import losses
from model.config import AMP_TYPES, GENERATORS, Zi2ZiConfig, num_downs
from model.deform import Deformer, deformed
from model.discriminator import Discriminator
from model.layers import UP_MODES, Form, WayUp, init_weights
from model.muon import BETAS, Muon
from model.residual import residual_levels
from model.zi2zi import zi2zi_levels

DEFORM_PENALTY = 1000.0  # weight of the deformations' loss, which makes it about as large as the L1 loss

# --------------------------------------------------------------------------- generator


class UnetSkipConnectionBlock(nn.Module):
    """One level of the U-Net: the way down, the level below, the way up, joined to what came in.

    `submodule` is None at the bottleneck. The outermost level has no skip connection. A level is joined by its
    channels, or, with `adds`, by a sum. `attention`, where there is one, belongs to the way down.
    """

    def __init__(
        self,
        down: nn.Sequential,
        up: WayUp,
        submodule: "UnetSkipConnectionBlock | None" = None,
        *,
        attention: nn.Module | None = None,
        outermost: bool = False,
        adds: bool = False,
    ):
        super().__init__()
        self.down = down
        self.att = attention
        self.submodule = submodule
        self.up = up
        self.outermost = outermost
        self.adds = adds
        self.frozen = False

    def freeze_down(self) -> None:
        """Keep the way down as it is, here and below: weights, and the norms' statistics, by staying in eval mode."""
        self.frozen = True
        for module in filter(None, (self.down, self.att)):
            module.eval().requires_grad_(False)
        if self.submodule is not None:
            self.submodule.freeze_down()

    def train(self, mode: bool = True) -> "UnetSkipConnectionBlock":
        super().train(mode)
        if self.frozen:
            self.down.eval()
        return self

    def encode(self, x: Tensor) -> Tensor:
        """The bottleneck of `x`: the way down alone."""
        encoded = self._encoded(x)
        return encoded if self.submodule is None else self.submodule.encode(encoded)

    def _encoded(self, x: Tensor) -> Tensor:
        encoded = self.down(x)
        return encoded if self.att is None else self.att(encoded)

    def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Map x [N, C, H, W] and style [N, embedding_dim] to (map, bottleneck).

        The map has the channels of `x` twice, once where it is a sum, and at the outermost level those of the way up.
        """
        encoded = self._encoded(x)
        below, bottleneck = (encoded, encoded) if self.submodule is None else self.submodule(encoded, style)
        image = self.up(below, style)
        if self.outermost:
            return image, bottleneck
        return (x + image if self.adds else torch.cat([x, image], 1)), bottleneck


class UNetGenerator(nn.Module):
    """A U-Net that draws a glyph in the style of a label: with levels of zi2zi, or with residual ones.

    Of zi2zi's with the default modes the state dict has the keys and shapes of the earlier PyTorch ports.

    Raises:
        ValueError: for a kind of generator, an image size, norm or up mode that is not known.
    """

    def __init__(
        self,
        *,
        generator: str = "zi2zi",  # zi2zi | residual
        input_nc: int = 1,  # channels of an image, in and out
        ngf: int = 64,  # filters of the first level; deep levels have several times as many
        embedding_num: int = 40,  # labels
        embedding_dim: int = 128,  # width of a label's embedding
        image_size: int = 256,
        norm_type: str = "batch",
        up_mode: str = "conv",
        g_blur: bool = False,  # blur before every downsampling
        dropout: float = 0.5,  # in the deep levels
        deform: bool = False,  # move the strokes before the levels draw them
        skip: str = "concat",  # concat | add: how zi2zi's levels are joined
        attention: str = "",  # levels of zi2zi's that look at their whole map, from the outside, as "3,4"
        levels: int = 0,  # of zi2zi's; 0: by the image size
    ):
        super().__init__()
        if generator not in GENERATORS:
            raise ValueError(f"generator {generator!r} is not one of {', '.join(GENERATORS)}")
        if up_mode not in UP_MODES:
            raise ValueError(f"up_mode {up_mode!r} is not one of {', '.join(UP_MODES)}")
        num_downs(image_size)
        is_residual = generator == "residual"
        form = Form(
            input_nc, ngf, embedding_dim, image_size, norm_type, up_mode, g_blur, dropout, skip, attention, levels
        )
        adds, block = is_residual or skip == "add", None
        *deeper, outermost = residual_levels(form) if is_residual else zi2zi_levels(form)
        for level in deeper:
            block = UnetSkipConnectionBlock(level.down, level.up, block, attention=level.attention, adds=adds)
        down, up, look = outermost
        self.model = UnetSkipConnectionBlock(down, up, block, attention=look, outermost=True, adds=adds)
        self.embedder = nn.Embedding(embedding_num, embedding_dim)
        if not is_residual:
            init_weights(self)
        self.deformer = Deformer(embedding_dim, norm_type, g_blur) if deform else None

    def freeze_encoder(self) -> None:
        """From here on the way down keeps its weights and statistics; the rest is trained, the deformer too."""
        self.model.freeze_down()

    def ends(self) -> Sequence[nn.Module]:
        """The convolutions that take in and give out images, or where their strokes lie."""
        ways = self.model.down, self.model.up
        down, up = ([m for m in way if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)] for way in ways)
        return [down[0], up[-1], *([self.deformer.down[0], self.deformer.out] if self.deformer else [])]

    def encode(self, x: Tensor) -> Tensor:
        """The flattened bottleneck [N, E] of images x [N, C, S, S]; the decoder does not run."""
        return self.model.encode(x).flatten(1)

    def forward(self, x: Tensor, label: Tensor, deformation: Tensor | None = None) -> tuple[Tensor, ...]:
        """Draw x [N, C, S, S] in the style of label [N]: (image [N, C, S, S], encoded [N, E]).

        A `label` of floats, [N, embedding_num], blends: each row holds the weights of the labels. A network that moves
        strokes can be given the `deformation` [N, 2, GRID, GRID] to move them by, or NaN for its own; then the third
        that it returns is the one that it would have found.
        """
        field, encoded, found = self._field(x, label, deformation)
        drawn = torch.tanh(field), encoded
        return drawn if found is None or deformation is None else (*drawn, found)

    def field(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, but the sum before the tanh: its zero line is the outline of the ink.

        It is in float32 or wider: in bf16 tanh is 1 from 3.5 on, and what is wrong there stays wrong.
        """
        field, encoded, _ = self._field(x, label, None)
        return field, encoded

    def _field(self, x: Tensor, label: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The field, the encoding, and the deformation that is found for x, where one is."""
        style = label.to(x.dtype) @ self.embedder.weight if label.is_floating_point() else self.embedder(label)
        found = None
        if self.deformer is not None:
            found = self.deformer(x, style)
            x = deformed(x, found.detach() if known is None else torch.where(known.isnan(), found.detach(), known))
        field, bottleneck = self.model(x, style)
        return field.to(torch.promote_types(field.dtype, torch.float32)), bottleneck.flatten(1), found


# --------------------------------------------------------------------------------- EMA


class EMA:
    """An exponential moving average of a network's weights.

    Update n (counted from 0) has the decay min(decay, (1 + n) / (10 + n)), the warm-up of
    TensorFlow's ExponentialMovingAverage: without it a short run's shadow is mostly the initial
    noise. Floating-point buffers (batch-norm statistics) are averaged like weights, integers are
    copied. `shadow` is a copy of the network in eval mode, without gradients, in float32 or wider.

    Raises:
        ValueError: when `decay` is not in [0, 1).
    """

    def __init__(self, net: nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay {decay} is not in [0, 1)")
        self.decay = decay
        self.num_updates = 0
        self.net = net
        self.shadow = copy.deepcopy(net).eval().requires_grad_(False)
        if next(self.shadow.parameters()).dtype in (torch.float16, torch.bfloat16):
            self.shadow.float()
        self._pair()

    def _pair(self) -> None:
        """Pair the tensors of net and shadow by name, once: an update touches nothing else."""
        source, shadow = self.net.state_dict(keep_vars=True), self.shadow.state_dict(keep_vars=True)
        averaged = [name for name, tensor in shadow.items() if tensor.is_floating_point()]
        self._averaged = [shadow[name] for name in averaged], [source[name] for name in averaged]
        copied = [name for name in shadow if name not in set(averaged)]
        self._copied = [shadow[name] for name in copied], [source[name] for name in copied]

    def current_decay(self) -> float:
        """The decay of the next update."""
        return min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))

    @torch.no_grad()
    def update(self, took_place: Tensor | None = None) -> None:
        """Move the shadow towards the network; call it once after each optimizer step.

        `took_place` is 0 where that step was left out, else 1: a scalar that stays on the device.
        """
        shadow, source = self._averaged
        source = [tensor.detach().to(average.dtype) for average, tensor in zip(shadow, source, strict=True)]
        weight = 1 - self.current_decay()
        if took_place is None:
            torch._foreach_lerp_(shadow, source, weight)  # pyright: ignore[reportPrivateImportUsage]
        else:
            change = torch._foreach_sub(source, shadow)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_mul_(change, took_place * weight)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(shadow, change)  # pyright: ignore[reportPrivateImportUsage]
        for target, value in zip(*self._copied, strict=True):
            target.copy_(value)
        self.num_updates += 1

    def state_dict(self) -> dict:
        """The shadow's state dict and the update count."""
        return {"shadow": self.shadow.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned; strict, by name."""
        self.shadow.load_state_dict(state["shadow"])
        self.num_updates = state["num_updates"]


# ------------------------------------------------------------------------------- model


Net = TypeVar("Net", bound=nn.Module)


class Batch(NamedTuple):
    label: Tensor  # [N] int64
    source: Tensor  # [N, C, S, S]
    target: Tensor  # [N, C, S, S]
    # [N, 2, GRID, GRID]: moves the source's strokes to where the target has them; NaN where that is not known.
    deformation: Tensor | None = None


class Zi2ZiModel:
    """Generator, discriminator, EMA and optimizers, and the one training step they share.

    With `is_training=False` there is a generator in eval mode and nothing else. On the device `meta`
    there are shapes, and no memory is taken.

    Raises:
        ValueError: from `set_input`, when a label lies beyond `embedding_num`.
    """

    # These there are in training alone.
    netD: Discriminator
    optimizer_G: Muon | torch.optim.Adam
    optimizer_D: torch.optim.Adam
    scaler: torch.amp.GradScaler

    def __init__(self, config: Zi2ZiConfig, device: str | torch.device = "cpu", is_training: bool = True):
        self.config = config
        self.device = torch.device(device)
        self.layout = layout_for(self.device)
        self.ema: EMA | None = None
        self.calibration: dict[str, Tensor] = {}  # of `calibrate`, by the weights that are drawn with
        self.netG = self._make(UNetGenerator, config.generator_arguments()).train(is_training)
        self.micro_batches: list[Batch] = []  # of `set_input`
        if not is_training:
            return
        if config.freeze_encoder:
            self.netG.freeze_encoder()
        self.netD = self._make(Discriminator, config.discriminator_arguments())
        if config.optimizer == "muon":
            self.optimizer_G = Muon(self.netG, config.lr, self.netG.ends(), AMP_TYPES[config.amp])
        else:
            self.optimizer_G = self._adam(self.netG, config.lr)
        self.optimizer_D = self._adam(self.netD, config.lr_D)
        self.scaler = self._new_scaler()
        if config.ema_decay > 0:
            self.ema = EMA(self.netG, config.ema_decay)
        self._came_with_D = False  # `load_weights` brought a discriminator
        # Their gradients are averaged over the processes that train together.
        self._averaged_G: nn.Module = self.netG
        self._averaged_D: nn.Module = self.netD

    def distribute(
        self, wrap: Callable[[nn.Module], nn.Module], rank: int, count: int, add_up: Callable[[Tensor], None]
    ) -> None:
        """Train as number `rank` of `count` processes, each on its share of the batch.

        `wrap` makes of a network a module with the same forward whose backward averages the gradients over
        all processes (`DistributedDataParallel`). Losses stay those of the share. `add_up` is as in `Muon.distribute`.
        """
        self._averaged_G, self._averaged_D = wrap(self.netG), wrap(self.netD)
        if isinstance(self.optimizer_G, Muon):
            self.optimizer_G.distribute(rank, count, add_up)

    def compile(self, backend: str = "inductor") -> None:
        """Have both networks compiled by `torch.compile` when they first run; weights and keys stay what they are."""
        self.netG.compile(backend=backend)
        self.netG.encode = torch.compile(self.netG.encode, backend=backend)
        self.netD.compile(backend=backend)

    def _new_scaler(self) -> torch.amp.GradScaler:
        # Scaled, the small gradients of fp16 don't vanish; where one overflows, the step is left out.
        return torch.amp.GradScaler(self.device.type, enabled=self.config.amp == "fp16")

    def _make(self, kind: type[Net], arguments: dict) -> Net:
        # Drawn on the CPU, the initial weights of a seed are the same on every device.
        with torch.device("meta" if self.device.type == "meta" else "cpu"):
            net = kind(**arguments)
        return net.to(device=self.device).to(memory_format=self.layout)

    def _adam(self, net: nn.Module, lr: float) -> torch.optim.Adam:
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(net.parameters(), lr=lr, betas=BETAS, fused=fused)

    def set_learning_rate(self, factor: float) -> None:
        """Set both learning rates to `factor` times their initial value."""
        for optimizer, lr in ((self.optimizer_G, self.config.lr), (self.optimizer_D, self.config.lr_D)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def set_accum_steps(self, count: int) -> None:
        """Cut every batch into `count` micro-batches from here on."""
        self.config = dataclasses.replace(self.config, accum_steps=count)

    def set_input(self, label: Tensor, source: Tensor, target: Tensor, deformation: Tensor | None = None) -> None:
        """Take one batch: label [N] int64, source and target [N, C, S, S] in [-1, 1].

        `deformation` [N, 2, GRID, GRID] is what the generator learns to find, where it moves strokes; NaN is not known.
        With `accum_steps` k the batch is cut into k micro-batches, which together make one step.
        """
        self._check(label)
        batch = [self.moved(label), self._image(source), self._image(target)]
        if deformation is not None:
            batch.append(self.moved(deformation, dtype=batch[1].dtype))
        parts = (tensor.chunk(self.config.accum_steps) for tensor in batch)
        self.micro_batches = [Batch(*part) for part in zip(*parts, strict=True)]

    def _check(self, label: Tensor) -> None:
        low, high = int(label.min()), int(label.max())
        if low < 0 or high >= self.config.embedding_num:
            wrong = low if low < 0 else high
            raise ValueError(f"label {wrong} is not in 0 to {self.config.embedding_num - 1} (embedding_num)")

    def _image(self, image: Tensor) -> Tensor:
        dtype = next(self.netG.parameters()).dtype
        return self.moved(image, dtype=dtype, memory_format=self.layout)

    def moved(self, tensor: Tensor, **how: Any) -> Tensor:
        """The tensor on the model's device; `how` is what `Tensor.to` takes more."""
        # Elsewhere than on CUDA a copy that is not waited for may read memory that is used anew by then.
        return tensor.to(device=self.device, non_blocking=self.device.type == "cuda", **how)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Draw a batch as in training: what `UNetGenerator.forward` returns."""
        return self._averaged_G(batch.source, batch.label, batch.deformation)

    def optimize_parameters(self, seed: int | None = None) -> dict[str, Tensor]:
        """One training step on the batch of `set_input`: D's update, G's update, EMA.

        `seed`, of 63 bits, decides what is dropped out; without one torch's generator chooses it. Each network takes
        one optimizer step, whatever `accum_steps` is; D takes none where `Ladv_penalty` is 0.
        Returns detached scalars that stay on the device: g_loss, l1_loss and, as far as they are part of the
        training, d_loss, adv_loss, category_loss, const_loss, deform_loss, as they enter the sum (weights included).
        """
        seed = int(torch.randint(2**63 - 1, ())) if seed is None else seed
        seeds = [(seed + number) % 2**63 for number in range(len(self.micro_batches))]
        if self.config.Ladv_penalty > 0:
            draws, report = self._step_D(seeds)
        else:
            report = {}
            draws = [functools.partial(self._seeded, *each) for each in zip(self.micro_batches, seeds, strict=True)]
        self.netD.requires_grad_(False)
        self.optimizer_G.zero_grad()
        for batch, draw in zip(self.micro_batches, draws, strict=True):
            with self._autocast(), averaging(self._averaged_G, batch is self.micro_batches[-1]):
                terms = self.generator_losses(batch, *draw())
                terms = {name: term * self._share(batch) for name, term in terms.items()}
                g_loss = functools.reduce(torch.add, terms.values())
            self.scaler.scale(g_loss).backward()
            for name, term in {"g_loss": g_loss, **terms}.items():
                report[name] = report.get(name, 0.0) + term.detach()
        self._step_G()
        return report

    def _step_D(self, seeds: Sequence[int]) -> tuple[list[Callable[[], tuple[Tensor, ...]]], dict[str, Tensor]]:
        """D's optimizer step.

        Returns for each micro-batch a function that gives G's drawing of it and the encoding once more, and D's loss.
        """
        accumulating = len(self.micro_batches) > 1
        self.netD.requires_grad_(True)
        self.optimizer_D.zero_grad()
        draws, total = [], torch.zeros((), device=self.device)
        for batch, seed in zip(self.micro_batches, seeds, strict=True):
            with self._autocast(), averaging(self._averaged_D, batch is self.micro_batches[-1]):
                with torch.set_grad_enabled(not accumulating):  # accumulating, G is drawn again for its own update
                    drawn = self._seeded(batch, seed)
                d_loss = self.discriminator_loss(batch, drawn[0].detach()) * self._share(batch)
            self.scaler.scale(d_loss).backward()
            total = total + d_loss.detach()
            again = functools.partial(self._redraw, batch, seed)
            draws.append(again if accumulating else functools.partial(tuple, drawn))
        self.scaler.step(self.optimizer_D)
        return draws, {"d_loss": total}

    def _share(self, batch: Batch) -> float:
        """The part of a micro-batch in the batch."""
        return len(batch.label) / sum(len(each.label) for each in self.micro_batches)

    def _step_G(self) -> None:
        """G's optimizer step and EMA. A step that fp16 leaves out moves neither."""
        before = self._steps_of_G() if self.scaler.is_enabled() else None
        self.scaler.step(self.optimizer_G)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(None if before is None else self._steps_of_G() - before)

    def _steps_of_G(self) -> Tensor:
        """How many steps the optimizer has taken on G, without those it has left out; frozen weights have fewer."""
        counts = [state["step"] for state in self.optimizer_G.state.values()]
        return torch.stack(counts).amax().to(self.device) if counts else torch.zeros((), device=self.device)

    def _autocast(self) -> contextlib.AbstractContextManager:
        dtype = AMP_TYPES[self.config.amp]
        return torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        """D's loss: tell the real pair from the fake one, and name the label of both."""
        # One forward of the averaged module is enough: it averages the whole gradient of the weights, once.
        binary_real, category_real = self._averaged_D(torch.cat([batch.source, batch.target], 1))
        binary_fake, category_fake = self.netD(torch.cat([batch.source, fake], 1))
        category = losses.category_loss(category_real, batch.label) + losses.category_loss(category_fake, batch.label)
        adversarial = losses.adversarial_loss(binary_real, True) + losses.adversarial_loss(binary_fake, False)
        return adversarial + self.config.Lcategory_penalty * category / 2

    def generator_losses(
        self, batch: Batch, fake: Tensor, encoded: Tensor, deformation: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The terms of G's loss, weighted: match the target, fool D and keep the label, keep the encoding.

        And find the deformation, where there is one to be found.
        """
        config = self.config
        terms = {"l1_loss": config.L1_penalty * losses.l1_loss(fake, batch.target, config.ink_weight)}
        if config.Ladv_penalty > 0:
            binary, category = self.netD(torch.cat([batch.source, fake], 1))
            terms["adv_loss"] = config.Ladv_penalty * losses.adversarial_loss(binary, True)
            terms["category_loss"] = config.Lcategory_penalty * losses.category_loss(category, batch.label)
        if config.Lconst_penalty > 0:
            # The running statistics are those of source images, which is what is drawn from later.
            with frozen_statistics(self.netG):
                encoded_fake = self.netG.encode(fake)
            terms["const_loss"] = config.Lconst_penalty * losses.const_loss(encoded, encoded_fake)
        if deformation is not None and batch.deformation is not None:
            terms["deform_loss"] = DEFORM_PENALTY * losses.known_mse_loss(deformation, batch.deformation)
        return terms

    @property
    def discriminator_is_trained(self) -> bool:
        """Whether the discriminator has learned something: else it is as it was made from its seed."""
        return self._came_with_D or bool(self.optimizer_D.state)

    def state_dict(self) -> dict[str, Any]:
        """All that a training goes on from, in named parts; tensors are those of the model, not copies.

        `netG`, `netD` and `shadow` (None without EMA) are state dicts of networks, `optimizer_G`, `optimizer_D` and
        `scaler` those of torch; `netD_is_trained` is a bool, `ema_num_updates` a number.
        """
        return {
            "netG": self.netG.state_dict(),
            "netD": self.netD.state_dict(),
            "netD_is_trained": self.discriminator_is_trained,
            "shadow": self.ema.shadow.state_dict() if self.ema else None,
            "optimizer_G": self.optimizer_G.state_dict(),
            "optimizer_D": self.optimizer_D.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema_num_updates": self.ema.num_updates if self.ema else 0,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` returned, strictly by name; the learning rates stay.

        `netD` and `shadow` may be None, as in `load_weights`.
        """
        self.load_weights(state["netG"], state["netD"], state["shadow"])
        self._came_with_D = state["netD_is_trained"]
        if self.ema:
            self.ema.num_updates = state["ema_num_updates"]
        for optimizer, name in ((self.optimizer_G, "optimizer_G"), (self.optimizer_D, "optimizer_D")):
            groups = optimizer.state_dict()["param_groups"]  # they follow from the config
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
            for parameter, moments in optimizer.state.items():  # laid out as the weights, whatever device wrote them
                for which, value in moments.items():
                    if value.shape == parameter.shape:
                        moments[which] = torch.empty_like(parameter).copy_(value)
        self.scaler = self._new_scaler()  # what one remembers of a step that broke off would make the next one fail
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def load_weights(
        self,
        generator: Mapping[str, Tensor],
        discriminator: Mapping[str, Tensor] | None = None,
        shadow: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take over weights, strictly by name.

        Without a discriminator that of this model stays as it is; without a shadow the average starts from the
        generator.
        """
        self.netG.load_state_dict(generator)
        self._came_with_D = discriminator is not None
        if discriminator is not None:
            self.netD.load_state_dict(discriminator)
        if self.ema:
            self.ema.shadow.load_state_dict(generator if shadow is None else shadow)

    def _seeded(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Draw a batch as in training; the same seed drops out the same."""
        torch.manual_seed(seed)
        return self.forward(batch)

    def _redraw(self, batch: Batch, seed: int) -> tuple[Tensor, ...]:
        """Draw once more what was drawn with this seed, and leave the norms' statistics alone."""
        with frozen_statistics(self.netG):
            return self._seeded(batch, seed)

    def calibrate(self, table: Tensor | None, weights: str = "auto") -> None:
        """Draw with `weights` as a table [embedding_num, 2] has it, by label: bias b and sharpness s of tanh(s z + b).

        z is what the generator's `field` gives. Both scale a logit, as in Platt (1999): b moves all edges and so makes
        strokes lighter (above 0) or heavier, s makes edges crisper. Training knows nothing of it, and no state dict
        holds it. With None it is 0 and 1.
        """
        kind = self._kind(weights)
        if table is None:
            self.calibration.pop(kind, None)
        else:
            self.calibration[kind] = table.to(self.device, torch.float32)

    def kinds(self) -> list[str]:
        """The weights there are to draw with."""
        return ["raw"] if self.ema is None else ["raw", "ema"]

    def _kind(self, weights: str) -> str:
        """`raw` or `ema`, also of `auto`."""
        if weights not in ("auto", "ema", "raw"):
            raise ValueError(f"weights {weights!r} is not one of auto, ema, raw")
        if weights == "ema" and self.ema is None:
            raise ValueError("this model has no EMA weights")
        return "raw" if self.ema is None or weights == "raw" else "ema"

    def sample(self, source: Tensor, label: Tensor, weights: str = "auto") -> Tensor:
        """Draw source [N, C, S, S] in the style of label [N], in eval mode; returns [N, C, S, S] in [-1, 1].

        `label` may blend, as in the generator; a blend mixes the calibration as well.

        `weights` is `ema`, `raw`, or `auto`: the shadow where there is one. Neither weights nor
        batch-norm statistics nor the training mode change.

        Raises:
            ValueError: for other `weights`, or for `ema` without a shadow.
        """
        return torch.tanh(self.field(source, label, weights))

    @torch.inference_mode()
    def field(self, source: Tensor, label: Tensor, weights: str = "auto") -> Tensor:
        """As `sample`, but before the tanh: the outline of the ink is its zero line, to a fraction of a pixel."""
        kind = self._kind(weights)
        net: Any = self.netG if self.ema is None or kind == "raw" else self.ema.shadow
        was_training = net.training
        net.eval()
        try:
            # Not a call, for which a compiled network would be compiled once more.
            field, _ = net.field(self._image(source), label.to(self.device))
        finally:
            net.train(was_training)
        if kind not in self.calibration:
            return field
        table, label = self.calibration[kind], label.to(self.device)
        rows = label.to(table.dtype) @ table if label.is_floating_point() else table[label]
        bias, sharpness = rows.to(field.dtype)[:, :, None, None, None].unbind(1)
        return torch.addcmul(bias, sharpness, field)


def layout_for(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory: channels last where that is fastest.

    On MPS the backward of batch norm is wrong then (pytorch issues 175189 and 188371).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def averaging(net: nn.Module, wanted: bool) -> contextlib.AbstractContextManager:
    """A forward within has its gradients averaged over the processes only if `wanted`: once a step is enough."""
    is_averaged = isinstance(net, nn.parallel.DistributedDataParallel)
    return net.no_sync() if is_averaged and not wanted else contextlib.nullcontext()


@contextlib.contextmanager
def frozen_statistics(net: nn.Module) -> Iterator[None]:
    """Within, batch norm in training mode normalises as ever but leaves its running statistics alone."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
