"""What config.json has recorded of a run's flags, and what changes when it is resumed."""

from collections.abc import Mapping
from typing import Any

from utils.cli import Kept, as_given
from utils.errors import UserError, abbreviate
from utils.messages import _
from utils.training.flags import FLAGS, TrainOptions

# What an experiment was trained with whose config.json does not say it: it is older than the flag.
BEFORE = {
    "amp": "off",
    "val_ratio": 0.0,
    "Ladv_penalty": 1.0,
    "ink_weight": 0.0,
    "optimizer": "adam",
    "sharpness": 1.0,
    "generator": "zi2zi",
    "warp": 0.0,
    "deform": False,
    "skip": "concat",
    "attention": "",
    "levels": 0,
    "early_stop": 0,
    "checkpoint_minutes": 0.0,
}
LENGTHS = ("epoch", "max_steps", "max_minutes")
# Without the flag, each machine has its own.
OF_MACHINE = ("num_workers", "amp", "sample_steps", "checkpoint_minutes")


def replaced_lengths(given: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """The names of the recorded lengths of a run that the length given now replaces.

    The number of steps that --max_minutes came to stays where the same minutes are given again.
    """
    if not any(name in given for name in LENGTHS):
        return []
    again = "max_minutes" in given and given["max_minutes"] == saved.get("max_minutes")
    return [
        name
        for name in LENGTHS
        if name not in given and saved.get(name) is not None and not (name == "max_steps" and again)
    ]


def check_recorded(training: Mapping[str, Any], where: str) -> None:
    """Check the values of flags that `where`, a config.json, has recorded, as they are checked when typed.

    Raises:
        UserError: naming the first that no flag could have had.
    """
    for name, flag in FLAGS.items():
        value = training.get(name)
        if value is not None and not flag.accepts(value):
            raise UserError(
                _(
                    "{where} is damaged: training.{name} is {value}",
                    where=where,
                    name=name,
                    value=abbreviate(repr(value), 60),
                )
            )


def recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """What `config` says of the run that wrote it: the value of every flag, and which of them the machine chose."""
    return {**BEFORE, **config["training"], **config["model"]}


def chosen_by_machine(saved: Mapping[str, Any]) -> list[str]:
    """The names of those `recorded` values that the machine chose: another one chooses anew."""
    names = saved.get("of_machine")
    return [name for name in OF_MACHINE if name in names and name in saved] if isinstance(names, list) else []


def changes_on_resume(given: Mapping[str, Any], options: TrainOptions, config: Mapping[str, Any]) -> list[str]:
    """Lines that say which values change from here on.

    Raises:
        UserError: when a flag contradicts what the checkpoint is.
    """
    saved = recorded(config)
    changed = [
        name
        for name, value in given.items()
        if FLAGS[name].kept not in (Kept.NOT, Kept.SOURCE)
        and name != "fine_tune"  # what a run started from is in the past
        and value != saved.get(name)
    ]
    for name in changed:
        if FLAGS[name].kept is Kept.FIXED:
            raise UserError(
                _(
                    "{given} contradicts the checkpoint, whose {name} is {known}: leave the flag out, or start another "
                    "experiment",
                    given=as_given(name, given[name]),
                    name=name,
                    known=saved.get(name),
                )
            )
    lengths = " ".join(as_given(name, given[name]) for name in LENGTHS if name in given)
    lines = [f"{lengths} replaces {as_given(name, saved[name])}" for name in replaced_lengths(given, saved)]
    machine = [name for name in chosen_by_machine(saved) if name not in given]
    changed += [name for name in machine if getattr(options, name) != saved[name]]
    return lines + [
        _("{value} from here on, {before} before", value=as_given(name, getattr(options, name)), before=saved.get(name))
        for name in changed
    ]
