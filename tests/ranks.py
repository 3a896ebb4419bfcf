"""The scripts, and functions, in several processes that work together as torchrun starts them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def torchrun(processes: int, *command: object, cwd: Path) -> subprocess.Popen:
    """Start `command`, a script and its flags, in so many processes of one thread; they find a free port themselves."""
    return subprocess.Popen(
        [sys.executable, *launcher(processes), *map(str, command)],
        cwd=cwd,
        env={**os.environ, **THREADS, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def launcher(processes: int) -> Sequence[str]:
    """The arguments of Python that are torchrun on this machine alone."""
    return ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
