"""Train zi2zi on pairs of glyphs: the same characters in a source font and in one or more target fonts."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import Parser, UserError, add_flag, as_given, at_least, run_script, say, step_latest_or_best
from utils.options import (
    AMP,
    DEFAULTS,
    NOT_RECORDED,
    OPTIMIZERS,
    RECIPES,
    amp_line,
    changes_on_resume,
    check_recorded,
    idle_flags_line,
    resolve_options,
    settle_labels,
    small_default_line,
)

if TYPE_CHECKING:  # the rest needs torch, and --help must not wait for that
    from utils.dataset import PairData
    from utils.distributed import Ranks
    from utils.experiment import Paths
    from utils.font_data import Earlier
    from utils.training import Trainer
    from utils.weights import Pretrained


def build_parser() -> Parser:
    """The command line of train.py; every default is None until `resolve` chooses the values."""
    parser = Parser(prog="train.py", description=__doc__)

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    data = parser.add_argument_group("data")
    flag(data, "src_font", "font that has every character: .ttf, .otf, or .ttc#INDEX (default: a bundled sans)")
    flag(data, "dst_font", "fonts to learn, each a label in this order (default: a bundled kai)", nargs="+")
    flag(data, "dst_imgs", "folders of drawn glyphs to learn, named 永.png or U+6C38.png, further labels", nargs="+")
    flag(data, "data_dir", "pairs side by side: a folder with train.obj or pictures (default: EXPERIMENT_DIR/data)")
    flag(data, "charset", "big5_1, big5, gb2312_1, gb2312, jis_1, ksx1001 or a text file (default: all shared Han)")
    flag(data, "split_ratio", "share of the characters that is held out, 0 to 0.9", type=float)
    flag(data, "val_ratio", "share of the others that chooses the best checkpoint, 0 to 0.9; 0: none", type=float)
    flag(data, "augment", "scale and shift both glyphs of a pair alike")
    flag(
        data, "num_workers", "processes that render glyphs (default 0 on the CPU, else up to 4)", type=at_least(0, 256)
    )

    net = parser.add_argument_group("networks")
    flag(net, "image_size", "pixels of a side: 2^k or 3*2^k from 64 to 1024", type=int)
    flag(net, "input_nc", "channels of an image", type=int, choices=(1, 3))
    flag(net, "ngf", "filters of the generator's first level", type=int)
    flag(net, "ndf", "filters of the discriminator's first level", type=int)
    flag(net, "embedding_num", "labels there is room for (default: the number of labels)", type=int)
    flag(net, "embedding_dim", "width of a label's embedding", type=int)
    flag(net, "norm_type", "normalisation: batch or instance", choices=("batch", "instance"))
    flag(net, "up_mode", "upsampling: conv, upsample or pixelshuffle", choices=("conv", "upsample", "pixelshuffle"))
    flag(net, "g_blur", "anti-aliased downsampling in the generator")
    flag(net, "d_blur", "anti-aliased downsampling in the discriminator")
    flag(net, "dropout", "dropout in the generator's deep levels, 0 to 1", type=float)

    learning = parser.add_argument_group("learning")
    flag(
        learning,
        "epoch",
        "passes over the data (default 100, where no other length is given; on CUDA --max_minutes 60 --early_stop 10)",
        type=at_least(1),
    )
    flag(learning, "max_steps", "steps to end at", type=at_least(1))
    flag(learning, "max_minutes", "time the steps and set --max_steps so that the run takes so long", type=float)
    flag(learning, "batch_size", "pairs in a micro-batch, of all processes together", type=at_least(1, 8192))
    flag(learning, "accum_steps", "micro-batches in a step", type=at_least(1))
    flag(learning, "optimizer", "what trains the generator: muon or adam", choices=OPTIMIZERS)
    flag(learning, "lr", "learning rate of the generator", type=float)
    flag(learning, "lr_D", "learning rate of the discriminator (default: as --lr)", type=float)
    flag(learning, "schedule", "epochs after which the learning rates halve, each time; 0: never", type=at_least(0))
    flag(learning, "recipe", "zi2zi: the settings of the earlier ports where no flag says otherwise", choices=RECIPES)
    flag(learning, "L1_penalty", "weight of the L1 loss", type=float)
    flag(learning, "ink_weight", "how much more an error in ink counts than one in paper in the L1 loss", type=float)
    flag(learning, "Ladv_penalty", "weight of the adversarial loss; 0: no discriminator", type=float)
    flag(learning, "Lconst_penalty", "weight of the constant-encoding loss", type=float)
    flag(learning, "Lcategory_penalty", "weight of the discriminator's category loss", type=float)
    flag(learning, "ema_decay", "decay of the EMA weights, 0 to 1; 0 turns EMA off", type=float)
    flag(learning, "sharpness", "contrast of what is drawn with the weights; the training is the same", type=float)
    flag(learning, "fine_tune", "start from the weights of another experiment, or of an earlier port", metavar="PATH")
    flag(learning, "freeze_encoder", "keep the generator's encoder as it is, when fine-tuning")
    flag(
        learning,
        "amp",
        "precision of a step: off, bf16 or fp16 (default: what the GPU or the CPU has units for)",
        choices=AMP,
    )
    flag(learning, "compile", "compile both networks with torch.compile, which takes minutes at the first steps")
    flag(learning, "random_seed", "seed of the split, the weights, the order and the augmentation", type=at_least(0))

    run = parser.add_argument_group("run")
    flag(run, "experiment_dir", "folder of the experiment")
    flag(run, "gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", nargs="+", metavar="ID")
    flag(run, "resume", "go on from a checkpoint: latest, best, or a step", type=step_latest_or_best)
    flag(run, "overwrite", "start anew where an experiment is already, deleting it", action="store_true")
    flag(run, "checkpoint_steps", "steps between checkpoints", type=at_least(1))
    flag(
        run,
        "checkpoint_minutes",
        "minutes between checkpoints, in place of steps; 0: by --checkpoint_steps (default 0, on CUDA 10)",
        type=float,
    )
    flag(
        run,
        "keep_checkpoints",
        "newest checkpoints to keep, beside the best: two whole, of older ones the weights to draw with",
        type=at_least(1),
    )
    flag(run, "checkpoint_only_last", "the same as --keep_checkpoints 1", action="store_true")
    flag(
        run,
        "sample_steps",
        "steps between sheets of held-out characters, and between scores; 0: every minute (default 100, on CUDA 0)",
        type=at_least(0),
    )
    flag(run, "deterministic", "compute the same bits each time, on CUDA too, where it is slower")
    flag(run, "early_stop", "scores in a row without a gain that end the run; 0: never", type=at_least(0))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run train.py with `argv`; returns the exit code, exits with 2 on a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Train, alone in the folder of the experiment, or as one of the processes that torchrun started."""
    from utils.distributed import choose_device, joined
    from utils.experiment import Paths
    from utils.files import locked

    paths = Paths(Path(args.experiment_dir or DEFAULTS["experiment_dir"]))
    device, warning = choose_device(args.gpu_ids)
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            if ranks.is_main:
                stack.enter_context(locked(paths.root, ".training.lock", "training in"))
                clean(paths)
        with ranks.together():
            trainer, begin = prepare(args, paths, ranks, warning)
        with ranks.together():
            if ranks.is_main:
                begin()
        return trainer.train()


def prepare(
    args: argparse.Namespace, paths: "Paths", ranks: "Ranks", warning: str | None
) -> "tuple[Trainer, Callable[[], None]]":
    """Join the rooms; whatever can be checked is checked here, and nothing is written.

    Returns what trains, and what makes the folder ready for it.
    """
    import torch

    from model import Zi2ZiConfig, Zi2ZiModel
    from utils import checkpoint
    from utils.distributed import check_ways, default_amp, tune
    from utils.experiment import FORMAT, read_config, write_json
    from utils.images import grid_maker
    from utils.memory import cut_to_fit
    from utils.train_state import check_parts
    from utils.training import Trainer

    device = ranks.device
    steps = find_resume_steps(args, paths)
    config = read_config(paths) if steps else None
    if steps and config is None:
        raise UserError(f"{paths.config} is gone: without it the checkpoints beside it can't be resumed")
    pretrained = find_pretrained(args, paths) if not steps else None
    if pretrained and not args.fine_tune:
        config = read_config(paths)  # of a run from these weights that ended before its first checkpoint
    if config:
        check_recorded(build_parser(), config["training"], str(paths.config))
    architecture = pretrained.architecture if pretrained else {}
    options = resolve_options(args, paths, config, architecture, on_cuda=device.type == "cuda", amp=default_amp(device))
    if options.batch_size % ranks.count:
        raise UserError(f"--batch_size {options.batch_size} is shared by {ranks.count} processes: make it a multiple")
    check_ways(device, options.amp, options.compile)
    grid_maker()  # the first sheet is drawn when there is something to lose
    say(warning)
    say(*(changes_on_resume(args, options, config) if config else [small_default_line(args, options)]))

    say(idle_flags_line(args, options), amp_line(args, options, device.type))
    data = open_data(args, options, config, pretrained.earlier if pretrained else None)
    settle_labels(options, data.labels)
    if pretrained and options.fine_tune:
        pretrained, said = pretrained.for_labels(data, options.embedding_num)
        say(*said)
    torch.manual_seed(options.random_seed)
    try:
        model_config = Zi2ZiConfig(**{name: getattr(options, name) for name in Zi2ZiConfig.field_names()})
    except ValueError as error:
        raise UserError(f"--{error}") from error
    parts = None
    shapes = Zi2ZiModel(model_config, "meta") if steps or pretrained else None  # no memory: a misfit costs nothing
    if steps:
        parts = choose_step(paths, steps, lambda found, step: check_parts(shapes, found, paths.checkpoint, step))
    elif pretrained:
        checkpoint.check_fit(shapes.netG, pretrained.generator, pretrained.path)
    tune(device, deterministic=options.deterministic)
    model = Zi2ZiModel(model_config, device)
    say(cut_to_fit(model, options.batch_size, ranks) if device.type != "cpu" else None)
    if options.compile:
        model.compile()

    def record() -> None:
        flags = {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}
        training = {name: value for name, value in flags.items() if name not in asdict(model_config)}
        content = {"format": FORMAT, "model": asdict(model_config), "data": data.describe(), "training": training}
        if pretrained and not options.fine_tune:
            content["went_on_from"] = pretrained.step
        write_json(paths.config, content)

    trainer = Trainer(model, data, options, paths, on_change=record, ranks=ranks)
    say(trainer.validation_line())
    trainer.check_disk()
    has_no_judge = checkpoint.DISCRIMINATOR not in parts if parts else pretrained and pretrained.discriminator is None
    if options.Ladv_penalty and has_no_judge:
        say("there is no trained discriminator: it starts from its seed")
    if pretrained:
        trainer.start_from(pretrained, step=0 if options.fine_tune else pretrained.step)
    if parts:
        trainer.load(parts, parts[checkpoint.STATE]["step"])
        say(f"going on from step {trainer.step}")
        parts.clear()
    elif pretrained:
        say(f"starting at step {trainer.step} from the weights alone of {pretrained.path}, with a fresh optimizer")
    elif args.resume:
        say(f"nothing to resume in {paths.root}: starting at step 0")

    def begin() -> None:
        if steps:
            say(set_aside_later(paths, trainer.step))
        if args.overwrite:
            clear(paths)
        for folder in (paths.checkpoint, paths.sample):
            folder.mkdir(exist_ok=True)
        record()

    return trainer, begin


def find_resume_steps(args: argparse.Namespace, paths: "Paths") -> list[int]:
    """The steps there are to go on from, none to start at step 0.

    Raises:
        UserError: when starting would overwrite an experiment, or the step asked for is not there.
    """
    from utils import checkpoint
    from utils.quality import find_best
    from utils.weights import foreign_steps

    steps = checkpoint.steps_with(paths.checkpoint, checkpoint.STATE)
    if args.resume is None:
        if steps and not args.overwrite:
            raise UserError(
                f"{paths.root} has a checkpoint at step {steps[-1]}: --resume latest goes on, --overwrite starts anew"
            )
        return []
    if args.overwrite:
        raise UserError("--resume and --overwrite contradict each other")
    if args.resume == "best":
        args.resume = str(find_best(paths.quality_csv, checkpoint.drawable_steps(paths.checkpoint)))
    if foreign_steps(paths):
        return []
    if args.resume == "latest":
        return steps
    step = int(args.resume)
    if step not in steps and step in checkpoint.drawable_steps(paths.checkpoint):
        path = checkpoint.drawable_path(paths.checkpoint, step)
        raise UserError(
            f"of step {step} only weights are left: a training goes on from {steps or 'no step'}; "
            f"--fine_tune {path} starts a new one from them"
        )
    if step not in steps:
        raise UserError(f"{paths.checkpoint} has no complete step {step}, only {steps or 'none'}")
    return [step]


def choose_step(paths: "Paths", steps: list[int], check: Callable[[dict, int], None]) -> dict[str, dict]:
    """The parts of the newest of `steps` that can be gone on from.

    Raises:
        UserError: when there is none; when there is but one it says what is wrong with it.
    """
    from utils import checkpoint

    parts, passed_over = checkpoint.newest_fitting(paths.checkpoint, steps, check)
    if parts is None and len(steps) == 1:
        raise UserError(passed_over[0].partition("passed over: ")[2])
    say(*passed_over)
    if parts is None:
        raise UserError(f"no checkpoint in {paths.checkpoint} can be gone on from")
    return parts


def set_aside_later(paths: "Paths", step: int) -> str | None:
    """Move later checkpoints, and a copy of the log that tells of them, out of the way; returns the line to say."""
    from utils import checkpoint
    from utils.files import write_whole

    later = checkpoint.later_files(paths.checkpoint, step)
    if not later:
        return None
    folder = checkpoint.folder_aside(paths.checkpoint, step, later)
    folder.mkdir(exist_ok=True)
    steps = sorted({int(path.name.partition("_")[0]) for path in later})
    for table in (paths.losses_csv, paths.quality_csv):
        if table.is_file():
            write_whole(folder / f"{table.stem}_to_{steps[-1]}.csv", table.read_bytes())
    checkpoint.set_aside(later, folder)
    return f"what is later than step {step} is now in {folder}: {', '.join(f'step {number}' for number in steps)}"


def find_pretrained(args: argparse.Namespace, paths: "Paths") -> "Pretrained | None":
    """The weights to start from: those of --fine_tune, or to --resume an earlier port's, which has no config.json.

    Raises:
        UserError: when they can't be read, a flag contradicts them, or they would be overwritten.
    """
    from utils import checkpoint
    from utils.weights import foreign_steps, read_pretrained, weights_folder

    if args.fine_tune == "":
        raise UserError("--fine_tune is empty: name an experiment, or a generator file")
    foreign = foreign_steps(paths)
    if foreign and args.resume is None and not args.overwrite:
        raise UserError(
            f"{paths.root} has weights of step {foreign[-1]}: --resume {foreign[-1]} goes on from them, "
            "--overwrite starts anew"
        )
    if args.resume and foreign:
        if args.fine_tune:
            raise UserError(f"--resume and --fine_tune contradict each other: {paths.root} has weights of its own")
        folder = weights_folder(paths)
        kind = "raw" if checkpoint.steps_with(folder, checkpoint.GENERATOR) else "ema"
        found, said = read_pretrained(paths.root, args.resume, kind, args.image_size)
        later = [step for step in foreign if step > found.step]
        if later and folder == paths.checkpoint:
            raise UserError(f"{folder} has later weights, of step {later[0]}, to be written over: move them away")
    elif args.fine_tune is not None:
        found, said = read_pretrained(Path(args.fine_tune), image_size=args.image_size)
    elif args.freeze_encoder:
        raise UserError("--freeze_encoder freezes what was trained before: give --fine_tune PATH or --resume too")
    else:
        return None
    say(*said)
    for name, value in found.architecture.items():
        given = getattr(args, name)
        if given not in (None, value) and not (args.fine_tune and name == "embedding_num"):
            raise UserError(f"{as_given(name, given)} contradicts {found.path}, which has {value}: leave the flag out")
    return found


def open_data(
    args: argparse.Namespace, options: argparse.Namespace, config: dict | None, earlier: "Earlier | None" = None
) -> "PairData":
    """The data of the run, as config.json has it or as the flags say; `earlier` is what it is fine-tuned from.

    Raises:
        UserError: when it can't be read.
    """
    from utils.experiment import data_from_config
    from utils.font_data import FontData
    from utils.record_data import RecordData

    if config:
        return data_from_config(config["data"], args.src_font, args.dst_font, args.dst_imgs, args.data_dir)
    seed, ratio = options.random_seed, options.split_ratio
    if options.data_dir:
        records = RecordData.open(Path(options.data_dir), options.input_nc, ratio, seed)
        say(*records.summary())
        return records
    targets = options.dst_font or [], options.dst_imgs or []
    data = FontData.from_fonts(options.src_font, *targets, options.charset, ratio, seed, options.val_ratio, earlier)
    say(*data.summary())
    if earlier is not None:
        say(*data.kept_lines(earlier, options.fine_tune))
    return data


def clean(paths: "Paths") -> None:
    """Delete what a killed run left half written."""
    from utils import checkpoint
    from utils.files import remove_stray

    checkpoint.remove_cut(paths.checkpoint)
    for folder in (paths.root, paths.sample):
        remove_stray(folder)


def clear(paths: "Paths") -> None:
    """Delete what an earlier run wrote into the folder; drawings and anything else stay."""
    from utils import checkpoint

    checkpoint.clear(paths.checkpoint)
    tables = (paths.losses_csv, paths.losses_png, paths.quality_csv, paths.quality_png, paths.report)
    for path in (*tables, paths.config, *paths.sample.glob("[0-9]*.png")):
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
