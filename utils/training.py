"""The loop around the training step: data in, logs, sheets and checkpoints out.

The model comes as an object with the methods of `Zi2ZiModel`; nothing here knows how it learns.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from utils import checkpoint
from utils.cli import UserError
from utils.dataset import PairData, ResumableSampler, TrainingPairs, training_loader
from utils.experiment import Paths
from utils.images import save_sheet, to_float, to_grey, to_uint8
from utils.log import LossLog, NonFiniteLoss, Progress, plot_losses
from utils.metrics import l1
from utils.weights import Pretrained

LOG_STEPS = 10  # losses are read from the device, written and shown every so many steps
SHEET_GLYPHS = 15  # glyphs on a sample sheet
TIMED_STEPS = 20  # steps that --max_minutes measures


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a number to look at; a second one ends the process."""

    def __init__(self):
        self.received = 0

    def __enter__(self) -> "StopSignals":
        self._previous = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
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

    `on_change` is called when an option changes during the run (--max_minutes), to record it.
    """

    def __init__(
        self,
        model: Any,
        data: PairData,
        options: argparse.Namespace,
        paths: Paths,
        on_change: Callable[[], None] = lambda: None,
    ):
        self.model, self.data, self.options, self.paths, self.on_change = model, data, options, paths, on_change
        self.pairs = TrainingPairs(data, options.image_size, options.augment, options.random_seed)
        self.step = 0
        self.images_seen = 0
        self.images_per_step = options.batch_size * options.accum_steps
        self.sheet_pairs = data.sheet_pairs(SHEET_GLYPHS)
        self._random_state: dict[str, Any] | None = None

    def check_disk(self) -> None:
        """Raise UserError when there is no room for the checkpoints that are kept and the next one."""
        sizes = [
            sum(p.numel() * p.element_size() for p in net.parameters()) for net in (self.model.netG, self.model.netD)
        ]
        one = 3 * sum(sizes) + (sizes[0] if self.model.ema else 0)  # weights, two moments of Adam, the shadow
        needed = one * (self.options.keep_checkpoints + 1)
        folder = next(folder for folder in (self.paths.root, *self.paths.root.absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"{folder} has {free / 1e9:.1f} GB free, but {self.options.keep_checkpoints} checkpoints and the next "
                f"one need {needed / 1e9:.1f} GB: free some space or lower --keep_checkpoints"
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
        batches = self._batches()
        log = LossLog(self.paths.losses_csv, self.step)
        images = self.images_seen + (total - self.step) * self.images_per_step
        progress = Progress(images, self.images_seen, "training")
        if self._random_state is not None:
            restore_random_state(self._random_state)
        first, started = self.step, time.monotonic()
        with StopSignals() as signals:
            try:
                while self.step < total and not signals.received:
                    self._one_step(next(batches), log)
                    progress.advance(self.images_per_step)
                    if self.options.max_minutes and not self.options.max_steps and self.step - first == TIMED_STEPS:
                        total = self._fix_max_steps(log, time.monotonic() - started)
                        progress.set_total(self.images_seen + (total - self.step) * self.images_per_step)
                    last = self.step == total or signals.received
                    if self.step % LOG_STEPS == 0 or last:
                        progress.report(self.step, total, log.flush())
                    if self.step % self.options.sample_steps == 0 or last:
                        log.flush()
                        progress.say(self._draw_sheet())
                        plot_losses(self.paths.losses_csv, self.paths.losses_png)
                    if self.step % self.options.checkpoint_steps == 0 or last:
                        log.flush()
                        self.save()
            except NonFiniteLoss as error:
                print(f"train.py: error: a loss is not finite: {error}; try a lower --lr", file=sys.stderr)
                return 1
            finally:
                progress.close()
        print(f"step {self.step}: saved in {self.paths.checkpoint}", flush=True)
        return 128 + signals.received if signals.received else 0

    def _batches(self):
        sampler = ResumableSampler(len(self.pairs), self.images_per_step, self.options.random_seed, self.images_seen)
        pin_memory = self.model.device.type == "cuda"
        return iter(training_loader(self.pairs, sampler, self.options.num_workers, pin_memory))

    def _one_step(self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], log: LossLog) -> None:
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
        self.options.max_steps = max(self.step, round(self.options.max_minutes * 60 / (seconds / TIMED_STEPS)))
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
        """Write a checkpoint, then delete those that are not kept."""
        model = self.model
        parts = {
            checkpoint.GENERATOR: model.netG.state_dict(),
            checkpoint.DISCRIMINATOR: model.netD.state_dict(),
            checkpoint.STATE: {
                "step": self.step,
                "images_seen": self.images_seen,
                "optimizer_G": model.optimizer_G.state_dict(),
                "optimizer_D": model.optimizer_D.state_dict(),
                "ema_num_updates": model.ema.num_updates if model.ema else 0,
                "random_state": random_state(model.device),
            },
        }
        if model.ema:
            parts[checkpoint.EMA_GENERATOR] = model.ema.shadow.state_dict()
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

    def load(self, step: int) -> None:
        """Go back to a checkpoint: weights, optimizers, shadow, random state, place in the data.

        Raises:
            UserError: when a part is missing or does not fit.
        """
        folder, model = self.paths.checkpoint, self.model
        state = checkpoint.load_part(checkpoint.part_path(folder, step, checkpoint.STATE))
        checkpoint.load_weights(model.netG, checkpoint.part_path(folder, step, checkpoint.GENERATOR))
        checkpoint.load_weights(model.netD, checkpoint.part_path(folder, step, checkpoint.DISCRIMINATOR))
        if model.ema:
            shadow = checkpoint.part_path(folder, step, checkpoint.EMA_GENERATOR)
            fallback = checkpoint.part_path(folder, step, checkpoint.GENERATOR)
            checkpoint.load_weights(model.ema.shadow, shadow if shadow.is_file() else fallback)
            model.ema.num_updates = state["ema_num_updates"]
        model.optimizer_G.load_state_dict(state["optimizer_G"])
        model.optimizer_D.load_state_dict(state["optimizer_D"])
        self.step, self.images_seen = state["step"], state["images_seen"]
        self._random_state = state["random_state"]


def learning_rate_factor(epoch: float, schedule: int) -> float:
    """Half after every `schedule` epochs, without a floor that could raise the rate again; 0: constant."""
    return 0.5 ** (int(epoch) // schedule) if schedule else 1.0


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the generators that dropout draws from."""
    on_cuda = device.type == "cuda"
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device) if on_cuda else None}


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo what happened since `random_state`; a state of another kind of device is left out."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
