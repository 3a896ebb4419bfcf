"""What a run says: the progress line, losses.csv and losses.png."""

import contextlib
import csv
import io
import math
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from utils.cli import Failure
from utils.files import naming, write_whole

LONGEST_LINE = 10_000  # characters of losses.csv; a longer one is damaged


class NonFinite(Failure):
    """A loss or a weight became NaN or infinite; the message names the step and what it was."""

    def __init__(self, step: int, what: str):
        super().__init__(f"step {step}: {what} is not a finite number: try a lower --lr, with --resume latest")


class LossLog:
    """losses.csv: one row a step, kept on the device until `flush` reads them all at once.

    A log opened at step n keeps the rows up to n and drops what a lost run wrote after it.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self._pending: list[tuple[int, float, float, Mapping[str, Tensor]]] = []
        kept = {int(row["step"]): row for row in (read_rows(path) if step and path.is_file() else [])}
        rows = [row for number, row in sorted(kept.items()) if number <= step]
        self._header = list(rows[0]) if rows else None
        write_whole(path, _lines(self._header, rows) if rows else b"")

    def add(self, step: int, epoch: float, lr: float, losses: Mapping[str, Tensor]) -> None:
        """Remember the losses of a step; nothing is read from the device."""
        self._pending.append((step, epoch, lr, losses))

    def _append(self, lines: bytes) -> None:
        with naming(self.path), self.path.open("ab", buffering=0) as file:
            size, written = file.tell(), 0
            try:
                while written < len(lines):
                    written += file.write(lines[written:])
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)  # no half a line
                raise

    def flush(self) -> dict[str, float]:
        """Write the remembered steps and return the mean of each loss over them.

        Raises:
            NonFinite: at the first step with a loss that is NaN or infinite.
        """
        if not self._pending:
            return {}
        names = list(self._pending[0][3])
        values = torch.stack([torch.stack([losses[name] for name in names]) for *_, losses in self._pending]).tolist()
        for (step, *_), row in zip(self._pending, values, strict=True):
            wrong = [f"{name} {value}" for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            if wrong:
                raise NonFinite(step, ", ".join(wrong))
        header = ["step", "epoch", "lr", *names]
        rows = [
            dict(zip(header, [step, f"{epoch:.4f}", f"{lr:.6g}", *(f"{value:.6g}" for value in row)], strict=True))
            for (step, epoch, lr, _), row in zip(self._pending, values, strict=True)
        ]
        self._append(_lines(self._header or header, rows, with_header=self._header is None))
        self._header = self._header or header
        self._pending.clear()
        return {name: sum(column) / len(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}


def _lines(header: list[str], rows: list[dict], with_header: bool = True) -> bytes:
    """Rows as lines of a CSV file; what the header does not name is left out."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, extrasaction="ignore")
    if with_header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of losses.csv that are whole: a line that was cut off in writing, or damaged, is left out."""
    lines = path.read_bytes().decode("utf-8", "replace").replace("\0", "").splitlines()
    rows = csv.DictReader((line for line in lines if len(line) < LONGEST_LINE), quoting=csv.QUOTE_NONE)
    return [row for row in rows if None not in row and all(map(_is_number, row.values())) and _is_step(row.get("step"))]


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False


def _is_step(text: str | None) -> bool:
    return re.fullmatch("[0-9]{1,18}", text or "") is not None


def plot_losses(csv_path: Path, png_path: Path) -> None:
    """Draw the curves of losses.csv, smoothed, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_rows(csv_path)
    names = [name for name in (rows[0] if rows else ()) if re.fullmatch("[A-Za-z0-9_]+_loss", name)]
    if not names:
        return
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
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_whole(png_path, content.getvalue())


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
