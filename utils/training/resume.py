"""What a training starts from, and what it sets aside or deletes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import Kept, as_given
from utils.errors import UserError
from utils.experiment import checkpoint
from utils.experiment.config import Paths, read_config
from utils.experiment.tables import find_best
from utils.experiment.weights import foreign_steps, weights_folder
from utils.files import remove_stray, write_whole
from utils.messages import _
from utils.training import base
from utils.training.board import EVENTS
from utils.training.flags import FLAGS
from utils.training.pretrained import Pretrained, read_pretrained
from utils.training.recorded import check_recorded, chosen_by_machine, replaced_lengths

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What a training starts from: steps of its own, or the weights of another one; neither, when it is new."""

    steps: list[int]
    pretrained: Pretrained | None
    config: dict[str, Any] | None  # of the run that is resumed

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What the weights say of the networks."""
        return self.pretrained.architecture if self.pretrained else {}


def find_origin(given: Mapping[str, Any], paths: Paths) -> Origin:
    """What there is to go on from.

    Raises:
        UserError: when it can't be, or something would be written over.
    """
    resume = chosen_step(given.get("resume"), paths)
    steps = find_resume_steps(resume, bool(given.get("overwrite")), paths)
    config = read_config(paths) if steps else None
    if steps and config is None:
        raise UserError(
            _("{config} is gone: without it the checkpoints beside it can't be resumed", config=paths.config)
        )
    pretrained = None if steps else find_pretrained(given, resume, paths)
    if pretrained and not given.get("fine_tune"):
        config = read_config(paths)  # of a run from these weights that ended before its first checkpoint
    if config:
        check_recorded(config["training"], str(paths.config))
    return Origin(steps, pretrained, config)


def begun_before(given: Mapping[str, Any], paths: Paths) -> dict[str, Any]:
    """The flags of a run that ended before its first checkpoint, as its config.json tells: `latest` begins it again.

    Empty where there is no such run, or other data is named. Lengths are left out where one is given now.

    Raises:
        UserError: when config.json is damaged.
    """
    named = any(given.get(name) for name in ("src_font", "dst_font", "dst_imgs", "data_dir", "fine_tune"))
    if given.get("resume") != "latest" or named or checkpoint.all_steps(paths.checkpoint) or foreign_steps(paths):
        return {}
    config = read_config(paths)
    if config is None:
        return {}
    check_recorded(config["training"], str(paths.config))
    values = {**config["training"], **config["model"]}
    for name in (*chosen_by_machine(values), *replaced_lengths(given, values)):
        del values[name]
    if "lr" in given and values.get("lr_D") == values.get("lr"):  # it was left out, so it goes where --lr goes
        values.pop("lr_D", None)
    kept = [name for name, flag in FLAGS.items() if flag.kept is not Kept.NOT]
    logger.info(
        _(
            "the run in {root} ended before its first checkpoint: it begins again, as config.json has it",
            root=paths.root,
        )
    )
    return {name: values[name] for name in kept if values.get(name) is not None}


def chosen_step(resume: str | None, paths: Paths) -> str | None:
    """`latest`, or a step: that with the best score in place of `best`."""
    if resume != "best":
        return resume
    return str(find_best(paths.quality_csv, checkpoint.drawable_steps(paths.checkpoint)))


def find_resume_steps(resume: str | None, overwrite: bool, paths: Paths) -> list[int]:
    """The steps there are to go on from, none to start at step 0.

    Raises:
        UserError: when starting would overwrite an experiment, or the step asked for is not there.
    """
    steps = checkpoint.steps_with(paths.checkpoint, checkpoint.STATE)
    if resume is None:
        if steps and not overwrite:
            raise UserError(
                _(
                    "{root} has a checkpoint at step {step}: --resume latest continues, --overwrite starts over",
                    root=paths.root,
                    step=steps[-1],
                )
            )
        return []
    if overwrite:
        raise UserError(_("--resume and --overwrite contradict each other"))
    if foreign_steps(paths):
        return []
    if resume == "latest":
        return steps
    step = int(resume)
    if step not in steps and step in checkpoint.drawable_steps(paths.checkpoint):
        path = checkpoint.drawable_path(paths.checkpoint, step)
        raise UserError(
            _(
                "of step {step} only weights are left: training can resume from {steps}; --fine_tune {path} starts a "
                "new one from them",
                step=step,
                steps=steps or "no step",
                path=path,
            )
        )
    if step not in steps:
        raise UserError(
            _(
                "{checkpoint} has no complete step {step}, only {steps}",
                checkpoint=paths.checkpoint,
                step=step,
                steps=steps or _("none"),
            )
        )
    return [step]


def find_pretrained(given: Mapping[str, Any], resume: str | None, paths: Paths) -> Pretrained | None:
    """The weights to start from: those of --fine_tune, or to --resume an earlier port's, which has no config.json.

    Raises:
        UserError: when they can't be read, a flag contradicts them, or they would be overwritten.
    """
    fine_tune = given.get("fine_tune")
    if fine_tune == "":
        raise UserError(_("--fine_tune is empty: name an experiment, or a generator file"))
    foreign = foreign_steps(paths)
    if foreign and resume is None and not given.get("overwrite"):
        raise UserError(
            _(
                "{root} has weights of step {step}: --resume {step} continues from them, --overwrite starts over",
                root=paths.root,
                step=foreign[-1],
            )
        )
    if resume and foreign:
        if fine_tune:
            raise UserError(
                _("--resume and --fine_tune contradict each other: {root} has weights of its own", root=paths.root)
            )
        found = read_foreign(paths, resume, foreign, given.get("image_size"))
    elif fine_tune == base.NAME:
        found = base.read_base()
    elif fine_tune is not None:
        found = read_pretrained(Path(fine_tune), image_size=given.get("image_size"))
    elif given.get("freeze_encoder"):
        raise UserError(
            _("--freeze_encoder freezes what was trained before: give --fine_tune PATH (or bundled:base), or --resume")
        )
    else:
        return None
    for name, value in found.architecture.items():
        if given.get(name, value) != value and not (fine_tune and name == "embedding_num"):
            flag = as_given(name, given[name])
            raise UserError(
                _(
                    "{flag} contradicts {path}, which has {value}: leave the flag out",
                    flag=flag,
                    path=found.path,
                    value=value,
                )
            )
    return found


def read_foreign(paths: Paths, resume: str, steps: list[int], image_size: int | None) -> Pretrained:
    """The weights of an earlier port, which lie in the folder of the experiment and have these `steps`.

    Raises:
        UserError: when they can't be read, or the training would write over them.
    """
    folder = weights_folder(paths)
    kind = "raw" if checkpoint.steps_with(folder, checkpoint.GENERATOR) else "ema"
    found = read_pretrained(paths.root, resume, kind, image_size)
    later = [step for step in steps if step > found.step]
    if later and folder == paths.checkpoint:
        raise UserError(
            _(
                "{folder} has later weights, of step {step}, that would be overwritten: move them away",
                folder=folder,
                step=later[0],
            )
        )
    return found


def set_aside_later(paths: Paths, step: int) -> None:
    """Move later checkpoints, and a copy of the log that tells of them, out of the way, and say so."""
    later = checkpoint.later_files(paths.checkpoint, step)
    if not later:
        return
    folder = checkpoint.folder_aside(paths.checkpoint, step, later)
    folder.mkdir(exist_ok=True)
    steps = sorted({int(path.name.partition("_")[0]) for path in later})
    for table in (paths.losses_csv, paths.quality_csv):
        if table.is_file():
            write_whole(folder / f"{table.stem}_to_{steps[-1]}.csv", table.read_bytes())
    checkpoint.set_aside(later, folder)
    numbers = ", ".join(f"step {number}" for number in steps)
    logger.info(
        _("what is later than step {step} is now in {folder}: {numbers}", step=step, folder=folder, numbers=numbers)
    )


def clean(paths: Paths) -> None:
    """Delete what a killed run left half written."""
    checkpoint.remove_cut(paths.checkpoint)
    for folder in (paths.root, paths.sample):
        remove_stray(folder)


def clear(paths: Paths) -> None:
    """Delete what an earlier run wrote into the folder; drawings and anything else stay."""
    checkpoint.clear(paths.checkpoint)
    tables = (paths.losses_csv, paths.losses_png, paths.quality_csv, paths.quality_png, paths.report, paths.live_report)
    pictures, events = paths.sample.glob("[0-9]*.png"), paths.tensorboard.glob(EVENTS)
    for path in (*tables, paths.config, *pictures, *events):
        path.unlink(missing_ok=True)
