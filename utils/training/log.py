"""What a run says on its way: the progress line, and losses.csv."""

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from utils.errors import Failure
from utils.experiment.tables import StepTable
from utils.messages import _

logger = logging.getLogger(__name__)


class NonFinite(Failure):
    """A loss or a weight became NaN or infinite; the message names the step and what it was."""

    def __init__(self, step: int, what: str, advice: str):
        super().__init__(_("step {step}: {what} is not a finite number: {advice}", step=step, what=what, advice=advice))


class LossLog:
    """losses.csv: one row a step, kept on the device until `flush` reads them all at once.

    Says which rows should be there at its beginning and are not. `mean` averages the losses over the
    processes that train together, of which those without a path write nothing; `advice` ends the line that tells of a
    loss that is no number.
    """

    def __init__(
        self,
        path: Path | None,
        step: int,
        mean: Callable[[Tensor], Tensor] = Tensor.cpu,
        advice: str = _("try a lower --lr"),
    ):
        self.mean, self.advice = mean, advice
        self._pending: list[tuple[int, float, float, Mapping[str, Tensor]]] = []
        existed = path is not None and path.is_file()
        self._table = StepTable(path, step) if path is not None else None
        if step and existed and self._table is not None and self._table.kept < step:
            kept = self._table.kept
            logger.info(
                _(
                    "{path} has {kept} of {step} steps: the others are damaged or were never written",
                    path=path,
                    kept=kept,
                    step=step,
                )
            )

    def add(self, step: int, epoch: float, lr: float, losses: Mapping[str, Tensor]) -> None:
        """Remember the losses of a step; nothing is read from the device."""
        self._pending.append((step, epoch, lr, losses))

    def flush(self) -> dict[str, float]:
        """Write the remembered steps and return the mean of each loss over them.

        Raises:
            NonFinite: at the first step with a loss that is NaN or infinite.
        """
        if not self._pending:
            return {}
        names = list(self._pending[0][3])
        values = torch.stack([torch.stack([losses[name] for name in names]) for *_rest, losses in self._pending])
        values = self.mean(values).tolist()
        for (step, *_rest), row in zip(self._pending, values, strict=True):
            wrong = [f"{name} {value}" for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            if wrong:
                raise NonFinite(step, ", ".join(wrong), self.advice)
        rows = [
            [str(step), f"{epoch:.4f}", f"{lr:.6g}", *(f"{value:.6g}" for value in row)]
            for (step, epoch, lr, _losses), row in zip(self._pending, values, strict=True)
        ]
        if self._table is not None:
            self._table.append(["step", "epoch", "lr", *names], rows)
        self._pending.clear()
        return {name: sum(column) / len(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}


class Progress:
    """A progress bar over images on a terminal; elsewhere one plain line per report.

    The total may come later: it is None until it is known.
    """

    def __init__(self, total: int | None, done: int, description: str):
        self._terminal = sys.stderr.isatty()
        self._total, self._done, self._first = total, done, done
        self._start = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=description,
            unit="img",
            disable=not self._terminal,
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def advance(self, images: int) -> None:
        self._done += images
        self._bar.update(images)

    def set_total(self, total: int | None) -> None:
        self._total = self._bar.total = total

    def report(self, step: int, total_steps: int | None, values: Mapping[str, float]) -> None:
        """Show the newest losses, the speed and the time left."""
        text = " ".join(f"{name.removesuffix('_loss')} {value:.3g}" for name, value in values.items())
        if self._terminal:
            self._bar.set_postfix_str(text)
            return
        rate = (self._done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / rate) if rate and self._total else "?"
        logger.info(
            _(
                "step {step}/{total} {text} {rate:.1f} img/s {left} left",
                step=step,
                total=total_steps or "?",
                text=text,
                rate=rate,
                left=left,
            )
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
