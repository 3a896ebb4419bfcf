"""Nothing is lost: damaged checkpoints, numbers that are not finite, and runs that should not be."""

import errno
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.helpers.faults import (
    Child,
    DieAtChange,
    FailWrites,
    NanLoss,
    NanWeight,
    is_one_line,
    logged,
    run_child,
    steps_of,
    train_child,
    wait_for,
)
from tests.helpers.fonts import make_font
from tests.helpers.scripts import assert_same, run_infer, run_train, states
from utils.errors import is_out_of_memory

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
    code = run_train(folder, "--resume", 12, "--max_steps", 13)
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "12" in error
    assert run_train(folder, "--resume", "latest", "--max_steps", 7) == 0
    said = capsys.readouterr().out
    assert "resuming from step 6" in said
    if (part, damage) != ("state", "missing"):  # without it there is no step
        assert "step 12 is skipped" in said
    assert steps_of(folder) == [6, 7]
    assert list(folder.glob("checkpoint/after_6/12_*"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_drawing_passes_over_a_damaged_generator(trained, tmp_path, capsys, damage):
    folder = shutil.copytree(trained, tmp_path / "run")
    for part in ("net_G", "net_G_EMA"):
        DAMAGE[damage](folder / "checkpoint" / f"12_{part}.pth")
    flags = ["--src_txt", "國", "--infer_dir", tmp_path / "out"]
    assert run_infer(folder, *flags, "--resume", 12) == 2
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
    """Else a good checkpoint would be skipped, and the run would go back."""
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
    assert "is skipped" not in said.out
    assert steps_of(folder) == [6, 12]


def test_a_run_of_an_earlier_version_is_gone_on_with(trained, tmp_path):
    """Its state does not name the files that belong to it."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "checkpoint" / "12_state.pth"
    state = torch.load(path, weights_only=True)
    del state["parts"]
    torch.save(state, path)
    assert run_train(folder, "--resume", "latest", "--max_steps", 13) == 0
    assert steps_of(folder) == [12, 13]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("momentum", lambda tensor: torch.zeros(2 * tensor.numel())[:1].as_strided(tensor.shape, [0] * tensor.ndim)),
        ("exp_avg", lambda tensor: torch._neg_view(tensor)),
        ("exp_avg_sq", lambda tensor: tensor[:1]),
    ],
)
def test_moments_that_an_optimizer_could_not_go_on_with_are_refused(tmp_path, trained, capsys, name, spoil):
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "checkpoint" / "12_state.pth"
    state = torch.load(path, weights_only=True)
    moments = next(moments for moments in state["optimizer_G"]["state"].values() if name in moments)
    moments[name] = spoil(moments[name])
    torch.save(state, path)
    assert run_train(folder, "--resume", "12") == 2
    assert "its optimizer_G is of other weights, or of another optimizer" in capsys.readouterr().err


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
    assert re.search("is not a finite number: try (--amp off, or )?a lower --lr, with", capsys.readouterr().err)
    assert not steps_of(tmp_path)


@pytest.mark.parametrize(("amp", "advice"), [("off", "try a lower --lr"), ("bf16", "try --amp off, or a lower --lr")])
def test_half_precision_is_named_where_it_may_be_the_reason(tmp_path, capsys, amp, advice):
    assert run_train(tmp_path, "--lr", 1e30, "--max_steps", 5, "--amp", amp) == 1
    assert f"is not a finite number: {advice}, with --resume latest" in capsys.readouterr().err


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
    code = run_infer(tmp_path / "one")
    assert code == 2
    assert "holds no characters out" in capsys.readouterr().err
    assert run_infer(tmp_path / "one", "--src_txt", "一") == 0


def test_a_label_beyond_the_table(three, tmp_path, capsys):
    code = run_train(tmp_path / "run", *three, three[-1], "--embedding_num", 1)
    assert code == 2
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
    assert run_train(tmp_path / "a" / "b", "--charset", "nowhere") == 2
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
        from utils.data.font_pairs import FontData

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


@pytest.mark.parametrize("name", ["CUDNN", "CUBLAS"])
def test_what_libraries_of_a_gpu_say_of_memory_is_understood(name):
    error = RuntimeError(f"{name} error: {name}_STATUS_ALLOC_FAILED when calling `create(handle)`")
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError(f"{name}_STATUS_EXECUTION_FAILED"))


class NoMemory:
    """The system refuses more memory than is in use already."""

    def __call__(self) -> None:
        from model import Zi2ZiModel

        def refused(*_):
            torch.empty(2**50)

        Zi2ZiModel.optimize_parameters = refused
