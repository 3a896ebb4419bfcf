"""What a training goes on from, and what it sets aside or deletes."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import as_given, say
from utils.errors import UserError

if TYPE_CHECKING:
    from utils.experiment.config import Paths
    from utils.training.pretrained import Pretrained


def find_resume_steps(args: argparse.Namespace, paths: "Paths") -> list[int]:
    """The steps there are to go on from, none to start at step 0.

    Raises:
        UserError: when starting would overwrite an experiment, or the step asked for is not there.
    """
    from utils.experiment import checkpoint
    from utils.experiment.tables import find_best
    from utils.experiment.weights import foreign_steps

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
    from utils.experiment import checkpoint

    parts, passed_over = checkpoint.newest_fitting(paths.checkpoint, steps, check)
    if parts is None and len(steps) == 1:
        raise UserError(passed_over[0].partition("passed over: ")[2])
    say(*passed_over)
    if parts is None:
        raise UserError(f"no checkpoint in {paths.checkpoint} can be gone on from")
    return parts


def set_aside_later(paths: "Paths", step: int) -> str | None:
    """Move later checkpoints, and a copy of the log that tells of them, out of the way; returns the line to say."""
    from utils.experiment import checkpoint
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
    from utils.experiment import checkpoint
    from utils.experiment.weights import foreign_steps, weights_folder
    from utils.training.pretrained import read_pretrained

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


def clean(paths: "Paths") -> None:
    """Delete what a killed run left half written."""
    from utils.experiment import checkpoint
    from utils.files import remove_stray

    checkpoint.remove_cut(paths.checkpoint)
    for folder in (paths.root, paths.sample):
        remove_stray(folder)


def clear(paths: "Paths") -> None:
    """Delete what an earlier run wrote into the folder; drawings and anything else stay."""
    from utils.experiment import checkpoint

    checkpoint.clear(paths.checkpoint)
    tables = (paths.losses_csv, paths.losses_png, paths.quality_csv, paths.quality_png, paths.report)
    for path in (*tables, paths.config, *paths.sample.glob("[0-9]*.png")):
        path.unlink(missing_ok=True)
