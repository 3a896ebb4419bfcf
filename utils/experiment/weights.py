"""Trained weights: which file to draw with or to start from, and what they were trained for."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.architecture import discriminator_architecture, generator_architecture, likely_image_size, settled
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.config import Paths, read_config
from utils.messages import _

logger = logging.getLogger(__name__)

KIND_OF = {checkpoint.EMA_GENERATOR: "ema", checkpoint.GENERATOR: "raw"}
KINDS = {  # of weights that can be asked for, and the files to try for each
    "ema": (checkpoint.EMA_GENERATOR,),
    "raw": (checkpoint.GENERATOR,),
    "auto": (checkpoint.EMA_GENERATOR, checkpoint.GENERATOR),
}
MOST_LOOKS = 100  # at a folder that changes while it is read


@dataclass(frozen=True)
class Weights:
    """One generator file of a checkpoint, read."""

    step: int
    kind: str  # ema | raw
    path: Path
    state_dict: dict[str, torch.Tensor]


def find_weights(folder: Path, resume: str, kind: str) -> Weights:
    """The generator of step `resume` (or `latest`) in a checkpoint folder; says what is skipped.

    `kind` is `ema`, `raw`, or `auto`: EMA weights, or the raw ones where there are none.

    Raises:
        UserError: when there is nothing to draw with.
    """
    return find_kinds(folder, resume, [kind])[0]


def find_kinds(
    folder: Path, resume: str, kinds: Sequence[str], check: Callable[[Weights], None] = lambda _: None
) -> list[Weights]:
    """As `find_weights`, for several kinds of one and the same step; `check` raises a UserError for what won't do.

    `latest` takes complete steps only, unless there is none. A training may be writing into the folder
    meanwhile: when its retention has taken a step away, the next is looked for.

    Raises:
        UserError: when there is no step that has them all.
    """
    latest = resume == "latest"
    wanted = list(dict.fromkeys(part for kind in kinds for part in KINDS[kind]))
    said: list[str] = []
    for look in range(MOST_LOOKS):
        reader = _Reader(folder, lenient=latest, check=check)
        listing = present, complete = _listing(folder, wanted)
        if latest and not complete and look < 2:
            time.sleep(0.05)  # a listing made while files come and go may lack both the old and the new ones
            continue
        if latest and complete:
            cut = sorted((step for step in present if step > max(complete)), reverse=True)
            reader.said += [
                _("step {step} is skipped: its writing was cut off, or is still going on", step=step) for step in cut
            ]
        for step in sorted(complete or present, reverse=True) if latest else [int(resume)]:
            found = [reader.read(step, kind) for kind in kinds]
            if None not in found:
                for line in reader.said:
                    logger.info(line)
                return [each for each in found if each is not None]
        said = reader.said
        if not latest or _listing(folder, wanted) == listing:  # else the training has gone on meanwhile
            break
    if not present:
        raise UserError(
            _("{folder} has no {wanted} of any step: train first", folder=folder, wanted=" or ".join(wanted))
        )
    if not latest:
        raise UserError(_not_there(folder, int(resume), kinds, present))
    if not said:
        raise UserError(_("{folder} has no step with {wanted}", folder=folder, wanted=" and ".join(wanted)))
    raise UserError(_("no generator in {folder} can be read: {said}", folder=folder, said=said[-1]))


def _not_there(folder: Path, step: int, kinds: Sequence[str], present: set[int]) -> str:
    """The line that says which steps have what `step` has not."""
    if step not in checkpoint.drawable_steps(folder):
        return _(
            "{folder} has no generator of step {step}; it has steps {steps}",
            folder=folder,
            step=step,
            steps=sorted(present),
        )
    having = [{s for part in KINDS[kind] for s in checkpoint.steps_with(folder, part)} for kind in kinds]
    missing = next(kind for kind, steps in zip(kinds, having, strict=True) if step not in steps)
    steps = sorted(set.intersection(*having))
    return _(
        "{folder} has no {missing} weights of step {step} any more; it has them of steps {steps}",
        folder=folder,
        missing=missing,
        step=step,
        steps=steps or _("none"),
    )


def _listing(folder: Path, parts: Sequence[str]) -> tuple[set[int], set[int]]:
    """The steps that have one of `parts`, and those that are complete."""
    present = {step for part in parts for step in checkpoint.steps_with(folder, part)}
    return present, set(checkpoint.steps_with(folder, checkpoint.STATE))


class _Reader:
    """Reads the generators of a checkpoint folder; `said` tells what was skipped on the way.

    A `lenient` one skips what can't be read, or what `check` raises a UserError for.
    """

    def __init__(self, folder: Path, lenient: bool, check: Callable[[Weights], None]):
        self.folder, self.lenient, self.check = folder, lenient, check
        self.said: list[str] = []

    def read(self, step: int, kind: str) -> Weights | None:
        """The generator of a kind; None when there is none, or, if lenient, none that can be read."""
        for part in KINDS[kind]:
            path = checkpoint.found_path(self.folder, step, part)
            try:
                found = Weights(step, KIND_OF[part], path, pth.read_weights(path))
                self.check(found)
            except pth.MissingPart:
                continue
            except UserError as error:
                if not self.lenient:
                    raise
                self.said.append(f"skipped: {error}")
                continue
            has_ema = checkpoint.found_path(self.folder, step, checkpoint.EMA_GENERATOR).is_file()
            if kind == "auto" and found.kind == "raw" and not has_ema:
                self.said.append(_("step {step} has no EMA weights: using {name}", step=step, name=path.name))
            return found
        return None


def weights_folder(paths: Paths, resume: str = "latest") -> Path:
    """Where the generators lie: in `checkpoint/`, or, copied from elsewhere, in the experiment folder itself.

    Where both have some, it is the one that has the step `resume`.
    """
    parts = (checkpoint.EMA_GENERATOR, checkpoint.GENERATOR)
    here, there = ({s for p in parts for s in checkpoint.steps_with(f, p)} for f in (paths.root, paths.checkpoint))
    if resume != "latest" and int(resume) in here - there:
        return paths.root
    return paths.root if here and not there else paths.checkpoint


def foreign_steps(paths: Paths) -> list[int]:
    """The steps of generators that an earlier port left.

    There is no state file; a config.json only of a run that started from them and has saved nothing yet.
    """
    folder = weights_folder(paths)
    if checkpoint.steps_with(folder, checkpoint.STATE):
        return []
    parts = (checkpoint.GENERATOR, checkpoint.EMA_GENERATOR)
    steps = sorted({step for part in parts for step in checkpoint.steps_with(folder, part)})
    config = read_config(paths)
    return steps if config is None else [step for step in steps if step == config.get("went_on_from")]


def foreign_architecture(weights: Weights, image_size: int | None = None) -> dict[str, Any]:
    """The architecture of weights that have no config.json, as an earlier port left them; says what is assumed.

    It is read from the keys and shapes of the generator, and of the discriminator of the same step. Without
    one the image size is `image_size`, or else the one that is most likely by the number of levels.

    Raises:
        UserError: when these are no weights of zi2zi, or `image_size` is not that of the discriminator.
    """
    with naming_weights(weights.path):
        found = generator_architecture(weights.state_dict)
    path = checkpoint.found_path(weights.path.parent, weights.step, checkpoint.DISCRIMINATOR)
    if path.is_file():
        with naming_weights(path):
            found |= discriminator_architecture(pth.read_weights(path))
        if image_size not in (None, found["image_size"]):
            raise UserError(
                _(
                    "--image_size {image_size} contradicts {path}, which is for {known}",
                    image_size=image_size,
                    path=path,
                    known=found["image_size"],
                )
            )
        return _settled(found, weights.path)
    found["image_size"] = image_size or likely_image_size(weights.state_dict)
    if not image_size:
        logger.info(
            _(
                "there is no {name} to tell the image size: taking {image_size}, --image_size chooses another",
                name=path.name,
                image_size=found["image_size"],
            )
        )
    return _settled(found, weights.path)


def _settled(found: dict[str, Any], path: Path) -> dict[str, Any]:
    with naming_weights(path):
        return settled(found)


@contextlib.contextmanager
def naming_weights(path: Path) -> Iterator[None]:
    """Within, a ValueError becomes a UserError that names the file."""
    try:
        yield
    except ValueError as error:
        raise UserError(_("checkpoint {path}: {error}", path=path, error=error)) from error


def foreign_config(weights: Weights, image_size: int | None = None) -> dict[str, Any]:
    """What stands for the config.json of such weights; says where it comes from."""
    logger.info(_("there is no config.json: the architecture is read from {name}", name=weights.path.name))
    architecture = foreign_architecture(weights, image_size)
    labels = [str(label) for label in range(architecture["embedding_num"])]
    return {"model": architecture, "data": {"kind": "unknown", "labels": labels}}
