"""Train zi2zi on pairs of glyphs: the same characters in a source font and in one or more target fonts."""

import argparse
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import Parser, UserError, add_flag, at_least, resolve, run_script, step_or_latest

if TYPE_CHECKING:  # the rest needs torch, and --help must not wait for that
    from utils.experiment import Paths

BUNDLED_FONTS = {"src_font": "bundled:source.otf", "dst_font": ["bundled:target.ttf"]}
DEFAULTS = {
    "experiment_dir": "experiments/default",
    "split_ratio": 0.1,
    "augment": True,
    "image_size": 256,
    "input_nc": 1,
    "ngf": 64,
    "ndf": 64,
    "embedding_dim": 128,
    "norm_type": "batch",
    "up_mode": "conv",
    "g_blur": False,
    "d_blur": False,
    "dropout": 0.5,
    "L1_penalty": 100.0,
    "Lconst_penalty": 15.0,
    "Lcategory_penalty": 1.0,
    "lr": 0.001,
    "schedule": 20,
    "batch_size": 16,
    "accum_steps": 1,
    "epoch": 100,
    "ema_decay": 0.999,
    "checkpoint_steps": 500,
    "keep_checkpoints": 3,
    "sample_steps": 100,
    "random_seed": 777,
}
# Without fonts and without CUDA: a run of about four minutes on two cores, for a first look.
SMALL_DEFAULTS = {"image_size": 128, "ngf": 24, "ndf": 12, "max_steps": 600}
# What a checkpoint is: it can't change while its training goes on.
FIXED = {
    *("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim", "norm_type", "up_mode"),
    *("g_blur", "d_blur", "charset", "split_ratio", "random_seed"),
}
NOT_RECORDED = {"resume", "overwrite", "gpu_ids", "experiment_dir", "checkpoint_only_last"}


def build_parser() -> Parser:
    """The command line of train.py; every default is None until `resolve` chooses the values."""
    parser = Parser(prog="train.py", description=__doc__)

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    data = parser.add_argument_group("data")
    flag(data, "src_font", "font that has every character: .ttf, .otf, or .ttc#INDEX (default: a bundled sans)")
    flag(data, "dst_font", "fonts to learn, each a label in this order (default: a bundled kai)", nargs="+")
    flag(data, "charset", "big5_1, big5, gb2312_1, gb2312, jis_1, ksx1001 or a text file (default: all shared Han)")
    flag(data, "split_ratio", "share of the characters that is held out, 0 to 0.9", type=float)
    flag(data, "augment", "scale and shift both glyphs of a pair alike")
    flag(data, "num_workers", "processes that render glyphs (default 0 on the CPU, else up to 4)", type=at_least(0))

    net = parser.add_argument_group("networks")
    flag(net, "image_size", "pixels of a side: 2^k or 3*2^k from 64 to 1024", type=int)
    flag(net, "input_nc", "channels of an image", type=int, choices=(1, 3))
    flag(net, "ngf", "filters of the generator's first level", type=int)
    flag(net, "ndf", "filters of the discriminator's first level", type=int)
    flag(net, "embedding_num", "labels there is room for (default: the number of target fonts)", type=int)
    flag(net, "embedding_dim", "width of a label's embedding", type=int)
    flag(net, "norm_type", "normalisation: batch or instance", choices=("batch", "instance"))
    flag(net, "up_mode", "upsampling: conv, upsample or pixelshuffle", choices=("conv", "upsample", "pixelshuffle"))
    flag(net, "g_blur", "anti-aliased downsampling in the generator")
    flag(net, "d_blur", "anti-aliased downsampling in the discriminator")
    flag(net, "dropout", "dropout in the generator's deep levels, 0 to 1", type=float)

    learning = parser.add_argument_group("learning")
    flag(learning, "epoch", "passes over the data", type=at_least(1))
    flag(learning, "max_steps", "steps to end at, if that comes before --epoch", type=at_least(1))
    flag(learning, "max_minutes", "time the first steps and set --max_steps so that the run takes so long", type=float)
    flag(learning, "batch_size", "pairs in a micro-batch", type=at_least(1))
    flag(learning, "accum_steps", "micro-batches in a step", type=at_least(1))
    flag(learning, "lr", "learning rate of the generator", type=float)
    flag(learning, "lr_D", "learning rate of the discriminator (default: as --lr)", type=float)
    flag(learning, "schedule", "epochs after which the learning rates halve, each time; 0: never", type=at_least(0))
    flag(learning, "L1_penalty", "weight of the L1 loss", type=float)
    flag(learning, "Lconst_penalty", "weight of the constant-encoding loss", type=float)
    flag(learning, "Lcategory_penalty", "weight of the category loss", type=float)
    flag(learning, "ema_decay", "decay of the EMA weights, 0 to 1; 0 turns EMA off", type=float)
    flag(learning, "random_seed", "seed of the split, the weights, the order and the augmentation", type=at_least(0))

    run = parser.add_argument_group("run")
    flag(run, "experiment_dir", "folder of the experiment")
    flag(run, "gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", nargs="+", metavar="ID")
    flag(run, "resume", "go on from a checkpoint: latest, or a step", type=step_or_latest)
    flag(run, "overwrite", "start anew where an experiment is already, deleting it", action="store_true")
    flag(run, "checkpoint_steps", "steps between checkpoints", type=at_least(1))
    flag(run, "keep_checkpoints", "checkpoints to keep", type=at_least(1))
    flag(run, "checkpoint_only_last", "the same as --keep_checkpoints 1", action="store_true")
    flag(run, "sample_steps", "steps between sheets of held-out characters", type=at_least(1))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run train.py with `argv`; returns the exit code, exits with 2 on a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Join the rooms and train; whatever can be checked is checked before the first step."""
    import torch

    from model import Zi2ZiConfig, Zi2ZiModel
    from utils.distributed import choose_device
    from utils.experiment import FontData, Paths, read_config, write_json
    from utils.training import Trainer

    device, warning = choose_device(args.gpu_ids)
    paths = Paths(Path(args.experiment_dir or DEFAULTS["experiment_dir"]))
    step = find_resume_step(args, paths)
    config = read_config(paths) if step is not None else None
    options = resolve_options(args, config, on_cuda=device.type == "cuda")
    say(warning)
    say(*(changes_on_resume(args, config) if config else [small_default_line(args, options)]))

    if config:
        data = FontData.from_config(config["data"], args.src_font, args.dst_font)
    else:
        fonts = options.src_font, options.dst_font, options.charset
        data = FontData.from_fonts(*fonts, options.split_ratio, options.random_seed)
        say(*data.summary())
    torch.manual_seed(options.random_seed)
    try:
        model_config = Zi2ZiConfig(**{name: getattr(options, name) for name in Zi2ZiConfig.field_names()})
    except ValueError as error:
        raise UserError(f"--{error}") from error
    model = Zi2ZiModel(model_config, device)

    def record() -> None:
        flags = {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}
        training = {name: value for name, value in flags.items() if name not in asdict(model_config)}
        content = {"format": 1, "model": asdict(model_config), "data": data.describe(), "training": training}
        write_json(paths.config, content)

    trainer = Trainer(model, data, options, paths, on_change=record)
    trainer.check_disk()
    if args.overwrite:
        clear(paths)
    make_folders(paths)
    if step is not None:
        trainer.load(step)
        say(f"going on from step {step}")
    elif args.resume:
        say(f"nothing to resume in {paths.root}: starting at step 0")
    record()
    return trainer.train()


def say(*lines: str | None) -> None:
    """Print lines at once, so that they come before a progress bar."""
    for line in lines:
        if line:
            print(line, flush=True)


def find_resume_step(args: argparse.Namespace, paths: "Paths") -> int | None:
    """The step to go on from, or None to start at step 0.

    Raises:
        UserError: when that would overwrite an experiment, or the step asked for is not there.
    """
    from utils import checkpoint

    checkpoint.remove_temporary(paths.checkpoint)
    steps = checkpoint.steps_with(paths.checkpoint, checkpoint.STATE)
    if args.resume is None:
        if steps and not args.overwrite:
            raise UserError(
                f"{paths.root} has a checkpoint at step {steps[-1]}: --resume latest goes on, --overwrite starts anew"
            )
        return None
    if args.overwrite:
        raise UserError("--resume and --overwrite contradict each other")
    if args.resume != "latest":
        if int(args.resume) not in steps:
            raise UserError(f"{paths.checkpoint} has no complete step {args.resume}, only {steps or 'none'}")
        return int(args.resume)
    parts = (checkpoint.GENERATOR, checkpoint.DISCRIMINATOR, checkpoint.STATE)
    step, passed_over = checkpoint.newest_readable(paths.checkpoint, steps, parts)
    say(*passed_over)
    if steps and step is None:
        raise UserError(f"no checkpoint in {paths.checkpoint} can be read")
    return step


def resolve_options(args: argparse.Namespace, config: dict | None, on_cuda: bool) -> argparse.Namespace:
    """Choose every value: flag, then checkpoint, then the small default where it applies, then the default.

    Raises:
        UserError: for values that contradict each other.
    """
    if config is None and (args.src_font is None) != (args.dst_font is None):
        raise UserError("--src_font and --dst_font go together: a source font and the fonts to learn")
    if args.checkpoint_only_last:
        if args.keep_checkpoints not in (None, 1):
            raise UserError(f"--checkpoint_only_last contradicts --keep_checkpoints {args.keep_checkpoints}")
        args.keep_checkpoints = 1
    saved = {**config["training"], **config["model"]} if config else {}
    if args.max_steps is None and args.epoch is not None:
        saved.pop("max_steps", None)
    bundled = config is None and args.src_font is None
    small = small_defaults(args) if bundled and not on_cuda else {}
    workers = {"num_workers": min(4, (os.cpu_count() or 2) - 1) if on_cuda else 0}
    options = resolve(args, saved, BUNDLED_FONTS if bundled else {}, small, workers, DEFAULTS)
    follows = saved.get("lr_D") == saved.get("lr")  # it was left out, so it goes where --lr goes
    if options.lr_D is None or (args.lr is not None and args.lr_D is None and follows):
        options.lr_D = options.lr
    if options.embedding_num is None:
        options.embedding_num = len(options.dst_font)
    if options.embedding_num < len(options.dst_font):
        raise UserError(f"--embedding_num {options.embedding_num} has no room for {len(options.dst_font)} target fonts")
    if not 0 <= options.split_ratio <= 0.9:
        raise UserError(f"--split_ratio {options.split_ratio} is not in 0 to 0.9")
    if options.max_minutes is not None and not 0 < options.max_minutes < math.inf:
        raise UserError(f"--max_minutes {options.max_minutes} is not above 0")
    return options


def small_defaults(args: argparse.Namespace) -> dict:
    """SMALL_DEFAULTS, without its length when the user has given one."""
    has_length = args.epoch is not None or args.max_minutes is not None
    return {name: value for name, value in SMALL_DEFAULTS.items() if not (name == "max_steps" and has_length)}


def small_default_line(args: argparse.Namespace, options: argparse.Namespace) -> str | None:
    """The line that says what a run without fonts and without CUDA is scaled down to."""
    if options.src_font != BUNDLED_FONTS["src_font"]:
        return None
    used = [
        f"--{name} {value}"
        for name, value in small_defaults(args).items()
        if getattr(args, name) is None and getattr(options, name) == value
    ]
    return f"no fonts given and no CUDA device: a small run on the bundled fonts, {' '.join(used)}" if used else None


def changes_on_resume(args: argparse.Namespace, config: dict) -> list[str]:
    """Lines that say which values change from here on.

    Raises:
        UserError: when a flag contradicts what the checkpoint is.
    """
    saved = {**config["training"], **config["model"]}
    changed = [
        name
        for name, value in vars(args).items()
        if name not in NOT_RECORDED | BUNDLED_FONTS.keys() and value is not None and value != saved.get(name)
    ]
    for name in changed:
        if name in FIXED:
            raise UserError(
                f"--{name} {getattr(args, name)} contradicts the checkpoint, which has {saved[name]}: "
                f"leave the flag out, or start another experiment"
            )
    return [f"--{name} {getattr(args, name)} from here on, {saved.get(name)} before" for name in changed]


def clear(paths: "Paths") -> None:
    """Delete what an earlier run wrote into the folder; drawings and anything else stay."""
    from utils import checkpoint

    checkpoint.clear(paths.checkpoint)
    for path in (paths.losses_csv, paths.losses_png, paths.config, *paths.sample.glob("[0-9]*.png")):
        path.unlink(missing_ok=True)


def make_folders(paths: "Paths") -> None:
    """Create the experiment's folders.

    Raises:
        UserError: when that can't be done.
    """
    for folder in (paths.checkpoint, paths.sample):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} can't be made: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
