"""The loop around the training step: data in, logs, sheets and checkpoints out.

The model comes as an object with the methods of `Zi2ZiModel`; nothing here knows how it learns.
"""

import argparse
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from utils import checkpoint
from utils.cli import UserError, say
from utils.dataset import PairData, ResumableSampler, TrainingPairs, training_batches
from utils.distributed import Ranks
from utils.experiment import Paths
from utils.images import save_sheet, to_float, to_grey, to_uint8
from utils.log import LossLog, NonFinite, Progress, plot_losses
from utils.metrics import l1
from utils.weights import Pretrained

LOG_STEPS = 10  # losses are read from the device, written and shown every so many steps
SHEET_GLYPHS = 15  # glyphs on a sample sheet
TIMED_STEPS = 20  # steps that --max_minutes measures
ALONE = Ranks()  # the one process of a run without torchrun


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a number to look at; a second one ends the process."""

    def __init__(self):
        self.received = 0

    def __enter__(self) -> "StopSignals":
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in self._previous:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: object) -> None:
        self.received = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)


class Trainer:
    """Trains `model` on `pairs` as the resolved flags in `options` say.

    `on_change` is called when an option changes during the run (--max_minutes), to record it. Of several `ranks`
    each trains on its share of every batch; the first writes.
    """

    def __init__(
        self,
        model: Any,
        data: PairData,
        options: argparse.Namespace,
        paths: Paths,
        on_change: Callable[[], None] = lambda: None,
        ranks: Ranks = ALONE,
    ):
        self.model, self.data, self.options, self.paths, self.on_change = model, data, options, paths, on_change
        self.pairs = TrainingPairs(data, options.image_size, options.augment, options.random_seed)
        self.step = 0
        self.images_seen = 0
        self.images_per_step = options.batch_size * options.accum_steps
        self.ranks = ranks
        self.sheet_pairs = data.sheet_pairs(SHEET_GLYPHS)
        self._random_state: dict[str, Any] | None = None

    def check_disk(self) -> None:
        """Raise UserError when there is no room for the checkpoints that are kept and the next one."""
        sizes = [
            sum(p.numel() * p.element_size() for p in net.parameters()) for net in (self.model.netG, self.model.netD)
        ]
        one = 3 * sum(sizes) + (sizes[0] if self.model.ema else 0)  # weights, two moments of Adam, the shadow
        written = len(checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE))
        needed = one * max(1, self.options.keep_checkpoints + 1 - written)
        free = shutil.disk_usage(self.paths.root).free
        if free < needed:
            raise UserError(
                f"{self.paths.root} has {free / 1e9:.1f} GB free, but {self.options.keep_checkpoints} checkpoints and "
                f"the next one need {needed / 1e9:.1f} GB: free some space or lower --keep_checkpoints"
            )

    def total_steps(self) -> int:
        """The step at which this run ends."""
        remaining = max(0, self.options.epoch * len(self.pairs) - self.images_seen)
        by_epoch = self.step + -(-remaining // self.images_per_step)
        return min(by_epoch, self.options.max_steps or by_epoch)

    def train(self) -> int:
        """Train to the end; returns the exit code. The first SIGINT or SIGTERM saves a checkpoint and leaves."""
        total = self.total_steps()
        if self.step >= total:
            print(f"step {self.step}: this run is finished", flush=True)
            return 0
        with contextlib.ExitStack() as stack:
            signals = stack.enter_context(StopSignals())  # first: whoever sees this run's log can stop it
            log = LossLog(self.paths.losses_csv if self.ranks.is_main else None, self.step, self.ranks.mean)
            say(log.said)
            images = self.images_seen + (total - self.step) * self.images_per_step
            progress = Progress(images, self.images_seen, "training")
            batches = stack.enter_context(self._batches())
            self._prepare_chance()
            if self.ranks.count > 1:
                self.model.distribute(self.ranks.wrap)
            first, started, last = self.step, time.monotonic(), False
            try:
                while not last:
                    self._one_step(next(batches), log)
                    progress.advance(self.images_per_step)
                    if self.options.max_minutes and not self.options.max_steps and self.step - first == TIMED_STEPS:
                        total = self._fix_max_steps(log, time.monotonic() - started)
                        progress.set_total(self.images_seen + (total - self.step) * self.images_per_step)
                    stopped_by = self.ranks.most(signals.received)
                    last = self.step >= total or bool(stopped_by)
                    if stopped_by:
                        progress.say("stopping: a checkpoint is saved first; another signal leaves at once")
                    if self.step % LOG_STEPS == 0 or last:
                        progress.report(self.step, total, log.flush())
                    if self.step % self.options.checkpoint_steps == 0 or last:
                        log.flush()
                        if self.ranks.is_main:
                            self.save()
                    if self.step % self.options.sample_steps == 0 or last:
                        log.flush()
                        if self.ranks.is_main:
                            progress.say(self._draw_sheet())
                            plot_losses(self.paths.losses_csv, self.paths.losses_png)
            finally:
                progress.close()
        print(f"step {self.step}: saved in {self.paths.checkpoint}", flush=True)
        return 128 + stopped_by if stopped_by else 0

    def _prepare_chance(self) -> None:
        """Go on with the chance of the checkpoint; a further process has one of its own, lest all drop out alike."""
        if self._random_state is not None:
            restore_random_state(self._random_state, self.model.device)
        if not self.ranks.is_main:
            torch.manual_seed(hash((self.options.random_seed, self.step, self.ranks.rank)) % 2**63)

    def _batches(self) -> contextlib.AbstractContextManager[Iterator[Any]]:
        sampler = ResumableSampler(
            len(self.pairs),
            self.images_per_step,
            self.options.random_seed,
            self.images_seen,
            self.ranks.rank,
            self.ranks.count,
        )
        pin_memory = self.model.device.type == "cuda"
        return training_batches(self.pairs, sampler, self.options.num_workers, pin_memory)

    def _one_step(self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | UserError, log: LossLog) -> None:
        if isinstance(batch, UserError):
            raise batch
        label, *images = batch
        epoch = self.images_seen / len(self.pairs)
        factor = learning_rate_factor(epoch, self.options.schedule)
        self.model.set_learning_rate(factor)
        images = (image.to(self.model.device, non_blocking=True) for image in images)
        self.model.set_input(label, *(to_float(image, self.options.input_nc) for image in images))
        losses = self.model.optimize_parameters()
        self.step += 1
        self.images_seen += self.images_per_step
        log.add(self.step, epoch, self.options.lr * factor, losses)

    def _fix_max_steps(self, log: LossLog, seconds: float) -> int:
        """Choose --max_steps once, from the time of the first steps, and have it recorded."""
        log.flush()  # it reads the losses, which waits for the device
        steps = round(self.options.max_minutes * 60 / (seconds / TIMED_STEPS))
        self.options.max_steps = max(self.step, self.ranks.most(steps if self.ranks.is_main else 0))
        if self.ranks.is_main:
            self.on_change()
        return self.total_steps()

    def _draw_sheet(self) -> str:
        """Draw the sample sheet of this step; returns the line to print."""
        source, target = self.data.render_pairs(self.sheet_pairs, self.options.image_size)
        label = torch.tensor([label for label, _ in self.sheet_pairs])
        columns = {"source": source}
        for heading, weights in (("raw", "raw"), ("EMA", "ema")):
            if weights == "raw" or self.model.ema:
                columns[heading] = self._draw(source, label, weights)
        scores = {heading: l1(to_grey(columns[heading]), to_grey(target)) for heading in list(columns)[1:]}
        errors = ", ".join(f"{heading} {score:.4f}" for heading, score in scores.items())
        kind = "held-out" if self.data.held_out_pairs else "training"
        line = f"step {self.step}: L1 on {len(target)} {kind} characters: {errors}"
        save_sheet(columns | {"target": target}, self.paths.sample_sheet(self.step), caption=[line])
        return line

    def _draw(self, source, label: torch.Tensor, weights: str):
        image = self.model.sample(to_float(torch.from_numpy(source), self.options.input_nc), label, weights)
        return to_uint8(image)

    def save(self) -> None:
        """Write a checkpoint, then delete those that are not kept.

        Raises:
            NonFinite: when a weight is NaN or infinite: nothing is written then.
        """
        model = self.model
        parts = {checkpoint.GENERATOR: model.netG.state_dict(), checkpoint.DISCRIMINATOR: model.netD.state_dict()}
        if model.ema:
            parts[checkpoint.EMA_GENERATOR] = model.ema.shadow.state_dict()
        for part, weights in parts.items():
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise NonFinite(self.step, f"a weight of {part}")
        parts[checkpoint.STATE] = {
            "step": self.step,
            "images_seen": self.images_seen,
            "optimizer_G": model.optimizer_G.state_dict(),
            "optimizer_D": model.optimizer_D.state_dict(),
            "scaler": model.scaler.state_dict(),
            "ema_num_updates": model.ema.num_updates if model.ema else 0,
            "random_state": random_state(model.device),
        }
        checkpoint.save_checkpoint(self.paths.checkpoint, self.step, parts)
        checkpoint.retain(self.paths.checkpoint, self.options.keep_checkpoints)

    def start_from(self, pretrained: Pretrained, step: int) -> None:
        """Take over weights, with a fresh optimizer, and count on from `step`.

        Raises:
            UserError: when they don't fit.
        """
        model = self.model
        checkpoint.fit(model.netG, pretrained.generator, pretrained.path)
        if pretrained.discriminator is not None:
            path = checkpoint.part_path(pretrained.path.parent, pretrained.step, checkpoint.DISCRIMINATOR)
            checkpoint.fit(model.netD, pretrained.discriminator, path)
        if model.ema:
            checkpoint.fit(model.ema.shadow, pretrained.shadow, pretrained.path)
        self.step = step

    def load(self, parts: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Go back to a checkpoint: weights, optimizers, shadow, random state, place in the data.

        `parts` is what `checkpoint.read_step` returned for `step`. All of it is taken over, or nothing.

        Raises:
            UserError: when a part does not fit.
        """
        model, state = self.model, parts[checkpoint.STATE]
        check_parts(model, parts, self.paths.checkpoint, step)
        model.netG.load_state_dict(parts[checkpoint.GENERATOR])
        model.netD.load_state_dict(parts[checkpoint.DISCRIMINATOR])
        if model.ema:
            # A run that had no EMA before has none of its weights: the average starts from the raw ones.
            model.ema.shadow.load_state_dict(parts.get(checkpoint.EMA_GENERATOR, parts[checkpoint.GENERATOR]))
            model.ema.num_updates = state["ema_num_updates"]
        for optimizer, name in ((model.optimizer_G, "optimizer_G"), (model.optimizer_D, "optimizer_D")):
            groups = optimizer.state_dict()["param_groups"]  # they follow from the flags
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
        if state.get("scaler") and model.scaler.is_enabled():
            model.scaler.load_state_dict(state["scaler"])
        self.step, self.images_seen = step, state["images_seen"]
        self._random_state = state["random_state"]


def check_parts(model: Any, parts: Mapping[str, Mapping[str, Any]], folder: Path, step: int) -> None:
    """Compare the parts of a checkpoint, as read, with a model, which may be on the meta device.

    Raises:
        UserError: naming the first thing that does not fit.
    """
    nets = {checkpoint.GENERATOR: model.netG, checkpoint.DISCRIMINATOR: model.netD}
    if checkpoint.EMA_GENERATOR in parts:
        nets[checkpoint.EMA_GENERATOR] = model.netG
    for part, net in nets.items():
        checkpoint.check_fit(net, parts[part], checkpoint.part_path(folder, step, part))
    state, path = parts[checkpoint.STATE], checkpoint.part_path(folder, step, checkpoint.STATE)
    if state.get("step") != step:
        raise UserError(f"checkpoint {path} is not of step {step}")
    for name in ("images_seen", "ema_num_updates"):
        if type(state.get(name)) is not int or state[name] < 0:
            raise UserError(f"checkpoint {path} has no {name}")
    if (state["ema_num_updates"] > 0) != (checkpoint.EMA_GENERATOR in parts):
        raise UserError(f"checkpoint {path} and the EMA weights of its step do not belong together")
    for name, net in (("optimizer_G", model.netG), ("optimizer_D", model.netD)):
        if not optimizer_fits(state.get(name), net):
            raise UserError(f"checkpoint {path} does not fit: its {name} is of other weights")
    if not scaler_fits(state.get("scaler", {})):
        raise UserError(f"checkpoint {path} has no state of a gradient scaler")
    if not random_state_fits(state.get("random_state")):
        raise UserError(f"checkpoint {path} has no random state")


def optimizer_fits(saved: Any, net: torch.nn.Module) -> bool:
    """Whether the state dict of an Adam, read from a file, is of the parameters of `net`, or of some of them."""
    moments = saved.get("state") if isinstance(saved, dict) else None
    if not isinstance(moments, dict):
        return False
    shapes = dict(enumerate(parameter.shape for parameter in net.parameters()))
    return all(
        isinstance(moment, dict)
        and moment.keys() == {"step", "exp_avg", "exp_avg_sq"}
        and all(checkpoint.is_plain_tensor(value, floating=True) for value in moment.values())
        and moment["step"].ndim == 0
        and shapes.get(number) == moment["exp_avg"].shape == moment["exp_avg_sq"].shape
        for number, moment in moments.items()
    )


def learning_rate_factor(epoch: float, schedule: int) -> float:
    """Half after every `schedule` epochs, without a floor that could raise the rate again; 0: constant."""
    return 0.5 ** (int(epoch) // schedule) if schedule else 1.0


def scaler_fits(saved: Any) -> bool:
    """Whether what was read from a file is the state of a gradient scaler, or, as of one that is off, nothing."""
    expected = torch.amp.GradScaler("cpu").state_dict()
    if saved == {}:
        return True
    return (
        isinstance(saved, dict)
        and saved.keys() == expected.keys()
        and all(type(saved[name]) is type(value) and 0 <= saved[name] < 2**63 for name, value in expected.items())
    )


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the generators that dropout draws from."""
    on_cuda = device.type == "cuda"
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device) if on_cuda else None}


def random_state_fits(saved: Any) -> bool:
    """Whether what was read from a file is a random state."""
    if not isinstance(saved, dict) or not saved.keys() >= {"cpu", "cuda"}:
        return False
    try:
        torch.Generator().set_state(saved["cpu"])
        if saved["cuda"] is not None and torch.cuda.is_available():
            torch.Generator("cuda").set_state(saved["cuda"])
    except (RuntimeError, TypeError):
        return False
    return True


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Undo what happened since `random_state`; a state of another kind of device is left out."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
