"""The tables of an experiment, losses.csv and quality.csv, and which step scored best."""

import contextlib
import itertools
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from utils.errors import UserError
from utils.files import naming, write_whole
from utils.messages import _

LONGEST_LINE = 10_000  # characters of losses.csv; a longer one is damaged


class StepTable:
    """A .csv file with one row a step, the step in the first column, appended to during a run.

    A table opened at step n keeps the rows up to n and drops what a lost run wrote after it, and what is
    damaged. `kept` is how many there are.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self.kept = 0
        self._header: list[str] | None = None
        if step and path.is_file():
            self._header = header = read_header(path)
            rows = (row for row in read_rows(path) if int(row[0]) <= step)
            write_whole(path, lambda file: file.writelines(map(_line, itertools.chain([header], rows))))
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
        own = self._header or []
        rows = list(read_rows(self.path)) if own else []
        if rows and len(own) != len(header):
            self.path.replace(self.path.with_name(f"{self.path.stem}_to_{rows[-1][0]}.csv"))
            rows = []
        write_whole(self.path, b"".join(map(_line, [header, *rows])))
        self._header = header


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


Columns = dict[str, array]  # the values of each column, by its name, in the order of the steps


def read_columns(path: Path) -> Columns:
    """The columns of a table of steps, that of the steps first; none where there is no such file."""
    if not path.is_file():
        return {}
    header = read_header(path)
    steps, *others = columns = [array("d" if number else "q") for number in range(len(header))]
    for row in read_rows(path):
        steps.append(int(row[0]))
        for values, text in zip(others, row[1:], strict=True):
            values.append(float(text))
    return dict(zip(header, columns, strict=True))


def means(values: Sequence[float], window: int) -> list[float]:
    """The mean of every so many values, the last perhaps of fewer."""
    groups = (values[start : start + window] for start in range(0, len(values), window))
    return [sum(group) / len(group) for group in groups]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# What the best step is chosen by: the first of these columns that there is. Never the held-out characters.
CHOSEN_BY = ("validation_EMA_l1", "validation_raw_l1")


def read_quality(path: Path) -> dict[int, dict[str, float]]:
    """The rows of quality.csv by their steps; none where there is no such file."""
    if not path.is_file():
        return {}
    header = read_header(path)
    return {int(row[0]): dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in read_rows(path)}


def best_step(rows: Mapping[int, Mapping[str, float]], steps: Iterable[int]) -> int | None:
    """The step among `steps` that scored best on the validation characters, None where none was scored."""
    scored = [(_error(rows[step]), step) for step in steps if step in rows and _error(rows[step]) < math.inf]
    return min(scored)[1] if scored else None


def find_best(path: Path, steps: Iterable[int]) -> int:
    """The best step among `steps` by quality.csv at `path`.

    Raises:
        UserError: when there is none.
    """
    found = best_step(read_quality(path), steps)
    if found is None:
        raise UserError(
            _("--resume best: {path} scores no checkpoint that is there: name a step, or latest", path=path)
        )
    return found


def stale(rows: Mapping[int, Mapping[str, float]]) -> int:
    """How many times since the best step the validation characters were scored."""
    best = best_step(rows, rows)
    return 0 if best is None else sum(step > best for step in rows)


def _error(row: Mapping[str, float]) -> float:
    return next((row[column] for column in CHOSEN_BY if column in row), math.inf)
