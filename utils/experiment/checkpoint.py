"""Checkpoints on disk: their names, atomic writing, retention."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from utils.errors import UserError
from utils.experiment.calibration import write_calibrations
from utils.experiment.pth import read_part, read_weights
from utils.files import patiently, remove_stray, rename_temporary, sync_folder, temporary_path, write_temporary
from utils.messages import _

logger = logging.getLogger(__name__)

NEWEST = 2  # steps that keep all that a training needs to go on from them
PARTS = GENERATOR, DISCRIMINATOR, EMA_GENERATOR, DRAW, STATE = "net_G", "net_D", "net_G_EMA", "draw", "state"
LATEST = "latest"  # in place of a step, in weights of a port
FILE_NAME = re.compile(r"([0-9]{1,18}|latest)_(?:(net_G|net_D|net_G_EMA|state)\.pth|draw\.json)")


def part_path(folder: Path, step: int, part: str) -> Path:
    """`<folder>/<step>_<part>.pth`, or `<step>_draw.json`; the one place where checkpoint files get their names."""
    return folder / (f"{step}_{part}" + (".json" if part == DRAW else ".pth"))


def found_path(folder: Path, step: int, part: str) -> Path:
    """As `part_path`, to read: `latest_<part>.pth`, as a port names its last weights, is of the `unnumbered_step`."""
    path, last = part_path(folder, step, part), unnumbered_path(folder, part)
    return last if last.is_file() and not path.is_file() and step == unnumbered_step(folder) else path


def unnumbered_path(folder: Path, part: str) -> Path:
    """The file of a port's last weights, whose step is not told."""
    return folder / part_path(Path(), 0, part).name.replace("0", LATEST, 1)


def unnumbered_step(folder: Path) -> int:
    """The step that a port's last weights count as: the one after the last that has a number."""
    return 1 + max((step for part in (GENERATOR, EMA_GENERATOR) for step in _numbered(folder, part)), default=0)


def steps_with(folder: Path, part: str) -> list[int]:
    """The steps, ascending, that have a file of this part."""
    gone_on = bool(_numbered(folder, STATE))  # a run has started from it
    is_there = unnumbered_path(folder, part).is_file() and not gone_on
    return sorted(_numbered(folder, part) + ([unnumbered_step(folder)] if is_there else []))


def _numbered(folder: Path, part: str) -> list[int]:
    files = (path for path in folder.glob(f"*_{part}.*") if path.is_file()) if folder.is_dir() else ()
    names = (FILE_NAME.fullmatch(path.name) for path in files)
    return [int(match[1]) for match in names if match and match[1] != LATEST and (match[2] or DRAW) == part]


def all_steps(folder: Path) -> list[int]:
    """The steps, ascending, that have a file of any part."""
    return sorted({step for part in PARTS for step in steps_with(folder, part)})


def drawable_steps(folder: Path) -> list[int]:
    """The steps, ascending, that have a generator to draw with."""
    return sorted({step for part in (EMA_GENERATOR, GENERATOR) for step in steps_with(folder, part)})


def drawable_path(folder: Path, step: int) -> Path:
    """The generator to draw with of one of the `drawable_steps`: the averaged one, or else the raw one."""
    averaged = found_path(folder, step, EMA_GENERATOR)
    return averaged if averaged.is_file() else found_path(folder, step, GENERATOR)


def bytes_written(folder: Path) -> int:
    """How much room the checkpoints in a folder take."""
    return sum(found_path(folder, step, part).stat().st_size for part in PARTS for step in steps_with(folder, part))


def save_checkpoint(folder: Path, step: int, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write all parts of a step under temporary names, flush them to the disk, then rename them.

    `state` is renamed last, and names the other parts: a step is complete when its state file is there.

    Raises:
        OSError: naming the file that can't be written; nothing of the step is left then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = [part for part in parts if part != STATE]
    contents = {**parts, STATE: {**parts[STATE], "parts": [part for part in others if part != DRAW]}}
    paths = {part: part_path(folder, step, part) for part in (*others, STATE)}
    renamed = []
    try:
        for part, path in paths.items():
            write = write_calibrations if part == DRAW else _write
            write_temporary(path, lambda file, part=part, write=write: write(contents[part], file), durable=True)
        paths[STATE].unlink(missing_ok=True)  # a step that is written anew is not complete in between
        for part in others:
            rename_temporary(paths[part])
            renamed.append(paths[part])
        sync_folder(folder)
        rename_temporary(paths[STATE])
    except BaseException:
        for path in (*renamed, *map(temporary_path, paths.values())):
            path.unlink(missing_ok=True)
        raise
    sync_folder(folder)


class _Recorder:
    """A file that remembers why writing failed: torch.save reports its own confusion instead."""

    def __init__(self, file: BinaryIO):
        self.file, self.error, self.flush = file, None, file.flush

    def write(self, content: bytes) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise


def _write(content: Mapping[str, Any], file: BinaryIO) -> None:
    recorder: Any = _Recorder(file)
    try:
        torch.save(content, recorder)
    except RuntimeError:
        if recorder.error is not None:
            raise recorder.error from None
        raise


def retain(folder: Path, keep: int, best: int | None = None, ours: Iterable[int] = ()) -> None:
    """Keep the newest `keep` steps and the `best`: of the newest two everything, of others what is drawn with.

    That is the averaged generator, or the raw one where there is none; of the best both, to compare them. Steps are
    those that have a state file, and those of `ours`, which had one: other weights may be the user's.

    A state file goes first. Where a whole step goes, it goes under its temporary name, so that `remove_cut` can go on
    with a deletion that was cut off.
    """
    whole = steps_with(folder, STATE)
    steps = sorted({*whole, *(set(ours) & set(drawable_steps(folder)))})
    for step in steps:
        paths = {part: part_path(folder, step, part) for part in PARTS}
        if step in whole[-min(keep, NEWEST) :]:
            continue
        if step in (*steps[-keep:], best):
            needless = [STATE, DISCRIMINATOR]
            if step != best and paths[EMA_GENERATOR].is_file():
                needless.append(GENERATOR)
        else:
            needless = [DISCRIMINATOR, GENERATOR, EMA_GENERATOR, DRAW]
            if paths[STATE].is_file():
                patiently(lambda state=paths[STATE]: state.replace(temporary_path(state)))
        for path in (*(paths[part] for part in needless), temporary_path(paths[STATE])):
            patiently(lambda path=path: path.unlink(missing_ok=True))


def clear(folder: Path) -> None:
    """Delete every checkpoint, also those set aside, and what an interrupted write left."""
    remove_stray(folder)
    for path in (*folder.glob("*_*"), *folder.glob("after_*/*_*")):
        if FILE_NAME.fullmatch(path.name) or path.match("after_*/*_to_*.csv"):
            path.unlink()
    for path in folder.glob("after_*"):
        with contextlib.suppress(OSError):  # it holds something of the user's
            path.rmdir()


def remove_cut(folder: Path) -> None:
    """Delete what a killed write or deletion left: temporary files, and the parts of a step whose state is one."""
    for path in folder.glob(".*_state.pth.tmp"):
        match = FILE_NAME.fullmatch(path.name.removeprefix(".").removesuffix(".tmp"))
        if match and not part_path(folder, int(match[1]), STATE).exists():
            for part in PARTS[:-1]:
                part_path(folder, int(match[1]), part).unlink(missing_ok=True)
    remove_stray(folder)


def later_files(folder: Path, step: int) -> list[Path]:
    """The checkpoint files of steps after `step`; of each step the state file is the first."""
    steps = [number for number in all_steps(folder) if number > step]
    paths = (part_path(folder, number, part) for number in steps for part in (STATE, *PARTS[:-1]))
    return [path for path in paths if path.is_file()]


def folder_aside(folder: Path, step: int, files: Iterable[Path]) -> Path:
    """Where to move what is later than `step`: `after_<step>`, or one with a further number that has no such file."""
    names = (f"after_{step}", *(f"after_{step}_{count}" for count in range(2, 10**6)))
    return next(folder / name for name in names if not any((folder / name / file.name).exists() for file in files))


def set_aside(files: Iterable[Path], aside: Path) -> None:
    """Move checkpoint files out of the way of a run that resumes from an earlier step.

    Left where they are they would pass for the newest, and push the checkpoints of that run out.
    """
    for path in files:
        patiently(lambda path=path: path.rename(aside / path.name))


def read_step(folder: Path, step: int) -> dict[str, dict[str, Any]]:
    """Read every part of a complete step that a training goes on from.

    Raises:
        UserError: when one is missing or damaged.
    """
    path = part_path(folder, step, STATE)
    state = read_part(path)
    had_ema = isinstance(state.get("ema_num_updates"), int) and state["ema_num_updates"] > 0
    others = state.get("parts", [GENERATOR, DISCRIMINATOR, *([EMA_GENERATOR] if had_ema else [])])
    possible = [[GENERATOR, *d, *ema] for d in ([], [DISCRIMINATOR]) for ema in ([], [EMA_GENERATOR])]
    if others not in possible or (had_ema and EMA_GENERATOR not in others):
        raise UserError(_("checkpoint {path} does not say which files belong to it", path=path))
    return {part: read_weights(part_path(folder, step, part)) for part in others} | {STATE: state}


def newest_fitting(
    folder: Path, steps: Iterable[int], check: Callable[[dict[str, dict[str, Any]], int], None]
) -> dict[str, dict[str, Any]]:
    """The parts of the newest of `steps` that can be read and that `check` raises no UserError for.

    Says which steps are skipped.

    Raises:
        UserError: when there is none; when there is but one, with what is wrong with it.
    """
    newest_first = sorted(steps, reverse=True)
    for step in newest_first:
        try:
            parts = read_step(folder, step)
            check(parts, step)
        except UserError as error:
            if len(newest_first) == 1:
                raise
            logger.info(_("step {step} is skipped: {error}", step=step, error=error))
            continue
        return parts
    raise UserError(_("no checkpoint in {folder} can be resumed", folder=folder))
