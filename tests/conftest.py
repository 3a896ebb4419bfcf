"""What the tests share: few threads, a tiny trained experiment, and which tests take long."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that are started: tests run side by side
os.environ["ZI2ZI_LANG"] = "en"  # whoever runs them

import pytest
import torch

from tests.helpers.scripts import run_train

torch.set_num_threads(1)
RUNS = Path(__file__).parent / "runs"


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """An experiment of 12 steps with blur, checkpoints at 6 and 12. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run_train(folder, "--g_blur", "--max_steps", 12, "--checkpoint_steps", 6, "--sample_steps", 6) == 0
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs the scripts at length, kills them and feeds them damaged files is slow."""
    for item in items:
        if RUNS in item.path.parents:
            item.add_marker("slow")
