"""Nothing is let in: text, config.json, logs and names from strangers, and mutated files of every kind."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch

import train
from tests.campaign.cases import judge, run_case
from tests.campaign.mutation import make_seeds
from tests.helpers.faults import run_child
from tests.helpers.fonts import make_font
from tests.helpers.hostile import boxes, refused
from tests.helpers.scripts import run_infer, run_train
from utils.errors import UserError
from utils.experiment import checkpoint
from utils.experiment.tables import read_rows
from utils.glyphs.charset import read_text_file
from utils.training.log import LossLog

# ------------------------------------------------------------------------------------------------ text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("永字".encode("utf-8-sig"), "永字"),
        ("永\r\n字\r\n".encode(), "永字"),
        ("永\0\x1b[31m字\x07".encode(), "永[31m字"),
        ("葛\U000e0100永\ufe0f".encode(), "葛永"),
        ("𠀀\U0002ffff".encode(), "𠀀\U0002ffff"),
        (b"U+D800 U+6C38 U+110000 U+0000", "永U+10"),
        ("永字".encode("big5"), None),
        ("永字".encode("utf-16"), None),
        (b"\xed\xa0\x80", None),  # a lone surrogate, as some programs write it
        ("\u200b\r\n\ufeff\ufe0f".encode(), None),
    ],
)
def test_text_in_every_shape(tmp_path, content, expected):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    if expected is not None:
        assert read_text_file(path) == expected
        return
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte [0-9]+\): save it as UTF-8|holds no character"):
        read_text_file(path)


@pytest.mark.parametrize("rule", ["unicode_hex", "unicode_int", "char", "seq"])
def test_no_character_names_a_file_elsewhere(trained, tmp_path, rule):
    characters = '/\\.:~*?"<>|aA'
    font = make_font(tmp_path / "odd.ttf", dict.fromkeys(characters, (100, 0, 900, 700)))
    (tmp_path / "t.txt").write_bytes(f"{characters}..\0\n../..\r\U000e0100".encode())
    out = tmp_path / "inside" / "out"
    flags = ["--src_font", font, "--src_txt_file", tmp_path / "t.txt", "--filename_rule", rule, "--infer_dir", out]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert run_infer(trained, *flags) == 0
    drawn = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in drawn if path.suffix == ".png"} == {out / "0"}
    assert {path.parent for path in drawn if path.suffix != ".png"} == {out}
    assert len(list((out / "0").iterdir())) == len(characters)


def test_surrogates_on_the_command_line_are_no_characters(trained, capsys):
    assert "--src_txt holds no character" in refused(capsys, run_infer, trained, "--src_txt", "\udcff\ud800\udfff")


def test_a_file_name_that_is_not_utf8_is_recorded_and_found_again(tmp_path, monkeypatch):
    """As Big5 names on a UTF-8 system are."""
    monkeypatch.setattr(logging.getLogger("utils"), "propagate", False)  # workers of pytest-xdist send UTF-8 alone
    name = os.fsdecode(b"\xa4\xe5.ttf")
    font = boxes(tmp_path / "font.ttf").rename(tmp_path / name)
    fonts = ["--src_font", font, "--dst_font", font]
    assert run_train(tmp_path / "run", *fonts, "--max_steps", 1) == 0
    assert run_train(tmp_path / "run", "--resume", "latest", "--max_steps", 2) == 0
    assert run_infer(tmp_path / "run", "--src_txt", "一") == 0


# ------------------------------------------------------------------------------------------------ config, log


def set_in(config: dict, path: str, value: object) -> None:
    *holders, key = path.split(".")
    for holder in holders:
        config = config[int(holder)] if holder.isdigit() else config[holder]
    config[key] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.ngf", "64", "model.ngf is not a whole number"),
        ("model.image_size", 65, "image_size 65"),
        ("model.dropout", "much", "dropout"),
        ("model.unknown", 1, "unknown"),
        ("data.targets", 5, "data.targets is no list"),
        ("data.kind", "network", "data.kind is not one of fonts, records"),
        ("data.train", ["一"], "data.train is not text"),
        ("data.train", "永", "names U+6C38, which Sample Sans does not have"),
        ("data.labels", [], "data.labels is not a name for each"),
        ("data.targets.0.placement.em", 1e9, "data.targets[0].placement.em is not a number from"),
        ("data.src_font.placement", None, "data.src_font.placement is no object"),
        ("data.src_font.spec", "a\0b", "no such file"),
        ("training.batch_size", "many", "training.batch_size is 'many'"),
        ("training.batch_size", 10**9, "training.batch_size is 1000000000"),
        ("training.num_workers", -1, "training.num_workers is -1"),
        ("training.augment", "yes", "training.augment is 'yes'"),
        ("training.random_seed", 2**64, "training.random_seed"),
        ("training", [], "training is not an object"),
        ("format", 1, "another version"),
    ],
)
def test_a_damaged_config_is_a_line(trained, tmp_path, capsys, path, value, words):
    folder = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    set_in(config, path, value)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if not path.startswith("training."):
        assert words in refused(capsys, run_infer, folder)
    if path != "model.unknown":  # training writes a config of its own
        plain = ["--experiment_dir", folder, "--gpu_ids", "-1", "--resume", "latest", "--max_steps", 13]
        assert words in refused(capsys, lambda *flags: train.main(list(map(str, flags))), *plain)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"null", b'{"model": NaN}'])
def test_a_config_that_is_no_json_is_a_line(trained, tmp_path, capsys, content):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "config.json").write_bytes(content)
    refused(capsys, run_train, folder, "--resume", "latest", "--max_steps", 13)
    refused(capsys, run_infer, folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"characters": [[1], "a", {"label": [0]}, null]}', b'{"characters": 5}']
)
def test_a_damaged_manifest_is_written_anew(trained, tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    assert run_infer(trained, "--src_txt", "國", "--infer_dir", tmp_path) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["characters"][-1]["character"] == "國"


def write_log(path: Path, steps: range) -> LossLog:
    log = LossLog(path, steps[0] - 1)
    for step in steps:
        log.add(step, 0.1, 0.001, {"d_loss": torch.tensor(float(step)), "g_loss": torch.tensor(1.0)})
    log.flush()
    return log


@pytest.mark.parametrize("damage", [b"\0\0\0", b"\xff\xfe\n", b'"', b"1,2\n", b"x" * 300_000, b"a,b,c\n"])
def test_a_damaged_log_keeps_its_whole_rows(tmp_path, damage, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "losses.csv"
    write_log(path, range(1, 11))
    content = path.read_bytes()
    path.write_bytes(content[:90] + damage + content[90:])
    write_log(path, range(11, 13))
    assert "has 9 of 10 steps" in caplog.messages[-1]
    steps = [int(row[0]) for row in read_rows(path)]
    assert len(steps) == len(set(steps)) == 11
    assert steps[-2:] == [11, 12]


@pytest.mark.parametrize(
    "header", [b"step,epoch,lr,x_loss,g_loss", b"stop,epoch,lr,d_loss,g_loss", b"\0tep,epoch,lr,d_loss,\xff"]
)
def test_a_damaged_header_of_the_log_is_mended(tmp_path, header, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "losses.csv"
    write_log(path, range(1, 6))
    whole = path.read_bytes()
    path.write_bytes(header + b"\n" + whole.partition(b"\n")[2])
    write_log(path, range(6, 8))
    assert caplog.messages == []
    assert path.read_bytes().startswith(whole)
    assert [int(row[0]) for row in read_rows(path)] == list(range(1, 8))


def test_a_log_of_other_columns_is_kept_beside(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text("step,epoch,lr,old_loss\n1,0.1,0.001,5\n2,0.1,0.001,6\n")
    write_log(path, range(3, 5))
    assert [int(row[0]) for row in read_rows(path)] == [3, 4]
    assert (tmp_path / "losses_to_2.csv").read_text().count("\n") == 3


# --------------------------------------------------------------------------------------------- mutations


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds") / "seeds")


@pytest.mark.parametrize("first", range(0, 120, 12))
def test_mutated_files_are_read_or_refused(seeds, tmp_path, first):
    """A small part of `python -m tests.campaign inputs`; a number that fails there belongs here."""
    for number in range(first, first + 12):
        kind, result, wrong = run_case(number, seeds, tmp_path / str(number), as_script=False)
        assert wrong is None, f"case {number}, {kind}: {wrong}: {result.err}"


def test_the_judge_of_mutated_files_finds_what_is_wrong(tmp_path):
    for child, wrong in ((raise_error, "traceback"), (say_much, "not one line"), (write_outside, None)):
        result = run_child(child, tmp_path, folder=tmp_path / "said")
        assert judge(result) == wrong
    assert (tmp_path / "written").exists()


def raise_error(_: str) -> int:
    raise ValueError


def say_much(_: str) -> int:
    os.write(2, b"reader: error: one\nand another\n")
    return 2


def write_outside(folder: str) -> int:
    (Path(folder) / "written").touch()
    return 0


def test_a_step_is_read_whole_or_not_at_all(trained, tmp_path):
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")
    assert set(checkpoint.read_step(folder, 12)) == set(checkpoint.PARTS) - {checkpoint.DRAW}
    state = torch.load(folder / "12_state.pth", weights_only=True)
    for parts in ([], ["net_G"], "net_G", ["net_G", "net_D", "../../x"], 5):
        torch.save(state | {"parts": parts}, folder / "12_state.pth")
        with pytest.raises(UserError, match="does not say which files belong to it"):
            checkpoint.read_step(folder, 12)
