"""What infer.py does, from the flags to the drawings, sheets and scores."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import as_given, resolve, say
from utils.errors import UserError

if TYPE_CHECKING:
    import torch

    from model import Zi2ZiModel
    from utils.distributed import Ranks
    from utils.drawing.job import Job
    from utils.experiment.weights import Weights


# Known from the checkpoint; a flag confirms it or is an error.
CONFIRMED_SIZES = ("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim")
CONFIRMED_MODES = ("norm_type", "up_mode")
CONFIRMED_BLUR = ("g_blur", "d_blur")


def check_font_flags(args: argparse.Namespace) -> None:
    """Check the flags of a font that can be checked before it is known what is drawn.

    Raises:
        UserError: when no font could be made.
    """
    from utils.experiment import manifest
    from utils.fonts import export

    if args.run_all_label or len(args.label or [0]) > 1:
        raise UserError("--font_out makes a font of one label: name it with --label")
    if args.image_ext == "svg":
        raise UserError("--font_out traces pictures: leave out --image_ext svg")
    flags = font_flags(args)
    if args.exclude_suspects and not args.suspects:
        manifest.read_suspects(export.folder_of_drawings(flags), flags.label)


def font_flags(args: argparse.Namespace) -> argparse.Namespace:
    """The flags of the font export, of which infer.py has some."""
    from utils.fonts import export

    one = argparse.Namespace(**{**vars(args), "label": (args.label or [0])[0]})
    return resolve(export.flags_from(one), export.DEFAULTS)


def prepare(
    args: argparse.Namespace, device: "torch.device", warning: str | None
) -> "tuple[dict[str, Zi2ZiModel], Weights, Job, Path]":
    """Join the rooms: the models by their headings, the weights to draw with, what to draw, and the folder for it.

    Raises:
        UserError: when the flags, or what lies in the experiment, don't allow it.
    """
    from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
    from utils.device import drawing_batch, tune
    from utils.drawing.job import choose_job
    from utils.experiment import checkpoint, pth
    from utils.experiment.config import Paths, read_config
    from utils.experiment.tables import find_best
    from utils.experiment.weights import find_kinds, foreign_config, weights_folder
    from utils.fonts.export import check_drawn
    from utils.legibility import glyph_reader

    tune(device, training=False)
    paths = Paths(Path(args.experiment_dir))
    if args.resume == "best":
        args.resume = str(find_best(paths.quality_csv, checkpoint.all_steps(paths.checkpoint)))
    config, checkpoints = read_config(paths), weights_folder(paths, args.resume)
    if config is None and not checkpoints.is_dir():
        raise UserError(f"{paths.config}: no such file; train first, or point --experiment_dir to an experiment")
    say(warning)
    args.read = glyph_reader() if args.legibility else None
    kinds = (
        ["raw", "ema"] if args.compare or (args.suspects and both_kinds(checkpoints, args.resume)) else [args.weights]
    )
    if config is None:
        found, said = find_kinds(checkpoints, args.resume, kinds)
        config, assumed = foreign_config(found[0], args.image_size)
        said += assumed
        fits = model_check(config["model"], checkpoints)
        for weights in found:
            fits(weights)
    else:
        fits = model_check(config["model"], paths.config)
        found, said = find_kinds(checkpoints, args.resume, kinds, fits)
    say(*said)
    confirm(args, config["model"])
    if args.sharpness is not None:
        if not 0 < args.sharpness < 100:
            raise UserError(f"--sharpness {args.sharpness} is not above 0 and below 100")
        config["model"]["sharpness"] = args.sharpness
    weights = found[0] if args.weights == "raw" else found[-1]

    def load(weights: "Weights") -> Zi2ZiModel:
        model = Zi2ZiModel(Zi2ZiConfig(**config["model"]), device, is_training=False)
        pth.fit(model.netG, weights.state_dict, weights.path)
        fold_norms(model.netG)
        return model

    models = {"EMA" if each.kind == "ema" else "raw": load(each) for each in found}
    say(f"drawing with {weights.path}")
    args.batch_size = args.batch_size or drawing_batch(device.type, config["model"]["image_size"])
    folder = Path(args.infer_dir) if args.infer_dir else paths.root / "infer"
    job = choose_job(args, config, folder)
    if args.font_out:
        check_drawn(font_flags(args), job.characters())
    return models, weights, job, folder


def both_kinds(checkpoints: Path, resume: str) -> bool:
    """Whether the step `resume` (or `latest`) has raw and EMA weights, so that they can be compared."""
    from utils.experiment import checkpoint

    parts = (checkpoint.GENERATOR, checkpoint.EMA_GENERATOR)
    both = set.intersection(*(set(checkpoint.steps_with(checkpoints, part)) for part in parts))
    return bool(both) if resume == "latest" else int(resume) in both


def model_check(values: dict, path: Path) -> Callable[["Weights"], None]:
    """What checks that weights are of the architecture that `path` has recorded.

    Raises:
        UserError: when that can't be one; from the check, when the weights don't fit.
    """
    from model import Zi2ZiConfig, Zi2ZiModel
    from utils.experiment import pth

    try:
        config = Zi2ZiConfig(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    shapes = Zi2ZiModel(config, "meta", is_training=False).netG  # which takes no memory: a misfit costs nothing
    return lambda weights: pth.check_fit(shapes, weights.state_dict, weights.path)


def clean(folder: Path, job: "Job") -> None:
    """Delete what a killed run left half written where this one writes."""
    from utils.files import remove_stray

    for place in {folder, *(item.path.parent for item in job.drawings)}:
        remove_stray(place)


def draw(
    model: "Zi2ZiModel", job: "Job", folder: Path, args: argparse.Namespace, weights: "Weights", ranks: "Ranks"
) -> int:
    """Draw every file and write the manifest, also of a run that is interrupted; returns the number that failed.

    Of several processes each draws its share, and the first writes the manifest of all.
    """
    from utils.drawing import draw
    from utils.experiment import manifest

    entries = list(job.failed) if ranks.is_main else []
    try:
        share = ranks.share(job.drawings)
        for entry in draw.draw_files(model, job.source, share, args.batch_size, args.skip_exist):
            entries.append(entry)
        entries = ranks.gather(entries)
    finally:
        if ranks.is_main:
            header = {"step": weights.step, "weights": weights.kind, "image_size": model.config.image_size}
            manifest.write_manifest(folder, header, entries)
    failed = [entry for entry in entries if "error" in entry]
    for entry in failed[:10]:
        print(f"{manifest.title_of(entry)}: {entry['error']}", file=sys.stderr)
    if len(failed) > 10:
        print(f"and {len(failed) - 10} more: see {folder / 'manifest.json'}", file=sys.stderr)
    say(f"{len(entries) - len(failed)} of {len(entries)} glyphs are in {folder}")
    return len(failed)


def compare(
    models: "dict[str, Zi2ZiModel]", job: "Job", folder: Path, args: argparse.Namespace, caption: str, step: int
) -> None:
    """Draw a sheet, and score each model where there is something to compare with."""
    from utils.drawing import compare
    from utils.files import write_json

    sheet = folder / ("compare.png" if args.compare else "sheet.png")
    pairs = [(item.label, item.key) for item in job.drawings]
    scores = compare.compare(
        models, job.source, job.truth, pairs, sheet, args.batch_size, caption, bool(args.compare), args.read
    )
    for heading, values in scores.items():
        say(f"{heading}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
    if scores:
        write_json(folder / "metrics.json", {"step": step, "characters": len(pairs), **scores})
    say(str(sheet))


def report_coverage(args: argparse.Namespace, job: "Job", folder: Path) -> None:
    """Say what the font of --missing covers with the drawings, and write coverage.json."""
    from utils.files import write_json
    from utils.fonts.coverage import charsets_for, coverage, coverage_lines
    from utils.glyphs.charset import unique
    from utils.glyphs.render import GlyphRenderer

    generated = "".join(item.key for item in job.drawings if item.path.is_file())
    font = GlyphRenderer(args.missing)
    have = font.covered()
    wanted = charsets_for(args.charset, unique(generated + have))
    found = coverage(have, generated, wanted, font.placeholders)
    say(*coverage_lines(found))
    write_json(folder / "coverage.json", {"font": args.missing, **found})


def find_suspects(models: "dict[str, Zi2ZiModel]", job: "Job", folder: Path, args: argparse.Namespace) -> None:
    """Rank the drawings, the most suspicious first: suspects.json, and a sheet of the worst."""
    from utils.drawing.suspects import draw_suspects, rank_drawings
    from utils.files import write_json

    ranked = rank_drawings(job.drawings, job.source, job.truth, list(models.values()), args.batch_size)
    write_json(folder / "suspects.json", {"suspects": ranked})
    draw_suspects(ranked, job.drawings, job.source, folder / "suspects.png")
    say(f"{len(ranked)} drawings, the most suspicious first, are in {folder / 'suspects.json'}")


def confirm(args: argparse.Namespace, model: dict) -> None:
    """Check the flags that describe the networks, and say which were left to the checkpoint.

    Raises:
        UserError: when a flag contradicts the checkpoint.
    """
    for name in CONFIRMED_SIZES + CONFIRMED_MODES + CONFIRMED_BLUR:
        given = getattr(args, name)
        if name not in model:  # weights without their discriminator
            continue
        if given is not None and given != model[name]:
            what = as_given(name, given)
            raise UserError(f"{what} contradicts the checkpoint, whose {name} is {model[name]}: leave the flag out")
        if given is None and model[name] is True:
            say(f"--{name} is taken from the checkpoint")
