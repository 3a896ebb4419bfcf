"""Scripts in children of a warm process, which start in milliseconds, and the faults that are put into them."""

import atexit
import contextlib
import errno
import fnmatch
import io
import itertools
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401, the children draw losses.png
import torch
import torch._dynamo

import infer
import train
from model import Zi2ZiModel
from tests.helpers.scripts import tiny_run
from utils import prepare
from utils.experiment import checkpoint

SCRIPTS = {"train.py": train.main, "infer.py": infer.main, "utils.prepare": prepare.main}
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["tests.helpers.faults"])
RUNNING: list["Child"] = []  # children that nobody has waited for
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes
LOST = 255  # exit code of a child whose own the fork server lost, as it does now and then
PATIENCE = 60  # seconds until a child counts as hanging


class Result(NamedTuple):
    """How a child ended."""

    code: int  # exit code, or minus the signal that ended it
    out: str
    err: str
    seconds: float
    memory: float  # most bytes in memory; 0 where it was killed


class Child:
    """A script, or a function, run in a child with its output in files of `folder`; `fault` is called first in it."""

    def __init__(
        self,
        script: str | Callable[..., int],
        *flags: object,
        folder: Path,
        fault: Callable[[], None] | None = None,
        cwd: Path | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.out")))
        self.files = [folder / f"{number}.{kind}" for kind in ("out", "err", "memory")]
        self.started = time.monotonic()
        flags = tuple(map(str, flags))
        self.process = WARM.Process(target=_run, args=(script, flags, self.files, fault, cwd or Path.cwd()))
        self.process.start()
        RUNNING.append(self)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> Result:
        """Wait for the end; a child that hangs is killed, and its `seconds` tell of it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            self.process.join()
        took = time.monotonic() - self.started
        out, err, memory = (file.read_text("utf-8", "replace") if file.is_file() else "" for file in self.files)
        code = self.process.exitcode
        memory, _, own_code = memory.partition(" ")
        if code == LOST and own_code:
            code = int(own_code)
        self.process.close()
        RUNNING.remove(self)
        return Result(code, out, err, took, float(memory or 0))


@atexit.register
def end_children() -> None:
    """Kill what still runs: else Python would wait for it at its own end."""
    for child in list(RUNNING):
        child.kill()
        child.wait()


def run_child(script: str | Callable[..., int], *flags: object, folder: Path, **how) -> Result:
    """Run a child to its end."""
    return Child(script, *flags, folder=folder, **how).wait()


def train_child(folder: Path, *flags: object, fault=None) -> Child:
    """train.py on tiny sizes in `folder`, in a child."""
    return Child("train.py", *tiny_run(folder, *flags), folder=folder.parent / f"{folder.name}_said", fault=fault)


def is_one_line(result: Result, script: str = "train.py") -> bool:
    """Whether a script has said what is wrong in one line."""
    return result.err.startswith(f"{script}: error: ") and result.err.count("\n") == 1


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def steps_of(folder: Path) -> list[int]:
    """The complete steps of an experiment."""
    return checkpoint.steps_with(folder / "checkpoint", "state")


def logged(folder: Path) -> list[int]:
    """The steps in losses.csv, in its order."""
    return [int(line.split(",")[0]) for line in (folder / "losses.csv").read_text().split()[1:]]


def _run(script, flags, outputs, fault, cwd) -> None:
    """What a child does: as `python script flags` would, with its output in files."""
    for number, file in zip((1, 2), outputs, strict=False):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2))
    sys.stderr.reconfigure(errors="backslashreplace")
    os.chdir(cwd)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of data workers, as in a process of its own
    code = 1
    try:
        if fault is not None:
            fault()
        code = SCRIPTS[script](list(flags)) if isinstance(script, str) else script(*flags)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        outputs[2].write_text(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT} {code}")
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(code)


# ---------------------------------------------------------------------------------------------- faults

CHANGES = (
    "write_temporary",
    "rename_temporary",
    "sync_folder",
    "patiently",
)  # what utils.checkpoint changes files with


class SlowWrites:
    """Every write of a checkpoint, and every renaming, takes a while."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __call__(self) -> None:
        self._before(checkpoint._Recorder, "write")
        for name in CHANGES:
            self._before(checkpoint, name)

    def _before(self, owner: object, name: str) -> None:
        real = getattr(owner, name)

        def slow(*arguments, **options):
            time.sleep(self.seconds)
            return real(*arguments, **options)

        setattr(owner, name, slow)


class DieAtChange:
    """SIGKILL before the change number `count` that checkpoints make on the disk."""

    def __init__(self, count: int):
        self.count = count

    def __call__(self) -> None:
        for name in CHANGES:
            setattr(checkpoint, name, self._counting(getattr(checkpoint, name)))

    def _counting(self, real):
        def counted(*arguments, **options):
            if self.count == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count -= 1
            return real(*arguments, **options)

        return counted


class FailWrites:
    """Writing files whose name matches `pattern` fails, from the one after `good` on."""

    def __init__(self, pattern: str, number: int = errno.ENOSPC, good: int = 0):
        self.pattern, self.number, self.good = pattern, number, good

    def __call__(self) -> None:
        real, fault = Path.open, self

        class Failing(io.FileIO):
            def write(self, content):
                super().write(memoryview(content)[: len(content) // 2])
                raise OSError(fault.number, os.strerror(fault.number))

        def opened(path, mode="r", *arguments, **options):
            if mode[0] in "wxa" and fnmatch.fnmatch(path.name, fault.pattern):
                fault.good -= 1
                if fault.good < 0:
                    return Failing(path, mode.replace("b", ""))
            return real(path, mode, *arguments, **options)

        Path.open = opened


class LimitFileSize:
    """No file may grow beyond `most` bytes: the system's own refusal."""

    def __init__(self, most: int):
        self.most = most

    def __call__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most, self.most))


class AfterSteps:
    """Something goes wrong in the training step number `step`: see its subclasses."""

    def __init__(self, step: int):
        self.step = step

    def __call__(self) -> None:
        real, count = Zi2ZiModel.optimize_parameters, itertools.count(1)

        def optimize_parameters(model, seed=None):
            return self.spoil(model, real(model, seed), next(count) - self.step)

        Zi2ZiModel.optimize_parameters = optimize_parameters


class NanLoss(AfterSteps):
    """The L1 loss is not a number from then on."""

    def spoil(self, _model, losses, since):
        return losses | {"l1_loss": losses["l1_loss"] * float("nan")} if since >= 0 else losses


class NanWeight(AfterSteps):
    """A weight of the generator is infinite after it; no loss has told of it yet."""

    def spoil(self, model, losses, since):
        if since == 0:
            next(model.netG.parameters()).data.view(-1)[0] = float("inf")
        return losses
