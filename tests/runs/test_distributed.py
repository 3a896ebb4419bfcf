"""Two processes under torchrun do what one does; their losses and weights are those of the joint batch."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import infer
from tests.helpers.models import tiny_batch, tiny_model
from tests.helpers.ranks import ROOT, torchrun
from tests.helpers.scripts import TINY_FLAGS, run_train, tiny_run
from utils import device, distributed
from utils.data.loader import ResumableSampler
from utils.device import choose_device, drawing_batch
from utils.distributed import Ranks, joined
from utils.errors import UserError
from utils.files import locked

# With a seed in whose first steps no norm of a few pixels makes much of the rounding. Residual blocks, which begin at
# zero, have gradients that are all rounding, of which Muon makes whole steps.
FLAGS = ["--norm_type", "instance", "--dropout", "0", "--no-g_blur", "--checkpoint_steps", "3"]
FLAGS += ["--random_seed", "1", "--generator", "zi2zi"]
STEPS = 3


def both(*command: object, cwd: Path, code: int = 0) -> tuple[str, str]:
    """What two processes wrote to stdout and stderr, once they ended with `code`."""
    process = torchrun(2, *command, cwd=cwd)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def losses_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "losses.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def weights_of(folder: Path, step: int, part: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint" / f"{step}_{part}.pth", weights_only=True)


def double_model(accum_steps: int, optimizer: str):
    """In float64, with norms that see each image by itself, and no chance."""
    how = {"norm_type": "instance", "dropout": 0.0, "g_blur": True, "accum_steps": accum_steps, "optimizer": optimizer}
    return tiny_model(torch.float64, **how)


def train_share(accum_steps: int, optimizer: str, path: Path) -> None:
    """In each of several processes: steps on its share of the batches; the first keeps the losses and weights."""
    with joined(torch.device("cpu")) as ranks:
        model = double_model(accum_steps, optimizer)
        model.distribute(ranks.wrap, ranks.rank, ranks.count, ranks.add_up)
        found = []
        for seed in range(STEPS):
            model.set_input(*(part.chunk(ranks.count)[ranks.rank] for part in tiny_batch(8, 1, torch.float64, seed)))
            losses = model.optimize_parameters()
            found.append(ranks.mean(torch.stack([loss.double() for loss in losses.values()])))
        if ranks.is_main:
            torch.save((torch.stack(found), model.netG.state_dict(), model.netD.state_dict()), path)


@pytest.mark.parametrize(("accum_steps", "optimizer"), [(1, "adam"), (2, "adam"), (1, "muon")])
def test_two_processes_train_as_one_does_on_the_joint_batch(tmp_path, accum_steps, optimizer):
    """Losses, and weights after three steps, in float64."""
    both("-m", "tests.runs.test_distributed", "train", accum_steps, optimizer, tmp_path / "found.pth", cwd=ROOT)
    losses, *nets = torch.load(tmp_path / "found.pth", weights_only=True)
    model = double_model(accum_steps, optimizer)
    for seed in range(STEPS):
        model.set_input(*tiny_batch(8, 1, torch.float64, seed))
        expected = torch.stack([loss.double() for loss in model.optimize_parameters().values()])
        torch.testing.assert_close(losses[seed], expected, rtol=1e-6, atol=1e-6)
    for found, net in zip(nets, (model.netG, model.netD), strict=True):
        for name, value in net.state_dict().items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=name)


def test_a_run_goes_on_in_another_number_of_processes(tmp_path):
    """One process, or two, or first two and then one, or the other way round: the same losses and weights."""
    alone, mixed, back = tmp_path / "alone", tmp_path / "mixed", tmp_path / "back"
    assert run_train(alone, *FLAGS, "--max_steps", 6) == 0
    out, err = both(ROOT / "train.py", *tiny_run(mixed, *FLAGS, "--max_steps", 3), cwd=tmp_path)
    assert out.count("step 3: saved in") == 1 and out.count("characters to train on") == 1
    assert "Traceback" not in err
    shutil.copytree(mixed, back)
    assert run_train(mixed, *FLAGS, "--resume", "latest", "--max_steps", 6) == 0
    flags = tiny_run(back, *FLAGS, "--resume", "latest", "--max_steps", 6)
    out, _ = both(ROOT / "train.py", *flags, cwd=tmp_path)
    assert out.count("resuming from step 3") == 1
    for folder in (mixed, back):
        for found, expected in zip(losses_of(folder), losses_of(alone), strict=True):
            assert found == pytest.approx(expected, rel=5e-3, abs=0.03)  # the smallest, const_loss, is 0.3 here
        for part in ("net_G", "net_D", "net_G_EMA"):
            expected = weights_of(alone, 6, part)
            for name, value in weights_of(folder, 6, part).items():
                # Where a gradient is all rounding, Adam makes whole steps of it, one way or the other.
                off = (value - expected[name]).abs()
                assert off.max() < 12e-3, name  # of six steps that long, there and back
                assert (off < 2e-3).float().mean() > 0.95, name


def test_two_processes_learn_the_deformations_of_their_shares(tmp_path):
    flags = [*FLAGS, "--deform", "--max_steps", 3]
    assert run_train(tmp_path / "alone", *flags) == 0
    out, _ = both(ROOT / "train.py", *tiny_run(tmp_path / "two", *flags), cwd=tmp_path)
    assert out.count("pixels from the source's, on average") == 1
    alone, two = (losses_of(tmp_path / name) for name in ("alone", "two"))
    for found, expected in zip(two, alone, strict=True):
        assert expected["deform_loss"] > 0
        assert found == pytest.approx(expected, rel=5e-3, abs=0.03)


def test_characters_are_split_among_the_processes(trained, tmp_path):
    text = "國是的一了不人我在有他"
    flags = ["--experiment_dir", trained, "--gpu_ids", "-1", "--src_txt", text]
    out, err = both(ROOT / "infer.py", *flags, "--infer_dir", tmp_path / "two", cwd=tmp_path)
    assert "11 of 11 glyphs" in out and out.count("drawing with") == 1, err
    assert infer.main([*map(str, flags), "--infer_dir", str(tmp_path / "one")]) == 0
    names = sorted(path.name for path in (tmp_path / "one" / "0").iterdir())
    assert len(names) == 11 and names == sorted(path.name for path in (tmp_path / "two" / "0").iterdir())
    manifests = [json.loads((tmp_path / which / "manifest.json").read_text("utf-8")) for which in ("one", "two")]
    one, two = ({item["character"]: item for item in manifest["characters"]} for manifest in manifests)
    assert one == two


def test_a_mistake_is_told_once(tmp_path):
    _, err = both(ROOT / "train.py", *TINY_FLAGS, "--src_font", "missing.ttf", "--dst_font", "b", cwd=tmp_path, code=1)
    assert err.count("train.py: error: ") == 1  # torchrun, whose exit code is 1, adds lines of its own
    assert not (tmp_path / "experiments").exists()


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path):
    _, err = both(ROOT / "train.py", *TINY_FLAGS, "--batch_size", "3", cwd=tmp_path, code=1)
    assert "--batch_size 3 is shared by 2 processes: make it a multiple" in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_a_signal_saves_one_checkpoint_of_both(tmp_path):
    root = tmp_path / "run"
    process = torchrun(2, ROOT / "train.py", *tiny_run(root, "--max_steps", 100000), cwd=tmp_path)
    wait_for_a_step(root)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert "stopping: saving a checkpoint first" in out, err
    step = int(losses_of(root)[-1]["step"])
    assert (root / "checkpoint" / f"{step}_state.pth").is_file()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs to find the processes")
def test_a_process_whose_partner_is_killed_says_so_in_one_line(tmp_path):
    root = tmp_path / "run"
    process = torchrun(2, ROOT / "train.py", *tiny_run(root, "--max_steps", 100000), cwd=tmp_path)
    wait_for_a_step(root)
    _, second = sorted(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    os.kill(second, signal.SIGKILL)
    _, err = process.communicate(timeout=90)
    own = [line for line in err.splitlines() if line.startswith("train.py: error")]
    said = "train.py: error: process 0 can't go on, perhaps because another one has ended: "
    assert len(own) <= 1
    assert all(line.startswith(said) for line in own)
    assert 'train.py", line' not in err  # no traceback of ours; torchrun has one of its own


def fail_alone(folder: Path) -> None:
    """In each of several processes: the first holds the folder and waits for the second, whose disk fails."""
    with joined(torch.device("cpu")) as ranks, contextlib.ExitStack() as stack:
        if ranks.is_main:
            stack.enter_context(locked(folder, ".training.lock", "training in"))
        ranks.most(0)
        (folder / f"{ranks.rank}.started").write_text(str(time.time()))
        if not ranks.is_main:
            raise OSError(errno.ENOSPC, "No space left on device", "a file")
        ranks.most(0)


def test_a_process_that_fails_alone_holds_nobody_up(tmp_path):
    _, err = both("-m", "tests.runs.test_distributed", "fail", tmp_path, cwd=ROOT, code=1)
    assert time.time() - float((tmp_path / "1.started").read_text()) < 10
    assert "error: a file: No space left on device" in err
    assert 'test_distributed.py", line' not in err  # no traceback of ours; torchrun has one of its own
    with locked(tmp_path, ".training.lock", "training in"):
        pass


def test_what_is_no_known_error_shows_where_it_arose(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    for error in (ZeroDivisionError("by 0"), SystemExit(2), SystemExit(), UserError("wrong"), KeyboardInterrupt()):
        distributed.leave(error)
    assert codes == [1, 2, 0, 2, 130]
    said = capsys.readouterr().err
    assert "ZeroDivisionError: by 0" in said and "error: wrong" in said and "interrupted" in said


def wait_for_a_step(root: Path) -> None:
    deadline = time.monotonic() + 60
    while not ((root / "losses.csv").is_file() and losses_of(root)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_shares_of_a_batch_are_its_parts_in_order():
    whole = iter(ResumableSampler(10, 4, seed=1, start=6))
    parts = [iter(ResumableSampler(10, 4, seed=1, start=6, rank=rank, count=2)) for rank in range(2)]
    for _ in range(5):
        assert next(whole) == next(parts[0]) + next(parts[1])


def test_a_mac_is_told_of_its_gpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for there, words in ((True, "much slower; --gpu_ids mps uses Apple's GPU"), (False, "much slower")):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        assert choose_device(None) == torch.device("cpu")
        assert caplog.messages[-1].endswith(words)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device(["mps"]) == torch.device("mps")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="torchrun started 2 processes"):
        choose_device(["mps"])


def test_each_process_takes_a_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(device, "check_kernels", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device(None) == torch.device("cuda", 1)
    assert choose_device(["2", "3"]) == torch.device("cuda", 3)
    assert choose_device(["-1"]) == torch.device("cpu")
    with pytest.raises(UserError, match="a device of its own"):
        choose_device(["3", "3"])
    with pytest.raises(UserError, match=r"--nproc_per_node 1 .* --gpu_ids 3"):
        choose_device(["3"])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UserError, match=r"torchrun --nproc_per_node 2 .* --gpu_ids 0 1"):
        choose_device(["0,1"])


def test_a_gpu_draws_more_at_once_the_smaller_the_images():
    assert [drawing_batch("cuda", size) for size in (128, 256, 512, 1024)] == [256, 64, 16, 4]
    assert drawing_batch("cpu", 128) == drawing_batch("cpu", 1024) == 16


def test_one_process_is_a_case_of_many():
    ranks = Ranks()
    assert ranks.is_main and ranks.most(3) == 3 and ranks.gather([1]) == [1] and ranks.share([1, 2]) == [1, 2]
    with pytest.raises(UserError, match="as it was"), ranks.together():
        raise UserError("as it was")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train_share(int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    else:
        fail_alone(Path(sys.argv[2]))
