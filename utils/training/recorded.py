"""What config.json has recorded of a run's flags, and what changes when it goes on."""

import argparse
from typing import Any

from utils.cli import as_given
from utils.errors import UserError, abbreviate

# What an experiment was trained with whose config.json does not say it: it is older than the flag.
BEFORE = {
    "amp": "off",
    "val_ratio": 0.0,
    "Ladv_penalty": 1.0,
    "ink_weight": 0.0,
    "optimizer": "adam",
    "sharpness": 1.0,
    "early_stop": 0,
    "checkpoint_minutes": 0.0,
}
LENGTHS = ("epoch", "max_steps", "max_minutes")
# What a checkpoint is: it can't change while its training goes on.
FIXED = {
    *("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim", "norm_type", "up_mode"),
    *("g_blur", "d_blur", "charset", "split_ratio", "val_ratio", "random_seed", "recipe", "optimizer"),
}
# Without the flag, each machine has its own.
OF_MACHINE = ("num_workers", "amp", "sample_steps", "checkpoint_minutes")
NOT_RECORDED = {"resume", "overwrite", "gpu_ids", "experiment_dir", "checkpoint_only_last"}
SOURCES = {"src_font", "dst_font", "dst_imgs", "data_dir"}  # given again, they say where the data lies now


def replaced_lengths(args: argparse.Namespace, saved: dict[str, Any]) -> list[str]:
    """The names of the recorded lengths of a run that the length given now takes the place of.

    The number of steps that --max_minutes came to stays where the same minutes are given again.
    """
    if all(getattr(args, name) is None for name in LENGTHS):
        return []
    again = args.max_minutes is not None and args.max_minutes == saved.get("max_minutes")
    return [
        name
        for name in LENGTHS
        if getattr(args, name) is None and saved.get(name) is not None and not (name == "max_steps" and again)
    ]


def check_recorded(parser: argparse.ArgumentParser, training: dict, where: str) -> None:
    """Check the values of flags that `where`, a config.json, has recorded, as `parser` checks them when typed.

    Raises:
        UserError: naming the first that no flag could have had.
    """
    for action in parser._actions:
        value = training.get(action.dest)
        if value is not None and not _could_be_given(action, value):
            raise UserError(f"{where} is damaged: training.{action.dest} is {abbreviate(repr(value), 60)}")


def _could_be_given(action: argparse.Action, value: Any) -> bool:
    if action.nargs == 0:
        return isinstance(value, bool)
    if action.nargs == "+":
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    if action.type is None:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return action.type(repr(value)) == value and (action.choices is None or value in action.choices)
    except (ValueError, argparse.ArgumentTypeError):
        return False


def recorded(config: dict) -> dict[str, Any]:
    """What `config` says of the run that wrote it: the value of every flag, and which of them the machine chose."""
    return {**BEFORE, **config["training"], **config["model"]}


def chosen_by_machine(saved: dict[str, Any]) -> list[str]:
    """The names of those `recorded` values that the machine chose: another one chooses anew."""
    names = saved.get("of_machine")
    return [name for name in OF_MACHINE if name in names and name in saved] if isinstance(names, list) else []


def changes_on_resume(args: argparse.Namespace, options: argparse.Namespace, config: dict) -> list[str]:
    """Lines that say which values change from here on.

    Raises:
        UserError: when a flag contradicts what the checkpoint is.
    """
    saved = recorded(config)
    ignored = NOT_RECORDED | SOURCES | {"fine_tune"}  # what a run started from is in the past
    changed = [
        name
        for name, value in vars(args).items()
        if name not in ignored and value is not None and value != saved.get(name)
    ]
    for name in changed:
        if name in FIXED:
            raise UserError(
                f"{as_given(name, getattr(args, name))} contradicts the checkpoint, whose {name} is {saved.get(name)}: "
                f"leave the flag out, or start another experiment"
            )
    replaced = replaced_lengths(args, saved)
    given = " ".join(as_given(name, getattr(args, name)) for name in LENGTHS if getattr(args, name) is not None)
    lines = [f"{given} takes the place of {as_given(name, saved[name])}" for name in replaced]
    machine = [name for name in chosen_by_machine(saved) if getattr(args, name) is None]
    changed += [name for name in machine if getattr(options, name) != saved[name]]
    return lines + [
        f"{as_given(name, getattr(options, name))} from here on, {saved.get(name)} before" for name in changed
    ]
