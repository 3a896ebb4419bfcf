"""A training as the parts of a checkpoint: written, read back, and whether they fit a model and the disk."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model import Zi2ZiModel
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.calibration import from_table
from utils.messages import _

# The parts of a checkpoint that are weights alone, and their names in the state of a model.
WEIGHTS = {checkpoint.GENERATOR: "netG", checkpoint.DISCRIMINATOR: "netD", checkpoint.EMA_GENERATOR: "shadow"}


def parts_from(
    state: Mapping[str, Any], calibration: Mapping[str, Tensor], step: int, images_seen: int
) -> dict[str, dict[str, Any]]:
    """The parts of a checkpoint: what `Zi2ZiModel.state_dict` returned, what it draws with, the place in the data.

    A discriminator that has learned nothing is left out: it is as it was made from its seed.
    """
    left_out = None if state["netD_is_trained"] else "netD"
    parts = {part: state[name] for part, name in WEIGHTS.items() if state[name] is not None and name != left_out}
    parts[checkpoint.DRAW] = {kind: from_table(table) for kind, table in calibration.items()}
    names = ("optimizer_G", "optimizer_D", "scaler", "ema_num_updates")
    parts[checkpoint.STATE] = {"step": step, "images_seen": images_seen, **{name: state[name] for name in names}}
    return parts


def state_from(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `Zi2ZiModel.load_state_dict` takes, of the parts of a checkpoint that `check_parts` has looked at."""
    weights = {name: parts.get(part) for part, name in WEIGHTS.items()}
    return {**parts[checkpoint.STATE], **weights, "netD_is_trained": weights["netD"] is not None}


def find_non_finite(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first part with a weight that is NaN or infinite."""
    for part in WEIGHTS:
        if not all(torch.isfinite(tensor).all() for tensor in parts.get(part, {}).values()):
            return part
    return None


def check_disk(model: Zi2ZiModel, folder: Path, keep: int, with_best: bool) -> None:
    """See whether there is room for the `keep` checkpoints that stay in a folder, the best one, and the next.

    Raises:
        UserError: when there is none.
    """
    drawn = sum(parameter.nbytes for parameter in model.netG.parameters())
    whole = drawn * (2 if model.ema else 1) + moments_size(model.optimizer_G)
    if model.config.Ladv_penalty:
        whole += sum(parameter.nbytes for parameter in model.netD.parameters()) + moments_size(model.optimizer_D)
    kept = min(keep, checkpoint.NEWEST)
    needed = (kept + 1) * whole + (keep - kept) * drawn + with_best * 2 * drawn
    needed = max(whole, needed - checkpoint.bytes_written(folder))
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise UserError(
            _(
                "{parent} has {free:.1f} GB free, but {keep} checkpoints and the next one need {needed:.1f} GB: free "
                "some space or lower --keep_checkpoints",
                parent=folder.parent,
                free=free / 1000000000.0,
                keep=keep,
                needed=needed / 1000000000.0,
            )
        )


def check_parts(model: Zi2ZiModel, parts: Mapping[str, Mapping[str, Any]], folder: Path, step: int) -> None:
    """Compare the parts of a checkpoint, as read, with a model, which may be on the meta device.

    Raises:
        UserError: naming the first thing that does not fit.
    """
    nets = {
        checkpoint.GENERATOR: model.netG,
        checkpoint.DISCRIMINATOR: model.netD,
        checkpoint.EMA_GENERATOR: model.netG,
    }
    for part, net in nets.items():
        if part in parts:
            pth.check_fit(net, parts[part], checkpoint.part_path(folder, step, part))
    state, path = parts[checkpoint.STATE], checkpoint.part_path(folder, step, checkpoint.STATE)
    if state.get("step") != step:
        raise UserError(_("checkpoint {path} is not of step {step}", path=path, step=step))
    for name in ("images_seen", "ema_num_updates"):
        if type(state.get(name)) is not int or state[name] < 0:
            raise UserError(_("checkpoint {path} has no {name}", path=path, name=name))
    if (state["ema_num_updates"] > 0) != (checkpoint.EMA_GENERATOR in parts):
        raise UserError(_("checkpoint {path} and the EMA weights of its step do not belong together", path=path))
    for name in ("optimizer_G", "optimizer_D"):
        if not optimizer_fits(state.get(name), getattr(model, name)):
            raise UserError(
                _(
                    "checkpoint {path} does not fit: its {name} is of other weights, or of another optimizer",
                    path=path,
                    name=name,
                )
            )
    if state["optimizer_D"]["state"] and checkpoint.DISCRIMINATOR not in parts:
        raise UserError(_("checkpoint {path} has a trained discriminator's optimizer, but no discriminator", path=path))
    if not scaler_fits(state.get("scaler", {})):
        raise UserError(_("checkpoint {path} has no state of a gradient scaler", path=path))


def moment_names(optimizer: torch.optim.Optimizer, number: int) -> tuple[str, ...]:
    """What an Adam or Muon keeps of its parameter `number` beside the count of steps: of Muon's matrices one moment."""
    return ("momentum",) if number in getattr(optimizer, "matrices", {}) else ("exp_avg", "exp_avg_sq")


def moments_size(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of what an optimizer comes to keep."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return sum(parameter.nbytes * len(moment_names(optimizer, n)) for n, parameter in enumerate(parameters))


def optimizer_fits(saved: Any, optimizer: torch.optim.Optimizer) -> bool:
    """Whether the state dict of an Adam or Muon, read from a file, is of the parameters of `optimizer`, or of some."""
    moments = saved.get("state") if isinstance(saved, dict) else None
    if not isinstance(moments, dict):
        return False
    shapes = dict(enumerate(parameter.shape for group in optimizer.param_groups for parameter in group["params"]))
    return all(
        isinstance(moment, dict)
        and number in shapes
        and moment.keys() == {"step", *moment_names(optimizer, number)}
        and all(pth.is_plain_tensor(value, floating=True) for value in moment.values())
        and moment["step"].ndim == 0
        and all(value.shape == shapes[number] for name, value in moment.items() if name != "step")
        for number, moment in moments.items()
    )


def scaler_fits(saved: Any) -> bool:
    """Whether what was read from a file is the state of a gradient scaler, or, as of one that is off, nothing."""
    expected = torch.amp.GradScaler("cpu").state_dict()
    if saved == {}:
        return True
    return (
        isinstance(saved, dict)
        and saved.keys() == expected.keys()
        and all(type(saved[name]) is type(value) and 0 <= saved[name] < 2**63 for name, value in expected.items())
    )
