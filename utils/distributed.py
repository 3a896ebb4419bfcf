"""Which device a process works on, and how several processes work together under torchrun."""

import contextlib
import ctypes
import datetime
import importlib.util
import inspect
import os
import platform
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import nn

from utils.cli import Failure, UserError, abbreviate, told

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
LOST_PARTNER = re.compile("gloo|NCCL|Connection (closed|reset)")  # in what torch says when another process is gone
PATIENCE = datetime.timedelta(minutes=30)  # with a process that is slower, not dead: that shows at once
# Of compute capability 7.5, as a T4, but without tensor cores: GeForce GTX 16, Quadro T400 to T2000, MX450.
WITHOUT_TENSOR_CORES = re.compile(r"GTX 16\d\d|\bT(400|500|550|600|1000|1200|2000)\b|\bMX[45]50\b")


def choose_device(gpu_ids: Sequence[str] | None) -> tuple[torch.device, str | None]:
    """The device that --gpu_ids asks for, and a warning where it is not to be had.

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
        raise UserError(f"--gpu_ids {' '.join(ids)}: one process works on one device; several: {script}")
    numbers = [each for each in ids if each.isdigit()]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--gpu_ids {' '.join(ids)}: each process needs a device of its own")
    ids = [ids[local]]
    if ids[0] == "-1":
        return torch.device("cpu"), None
    if ids[0] == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("--gpu_ids mps: this machine or this build of torch has no MPS device")
        if processes > 1:
            raise UserError(f"--gpu_ids mps: Apple's GPU is one device, and torchrun started {processes} processes")
        return torch.device("mps"), None
    if not (ids[0].isascii() and ids[0].isdigit()):
        raise UserError(f"--gpu_ids {ids[0]}: expected a number, -1 (CPU) or mps")
    if not torch.cuda.is_available():
        mps = "; --gpu_ids mps uses Apple's GPU" if torch.backends.mps.is_available() else ""
        return torch.device("cpu"), f"WARNING: no CUDA device was found: working on the CPU, which is much slower{mps}"
    if int(ids[0]) >= torch.cuda.device_count():
        raise UserError(f"--gpu_ids {ids[0]}: this machine has CUDA devices 0 to {torch.cuda.device_count() - 1}")
    device = torch.device("cuda", int(ids[0]))
    check_kernels(device)
    return device, None


def check_kernels(device: torch.device) -> None:
    """Raise UserError when torch's build has no kernels for a CUDA device: it would end in the first of them."""
    built = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]*", name) for name in torch.cuda.get_arch_list()]
    known = [(match[1], (int(match[2]), int(match[3]))) for match in built if match]
    own = torch.cuda.get_device_capability(device)
    # Code for a GPU runs on the later ones of its generation; what is compiled when it is needed, on all later ones.
    if not known or any(each <= own and (kind == "compute" or each[0] == own[0]) for kind, each in known):
        return
    oldest = min(each for _, each in known)
    which = "built for CUDA 12.6" if own < oldest else "that is newer"
    raise UserError(
        f"--gpu_ids {device.index}: torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(device)} "
        f"(sm_{own[0]}{own[1]}): install one {which} (https://pytorch.org/get-started/locally/), or take --gpu_ids -1"
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
        raise UserError("--amp fp16 does not work on Apple's GPU, which has no scaled gradients: take bf16 or off")
    if compiled and device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("--compile needs Triton on CUDA, which is not installed: leave it out")


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
        torch.utils.deterministic.fill_uninitialized_memory = False  # of which nothing is read here
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
            mallopt(parameter, value)


# ----------------------------------------------------------------------------------------- many processes


@dataclass(frozen=True)
class Ranks:
    """The processes that do a piece of work together: one, or those that torchrun started.

    The methods other than `share` are called by all of them, in the same order.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None
    group: Any = None  # over gloo, for what passes between the processes on the CPU

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """Every `count`-th item: what this process does of a work."""
        return items[self.rank :: self.count]

    def most(self, number: int) -> int:
        """The largest of the numbers that the processes bring."""
        if self.count == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.group)
        return int(value)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over the processes, on the CPU."""
        values = values.cpu()
        if self.count > 1:
            dist.all_reduce(values, group=self.group)
            values /= self.count
        return values

    def add_up(self, values: torch.Tensor) -> None:
        """Put in place of a tensor, which may be on a GPU, its sum over the processes."""
        if self.count > 1:
            dist.all_reduce(values)

    def gather(self, items: list) -> list:
        """The items of all processes in one list."""
        if self.count == 1:
            return items
        gathered: list[list] = [[] for _ in range(self.count)]
        dist.all_gather_object(gathered, items, group=self.group)
        return [item for part in gathered for item in part]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Go on from here only when all processes got through; of those that did not, the first says why.

        Raises:
            SystemExit: with code 2, when another process speaks.
        """
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = self.gather([self.rank] if failure else [])
        if failed and failed[0] == self.rank:
            raise failure
        if failed:
            sys.exit(2)

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network with gradients averaged over the processes, and on CUDA with batch norms over the joint batch."""
        if self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Statistics of batch norms are not sent round: on CUDA they are equal, on the CPU the first process's are kept.
        known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
        sync_buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before 2.13
        return nn.parallel.DistributedDataParallel(
            net, device_ids=ids, gradient_as_bucket_view=True, **{sync_buffers: False}
        )


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did; within, only the first of them prints.

    What goes wrong in one of several processes ends it at once, with a line: the others wait for it, and only when it
    is gone do they learn that they need not, and torchrun ends them.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else pinning memory, for one, takes the first
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Ranks(device=device)
        return
    on_nccl = device.type == "cuda" and dist.is_nccl_available()  # which Windows has not
    dist.init_process_group("nccl" if on_nccl else "gloo", timeout=PATIENCE)
    try:
        ranks = Ranks(dist.get_rank(), count, device, dist.new_group(backend="gloo", timeout=PATIENCE))
        with contextlib.ExitStack() as stack:
            if not ranks.is_main:
                nothing = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nothing))
                stack.enter_context(contextlib.redirect_stderr(nothing))
            yield ranks
    except BaseException as error:
        leave(error)
    dist.destroy_process_group()


def leave(error: BaseException) -> NoReturn:
    """End this process, one of several, with the line that tells why, and without waiting for any other."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or LOST_PARTNER.search(str(error))):
            reason = abbreviate(" ".join(str(error).split()), 200)
            error = Failure(f"process {dist.get_rank()} can't go on, perhaps because another one has ended: {reason}")
        code, line = told(error)
        if line is None:
            traceback.print_exception(error)
        else:
            print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(code)
