"""The scripts, and functions, in several processes that work together as torchrun starts them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from model import Zi2ZiConfig, Zi2ZiModel
from utils.device import tune
from utils.distributed import joined

ROOT = Path(__file__).parent.parent.parent
TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]  # on this machine alone
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def torchrun(processes: int, *command: object, cwd: Path) -> subprocess.Popen:
    """Start `command`, a script and its flags, in so many processes of one thread; they find a free port themselves."""
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, "--nproc_per_node", str(processes), *map(str, command)],
        cwd=cwd,
        env={**os.environ, **THREADS, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def images_per_second(filters: int, batch_size: int, steps: int = 4) -> float | None:
    """In each of several processes: how many images all of them train on in a second; the first returns it."""
    tune(torch.device("cpu"))
    with joined(torch.device("cpu")) as ranks:
        torch.manual_seed(ranks.rank)
        model = Zi2ZiModel(Zi2ZiConfig(ngf=filters, ndf=filters, embedding_num=1))
        if ranks.count > 1:
            model.distribute(ranks.wrap, ranks.rank, ranks.count, ranks.add_up)
        share = batch_size // ranks.count
        batch = torch.zeros(share, dtype=torch.int64), *(torch.rand(2, share, 1, 256, 256) * 2 - 1)
        for step in range(1 + steps):
            if step == 1:
                ranks.most(0)  # all of them are through with the first
                start = time.perf_counter()
            model.set_input(*batch)
            model.optimize_parameters()
        ranks.most(0)
        return batch_size * steps / (time.perf_counter() - start) if ranks.is_main else None


if __name__ == "__main__":
    speed = images_per_second(int(sys.argv[1]), int(sys.argv[2]))
    if speed is not None:
        print(speed)
