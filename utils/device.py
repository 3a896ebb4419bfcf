"""Which device a process works on, and what it is good at."""

import ctypes
import importlib.util
import logging
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from utils.errors import UserError
from utils.messages import _

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
# Of compute capability 7.5, as a T4, but without tensor cores: GeForce GTX 16, Quadro T400 to T2000, MX450.
WITHOUT_TENSOR_CORES = re.compile(r"GTX 16\d\d|\bT(400|500|550|600|1000|1200|2000)\b|\bMX[45]50\b")


def choose_device(gpu_ids: Sequence[str] | None) -> torch.device:
    """The device that --gpu_ids asks for; says so where it is not to be had.

    No ids: the first CUDA device; under torchrun each process has one of its own, of the ids where some are given.
    `-1`: the CPU. `mps`: Apple's GPU.

    Raises:
        UserError: for an id that is none, that this machine lacks, or for several ids.
    """
    local, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    given = [part for text in gpu_ids or map(str, range(processes)) for part in text.split(",") if part]
    ids = given * processes if len(given) == 1 and not given[0].isdigit() else given  # the CPU may be shared
    if len(ids) != processes:
        script = f"torchrun --nproc_per_node {len(ids)} {Path(sys.argv[0]).name} --gpu_ids {' '.join(ids)} ..."
        raise UserError(
            _("--gpu_ids {ids}: one process works on one device; several: {script}", ids=" ".join(ids), script=script)
        )
    numbers = [each for each in ids if each.isdigit()]
    if len(set(numbers)) < len(numbers):
        raise UserError(_("--gpu_ids {ids}: each process needs a device of its own", ids=" ".join(ids)))
    ids = [ids[local]]
    if ids[0] == "-1":
        return torch.device("cpu")
    if ids[0] == "mps":
        return _mps_device(processes)
    return _cuda_device(ids[0], local)


def _mps_device(processes: int) -> torch.device:
    if not torch.backends.mps.is_available():
        raise UserError(_("--gpu_ids mps: this machine or this build of torch has no MPS device"))
    if processes > 1:
        raise UserError(
            _(
                "--gpu_ids mps: Apple's GPU is one device, and torchrun started {processes} processes",
                processes=processes,
            )
        )
    return torch.device("mps")


def _cuda_device(number: str, local: int) -> torch.device:
    if not (number.isascii() and number.isdigit()):
        raise UserError(_("--gpu_ids {device}: expected a number, -1 (CPU) or mps", device=number))
    if not torch.cuda.is_available():
        mps = _("; --gpu_ids mps uses Apple's GPU") if torch.backends.mps.is_available() else ""
        if local == 0:  # of several processes one says it
            logger.warning(
                _("WARNING: no CUDA device was found: working on the CPU, which is much slower{mps}", mps=mps)
            )
        return torch.device("cpu")
    last = torch.cuda.device_count() - 1
    if int(number) > last:
        raise UserError(_("--gpu_ids {device}: this machine has CUDA devices 0 to {last}", device=number, last=last))
    device = torch.device("cuda", int(number))
    check_kernels(device)
    return device


def check_kernels(device: torch.device) -> None:
    """Raise UserError when torch's build has no kernels for a CUDA device: it would end in the first of them."""
    built = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]*", name) for name in torch.cuda.get_arch_list()]
    known = [(match[1], (int(match[2]), int(match[3]))) for match in built if match]
    own = torch.cuda.get_device_capability(device)
    # Code for a GPU runs on the later ones of its generation; what is compiled when it is needed, on all later ones.
    if not known or any(each <= own and (kind == "compute" or each[0] == own[0]) for kind, each in known):
        return
    oldest = min(each for _, each in known)
    which = _("built for CUDA 12.6") if own < oldest else _("that is newer")
    raise UserError(
        _(
            "--gpu_ids {index}: torch {version} has no kernels for {gpu} (sm_{major}{minor}): install one "
            "{which} (https://pytorch.org/get-started/locally/), or take --gpu_ids -1",
            index=device.index,
            version=torch.__version__,
            gpu=torch.cuda.get_device_name(device),
            major=own[0],
            minor=own[1],
            which=which,
        )
    )


def default_amp(device: torch.device) -> str:
    """The precision to train in: bf16 or fp16 where a GPU or a processor has units for it, else off."""
    if device.type == "cpu":
        # Asked of the processor: others take bf16 too, and are slower at it than at float32.
        asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return "bf16" if any(ask is not None and ask() for ask in asked) else "off"
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return "off"
    if WITHOUT_TENSOR_CORES.search(torch.cuda.get_device_name(device)):
        return "off"
    return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"


def check_ways(device: torch.device, amp: str, compiled: bool) -> None:
    """Raise UserError for a way to train that a device does not have."""
    if device.type == "mps" and amp == "fp16":
        raise UserError(_("--amp fp16 does not work on Apple's GPU, which has no scaled gradients: take bf16 or off"))
    if compiled and device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError(_("--compile needs Triton on CUDA, which is not installed: leave it out"))


def drawing_batch(device_type: str, image_size: int) -> int:
    """How many characters to draw at once: on the CPU more gain nothing; a GPU gets the pixels of 64 of 256 px."""
    return max(1, 64 * 256**2 // image_size**2) if device_type == "cuda" else 16


def tune(device: torch.device, training: bool = True, deterministic: bool = False) -> None:
    """Have a GPU try out its convolution algorithms, and in `training` convolve in TF32; sizes don't change.

    Products of matrices are in float32, whatever the environment says: Muon says itself where it can do with less.
    `deterministic` has a GPU compute the same bits each time, by algorithms that may be slower.

    On the CPU, keep memory that is freed for the next step: given back to the system and asked for again, page by
    page, it costs up to a tenth of a step. Only the allocator of glibc can be told.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = training
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cuda.matmul.allow_tf32 = False
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        torch.use_deterministic_algorithms(True)
        memory: Any = torch.utils.deterministic
        memory.fill_uninitialized_memory = False  # of which nothing is read here
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
            mallopt(parameter, value)
