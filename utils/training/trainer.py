"""The loop around the training step: data in, logs, sheets and checkpoints out.

The model comes as an object with the methods of `Zi2ZiModel`; nothing here knows how it learns.
"""

import argparse
import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from utils.cli import say
from utils.data.loader import ResumableSampler, TrainingPairs, training_batches
from utils.data.pairs import PairData
from utils.distributed import Ranks
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.config import Paths
from utils.experiment.tables import best_step, stale
from utils.images import save_sheet, to_float
from utils.training.log import LossLog, NonFinite, Progress
from utils.training.pretrained import Pretrained
from utils.training.quality import Examiner, QualityLog, SaturationWatch, scores_of
from utils.training.report import plot_curves, plot_losses, write_report
from utils.training.state import check_parts, moments_size
from utils.training.stopping import Clock, Interval, StopSignals

LOG_STEPS = 10  # losses are read from the device, written and shown every so many steps
SHEET_GLYPHS = 15  # glyphs on a sample sheet
REPORTED = 200  # held-out glyphs that are scored at the end
STALE = 10  # scorings without a gain before it is said
LOOK_MINUTES = 1.0  # between scores and sheets where --sample_steps is 0
ENOUGH = 1  # in place of a signal's number: --early_stop has come true
SAVE, LOOK, STOP = 1, 2, 4  # what the processes agree on after each step: bits, and a signal's number above them
ALONE = Ranks()  # the one process of a run without torchrun


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
        self._has_judge = False  # whether a discriminator came with what this run started from
        self._enough = 0  # ENOUGH when --early_stop has come true
        self._random_state: dict[str, Any] | None = None

    def validation_line(self) -> str | None:
        """The line that says how many characters choose the best checkpoint."""
        count = len(self.data.validation_keys(self.options.val_ratio, self.options.random_seed))
        return f"{count} of these choose the best checkpoint, and are not trained on" if count else None

    def check_disk(self) -> None:
        """Raise UserError when there is no room for the checkpoints that are kept and the next one."""
        model, keep = self.model, self.options.keep_checkpoints
        drawn = sum(parameter.nbytes for parameter in model.netG.parameters())
        whole = drawn * (2 if model.ema else 1) + moments_size(model.optimizer_G)
        if self.options.Ladv_penalty:
            whole += sum(parameter.nbytes for parameter in model.netD.parameters()) + moments_size(model.optimizer_D)
        kept = min(keep, checkpoint.NEWEST)
        needed = (kept + 1) * whole + (keep - kept) * drawn + bool(self.validation) * 2 * drawn
        needed = max(whole, needed - checkpoint.bytes_written(self.paths.checkpoint))
        free = shutil.disk_usage(self.paths.root).free
        if free < needed:
            raise UserError(
                f"{self.paths.root} has {free / 1e9:.1f} GB free, but {keep} checkpoints and the next one need "
                f"{needed / 1e9:.1f} GB: free some space or lower --keep_checkpoints"
            )

    def limits(self) -> dict[str, int]:
        """The steps at which this run ends, by the flags that set them."""
        found = {}
        if self.options.max_steps:
            minutes = self.options.max_minutes
            found[f"--max_minutes {minutes:g}" if minutes else f"--max_steps {self.options.max_steps}"] = (
                self.options.max_steps
            )
        if self.options.epoch:
            remaining = max(0, self.options.epoch * len(self.pairs) - self.images_seen)
            found[f"--epoch {self.options.epoch}"] = self.step + -(-remaining // self.images_per_step)
        return found

    def total_steps(self) -> int | None:
        """The step at which this run ends; None while --max_minutes has not told."""
        return min(self.limits().values(), default=None)

    def end_line(self) -> str | None:
        """The line that says where this run ends, and by which flag."""
        limits = self.limits()
        if not limits:
            return f"this run ends after {self.options.max_minutes:g} minutes, by --max_minutes"
        flag = min(limits, key=limits.get)
        return f"this run ends at step {limits[flag]}, by {flag}"

    def train(self) -> int:
        """Train to the end; returns the exit code. The first SIGINT or SIGTERM saves a checkpoint and leaves."""
        total = self.total_steps()
        if total is not None and self.step >= total:
            print(f"step {self.step}: this run is finished: {self.end_line()}", flush=True)
            return 0
        with contextlib.ExitStack() as stack:
            signals = stack.enter_context(StopSignals())  # first: whoever sees this run's log can stop it
            log = LossLog(
                self.paths.losses_csv if self.ranks.is_main else None, self.step, self.ranks.mean, self._advice()
            )
            say(log.said)
            if self.ranks.is_main:
                self._open_quality()
            if self.ranks.most(self._enough):
                stopped = f"this run has stopped by --early_stop {self.options.early_stop}"
                print(f"step {self.step}: {stopped}; --early_stop 0 goes on", flush=True)
                return 0
            say(self.end_line())
            progress = Progress(self._images_at(total), self.images_seen, "training")
            batches = stack.enter_context(self._batches())
            self._prepare_chance()
            if self.ranks.count > 1:
                ranks = self.ranks
                self.model.distribute(ranks.wrap, ranks.rank, ranks.count, ranks.add_up)
            last, watch = False, SaturationWatch()
            saving = Interval(self.options.checkpoint_steps, self.options.checkpoint_minutes)
            looking = Interval(self.options.sample_steps, 0 if self.options.sample_steps else LOOK_MINUTES)
            clock = Clock(self.options.max_minutes) if self.options.max_minutes and not self.options.max_steps else None
            try:
                while not last:
                    losses = self._one_step(next(batches), log)
                    progress.advance(self.images_per_step)
                    stopped_by, due = self._agreed(signals.received or self._enough, saving, looking)
                    last = self.step == total or bool(stopped_by)
                    if stopped_by > ENOUGH:
                        progress.say("stopping: a checkpoint is saved first; another signal leaves at once")
                    if last or self.step % LOG_STEPS == 0:
                        values = log.flush()
                        progress.report(self.step, total, values)
                        progress.say(watch.look(values))
                    pause = None
                    if due := SAVE | LOOK if last else due:
                        log.flush()
                        begin = time.monotonic()
                        if self.ranks.is_main:
                            self._pause(progress, saving if due & SAVE else None, looking if due & LOOK else None)
                        pause = time.monotonic() - begin
                    remaining = clock.remaining_steps(losses["g_loss"].item, pause) if clock and not last else None
                    if remaining is not None:
                        total = self._fix_max_steps(remaining)
                        progress.set_total(self._images_at(total))
            finally:
                progress.close()
            ended = f" ({self.end_line()})" if not stopped_by else ""
            print(f"step {self.step}: saved in {self.paths.checkpoint}{ended}", flush=True)
            if stopped_by > ENOUGH:
                return 128 + stopped_by
            if self.ranks.is_main:
                self._write_report()
        return 0

    def _images_at(self, step: int | None) -> int | None:
        """How many images have been trained on at a step to come."""
        return None if step is None else self.images_seen + (step - self.step) * self.images_per_step

    def _agreed(self, stopped_by: int, saving: Interval, looking: Interval) -> tuple[int, int]:
        """What stops all processes after this step, 0 for nothing, and what is due: SAVE, LOOK, both, or 0.

        What goes by time goes by that of the first process.
        """
        due = 0
        if self.ranks.is_main:
            due = SAVE * saving.is_due(self.step) + LOOK * looking.is_due(self.step)
        return divmod(self.ranks.most(STOP * stopped_by + due), STOP)

    def _open_quality(self) -> None:
        """Take up quality.csv; a checkpoint that a run did not come to score any more is scored now."""
        self.quality = QualityLog(self.paths.quality_csv, self.step)
        unscored = self.validation and self.step not in self.quality.rows
        if unscored and self.step in checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE):
            self._score()
        self._enough = self._has_enough()

    def _pause(self, progress: Progress, saving: Interval | None, looking: Interval | None) -> None:
        """Save a checkpoint where one is due, score what is drawn now, draw a sheet where one is due."""
        begin = time.monotonic()
        if saving:
            self.save()
            saving.done(time.monotonic() - begin)
            begin = time.monotonic()
        columns, line = self._score()
        if saving:
            best = best_step(self.quality.rows, checkpoint.drawable_steps(self.paths.checkpoint))
            checkpoint.retain(self.paths.checkpoint, self.options.keep_checkpoints, best, self.quality.rows)
        progress.say(line)
        if looking:
            save_sheet(columns, self.paths.sample_sheet(self.step), caption=[line])
            plot_losses(self.paths.losses_csv, self.paths.losses_png)
            plot_curves(self.paths.quality_csv, self.paths.quality_png, "[A-Za-z0-9_]+_l1", "L1", window=1)
            looking.done(time.monotonic() - begin)
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
            self.model.set_random_state(self._random_state)
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
        """Choose --max_steps by the first process's clock, and have it recorded."""
        self.options.max_steps = self.step + self.ranks.most(max(1, remaining) if self.ranks.is_main else 0)
        if self.ranks.is_main:
            self.on_change()
        return self.total_steps()

    def _advice(self) -> str:
        """What to try when a loss is no number any more."""
        amp = "--amp off, or " if self.model.config.amp != "off" else ""
        return f"try {amp}a lower --lr, with --resume latest"

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
        best = best_step(self.quality.rows, checkpoint.drawable_steps(self.paths.checkpoint))
        kinds, kind = self.examiner.kinds(), self.examiner.kinds()[-1]
        newest = scores_of(self.examiner.columns(pairs, kinds))
        scores = {f"{name}, step {self.step}": measures for name, measures in newest.items()}
        if best not in (None, self.step):
            with self.examiner.weights_of(checkpoint.drawable_path(self.paths.checkpoint, best)):
                scores[f"{kind}, step {best}"] = scores_of(self.examiner.columns(pairs, [kind]))[kind]
        what = f"{len(pairs)} {'held-out' if self.data.held_out_pairs else 'training'} characters"
        write_report(self.paths, self.step, self.data.summary(), scores, what, best)

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            NonFinite: when a weight is NaN or infinite: nothing is written then.
        """
        model = self.model
        parts = {checkpoint.GENERATOR: model.netG.state_dict()}
        if model.optimizer_D.state or self._has_judge:  # else it is as it was made from its seed
            parts[checkpoint.DISCRIMINATOR] = model.netD.state_dict()
        if model.ema:
            parts[checkpoint.EMA_GENERATOR] = model.ema.shadow.state_dict()
        for part, weights in parts.items():
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise NonFinite(self.step, f"a weight of {part}", self._advice())
        parts[checkpoint.STATE] = {
            "step": self.step,
            "images_seen": self.images_seen,
            "optimizer_G": model.optimizer_G.state_dict(),
            "optimizer_D": model.optimizer_D.state_dict(),
            "scaler": model.scaler.state_dict(),
            "ema_num_updates": model.ema.num_updates if model.ema else 0,
            "random_state": model.random_state(),
        }
        checkpoint.save_checkpoint(self.paths.checkpoint, self.step, parts)

    def start_from(self, pretrained: Pretrained, step: int) -> None:
        """Take over weights, with a fresh optimizer, and count on from `step`.

        Raises:
            UserError: when they don't fit.
        """
        model = self.model
        pth.fit(model.netG, pretrained.generator, pretrained.path)
        self._has_judge = pretrained.discriminator is not None
        if pretrained.discriminator is not None:
            path = checkpoint.part_path(pretrained.path.parent, pretrained.step, checkpoint.DISCRIMINATOR)
            pth.fit(model.netD, pretrained.discriminator, path)
        if model.ema:
            pth.fit(model.ema.shadow, pretrained.shadow, pretrained.path)
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
        self._has_judge = checkpoint.DISCRIMINATOR in parts
        if checkpoint.DISCRIMINATOR in parts:
            model.netD.load_state_dict(parts[checkpoint.DISCRIMINATOR])
        if model.ema:
            # A run that had no EMA before has none of its weights: the average starts from the raw ones.
            model.ema.shadow.load_state_dict(parts.get(checkpoint.EMA_GENERATOR, parts[checkpoint.GENERATOR]))
            model.ema.num_updates = state["ema_num_updates"]
        for optimizer, name in ((model.optimizer_G, "optimizer_G"), (model.optimizer_D, "optimizer_D")):
            groups = optimizer.state_dict()["param_groups"]  # they follow from the flags
            optimizer.load_state_dict({"state": state[name]["state"], "param_groups": groups})
            for parameter, moments in optimizer.state.items():  # laid out as the weights, whatever device wrote them
                for which, value in moments.items():
                    if value.shape == parameter.shape:
                        moments[which] = torch.empty_like(parameter).copy_(value)
        if state.get("scaler") and model.scaler.is_enabled():
            model.scaler.load_state_dict(state["scaler"])
        self.step, self.images_seen = step, state["images_seen"]
        self._random_state = state["random_state"]


def learning_rate_factor(epoch: float, schedule: int) -> float:
    """Half after every `schedule` epochs, without a floor that could raise the rate again; 0: constant."""
    return 0.5 ** (int(epoch) // schedule) if schedule else 1.0
