"""report.html: the curves and the sheets of a run, to be kept open in a browser while it goes on."""

import re
from typing import Any, NamedTuple

from utils.experiment.config import Paths
from utils.experiment.tables import Columns, means, read_columns
from utils.files import write_whole
from utils.page import render
from utils.training.report import HEADINGS

MOST_POINTS = 400  # of a curve: of more steps, means


class Tables(NamedTuple):
    """What a run has logged."""

    losses: Columns
    quality: Columns


def read_tables(paths: Paths) -> Tables:
    """Read losses.csv and quality.csv."""
    return Tables(read_columns(paths.losses_csv), read_columns(paths.quality_csv))


def write_live(paths: Paths, tables: Tables, step: int, total: int | None, ended: bool) -> None:
    """Write the page; while a run has not `ended`, it looks for a newer one by itself."""
    sheets = sorted(path for path in paths.sample.glob("*.png") if path.stem.isdecimal() and int(path.stem) <= step)
    scored = tables.quality
    measures = [(name, text) for name, text in HEADINGS.items() if any(c.endswith(f"_{name}") for c in scored)]
    data = {
        "name": paths.root.resolve().name,
        **{"step": step, "total": total, "ended": ended, "measures": measures},
        **{"quality": curves(scored, r"\w+_\w+"), "losses": curves(tables.losses, r"\w+_loss")},
        "sheets": [(int(sheet.stem), f"{paths.sample.name}/{sheet.name}") for sheet in sheets],
    }
    write_whole(paths.live_report, render("report", data, images="'self' file:").encode("utf-8"))


def curves(columns: Columns, pattern: str) -> dict[str, Any]:
    """The columns of a table of steps that match a pattern: `steps`, and for each column its values at these.

    Of more than MOST_POINTS rows each point is the mean of several, to six digits, at the last of their steps.
    """
    steps = next(iter(columns.values()), [])
    window = -(-len(steps) // MOST_POINTS) or 1
    ends = [min(start + window, len(steps)) - 1 for start in range(0, len(steps), window)]
    chosen = {name: values for name, values in columns.items() if re.fullmatch(pattern, name)}
    found = {name: [float(f"{mean:.6g}") for mean in means(values, window)] for name, values in chosen.items()}
    return {"steps": [steps[end] for end in ends], "columns": found}
