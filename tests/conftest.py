"""What the tests share: few threads, a tiny model, a batch for it, and a tiny trained experiment."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that are started: tests run side by side

import pytest
import torch

import train
from model import Zi2ZiConfig, Zi2ZiModel

torch.set_num_threads(1)
# They send signals and set limits that only POSIX systems have.
POSIX_TESTS = ["test_faults.py", "test_damage.py", "test_hostile.py", "test_hostile_text.py"]
collect_ignore = POSIX_TESTS if os.name == "nt" else []

TINY = {"image_size": 64, "ngf": 4, "ndf": 2, "embedding_num": 3, "embedding_dim": 8}
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
# All that there is takes part in the training.
TINY_FLAGS = [*SIZES, "--dropout", "0.5", "--Ladv_penalty", "1", "--Lconst_penalty", "15"]


def tiny_model(dtype: torch.dtype = torch.float32, seed: int = 0, **changes) -> Zi2ZiModel:
    """A model of a few thousand weights, seeded."""
    torch.manual_seed(seed)
    model = Zi2ZiModel(Zi2ZiConfig(**TINY | changes))
    model.netG.to(dtype)
    model.netD.to(dtype)
    return model


def tiny_batch(count: int = 4, channels: int = 1, dtype: torch.dtype = torch.float32, seed: int = 1):
    """label, source, target of random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, count, channels, 64, 64, generator=generator, dtype=dtype) * 2 - 1
    return torch.arange(count) % 3, images[0], images[1]


def run_train(folder: Path, *flags: object) -> int:
    """train.main with tiny sizes in `folder`."""
    return train.main([*TINY_FLAGS, "--experiment_dir", str(folder), *map(str, flags)])


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """An experiment of 12 steps with blur, checkpoints at 6 and 12. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run_train(folder, "--g_blur", "--max_steps", 12, "--checkpoint_steps", 6, "--sample_steps", 6) == 0
    return folder
