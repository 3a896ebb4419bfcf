"""Scores of a run in progress, the best checkpoint, stopping early, the report, and legibility."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tests.helpers.scripts import run_infer, run_train
from utils import metrics
from utils.data.pairs import choose_validation, sample_validation, spread
from utils.experiment import checkpoint
from utils.experiment.config import Paths
from utils.experiment.tables import best_step, read_quality, read_rows, stale
from utils.legibility import legibility
from utils.training.quality import QualityLog, SaturationWatch
from utils.training.report import HEADINGS


def rows_of(*errors: float, every: int = 10) -> dict[int, dict[str, float]]:
    return {every * (1 + i): {"held_out_EMA_l1": 0.0, "validation_EMA_l1": error} for i, error in enumerate(errors)}


# ---------------------------------------------------------------------------------- the validation part


def test_validation_stays_when_characters_are_added():
    some, more = "".join(map(chr, range(0x4E00, 0x4F00))), "".join(map(chr, range(0x4E00, 0x5000)))
    chosen = choose_validation(some, 0.05, 777)
    assert 5 <= len(chosen) <= 25
    assert chosen == choose_validation(some[::-1], 0.05, 777)
    assert chosen == choose_validation(more, 0.05, 777) & set(some)
    assert chosen != choose_validation(some, 0.05, 778)


@pytest.mark.parametrize(("count", "ratio", "expected"), [(100, 0, 0), (9, 0.05, 0), (10_000, 0.5, 64), (1, 0.9, 0)])
def test_how_many_are_left_for_validation(count, ratio, expected):
    assert len(choose_validation(range(count), ratio, 1)) == expected
    assert len(sample_validation(range(count), ratio, 1)) == expected


def test_as_many_pairs_of_each_label_are_scored_and_not_always_the_same_characters():
    pairs = [(label, chr(0x4E00 + number)) for label in range(24) for number in range(60)]
    chosen = spread(pairs, 64, 5)
    counts = [sum(label == one for one, _ in chosen) for label in range(24)]
    assert sorted(set(counts)) == [2, 3]
    assert len({character for _, character in chosen}) > 30
    assert chosen == spread(pairs[::-1], 64, 5)
    assert sorted(spread(pairs[:9], 64, 5)) == pairs[:9]


def test_the_held_out_characters_are_not_for_validation(trained):
    data = json.loads((trained / "config.json").read_text("utf-8"))["data"]
    assert 3 <= len(data["validation"]) <= 10
    assert set(data["validation"]) <= set(data["train"])
    assert not set(data["validation"]) & set(data["held_out"])


# -------------------------------------------------------------------------------------- the best step


def test_the_best_step_is_that_of_the_validation_characters_alone():
    rows = rows_of(0.3, 0.1, 0.2)
    rows[30]["held_out_EMA_l1"] = -1.0
    assert best_step(rows, [10, 20, 30]) == 20
    assert best_step(rows, [10, 30, 40]) == 30
    assert best_step(rows, [40]) is None
    assert best_step({10: {"held_out_EMA_l1": 0.1}}, [10]) is None


def test_how_long_nothing_has_got_better():
    assert [stale(rows_of(*errors)) for errors in ([], [0.3], [0.3, 0.2], [0.3, 0.2, 0.2, 0.4])] == [0, 0, 0, 2]


def test_quality_is_kept_up_to_the_step_that_a_run_goes_on_from(tmp_path):
    path = tmp_path / "quality.csv"
    log = QualityLog(path, 0)
    for step, error in ((10, 0.3), (20, 0.123456)):
        log.add(step, {"validation_EMA": {"l1": error, "ssim": 0.5}})
    assert read_quality(path) == log.rows
    assert log.rows[20] == {"validation_EMA_l1": 0.12346, "validation_EMA_ssim": 0.5}
    assert list(QualityLog(path, 19).rows) == [10]


def test_the_best_checkpoint_outlives_the_newest(trained, tmp_path, capsys, monkeypatch):
    """Scored best at step 6: its weights are kept, raw and averaged, and drawn with."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "quality.csv"
    header, first, second = path.read_text().splitlines()
    column = header.split(",").index("validation_EMA_l1")
    best = first.split(",")
    best[column] = "0.001"
    path.write_text("\n".join([header, ",".join(best), second]) + "\n")
    flags = ["--resume", "latest", "--max_steps", 16, "--checkpoint_steps", 2, "--keep_checkpoints", 1]
    assert run_train(folder, *flags) == 0
    assert checkpoint.steps_with(folder / "checkpoint", checkpoint.STATE) == [16]
    for name in ("6_net_G.pth", "6_net_G_EMA.pth"):
        assert (folder / "checkpoint" / name).read_bytes() == (trained / "checkpoint" / name).read_bytes()
    assert not (folder / "checkpoint" / "6_net_D.pth").exists()
    report = (folder / "report.md").read_text("utf-8")
    assert "`--resume best`" in report
    assert "| EMA, step 16 |" in report
    assert "| EMA, step 6 |" in report
    capsys.readouterr()
    character = json.loads((folder / "config.json").read_text("utf-8"))["data"]["train"][0]
    assert run_infer(folder, "--resume", "best", "--src_txt", character, "--infer_dir", tmp_path / "out") == 0
    assert "6_net_G_EMA.pth" in capsys.readouterr().out
    assert run_train(folder, "--resume", "best", "--max_steps", 7) == 2
    assert "of step 6 only weights are left: training can resume from [16]" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_goes_on_from_the_best_while_it_is_whole(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "quality.csv"
    header, first, second = path.read_text().splitlines()
    best = first.split(",")
    best[header.split(",").index("validation_EMA_l1")] = "0.001"
    path.write_text("\n".join([header, ",".join(best), second]) + "\n")
    assert run_train(folder, "--resume", "best", "--max_steps", 7) == 0
    assert "resuming from step 6" in capsys.readouterr().out
    assert (folder / "checkpoint" / "after_6" / "quality_to_12.csv").is_file()
    assert list(read_quality(path)) == [6, 7]


def test_a_checkpoint_with_a_random_state_resumes_with_other_dropout_and_says_so(trained, tmp_path, capsys):
    """As earlier versions wrote them; now the seed of a step tells what is dropped out."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "checkpoint" / "12_state.pth"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"random_state": {"cpu": torch.get_rng_state(), "cuda": None}}, path)
    words = "other units drop out from here on"
    for flags, said in ((["--max_steps", 13], True), (["--max_steps", 14], False)):
        assert run_train(folder, "--resume", "latest", *flags) == 0
        assert (words in capsys.readouterr().out) == said


def test_without_scores_there_is_no_best(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "quality.csv").unlink()
    for run in (run_train, run_infer):
        code = run(folder, "--resume", "best")
        assert code == 2
        assert "scores no checkpoint" in capsys.readouterr().err


def test_a_run_without_validation_scores_the_held_out_alone(tmp_path):
    assert run_train(tmp_path / "run", "--max_steps", 2, "--val_ratio", 0) == 0
    (row,) = read_quality(tmp_path / "run" / "quality.csv").values()
    assert {name.rsplit("_", 1)[0] for name in row if name.endswith("_l1")} == {"held_out_raw", "held_out_EMA"}
    assert "--resume best" not in (tmp_path / "run" / "report.md").read_text("utf-8")


def test_without_ema_the_raw_weights_are_validated(tmp_path):
    assert run_train(tmp_path / "run", "--max_steps", 1, "--ema_decay", 0) == 0
    (row,) = read_quality(tmp_path / "run" / "quality.csv").values()
    assert "validation_raw_l1" in row
    assert not any("EMA" in name for name in row)


@pytest.mark.slow
def test_a_checkpoint_that_was_not_scored_any_more_is_scored_on_resuming(trained, tmp_path):
    """As after a kill between the two."""
    folder = shutil.copytree(trained, tmp_path / "run")
    path = folder / "quality.csv"
    whole = path.read_text()
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith("12,")))
    assert run_train(folder, "--resume", "latest", "--max_steps", 13) == 0
    assert path.read_text().startswith(whole)


# ------------------------------------------------------------------------------------- when to stop


@pytest.mark.slow
def test_early_stop_ends_a_run_that_gets_no_better(tmp_path, monkeypatch, capsys):
    """The rate is so small that the drawings stay as they are, and a tie is no gain."""
    folder = tmp_path / "run"
    flags = ["--lr", 1e-30, "--ema_decay", 0, "--norm_type", "instance", "--sample_steps", 2, "--early_stop", 3]
    assert run_train(folder, *flags, "--max_steps", 50) == 0
    said = capsys.readouterr().out
    assert "no improvement on the validation characters since step 2, in 3 scores" in said
    assert checkpoint.steps_with(folder / "checkpoint", checkpoint.STATE) == [9]
    assert (folder / "report.md").is_file()
    assert run_train(folder, "--resume", "latest") == 0
    assert "stopped by --early_stop 3" in capsys.readouterr().out
    assert checkpoint.steps_with(folder / "checkpoint", checkpoint.STATE) == [9]
    assert run_train(folder, "--resume", "latest", "--early_stop", 0, "--max_steps", 12) == 0
    assert checkpoint.steps_with(folder / "checkpoint", checkpoint.STATE)[-1] == 12


def test_a_saturated_discriminator_is_told_of_once():
    watch, won, fair = SaturationWatch(), {"d_loss": 0.01, "adv_loss": 7.0}, {"d_loss": 1.0, "adv_loss": 1.0}
    said = [watch.look(won) for _ in range(60)]
    assert [number for number, line in enumerate(said, 1) if line] == [20]
    assert watch.look(fair) is None
    assert [bool(watch.look(won)) for _ in range(20)] == [False] * 19 + [True]


# -------------------------------------------------------------------------------------- the report


def test_every_metric_has_a_heading_in_the_report():
    assert metrics.METRICS.keys() <= HEADINGS.keys()


def test_the_report_scores_what_was_held_out(trained):
    report = (trained / "report.md").read_text("utf-8")
    assert "9 held-out characters" in report
    for picture in ("quality.png", "losses.png", "sample/000012.png"):
        assert f"({picture})" in report
        assert (trained / picture).is_file()
    (line,) = [line for line in report.splitlines() if line.startswith("| EMA, step 12")]
    assert len(line.split("|")) == len(HEADINGS) + 2  # but for the change under a shift
    assert [int(row[0]) for row in read_rows(Paths(trained).quality_csv)] == [6, 12]


# -------------------------------------------------------------------------------------- legibility


def test_compare_measures_the_change_under_a_shift(trained, tmp_path):
    assert run_infer(trained, "--compare", "--infer_dir", tmp_path) == 0
    scores = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert 0 < scores["EMA"]["shift_change"] < 1
    assert scores["raw"]["shift_change"] != scores["EMA"]["shift_change"]


def test_legibility_is_the_share_that_is_read_right():
    images = np.zeros((4, 8, 8), np.uint8)
    images[2:] = 255
    assert legibility(lambda glyph: "黑" if glyph.max() == 0 else "", images, "黑白黑黑") == 0.25


def test_without_its_extra_legibility_is_one_line(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.legibility.find_spec", lambda name: None)
    assert run_infer(trained, "--legibility", "--infer_dir", tmp_path) == 2
    assert "python -m pip install -r utils/requirements/legibility.txt" in capsys.readouterr().err


@pytest.mark.skipif(not (find_spec("rapidocr") and find_spec("onnxruntime")), reason="the extra is not installed")
def test_a_printed_glyph_is_legible(trained, tmp_path):
    """The true glyphs are read nearly always, those drawn so light that nothing is left never."""
    assert run_infer(trained, "--legibility", "--infer_dir", tmp_path, "--weight_bias", 8) == 0
    scores = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert scores["target"]["legibility"] > 0.8
    assert scores["EMA"]["legibility"] == 0


def test_the_score_of_many_glyphs_is_that_of_all_together():
    """They are measured a part at a time: a page of thousands would take gigabytes."""
    generator = np.random.default_rng(1)
    drawn, true = (generator.integers(0, 256, (metrics.AT_ONCE + 7, 16, 16), np.uint8) for _ in range(2))
    found = metrics.score(drawn, true)
    for name, measure in metrics.METRICS.items():
        assert found[name] == pytest.approx(measure(drawn, true), abs=2e-5)
