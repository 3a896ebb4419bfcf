"""Nothing is lost: runs that are killed, stopped, read meanwhile, or that meet a failing disk."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.faults import (
    Child,
    DieAtChange,
    FailWrites,
    LimitFileSize,
    SlowWrites,
    is_one_line,
    logged,
    run_child,
    steps_of,
    train_child,
    wait_for,
)
from tests.helpers.scripts import ROOT, assert_same, run_infer, run_train, states, strays, tiny_run
from utils.experiment import checkpoint

# ------------------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize(("workers", "accum_steps"), [(0, 2), (2, 1)])
def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(tmp_path, workers, accum_steps):
    """Augmentation and dropout on, in the middle of an epoch of 36 steps."""
    flags = ["--g_blur", "--num_workers", workers, "--accum_steps", accum_steps]
    flags += ["--checkpoint_steps", 3, "--sample_steps", 100, "--max_steps", 30]
    assert train_child(tmp_path / "whole", *flags).wait().code == 0
    folder, dice, killed = tmp_path / "killed", random.Random(workers + accum_steps), 0
    for _ in range(6):
        child = train_child(folder, *flags, "--resume", "latest", fault=SlowWrites(0.001))
        time.sleep(dice.uniform(0.1, 1.2))
        child.kill()
        killed += child.wait().code == -signal.SIGKILL
        for step in steps_of(folder):
            checkpoint.read_step(folder / "checkpoint", step)
    assert train_child(folder, *flags, "--resume", "latest").wait().code == 0
    assert killed >= 2
    assert_same(states(tmp_path / "whole", 30), states(folder, 30))
    assert logged(folder) == list(range(1, 31))
    assert (folder / "losses.csv").read_text() == (tmp_path / "whole" / "losses.csv").read_text()
    assert not strays(folder)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory) -> Path:
    """An experiment with checkpoints of its steps 1 and 2."""
    folder = tmp_path_factory.mktemp("two") / "run"
    assert run_train(folder, "--max_steps", 2, "--checkpoint_steps", 1) == 0
    return folder


@pytest.mark.parametrize("change", range(18))
def test_a_kill_within_the_writing_of_a_checkpoint(two_steps, tmp_path, change):
    """Before each of the 5 writes, the 7 renamings and syncs, and the 6 deletions of the oldest checkpoint."""
    folder = shutil.copytree(two_steps, tmp_path / "run")
    header, first, *others = (folder / "quality.csv").read_text().splitlines()
    worst = ",".join(["1", *["0.9"] * first.count(",")])  # so that the oldest is not the best, which is kept
    (folder / "quality.csv").write_text("\n".join([header, worst, *others, ""]))
    flags = ["--resume", "latest", "--checkpoint_steps", 1, "--keep_checkpoints", 2, "--max_steps", 3]
    assert train_child(folder, *flags, fault=DieAtChange(change)).wait().code == -signal.SIGKILL
    newest = steps_of(folder)[-1]
    assert newest == (2 if change < 11 else 3)
    checkpoint.read_step(folder / "checkpoint", newest)
    assert run_infer(folder, "--src_txt", "國", "--infer_dir", tmp_path / "drawn") == 0
    done = train_child(folder, *flags).wait()
    assert done.code == 0, done.err
    assert f"resuming from step {newest}" in done.out or "finished" in done.out
    assert not strays(folder)
    assert all(step in steps_of(folder) for step in checkpoint.all_steps(folder / "checkpoint"))


# ---------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_reaches_no_worker(tmp_path, number, code):
    """As a terminal sends Ctrl-C, and a scheduler SIGTERM: workers that died of it would take the last batch along."""
    root = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train.py"), *tiny_run(root, "--max_steps", 100000, "--num_workers", 2)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    wait_for(lambda: (root / "losses.csv").is_file() and logged(root))
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (code, "")
    assert logged(root)[-1] == steps_of(root)[-1]


def test_a_signal_before_the_first_step_is_over_is_heard(tmp_path):
    child = train_child(tmp_path / "run", "--max_steps", 100000)
    wait_for((tmp_path / "run" / "losses.csv").is_file)
    child.kill(signal.SIGTERM)
    done = child.wait()
    assert done.code == 143
    assert done.err == ""
    assert steps_of(tmp_path / "run")


def test_a_second_signal_leaves_at_once(tmp_path):
    child = train_child(tmp_path / "run", "--max_steps", 100000, "--checkpoint_steps", 5, fault=SlowWrites(0.003))
    wait_for(lambda: steps_of(tmp_path / "run"))
    child.kill(signal.SIGTERM)
    time.sleep(0.3)
    child.kill(signal.SIGTERM)
    started = time.monotonic()
    assert child.wait().code == -signal.SIGTERM
    assert time.monotonic() - started < 2
    done = train_child(tmp_path / "run", "--resume", "latest", "--max_steps", 1).wait()
    assert "finished" in done.out
    assert not strays(tmp_path / "run")


def test_a_signal_while_drawing_leaves_whole_files_and_a_manifest(trained, tmp_path):
    flags = ["--experiment_dir", trained, "--infer_dir", tmp_path / "out", "--gpu_ids", "-1", "--batch_size", 1]
    text = json.loads((trained / "config.json").read_text(encoding="utf-8"))["data"]["train"]
    child = Child("infer.py", *flags, "--src_txt", text, folder=tmp_path / "said")
    wait_for(lambda: list(tmp_path.glob("out/0/*.png")))
    child.kill(signal.SIGTERM)
    assert child.wait().code == 143
    drawn = {path.name for path in tmp_path.glob("out/0/*")}
    assert len(drawn) < len(text)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert {item["file"].removeprefix("0/") for item in manifest["characters"]} <= drawn
    assert not strays(tmp_path / "out")


# ------------------------------------------------------------------------------------------------- disk


class FailCall:
    """A call of the system fails for lack of space."""

    def __init__(self, name: str, word: str):
        self.name, self.word = name, word

    def __call__(self) -> None:
        real = getattr(os, self.name)

        def failing(path, *arguments, **options):
            if self.word in str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, *arguments, **options)

        setattr(os, self.name, failing)


@pytest.mark.parametrize(("name", "word"), [("open", ".lock"), ("mkdir", "sample"), ("mkdir", "run")])
def test_a_full_disk_at_the_start_is_no_mistake_of_the_users(tmp_path, name, word):
    done = train_child(tmp_path / "run", "--max_steps", 1, fault=FailCall(name, word)).wait()
    assert done.code == 1
    assert is_one_line(done), done.err
    assert os.strerror(errno.ENOSPC) in done.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        (".3_net_G.pth.tmp", "3_net_G.pth"),
        (".3_state.pth.tmp", "3_state.pth"),
        ("losses.csv", "losses.csv"),
        (".000003.png.tmp", "000003.png"),
        (".losses.png.tmp", "losses.png"),
        (".config.json.tmp", "config.json"),
    ],
)
def test_a_disk_that_fails_is_a_line_and_costs_no_checkpoint(two_steps, tmp_path, pattern, file, number):
    folder = shutil.copytree(two_steps, tmp_path / "run")
    flags = ["--resume", "latest", "--checkpoint_steps", 1, "--keep_checkpoints", 1, "--max_steps", 3]
    done = train_child(folder, *flags, fault=FailWrites(pattern, number)).wait()
    assert done.code == 1
    assert is_one_line(done), done.err
    assert f"{file}: {os.strerror(number)}" in done.err
    newest = 3 if file in ("000003.png", "losses.png") else 2
    assert steps_of(folder)[-1] == newest
    checkpoint.read_step(folder / "checkpoint", newest)
    assert not strays(folder)
    assert train_child(folder, *flags).wait().code == 0
    assert logged(folder) == [1, 2, 3]


def test_the_limit_of_the_system_is_met_as_a_full_disk_is(two_steps, tmp_path):
    folder = shutil.copytree(two_steps, tmp_path / "run")
    before = states(folder, 2)
    flags = ["--resume", "latest", "--checkpoint_steps", 1, "--keep_checkpoints", 1, "--max_steps", 3]
    done = train_child(folder, *flags, fault=LimitFileSize(30_000)).wait()
    assert done.code == 1
    assert is_one_line(done)
    assert f"3_net_G.pth: {os.strerror(errno.EFBIG)}" in done.err
    assert_same(before, states(folder, 2))
    assert not strays(folder)


@pytest.mark.parametrize(("pattern", "file"), [(".U+662F.png.tmp", "U+662F.png"), (".manifest.json.tmp", "manifest")])
def test_a_disk_that_fails_while_drawing(trained, tmp_path, pattern, file):
    flags = ["--experiment_dir", trained, "--infer_dir", tmp_path / "out", "--gpu_ids", "-1", "--src_txt", "國是的"]
    done = run_child("infer.py", *flags, folder=tmp_path / "said", fault=FailWrites(pattern))
    assert done.code == 1
    assert is_one_line(done, "infer.py"), done.err
    assert file in done.err
    assert not strays(tmp_path / "out")
    assert run_infer(trained, "--infer_dir", tmp_path / "out", "--src_txt", "國是的", "--skip_exist") == 0


def test_free_space_is_checked_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    code = run_train(tmp_path / "run", "--max_steps", 1)
    assert code == 2
    assert "free some space or lower --keep_checkpoints" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_checkpoints_that_are_there_need_no_further_space(two_steps, tmp_path, monkeypatch):
    folder = shutil.copytree(two_steps, tmp_path / "run")
    size = sum(path.stat().st_size for path in folder.glob("checkpoint/2_*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size))
    assert run_train(folder, "--resume", "latest", "--max_steps", 3, "--keep_checkpoints", 2) == 0


# ------------------------------------------------------------------------------------ reading while writing


def test_drawing_while_training(tmp_path):
    """A checkpoint at every step and only one kept: what infer.py has found is often gone when it reads."""
    folder = tmp_path / "run"
    flags = ["--max_steps", 100000, "--checkpoint_steps", 1, "--keep_checkpoints", 1, "--sample_steps", 100000]
    training = train_child(folder, *flags)
    wait_for(lambda: steps_of(folder))
    steps = []
    for number in range(12):
        flags = [
            "--experiment_dir",
            folder,
            "--gpu_ids",
            "-1",
            "--src_txt",
            "國",
            *(["--compare"] if number % 2 else []),
        ]
        done = run_child("infer.py", *flags, folder=tmp_path / "said")
        assert (done.code, done.err) == (0, ""), done.out
        assert "has no EMA weights" not in done.out
        steps.append(json.loads((folder / "infer" / "manifest.json").read_text(encoding="utf-8"))["step"])
    training.kill(signal.SIGTERM)
    assert training.wait().code == 143
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]
