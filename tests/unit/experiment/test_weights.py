"""Weights from elsewhere: those of earlier ports, fine-tuning, new labels, a frozen encoder."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import infer
import train
from model import Discriminator, UNetGenerator
from tests.helpers.fonts import boxes, make_font
from tests.helpers.models import tiny_batch, tiny_model
from tests.helpers.scripts import run_train
from utils.errors import UserError
from utils.experiment import checkpoint
from utils.experiment.weights import find_weights, foreign_architecture
from utils.glyphs.render import GlyphRenderer
from utils.images import to_float
from utils.training.pretrained import read_pretrained

PORT = Path(__file__).parent.parent.parent / "port"
FILES = ("100_net_G.pth", "100_net_D.pth")


@pytest.fixture
def port(tmp_path) -> Path:
    """A folder as an earlier port leaves it."""
    folder = tmp_path / "port"
    folder.mkdir()
    for name in FILES:
        shutil.copy(PORT / name, folder)
    return folder


def run_infer(folder: Path, *flags: object) -> int:
    return infer.main(["--experiment_dir", str(folder), "--gpu_ids", "-1", *map(str, flags)])


def read(folder: Path, step: int, part: str) -> dict:
    return torch.load(folder / "checkpoint" / f"{step}_{part}.pth", weights_only=True)


# --------------------------------------------------------------------------------------------- earlier ports


def test_networks_of_an_earlier_port_compute_the_same_numbers():
    expected = {name: torch.from_numpy(array) for name, array in np.load(PORT / "expected.npz").items()}
    net = UNetGenerator(ngf=4, embedding_num=5, embedding_dim=16).eval()
    judge = Discriminator(ndf=4, embedding_num=5).eval()
    for part, name in ((net, FILES[0]), (judge, FILES[1])):
        part.load_state_dict(torch.load(PORT / name, weights_only=True), strict=True)
    with torch.no_grad():
        fake, encoded = net(expected["x"], expected["label"])
        binary, category = judge(torch.cat([expected["x"], fake], 1))
    for name, found in {"fake": fake, "encoded": encoded, "binary": binary, "category": category}.items():
        torch.testing.assert_close(found.reshape(expected[name].shape), expected[name], atol=1e-4, rtol=0)


def assert_drawn_as_the_net_says(folder: Path, net: UNetGenerator, labels: list[int], out: Path, *flags: object):
    """infer.py's files agree with the net's own output to 0.1 grey levels on average, for each label."""
    text = ["--src_txt", "國是", "--src_font", "bundled:source.otf", "--infer_dir", out]
    assert run_infer(folder, *text, "--label", *labels, *flags) == 0
    font = GlyphRenderer("bundled:source.otf")
    for label in labels:
        for character in "國是":
            found = np.asarray(Image.open(out / str(label) / f"U+{ord(character):04X}.png")).astype(float)
            size = found.shape[0]
            channels = 3 if net.ends()[0].in_channels % 3 == 0 else 1
            pixels = to_float(torch.from_numpy(font.render(character, size))[None], channels)
            with torch.no_grad():
                image = net(pixels, torch.tensor([label]))[0][0]
            expected = ((image + 1) * 127.5).permute(1, 2, 0).squeeze(-1).numpy()
            assert np.abs(found - expected.round()).mean() < 0.1
            assert np.abs(found - expected).max() <= 0.51


def test_a_folder_of_an_earlier_port_is_drawn_from_alone(port, tmp_path, capsys):
    net = UNetGenerator(ngf=4, embedding_num=5, embedding_dim=16).eval()
    net.load_state_dict(torch.load(port / FILES[0], weights_only=True))
    assert_drawn_as_the_net_says(port, net, [0, 3], tmp_path / "out")
    assert "the architecture is read from 100_net_G.pth" in capsys.readouterr().out
    one, other = (np.asarray(Image.open(tmp_path / "out" / label / "U+570B.png")) for label in "03")
    assert not np.array_equal(one, other)
    assert run_infer(port, "--src_txt", "國", "--src_font", "bundled:source.otf", "--label", 5) == 2
    assert "there are the labels 0, 1, 2, 3, 4" in capsys.readouterr().err
    assert run_infer(port, "--src_txt", "國") == 2
    assert "give --src_font" in capsys.readouterr().err


@pytest.mark.parametrize(
    "modes",
    [
        {"up_mode": "pixelshuffle", "norm_type": "instance", "g_blur": True},
        {"up_mode": "upsample", "embedding_num": 2},
        {"g_blur": True, "image_size": 96},
        {"generator": "residual", "up_mode": "upsample", "g_blur": True, "deform": True},
        {"generator": "residual", "up_mode": "conv", "input_nc": 1, "norm_type": "instance"},
        {"generator": "residual", "up_mode": "pixelshuffle", "image_size": 96},
    ],
)
def test_other_networks_are_recognised(modes, tmp_path):
    """Three channels, another width, every mode, in checkpoint/, with and without a discriminator."""
    arguments = {"input_nc": 3, "ngf": 5, "embedding_num": 7, "embedding_dim": 9, "image_size": 64} | modes
    torch.manual_seed(0)
    net = UNetGenerator(**arguments).eval()
    folder = tmp_path / "run" / "checkpoint"
    folder.mkdir(parents=True)
    torch.save(net.state_dict(), folder / "20_net_G.pth")
    flags = ["--image_size", 96] if arguments["image_size"] == 96 else []
    assert_drawn_as_the_net_says(tmp_path / "run", net, [0, 1], tmp_path / "out", *flags)
    judge = {
        "input_nc": 2 * arguments["input_nc"],
        "ndf": 3,
        "embedding_num": 7,
        "d_blur": True,
        "image_size": arguments["image_size"],
    }
    torch.save(Discriminator(**judge).state_dict(), folder / "20_net_D.pth")
    found = foreign_architecture(find_weights(folder, "latest", "auto"))
    defaults = {"generator": "zi2zi", "norm_type": "batch", "up_mode": "conv", "g_blur": False, "deform": False}
    joins = {"skip": "concat", "attention": "", "levels": 0} if found["generator"] == "zi2zi" else {}
    assert found == defaults | joins | arguments | {"ndf": 3, "d_blur": True}


def test_without_a_discriminator_the_size_is_assumed_and_said(port, caplog):
    caplog.set_level(logging.INFO)
    (port / FILES[1]).unlink()
    weights = find_weights(port, "latest", "auto")
    caplog.clear()
    found = foreign_architecture(weights)
    assert found["image_size"] == 256
    assert ["taking 256" in line for line in caplog.messages] == [True]
    caplog.clear()
    assert foreign_architecture(weights, 512) == found | {"image_size": 512, "levels": 8}
    assert caplog.messages == []
    with pytest.raises(UserError, match="it has 8 levels, an image size of 384 allows 7"):
        foreign_architecture(weights, 384)


def test_a_size_against_the_discriminator_is_an_error(port):
    with pytest.raises(UserError, match=r"image_size 384 contradicts .*100_net_D.pth, which is for 256"):
        foreign_architecture(find_weights(port, "latest", "auto"), 384)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {f"module.{key}": value for key, value in state.items()}, "but module.model."),
        (lambda state: {}, "but nothing"),
        (lambda state: {"epoch": 3, "net": 5}, "but epoch, net"),
        (lambda state: {1: torch.zeros(2)}, "keys that are no names"),
        (lambda state: state | {"extra.weight": torch.zeros(2)}, "extra.weight is unexpected"),
        (lambda state: {key: value for key, value in state.items() if "submodule.up.2" not in key}, "is missing"),
    ],
)
def test_what_is_no_such_state_dict_is_refused_by_its_first_keys(port, change, words, capsys):
    torch.save(change(torch.load(port / FILES[0], weights_only=True)), port / FILES[0])
    code = run_infer(port, "--src_txt", "國", "--src_font", "bundled:source.otf")
    assert code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (port / "infer").exists()


SMALL_PORT = ["--data_dir", PORT / "train.obj", "--batch_size", 2, "--gpu_ids", "-1"]


def small_port(folder: Path, step: int = 100) -> tuple[dict, dict]:
    """Weights without a config, for 64 px; their state dicts."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(seed=5, embedding_num=4)
    for part, net in (("net_G", model.netG), ("net_D", model.netD)):
        torch.save(net.state_dict(), folder / f"{step}_{part}.pth")
    return model.netG.state_dict(), model.netD.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("where", [".", "checkpoint"])
def test_training_goes_on_from_an_earlier_port(where, tmp_path, capsys):
    root = tmp_path / "run"
    before, _ = small_port(root / where)
    flags = ["--experiment_dir", str(root), *map(str, SMALL_PORT), "--keep_checkpoints", "1", "--val_ratio", "0"]
    assert train.main([*flags, "--max_steps", "102"]) == 2
    assert "--resume 100 continues from them" in capsys.readouterr().err
    steps = ["--resume", "100", "--max_steps", "103", "--checkpoint_steps", "1", "--lr", "1e-9", "--dropout", "0"]
    assert train.main([*flags, *steps]) == 0
    said = capsys.readouterr().out
    assert "starting at step 100 from the weights alone" in said
    assert checkpoint.steps_with(root / "checkpoint", checkpoint.STATE) == [103]
    after = read(root, 103, "net_G")
    for key in before:
        if "running" not in key and "tracked" not in key:
            torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=0)
    assert (root / where / "100_net_G.pth").is_file(), "retention is for this program's own checkpoints"
    assert train.main([*flags, "--resume", "latest", "--max_steps", "104"]) == 0
    assert "resuming from step 103" in capsys.readouterr().out


def test_weights_from_elsewhere_are_not_trained_on_the_bundled_fonts(tmp_path, taught, capsys):
    small_port(tmp_path / "run")
    for flags in (["--resume", "100"], ["--fine_tune", str(taught), "--overwrite"]):
        code = train.main(["--experiment_dir", str(tmp_path / "run"), "--gpu_ids", "-1", *flags])
        assert code == 2
        assert "give --src_font and --dst_font, or --data_dir" in capsys.readouterr().err


def test_a_run_from_weights_that_saved_nothing_yet_keeps_its_data(tmp_path, capsys):
    root = tmp_path / "run"
    small_port(root)
    flags = ["--experiment_dir", str(root), *map(str, SMALL_PORT)]
    assert train.main([*flags, "--resume", "100", "--max_steps", "100"]) == 0  # ends before a checkpoint
    again = ["--experiment_dir", str(root), "--gpu_ids", "-1", "--resume", "latest", "--max_steps", "101"]
    assert train.main(again) == 0
    assert json.loads((root / "config.json").read_text(encoding="utf-8"))["data"]["kind"] == "records"
    assert checkpoint.steps_with(root / "checkpoint", checkpoint.STATE) == [101]
    font = ["--src_txt", "國", "--src_font", "bundled:source.otf"]
    assert run_infer(root, *font, "--resume", 100) == 0
    assert "100_net_G.pth" in capsys.readouterr().out


def test_later_weights_of_an_earlier_port_are_not_written_over(tmp_path, capsys):
    root = tmp_path / "run"
    for step in (100, 102):
        small_port(root / "checkpoint", step)
    assert (
        train.main(["--experiment_dir", str(root), *map(str, SMALL_PORT), "--resume", "100", "--max_steps", "104"]) == 2
    )
    assert "later weights, of step 102" in capsys.readouterr().err


def test_ema_weights_alone_are_gone_on_from(tmp_path):
    root = tmp_path / "run"
    before, _ = small_port(root)
    (root / "100_net_G.pth").rename(root / "100_net_G_EMA.pth")
    flags = ["--experiment_dir", str(root), *map(str, SMALL_PORT), "--lr", "1e-12"]
    assert train.main([*flags, "--resume", "latest", "--max_steps", "101"]) == 0
    torch.testing.assert_close(read(root, 101, "net_G")["embedder.weight"], before["embedder.weight"])


@pytest.mark.parametrize(("flags", "words"), [(["--image_size", 100], "image_size 100"), (["--compare"], "net_G_EMA")])
def test_mistakes_in_drawing_with_an_earlier_port(port, flags, words, capsys):
    (port / FILES[1]).unlink()
    code = run_infer(port, "--src_txt", "國", "--src_font", "bundled:source.otf", *flags)
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (port / "infer").exists()


def test_flags_that_contradict_the_weights_are_refused(tmp_path, capsys):
    small_port(tmp_path / "run")
    flags = ["--experiment_dir", str(tmp_path / "run"), *map(str, SMALL_PORT), "--resume", "100"]
    for flag, value in (("ngf", "8"), ("image_size", "128"), ("norm_type", "instance")):
        assert train.main([*flags, f"--{flag}", value]) == 2
        assert f"--{flag} {value} contradicts" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ fine-tuning


@pytest.fixture(scope="module")
def fonts(tmp_path_factory) -> dict[str, Path]:
    """A source and three targets of one box a character."""
    folder = tmp_path_factory.mktemp("fonts")
    box = {c: (100, 0, 900, 80 * i) for i, c in enumerate("一二三四五六七八九十", 1)}
    return {name: make_font(folder / f"{name}.ttf", box, family=name) for name in ("source", "old", "other", "new")}


@pytest.fixture(scope="module")
def taught(fonts, tmp_path_factory) -> Path:
    """An experiment with the labels old and other."""
    folder = tmp_path_factory.mktemp("taught") / "run"
    targets = ["--dst_font", fonts["old"], fonts["other"]]
    assert run_train(folder, "--src_font", fonts["source"], *targets, "--max_steps", 4, "--embedding_num", 3) == 0
    return folder


def fine_tune(folder: Path, taught: Path, fonts: dict[str, Path], targets: list[str], *flags: object) -> int:
    """One step at a rate so small that the weights stay what they were at the start."""
    chosen = ["--src_font", fonts["source"], "--dst_font", *(fonts[name] for name in targets)]
    return run_train(folder, *chosen, "--fine_tune", taught, "--max_steps", 1, "--lr", "1e-12", *flags)


def is_one_of(row: torch.Tensor, rows: torch.Tensor) -> bool:
    """Whether an embedding is one of others, but for a step at a tiny rate."""
    return bool((row - rows).abs().amax(1).min() < 1e-6)


def test_labels_are_taken_over_by_name_and_new_ones_begin_in_the_likest_style(fonts, taught, tmp_path, capsys):
    assert fine_tune(tmp_path, taught, fonts, ["new", "other"]) == 0
    said = capsys.readouterr().out
    assert "label 0 new is new" in said
    assert "label 0 new begins in the style of label " in said
    assert "label 1 other is known: it starts from label 1 other\n" in said
    old, new = read(taught, 4, "net_G_EMA"), read(tmp_path, 1, "net_G")
    rows = old["embedder.weight"]
    torch.testing.assert_close(new["embedder.weight"][1], rows[1], atol=1e-6, rtol=0)
    assert is_one_of(new["embedder.weight"][0], rows[:2])
    old_d, new_d = read(taught, 4, "net_D"), read(tmp_path, 1, "net_D")
    for key in ("catagory.weight", "catagory.bias"):
        expected = torch.stack([old_d[key][:2].mean(0), old_d[key][1]])
        torch.testing.assert_close(new_d[key], expected, atol=1e-6, rtol=0)
    weights = [key for key in old if "running" not in key and "tracked" not in key and key != "embedder.weight"]
    for key in weights:
        torch.testing.assert_close(new[key], old[key], atol=1e-6, rtol=0)
    raw = read(taught, 4, "net_G")
    assert any(not torch.equal(raw[key], old[key]) for key in weights), "it started from the EMA weights"
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["data"]["labels"] == ["new", "other"]


def test_a_label_is_added_to_a_trained_model(fonts, taught, tmp_path):
    assert fine_tune(tmp_path, taught, fonts, ["old", "other", "new"]) == 0
    old, new = read(taught, 4, "net_G_EMA")["embedder.weight"], read(tmp_path, 1, "net_G")["embedder.weight"]
    torch.testing.assert_close(new[:2], old[:2], atol=1e-6, rtol=0)
    assert is_one_of(new[2], old[:2])
    assert run_infer(tmp_path, "--src_txt", "一二", "--label", 2) == 0


def test_a_label_whose_content_has_changed_is_said(fonts, taught, tmp_path, capsys):
    renamed = shutil.copy(fonts["other"], tmp_path / "renamed.ttf")
    impostor = make_font(tmp_path / "old.ttf", boxes("一二三四五", (0, 0, 500, 500)), family="old")
    paths = {"source": fonts["source"], "renamed": renamed, "old": impostor}
    assert fine_tune(tmp_path / "run", taught, paths, ["renamed", "old"]) == 0
    said = capsys.readouterr().out
    assert "label 0 other is known: it starts from label 1 other\n" in said
    assert "label 1 old is known: it starts from label 0 old, whose content was another" in said


def test_networks_for_different_labels_are_refused(tmp_path, fonts, capsys):
    small_port(tmp_path / "port")
    torch.save(tiny_model(embedding_num=2).netD.state_dict(), tmp_path / "port" / "100_net_D.pth")
    assert fine_tune(tmp_path / "run", tmp_path / "port", fonts, ["new"]) == 2
    assert "is for 2 labels, not for 4" in capsys.readouterr().err


def test_fine_tuning_from_an_earlier_port_or_a_single_file(fonts, tmp_path):
    generator, _ = small_port(tmp_path / "port")
    chosen = ["--src_font", fonts["source"], "--dst_font", fonts["new"], "--max_steps", 1, "--lr", "1e-12"]
    for number, path in enumerate((tmp_path / "port", tmp_path / "port" / "100_net_G.pth")):
        folder = tmp_path / f"run{number}"
        assert run_train(folder, *chosen, "--fine_tune", path) == 0
        assert is_one_of(read(folder, 1, "net_G")["embedder.weight"][0], generator["embedder.weight"])


def test_a_fine_tuned_run_resumes_without_what_it_came_from(fonts, taught, tmp_path):
    origin = shutil.copytree(taught, tmp_path / "origin")
    assert fine_tune(tmp_path / "run", origin, fonts, ["new"]) == 0
    shutil.rmtree(origin)
    assert fine_tune(tmp_path / "run", origin, fonts, ["new"], "--resume", "latest", "--max_steps", 2) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fine_tune", "nowhere"], "nowhere: no such experiment"),
        (["--fine_tune", "TAUGHT", "--no-g_blur"], "--no-g_blur contradicts"),
        (["--fine_tune", "TAUGHT", "--ngf", "8"], "--ngf 8 contradicts"),
        (["--freeze_encoder"], "give --fine_tune"),
        (["--fine_tune", ""], "--fine_tune is empty"),
    ],
)
def test_mistakes_in_fine_tuning(flags, words, taught, tmp_path, capsys):
    command = [str(taught) if flag == "TAUGHT" else flag for flag in flags]
    code = train.main(["--experiment_dir", str(tmp_path / "run"), "--gpu_ids", "-1", *command])
    assert code == 2
    assert words in capsys.readouterr().err


def test_reading_what_is_no_generator_file(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(UserError, match="not named as a generator"):
        read_pretrained(tmp_path / "model.pth")


# ------------------------------------------------------------------------------------------- frozen encoder


@pytest.mark.parametrize("accum_steps", [1, 2])
def test_a_frozen_encoder_stays_as_it_is(accum_steps):
    """Weights, blur and running statistics of the way down; all of the rest moves."""
    model = tiny_model(freeze_encoder=True, g_blur=True, dropout=0.5, accum_steps=accum_steps)
    before = {key: tensor.clone() for key, tensor in model.netG.state_dict().items()}
    for step in range(3):
        model.set_input(*tiny_batch(seed=step))
        model.optimize_parameters()
        model.sample(tiny_batch()[1], torch.zeros(4, dtype=torch.long), "raw")
    changed = {key for key, tensor in model.netG.state_dict().items() if not torch.equal(tensor, before[key])}
    assert not {key for key in changed if "down." in key}
    expected = {key for key in before if "up." in key or key == "embedder.weight"}
    assert changed == expected
    shadow = model.ema.shadow.state_dict()
    assert all(torch.equal(shadow[key], before[key]) for key in before if "down." in key)


def test_freezing_changes_nothing_at_inference():
    free, frozen = tiny_model(seed=3), tiny_model(seed=3, freeze_encoder=True)
    _, source, _ = tiny_batch()
    labels = torch.arange(4) % 3
    assert torch.equal(free.sample(source, labels), frozen.sample(source, labels))


def test_freeze_encoder_reaches_the_run(fonts, taught, tmp_path):
    targets = ["--src_font", fonts["source"], "--dst_font", fonts["new"], "--max_steps", 3]
    assert run_train(tmp_path, *targets, "--fine_tune", taught, "--freeze_encoder") == 0
    old, new = read(taught, 4, "net_G_EMA"), read(tmp_path, 3, "net_G")
    encoder = [key for key in old if key.startswith("model.") and "down." in key]
    assert encoder and all(torch.equal(old[key], new[key]) for key in encoder)
    assert not torch.equal(old["model.up.2.weight"], new["model.up.2.weight"])
