"""Work that is shared between processes of this machine."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from utils.errors import Failure
from utils.messages import _

MOST_ON_WINDOWS = 61  # processes that can be waited for there


def cores() -> int:
    """How many processes can work at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def process_pool(workers: int, does: str) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which leave interrupts to this one; `does` says what each of them does, as in "traces".

    Raises:
        Failure: when one of them is killed.
    """
    workers = min(workers, MOST_ON_WINDOWS) if os.name == "nt" else workers
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _ignore_interrupts)
    try:
        yield pool
    except BrokenProcessPool as error:
        why = _("was killed, perhaps for want of memory: run the command again")
        raise Failure(_("a process that {does} {why}", does=does, why=why)) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
