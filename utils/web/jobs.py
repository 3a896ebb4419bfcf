"""Jobs: scripts in processes of their own, which outlive the app, are found again, and stop as in a terminal."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from utils.errors import Failure, UserError
from utils.files import locked
from utils.messages import _

JOB, LOCK, STOP = "job.json", ".job.lock", ".job.stop"
LOG = "job.log"  # in the folder of the project
ROOT = Path(__file__).resolve().parents[2]  # of the scripts
STARTED = 30.0  # seconds within which a job has begun
TAIL = 65536  # bytes of a log that are read
STOPPED = (130, 143)  # exit codes of a script that was stopped


class State(Enum):
    """What has become of a job."""

    RUNNING = auto()
    DONE = auto()
    STOPPED = auto()
    FAILED = auto()
    KILLED = auto()  # it has left no exit code


@dataclass(frozen=True)
class Job:
    """A script that runs, or has run, for a project; times are those of `time.time`."""

    id: str
    project: str
    script: str
    flags: list[str]
    started: float
    ended: float | None = None
    code: int | None = None

    def state(self, running: bool) -> State:
        """What has become of it; `running` says whether its lock is held."""
        if self.code is None:
            return State.RUNNING if running else State.KILLED
        return State.STOPPED if self.code in STOPPED else State.FAILED if self.code else State.DONE


class Jobs:
    """The jobs of an app's folder, of which one runs at a time, whichever app started it."""

    def __init__(self, folder: Path):
        self._folder, self._starting = folder, threading.Lock()

    def last(self) -> tuple[Job, State] | None:
        """The job that runs, or else the one that ran last."""
        running = self._is_running()  # before the file is read: a job that ends writes it first
        job = read_job(self._folder)
        return None if job is None else (job, job.state(running))

    def start(self, project: str, script: str, flags: Sequence[str]) -> Job:
        """Start a script, `train.py` or such as `utils.font_export`, for a project, and wait until it has begun.

        Raises:
            UserError: when another job runs.
            Failure: when it does not begin.
        """
        with self._starting:
            self._check_idle()
            identity = uuid.uuid4().hex
            command = [sys.executable, "-m", "utils.web.worker", str(self._folder), identity, project, script, *flags]
            process = launch(command, self._folder / project / LOG)
            end = time.monotonic() + STARTED
            while time.monotonic() < end:
                job = read_job(self._folder)
                if job is not None and job.id == identity:
                    return job
                if process.poll() is not None:
                    break
                time.sleep(0.05)
        raise Failure(_("the job did not begin: {log} may say why", log=self._folder / project / LOG))

    def stop(self) -> None:
        """Ask the job that runs to stop, as Ctrl-C would; a second time ends it at once.

        Raises:
            UserError: when none runs.
        """
        if not self._is_running():
            raise UserError(_("no job is running"))
        (self._folder / STOP).touch()

    def log(self, project: str) -> list[str]:
        """The last lines of a project's log."""
        try:
            with (self._folder / project / LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n") if line]

    def _check_idle(self) -> None:
        """Raise UserError when a job runs; one that has noted its end is waited for."""
        for _try in range(40):
            if not self._is_running():
                return
            job = read_job(self._folder)
            if job is None or job.code is None:
                break
            time.sleep(0.05)
        raise UserError(_("a job is running: wait for it, or stop it"))

    def _is_running(self) -> bool:
        try:
            with locked(self._folder, LOCK, ""):
                return False
        except UserError:
            return True


def environment() -> dict[str, str]:
    """That of a script whose lines are read as UTF-8, as they come."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def launch(command: Sequence[str], log: Path) -> "subprocess.Popen[Any]":
    """Start a process that outlives this one, whose lines go to a file."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    with log.open("wb") as file:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=ROOT, env=environment(), **pipes, **apart)


def read_job(folder: Path) -> Job | None:
    """The job that job.json tells of; None where it tells of none."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    return None


@contextlib.contextmanager
def holding(folder: Path, tries: int = 50) -> Iterator[None]:
    """Within, this process is the one job of a folder; one that only looks whether there is a job is waited for."""
    with contextlib.ExitStack() as stack:
        for left in reversed(range(tries)):
            try:
                stack.enter_context(locked(folder, LOCK, _("working in")))
                break
            except UserError:
                if not left:
                    raise
                time.sleep(0.02)
        yield
