"""Which device a process works on."""

from collections.abc import Sequence

import torch

from utils.cli import UserError


def choose_device(gpu_ids: Sequence[str] | None) -> tuple[torch.device, str | None]:
    """The device that --gpu_ids asks for, and a warning where it is not to be had.

    No ids: the first CUDA device. `-1`: the CPU. `mps`: Apple's GPU.

    Raises:
        UserError: for an id that is none, that this machine lacks, or for several ids.
    """
    ids = [part for text in gpu_ids or ["0"] for part in text.split(",") if part]
    if len(ids) != 1:
        raise UserError(f"--gpu_ids {' '.join(ids)}: one process works on one device, give one id")
    if ids[0] == "-1":
        return torch.device("cpu"), None
    if ids[0] == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("--gpu_ids mps: this machine or this build of torch has no MPS device")
        return torch.device("mps"), None
    if not (ids[0].isascii() and ids[0].isdigit()):
        raise UserError(f"--gpu_ids {ids[0]}: expected a number, -1 (CPU) or mps")
    if not torch.cuda.is_available():
        return torch.device("cpu"), "WARNING: no CUDA device was found: working on the CPU, which is much slower"
    if int(ids[0]) >= torch.cuda.device_count():
        raise UserError(f"--gpu_ids {ids[0]}: this machine has CUDA devices 0 to {torch.cuda.device_count() - 1}")
    return torch.device("cuda", int(ids[0])), None


def default_amp(device: torch.device) -> str:
    """The precision to train in: bf16 or fp16 where a GPU is fast at it, else off."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return "off"
    return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"


def tune(device: torch.device) -> None:
    """Let a GPU multiply in TF32 and try out its convolution algorithms; sizes don't change in a training."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
