"""The one place where the value of every flag of a training is chosen."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from utils.cli import as_given
from utils.data.loader import MOST_WARPED
from utils.errors import UserError
from utils.experiment.calibration import check_fixed
from utils.experiment.config import Paths
from utils.messages import _
from utils.training.flags import DEFAULTS, OF_GENERATOR, RECIPES, TrainOptions
from utils.training.recorded import LENGTHS, OF_MACHINE, chosen_by_machine, recorded, replaced_lengths

BUNDLED_FONTS = {"src_font": "bundled:source.otf", "dst_font": ["bundled:target.ttf"]}
# The length of a run that says none: on a CPU, and on CUDA, where 100 passes over some hundred glyphs take minutes.
DEFAULT_LENGTH = {"epoch": 100}
DEFAULT_LENGTH_ON_CUDA = {"max_minutes": 60.0, "early_stop": 10}
# Without fonts and without CUDA: a run of less than five minutes on two cores with bf16 units, for a first look.
SMALL_DEFAULTS = {"image_size": 128, "ngf": 24, "ndf": 12, "max_steps": 800}
OF_DISCRIMINATOR = ("d_blur", "ndf", "lr_D", "Lcategory_penalty")  # flags that only its training knows
Given = Mapping[str, Any]  # the flags that the user gave


@dataclass(frozen=True)
class Choice:
    """The value of every flag, and where each comes from."""

    options: TrainOptions
    origins: Mapping[str, str]

    def lines(self) -> list[str]:
        """A line for each value."""
        values = {name: getattr(self.options, name) for name in TrainOptions.names()}
        wide = max(map(len, values))
        return [f"{name:{wide}}  {_shown(value)}  ({self.origins[name]})" for name, value in values.items()]


def _shown(value: Any) -> str:
    """A value as it would be typed."""
    if value is None:
        return "-"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def with_implied(given: Given) -> dict[str, Any]:
    """The given flags, and those that they stand for.

    Raises:
        UserError: for flags that contradict each other.
    """
    given = dict(given)
    if given.get("checkpoint_only_last"):
        if given.get("keep_checkpoints", 1) != 1:
            raise UserError(
                _(
                    "--checkpoint_only_last contradicts --keep_checkpoints {keep_checkpoints}",
                    keep_checkpoints=given["keep_checkpoints"],
                )
            )
        given["keep_checkpoints"] = 1
    if given.get("checkpoint_minutes") and "checkpoint_steps" in given:
        raise UserError(_("--checkpoint_minutes and --checkpoint_steps contradict each other: give one"))
    if "checkpoint_steps" in given:
        given.setdefault("checkpoint_minutes", 0.0)  # a choice of the user's, which outlives this run
    return given


def resolve_options(
    given: Given,
    paths: Paths,
    config: dict | None,
    architecture: Given,
    on_cuda: bool,
    amp: str = "off",
    *,
    start: Given | None = None,
) -> Choice:
    """Choose every value: flag, checkpoint, data, recipe, base, small default, machine, kind, default.

    The first of these that knows a value gives it; what suits the kind of generator comes before the defaults.
    `given` is what `with_implied` returns, `config` that of a run that is resumed, `architecture` that of the weights
    a new run starts from, `amp` the precision that suits the device, `start` what suits a run from the base.

    Raises:
        UserError: for values that contradict each other.
    """
    start = start or {}
    saved = saved_values(given, config, architecture, bool(given.get("fine_tune") or start))
    data = {} if config else choose_data(given, paths, pretrained=bool(architecture))
    small = small_defaults(given) if data == BUNDLED_FONTS and not on_cuda else {}
    length = {}
    if any(name in given for name in LENGTHS):
        start = {name: value for name, value in start.items() if name not in LENGTHS}
    if not any(source.get(name) for source in (given, saved, small, start) for name in LENGTHS):
        length = DEFAULT_LENGTH_ON_CUDA if on_cuda else DEFAULT_LENGTH
    sources: dict[str, Given] = {
        "flag": given,
        "checkpoint": saved,
        "data": data,
        "recipe": RECIPES.get(given.get("recipe", ""), {}),
        "base": start,
        "small default": small,
        "machine": machine_defaults(on_cuda, amp),
        "generator": {},
        "default": {**DEFAULTS, **length},
    }
    sources["generator"] = OF_GENERATOR[first_known(sources)[0]["generator"]]
    values, origins = first_known(sources)
    follows = saved.get("lr_D") == saved.get("lr")  # it was left out, so it goes where --lr goes
    if values["lr_D"] is None or ("lr" in given and "lr_D" not in given and follows):
        values["lr_D"], origins["lr_D"] = values["lr"], "as --lr"
    of_machine = [name for name in OF_MACHINE if name not in given and saved.get(name) is None]
    options = TrainOptions(**values, of_machine=of_machine)
    check_ranges(options)
    return Choice(options, origins)


def saved_values(given: Given, config: dict | None, architecture: Given, fine_tuned: bool) -> dict[str, Any]:
    """What a run that goes on has recorded, or what the weights of a new one are; without what is chosen anew."""
    saved = recorded(config) if config else dict(architecture)
    for name in (*chosen_by_machine(saved), *replaced_lengths(given, saved)):
        del saved[name]
    if fine_tuned and config is None:
        saved.pop("embedding_num", None)
    return saved


def first_known(sources: Mapping[str, Given]) -> tuple[dict[str, Any], dict[str, str]]:
    """For each flag of a training the value from the first of `sources` that knows one, and the name of that."""
    values, origins = {}, {}
    for name in TrainOptions.names():
        known = [(source[name], where) for where, source in sources.items() if source.get(name) is not None]
        values[name], origins[name] = known[0] if known else (None, "not set")
    return values, origins


def machine_defaults(on_cuda: bool, amp: str) -> dict[str, Any]:
    """What a machine chooses where nothing else does."""
    workers, sample_steps, minutes = (min(4, (os.cpu_count() or 2) - 1), 0, 10.0) if on_cuda else (0, 100, 0.0)
    return {"num_workers": workers, "amp": amp, "sample_steps": sample_steps, "checkpoint_minutes": minutes}


def check_ranges(options: TrainOptions) -> None:
    """Check the numbers that only a training knows; those of the networks their config checks.

    Raises:
        UserError: for the first that is out of range.
    """
    for name in ("split_ratio", "val_ratio"):
        if not 0 <= getattr(options, name) <= 0.9:
            raise UserError(_("--{name} {value} is not in 0 to 0.9", name=name, value=getattr(options, name)))
    if options.max_minutes is not None and not 0 < options.max_minutes < math.inf:
        raise UserError(_("--max_minutes {max_minutes} is not above 0", max_minutes=options.max_minutes))
    if not 0 <= options.warp <= MOST_WARPED:
        raise UserError(_("--warp {warp} is not in 0 to {most_warped:g}", warp=options.warp, most_warped=MOST_WARPED))
    check_fixed(options.weight_bias, options.sharpness)
    if not 0 <= options.checkpoint_minutes < math.inf:
        raise UserError(
            _(
                "--checkpoint_minutes {checkpoint_minutes} is not a number of 0 or more",
                checkpoint_minutes=options.checkpoint_minutes,
            )
        )


def choose_data(given: Given, paths: Paths, pretrained: bool) -> dict[str, Any]:
    """The flags of the data that a new run trains on: as given, else EXPERIMENT_DIR/data, else the bundled fonts.

    Pretrained weights are not trained on the bundled fonts unless these are named.

    Raises:
        UserError: when they don't go together.
    """
    source, targets = "src_font" in given, "dst_font" in given or "dst_imgs" in given
    if given.get("data_dir") and (given.get("src_font") or targets):
        raise UserError(_("--data_dir holds sources and targets: leave out --src_font, --dst_font and --dst_imgs"))
    if targets != source:
        raise UserError(_("--src_font and --dst_font (or --dst_imgs) go together: a source font and what to learn"))
    if targets:
        return {}
    data_dir = given.get("data_dir") or (str(paths.data) if paths.data.is_dir() and any(paths.data.iterdir()) else None)
    if data_dir and given.get("charset"):
        raise UserError(_("--charset needs fonts: the pictures of {data_dir} have no names", data_dir=data_dir))
    if not data_dir and pretrained:
        raise UserError(_("which data should the weights be trained on? give --src_font and --dst_font, or --data_dir"))
    return {"data_dir": data_dir} if data_dir else BUNDLED_FONTS


def is_bundled(options: TrainOptions) -> bool:
    """Whether a run is on the bundled fonts alone."""
    return {name: getattr(options, name) for name in BUNDLED_FONTS} == BUNDLED_FONTS and not options.dst_imgs


def small_defaults(given: Given) -> dict[str, Any]:
    """SMALL_DEFAULTS, without its length when the user has given one."""
    has_length = "epoch" in given or "max_minutes" in given
    return {name: value for name, value in SMALL_DEFAULTS.items() if not (name == "max_steps" and has_length)}


def small_default_line(choice: Choice) -> str | None:
    """The line that says what a run without fonts and without CUDA is scaled down to."""
    small = [name for name in SMALL_DEFAULTS if choice.origins[name] == "small default"]
    if not small:
        return None
    used = " ".join(as_given(name, getattr(choice.options, name)) for name in small)
    return _("no fonts given and no CUDA device: a small run on the bundled fonts, {used}", used=used)


def idle_flags_lines(given: Given, options: TrainOptions) -> list[str]:
    """Lines that say which of the given flags do nothing, since what they belong to is left out."""
    reasons = {}
    if not options.Ladv_penalty:
        reasons[OF_DISCRIMINATOR] = _("without --Ladv_penalty there is no discriminator to train")
    if not options.augment:
        reasons[("warp",)] = _("with --no-augment the glyphs stay as they are")
    lines = []
    for names, reason in reasons.items():
        idle = [as_given(name, given[name]) for name in names if given.get(name, False) is not False]
        if idle:
            lines.append(f"{', '.join(idle)} {'does' if len(idle) == 1 else 'do'} nothing here: {reason}")
    return lines


def amp_line(options: TrainOptions, device_type: str) -> str | None:
    """The line that says that a processor trains in another precision than it always did."""
    if device_type != "cpu" or options.amp == "off" or "amp" not in options.of_machine:
        return None
    return _("training in {amp}, which this processor has units for (--amp off trains in float32)", amp=options.amp)


def with_labels(choice: Choice, count: int) -> Choice:
    """The choice with room for `count` labels, where --embedding_num was left out.

    Raises:
        UserError: when it has no room for them.
    """
    room = choice.options.embedding_num
    if room is None:
        return Choice(replace(choice.options, embedding_num=count), {**choice.origins, "embedding_num": "data"})
    if room < count:
        raise UserError(_("--embedding_num {room} has no room for {count} labels", room=room, count=count))
    return choice
