"""What a run shows while it goes on: report.html, and TensorBoard's files."""

import json
import re
from pathlib import Path

import pytest

from tests.helpers.scripts import run_train
from utils.experiment.config import Paths
from utils.experiment.tables import read_columns
from utils.training import board, live, trainer
from utils.training.live import MOST_POINTS, curves


def data_of(folder: Path) -> dict:
    text = (folder / "report.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_follows_the_run(tmp_path, monkeypatch):
    seen = []

    def spy(*args, **named):
        live.write_live(*args, **named)
        seen.append(data_of(tmp_path / "run"))

    monkeypatch.setattr(trainer, "write_live", spy)
    assert run_train(tmp_path / "run", "--max_steps", 6, "--sample_steps", 3) == 0
    assert [(data["step"], data["ended"], len(data["sheets"])) for data in seen] == [
        (3, False, 1),
        (6, False, 2),
        (6, True, 2),
    ]
    data = seen[-1]
    assert data["total"] == 6 and data["name"] == "run"
    assert data["losses"]["steps"] == [1, 2, 3, 4, 5, 6]
    assert {"g_loss", "l1_loss"} <= data["losses"]["columns"].keys()
    assert data["quality"]["steps"] == [3, 6]
    assert ["l1", "L1 ↓"] in data["measures"]
    assert all((tmp_path / "run" / file).is_file() for _, file in data["sheets"])
    assert run_train(tmp_path / "run", "--overwrite", "--max_steps", 1) == 0
    assert data_of(tmp_path / "run")["step"] == 1


def test_sheets_of_a_lost_run_and_stray_files_are_not_shown(tmp_path):
    assert run_train(tmp_path / "run", "--max_steps", 2, "--sample_steps", 1) == 0
    sample = tmp_path / "run" / "sample"
    for name in ("000009.png", "000001 (1).png", "copy.png"):
        (sample / name).write_bytes((sample / "000001.png").read_bytes())
    paths = Paths(tmp_path / "run")
    live.write_live(paths, live.read_tables(paths), 2, 2, ended=True)
    assert [step for step, _ in data_of(tmp_path / "run")["sheets"]] == [1, 2]


def test_a_page_says_that_a_run_has_ended_however_it_did(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.Trainer, "_pause", lambda *args: (_ for _ in ()).throw(OSError(28, "full")))
    assert run_train(tmp_path / "run", "--max_steps", 2) == 1
    assert data_of(tmp_path / "run")["ended"]


def test_a_long_curve_is_made_of_means(tmp_path):
    rows = [f"{step},{step % 2},{step}" for step in range(1, 4 * MOST_POINTS + 1)]
    table = tmp_path / "losses.csv"
    table.write_text("step,epoch,g_loss\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = curves(read_columns(table), r"\w+_loss")
    assert found["steps"] == list(range(4, 4 * MOST_POINTS + 1, 4))
    assert found["columns"]["g_loss"][:2] == [2.5, 6.5]
    assert list(found["columns"]) == ["g_loss"]
    assert curves(read_columns(tmp_path / "none.csv"), ".*") == {"steps": [], "columns": {}}


def test_tensorboard_has_losses_scores_and_sheets(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run"
    flags = ["--tensorboard", "--sample_steps", 10, "--checkpoint_steps", 10]
    assert run_train(folder, *flags, "--max_steps", 20) == 0
    assert run_train(folder, "--resume", 10, "--max_steps", 30) == 0
    events = accumulator.EventAccumulator(str(Paths(folder).tensorboard))
    events.Reload()
    tags = events.Tags()
    assert {"losses/g", "losses/l1", "lr", "l1/held_out_EMA", "ink_iou/validation_EMA"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("losses/g")] == [10, 20, 30]
    assert [event.step for event in events.Scalars("l1/held_out_EMA")] == [10, 20, 30]
    assert tags["images"] == ["sheet"]


def test_without_tensorboard_the_flag_is_refused_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    assert run_train(tmp_path / "run", "--tensorboard", "--max_steps", 1) == 2
    assert "python -m pip install -r utils/requirements/tensorboard.txt" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()
