"""Train in many ways for the same processor time, and score them on characters of the training set held back.

    python -m tests.study recipe --data_dir DIR --minutes 3 --jobs 2
    python -m tests.study recipe --src_font NotoSansCJK-Regular.ttc#3 --dst_font KleeOne-Regular.ttf --seeds 1 2 3
    python -m tests.study --table tests/results/recipe.jsonl

Each run is a process with one thread, timed by the processor time that it uses. The results, one line of JSON a run,
are appended to tests/results/STUDY.jsonl; a run that is there already is not made again.
"""

import argparse
import functools
import json
import math
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import EMA, Zi2ZiConfig
from tests.study.studies import STUDIES
from tests.study.variants import Variant, VariantModel, learning_rate_factor, mix
from utils import metrics
from utils.data import loader
from utils.data.font_pairs import FontData, Split
from utils.data.loader import ResumableSampler, TrainingPairs, collate
from utils.data.pairs import PairData, evenly, sample_held_out
from utils.data.record_pairs import RecordData
from utils.device import tune
from utils.glyphs.charset import read_charset
from utils.glyphs.components import choose
from utils.glyphs.render import GlyphRenderer
from utils.images import save_sheet, to_float, to_grey, to_uint8
from utils.legibility import glyph_reader, legibility
from utils.strokes import score_all
from utils.training import calibration
from utils.training.base import read_base
from utils.training.calibration import Calibrator
from utils.training.pretrained import Pretrained
from utils.training.registration import register_pairs
from utils.training.styles import take_likest

RESULTS = Path(__file__).parent.parent / "results"
SETTING = ("image_size", "ngf", "ndf", "minutes", "max_steps", "final", "characters")
HELD_OUT, CHARACTERS = 100, 1000  # characters that are held out, and the most to train on
VALIDATION = 0.1  # share of the training characters that a study is scored on
COLUMNS = (
    "l1",
    "ssim",
    "ink_iou",
    "edge_distance",
    "stray_specks",
    "stray_holes",
    "greyness",
    "stroke_width",
    "outline_length",
    "roughness",
    "contours_right",
    "nearness",
    "stroke_score",
    "shift_change",
    "legibility",
)


class Average(EMA):
    """An average with another warm-up: update n has the decay min(decay, warm_up(n))."""

    def __init__(self, net: torch.nn.Module, decay: float, warm_up: Callable[[int], float]):
        super().__init__(net, decay)
        self.warm_up = warm_up

    def current_decay(self) -> float:
        return min(self.decay, self.warm_up(self.num_updates))


WARM_UPS: dict[str, Callable[[int], float]] = {
    "flat": lambda n: 1.0,
    "(1+n)/(10+n)": lambda n: (1 + n) / (10 + n),
    "(1+n)/(100+n)": lambda n: (1 + n) / (100 + n),
    "1-(1+n)^-2/3": lambda n: 1 - (1 + n) ** (-2 / 3),
}
AVERAGES = {
    f"{decay} {name}": functools.partial(Average, decay=decay, warm_up=warm_up)
    for decay in (0.99, 0.999, 0.9999)
    for name, warm_up in WARM_UPS.items()
}


def setting_of(args: argparse.Namespace) -> dict[str, Any]:
    """What a run depends on beside its variant and seed."""
    setting = {key: getattr(args, key) for key in SETTING} | ({"chosen": True} if args.chosen else {})
    source = Path(args.src_font or args.data_dir).name
    return setting | {"source": source, "target": [Path(path).stem for path in args.dst_font or [args.data_dir]]}


def open_data(args: argparse.Namespace) -> PairData:
    """The pairs of a study: a folder with train.obj and val.obj, or fonts, with CHARACTERS and HELD_OUT more."""
    if args.data_dir:
        return RecordData.open(Path(args.data_dir), 1)
    fonts = [GlyphRenderer(spec) for spec in (args.src_font, *args.dst_font)]
    covered = [c for c in read_charset(args.charset) if all(font.covers(c) for font in fonts)]
    chosen = random.Random(777).sample(covered, min(CHARACTERS + HELD_OUT, len(covered)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chosen.txt"
        path.write_text("".join(chosen), encoding="utf-8")
        data = FontData.from_fonts(args.src_font, args.dst_font, [], str(path), Split(0.0, 777))
    # A sample, so that it is always as many, and the same as in earlier studies.
    data.train, data.held_out = map("".join, sample_held_out(data.train, HELD_OUT / len(chosen), 777))
    return data


def choose_pairs(data: PairData, args: argparse.Namespace) -> tuple[list, list]:
    """The pairs to train on, of --characters characters, and those to score, of the first font alone.

    Whatever the number of characters is, those held out for good are the same, and fewer are some of more.
    """
    keys = sorted({key for _, key in data.train_pairs})
    if args.chosen:
        keys = list(choose(read_charset(args.charset), args.characters, among="".join(keys)))
    else:
        keys = random.Random(777).sample(keys, len(keys))[: args.characters]
    others: list = []
    if not args.final:
        keys, others = sample_held_out(sorted(keys), VALIDATION, 777)
    chosen, others = set(keys), set(others)
    scored = data.held_out_pairs if args.final else [pair for pair in data.train_pairs if pair[1] in others]
    return [pair for pair in data.train_pairs if pair[1] in chosen], [pair for pair in scored if pair[0] == 0]


def train(variant: Variant, data: PairData, pairs: list, args: argparse.Namespace, seed: int) -> Iterator[tuple]:
    """Train on `pairs` for the processor time of the study; yields the model, and what the run was like, to be scored.

    At the end, and at the steps of --score_at.
    """
    torch.manual_seed(seed)
    sides = {"image_size": args.image_size, "ngf": args.ngf, "ndf": args.ndf, "embedding_num": len(data.labels)}
    known = read_base() if variant.with_base else None
    if known:
        sides |= known.architecture | {"embedding_num": len(data.labels)}
    model = VariantModel(Zi2ZiConfig(**sides | variant.config), variant)
    if known:
        begin_with(model, known, data, pairs)
    if variant.keep_deformer and model.netG.deformer is not None:
        model.netG.deformer.requires_grad_(False)
    model.shadows = {name: make(model.netG) for name, make in AVERAGES.items()} if args.averages else {}
    scale, shift = loader.SCALE, loader.SHIFT
    loader.SCALE, loader.SHIFT = variant.scale or scale, shift if variant.shift is None else variant.shift
    training = TrainingPairs(data, model.config.image_size, variant.augment, seed, pairs, warp=variant.warp)
    keys = iter(ResumableSampler(len(pairs), variant.batch_size, seed))
    budget, steps, started = args.minutes * 60, 0, time.process_time()
    if model.config.deform:
        found = register_pairs(data, pairs, model.config.image_size, torch.device("cpu"))
        training.deformations = np.concatenate(list(found))
    spent = time.process_time() - started
    while spent < budget and steps < (args.max_steps or steps + 1):
        started = time.process_time()
        model.progress = max(spent / budget, steps / args.max_steps if args.max_steps else 0)
        model.set_learning_rate(learning_rate_factor(variant, model.progress, steps * variant.batch_size / len(pairs)))
        label, *images, deformation = [*collate(training.__getitems__(next(keys))), None][:4]
        images = [to_float(image, 1) for image in images]
        model.set_input(label, *(mix(*images, variant.mixed) if variant.mixed else images), deformation)
        if steps < variant.styling:
            model.netG.requires_grad_(False).embedder.requires_grad_(True)
        found = model.optimize_parameters()
        if steps < variant.styling:
            model.netG.requires_grad_(True)
        for shadow in model.shadows.values():
            shadow.update()
        steps += 1
        spent += time.process_time() - started
        ended = spent >= budget or steps == args.max_steps
        if ended or steps in args.score_at:
            said = {"steps": steps, "images": steps * variant.batch_size, "seconds": round(spent)}
            yield model, said | {name: round(float(value), 4) for name, value in found.items()}


def begin_with(model: VariantModel, known: Pretrained, data: PairData, pairs: list) -> None:
    """Begin with weights that know other labels."""
    own = known.for_labels(data, len(data.labels))
    model.load_weights(own.generator, None, own.shadow)
    if model.variant.style == "likest":
        take_likest(model, known.styles, range(len(data.labels)), data, pairs)


def draw(model: Any, source: np.ndarray, labels: Sequence[int], weights: str) -> tuple[np.ndarray, float]:
    """The drawings of sources uint8 [N, S, S], sixteen at a time, and how much they change under a shift."""
    parts, changes = [], []
    for start in range(0, len(source), 16):
        pixels = to_float(torch.from_numpy(source[start : start + 16]), 1)
        label = torch.tensor(labels[start : start + 16])
        sample = functools.partial(model.sample, label=label, weights=weights)
        parts.append(to_uint8(sample(pixels)))
        changes.append(metrics.shift_consistency(sample, pixels) * len(pixels))
    return to_grey(np.concatenate(parts)), round(sum(changes) / len(source), 5)


def one_run(job: tuple[str, str, int, argparse.Namespace]) -> list[dict]:
    """Make one run, and return its lines of results, one for each time that it was scored."""
    study, name, seed, args = job
    torch.set_num_threads(1)
    tune(torch.device("cpu"))
    variant, data = STUDIES[study][name], open_data(args)
    trained, validation = choose_pairs(data, args)
    results = []
    for model, said in train(variant, data, trained, args, seed):
        looked_at = [(evenly([pair for pair in trained if pair[0] == 0], calibration.MOST), True)]
        columns, scores = drawn_and_scored(model, data, validation, Calibrator(model, data, looked_at))
        if args.legibility:
            read, characters = glyph_reader(), [character for _, character in validation]
            of_targets = {"of_targets": legibility(read, to_grey(columns["target"]), characters)}
            for heading in scores:
                scores[heading] |= {"legibility": legibility(read, columns[heading], characters)} | of_targets
        results.append({"variant": name, "seed": seed, **setting_of(args), **said, "scores": scores})
    if args.sheets:
        shown = {head: images[:24] for head, images in columns.items()}
        what = f"{study}_{name}_{'+'.join(setting_of(args)['target'])}_{args.characters}_{seed}".replace(" ", "_")
        save_sheet(shown, Path(args.sheets) / f"{what}.png", blocks=4, caption=[f"{name}, seed {seed}"])
    return results


def drawn_and_scored(
    model: Any, data: PairData, pairs: list, calibrator: Calibrator
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Columns uint8 [N, S, S], source, drawings with raw, EMA and every further average, target; and their scores."""
    labels = [label for label, _ in pairs]
    source, target = data.render_pairs(pairs, model.config.image_size)
    columns, changes, own = {"source": source}, {}, model.ema
    for heading, average in {"raw": own, "EMA": own, **model.shadows}.items():
        model.ema = average
        calibrator.calibrate(["raw" if heading == "raw" else "ema"])
        columns[heading], changes[heading] = draw(model, source, labels, "raw" if heading == "raw" else "ema")
    drawn = {heading: columns[heading] for heading in changes}
    scores = score_all(drawn, to_grey(target), to_grey(source))
    scores = {heading: row | {"shift_change": changes[heading]} for heading, row in scores.items()}
    model.ema = own
    return columns | {"target": target}, scores


def mean_of(values: list[float | None]) -> float:
    """The mean of a score over the seeds; NaN where a run was made before that score was."""
    return math.nan if None in values else statistics.mean(values)


def table(path: Path) -> str:
    """The results of a file as a table in Markdown: means over the seeds, best first."""
    groups: dict[tuple, list[dict]] = {}
    for line in path.read_text("utf-8").splitlines():
        result = json.loads(line)
        steps = result["max_steps"] and result["steps"]  # where these are no matter of time
        groups.setdefault((result["variant"], str(result.get("target", "")), steps), []).append(result)
    lines = [
        f"| variant | target | seeds | steps | weights | {' | '.join(COLUMNS)} |",
        "| --- " * (5 + len(COLUMNS)) + "|",
    ]
    means = []
    for (name, target, _), results in groups.items():
        steps = statistics.mean(result["steps"] for result in results)
        for weights in results[0]["scores"]:
            values = [mean_of([result["scores"][weights].get(column) for result in results]) for column in COLUMNS]
            by_steps = round(steps) if results[0]["max_steps"] else 0
            means.append((target, by_steps, values, name, len(results), steps, weights))
    for target, _, values, name, seeds, steps, weights in sorted(means):
        shown = " | ".join("" if math.isnan(value) else f"{value:.4g}" for value in values)
        lines.append(f"| {name} | {target} | {seeds} | {steps:.0f} | {weights} | {shown} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Make the runs of a study that are not made yet, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", choices=STUDIES)
    parser.add_argument("--table", type=Path, help="print the table of a file of results")
    parser.add_argument("--only", nargs="+", help="these variants alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--data_dir")
    parser.add_argument("--src_font")
    parser.add_argument("--dst_font", nargs="+", help="fonts to learn, of which the first is scored")
    parser.add_argument("--charset", default="big5_1")
    parser.add_argument(
        "--characters",
        type=int,
        default=500,
        choices=range(1, CHARACTERS + 1),
        metavar="N",
        help="to train on, beside 100 that are held out",
    )
    parser.add_argument("--chosen", action="store_true", help="those that utils.choose has, in place of a sample")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--ngf", type=int, default=16)
    parser.add_argument("--ndf", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=3, help="processor time of a run")
    parser.add_argument("--max_steps", type=int)
    parser.add_argument("--final", action="store_true", help="train on all, and score on what is held out for good")
    parser.add_argument("--score_at", nargs="+", type=int, default=[], help="steps to score at, beside the end")
    parser.add_argument("--averages", action="store_true", help="average the weights in further ways beside")
    parser.add_argument("--legibility", action="store_true", help="score too what an OCR reads (fonts alone; an extra)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--out", help="name of the file of results (default: that of the study)")
    parser.add_argument("--sheets", help="folder for a sheet of each run")
    args = parser.parse_args(argv)
    if args.table:
        print(table(args.table))
        return
    if args.study is None:
        parser.error("name a study, or a file with --table")
    path = RESULTS / f"{args.out or args.study}.jsonl"
    path.parent.mkdir(exist_ok=True)
    if args.sheets:  # before the runs, which would be lost without it
        Path(args.sheets).mkdir(parents=True, exist_ok=True)
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    setting = setting_of(args)
    results = [json.loads(line) for line in lines]
    made = {(result["variant"], result["seed"]) for result in results if setting.items() <= result.items()}
    names = args.only or list(STUDIES[args.study])
    jobs = [(args.study, name, seed, args) for seed in args.seeds for name in names if (name, seed) not in made]
    with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=1) as pool:
        for results in pool.imap_unordered(one_run, jobs):
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(result) + "\n" for result in results)
            scores = results[-1]["scores"]["EMA"]
            print(results[-1]["variant"], results[-1]["seed"], {name: scores.get(name) for name in COLUMNS}, flush=True)
    print(table(path))
