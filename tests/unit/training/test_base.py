"""The base that comes along: what it is, when a run starts from it, and how a new style begins."""

import hashlib
import json
import shutil

import pytest
import torch
from fontTools.ttLib import TTFont

import train
from tests.helpers.exports import pictures
from tests.helpers.fonts import boxes, make_font
from tests.helpers.models import tiny_batch, tiny_model
from tests.helpers.scripts import FEW, run_train
from utils.data.font_pairs import FontData, Split
from utils.errors import UserError
from utils.experiment import checkpoint
from utils.glyphs.render import GlyphRenderer
from utils.training import base
from utils.training.styles import likest, take_likest

FONTS = ["--src_font", "bundled:source.otf", "--dst_font", "bundled:target.ttf"]


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    """A folder of 40 glyphs."""
    characters = "".join(FEW.read_text(encoding="utf-8").split())[:40]
    return pictures(tmp_path_factory.mktemp("data") / "hand", "bundled:target.ttf", characters)


def chosen(capsys, *flags: object) -> tuple[dict[str, str], str]:
    """The value and the origin of every flag as a dry run has them, and what it says."""
    assert train.main([*map(str, flags), "--gpu_ids", "-1", "--dry_run"]) == 0
    said = capsys.readouterr().out
    rows = [line.split(maxsplit=1) for line in said.splitlines() if line.endswith(")") and "  " in line]
    return dict(rows), said


def test_the_file_is_the_one_that_the_program_knows():
    path = checkpoint.part_path(base.FOLDER, base.STEP, checkpoint.EMA_GENERATOR)
    assert path.stat().st_size < 30_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == base.SHA256
    stored = torch.load(path, weights_only=True)
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    read = base.read_base()
    assert {value.dtype for value in read.shadow.values()} == {torch.float32, torch.int64}
    assert len(read.styles) == len(read.labels) == len({tuple(style.tolist()) for style in read.styles})


def test_the_faces_it_was_trained_on_are_listed_with_their_licences():
    faces = json.loads((base.FOLDER / "faces.json").read_text(encoding="utf-8"))
    families = {face["family"]: face for face in faces}
    assert len(faces) >= 40 and len(families) >= 25
    assert sum(face["region"] in ("TW", "HK") for face in families.values()) >= 8
    assert {face["kind"] for face in faces} == {"sans", "serif", "rounded", "kai", "handwriting", "brush", "display"}
    for face in faces:
        assert all(face[key] for key in ("name", "package", "version", "licence", "region", "file", "sha256")), face
        assert not {"wenkai", "klee", "iansui", "kouzan", "huninn"} & set(face["family"].lower().split()), face
    assert sorted(face["name"] for face in faces) == sorted(base.read_base().labels)
    assert "licence" in (base.FOLDER / "README.md").read_text(encoding="utf-8")


def test_a_file_that_is_another_is_refused(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "base"
    shutil.copytree(base.FOLDER, folder)
    monkeypatch.setattr(base, "FOLDER", folder)
    path = checkpoint.part_path(folder, base.STEP, checkpoint.EMA_GENERATOR)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not the base that came with the program: fetch the repository again"):
        base.read_base()
    path.unlink()
    assert train.main(["--fine_tune", base.NAME, *FONTS, "--experiment_dir", str(tmp_path / "run")]) == 2
    assert "fetch the repository again" in capsys.readouterr().err


def test_a_run_on_few_drawings_starts_from_the_base(hand, tmp_path, capsys):
    data = ["--src_font", "bundled:source.otf", "--dst_imgs", hand, "--experiment_dir", tmp_path / "run"]
    values, _ = chosen(capsys, *data)
    assert values["fine_tune"] == "bundled:base  (base)"
    assert values["image_size"] == "256  (checkpoint)"
    assert values["max_steps"] == f"{base.learning(36)['max_steps']}  (base)"
    assert chosen(capsys, *data, "--g_blur", "--image_size", 256)[0]["fine_tune"] == "bundled:base  (base)"
    values, _ = chosen(capsys, *data, "--epoch", 3, "--lr", 0.01)
    assert (values["max_steps"], values["lr"]) == ("-  (not set)", "0.01  (flag)")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--image_size", "128"], "--image_size 128 is given"),
        (["--ngf", "64", "--no-g_blur"], "--ngf 64, --no-g_blur are given"),
        (["--input_nc", "3"], "--input_nc 3 is given"),
        (["--recipe", "zi2zi"], "--recipe zi2zi is given"),
        (["--from_scratch"], "--from_scratch asks for it"),
    ],
)
def test_a_flag_that_is_not_the_bases_has_a_run_start_from_nothing(flags, reason, hand, tmp_path, capsys):
    data = ["--src_font", "bundled:source.otf", "--dst_imgs", hand, "--experiment_dir", tmp_path / "run"]
    values, said = chosen(capsys, *data, *flags)
    assert values["fine_tune"] == "-  (not set)"
    assert f"training from nothing, not from the base: {reason}" in said


@pytest.mark.parametrize("data", [[], FONTS])
def test_the_bundled_fonts_are_learned_from_nothing(data, tmp_path, capsys):
    values, said = chosen(capsys, *data, "--experiment_dir", tmp_path / "run")
    assert values["fine_tune"] == "-  (not set)"
    assert "base" not in said


def test_on_a_gpu_many_characters_are_learned_from_nothing():
    source = GlyphRenderer("bundled:source.otf")
    assert base.suits({}, 100, True, source)[0]
    assert base.suits({}, base.FEW + 1, True, source) == (False, None)
    assert base.suits({}, base.FEW + 1, False, source)[0]


def test_a_source_that_is_drawn_otherwise_is_learned_from_nothing(hand, tmp_path, capsys):
    """As it was measured with AR PL UKai."""
    characters = "".join(FEW.read_text(encoding="utf-8").split())
    source = make_font(tmp_path / "boxes.otf", boxes(characters))
    assert base.likeness(GlyphRenderer(str(source))) < base.LIKE < base.likeness(GlyphRenderer(base.SOURCE))
    data = ["--src_font", source, "--dst_imgs", hand, "--experiment_dir", tmp_path / "run"]
    values, said = chosen(capsys, *data)
    assert values["fine_tune"] == "-  (not set)"
    assert "not from the base: Boxes is drawn unlike the sans" in said
    assert chosen(capsys, *data, "--fine_tune", "bundled:base")[0]["fine_tune"] == "bundled:base  (flag)"


def test_weight_and_place_in_the_em_are_no_unlikeness(tmp_path):
    path = tmp_path / "moved.otf"
    with TTFont(GlyphRenderer("bundled:source.otf").path) as font:
        font["OS/2"].sTypoAscender += 60
        font["hhea"].ascent += 60
        font.save(path)
    assert base.likeness(GlyphRenderer(str(path))) > 0.97


@pytest.mark.parametrize(
    ("characters", "steps"), [(1, 100), (75, 100), (76, 300), (150, 300), (400, 600), (9999, 1000)]
)
def test_the_length_goes_by_the_number_of_characters(characters, steps):
    assert base.learning(characters)["max_steps"] == steps


@pytest.mark.parametrize("ema_decay", [0.0, 0.999])
def test_a_new_style_begins_as_the_known_one_that_is_most_like_it(ema_decay):
    model = tiny_model(ema_decay=ema_decay)
    net = model.netG if model.ema is None else model.ema.shadow
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    styles = torch.randn(4, model.config.embedding_dim, generator=torch.Generator().manual_seed(1)) * 3
    _, source, _ = tiny_batch()
    for number, style in enumerate(styles):
        net.embedder.weight.data[0] = style
        target = model.sample(source, torch.zeros(len(source), dtype=torch.int64))
        net.load_state_dict(before)
        assert likest(model, styles, 1, source, target) == number
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_label_without_a_pair_to_train_on_begins_as_it_is():
    model = tiny_model()
    data = FontData.from_fonts(FONTS[1], [FONTS[3]], [], str(FEW), Split(0.0, 777))
    before = model.netG.embedder.weight.detach().clone()
    styles = torch.randn(3, model.config.embedding_dim)
    found = take_likest(model, styles, [0, 1], data, [(0, character) for character in data.train])
    assert list(found) == [0]
    assert torch.equal(model.netG.embedder.weight[0], styles[found[0]])
    assert torch.equal(model.netG.embedder.weight[1:], before[1:])


def test_a_run_from_nothing_that_is_begun_again_stays_one(hand, tmp_path, capsys):
    data = ["--src_font", "bundled:source.otf", "--dst_imgs", hand]
    assert run_train(tmp_path / "run", *data, "--max_steps", 1) == 0
    assert "not from the base: --image_size 64" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    (tmp_path / "run" / "checkpoint").mkdir()
    values, said = chosen(capsys, "--experiment_dir", tmp_path / "run", "--resume", "latest")
    assert "it begins again" in said and "not from the base" not in said
    assert values["fine_tune"] == "-  (not set)"


def test_weights_to_start_from_contradict_a_start_from_nothing(hand, tmp_path, capsys):
    data = ["--src_font", "bundled:source.otf", "--dst_imgs", str(hand), "--experiment_dir", str(tmp_path / "run")]
    assert train.main([*data, "--from_scratch", "--fine_tune", base.NAME]) == 2
    assert "--from_scratch and --fine_tune bundled:base contradict each other" in capsys.readouterr().err


def test_a_run_from_the_base_is_drawn_from_and_goes_on(hand, tmp_path, capsys):
    folder = tmp_path / "run"
    flags = ["--experiment_dir", str(folder), "--gpu_ids", "-1", "--amp", "off"]
    data = ["--src_font", "bundled:source.otf", "--dst_imgs", str(hand)]
    assert train.main([*flags, *data, "--max_steps", "1", "--batch_size", "2", "--val_ratio", "0"]) == 0
    said = capsys.readouterr().out
    assert "label 0 hand is new" in said
    assert "label 0 hand begins in the style of label " in said
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["fine_tune"] == base.NAME
    assert config["model"]["image_size"] == 256 and config["model"]["embedding_num"] == 1
    assert train.main([*flags, "--resume", "latest", "--max_steps", "2"]) == 0
    assert "resuming from step 1" in capsys.readouterr().out
