"""The loop around the training step: data in, logs, sheets and checkpoints out.

The model comes as an object with the methods of `Zi2ZiModel`; nothing here knows how it learns.
"""

import argparse
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from utils import checkpoint
from utils.cli import UserError, say
from utils.dataset import PairData, ResumableSampler, TrainingPairs, training_batches
from utils.distributed import Ranks
from utils.experiment import Paths
from utils.images import save_sheet, to_float
from utils.log import LossLog, NonFinite, Progress, plot_curves, plot_losses
from utils.quality import Examiner, QualityLog, SaturationWatch, best_step, scores_of, stale
from utils.report import write_report
from utils.train_state import check_parts, moments_size, random_state, restore_random_state
from utils.weights import Pretrained

LOG_STEPS = 10  # losses are read from the device, written and shown every so many steps
SHEET_GLYPHS = 15  # glyphs on a sample sheet
REPORTED = 200  # held-out glyphs that are scored at the end
STALE = 10  # scorings without a gain before it is said
ENOUGH = 1  # in place of a signal's number: --early_stop has come true
WARM_STEPS, TIMED_STEPS = 10, 20  # of --max_minutes: the first are slow on a GPU, the next are measured
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


class Clock:
    """Tells how many more steps fit into a run of `minutes`, from its first ones."""

    def __init__(self, minutes: float):
        self._end, self._steps, self._timed_from = time.monotonic() + minutes * 60, 0, 0.0

    def remaining_steps(self, wait: Callable[[], object]) -> int | None:
        """To be called after each step; the number when it is known, once, else None. `wait` waits for the device."""
        self._steps += 1
        if self._steps not in (WARM_STEPS, WARM_STEPS + TIMED_STEPS):
            return None
        wait()
        now = time.monotonic()
        if self._steps == WARM_STEPS:
            self._timed_from = now
            return None
        return max(0, round((self._end - now) / (now - self._timed_from) * TIMED_STEPS))


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
        trained, self.validation = data.split_validation(options.val_ratio, options.random_seed)
        self.pairs = TrainingPairs(data, options.image_size, options.augment, options.random_seed, trained)
        self.examiner = Examiner(model, data, options.image_size, options.input_nc)
        self.step = 0
        self.images_seen = 0
        self.images_per_step = options.batch_size * options.accum_steps
        self.ranks = ranks
        self.sheet_pairs = data.some_pairs(SHEET_GLYPHS)
        self._enough = 0  # ENOUGH when --early_stop has come true
        self._random_state: dict[str, Any] | None = None

    def validation_line(self) -> str | None:
        """The line that says how many characters choose the best checkpoint."""
        count = len(self.data.validation_keys(self.options.val_ratio, self.options.random_seed))
        return f"{count} of these choose the best checkpoint, and are not trained on" if count else None

    def check_disk(self) -> None:
        """Raise UserError when there is no room for the checkpoints that are kept and the next one."""
        model = self.model
        nets = (model.netG, model.netD, *([model.ema.shadow] if model.ema else []))
        one = sum(parameter.nbytes for net in nets for parameter in net.parameters())
        one += sum(moments_size(optimizer) for optimizer in (model.optimizer_G, model.optimizer_D))
        written = len(checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE))
        needed = one * max(1, self.options.keep_checkpoints + bool(self.validation) + 1 - written)
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
            if self.ranks.is_main:
                self._open_quality()
            if self.ranks.most(self._enough):
                print(f"step {self.step}: this run has stopped by --early_stop {self.options.early_stop}", flush=True)
                return 0
            images = self.images_seen + (total - self.step) * self.images_per_step
            progress = Progress(images, self.images_seen, "training")
            batches = stack.enter_context(self._batches())
            self._prepare_chance()
            if self.ranks.count > 1:
                self.model.distribute(self.ranks.wrap)
            last, watch = False, SaturationWatch()
            clock = Clock(self.options.max_minutes) if self.options.max_minutes and not self.options.max_steps else None
            try:
                while not last:
                    losses = self._one_step(next(batches), log)
                    progress.advance(self.images_per_step)
                    remaining = clock.remaining_steps(losses["g_loss"].item) if clock else None
                    if remaining is not None:
                        total = self._fix_max_steps(remaining)
                        progress.set_total(self.images_seen + (total - self.step) * self.images_per_step)
                    stopped_by = self.ranks.most(signals.received or self._enough)
                    last = self.step >= total or bool(stopped_by)
                    if stopped_by > ENOUGH:
                        progress.say("stopping: a checkpoint is saved first; another signal leaves at once")
                    if self._is_due(LOG_STEPS, last):
                        losses = log.flush()
                        progress.report(self.step, total, losses)
                        progress.say(watch.look(losses))
                    checkpointed = self._is_due(self.options.checkpoint_steps, last)
                    sampled = self._is_due(self.options.sample_steps, last)
                    if checkpointed or sampled:
                        log.flush()
                        if self.ranks.is_main:
                            self._look(progress, checkpointed, sampled)
            finally:
                progress.close()
            print(f"step {self.step}: saved in {self.paths.checkpoint}", flush=True)
            if stopped_by > ENOUGH:
                return 128 + stopped_by
            if self.ranks.is_main:
                self._write_report()
        return 0

    def _is_due(self, every: int, last: bool) -> bool:
        return last or self.step % every == 0

    def _open_quality(self) -> None:
        """Take up quality.csv; a checkpoint that a run did not come to score any more is scored now."""
        self.quality = QualityLog(self.paths.quality_csv, self.step)
        unscored = self.validation and self.step not in self.quality.rows
        if unscored and self.step in checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE):
            self._score()
        self._enough = self._has_enough()

    def _look(self, progress: Progress, checkpointed: bool, sampled: bool) -> None:
        """Save a checkpoint where one is due, score what is drawn now, draw a sheet where one is due."""
        if checkpointed:
            self.save()
        columns, line = self._score()
        if checkpointed:
            steps = checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE)
            best = best_step(self.quality.rows, steps)
            checkpoint.retain(self.paths.checkpoint, self.options.keep_checkpoints, best)
        progress.say(line)
        if sampled:
            save_sheet(columns, self.paths.sample_sheet(self.step), caption=[line])
            plot_losses(self.paths.losses_csv, self.paths.losses_png)
            plot_curves(self.paths.quality_csv, self.paths.quality_png, "[A-Za-z0-9_]+_l1", "L1", window=1)
        self._enough = self._has_enough()
        times = stale(self.quality.rows)
        if times == (self.options.early_stop or STALE):
            best = best_step(self.quality.rows, self.quality.rows)
            progress.say(f"the validation characters have not got better since step {best}, scored {times} times")

    def _has_enough(self) -> int:
        return ENOUGH if 0 < self.options.early_stop <= stale(self.quality.rows) else 0

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

    def _one_step(
        self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | UserError, log: LossLog
    ) -> dict[str, torch.Tensor]:
        if isinstance(batch, UserError):
            raise batch
        label, *images = batch
        epoch = self.images_seen / len(self.pairs)
        factor = learning_rate_factor(epoch, self.options.schedule)
        self.model.set_learning_rate(factor)
        images = (self.model.moved(image) for image in images)
        self.model.set_input(label, *(to_float(image, self.options.input_nc) for image in images))
        losses = self.model.optimize_parameters()
        self.step += 1
        self.images_seen += self.images_per_step
        log.add(self.step, epoch, self.options.lr * factor, losses)
        return losses

    def _fix_max_steps(self, remaining: int) -> int:
        """Choose --max_steps once, by the first process's clock, and have it recorded."""
        self.options.max_steps = self.step + self.ranks.most(remaining if self.ranks.is_main else 0)
        if self.ranks.is_main:
            self.on_change()
        return self.total_steps()

    def _score(self) -> tuple[dict[str, np.ndarray], str]:
        """Draw and score the sheet's characters and those for validation; returns the sheet's columns and a line."""
        held_out = "held-out" if self.data.held_out_pairs else "training"
        columns = self.examiner.columns(self.sheet_pairs, self.examiner.kinds())
        found = scores_of(columns)
        scores = {f"{held_out.replace('-', '_')}_{kind}": measures for kind, measures in found.items()}
        errors = ", ".join(f"{kind} {measures['l1']:.4f}" for kind, measures in found.items())
        line = f"step {self.step}: L1 on {len(self.sheet_pairs)} {held_out} characters: {errors}"
        if self.validation:
            kind = self.examiner.kinds()[-1]
            measures = scores_of(self.examiner.columns(self.validation, [kind]))[kind]
            scores[f"validation_{kind}"] = measures
            line += f"; on {len(self.validation)} for validation: {kind} {measures['l1']:.4f}"
        self.quality.add(self.step, scores)
        return columns, line

    def _write_report(self) -> None:
        """Score the held-out characters at the end, with the newest weights and with the best, and write report.md."""
        pairs = self.data.some_pairs(REPORTED)
        best = best_step(self.quality.rows, checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE))
        kinds, kind = self.examiner.kinds(), self.examiner.kinds()[-1]
        newest = scores_of(self.examiner.columns(pairs, kinds))
        scores = {f"{name}, step {self.step}": measures for name, measures in newest.items()}
        if best not in (None, self.step):
            parts = (checkpoint.EMA_GENERATOR, checkpoint.GENERATOR)  # it may be of a time without EMA
            paths = [checkpoint.part_path(self.paths.checkpoint, best, part) for part in parts]
            with self.examiner.weights_of(next(path for path in paths if path.is_file())):
                scores[f"{kind}, step {best}"] = scores_of(self.examiner.columns(pairs, [kind]))[kind]
        what = f"{len(pairs)} {'held-out' if self.data.held_out_pairs else 'training'} characters"
        write_report(self.paths, self.step, self.data.summary(), scores, what, best)

    def save(self) -> None:
        """Write a checkpoint.

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


def learning_rate_factor(epoch: float, schedule: int) -> float:
    """Half after every `schedule` epochs, without a floor that could raise the rate again; 0: constant."""
    return 0.5 ** (int(epoch) // schedule) if schedule else 1.0
