"""Whether a training step fits into the memory of a GPU, and how it is cut into micro-batches where it does not."""

import contextlib
import logging
from collections.abc import Iterator

import torch

from model import Zi2ZiModel
from model.deform import GRID
from utils.errors import UserError, is_out_of_memory
from utils.messages import _

logger = logging.getLogger(__name__)

RESERVE = 0.05  # of a GPU's memory, for what comes and goes beside the steps


def fewest_cut(model: Zi2ZiModel, share: int) -> int:
    """Into how many micro-batches a process has to cut its `share` of a batch; `share` + 1 where none would fit."""
    accum_steps = model.config.accum_steps
    cuts = [cut for cut in range(1, share + 1) if share % cut == 0]
    return next((cut for cut in cuts if step_fits(model, share // cut, accum_steps * cut > 1)), share + 1)


def cut_steps(model: Zi2ZiModel, batch_size: int, processes: int, cut: int) -> None:
    """Have the model cut its steps into `cut` times as many micro-batches, and say so.

    `batch_size` is that of all processes together, `cut` the most that any of them found to be needed.

    Raises:
        UserError: when not even one pair fits.
    """
    if cut > batch_size // processes:
        raise UserError(_("a step on one pair does not fit into the memory of this GPU: lower --image_size or --ngf"))
    if cut == 1:
        return
    accum_steps = model.config.accum_steps * cut
    model.set_accum_steps(accum_steps)
    logger.info(
        _(
            "a step on {batch_size} pairs does not fit into the memory of this GPU: each is cut in {cut}, as "
            "--batch_size {part} --accum_steps {accum_steps} would",
            batch_size=batch_size,
            cut=cut,
            part=batch_size // cut,
            accum_steps=accum_steps,
        )
    )


def step_fits(model: Zi2ZiModel, pairs: int, several: bool) -> bool:
    """Whether a step fits on one micro-batch of so many pairs, or `several`: it is taken, on blank ones, and undone."""
    config = model.config
    count = 1 + several
    blank = torch.ones(count * pairs, config.input_nc, config.image_size, config.image_size)
    with _undone(model):
        model.set_accum_steps(count)
        try:
            with _reserved(model.device):
                still = [torch.zeros(len(blank), 2, GRID, GRID)] if config.deform else []
                model.set_input(torch.zeros(len(blank), dtype=torch.int64), blank, blank, *still)
                model.optimize_parameters()["g_loss"].item()  # waits for the device
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.set_accum_steps(config.accum_steps)
    return True


@contextlib.contextmanager
def _undone(model: Zi2ZiModel) -> Iterator[None]:
    """Put back, afterwards, what a step changes: weights, statistics, averages, moments, and the scale."""
    before = model.state_dict()
    for name in ("netG", "netD", "shadow"):
        if before[name] is not None:
            before[name] = {key: tensor.to("cpu", copy=True) for key, tensor in before[name].items()}
    try:
        yield
    finally:
        model.micro_batches = []
        for optimizer in (model.optimizer_G, model.optimizer_D):
            optimizer.zero_grad()
        model.netD.requires_grad_(True)  # which G's update has turned off, and a distributed module needs
        model.load_state_dict(before)
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _reserved(device: torch.device) -> Iterator[None]:
    """Within, a part of a GPU's memory is taken."""
    if device.type == "cuda":
        part = int(torch.cuda.mem_get_info(device)[1] * RESERVE)
        taken = torch.empty(part, dtype=torch.uint8, device=device)
        yield
        del taken
        return
    yield
