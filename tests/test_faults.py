"""Nothing is lost: runs that are killed, stopped, or that meet a failing disk, a damaged checkpoint or bad numbers."""

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
import torch

from tests.conftest import TINY_FLAGS, run_train
from tests.faults import (
    Child,
    DieAtChange,
    FailWrites,
    LimitFileSize,
    NanLoss,
    NanWeight,
    Result,
    SlowWrites,
    end_children,
    run_child,
)
from tests.fonts import make_font
from tests.test_train_infer import ROOT, assert_same, run_infer, states, strays
from utils import checkpoint


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    end_children()


def train_child(folder: Path, *flags: object, fault=None) -> Child:
    """train.py on tiny sizes in `folder`, in a child."""
    flags = (*TINY_FLAGS, "--experiment_dir", folder, *flags)
    return Child("train.py", *flags, folder=folder.parent / f"{folder.name}_said", fault=fault)


def steps_of(folder: Path) -> list[int]:
    return checkpoint.steps_with(folder / "checkpoint", "state")


def logged(folder: Path) -> list[int]:
    return [int(line.split(",")[0]) for line in (folder / "losses.csv").read_text().split()[1:]]


def is_one_line(result: Result, script: str = "train.py") -> bool:
    return result.err.startswith(f"{script}: error: ") and result.err.count("\n") == 1


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accum_steps", [1, 2])
def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(tmp_path, workers, accum_steps):
    """Augmentation and dropout on, in the middle of an epoch of 270 steps."""
    flags = ["--g_blur", "--num_workers", workers, "--accum_steps", accum_steps]
    flags += ["--checkpoint_steps", 3, "--sample_steps", 100, "--max_steps", 14]
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
    assert_same(states(tmp_path / "whole", 14), states(folder, 14))
    assert logged(folder) == list(range(1, 15))
    assert (folder / "losses.csv").read_text() == (tmp_path / "whole" / "losses.csv").read_text()
    assert not strays(folder)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory) -> Path:
    """An experiment with checkpoints of its steps 1 and 2."""
    folder = tmp_path_factory.mktemp("two") / "run"
    assert run_train(folder, "--max_steps", 2, "--checkpoint_steps", 1) == 0
    return folder


@pytest.mark.parametrize("change", range(15))
def test_a_kill_within_the_writing_of_a_checkpoint(two_steps, tmp_path, change):
    """Before each of the 4 writes, the 6 renamings and syncs, and the 5 deletions of the oldest checkpoint."""
    folder = shutil.copytree(two_steps, tmp_path / "run")
    flags = ["--resume", "latest", "--checkpoint_steps", 1, "--keep_checkpoints", 2, "--max_steps", 3]
    assert train_child(folder, *flags, fault=DieAtChange(change)).wait().code == -signal.SIGKILL
    newest = steps_of(folder)[-1]
    assert newest == (2 if change < 9 else 3)
    checkpoint.read_step(folder / "checkpoint", newest)
    assert run_infer(folder, "--src_txt", "國", "--infer_dir", tmp_path / "drawn") == 0
    done = train_child(folder, *flags).wait()
    assert done.code == 0, done.err
    assert f"going on from step {newest}" in done.out or "finished" in done.out
    assert not strays(folder)
    assert all(step in steps_of(folder) for step in checkpoint.all_steps(folder / "checkpoint"))


# ---------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_reaches_no_worker(tmp_path, number, code):
    """As a terminal sends Ctrl-C, and a scheduler SIGTERM: workers that died of it would take the last batch along."""
    command = [sys.executable, ROOT / "train.py", *TINY_FLAGS, "--max_steps", "100000", "--num_workers", "2"]
    process = subprocess.Popen(
        [*map(str, command)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    root = tmp_path / "experiments" / "default"
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
    with pytest.raises(SystemExit) as caught:
        run_train(tmp_path / "run", "--max_steps", 1)
    assert caught.value.code == 2
    assert "free some space or lower --keep_checkpoints" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_checkpoints_that_are_there_need_no_further_space(two_steps, tmp_path, monkeypatch):
    folder = shutil.copytree(two_steps, tmp_path / "run")
    size = sum(path.stat().st_size for path in folder.glob("checkpoint/2_*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size))
    assert run_train(folder, "--resume", "latest", "--max_steps", 3, "--keep_checkpoints", 2) == 0


# -------------------------------------------------------------------------------------------------- checkpoints


def flip(path: Path) -> None:
    """Change one bit in the middle of the largest tensor, where torch.load would not notice it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def of_another_run(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({name: torch.zeros(2, 2) for name in state}, path)


DAMAGE = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": flip,
    "empty": lambda path: os.truncate(path, 0),
    "another": of_another_run,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("part", ["net_G", "net_D", "net_G_EMA", "state"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_resuming_passes_over_a_damaged_checkpoint(trained, tmp_path, capsys, part, damage):
    folder = shutil.copytree(trained, tmp_path / "run")
    DAMAGE[damage](folder / "checkpoint" / f"12_{part}.pth")
    with pytest.raises(SystemExit) as caught:
        run_train(folder, "--resume", 12, "--max_steps", 13)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "12" in error
    assert run_train(folder, "--resume", "latest", "--max_steps", 7) == 0
    said = capsys.readouterr().out
    assert "going on from step 6" in said
    if (part, damage) != ("state", "missing"):  # without it there is no step
        assert "step 12 is passed over" in said
    assert steps_of(folder) == [6, 7]
    assert list(folder.glob("checkpoint/after_6/12_*"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_drawing_passes_over_a_damaged_generator(trained, tmp_path, capsys, damage):
    folder = shutil.copytree(trained, tmp_path / "run")
    for part in ("net_G", "net_G_EMA"):
        DAMAGE[damage](folder / "checkpoint" / f"12_{part}.pth")
    flags = ["--src_txt", "國", "--infer_dir", tmp_path / "out"]
    with pytest.raises(SystemExit):
        run_infer(folder, *flags, "--resume", 12)
    assert "12" in capsys.readouterr().err
    assert run_infer(folder, *flags) == 0
    assert "6_net_G_EMA.pth" in capsys.readouterr().out


def test_going_back_sets_aside_what_is_later(trained, tmp_path, capsys):
    """Else it would pass for the newest, and push the new checkpoints out."""
    folder = shutil.copytree(trained, tmp_path / "run")
    log = (folder / "losses.csv").read_text()
    assert run_train(folder, "--resume", 6, "--max_steps", 8, "--checkpoint_steps", 1, "--keep_checkpoints", 1) == 0
    assert "later than step 6 is now in" in capsys.readouterr().out
    assert steps_of(folder) == [8]
    aside = folder / "checkpoint" / "after_6"
    assert_same(states(trained, 12)["state"], torch.load(aside / "12_state.pth", weights_only=True))
    assert (aside / "losses_to_12.csv").read_text() == log
    assert logged(folder) == list(range(1, 9))
    assert run_train(folder, "--overwrite", "--max_steps", 1) == 0
    assert not aside.exists()


@pytest.mark.parametrize("change", [0, 1, 3])
def test_a_kill_while_later_checkpoints_are_set_aside(trained, tmp_path, change):
    folder = shutil.copytree(trained, tmp_path / "run")
    log = (folder / "losses.csv").read_text()
    flags = ["--resume", 6, "--max_steps", 7]
    assert train_child(folder, *flags, fault=DieAtChange(change)).wait().code == -signal.SIGKILL
    assert train_child(folder, *flags).wait().code == 0
    assert_same(states(trained, 12), states(folder, 12, "checkpoint/after_6"))
    assert (folder / "checkpoint" / "after_6" / "losses_to_12.csv").read_text() == log
    assert steps_of(folder) == [6, 7]
    assert [path.name for path in folder.glob("checkpoint/after_*")] == ["after_6"]


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), RuntimeError("can't allocate memory"), MemoryError()]
)
def test_a_disk_or_memory_that_fails_in_reading_is_not_taken_for_damage(trained, tmp_path, monkeypatch, capsys, error):
    """Else a good checkpoint would be passed over, and the run would go back."""
    folder = shutil.copytree(trained, tmp_path / "run")
    real = torch.load

    def load(file, **options):
        if file.name.endswith("12_net_G.pth"):
            raise error
        return real(file, **options)

    monkeypatch.setattr(torch, "load", load)
    assert run_train(folder, "--resume", "latest", "--max_steps", 13) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "passed over" not in said.out
    assert steps_of(folder) == [6, 12]


def test_a_run_of_an_earlier_version_is_gone_on_with(trained, tmp_path):
    """Its state does not name the files that belong to it."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "checkpoint" / "12_state.pth"
    state = torch.load(path, weights_only=True)
    del state["parts"]
    torch.save(state, path)
    assert run_train(folder, "--resume", "latest", "--max_steps", 13) == 0
    assert steps_of(folder) == [6, 12, 13]


# --------------------------------------------------------------------------------------------- bad state


@pytest.mark.parametrize("fault", [NanLoss(5), NanWeight(6)])
def test_numbers_that_are_not_finite_stop_the_run_and_spoil_no_checkpoint(tmp_path, fault):
    folder = tmp_path / "run"
    flags = ["--checkpoint_steps", 3, "--keep_checkpoints", 1, "--max_steps", 20]
    done = train_child(folder, *flags, fault=fault).wait()
    assert done.code == 1
    assert is_one_line(done), done.err
    what = "step 5: l1_loss nan" if isinstance(fault, NanLoss) else "step 6: a weight of net_G"
    assert what in done.err
    assert "--lr" in done.err
    assert steps_of(folder) == [3]
    assert all(tensor.isfinite().all() for tensor in states(folder, 3)["net_G"].values())


def test_a_learning_rate_that_is_too_high_is_found(tmp_path, capsys):
    assert run_train(tmp_path, "--lr", 1e30, "--max_steps", 5) == 1
    assert "is not a finite number: try a lower --lr" in capsys.readouterr().err
    assert not steps_of(tmp_path)


@pytest.fixture
def three(tmp_path):
    """Two fonts of three characters."""
    box = {c: (100, 0, 900, 300 * i) for i, c in enumerate("一二三", 1)}
    return ["--src_font", make_font(tmp_path / "s.ttf", box), "--dst_font", make_font(tmp_path / "t.ttf", box)]


def test_few_pairs_do(three, tmp_path, capsys):
    assert run_train(tmp_path / "run", *three, "--batch_size", 8, "--max_steps", 3) == 0
    (tmp_path / "one.txt").write_text("三", encoding="utf-8")
    one = ["--charset", tmp_path / "one.txt", "--max_steps", 2]
    assert run_train(tmp_path / "one", *three, *one, "--batch_size", 1) == 0
    assert "1 characters to train on, 0 held out" in capsys.readouterr().out
    assert run_train(tmp_path / "accum", *three, *one, "--batch_size", 1, "--accum_steps", 2) == 0
    with pytest.raises(SystemExit) as caught:
        run_infer(tmp_path / "one")
    assert caught.value.code == 2
    assert "holds no characters out" in capsys.readouterr().err
    assert run_infer(tmp_path / "one", "--src_txt", "一") == 0


def test_a_label_beyond_the_table(three, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run_train(tmp_path / "run", *three, three[-1], "--embedding_num", 1)
    assert caught.value.code == 2
    assert "--embedding_num 1 has no room for 2 labels" in capsys.readouterr().err


def test_two_processes_in_one_experiment(tmp_path):
    folder = tmp_path / "run"
    first = train_child(folder, "--max_steps", 100000, "--num_workers", 2)
    wait_for((folder / "losses.csv").is_file)
    for flags in ([], ["--resume", "latest"], ["--overwrite"]):
        second = train_child(folder, *flags, "--max_steps", 1).wait()
        assert second.code == 2
        assert is_one_line(second)
        assert f"another process is training in {folder}" in second.err
    first.kill()  # and its workers live on for a while: they must not keep the lock
    assert first.wait().code == -signal.SIGKILL
    assert train_child(folder, "--overwrite", "--max_steps", 1).wait().code == 0
    assert not list(folder.glob("*.lock"))
    assert not list(folder.glob(".*.lock"))


def test_two_processes_that_draw_into_one_folder(trained, tmp_path):
    flags = ["--experiment_dir", trained, "--infer_dir", tmp_path / "out", "--gpu_ids", "-1", "--batch_size", 1]
    text = json.loads((trained / "config.json").read_text(encoding="utf-8"))["data"]["train"]
    first = Child("infer.py", *flags, "--src_txt", text, folder=tmp_path / "said")
    wait_for((tmp_path / "out" / ".drawing.lock").exists)
    second = run_child("infer.py", *flags, "--src_txt", "國", folder=tmp_path / "said")
    assert first.wait().code == 0
    assert second.code == 2
    assert "another process is drawing into" in second.err


def test_folders_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").touch()
    for folder, words in ((tmp_path / "file" / "run", "Not a directory"), (Path("/proc/run"), "/proc/run: ")):
        assert run_train(folder, "--max_steps", 1) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error


def test_a_folder_without_permission(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    done = train_child(folder, "--resume", "latest", fault=FailWrites(".config.json.tmp", errno.EACCES)).wait()
    assert done.code == 2
    assert is_one_line(done)
    assert "config.json: Permission denied" in done.err


def test_a_mistake_leaves_no_folder(tmp_path):
    with pytest.raises(SystemExit):
        run_train(tmp_path / "a" / "b", "--charset", "nowhere")
    assert not (tmp_path / "a").exists()


def test_fonts_that_go_away_in_the_middle(three, tmp_path):
    """Workers that open them later find nothing: a line, not a traceback."""
    folder = tmp_path / "run"
    for workers in (0, 2):
        done = train_child(
            folder, *three, "--max_steps", 5, "--num_workers", workers, "--overwrite", fault=LostPictures()
        ).wait()
        assert done.code == 2
        assert is_one_line(done), done.err
        assert "the data can't be read any more" in done.err


class LostPictures:
    """The fonts can be read until the training begins."""

    def __call__(self) -> None:
        from utils.font_data import FontData

        def lost(*_):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "s.ttf")

        FontData.render_pair = lost


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it finds the workers in /proc")
def test_a_worker_that_is_killed_is_a_line(tmp_path):
    child = train_child(tmp_path / "run", "--max_steps", 100000, "--num_workers", 2)
    wait_for(lambda: (tmp_path / "run" / "losses.csv").is_file() and logged(tmp_path / "run"))
    children = Path(f"/proc/{child.process.pid}/task/{child.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    done = child.wait()
    assert done.code == 1
    assert is_one_line(done), done.err
    assert "--num_workers 0" in done.err


def test_too_little_memory_is_a_line(tmp_path):
    done = train_child(tmp_path / "run", "--max_steps", 1, fault=NoMemory()).wait()
    assert done.code == 1
    assert is_one_line(done), done.err
    assert "too little memory: lower --batch_size" in done.err


class NoMemory:
    """The system refuses more memory than is in use already."""

    def __call__(self) -> None:
        from model import Zi2ZiModel

        def refused(_):
            torch.empty(2**50)

        Zi2ZiModel.optimize_parameters = refused


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
