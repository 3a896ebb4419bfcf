"""The scripts as a user runs them."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import infer
import train
from model import UNetGenerator, Zi2ZiConfig
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import FEW, ROOT, assert_same, run_infer, run_train, script, states, strays, tiny_run
from utils.data.font_pairs import open_recorded
from utils.experiment.tables import find_best
from utils.images import to_float, to_uint8

QUICK = ["--image_size", "64", "--ngf", "4", "--ndf", "2", "--max_steps", "6", "--charset", str(FEW)]


# ------------------------------------------------------------------------------------- from end to end


def test_the_two_commands_leave_a_whole_experiment(tmp_path):
    done = script("train.py", "--g_blur", "--ema_decay", "0.999", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "experiments" / "default"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    parts = {f"checkpoint/6_{part}" for part in ("net_G.pth", "net_G_EMA.pth", "draw.json", "state.pth")}
    tables = {"losses.csv", "losses.png", "quality.csv", "quality.png", "report.md", "report.html"}
    assert files == parts | tables | {"config.json", "sample/000006.png"}
    assert "WARNING: no CUDA device" in done.stdout or torch.cuda.is_available()
    assert "71 characters to train on, 9 held out" in done.stdout
    assert [line.split(",")[0] for line in (root / "losses.csv").read_text().split()][1:] == list("123456")

    done = script("infer.py", "--resume", "latest", "--g_blur", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6_net_G_EMA.pth" in done.stdout
    manifest = json.loads((root / "infer" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["step"], manifest["weights"]) == (6, "ema")
    assert len(manifest["characters"]) == 9
    for item in manifest["characters"]:
        assert (root / "infer" / item["file"]).is_file()
        assert item["file"] == f"0/{item['codepoint']}.png"
    scores = json.loads((root / "infer" / "metrics.json").read_text(encoding="utf-8"))
    assert scores["characters"] == 9
    assert 0 < scores["EMA"]["l1"] < 1
    assert (root / "infer" / "sheet.png").is_file()


def test_a_small_run_says_what_it_scaled_down(tmp_path):
    done = script("train.py", "--max_steps", 1, "--batch_size", 1, "--charset", FEW, cwd=tmp_path)
    config = json.loads((tmp_path / "experiments/default/config.json").read_text(encoding="utf-8"))
    if torch.cuda.is_available():
        assert config["model"]["image_size"] == 256
        return
    (line,) = [line for line in done.stdout.splitlines() if "small run" in line]
    assert "--image_size 128" in line
    assert "max_steps" not in line
    assert config["model"]["image_size"] == 128


# ------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize(
    "flags",
    [
        ["--generator", "zi2zi"],
        ["--accum_steps", 2, "--num_workers", 2, "--deform"],
        ["--amp", "bf16"],
    ],
)
def test_resuming_ends_in_the_same_bytes(tmp_path, flags):
    """In the middle of an epoch, with dropout and augmentation, and a step that was lost."""
    flags = ["--g_blur", "--d_blur", "--checkpoint_steps", 3, *flags]
    assert run_train(tmp_path / "whole", *flags, "--max_steps", 8) == 0
    assert run_train(tmp_path / "parts", *flags, "--max_steps", 5) == 0
    for path in (tmp_path / "parts" / "checkpoint").glob("5_*"):
        path.unlink()
    assert run_train(tmp_path / "parts", *flags, "--max_steps", 8, "--resume", "latest") == 0
    assert_same(states(tmp_path / "whole", 8), states(tmp_path / "parts", 8))
    logs = [(tmp_path / name / "losses.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_an_experiment_is_not_overwritten_by_accident(tmp_path, trained, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    before = states(folder, 12)
    code = run_train(folder, "--max_steps", 2)
    assert code == 2
    error = capsys.readouterr().err
    assert "--resume latest" in error
    assert "--overwrite" in error
    assert_same(before, states(folder, 12))
    (folder / "mine.txt").write_text("kept")
    assert run_train(folder, "--max_steps", 2, "--overwrite") == 0
    assert sorted(path.name for path in folder.glob("checkpoint/*_state.pth")) == ["2_state.pth"]
    assert (folder / "mine.txt").exists()
    assert len((folder / "losses.csv").read_text().splitlines()) == 3


def test_resuming_goes_on_counting(tmp_path, trained, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert run_train(folder, "--resume", "latest", "--max_steps", 14, "--lr", 0.0005) == 0
    said = capsys.readouterr().out
    assert "resuming from step 12" in said
    assert "--lr 0.0005 from here on, 0.001 before" in said
    assert [int(line.split(",")[0]) for line in (folder / "losses.csv").read_text().split()[1:]] == list(range(1, 15))
    assert run_train(folder, "--resume", "latest", "--max_steps", 14) == 0
    assert "finished" in capsys.readouterr().out
    assert run_train(folder, "--resume", 12, "--max_steps", 13) == 0
    assert [int(line.split(",")[0]) for line in (folder / "losses.csv").read_text().split()[1:]] == list(range(1, 14))


def test_of_older_steps_what_is_drawn_with_is_left(tmp_path, trained, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert run_train(folder, "--resume", "latest", "--max_steps", 14, "--checkpoint_steps", 1) == 0
    assert run_train(folder, "--resume", "latest", "--max_steps", 15) == 0
    left = {path.name for path in (folder / "checkpoint").iterdir()}
    best = find_best(folder / "quality.csv", [6, 12, 13, 14, 15])
    whole = {f"{step}_{part}.pth" for step in (14, 15) for part in ("net_G", "net_D", "net_G_EMA", "state")}
    whole |= {f"{step}_draw.json" for step in {13, 14, 15, best}}
    assert left == whole | {"13_net_G_EMA.pth"} | {f"{best}_{part}.pth" for part in ("net_G", "net_G_EMA")}
    older = 13 if best > 13 else best
    capsys.readouterr()
    assert run_train(folder, "--resume", older, "--max_steps", 16) == 2
    said = capsys.readouterr().err
    assert f"of step {older} only weights are left: training can resume from [14, 15]; --fine_tune " in said
    assert f"{older}_net_G_EMA.pth starts a new one from them" in said
    if best != 13:
        flags = ["--experiment_dir", str(folder), "--gpu_ids", "-1", "--resume", "13", "--src_txt", "國的"]
        assert infer.main([*flags, "--suspects", "--infer_dir", str(tmp_path / "drawn")]) == 0
        assert (
            infer.main(["--experiment_dir", str(folder), "--gpu_ids", "-1", "--resume", "13", "--weights", "raw"]) == 2
        )
        assert (
            f"has no raw weights of step 13 any more; it has them of steps {sorted({best, 14, 15})}"
            in capsys.readouterr().err
        )


def test_resuming_nothing_starts_at_step_0(tmp_path, capsys):
    assert run_train(tmp_path / "new", "--resume", "latest", "--max_steps", 1) == 0
    assert "starting at step 0" in capsys.readouterr().out


def test_a_run_that_ended_before_its_first_checkpoint_begins_again_as_it_was(tmp_path, capsys):
    """With flags left out, as a resumed run may leave them out: not on the bundled fonts, nor in other sizes."""
    characters = "一二三四五六七八九十"
    fonts = [make_font(tmp_path / f"{n}.ttf", boxes(characters, (n, 0, 900, 800)), f"Font {n}") for n in (1, 2)]
    flags = ["--src_font", fonts[0], "--dst_font", fonts[1], "--no-g_blur", "--lr", "0.002", "--max_steps", 3]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_train(whole, *flags) == 0
    assert run_train(cut, *flags) == 0
    shutil.rmtree(cut / "checkpoint")
    capsys.readouterr()
    assert train.main(["--experiment_dir", str(cut), "--gpu_ids", "-1", "--resume", "latest", "--no-g_blur"]) == 0
    said = capsys.readouterr().out
    assert "ended before its first checkpoint: it begins again, as config.json has it" in said
    assert_same(states(whole, 3), states(cut, 3))
    assert (whole / "losses.csv").read_text() == (cut / "losses.csv").read_text()
    shutil.rmtree(cut / "checkpoint")
    again = ["--experiment_dir", str(cut), "--gpu_ids", "-1", "--resume", "latest", "--ngf", "5", "--epoch", "1"]
    assert train.main(again) == 0
    config = json.loads((cut / "config.json").read_text("utf-8"))
    assert (config["model"]["ngf"], config["training"]["max_steps"], config["model"]["lr"]) == (5, None, 0.002)
    assert "Font 2" in config["data"]["labels"]
    other = [*again, "--src_font", str(fonts[1]), "--dst_font", str(fonts[0]), "--charset", str(tmp_path / "few.txt")]
    (tmp_path / "few.txt").write_text(characters[:6], "utf-8")
    shutil.rmtree(cut / "checkpoint")
    assert train.main([*other, "--image_size", "64", "--max_steps", "1"]) == 0
    assert json.loads((cut / "config.json").read_text("utf-8"))["data"]["labels"] == ["Font 1"]


@pytest.mark.parametrize(
    "flags", [["--no-g_blur"], ["--norm_type", "instance"], ["--random_seed", "3"], ["--optimizer", "adam"]]
)
def test_resuming_another_architecture_is_refused(trained, flags, capsys):
    code = run_train(trained, "--resume", "latest", *flags)
    assert code == 2
    assert f"{' '.join(flags)} contradicts the checkpoint" in capsys.readouterr().err


def test_a_run_from_before_there_was_a_choice_of_optimizers_goes_on_with_adam(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run_train(folder, "--optimizer", "adam", "--max_steps", 1) == 0
    config = json.loads((folder / "config.json").read_text("utf-8"))
    del config["model"]["optimizer"]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    assert run_train(folder, "--resume", "latest", "--max_steps", 2) == 0
    assert run_train(folder, "--resume", "latest", "--max_steps", 3, "--optimizer", "adam") == 0
    state = torch.load(folder / "checkpoint" / "3_state.pth", weights_only=True)
    assert all(
        moments.keys() == {"step", "exp_avg", "exp_avg_sq"} for moments in state["optimizer_G"]["state"].values()
    )
    assert run_train(folder, "--resume", "latest", "--optimizer", "muon") == 2
    assert "--optimizer muon contradicts the checkpoint, whose optimizer is adam" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_passed_over(tmp_path, trained, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "checkpoint" / "12_net_D.pth").write_bytes(b"PK damaged")
    assert run_train(folder, "--resume", "latest", "--max_steps", 7) == 0
    said = capsys.readouterr().out
    assert "step 12 is skipped" in said
    assert "resuming from step 6" in said


def test_fonts_that_moved_are_found_by_their_flags(tmp_path, capsys):
    box = {c: (100, 0, 900, 100 * i) for i, c in enumerate("一二三四五六", 1)}
    make_font(tmp_path / "s.ttf", box)
    make_font(tmp_path / "t.ttf", box, family="Target")
    fonts = ["--src_font", tmp_path / "s.ttf", "--dst_font", tmp_path / "t.ttf"]
    assert run_train(tmp_path / "run", *fonts, "--max_steps", 1) == 0
    (tmp_path / "t.ttf").rename(tmp_path / "moved.ttf")
    assert run_train(tmp_path / "run", "--resume", "latest", "--max_steps", 2) == 2
    assert "t.ttf: no such file" in capsys.readouterr().err
    fonts[-1] = tmp_path / "moved.ttf"
    assert run_train(tmp_path / "run", *fonts, "--resume", "latest", "--max_steps", 2) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(tmp_path, number, code):
    root, deadline = tmp_path / "run", time.monotonic() + 60
    command = [sys.executable, str(ROOT / "train.py"), *tiny_run(root, "--max_steps", 100000, "--num_workers", 1)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while time.monotonic() < deadline and not (root / "losses.csv").is_file():
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in error
    (state,) = (root / "checkpoint").glob("*_state.pth")
    step = int(state.name.split("_")[0])
    assert len((root / "losses.csv").read_text().split()) == step + 1
    assert not strays(root)


# -------------------------------------------------------------------------------------------------- infer


def drawn(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("0/*.png"))}


def test_blur_is_taken_from_the_checkpoint(trained, tmp_path, capsys):
    text = ["--src_txt", "國是的木水"]
    assert run_infer(trained, *text, "--infer_dir", tmp_path / "a", "--g_blur") == 0
    assert "is taken from the checkpoint" not in capsys.readouterr().out
    assert run_infer(trained, *text, "--infer_dir", tmp_path / "b") == 0
    assert "--g_blur is taken from the checkpoint" in capsys.readouterr().out
    one, two = drawn(tmp_path / "a"), drawn(tmp_path / "b")
    assert len(one) == 5
    assert all(np.array_equal(one[name], two[name]) for name in one)
    code = run_infer(trained, *text, "--no-g_blur")
    assert code == 2
    assert "--no-g_blur contradicts the checkpoint" in capsys.readouterr().err


def test_files_hold_what_the_network_drew(trained, tmp_path):
    """The weights asked for, in eval mode, from the source as it was trained on, mapped once to grey levels."""
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    source = open_recorded(config["data"]["src_font"])
    for kind, part in (("raw", "net_G"), ("ema", "net_G_EMA"), ("auto", "net_G_EMA")):
        net = UNetGenerator(**Zi2ZiConfig(**config["model"]).generator_arguments()).eval()
        net.load_state_dict(torch.load(trained / f"checkpoint/12_{part}.pth", weights_only=True))
        folder = tmp_path / kind
        flags = ["--src_txt", "國是的", "--weights", kind, "--batch_size", 2, "--sharpness", 1, "--weight_bias", 0]
        assert run_infer(trained, *flags, "--infer_dir", folder) == 0
        for character in "國是的":
            pixels = to_float(torch.from_numpy(source.render(character, 64))[None])
            with torch.no_grad():
                expected = to_uint8(net(pixels, torch.tensor([0]))[0])[0]
            found = drawn(folder)[f"U+{ord(character):04X}.png"]
            assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.fixture
def calibrated(trained, tmp_path):
    """An experiment whose step 12 has a calibration that tells itself from others."""
    folder = shutil.copytree(trained, tmp_path / "run")
    content = {"ema": [{"bias": 0.25, "sharpness": 2}], "raw": [{"bias": 0, "sharpness": 1}]}
    (folder / "checkpoint" / "12_draw.json").write_text(json.dumps(content))
    return folder


def test_what_is_drawn_is_as_heavy_and_as_sharp_as_found_or_asked_for(calibrated, tmp_path):
    grey, asked = {}, {"found": [], "the same": [0.25, 2], "bold": [-3, 4]}
    for name, values in asked.items():
        flags = [each for pair in zip(("--weight_bias", "--sharpness"), values, strict=False) for each in pair]
        assert run_infer(calibrated, "--src_txt", "國", *flags, "--infer_dir", tmp_path / name) == 0
        grey[name] = drawn(tmp_path / name)["U+570B.png"].astype(int)
    assert (grey["found"] == grey["the same"]).all()
    assert grey["bold"].mean() < grey["found"].mean() - 10
    items = json.loads((tmp_path / "bold" / "manifest.json").read_text(encoding="utf-8"))["characters"]
    assert {"step": 12, "weights": "ema", "bias": -3, "sharpness": 4}.items() <= items[0].items()


def test_without_what_was_found_the_bias_is_0_which_is_said(calibrated, tmp_path, capsys):
    (calibrated / "checkpoint" / "12_draw.json").unlink()
    for name, flags, said in (("none", [], 1), ("zero", ["--weight_bias", 0], 0)):
        flags = ["--src_txt", "國", "--sharpness", 2, *flags, "--infer_dir", tmp_path / name]
        assert run_infer(calibrated, *flags) == 0
        assert capsys.readouterr().out.count("there is no 12_draw.json") == said
    assert (drawn(tmp_path / "none")["U+570B.png"] == drawn(tmp_path / "zero")["U+570B.png"]).all()


@pytest.mark.parametrize("flag", [("--sharpness", 0), ("--weight_bias", 9), ("--weight_bias", "nan")])
def test_a_bias_or_sharpness_out_of_range_is_refused(trained, capsys, flag):
    assert run_infer(trained, *flag) == 2
    assert f"{flag[0]} {float(flag[1])} is not a number from" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", '{"ema": [{"bias": "x"}]}', "[" * 10_000, '{"raw": 5}'])
def test_a_damaged_calibration_is_said(calibrated, capsys, content):
    (calibrated / "checkpoint" / "12_draw.json").write_text(content)
    assert run_infer(calibrated, "--src_txt", "國") == 2
    assert re.search(r"12_draw.json (can't be read|is damaged): .*; without it the bias is 0", capsys.readouterr().err)


def test_a_checkpoint_without_ema_is_drawn_raw_and_said(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    for path in folder.glob("checkpoint/*_EMA.pth"):
        path.unlink()
    assert run_infer(folder, "--src_txt", "國") == 0
    assert "has no EMA weights: using 12_net_G.pth" in capsys.readouterr().out
    assert run_infer(folder, "--src_txt", "國", "--weights", "ema") == 2


def test_the_generator_alone_is_enough(trained, tmp_path):
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    shutil.copy(trained / "config.json", tmp_path / "run")
    shutil.copy(trained / "checkpoint" / "6_net_G_EMA.pth", tmp_path / "run" / "checkpoint")
    assert run_infer(tmp_path / "run", "--src_txt", "國", "--resume", 6) == 0
    assert run_infer(tmp_path / "run", "--src_txt", "國") == 0


def test_characters_that_fail_are_in_the_manifest(trained, tmp_path, capsys):
    assert run_infer(trained, "--src_txt", "國永 是", "--infer_dir", tmp_path) == 1
    items = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["characters"]
    assert {item["character"]: "error" in item for item in items} == {"國": False, "永": True, "是": False}
    assert "永 (U+6C38)" in capsys.readouterr().err


def test_text_files_charsets_names_and_formats(trained, tmp_path):
    (tmp_path / "t.txt").write_text("國U+662F", encoding="utf-8")
    flags = ["--src_txt_file", tmp_path / "t.txt", "--image_ext", "jpg", "--infer_dir", tmp_path / "out"]
    for rule, expected in (("unicode_int", {"22283.jpg", "26159.jpg"}), ("seq", {"00001.jpg", "00002.jpg"})):
        assert run_infer(trained, *flags, "--filename_rule", rule, "--infer_dir", tmp_path / rule) == 0
        assert {path.name for path in (tmp_path / rule / "0").iterdir()} == expected
    assert run_infer(trained, "--charset", tmp_path / "t.txt", "--src_txt", "木", "--infer_dir", tmp_path / "both") == 0
    assert len(list((tmp_path / "both" / "0").iterdir())) == 3


def test_skip_exist(trained, tmp_path):
    flags = ["--src_txt", "國是", "--infer_dir", tmp_path]
    assert run_infer(trained, *flags) == 0
    kept = tmp_path / "0" / "U+570B.png"
    kept.write_bytes(b"by hand")
    assert run_infer(trained, *flags, "--skip_exist") == 0
    assert kept.read_bytes() == b"by hand"
    assert run_infer(trained, *flags) == 0
    assert kept.read_bytes() != b"by hand"


def test_another_source_font_is_said(trained, tmp_path, capsys):
    font = make_font(tmp_path / "bars.ttf", {"一": (100, 300, 900, 500)}, family="Bars")
    assert run_infer(trained, "--src_txt", "一", "--src_font", font, "--infer_dir", tmp_path / "out") == 0
    assert "Bars is not Sample Sans" in capsys.readouterr().out


def test_compare_scores_raw_and_ema(trained, tmp_path, capsys):
    assert run_infer(trained, "--compare", "--infer_dir", tmp_path) == 0
    scores = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert scores["raw"]["l1"] != scores["EMA"]["l1"]
    said = capsys.readouterr().out
    for heading in ("raw", "EMA"):
        assert f"{heading}: l1 {scores[heading]['l1']:.4f}" in said
        assert {"l1", "ssim", "stray_specks"} <= scores[heading].keys()
    assert (tmp_path / "compare.png").is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--label", "1"], "labels 0 Sample Kai"),
        (["--image_size", "128"], "image_size 128 contradicts the checkpoint, whose image_size is 64"),
        (["--up_mode", "conv"], "up_mode conv contradicts"),
        (["--generator", "zi2zi"], "generator zi2zi contradicts the checkpoint, whose generator is residual"),
        (["--resume", "99"], "no generator of step 99"),
        (["--src_txt", "  "], "holds no character"),
        (["--src_txt_file", "none.txt"], "none.txt: No such file"),
        (["--d_blur"], "--d_blur contradicts"),
    ],
)
def test_mistakes_at_inference(trained, flags, words, capsys):
    code = run_infer(trained, *flags)
    assert code == 2
    assert words in capsys.readouterr().err


def test_labels_and_colour(tmp_path):
    box = {c: (100, 0, 900, 100 * i) for i, c in enumerate("一二三四五六", 1)}
    paths = [make_font(tmp_path / f"{n}.ttf", box, family=n) for n in "sa"]
    paths.append(make_font(tmp_path / "b.ttf", boxes("".join(box), (400, 0, 500, 700)), family="b"))
    fonts = ["--src_font", paths[0], "--dst_font", *paths[1:]]
    assert run_train(tmp_path / "run", *fonts, "--input_nc", 3, "--max_steps", 20, "--batch_size", 4) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["embedding_num"] == 2
    assert config["data"]["labels"] == ["a", "b"]
    out = tmp_path / "out"
    assert run_infer(tmp_path / "run", "--run_all_label", "--src_txt", "一二", "--infer_dir", out) == 0
    images = {label: np.asarray(Image.open(out / str(label) / "U+4E00.png")) for label in (0, 1)}
    assert images[0].shape == (64, 64, 3)
    assert not np.array_equal(images[0], images[1])
    assert run_infer(tmp_path / "run", "--label", 1, "--src_txt", "一", "--infer_dir", tmp_path / "one") == 0
    assert [path.name for path in (tmp_path / "one").iterdir() if path.is_dir()] == ["1"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one/1/U+4E00.png")), images[1])
    assert run_infer(tmp_path / "run", "--run_all_label") == 0
