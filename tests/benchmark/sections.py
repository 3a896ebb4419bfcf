"""What is timed: one function a section, each of which returns its figures row by row."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark.utils.timer import timer
from torch.utils.flop_counter import FlopCounterMode

from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
from model.muon import Muon
from tests.helpers.faults import Child, Result
from tests.helpers.fonts import make_font
from tests.helpers.literal import LiteralModel, literal_drawing
from tests.helpers.ranks import ROOT, torchrun
from utils.data.font_pairs import FontData, Split
from utils.data.loader import TrainingPairs
from utils.device import tune
from utils.drawing.draw import draw_files
from utils.drawing.job import plan
from utils.experiment import checkpoint
from utils.experiment.calibration import PLAIN
from utils.experiment.manifest import Manner
from utils.glyphs.render import GlyphRenderer
from utils.training.flags import DEFAULTS

BATCH = {64: 4, 32: 8, 16: 16, 8: 16}  # images in a step, by the filters of the first level
BLURS = {"plain": {}, "g_blur": {"g_blur": True}, "g_blur d_blur": {"g_blur": True, "d_blur": True}}
AS_BY_DEFAULT = {name: DEFAULTS[name] for name in ("Ladv_penalty", "Lconst_penalty", "ink_weight", "optimizer")}
SIDES = (64, 128, 256, 384)  # pixels
DRAWN = (100, 1000, 5000)  # glyphs, to see whether time and memory grow with them
MANY, TARGETS = 20_000, 4  # characters and target fonts, to see what memory they take
Row = dict[str, Any]


# -------------------------------------------------------------------------------------------------- timing


def interleaved(timed: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median seconds of each function, after a round to warm up: in every round each has its turn."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, run in timed.items():
            start = timer()  # once the device has done what it was given before
            run()
            seconds = timer() - start
            if number:
                found[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def matrix_product(size: int = 2048) -> Callable[[], Any]:
    """A large product of float32 matrices, 2 * size^3 operations: what the processor can do."""
    a, b = torch.randn(2, size, size)
    return lambda: a @ b


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
    return FontData.from_fonts("bundled:source.otf", ["bundled:target.ttf"], [], None, Split(0.1, 777))


def fast_step(model: Zi2ZiModel, batch: tuple) -> Callable[[], Any]:
    """One training step, as the program does it; nothing is read from the device."""

    def step() -> None:
        model.set_input(*batch)
        model.optimize_parameters()

    return step


# ----------------------------------------------------------------------------------------------- sections


def train(filters: int, rounds: int) -> list[Row]:
    """D's and G's update, without blur, with it in G, and in both; the literal form of each; and G's update alone."""
    batch = make_batch(BATCH[filters])
    needed = needed_operations(filters) * BATCH[filters]
    rows = []
    for name, blur in BLURS.items():
        literal = LiteralModel(make_model(filters, **blur))
        steps: dict[str, Callable[[], Any]] = {
            name: fast_step(make_model(filters, **blur), batch),
            f"literal {name}": lambda literal=literal: literal.step(*batch),
        }
        own = {way: operations(step) for way, step in steps.items()}
        timed = {"peak": matrix_product(), "plain": fast_step(make_model(filters), batch), **steps}
        seconds = interleaved(timed, rounds)
        peak = 2 * 2048**3 / seconds["peak"]
        for way in steps:
            taken = seconds[way]
            row = {
                "what": f"step, {way}",
                "images/s": BATCH[filters] / taken,
                "ratio": seconds[f"literal {name}"] / taken,
            }
            row |= {"peak": needed / taken / peak, "own peak": own[way] / taken / peak}
            rows.append(row | {"to plain": taken / seconds["plain"], "peak GFLOP/s": peak / 1e9})
    alone = make_model(filters, g_blur=True, **AS_BY_DEFAULT)
    seconds = interleaved({"plain": fast_step(make_model(filters), batch), "alone": fast_step(alone, batch)}, rounds)
    taken = seconds["alone"]
    what = "step as by default, g_blur"
    rows.append({"what": what, "images/s": BATCH[filters] / taken, "to plain": taken / seconds["plain"]})
    return rows


def needed_operations(filters: int) -> float:
    """Operations an image of one D and one G update at 256 px: no more than the mathematics asks for."""
    model, batch = make_model(filters), make_batch(2)
    return operations(fast_step(model, batch)) / 2


def parts(filters: int, rounds: int) -> list[Row]:
    """What a step consists of."""
    model, (label, source, target) = make_model(filters), make_batch(BATCH[filters])
    literal, pairs = LiteralModel(model), TrainingPairs(bundled(), 256, augment=True)
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
        "Muon of G": Muon(model.netG, 1e-9, model.netG.ends()).step,
        "Adam of both": lambda: (model.optimizer_D.step(), model.optimizer_G.step()),
        "EMA": model.ema.update,
        "data": lambda: [pairs[0, index] for index in range(len(label))],
        "literal whole step": lambda: literal.step(label, source, target),
        "literal Adam of both": lambda: (literal.optimizer_D.step(), literal.optimizer_G.step()),
        "literal EMA": literal.update_ema,
    }
    generator()
    discriminator()
    literal.step(label, source, target)
    seconds = interleaved(timed, rounds)
    whole = seconds["whole step"]
    return [{"what": name, "ms": 1000 * taken, "share": taken / whole} for name, taken in seconds.items()]


MANNER = Manner(0, "raw", [PLAIN] * 10)  # of the drawings here


def draw(filters: int, rounds: int) -> list[Row]:
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
            timed[name] = lambda model=model, drawings=drawings: list(draw_files(model, font, drawings, MANNER, 16))
            timed[f"literal {name}"] = lambda net=literal: literal_drawing(net, font, characters, 256, 16, Path(folder))
        seconds = interleaved(timed, rounds)
        for name, taken in seconds.items():
            base = seconds[name if name.startswith("literal") else f"literal {name}"]
            rows.append({"what": f"text to PNG, {name}", "glyphs/s": len(characters) / taken, "ratio": base / taken})
    return rows


def data(filters: int, rounds: int) -> list[Row]:
    """Rendering pairs, with and without augmentation."""
    rows = []
    for augment in (False, True):
        pairs = TrainingPairs(bundled(), 256, augment)
        taken = interleaved({"pairs": lambda pairs=pairs: [pairs[0, index] for index in range(200)]}, rounds)["pairs"]
        rows.append({"what": f"pairs{' augmented' if augment else ''}", "pairs/s": 200 / taken})
    with tempfile.TemporaryDirectory() as name:
        for epochs in (1, 3):
            taken = in_child(read_many_in_child, epochs, name, folder=Path(name)).memory
            what = f"{MANY} characters of {TARGETS} fonts, {epochs} epochs"
            rows.append({"what": what, "GB": taken / 1e9})
    return rows


def read_many_in_child(_threads: str, epochs: str, folder: str) -> int:
    """Render every pair of many characters and several fonts, again and again."""
    box = (100, 0, 900, 800)
    paths = [Path(folder) / f"{number}.ttf" for number in range(1 + TARGETS)]
    for path in paths:
        if not path.exists():
            make_font(path, {chr(0x4E00 + number): box for number in range(MANY)})
    source, *targets = map(str, paths)
    pairs = TrainingPairs(FontData.from_fonts(source, targets, [], None, Split(0.1, 777)), 256, augment=True)
    for epoch in range(int(epochs)):
        for index in range(len(pairs)):
            pairs[epoch, index]
    return 0


def checkpoints(filters: int, rounds: int) -> list[Row]:
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
            },
        }
        timed = {
            "save": lambda: checkpoint.save_checkpoint(folder, 1, parts),
            "read": lambda: checkpoint.read_step(folder, 1),
        }
        seconds = interleaved(timed, rounds)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return [{"what": f"checkpoint {name}", "s": taken, "MB/s": size / taken / 1e6} for name, taken in seconds.items()]


def memory(filters: int, rounds: int) -> list[Row]:
    """The most memory that training takes, EMA included, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        empty = in_child(train_in_child, 0, "none", folder=Path(name)).memory
        for way in ("fast", "literal"):
            for blur in ("plain", "g_blur"):
                taken = in_child(train_in_child, filters, way, blur, folder=Path(name)).memory
                rows.append({"what": f"memory, {way} {blur}", "GB": taken / 1e9, "torch alone": empty / 1e9})
    return rows


def in_child(function: Callable[..., int], *args: object, folder: Path) -> Result:
    """Run a function in a process of its own, with as many threads as here.

    Raises:
        SystemExit: when it fails.
    """
    result = Child(function, torch.get_num_threads(), *args, folder=folder).wait(1200)
    if result.code:
        sys.exit(result.err)
    return result


def train_in_child(threads: str, filters: str, way: str, blur: str = "plain") -> int:
    """Three steps, fast or literal."""
    torch.set_num_threads(int(threads))
    tune(torch.device("cpu"))
    if way != "none":
        # The literal step has an average of its own.
        model = make_model(int(filters), **BLURS[blur], **({"ema_decay": 0.0} if way == "literal" else {}))
        batch = make_batch(BATCH[int(filters)])
        literal = LiteralModel(model, ema_decay=0.999) if way == "literal" else None
        step = (lambda: literal.step(*batch)) if literal else fast_step(model, batch)
        if literal:
            del model
        for _ in range(3):
            step()
    return 0


def default_step(filters: int, rounds: int) -> list[Row]:
    """The default step in each precision, with blur and without: at full size, and, for 16, at that of a small run."""
    size, width, count = {64: (256, 64, 4), 16: (128, 24, 16)}.get(filters, (256, filters, BATCH[filters]))
    batch = make_batch(count, size)
    ways = {
        f"{name}, {amp}": make_model(width, size, amp=amp, **blur, **AS_BY_DEFAULT)
        for amp in ("off", "bf16")
        for name, blur in list(BLURS.items())[:2]
    }
    seconds = interleaved({way: fast_step(model, batch) for way, model in ways.items()}, rounds)
    optimizing = interleaved({way: model.optimizer_G.step for way, model in ways.items()}, rounds)
    return [
        {
            "what": f"{size} px, {width} filters, {way}",
            "images/s": count / taken,
            "times float32": seconds[f"{way.partition(',')[0]}, off"] / taken,
            "Muon's share": optimizing[way] / taken,
        }
        for way, taken in seconds.items()
    ]


def growth(filters: int, rounds: int) -> list[Row]:
    """How cost grows with the image."""
    rows = []
    for size in SIDES:
        step = fast_step(make_model(filters, size), make_batch(4, size))
        taken = interleaved({"step": step}, rounds)["step"]
        rows.append({"what": "step, batch 4", "side": size, "images/s": 4 / taken})
    return rows


def growth_of_drawing(filters: int, rounds: int) -> list[Row]:
    """How time and memory grow with the number of drawings; at 16 filters, since more take long."""
    rows = []
    for count in DRAWN if filters == 16 else ():
        with tempfile.TemporaryDirectory() as name:
            result = in_child(draw_in_child, filters, count, name, folder=Path(name))
        taken = 1000 * float(result.out) / count
        rows.append({"what": "text to PNG", "drawings": count, "ms a glyph": taken, "GB": result.memory / 1e9})
    return rows


def draw_in_child(threads: str, filters: str, count: str, folder: str) -> int:
    """Draw so many glyphs, in as many labels as that takes; prints the seconds."""
    torch.set_num_threads(int(threads))
    tune(torch.device("cpu"))
    font, characters, labels = GlyphRenderer("bundled:source.otf"), bundled().train + bundled().held_out, 10
    config = replace(make_model(int(filters)).config, embedding_num=labels)
    model = Zi2ZiModel(config, is_training=False)
    fold_norms(model.netG)
    drawings = plan(characters, range(labels), Path(folder) / "drawn", "unicode_hex", "png")[: int(count)]
    start = time.perf_counter()
    assert len(list(draw_files(model, font, drawings, MANNER, 16))) == int(count)
    print(time.perf_counter() - start)
    return 0


def processes(filters: int, rounds: int) -> list[Row]:
    """Two processes of one thread each under torchrun, turn by turn with one, and with two that don't know each other.

    Each has a whole batch. The last are the most that the machine can do: cores share clock, cache and memory.
    """
    ways = {"one process": [1], "two under torchrun": [2], "two apart": [1, 1]}  # processes of each launch
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(max(1, rounds // 2)):
        for way, counts in ways.items():
            launches = [
                torchrun(count, "-m", "tests.helpers.ranks", filters, BATCH[filters] * count, cwd=ROOT)
                for count in counts
            ]
            ends = [launch.communicate() for launch in launches]
            if any(launch.returncode for launch in launches):
                sys.exit("".join(err for _, err in ends))
            found[way].append(sum(float(out) for out, _ in ends))
    speeds = {way: statistics.median(each) for way, each in found.items()}
    return [
        {"what": f"step, {way}", "images/s": speed, "to one": speed / speeds["one process"]}
        for way, speed in speeds.items()
    ]


def startup(filters: int, rounds: int) -> list[Row]:
    """From the command to the first glyph, beside what `import torch` alone takes."""
    with tempfile.TemporaryDirectory() as name:
        flags = ["--ngf", str(filters), "--ndf", "2", "--image_size", "256", "--max_steps", "1", "--batch_size", "1"]
        run = [sys.executable, str(ROOT / "train.py"), *flags, "--gpu_ids", "-1"]
        subprocess.run(run, cwd=name, check=True, capture_output=True)
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "one glyph": [sys.executable, str(ROOT / "infer.py"), "--gpu_ids", "-1", "--src_txt", "國"],
            "--help": [sys.executable, str(ROOT / "infer.py"), "--help"],
        }
        timed = {
            what: lambda command=command: subprocess.run(command, cwd=name, check=True, capture_output=True)
            for what, command in commands.items()
        }
        seconds = interleaved(timed, rounds)
    return [{"what": what, "s": taken} for what, taken in seconds.items()]
