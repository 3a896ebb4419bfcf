"""Jobs of the app: one at a time, stopped as in a terminal, found again."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.faults import steps_of, wait_for
from tests.helpers.scripts import tiny_run
from utils.errors import Failure, UserError
from utils.web import jobs as module
from utils.web.jobs import JOB, Jobs, State, read_job
from utils.web.projects import open_project

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")


def state_of(jobs: Jobs) -> State | None:
    last = jobs.last()
    return last and last[1]


@pytest.fixture
def app(tmp_path):
    """The jobs of a folder with a project, which are ended afterwards."""
    open_project(tmp_path, "mine", make=True)
    jobs = Jobs(tmp_path)
    yield jobs, tmp_path
    end = time.monotonic() + 60
    while state_of(jobs) is State.RUNNING and time.monotonic() < end:
        jobs.stop()
        time.sleep(0.5)


def test_a_job_tells_how_it_ended(app):
    jobs, folder = app
    assert jobs.last() is None and jobs.log("mine") == []
    with pytest.raises(UserError, match="no job is running"):
        jobs.stop()
    jobs.start("mine", "utils.choose", ["--count", "3", "--charset", "U+4E00-4E20"])
    wait_for(lambda: state_of(jobs) is State.DONE)
    assert "3 of " in jobs.log("mine")[-1]
    jobs.start("mine", "utils.choose", ["--charset", "nothing"])
    wait_for(lambda: state_of(jobs) is State.FAILED)
    assert jobs.log("mine")[-1].startswith("utils.choose: error: 'nothing' is neither a charset")
    job = read_job(folder)
    assert job is not None and job.code == 2 and job.ended is not None and job.ended >= job.started


def test_a_job_is_stopped_as_a_terminal_would_and_found_by_another_app(app):
    jobs, folder = app
    run = folder / "mine"
    jobs.start("mine", "train.py", tiny_run(run, "--max_steps", 100_000, "--checkpoint_steps", 100_000))
    wait_for(lambda: any(line.startswith("step ") for line in jobs.log("mine")))
    another = Jobs(folder)  # after a restart, or in a second browser
    assert state_of(another) is State.RUNNING
    with pytest.raises(UserError, match="a job is running"):
        another.start("mine", "infer.py", [])
    another.stop()
    wait_for(lambda: state_of(jobs) is State.STOPPED)
    assert len(steps_of(run)) == 1, "what was trained is saved"
    assert any("stopping: saving a checkpoint first" in line for line in jobs.log("mine"))


def test_a_job_that_is_killed_is_noticed_and_the_next_one_starts(app):
    jobs, folder = app
    jobs.start("mine", "train.py", tiny_run(folder / "mine", "--max_steps", 100_000))
    wait_for(lambda: jobs.log("mine"))
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*") if str(folder) in command_of(path)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: state_of(jobs) is State.KILLED)
    jobs.start("mine", "utils.choose", ["--count", "1", "--charset", "U+4E00-4E20"])
    wait_for(lambda: state_of(jobs) is State.DONE)


def command_of(process: Path) -> str:
    """The command line of a process that may have ended."""
    try:
        return (process / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def test_a_job_that_does_not_begin_is_told(app, monkeypatch):
    jobs, _folder = app
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(Failure, match="did not begin"):
        jobs.start("mine", "train.py", [])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 1}', '{"id": "a", "more": 2}', "null"])
def test_a_damaged_note_of_a_job_is_none(content, app):
    jobs, folder = app
    (folder / JOB).write_text(content)
    assert jobs.last() is None
