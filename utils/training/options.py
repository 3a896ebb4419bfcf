"""The flags of train.py: their defaults, and the one place where every value is chosen."""

import argparse
import math
import os
from typing import TYPE_CHECKING

from utils.cli import as_given, resolve
from utils.errors import UserError
from utils.training.recorded import LENGTHS, OF_MACHINE, chosen_by_machine, recorded, replaced_lengths

if TYPE_CHECKING:
    from utils.experiment.config import Paths


BUNDLED_FONTS = {"src_font": "bundled:source.otf", "dst_font": ["bundled:target.ttf"]}
DEFAULTS = {
    "experiment_dir": "experiments/default",
    "split_ratio": 0.1,
    "val_ratio": 0.05,
    "augment": True,
    "image_size": 256,
    "input_nc": 1,
    "ngf": 64,
    "ndf": 64,
    "embedding_dim": 128,
    "norm_type": "batch",
    "up_mode": "conv",
    "g_blur": True,
    "d_blur": False,
    "dropout": 0.5,
    "L1_penalty": 100.0,
    "ink_weight": 0.4,
    "Ladv_penalty": 0.0,
    "Lconst_penalty": 0.0,
    "Lcategory_penalty": 1.0,
    "optimizer": "muon",
    "lr": 0.001,
    "schedule": 0,
    "batch_size": 16,
    "accum_steps": 1,
    "ema_decay": 0.999,
    "sharpness": 1.5,
    "freeze_encoder": False,
    "compile": False,
    "checkpoint_steps": 500,
    "deterministic": False,
    "keep_checkpoints": 3,
    "early_stop": 0,
    "random_seed": 777,
}
# In place of the defaults: how the earlier ports were trained, without blur and EMA.
RECIPES = {
    "zi2zi": {
        "g_blur": False,
        "d_blur": False,
        "dropout": 0.5,
        "L1_penalty": 100.0,
        "ink_weight": 0.0,
        "Ladv_penalty": 1.0,
        "Lconst_penalty": 15.0,
        "Lcategory_penalty": 1.0,
        "optimizer": "adam",
        "lr": 0.001,
        "schedule": 20,
        "ema_decay": 0.0,
        "sharpness": 1.0,
    }
}
# The length of a run that says none: on a CPU, and on CUDA, where 100 passes over some hundred glyphs take minutes.
DEFAULT_LENGTH = {"epoch": 100}
DEFAULT_LENGTH_ON_CUDA = {"max_minutes": 60.0, "early_stop": 10}
AMP = ("off", "bf16", "fp16")
OPTIMIZERS = ("muon", "adam")
# Without fonts and without CUDA: a run of about six minutes on two cores, for a first look.
SMALL_DEFAULTS = {"image_size": 128, "ngf": 24, "ndf": 12, "max_steps": 1000}
OF_DISCRIMINATOR = ("d_blur", "ndf", "lr_D", "Lcategory_penalty")  # flags that only its training knows


def resolve_options(
    args: argparse.Namespace,
    paths: "Paths",
    config: dict | None,
    architecture: dict,
    on_cuda: bool,
    amp: str = "off",
) -> argparse.Namespace:
    """Choose every value: flag, checkpoint, data, recipe, small default where it applies, machine, default.

    The first of these that knows a value gives it. `config` is that of the run that goes on, `architecture` that of
    the weights a new run starts from, `amp` the precision that suits the device.

    Raises:
        UserError: for values that contradict each other.
    """
    if args.checkpoint_only_last:
        if args.keep_checkpoints not in (None, 1):
            raise UserError(f"--checkpoint_only_last contradicts --keep_checkpoints {args.keep_checkpoints}")
        args.keep_checkpoints = 1
    saved = recorded(config) if config else dict(architecture)
    for name in chosen_by_machine(saved):
        del saved[name]
    if args.fine_tune and config is None:
        saved.pop("embedding_num", None)
    for name in replaced_lengths(args, saved):
        del saved[name]
    data = {} if config else choose_data(args, paths, pretrained=bool(architecture))
    small = small_defaults(args) if data == BUNDLED_FONTS and not on_cuda else {}
    workers, sample_steps, minutes = (min(4, (os.cpu_count() or 2) - 1), 0, 10.0) if on_cuda else (0, 100, 0.0)
    if args.checkpoint_steps is not None and args.checkpoint_minutes is None:
        args.checkpoint_minutes = 0.0  # a choice of the user's, which outlives this run
    machine = dict(zip(OF_MACHINE, (workers, amp, sample_steps, minutes), strict=True))
    length = (
        {}
        if any(source.get(name) for source in (vars(args), saved, small) for name in LENGTHS)
        else DEFAULT_LENGTH_ON_CUDA
        if on_cuda
        else DEFAULT_LENGTH
    )
    options = resolve(args, saved, data, RECIPES.get(args.recipe, {}), small, machine, length, DEFAULTS)
    options.of_machine = [name for name in OF_MACHINE if getattr(args, name) is None and saved.get(name) is None]
    follows = saved.get("lr_D") == saved.get("lr")  # it was left out, so it goes where --lr goes
    if options.lr_D is None or (args.lr is not None and args.lr_D is None and follows):
        options.lr_D = options.lr
    for name in ("split_ratio", "val_ratio"):
        if not 0 <= getattr(options, name) <= 0.9:
            raise UserError(f"--{name} {getattr(options, name)} is not in 0 to 0.9")
    if options.max_minutes is not None and not 0 < options.max_minutes < math.inf:
        raise UserError(f"--max_minutes {options.max_minutes} is not above 0")
    if not 0 <= options.checkpoint_minutes < math.inf:
        raise UserError(f"--checkpoint_minutes {options.checkpoint_minutes} is not a number of 0 or more")
    if args.checkpoint_minutes and args.checkpoint_steps is not None:
        raise UserError("--checkpoint_minutes and --checkpoint_steps contradict each other: give one")
    return options


def choose_data(args: argparse.Namespace, paths: "Paths", pretrained: bool) -> dict:
    """The flags of the data that a new run trains on: as given, else EXPERIMENT_DIR/data, else the bundled fonts.

    Pretrained weights are not trained on the bundled fonts unless these are named.

    Raises:
        UserError: when they don't go together.
    """
    targets = bool(args.dst_font or args.dst_imgs)
    if args.data_dir and (args.src_font or targets):
        raise UserError("--data_dir holds sources and targets: leave out --src_font, --dst_font and --dst_imgs")
    if targets != (args.src_font is not None):
        raise UserError("--src_font and --dst_font (or --dst_imgs) go together: a source font and what to learn")
    if targets:
        return {}
    data_dir = args.data_dir or (str(paths.data) if paths.data.is_dir() and any(paths.data.iterdir()) else None)
    if data_dir and args.charset:
        raise UserError(f"--charset needs fonts: the pictures of {data_dir} have no names")
    if not data_dir and pretrained:
        raise UserError("what shall the weights be trained on? give --src_font and --dst_font, or --data_dir")
    return {"data_dir": data_dir} if data_dir else BUNDLED_FONTS


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


def idle_flags_line(args: argparse.Namespace, options: argparse.Namespace) -> str | None:
    """The line that says which of the given flags do nothing, since no discriminator is trained."""
    if options.Ladv_penalty:
        return None
    given = [
        as_given(name, getattr(args, name)) for name in OF_DISCRIMINATOR if getattr(args, name) not in (None, False)
    ]
    if not given:
        return None
    verb = "does" if len(given) == 1 else "do"
    return f"{', '.join(given)} {verb} nothing here: without --Ladv_penalty there is no discriminator to train"


def amp_line(args: argparse.Namespace, options: argparse.Namespace, device_type: str) -> str | None:
    """The line that says that a processor trains in another precision than it always did."""
    if device_type != "cpu" or options.amp == "off" or "amp" not in options.of_machine:
        return None
    return f"this processor has units for {options.amp}: training uses them (--amp off: float32 throughout)"


def settle_labels(options: argparse.Namespace, labels: list[str]) -> None:
    """Give --embedding_num its default, the number of labels.

    Raises:
        UserError: when it is less than that.
    """
    if options.embedding_num is None:
        options.embedding_num = len(labels)
    if options.embedding_num < len(labels):
        raise UserError(f"--embedding_num {options.embedding_num} has no room for {len(labels)} labels")
