"""The loop around the training step: data in, logs, sheets and checkpoints out."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from model import Zi2ZiModel
from utils.data.loader import Batch, ResumableSampler, TrainingPairs, training_batches
from utils.data.pairs import PairData, evenly
from utils.distributed import Ranks
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.config import Paths
from utils.images import save_sheet, to_float
from utils.messages import _
from utils.training.board import Board
from utils.training.calibration import Calibrator, pairs_to_look_at
from utils.training.flags import TrainOptions
from utils.training.live import read_tables, write_live
from utils.training.log import LossLog, NonFinite, Progress
from utils.training.pretrained import Pretrained
from utils.training.quality import Examiner, SaturationWatch, Scorer
from utils.training.registration import register_pairs
from utils.training.report import plot_curves, plot_losses
from utils.training.state import check_disk, check_parts, find_non_finite, parts_from, state_from
from utils.training.stopping import Due, End, Schedule, StopSignals

logger = logging.getLogger(__name__)

MOST_ALIGNED = 16384  # pairs whose strokes are aligned; of further ones the network's own guess is taken
LOG_STEPS = 10  # losses are read from the device, written and shown every so many steps
ALONE = Ranks()  # the one process of a run without torchrun


class Trainer:
    """Trains `model` on `data` as `options` say.

    `record` is called with the options when one changes during the run (--max_minutes). Of several `ranks`
    each trains on its share of every batch; the first writes.
    """

    def __init__(
        self,
        model: Zi2ZiModel,
        data: PairData,
        options: TrainOptions,
        paths: Paths,
        record: Callable[[TrainOptions], None] = lambda _: None,
        ranks: Ranks = ALONE,
    ):
        self.model, self.options, self.paths, self.ranks = model, options, paths, ranks
        self.record = record
        trained, validation = data.split_validation(options.val_ratio, options.random_seed)
        self.pairs = TrainingPairs(
            data, options.image_size, options.augment, options.random_seed, trained, warp=options.warp
        )
        looked_at = pairs_to_look_at(data, options.val_ratio, options.random_seed)
        calibrator = Calibrator(model, data, looked_at, options.weight_bias, options.sharpness)
        self.scorer = Scorer(Examiner(model, data, calibrator), data, validation, paths)
        self.step = 0
        self.images_seen = 0
        self.images_per_step = options.batch_size * options.accum_steps

    # ------------------------------------------------------------------------ how long

    def limits(self) -> dict[str, int]:
        """The steps at which this run ends, by the flags that set them."""
        found, options = {}, self.options
        if options.max_steps:
            by_time = f"--max_minutes {options.max_minutes:g}" if options.max_minutes else None
            found[by_time or f"--max_steps {options.max_steps}"] = options.max_steps
        if options.epoch:
            remaining = max(0, options.epoch * len(self.pairs) - self.images_seen)
            found[f"--epoch {options.epoch}"] = self.step + -(-remaining // self.images_per_step)
        return found

    def total_steps(self) -> int | None:
        """The step at which this run ends; None while --max_minutes has not told."""
        return min(self.limits().values(), default=None)

    def end_line(self) -> str:
        """The line that says where this run ends, and by which flag."""
        limits = self.limits()
        if not limits:
            return _(
                "this run ends after {max_minutes:g} minutes, by --max_minutes", max_minutes=self.options.max_minutes
            )
        flag = min(limits, key=lambda name: limits[name])
        return _("this run ends at step {step}, by {flag}", step=limits[flag], flag=flag)

    def _images_at(self, step: int | None) -> int | None:
        """How many images have been trained on at a step to come."""
        return None if step is None else self.images_seen + (step - self.step) * self.images_per_step

    # ------------------------------------------------------------------------ the loop

    def train(self) -> int:
        """Train to the end; returns the exit code. The first SIGINT or SIGTERM saves a checkpoint and leaves."""
        total = self.total_steps()
        if total is not None and self.step >= total:
            logger.info(_("step {step}: this run is finished: {reason}", step=self.step, reason=self.end_line()))
            return 0
        with contextlib.ExitStack() as stack:
            signals = stack.enter_context(StopSignals())  # first: whoever sees this run's log can stop it
            losses_csv = self.paths.losses_csv if self.ranks.is_main else None
            log = LossLog(losses_csv, self.step, self.ranks.mean, self._advice())
            if self._had_enough():
                return 0
            began = time.monotonic()
            logger.info(self.end_line())
            if not self._register(signals):
                return 128 + self.ranks.most(signals.received)
            progress = stack.enter_context(Progress(self._images_at(total), self.images_seen, "training"))
            board = self._open_board(stack)
            stack.callback(self._show_the_end)
            batches = stack.enter_context(self._batches())
            self._distribute()
            schedule, watch, end = Schedule(self.options, began), SaturationWatch(), None
            while end is None:
                losses = self._one_step(next(batches), log)
                progress.advance(self.images_per_step)
                end, due = self._agree(signals, schedule)
                if end or self.step % LOG_STEPS == 0:
                    values = log.flush()
                    progress.report(self.step, total, values)
                    board.losses(self.step, values, self.model.optimizer_G.param_groups[0]["lr"])
                    if advice := watch.look(values):
                        logger.info(advice)
                seconds = self._pause(due, schedule, log, board)
                remaining = schedule.remaining_steps(losses["g_loss"].item, seconds) if end is None else None
                if remaining is not None:
                    total = self._fix_max_steps(remaining)
                    progress.set_total(self._images_at(total))
            by_length = f" ({self.end_line()})" if end is End.LENGTH else ""
            logger.info(
                _(
                    "step {step}: saved in {checkpoint}{by_length}",
                    step=self.step,
                    checkpoint=self.paths.checkpoint,
                    by_length=by_length,
                )
            )
            if end is not End.SIGNAL and self.ranks.is_main:
                self.scorer.write_report(self.step)
        return 128 + signals.received if end is End.SIGNAL else 0

    def _had_enough(self) -> bool:
        """Take up the scores so far; whether --early_stop has ended this run already."""
        if self.ranks.is_main:
            self.scorer.open(self.step)
        enough = self.ranks.is_main and self.scorer.has_enough(self.options.early_stop)
        if not self.ranks.most(int(enough)):
            return False
        stopped = _("this run has stopped by --early_stop {early_stop}", early_stop=self.options.early_stop)
        logger.info(_("step {step}: {stopped}; --early_stop 0 continues", step=self.step, stopped=stopped))
        return True

    def _register(self, signals: StopSignals) -> bool:
        """Find the deformation of every pair, where the generator is to learn it; False where a signal stops that."""
        if not self.options.deform:
            return True
        device = self.model.device
        # The gradients that the descent needs are not deterministic on CUDA, and not known to be there on MPS.
        if device.type != "cuda" or self.options.deterministic:
            device = torch.device("cpu")
        chosen = evenly(range(len(self.pairs)), MOST_ALIGNED)
        of_all = f" of {len(self.pairs)}" if len(chosen) < len(self.pairs) else ""
        logger.info(_("aligning the strokes of {count}{of_all} pairs", count=len(chosen), of_all=of_all))
        pairs, found = [self.pairs.pairs[index] for index in chosen], []
        with Progress(len(pairs), 0, "aligning") as progress:
            for some in register_pairs(self.pairs.data, pairs, self.options.image_size, device):
                found.append(some)
                progress.advance(len(some))
                if signals.received:
                    break
        if self.ranks.most(signals.received):
            logger.info(_("stopped before the first step of this run: nothing is new"))
            return False
        aligned = np.concatenate(found)
        self.pairs.deformations = np.full((len(self.pairs), *aligned.shape[1:]), np.nan, np.float32)
        self.pairs.deformations[chosen] = aligned
        pixels = np.linalg.norm(aligned, axis=1).mean() / 2 * self.options.image_size
        logger.info(
            _(
                "the strokes to learn lie {pixels:.1f} pixels from the source's, on average: that is learned first",
                pixels=pixels,
            )
        )
        return True

    def _open_board(self, stack: contextlib.ExitStack) -> Board:
        wanted = self.options.tensorboard and self.ranks.is_main
        board = Board(self.paths.tensorboard if wanted else None, self.step)
        stack.callback(board.close)
        return board

    def _show_the_end(self) -> None:
        """Have the page say that the run has ended: what ended it is more to the point than a page that can't be."""
        if self.ranks.is_main:
            with contextlib.suppress(OSError):
                write_live(self.paths, read_tables(self.paths), self.step, self.total_steps(), ended=True)

    def _distribute(self) -> None:
        if self.ranks.count > 1:
            self.model.distribute(self.ranks.wrap, self.ranks.rank, self.ranks.count, self.ranks.add_up)

    def _batches(self) -> contextlib.AbstractContextManager[Iterator[Batch | UserError]]:
        seed, ranks = self.options.random_seed, self.ranks
        sampler = ResumableSampler(
            len(self.pairs), self.images_per_step, seed, self.images_seen, rank=ranks.rank, count=ranks.count
        )
        pin_memory = self.model.device.type == "cuda"
        return training_batches(self.pairs, sampler, self.options.num_workers, pin_memory)

    def _one_step(self, batch: Batch | UserError, log: LossLog) -> dict[str, torch.Tensor]:
        if isinstance(batch, UserError):
            raise batch
        label, *images = batch[:3]
        epoch = self.images_seen / len(self.pairs)
        factor = learning_rate_factor(epoch, self.options.schedule)
        self.model.set_learning_rate(factor)
        source, target = (to_float(self.model.moved(image), self.options.input_nc) for image in images)
        self.model.set_input(label, source, target, *batch[3:])
        losses = self.model.optimize_parameters(step_seed(self.options.random_seed, self.step, self.ranks.rank))
        self.step += 1
        self.images_seen += self.images_per_step
        log.add(self.step, epoch, self.options.lr * factor, losses)
        return losses

    def _agree(self, signals: StopSignals, schedule: Schedule) -> tuple[End | None, Due]:
        """Why all processes end after this step, if they do, and what is due now.

        What goes by time, and by scores, goes by those of the first process.
        """
        due = Due(0)
        if self.ranks.is_main:
            due = schedule.due(self.step)
            if self.scorer.has_enough(self.options.early_stop):
                due |= Due.ENOUGH
        number, due = divmod(self.ranks.most(Due.SIGNAL * signals.received + due), Due.SIGNAL)
        end = None
        if number:
            signals.received = number  # by whichever process
            logger.info(_("stopping: saving a checkpoint first; another signal stops at once"))
            end = End.SIGNAL
        elif due & Due.ENOUGH:
            end = End.ENOUGH
        elif self.step == self.total_steps():
            end = End.LENGTH
        return end, Due.SAVE | Due.LOOK if end else Due(due)

    def _pause(self, due: Due, schedule: Schedule, log: LossLog, board: Board) -> float | None:
        """Save a checkpoint where one is due, score what is drawn, draw a sheet where one is due.

        Returns the seconds that it took, None where nothing is due.
        """
        if not due:
            return None
        log.flush()
        begin = time.monotonic()
        if not self.ranks.is_main:
            return time.monotonic() - begin
        self.scorer.examiner.calibrator.calibrate()
        if Due.SAVE in due:
            self.save()
            schedule.saving.done(time.monotonic() - begin)
        looked_from = time.monotonic()
        columns, line = self.scorer.score(self.step)
        if Due.SAVE in due:
            folder, keep = self.paths.checkpoint, self.options.keep_checkpoints
            checkpoint.retain(folder, keep, self.scorer.best(), self.scorer.rows)
        logger.info(line)
        board.scores(self.step, self.scorer.rows[self.step])
        if Due.LOOK in due:
            sheet = self.paths.sample_sheet(self.step)
            save_sheet(columns, sheet, caption=[line])
            board.sheet(self.step, sheet)
            losses, quality = tables = read_tables(self.paths)
            plot_losses(losses, self.paths.losses_png)
            plot_curves(quality, self.paths.quality_png, "[A-Za-z0-9_]+_l1", "L1", window=1)
            write_live(self.paths, tables, self.step, self.total_steps(), ended=False)
            schedule.looking.done(time.monotonic() - looked_from)
        self.scorer.advise(self.options.early_stop)
        return time.monotonic() - begin

    def _fix_max_steps(self, remaining: int) -> int | None:
        """Choose --max_steps by the first process's clock, and have it recorded."""
        steps = self.ranks.most(max(1, remaining) if self.ranks.is_main else 0)
        self.options = replace(self.options, max_steps=self.step + steps)
        if self.ranks.is_main:
            self.record(self.options)
        return self.total_steps()

    def _advice(self) -> str:
        """What to try when a loss is no number any more."""
        amp = _("--amp off, or ") if self.model.config.amp != "off" else ""
        return _("try {amp}a lower --lr, with --resume latest", amp=amp)

    # ------------------------------------------------------------------------ checkpoints

    def check_disk(self) -> None:
        """Raise UserError when there is no room for the checkpoints that are kept and the next one."""
        check_disk(self.model, self.paths.checkpoint, self.options.keep_checkpoints, bool(self.scorer.validation))

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            NonFinite: when a weight is NaN or infinite: nothing is written then.
        """
        parts = parts_from(self.model.state_dict(), self.model.calibration, self.step, self.images_seen)
        wrong = find_non_finite(parts)
        if wrong:
            raise NonFinite(self.step, _("a weight of {wrong}", wrong=wrong), self._advice())
        checkpoint.save_checkpoint(self.paths.checkpoint, self.step, parts)

    def load(self, parts: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Go back to a checkpoint: weights, optimizers, shadow, place in the data.

        `parts` is what `checkpoint.read_step` returned for `step`. All of it is taken over, or nothing.

        Raises:
            UserError: when a part does not fit.
        """
        check_parts(self.model, parts, self.paths.checkpoint, step)
        state = state_from(parts)
        self.model.load_state_dict(state)
        self.step, self.images_seen = step, state["images_seen"]
        if "random_state" in state and self.options.dropout:
            logger.info(
                _("an earlier version wrote this checkpoint: other units drop out from here on than it would choose")
            )

    def start_from(self, pretrained: Pretrained, step: int) -> None:
        """Take over weights, with a fresh optimizer, and count on from `step`.

        Raises:
            UserError: when they don't fit.
        """
        pth.check_fit(self.model.netG, pretrained.generator, pretrained.path)
        pth.check_fit(self.model.netG, pretrained.shadow, pretrained.path)
        if pretrained.discriminator is not None:
            path = checkpoint.part_path(pretrained.path.parent, pretrained.step, checkpoint.DISCRIMINATOR)
            pth.check_fit(self.model.netD, pretrained.discriminator, path)
        self.model.load_weights(pretrained.generator, pretrained.discriminator, pretrained.shadow)
        self.step = step


def learning_rate_factor(epoch: float, schedule: int) -> float:
    """Half after every `schedule` epochs, without a floor that could raise the rate again; 0: constant."""
    return 0.5 ** (int(epoch) // schedule) if schedule else 1.0


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of what a process drops out in the step that follows `step`, of 63 bits.

    It depends on these three alone, so that nothing of it has to be saved for a run to go on as it would have (as in
    EDM2, Karras et al., 2024).
    """
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1)
