"""What a run says: the progress line, tables with a row a step (losses.csv), and their curves."""

import contextlib
import io
import itertools
import math
import re
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from utils.cli import Failure
from utils.files import naming, write_whole

LONGEST_LINE = 10_000  # characters of losses.csv; a longer one is damaged


class NonFinite(Failure):
    """A loss or a weight became NaN or infinite; the message names the step and what it was."""

    def __init__(self, step: int, what: str, advice: str):
        super().__init__(f"step {step}: {what} is not a finite number: {advice}")


class StepTable:
    """A .csv file with one row a step, the step in the first column, appended to while a run goes on.

    A table opened at step n keeps the rows up to n and drops what a lost run wrote after it, and what is
    damaged. `kept` is how many there are.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self.kept = 0
        self._header: list[str] | None = None
        if step and path.is_file():
            self._header = read_header(path)
            rows = (row for row in read_rows(path) if int(row[0]) <= step)
            write_whole(path, lambda file: file.writelines(map(_line, itertools.chain([self._header], rows))))
            self.kept = sum(1 for _ in read_rows(path))
        else:
            write_whole(path, b"")

    def append(self, header: list[str], rows: Sequence[Sequence[str]]) -> None:
        """Add rows; a table of other columns is moved out of the way.

        Raises:
            OSError: naming the file; no half a row is left then.
        """
        self._settle_header(header)
        lines = b"".join(map(_line, rows))
        with naming(self.path), self.path.open("ab", buffering=0) as file:
            size, written = file.tell(), 0
            try:
                while written < len(lines):
                    written += file.write(lines[written:])
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise

    def _settle_header(self, header: list[str]) -> None:
        """Write the header of a new table; a damaged one is mended."""
        if self._header == header:
            return
        rows = list(read_rows(self.path)) if self._header else []
        if rows and len(self._header) != len(header):
            self.path.replace(self.path.with_name(f"{self.path.stem}_to_{rows[-1][0]}.csv"))
            rows = []
        write_whole(self.path, b"".join(map(_line, [header, *rows])))
        self._header = header


class LossLog:
    """losses.csv: one row a step, kept on the device until `flush` reads them all at once.

    `said` tells of rows that should be there at its beginning and are not. `mean` averages the losses over the
    processes that train together, of which those without a path write nothing; `advice` ends the line that tells of a
    loss that is no number.
    """

    def __init__(
        self,
        path: Path | None,
        step: int,
        mean: Callable[[Tensor], Tensor] = Tensor.cpu,
        advice: str = "try a lower --lr",
    ):
        self.mean, self.advice = mean, advice
        self.said: str | None = None
        self._pending: list[tuple[int, float, float, Mapping[str, Tensor]]] = []
        existed = path is not None and path.is_file()
        self._table = StepTable(path, step) if path is not None else None
        if step and existed and self._table.kept < step:
            kept = self._table.kept
            self.said = f"{path} has {kept} of {step} steps: the others are damaged or were never written"

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
        values = torch.stack([torch.stack([losses[name] for name in names]) for *_, losses in self._pending])
        values = self.mean(values).tolist()
        for (step, *_), row in zip(self._pending, values, strict=True):
            wrong = [f"{name} {value}" for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            if wrong:
                raise NonFinite(step, ", ".join(wrong), self.advice)
        rows = [
            [str(step), f"{epoch:.4f}", f"{lr:.6g}", *(f"{value:.6g}" for value in row)]
            for (step, epoch, lr, _), row in zip(self._pending, values, strict=True)
        ]
        if self._table is not None:
            self._table.append(["step", "epoch", "lr", *names], rows)
        self._pending.clear()
        return {name: sum(column) / len(column) for name, column in zip(names, zip(*values, strict=True), strict=True)}


def _line(row: Sequence[str]) -> bytes:
    return (",".join(row) + "\n").encode()


def read_header(path: Path) -> list[str]:
    """The names of the columns of a table of steps."""
    with path.open("rb") as file:
        return file.readline(LONGEST_LINE).decode("utf-8", "replace").strip("\r\n\0").split(",")


def read_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a table of steps that are whole and whose steps ascend, one at a time: a log may be long.

    A line that was cut off in writing, or is damaged, is left out.
    """
    columns, last = len(read_header(path)), 0
    with path.open("rb") as file:
        file.readline(LONGEST_LINE)
        while line := file.readline(LONGEST_LINE):
            row = line.decode("utf-8", "replace").strip("\r\n").split(",")
            whole = line.endswith(b"\n") and len(row) == columns and all(map(_is_number, row))
            if whole and re.fullmatch("[0-9]{1,18}", row[0]) and int(row[0]) > last:
                last = int(row[0])
                yield row


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def plot_curves(csv_path: Path, png_path: Path, columns: str, label: str, window: int | None = None) -> None:
    """Draw the columns of a table of steps that match a pattern, on a logarithmic axis.

    Each point is the mean of `window` rows, by default of a hundredth of them. Nothing is drawn without rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    header = read_header(csv_path)
    drawn = [number for number, name in enumerate(header) if re.fullmatch(columns, name)]
    values = [array("d") for _ in range(1 + len(drawn))]
    for row in read_rows(csv_path):
        for column, number in zip(values, (0, *drawn), strict=True):
            column.append(float(row[number]))
    steps = values[0]
    if not (steps and drawn):
        return
    window = window or max(1, len(steps) // 100)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for number, column in zip(drawn, values[1:], strict=True):
        means = [sum(column[i : i + window]) / len(column[i : i + window]) for i in range(0, len(column), window)]
        axes.plot(steps[::window], means, label=header[number], linewidth=1.2)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3, which="both")
    axes.legend(ncols=3, fontsize="small")
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_whole(png_path, content.getvalue())


def plot_losses(csv_path: Path, png_path: Path) -> None:
    """Draw the curves of losses.csv, smoothed."""
    plot_curves(csv_path, png_path, "[A-Za-z0-9_]+_loss", "weighted loss")


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
        print(f"step {step}/{total_steps or '?'} {text} {rate:.1f} img/s {left} left", flush=True)

    def say(self, line: str | None) -> None:
        """Print a line, where there is one, without disturbing the bar."""
        if line is None:
            return
        tqdm.write(line) if self._terminal else print(line, flush=True)

    def close(self) -> None:
        self._bar.close()
