"""Whether a training step fits into the memory of a GPU, and how it is cut into micro-batches where it does not."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from utils.errors import UserError, is_out_of_memory

RESERVE = 0.05  # of a GPU's memory, for what comes and goes beside the steps


def fewest_cut(model: Any, share: int) -> int:
    """Into how many micro-batches a process has to cut its `share` of a batch; `share` + 1 where none would fit."""
    accum_steps = model.config.accum_steps
    cuts = [cut for cut in range(1, share + 1) if share % cut == 0]
    return next((cut for cut in cuts if step_fits(model, share // cut, accum_steps * cut > 1)), share + 1)


def cut_steps(model: Any, batch_size: int, processes: int, cut: int) -> str | None:
    """Have the model cut its steps into `cut` times as many micro-batches; returns the line that says so.

    `batch_size` is that of all processes together, `cut` the most that any of them found to be needed.

    Raises:
        UserError: when not even one pair fits.
    """
    if cut > batch_size // processes:
        raise UserError("a step on one pair does not fit into the memory of this GPU: lower --image_size or --ngf")
    if cut == 1:
        return None
    accum_steps = model.config.accum_steps * cut
    model.config = replace(model.config, accum_steps=accum_steps)
    return (
        f"a step on {batch_size} pairs does not fit into the memory of this GPU: each is cut in {cut}, "
        f"as --batch_size {batch_size // cut} --accum_steps {accum_steps} would"
    )


def step_fits(model: Any, pairs: int, several: bool) -> bool:
    """Whether a step fits on one micro-batch of so many pairs, or `several`: it is taken, on blank ones, and undone."""
    config = model.config
    count = 1 + several
    blank = torch.ones(count * pairs, config.input_nc, config.image_size, config.image_size)
    with _undone(model):
        model.config = replace(config, accum_steps=count)
        try:
            with _reserved(model.device):
                model.set_input(torch.zeros(len(blank), dtype=torch.int64), blank, blank)
                model.optimize_parameters()["g_loss"].item()  # waits for the device
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.config = config
    return True


@contextlib.contextmanager
def _undone(model: Any) -> Iterator[None]:
    """Put back, afterwards, what a step changes: weights, statistics, averages, moments, the scale, and chance."""
    nets = [model.netG, model.netD, *([model.ema.shadow] if model.ema else [])]
    before = [{name: tensor.to("cpu", copy=True) for name, tensor in net.state_dict().items()} for net in nets]
    # What a scaler remembers of a step that broke off would make the next one fail.
    random_state, scaler = model.random_state(), copy.deepcopy(model.scaler)
    updates = model.ema.num_updates if model.ema else 0
    try:
        yield
    finally:
        for optimizer in (model.optimizer_G, model.optimizer_D):
            optimizer.state.clear()
            optimizer.zero_grad()
        model.netD.requires_grad_(True)  # which G's update has turned off, and a distributed module needs
        model.batch, model.micro_batches = None, []
        for net, state in zip(nets, before, strict=True):
            net.load_state_dict(state)
        if model.ema:
            model.ema.num_updates = updates
        model.scaler = scaler
        model.set_random_state(random_state)
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
