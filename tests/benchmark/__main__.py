"""How fast the program is, beside the plain way to write it, timed turn by turn in the same process.

    python -m tests.benchmark                       # everything, with one thread and with all: it takes long
    python -m tests.benchmark --what train --filters 64 --threads 1
    python -m tests.benchmark --json figures.json

`ratio` is how many times faster than the literal form of `tests.literal`; `peak` is the share of what a large matrix
product reaches on the same thread, counting the operations that one D and one G update need, whatever is computed.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from tests.benchmark.sections import (
    BATCH,
    SIDES,
    Row,
    checkpoints,
    data,
    default_step,
    draw,
    growth,
    growth_of_drawing,
    memory,
    parts,
    processes,
    startup,
    train,
)
from utils.device import tune

SECTIONS = {
    "train": train,
    "parts": parts,
    "draw": draw,
    "data": data,
    "checkpoint": checkpoints,
    "memory": memory,
    "default_step": default_step,
    "growth": growth,
    "growth_of_drawing": growth_of_drawing,
    "processes": processes,
    "startup": startup,
}


def table(rows: list[Row]) -> str:
    """Rows of one section as text, a column for each figure."""
    names = list(rows[0])
    cells = [names, *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--filters", nargs="+", type=int, choices=BATCH, default=[64, 16], help="widths to run")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, torch.get_num_threads()], help="threads to use")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is timed; the median counts")
    parser.add_argument("--json", help="write the figures to this file too")
    parser.add_argument("--plot", help="draw what the section growth found into this PNG file")
    args = parser.parse_args()
    figures: list[Row] = []
    tune(torch.device("cpu"))  # as train.py and infer.py do; the literal form has the same allocator
    for threads in dict.fromkeys(args.threads):
        torch.set_num_threads(threads)
        print(f"\n{platform.machine()}, torch {torch.__version__}, {threads} threads")
        for filters in args.filters:
            for what in args.what:
                rows = SECTIONS[what](filters, args.rounds)
                if rows:
                    print(f"\n{what}, {filters} filters\n{table(rows)}", flush=True)
                figures += [{"threads": threads, "filters": filters, **row} for row in rows]
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if args.plot:
        plot(figures, args.plot)
    return 0


def plot(figures: list[Row], path: str) -> None:
    """How cost grows: images/s over the image's side for each width, milliseconds and memory over drawings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for filters in sorted({row["filters"] for row in figures}):
        found = [row for row in figures if row["filters"] == filters and row.get("side")]
        left.plot([row["side"] for row in found], [row["images/s"] for row in found], "o-", label=f"{filters} filters")
    drawn = [row for row in figures if row.get("drawings")]
    counts = [row["drawings"] for row in drawn]
    middle.plot(counts, [row["ms a glyph"] for row in drawn], "o-")
    right.plot(counts, [row["GB"] for row in drawn], "o-")
    left.set(xscale="log", yscale="log", xlabel="pixels of a side", title="training, batch 4: images/s")
    left.set_xticks(SIDES, map(str, SIDES), minor=False)
    left.minorticks_off()
    left.legend(fontsize="small")
    for axes, title in ((middle, "drawing: ms a glyph"), (right, "drawing: GB of memory")):
        axes.set(xscale="log", xlabel=f"glyphs drawn, {drawn[0]['filters']} filters" if drawn else "", title=title)
        axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(path)


if __name__ == "__main__":
    sys.exit(main())
