"""Weights of max32002's zi2zi-pytorch: additive skips, self-attention, norms without weights, spectral norms."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train
from model import UNetGenerator, Zi2ZiConfig
from model.architecture import (
    discriminator_architecture,
    generator_architecture,
    likely_image_size,
    settled,
    translated,
)
from model.discriminator import Discriminator
from tests.helpers.fonts import boxes, make_font
from tests.helpers.scripts import run_infer, run_train
from utils.experiment.pth import read_weights

PORT = Path(__file__).parent.parent.parent / "port_max"  # made with that port's own networks, of random weights


@pytest.mark.parametrize("size", ["256", "512"])
def test_its_networks_compute_the_same_numbers(size):
    """Instance norms and spectral norms at 256 pixels; at 512 batch norms, and a bottleneck of 2x2."""
    generator, discriminator = (read_weights(PORT / f"{size}_net_{part}.pth") for part in "GD")
    found = settled(generator_architecture(generator) | discriminator_architecture(discriminator))
    assert found["image_size"] == int(size)
    assert (found["skip"], found["attention"], found["levels"]) == ("add", "3,4", 0 if size == "256" else 8)
    assert found["norm_type"] == ("plain_instance" if size == "256" else "batch")
    config = Zi2ZiConfig(**found)
    net = UNetGenerator(**config.generator_arguments()).eval()
    judge = Discriminator(**config.discriminator_arguments()).eval()
    net.load_state_dict(generator)
    judge.load_state_dict(discriminator)
    expected = {name: torch.from_numpy(array) for name, array in np.load(PORT / f"expected_{size}.npz").items()}
    pixels = expected["pixels"].float() / 127.5 - 1
    with torch.no_grad():
        fake = net(pixels, expected["label"])[0]
        binary, category = judge(torch.cat([pixels, fake], 1))
    torch.testing.assert_close(fake[..., ::4, ::4], expected["fake"], atol=1e-4, rtol=0)
    torch.testing.assert_close(binary, expected["binary"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(category, expected["category"], atol=1e-3, rtol=1e-3)


def test_without_its_discriminator_the_image_size_is_the_likeliest():
    assert likely_image_size(read_weights(PORT / "256_net_G.pth")) == 256


@pytest.fixture
def port(tmp_path) -> Path:
    """A folder as that port leaves it: a numbered checkpoint, and the last one without a number."""
    folder = tmp_path / "port"
    folder.mkdir()
    for part in "GD":
        shutil.copy(PORT / f"256_net_{part}.pth", folder / f"latest_net_{part}.pth")
    return folder


def test_a_last_checkpoint_is_drawn_from(port, tmp_path, capsys):
    flags = ["--src_txt", "國", "--src_font", "bundled:source.otf", "--label", 2]
    assert run_infer(port, *flags, "--infer_dir", tmp_path / "one") == 0
    said = capsys.readouterr().out
    assert "the architecture is read from latest_net_G.pth" in said
    assert f"drawing with {port / 'latest_net_G.pth'}" in said
    weights = torch.load(port / "latest_net_G.pth", weights_only=True)
    torch.save({key: value + 0.01 for key, value in weights.items()}, port / "100_net_G.pth")
    assert run_infer(port, *flags, "--infer_dir", tmp_path / "two") == 0
    assert run_infer(port, *flags, "--infer_dir", tmp_path / "older", "--resume", 100) == 0
    one, two, older = (np.asarray(Image.open(tmp_path / n / "2" / "U+570B.png")) for n in ("one", "two", "older"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, older)


def train_in_its_sizes(folder: Path, *flags: object) -> int:
    """train.py in the sizes of the weights that it starts from."""
    return train.main(["--gpu_ids", "-1", "--amp", "off", "--experiment_dir", str(folder), *map(str, flags)])


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_training_starts_from_it(port, tmp_path, named, capsys):
    characters = "一二三四五六"
    source, target = (
        make_font(tmp_path / f"{name}.ttf", boxes(characters, (100, -50, 900, 800 - 100 * number)), name)
        for number, name in enumerate(("source", "target"))
    )
    start = port if named == "folder" else port / "latest_net_G.pth"
    flags = ["--src_font", source, "--dst_font", target, "--fine_tune", start, "--batch_size", 1, "--max_steps", 2]
    run = tmp_path / "run"
    code = train_in_its_sizes(run, *flags)
    assert code == 0, capsys.readouterr().err
    state = torch.load(run / "checkpoint" / "2_net_G.pth", weights_only=True)
    assert "model.submodule.submodule.att.gamma" in state
    assert run_infer(run, "--src_txt", "一") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"skip": "add", "attention": "2,4"},
        {"norm_type": "plain_instance", "levels": 5, "up_mode": "pixelshuffle"},
        {"skip": "add", "attention": "3", "up_mode": "conv", "g_blur": True},
    ],
)
def test_such_networks_can_be_trained_from_nothing_too(tmp_path, changes):
    flags = [each for name, value in changes.items() for each in (f"--{name}", value) if each is not True]
    run = tmp_path / "run"
    assert run_train(run, "--generator", "zi2zi", *flags, "--max_steps", 2) == 0
    assert run_train(run, "--resume", "latest", "--max_steps", 3) == 0
    found = generator_architecture(read_weights(run / "checkpoint" / "3_net_G_EMA.pth"))
    expected = {"skip": "concat", "attention": "", "up_mode": "conv"} | changes
    assert {name: found[name] for name in expected} == expected
    assert run_infer(run, "--src_txt", "國") == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--skip", "add"], "are of generator zi2zi, not residual"),
        (["--generator", "zi2zi", "--attention", "3,9"], "is not of levels 1 to 6, such as 3,4"),
        (["--generator", "zi2zi", "--levels", "9"], "levels 9 is not 0, or 4 to 6"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, capsys, flags, words):
    assert run_train(tmp_path / "run", *flags, "--max_steps", 1) == 2
    assert words in capsys.readouterr().err


def test_a_run_goes_on_from_a_last_checkpoint_in_its_folder(tmp_path, capsys):
    characters, run = "一二三四五六", tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    for part in "GD":
        shutil.copy(PORT / f"256_net_{part}.pth", run / "checkpoint" / f"latest_net_{part}.pth")
    fonts = [make_font(tmp_path / f"{n}.ttf", boxes(characters, (50 * n, 0, 900, 800)), f"Font {n}") for n in (1, 2)]
    flags = ["--src_font", fonts[0], "--dst_font", fonts[1], "--resume", "latest", "--batch_size", 1]
    assert train_in_its_sizes(run, *flags, "--max_steps", 3) == 0, capsys.readouterr().err
    assert train_in_its_sizes(run, "--resume", "latest", "--max_steps", 4) == 0
    assert "resuming from step 3" in capsys.readouterr().out
    assert run_infer(run, "--src_txt", "一") == 0
    assert "is skipped" not in capsys.readouterr().out


def test_a_size_that_has_fewer_levels_is_refused(port, capsys):
    (port / "latest_net_D.pth").unlink()
    for size, words in ((128, "it has 8 levels, an image size of 128 allows 7"), (100, "image_size 100")):
        flags = ["--src_txt", "國", "--src_font", "bundled:source.otf", "--image_size", size]
        assert run_infer(port, *flags) == 2
        assert words in capsys.readouterr().err


def test_a_damaged_spectral_norm_is_left_as_it_is():
    shapes = {"orig": (4, 6), "u": (6,), "v": (4,)}
    state = {f"model.0.weight_{part}": torch.ones(shape) for part, shape in shapes.items()}
    assert translated(state).keys() == state.keys()
