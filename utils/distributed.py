"""How several processes work together under torchrun."""

import contextlib
import datetime
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import nn

from utils.cli import told
from utils.errors import Failure, abbreviate
from utils.messages import _

LOST_PARTNER = re.compile("gloo|NCCL|Connection (closed|reset)")  # in what torch says when another process is gone
PATIENCE = datetime.timedelta(minutes=30)  # with a process that is slower, not dead: that shows at once


@dataclass(frozen=True)
class Ranks:
    """The processes that do a piece of work together: one, or those that torchrun started.

    The methods other than `share` are called by all of them, in the same order.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
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
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = self.gather([self.rank] if failure else [])
        if failure is not None and failed[0] == self.rank:
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
        settings: dict[str, Any] = {sync_buffers: False}
        return nn.parallel.DistributedDataParallel(net, device_ids=ids, gradient_as_bucket_view=True, **settings)


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
        code, _line = told(error)
    else:
        if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or LOST_PARTNER.search(str(error))):
            reason = abbreviate(" ".join(str(error).split()), 200)
            error = Failure(
                _(
                    "process {rank} can't go on, perhaps because another one has ended: {reason}",
                    rank=dist.get_rank(),
                    reason=reason,
                )
            )
        code, line = told(error)
        if line is None:
            traceback.print_exception(error)
        else:
            print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(code)
