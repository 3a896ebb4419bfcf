"""report.html: the curves and the sheets of a run, to be kept open in a browser while it goes on."""

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.experiment.config import Paths
from utils.experiment.tables import read_header, read_rows
from utils.files import write_whole
from utils.page import render
from utils.training.report import HEADINGS

MOST_POINTS = 400  # of a curve: of more steps, means
OF_LOSSES, OF_QUALITY = r"\w+_loss", r"\w+"


def write_live(paths: Paths, step: int, total: int | None, ended: bool) -> None:
    """Write the page; while a run has not `ended`, it looks for a newer one by itself."""
    quality = curves(paths.quality_csv, OF_QUALITY)
    sheets = sorted(path for path in paths.sample.glob("*.png") if path.stem.isdecimal() and int(path.stem) <= step)
    measures = [
        (name, text) for name, text in HEADINGS.items() if any(c.endswith(f"_{name}") for c in quality["columns"])
    ]
    data = {
        "name": paths.root.resolve().name,
        **{"step": step, "total": total, "ended": ended},
        **{"quality": quality, "losses": curves(paths.losses_csv, OF_LOSSES), "measures": measures},
        "sheets": [(int(sheet.stem), f"{paths.sample.name}/{sheet.name}") for sheet in sheets],
    }
    write_whole(paths.live_report, render("report", data, images="'self' file:").encode("utf-8"))


def curves(table: Path, columns: str) -> dict[str, Any]:
    """The columns of a table of steps that match a pattern: `steps`, and for each column its values at these.

    Of more than MOST_POINTS rows each point is the mean of several.
    """
    if not table.is_file():
        return {"steps": [], "columns": {}}
    header = read_header(table)
    chosen = [number for number, name in enumerate(header) if number and re.fullmatch(columns, name)]
    steps, values = array("q"), [array("d") for _ in chosen]  # a log may be long
    for row in read_rows(table):
        steps.append(int(row[0]))
        for column, number in zip(values, chosen, strict=True):
            column.append(float(row[number]))
    window = -(-len(steps) // MOST_POINTS) or 1
    found = {header[number]: means(column, window) for number, column in zip(chosen, values, strict=True)}
    ends = [min(start + window, len(steps)) - 1 for start in range(0, len(steps), window)]
    return {"steps": [steps[end] for end in ends], "columns": found}


def means(values: Sequence[float], window: int) -> list[float]:
    """The means, to six digits, of so many values each, the last perhaps of fewer."""
    groups = (values[start : start + window] for start in range(0, len(values), window))
    return [float(f"{sum(group) / len(group):.6g}") for group in groups]
