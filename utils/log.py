"""What a run says: the progress line, losses.csv and losses.png."""

import csv
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm


class NonFiniteLoss(Exception):
    """A loss became NaN or infinite; the message names the step and the losses."""


class LossLog:
    """losses.csv: one row a step, kept on the device until `flush` reads them all at once.

    A log opened at step n keeps the rows up to n and drops what a lost run wrote after it.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self._pending: list[tuple[int, float, float, Mapping[str, Tensor]]] = []
        rows = read_rows(path) if step and path.is_file() else []
        rows = [row for row in rows if int(row["step"]) <= step]
        self._header = list(rows[0]) if rows else None
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            if rows:
                writer = csv.DictWriter(file, self._header)
                writer.writeheader()
                writer.writerows(rows)
        temporary.replace(path)

    def add(self, step: int, epoch: float, lr: float, losses: Mapping[str, Tensor]) -> None:
        """Remember the losses of a step; nothing is read from the device."""
        self._pending.append((step, epoch, lr, losses))

    def flush(self) -> dict[str, float]:
        """Write the remembered steps and return the mean of each loss over them.

        Raises:
            NonFiniteLoss: at the first step with a loss that is NaN or infinite.
        """
        if not self._pending:
            return {}
        names = list(self._pending[0][3])
        values = torch.stack([torch.stack([losses[name] for name in names]) for *_, losses in self._pending]).tolist()
        for (step, *_), row in zip(self._pending, values, strict=True):
            wrong = [f"{name} {value}" for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            if wrong:
                raise NonFiniteLoss(f"step {step}: {', '.join(wrong)}")
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if self._header is None:
                self._header = ["step", "epoch", "lr", *names]
                writer.writerow(self._header)
            for (step, epoch, lr, _), row in zip(self._pending, values, strict=True):
                writer.writerow([step, f"{epoch:.4f}", f"{lr:.6g}", *(f"{value:.6g}" for value in row)])
        self._pending.clear()
        return {name: sum(column) / len(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of losses.csv; a last line that was cut off in writing is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and None in rows[-1].values():
        rows.pop()
    return rows


def plot_losses(csv_path: Path, png_path: Path) -> None:
    """Draw the curves of losses.csv, smoothed, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_rows(csv_path)
    if not rows:
        return
    names = [name for name in rows[0] if name.endswith("_loss")]
    steps = [int(row["step"]) for row in rows]
    window = max(1, len(rows) // 100)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for name in names:
        values = [float(row[name]) for row in rows]
        means = [sum(values[i : i + window]) / len(values[i : i + window]) for i in range(0, len(values), window)]
        axes.plot(steps[::window], means, label=name, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("weighted loss")
    axes.grid(alpha=0.3)
    axes.legend(ncols=3, fontsize="small")
    temporary = png_path.with_name(f".{png_path.name}.tmp")
    FigureCanvasAgg(figure).print_png(temporary)
    temporary.replace(png_path)


class Progress:
    """A progress bar over images on a terminal; elsewhere one plain line per report."""

    def __init__(self, total: int, done: int, description: str):
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

    def set_total(self, total: int) -> None:
        self._total = self._bar.total = total

    def report(self, step: int, total_steps: int, values: Mapping[str, float]) -> None:
        """Show the newest losses, the speed and the time left."""
        text = " ".join(f"{name.removesuffix('_loss')} {value:.3g}" for name, value in values.items())
        if self._terminal:
            self._bar.set_postfix_str(text)
            return
        rate = (self._done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / rate) if rate else "?"
        print(f"step {step}/{total_steps} {text} {rate:.1f} img/s {left} left", flush=True)

    def say(self, line: str) -> None:
        """Print a line without disturbing the bar."""
        tqdm.write(line) if self._terminal else print(line, flush=True)

    def close(self) -> None:
        self._bar.close()
