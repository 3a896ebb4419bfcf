"""What a finished run leaves to read: report.md with its scores, curves and newest sheet."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

from utils.experiment.config import Paths
from utils.experiment.tables import Columns, means
from utils.files import write_whole

# How a measure is headed in a table, and which way is better.
HEADINGS = {
    "l1": "L1 ↓",
    "psnr": "PSNR ↑",
    "ssim": "SSIM ↑",
    "ink_iou": "ink IoU ↑",
    "edge_distance": "edge distance, px ↓",
    "stray_specks": "stray specks a glyph ↓",
    "stray_holes": "stray holes a glyph ↓",
    "greyness": "greyness, 1 is best",
    "stroke_width": "stroke width, 1 is best",
    "stroke_width_sparse": "in the sparsest third",
    "stroke_width_dense": "in the densest third",
    "ink": "ink, 1 is best",
    "outline_length": "outline length, 1 is best",
    "roughness": "roughness, 1 is best",
    "contours_right": "contours right ↑",
    "nearness": "nearer to the target than to the source ↑",
    "stroke_score": "score of the strokes ↑",
    "shift_change": "change under a 1 px shift ↓",
}


def score_table(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Scores as the lines of a Markdown table, one row for each of what was drawn with."""
    names = [name for name in HEADINGS if any(name in row for row in rows.values())]
    lines = ["| | " + " | ".join(HEADINGS[name] for name in names) + " |", "| --- " * (1 + len(names)) + "|"]
    for heading, row in rows.items():
        values = [f"{row[name]:.4g}" if name in row else "" for name in names]
        lines.append(f"| {heading} | {' | '.join(values)} |")
    return lines


def write_report(
    paths: Paths, step: int, data: list[str], scores: Mapping[str, Mapping[str, float]], scored: str, best: int | None
) -> None:
    """Write report.md: what was trained on (`data`, one line each), the scores of what was `scored`, the pictures."""
    lines = [f"# {paths.root.resolve().name}", "", f"Trained to step {step}. Every flag is in `config.json`.", ""]
    lines += [f"- {line}" for line in data]
    if best is not None:
        lines.append(f"- the best step on the validation characters is {best}: `--resume best` draws with it")
    lines += ["", f"## Scores on {scored}", "", *score_table(scores)]
    pictures = {
        "Quality": paths.quality_png,
        "Losses": paths.losses_png,
        f"Step {step}": paths.sample_sheet(step),
    }
    for heading, picture in pictures.items():
        if picture.is_file():
            lines += ["", f"## {heading}", "", f"![{heading}]({_relative(picture, paths.root)})"]
    write_whole(paths.report, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def plot_curves(columns: Columns, png_path: Path, pattern: str, label: str, window: int | None = None) -> None:
    """Draw the columns of a table of steps that match a pattern, on a logarithmic axis.

    Each point is the mean of `window` rows, by default of a hundredth of them. Nothing is drawn without rows.
    """
    # Loaded when it is needed: it takes a second.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = next(iter(columns.values()), [])
    drawn = {name: values for name, values in columns.items() if re.fullmatch(pattern, name)}
    if not (steps and drawn):
        return
    window = window or max(1, len(steps) // 100)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, values in drawn.items():
        axes.plot(steps[::window], means(values, window), label=name, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3, which="both")
    axes.legend(ncols=3, fontsize="small")
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    write_whole(png_path, content.getvalue())


def plot_losses(losses: Columns, png_path: Path) -> None:
    """Draw the curves of losses.csv, smoothed."""
    plot_curves(losses, png_path, "[A-Za-z0-9_]+_loss", "weighted loss")
