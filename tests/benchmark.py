"""How fast the program is, beside the plain way to write it, timed turn by turn in the same process.

    python -m tests.benchmark                       # everything, one thread and all of them: about half an hour
    python -m tests.benchmark --what train --filters 64 --threads 1
    python -m tests.benchmark --json figures.json

`ratio` is how many times faster than the literal form of `tests.literal`; `peak` is the share of what a large matrix
product reaches on the same thread, counting the operations that one D and one G update need, whatever is computed.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
from tests.faults import run_child
from tests.literal import LiteralModel, literal_drawing
from utils import checkpoint
from utils.dataset import TrainingPairs
from utils.drawing import draw_files, plan
from utils.font_data import FontData
from utils.render import GlyphRenderer
from utils.training import random_state

BATCH = {64: 4, 16: 16}  # images in a step, by the filters of the first level
BLURS = {"plain": {}, "g_blur": {"g_blur": True}, "g_blur d_blur": {"g_blur": True, "d_blur": True}}
WHAT = ("train", "parts", "draw", "data", "checkpoint", "memory", "growth")
Row = dict[str, Any]


# -------------------------------------------------------------------------------------------------- timing


def interleaved(timed: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median seconds of each function, after a round to warm up: in every round each has its turn."""
    timers = {
        name: Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads()) for name, run in timed.items()
    }
    found: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, timer in timers.items():
            seconds = timer.timeit(1).mean
            if number:
                found[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def peak_flops(size: int = 2048, rounds: int = 5) -> float:
    """Operations a second of a large product of float32 matrices, the best of several."""
    a, b = torch.randn(2, size, size)
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    timer.timeit(1)
    return max(2 * size**3 / timer.timeit(1).mean for _ in range(rounds))


def operations(run: Callable[[], Any]) -> int:
    """The floating-point operations of the convolutions and products in a function."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def make_model(filters: int, image_size: int = 256, **changes: Any) -> Zi2ZiModel:
    """A model with as many filters in both networks, one label, seeded."""
    torch.manual_seed(0)
    return Zi2ZiModel(Zi2ZiConfig(image_size=image_size, ngf=filters, ndf=filters, embedding_num=1, **changes))


def make_batch(count: int, image_size: int = 256) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Label, source, target: glyphs of the bundled fonts, as in training."""
    pairs = bundled().train_pairs[:count]
    source, target = (
        torch.from_numpy(pixels)[:, None] / 127.5 - 1 for pixels in bundled().render_pairs(pairs, image_size)
    )
    return torch.zeros(count, dtype=torch.int64), source, target


def bundled() -> FontData:
    """The pairs of the bundled fonts."""
    return FontData.from_fonts("bundled:source.otf", ["bundled:target.ttf"], [], None, 0.1, 777)


def fast_step(model: Zi2ZiModel, batch: tuple) -> Callable[[], Any]:
    """One training step, as the program does it; nothing is read from the device."""

    def step() -> None:
        model.set_input(*batch)
        model.optimize_parameters()

    return step


# ----------------------------------------------------------------------------------------------- sections


def train(filters: int, rounds: int, peak: float) -> list[Row]:
    """The whole step, without blur, with it in G, and in both; and the literal form of each."""
    batch = make_batch(BATCH[filters])
    needed = needed_operations(filters) * BATCH[filters]
    steps: dict[str, Callable[[], Any]] = {}
    for name, blur in BLURS.items():
        model = make_model(filters, **blur)
        literal = LiteralModel(model)
        steps[name] = fast_step(model, batch)
        steps[f"literal {name}"] = lambda literal=literal: literal.step(*batch)
    own = {name: operations(step) for name, step in steps.items()}
    seconds = interleaved(steps, rounds)
    rows = []
    for name, taken in seconds.items():
        base = seconds[name if name.startswith("literal") else f"literal {name}"]
        row = {"what": f"step, {name}", "images/s": BATCH[filters] / taken, "ratio": base / taken}
        row |= {"peak": needed / taken / peak, "own peak": own[name] / taken / peak}
        rows.append(row | {"to plain": taken / seconds["plain"]})
    return rows


def needed_operations(filters: int) -> float:
    """Operations an image of one D and one G update at 256 px: no more than the mathematics asks for."""
    model, batch = make_model(filters), make_batch(2)
    return operations(fast_step(model, batch)) / 2


def parts(filters: int, rounds: int, peak: float) -> list[Row]:
    """What a step consists of."""
    model, (label, source, target) = make_model(filters), make_batch(BATCH[filters])
    literal = LiteralModel(model)
    model.set_input(label, source, target)
    (batch,) = model.micro_batches

    def discriminator() -> None:
        model.netD.requires_grad_(True)
        model.optimizer_D.zero_grad()
        model.discriminator_loss(batch, target).backward()

    def generator() -> None:
        model.netD.requires_grad_(False)
        model.optimizer_G.zero_grad()
        sum(model.generator_losses(batch, *model.forward(batch)).values()).backward()

    fast_step(model, (label, source, target))()
    timed = {
        "whole step": fast_step(model, (label, source, target)),
        "D forward and backward": discriminator,
        "G forward and backward": generator,
        "Adam of both": lambda: (model.optimizer_D.step(), model.optimizer_G.step()),
        "EMA": model.ema.update,
        "literal EMA": literal.update_ema,
    }
    generator()
    discriminator()
    seconds = interleaved(timed, rounds)
    whole = seconds["whole step"]
    return [{"what": name, "ms": 1000 * taken, "share": taken / whole} for name, taken in seconds.items()]


def draw(filters: int, rounds: int, peak: float) -> list[Row]:
    """Characters to PNG files."""
    font, characters = GlyphRenderer("bundled:source.otf"), (bundled().train + bundled().held_out)[:32]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        timed: dict[str, Callable[[], Any]] = {}
        for name in ("plain", "g_blur"):
            config = make_model(filters, **BLURS[name]).config
            model = Zi2ZiModel(config, is_training=False)
            fold_norms(model.netG)
            literal = LiteralModel(make_model(filters, **BLURS[name])).netG.eval()
            drawings = plan(characters, [0], Path(folder) / name, "unicode_hex", "png")
            timed[name] = lambda model=model, drawings=drawings: list(draw_files(model, font, drawings, 16, False))
            timed[f"literal {name}"] = lambda net=literal: literal_drawing(net, font, characters, 256, 16, Path(folder))
        seconds = interleaved(timed, rounds)
        for name, taken in seconds.items():
            base = seconds[name if name.startswith("literal") else f"literal {name}"]
            rows.append({"what": f"text to PNG, {name}", "glyphs/s": len(characters) / taken, "ratio": base / taken})
    return rows


def data(filters: int, rounds: int, peak: float) -> list[Row]:
    """Rendering pairs, with and without augmentation."""
    rows = []
    for augment in (False, True):
        pairs = TrainingPairs(bundled(), 256, augment)
        taken = interleaved({"pairs": lambda pairs=pairs: [pairs[0, index] for index in range(200)]}, rounds)["pairs"]
        rows.append({"what": f"pairs{' augmented' if augment else ''}", "pairs/s": 200 / taken})
    return rows


def checkpoints(filters: int, rounds: int, peak: float) -> list[Row]:
    """Writing a checkpoint so that it lasts, and reading it with its checksums."""
    model, batch = make_model(filters), make_batch(2)
    fast_step(model, batch)()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            checkpoint.GENERATOR: model.netG.state_dict(),
            checkpoint.DISCRIMINATOR: model.netD.state_dict(),
            checkpoint.EMA_GENERATOR: model.ema.shadow.state_dict(),
            checkpoint.STATE: {
                "step": 1,
                "ema_num_updates": 1,
                "optimizer_G": model.optimizer_G.state_dict(),
                "optimizer_D": model.optimizer_D.state_dict(),
                "random_state": random_state(model.device),
            },
        }
        timed = {
            "save": lambda: checkpoint.save_checkpoint(folder, 1, parts),
            "read": lambda: checkpoint.read_step(folder, 1),
        }
        seconds = interleaved(timed, rounds)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return [{"what": f"checkpoint {name}", "s": taken, "MB/s": size / taken / 1e6} for name, taken in seconds.items()]


def memory(filters: int, rounds: int, peak: float) -> list[Row]:
    """The most memory that training takes, EMA included, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        empty = run_child(train_in_child, 0, "none", folder=Path(name)).memory
        for way in ("fast", "literal"):
            for blur in ("plain", "g_blur"):
                result = run_child(train_in_child, filters, f"{way} {blur}", folder=Path(name))
                if result.code:
                    sys.exit(result.err)
                rows.append({"what": f"memory, {way} {blur}", "GB": result.memory / 1e9, "torch alone": empty / 1e9})
    return rows


def train_in_child(filters: str, how: str) -> int:
    """Three steps, fast or literal."""
    if how != "none":
        way, blur = how.split(" ", 1)
        model, batch = make_model(int(filters), **BLURS[blur]), make_batch(BATCH[int(filters)])
        literal = LiteralModel(model) if way == "literal" else None
        step = (lambda: literal.step(*batch)) if literal else fast_step(model, batch)
        del model
        for _ in range(3):
            step()
    return 0


def growth(filters: int, rounds: int, peak: float) -> list[Row]:
    """How cost grows with the image, the width, and the number of characters."""
    rows = []
    for size in (64, 128, 256, 384):
        step = fast_step(make_model(filters, size), make_batch(4, size))
        taken = interleaved({"step": step}, max(1, rounds // 2))["step"]
        rows.append({"what": f"step, {size} px, {filters} filters, batch 4", "images/s": 4 / taken})
    return rows


SECTIONS = {
    "train": train,
    "parts": parts,
    "draw": draw,
    "data": data,
    "checkpoint": checkpoints,
    "memory": memory,
    "growth": growth,
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
    parser.add_argument("--filters", nargs="+", type=int, choices=BATCH, default=list(BATCH), help="widths to run")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, torch.get_num_threads()], help="threads to use")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is timed; the median counts")
    parser.add_argument("--json", help="write the figures to this file too")
    args = parser.parse_args()
    figures: list[Row] = []
    for threads in dict.fromkeys(args.threads):
        torch.set_num_threads(threads)
        peak = peak_flops()
        print(f"\n{platform.machine()}, torch {torch.__version__}, {threads} threads: {peak / 1e9:.0f} GFLOP/s at most")
        for filters in args.filters:
            for what in args.what:
                rows = SECTIONS[what](filters, args.rounds, peak)
                print(f"\n{what}, {filters} filters\n{table(rows)}", flush=True)
                figures += [{"threads": threads, "filters": filters, "peak GFLOP/s": peak / 1e9, **row} for row in rows]
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
