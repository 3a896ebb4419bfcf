"""Making a drawing ready: models loaded, characters chosen, everything checked, and nothing written."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model import Zi2ZiConfig, Zi2ZiModel, fold_norms
from utils.cli import as_given
from utils.device import drawing_batch, tune
from utils.drawing.flags import CONFIRMED, DrawOptions
from utils.drawing.job import Job, choose_job
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.calibration import PLAIN, Calibration, as_table, check_fixed, read_calibrations
from utils.experiment.config import Paths, read_config
from utils.experiment.manifest import Manner
from utils.experiment.tables import find_best
from utils.experiment.weights import Weights, find_kinds, foreign_config, weights_folder
from utils.fonts.export import check_drawn
from utils.legibility import Reader, glyph_reader
from utils.messages import _

logger = logging.getLogger(__name__)

HEADINGS = {"raw": "raw", "ema": "EMA"}  # of the kinds of weights, on sheets and in tables


@dataclass(frozen=True)
class Session:
    """A drawing that can begin."""

    options: DrawOptions
    models: dict[str, Zi2ZiModel]  # by their headings
    weights: Weights  # those that are drawn with
    job: Job
    folder: Path
    manner: Manner
    batch_size: int
    read: Reader | None  # for --legibility

    @property
    def model(self) -> Zi2ZiModel:
        """The model that is drawn with."""
        return self.models[HEADINGS[self.weights.kind]]

    @property
    def caption(self) -> str:
        """What a sheet is headed with."""
        return f"{Path(self.options.experiment_dir).name}, step {self.weights.step}"


def open_session(options: DrawOptions, device: torch.device) -> Session:
    """Load the models and choose what to draw.

    Raises:
        UserError: when the flags, or what lies in the experiment, don't allow it.
    """
    tune(device, training=False)
    paths = Paths(Path(options.experiment_dir))
    if options.resume == "best":
        best = find_best(paths.quality_csv, checkpoint.drawable_steps(paths.checkpoint))
        options = replace(options, resume=str(best))
    read = glyph_reader() if options.legibility else None
    config, found = find_models(options, paths)
    confirm(options, config["model"])
    check_fixed(options.weight_bias, options.sharpness)
    weights = found[0] if options.weights == "raw" else found[-1]
    calibrations = {each.kind: find_calibration(options, each, config) for each in found}
    drawn_with = draw_path(weights)
    if options.weight_bias is None and not drawn_with.is_file():
        logger.info(
            _(
                "there is no {name} to tell how heavy strokes are to be: drawing with --weight_bias 0",
                name=drawn_with.name,
            )
        )
    models = {HEADINGS[each.kind]: load_model(each, config["model"], calibrations[each.kind], device) for each in found}
    manner = Manner(weights.step, weights.kind, calibrations[weights.kind], with_fields=bool(options.font_out))
    logger.info(_("drawing with {path}", path=weights.path))
    batch_size = options.batch_size or drawing_batch(device.type, config["model"]["image_size"])
    folder = Path(options.infer_dir) if options.infer_dir else paths.root / "infer"
    job = choose_job(options, config, folder)
    if options.font_out:
        check_drawn(options.of_font(), job.characters())
    return Session(options, models, weights, job, folder, manner, batch_size, read)


def find_models(options: DrawOptions, paths: Paths) -> tuple[dict[str, Any], list[Weights]]:
    """The config of an experiment, or what stands for it, and the weights to draw with, of one step.

    Raises:
        UserError: when there are none, or they don't fit.
    """
    config, checkpoints = read_config(paths), weights_folder(paths, options.resume)
    if config is None and not checkpoints.is_dir():
        raise UserError(
            _("{config}: no such file; train first, or point --experiment_dir to an experiment", config=paths.config)
        )
    both = options.compare or (options.suspects and has_both_kinds(checkpoints, options.resume))
    kinds = ["raw", "ema"] if both else [options.weights]
    if config is not None:
        return config, find_kinds(checkpoints, options.resume, kinds, model_check(config["model"], paths.config))
    found = find_kinds(checkpoints, options.resume, kinds)
    config = foreign_config(found[0], options.image_size)
    check = model_check(config["model"], checkpoints)
    for weights in found:
        check(weights)
    return config, found


def has_both_kinds(checkpoints: Path, resume: str) -> bool:
    """Whether the step `resume` (or `latest`) has raw and EMA weights, so that they can be compared."""
    parts = (checkpoint.GENERATOR, checkpoint.EMA_GENERATOR)
    both = set.intersection(*(set(checkpoint.steps_with(checkpoints, part)) for part in parts))
    return bool(both) if resume == "latest" else int(resume) in both


def model_check(values: dict[str, Any], path: Path) -> Callable[[Weights], None]:
    """What checks that weights are of the architecture that `path` has recorded.

    Raises:
        UserError: when that can't be one; from the check, when the weights don't fit.
    """
    try:
        config = Zi2ZiConfig(**values)
    except (TypeError, ValueError) as error:
        raise UserError(_("{path} is damaged: {error}", path=path, error=error)) from error
    shapes = Zi2ZiModel(config, "meta", is_training=False).netG  # which takes no memory: a misfit costs nothing
    return lambda weights: pth.check_fit(shapes, weights.state_dict, weights.path)


def load_model(
    weights: Weights, values: dict[str, Any], labels: Sequence[Calibration], device: torch.device
) -> Zi2ZiModel:
    """A model to draw with, calibrated for each of the `labels`."""
    model = Zi2ZiModel(Zi2ZiConfig(**values), device, is_training=False)
    pth.fit(model.netG, weights.state_dict, weights.path)
    fold_norms(model.netG)
    model.calibrate(as_table(labels, model.config.embedding_num))
    return model


def draw_path(weights: Weights) -> Path:
    """The file that tells what the step of the weights is drawn with."""
    return checkpoint.part_path(weights.path.parent, weights.step, checkpoint.DRAW)


def find_calibration(options: DrawOptions, weights: Weights, config: dict[str, Any]) -> list[Calibration]:
    """What each label is drawn with: as the flags say, or as it was found with the step of the weights.

    Raises:
        UserError: when the file that tells it can't be read.
    """
    known = (read_calibrations(draw_path(weights)) or {}).get(weights.kind)
    count = config["model"]["embedding_num"]
    if known is None:
        sharpness = config.get("training", {}).get("sharpness") or PLAIN.sharpness
        known = [Calibration(PLAIN.bias, sharpness)] * count
    known += [PLAIN] * (count - len(known))
    given = {"bias": options.weight_bias, "sharpness": options.sharpness}
    given = {name: value for name, value in given.items() if value is not None}
    return [replace(each, **given) for each in known]


def confirm(options: DrawOptions, model: dict[str, Any]) -> None:
    """Check the flags that describe the networks, and say which were left to the checkpoint.

    Raises:
        UserError: when a flag contradicts the checkpoint.
    """
    model = {"generator": Zi2ZiConfig.generator, **model}  # older experiments don't say it
    for name in CONFIRMED:
        given = getattr(options, name)
        if name not in model:  # weights without their discriminator
            continue
        if given is not None and given != model[name]:
            what = as_given(name, given)
            raise UserError(
                _(
                    "{what} contradicts the checkpoint, whose {name} is {known}: leave the flag out",
                    what=what,
                    name=name,
                    known=model[name],
                )
            )
        if given is None and model[name] is True:
            logger.info(_("--{name} is taken from the checkpoint", name=name))
