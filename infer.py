"""Draw characters with a trained model: its EMA weights where there are any."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import (
    Parser,
    UserError,
    add_flag,
    as_given,
    at_least,
    resolve,
    run_script,
    say,
    step_latest_or_best,
)
from utils.labels import label_or_blend

if TYPE_CHECKING:  # the rest needs torch, and --help must not wait for that
    import torch

    from model import Zi2ZiModel
    from utils.distributed import Ranks
    from utils.jobs import Job
    from utils.weights import Weights

DEFAULTS = {
    "experiment_dir": "experiments/default",
    "resume": "latest",
    "weights": "auto",
    "image_ext": "png",
    "filename_rule": "unicode_hex",
}
# Known from the checkpoint; a flag confirms it or is an error.
CONFIRMED_SIZES = ("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim")
CONFIRMED_MODES = ("norm_type", "up_mode")
CONFIRMED_BLUR = ("g_blur", "d_blur")


def build_parser() -> Parser:
    """The command line of infer.py."""
    parser = Parser(prog="infer.py", description=__doc__)

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    what = parser.add_argument_group("what to draw (without any of these: the held-out characters, with a score)")
    flag(what, "src_txt", "characters, or U+6C38")
    flag(what, "src_txt_file", "text file of characters, UTF-8")
    flag(what, "obj_path", "train.obj or val.obj file, or a folder of such pictures, whose pairs are drawn and scored")
    flag(what, "charset", "big5_1, big5, gb2312_1, gb2312, jis_1, ksx1001 or a text file")
    flag(what, "missing", "font: of these characters draw only those that it lacks, and report what it covers")

    how = parser.add_argument_group("how")
    flag(how, "src_font", "font to draw from: .ttf, .otf, or .ttc#INDEX (default: the source font of the training)")
    flag(how, "label", "labels to draw, or blends such as 0:0.7,1:0.3", nargs="+", type=label_or_blend)
    flag(how, "run_all_label", "draw every label", action="store_true")
    flag(how, "weights", "auto (EMA where there is one), ema or raw", choices=("auto", "ema", "raw"))
    flag(how, "sharpness", "contrast of what is drawn (default: as in the training)", type=float)
    flag(how, "compare", "also draw raw and EMA weights side by side, and score both", action="store_true")
    flag(how, "legibility", "score how many glyphs an OCR reads (needs rapidocr, onnxruntime)", action="store_true")
    flag(how, "suspects", "rank the drawings by how odd they are, and draw a sheet of the worst", action="store_true")
    flag(how, "batch_size", "characters drawn at once (default: 16 on the CPU, more on a GPU)", type=at_least(1, 8192))

    where = parser.add_argument_group("where")
    flag(where, "experiment_dir", "folder of the experiment")
    flag(where, "resume", "checkpoint to draw with: latest, best, or a step", type=step_latest_or_best)
    flag(where, "gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", nargs="+", metavar="ID")
    flag(where, "infer_dir", "folder for the drawings (default: EXPERIMENT_DIR/infer)")
    flag(where, "image_ext", "png, jpg, bmp or tif, or svg for outlines", choices=("png", "jpg", "bmp", "tif", "svg"))
    rules = ("unicode_hex", "unicode_int", "char", "seq")
    flag(where, "filename_rule", "unicode_hex: U+6C38, unicode_int: 27704, char: 永, seq: 00001", choices=rules)
    flag(where, "skip_exist", "leave files that are there already as they are", action="store_true")

    font = parser.add_argument_group("a font of the drawings (python -m utils.font_export has more flags)")
    flag(font, "font_out", "font to make of the drawings: .otf or .ttf")
    flag(font, "font_name", "name of its family (default: that of the base, or of the file)")
    flag(font, "font_name_en", "name of the family in English, beside a Chinese one (default: its code points)")
    flag(font, "base", "font to complete with the drawings")
    flag(font, "exclude_suspects", "worst of the suspects to leave out of the font (default 0)", type=at_least(0))

    confirm = parser.add_argument_group("known from the checkpoint (accepted, and checked against it)")
    for name in CONFIRMED_BLUR:
        flag(confirm, name, "anti-aliased downsampling", action=argparse.BooleanOptionalAction)
    for name in CONFIRMED_MODES:
        flag(confirm, name, "as in train.py")
    for name in CONFIRMED_SIZES:
        flag(confirm, name, "as in train.py", type=int)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run infer.py with `argv`; returns the exit code, exits with 2 on a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Join the rooms and draw; returns 1 when something could not be drawn."""
    from utils import font_export
    from utils.distributed import choose_device, joined
    from utils.files import locked

    args = resolve(args, DEFAULTS)
    if args.font_out:
        check_font_flags(args)
    device, warning = choose_device(args.gpu_ids)
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            models, weights, job, folder = prepare(args, device, warning)
            if ranks.is_main:
                stack.enter_context(locked(folder, ".drawing.lock", "drawing into"))
                clean(folder, job)
        failed = draw(models["EMA" if weights.kind == "ema" else "raw"], job, folder, args, weights, ranks)
        if ranks.is_main and (job.scored or args.compare):
            caption = f"{Path(args.experiment_dir).name}, step {weights.step}"
            compare(models, job, folder, args, caption, weights.step)
        if ranks.is_main and args.missing:
            report_coverage(args, job, folder)
        if ranks.is_main and args.suspects:
            find_suspects(models, job, folder, args)
    if args.font_out and ranks.is_main:
        failed += font_export.run(font_flags(args))
    return 1 if failed else 0


def check_font_flags(args: argparse.Namespace) -> None:
    """Check the flags of a font that can be checked before it is known what is drawn.

    Raises:
        UserError: when no font could be made.
    """
    from utils import font_export

    if args.run_all_label or len(args.label or [0]) > 1:
        raise UserError("--font_out makes a font of one label: name it with --label")
    if args.image_ext == "svg":
        raise UserError("--font_out traces pictures: leave out --image_ext svg")
    flags = font_flags(args)
    if args.exclude_suspects and not args.suspects:
        font_export.read_suspects(font_export.folder_of_drawings(flags), flags.label)


def font_flags(args: argparse.Namespace) -> argparse.Namespace:
    """The flags of the font export, of which infer.py has some."""
    from utils import font_export

    one = argparse.Namespace(**{**vars(args), "label": (args.label or [0])[0]})
    return resolve(font_export.flags_from(one), font_export.DEFAULTS)


def prepare(
    args: argparse.Namespace, device: "torch.device", warning: str | None
) -> "tuple[dict[str, Zi2ZiModel], Weights, Job, Path]":
    """Join the rooms: the models by their headings, the weights to draw with, what to draw, and the folder for it.

    Raises:
        UserError: when the flags, or what lies in the experiment, don't allow it.
    """
    from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
    from utils import checkpoint
    from utils.distributed import drawing_batch, tune
    from utils.experiment import Paths, read_config
    from utils.font_export import check_drawn
    from utils.jobs import choose_job
    from utils.legibility import glyph_reader
    from utils.quality import find_best
    from utils.weights import find_kinds, foreign_config, weights_folder

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
        checkpoint.fit(model.netG, weights.state_dict, weights.path)
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
    from utils import checkpoint

    parts = (checkpoint.GENERATOR, checkpoint.EMA_GENERATOR)
    both = set.intersection(*(set(checkpoint.steps_with(checkpoints, part)) for part in parts))
    return bool(both) if resume == "latest" else int(resume) in both


def model_check(values: dict, path: Path) -> Callable[["Weights"], None]:
    """What checks that weights are of the architecture that `path` has recorded.

    Raises:
        UserError: when that can't be one; from the check, when the weights don't fit.
    """
    from model import Zi2ZiConfig, Zi2ZiModel
    from utils import checkpoint

    try:
        config = Zi2ZiConfig(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    shapes = Zi2ZiModel(config, "meta", is_training=False).netG  # which takes no memory: a misfit costs nothing
    return lambda weights: checkpoint.check_fit(shapes, weights.state_dict, weights.path)


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
    from utils import drawing

    entries = list(job.failed) if ranks.is_main else []
    try:
        share = ranks.share(job.drawings)
        for entry in drawing.draw_files(model, job.source, share, args.batch_size, args.skip_exist):
            entries.append(entry)
        entries = ranks.gather(entries)
    finally:
        if ranks.is_main:
            header = {"step": weights.step, "weights": weights.kind, "image_size": model.config.image_size}
            drawing.write_manifest(folder, header, entries)
    failed = [entry for entry in entries if "error" in entry]
    for entry in failed[:10]:
        print(f"{drawing.title_of(entry)}: {entry['error']}", file=sys.stderr)
    if len(failed) > 10:
        print(f"and {len(failed) - 10} more: see {folder / 'manifest.json'}", file=sys.stderr)
    say(f"{len(entries) - len(failed)} of {len(entries)} glyphs are in {folder}")
    return len(failed)


def compare(
    models: "dict[str, Zi2ZiModel]", job: "Job", folder: Path, args: argparse.Namespace, caption: str, step: int
) -> None:
    """Draw a sheet, and score each model where there is something to compare with."""
    from utils import drawing
    from utils.experiment import write_json

    sheet = folder / ("compare.png" if args.compare else "sheet.png")
    pairs = [(item.label, item.key) for item in job.drawings]
    scores = drawing.compare(
        models, job.source, job.truth, pairs, sheet, args.batch_size, caption, bool(args.compare), args.read
    )
    for heading, values in scores.items():
        say(f"{heading}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
    if scores:
        write_json(folder / "metrics.json", {"step": step, "characters": len(pairs), **scores})
    say(str(sheet))


def report_coverage(args: argparse.Namespace, job: "Job", folder: Path) -> None:
    """Say what the font of --missing covers with the drawings, and write coverage.json."""
    from utils.charset import unique
    from utils.coverage import charsets_for, coverage, coverage_lines
    from utils.experiment import write_json
    from utils.render import GlyphRenderer

    generated = "".join(item.key for item in job.drawings if item.path.is_file())
    font = GlyphRenderer(args.missing)
    have = font.covered()
    wanted = charsets_for(args.charset, unique(generated + have))
    found = coverage(have, generated, wanted, font.placeholders)
    say(*coverage_lines(found))
    write_json(folder / "coverage.json", {"font": args.missing, **found})


def find_suspects(models: "dict[str, Zi2ZiModel]", job: "Job", folder: Path, args: argparse.Namespace) -> None:
    """Rank the drawings, the most suspicious first: suspects.json, and a sheet of the worst."""
    from utils.experiment import write_json
    from utils.suspects import draw_suspects, rank_drawings

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


if __name__ == "__main__":
    sys.exit(main())
