"""The scripts in this process and in others, with tiny sizes, and what they leave."""

import subprocess
import sys
from pathlib import Path

import torch

import infer
import train
from tests.helpers.ranks import ROOT

SIZES = [
    "--image_size",
    "64",
    "--ngf",
    "4",
    "--ndf",
    "2",
    "--embedding_dim",
    "8",
    "--batch_size",
    "2",
    "--gpu_ids",
    "-1",
]


# All that there is takes part in the training, on every processor in float32.
TINY_FLAGS = [
    *SIZES,
    "--dropout",
    "0.5",
    "--Ladv_penalty",
    "1",
    "--Lconst_penalty",
    "15",
    "--no-deform",
    "--amp",
    "off",
]
FEW = Path(__file__).parent / "few.txt"  # 80 characters of the bundled fonts, which are soon aligned and scored
DATA_FLAGS = {"--src_font", "--dst_font", "--dst_imgs", "--data_dir", "--charset"}


def tiny_run(folder: Path, *flags: object) -> list[str]:
    """The flags of a tiny run in `folder`; a new one on the bundled fonts has few characters."""
    is_begun = any((folder / "checkpoint").glob("*_state.pth"))
    few = [] if DATA_FLAGS.intersection(flags) or is_begun or (folder / "data").exists() else ["--charset", FEW]
    return [*TINY_FLAGS, "--experiment_dir", *map(str, (folder, *few, *flags))]


def run_train(folder: Path, *flags: object) -> int:
    """train.main with tiny sizes in `folder`."""
    return train.main(tiny_run(folder, *flags))


def script(name: str, *flags: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / name), *map(str, flags)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def run_infer(folder: Path, *flags: object) -> int:
    return infer.main(["--experiment_dir", str(folder), "--gpu_ids", "-1", *map(str, flags)])


def states(folder: Path, step: int, inside: str = "checkpoint") -> dict[str, dict]:
    parts = ("net_G", "net_D", "net_G_EMA", "state")
    return {part: torch.load(folder / inside / f"{step}_{part}.pth", weights_only=True) for part in parts}


def strays(folder: Path) -> list[Path]:
    """The temporary files that a run left."""
    return list(folder.rglob(".*.tmp"))


def assert_same(one, two, where="") -> None:
    """Equal to the last bit, through dicts and lists."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list):
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f"{where}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where
