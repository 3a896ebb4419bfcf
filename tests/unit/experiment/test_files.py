"""What is written and read: pictures, metrics, checkpoints, logs, names."""

import csv
import itertools
import json
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.models import tiny_model
from utils import metrics
from utils.drawing.draw import STEEPEST, draw_files
from utils.drawing.job import file_stem, is_safe_name, plan
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.calibration import Calibration, read_calibrations
from utils.experiment.manifest import Drawing, Manner, earlier_entries, find_drawings, identity, write_manifest
from utils.experiment.tables import read_columns, read_header, read_rows
from utils.experiment.weights import find_weights
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image, save_sheet, to_float, to_uint8
from utils.training.log import LossLog, NonFinite
from utils.training.report import plot_losses
from utils.training.trainer import learning_rate_factor

# ---------------------------------------------------------------------------------------------- pictures


def test_grey_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    image = to_float(levels)
    assert (image.min(), image.max()) == (-1, 1)
    assert np.array_equal(to_uint8(image), levels.numpy())
    assert to_uint8(to_float(levels, channels=3)).shape == (1, 16, 16, 3)


def test_a_half_grey_pixel_stays_half_grey():
    """Unmapped tanh output would clip everything below 0 to ink and thicken the strokes."""
    assert to_uint8(torch.tensor([[[[-1.0, -0.5, 0.0, 0.5, 1.0, -3.0]]]])).tolist() == [[[0, 64, 128, 191, 255, 0]]]


@pytest.mark.parametrize(("extension", "error"), [("png", 0), ("bmp", 0), ("tif", 0), ("jpg", 24)])
def test_pictures_are_written_whole(tmp_path, extension, error):
    pixels = GlyphRenderer("bundled:source.otf").render("國", 64)
    path = tmp_path / f"a.{extension}"
    save_image(pixels, path)
    with Image.open(path) as image:
        assert image.mode == "L"
        assert np.abs(np.asarray(image).astype(int) - pixels).max() <= error
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_sheet_shows_every_glyph(tmp_path, count, blocks):
    greys = np.arange(1, 2 * count + 1, dtype=np.uint8)
    images = np.broadcast_to(greys[:, None, None], (2 * count, 8, 8))
    columns = {"source": images[:count], "target": np.stack([images[count:]] * 3, axis=-1)}
    save_sheet(columns, tmp_path / "sheet.png", blocks=blocks)
    found = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert all((found == grey).sum() >= 64 for grey in greys)


def test_a_sheet_has_every_glyph(tmp_path):
    images = np.full((5, 32, 32), 255, np.uint8)
    images[:, 8:24, 8:24] = np.arange(5, dtype=np.uint8)[:, None, None] * 40
    save_sheet({"source": images, "target": 255 - images}, tmp_path / "sheet.png", blocks=2, caption=["words"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        levels = set(np.unique(np.asarray(sheet)))
    assert set(np.unique(images)) | set(np.unique(255 - images)) <= levels


# ----------------------------------------------------------------------------------------------- metrics


def glyphs(count=3):
    font = GlyphRenderer("bundled:source.otf")
    return np.stack([font.render(character, 64) for character in "國一學"[:count]])


def test_metrics_of_a_perfect_drawing():
    true = glyphs()
    perfect = {"l1": 0, "psnr": 100, "ssim": 1, "ink_iou": 1, "edge_distance": 0, "greyness": 1}
    assert metrics.score(true, true) == perfect | {"stray_specks": 0, "stray_holes": 0}


def test_metrics_of_known_errors():
    true = glyphs()
    paper = np.full_like(true, 255)
    assert metrics.l1(paper, true) == pytest.approx((255 - true.astype(float)).mean() / 255)
    assert metrics.ink_iou(paper, true) == 0
    assert metrics.psnr(np.full_like(true, 128), np.full_like(true, 255)) == pytest.approx(6.05, abs=0.05)
    assert metrics.ssim(255 - true, true) < 0 < metrics.ssim(np.roll(true, 1, 1), true) < 1


@pytest.mark.parametrize("shape", [(1, 7, 7), (2, 20, 23)])
def test_ssim_equals_the_formula_on_each_window(shape):
    x, y = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
    windows = (np.lib.stride_tricks.sliding_window_view(each / 255, (7, 7), (1, 2)).reshape(-1, 49) for each in (x, y))
    found = []
    for a, b in zip(*windows, strict=True):
        (var_a, cov), (_, var_b) = np.cov(a, b)
        value = (2 * a.mean() * b.mean() + 1e-4) * (2 * cov + 9e-4)
        found.append(value / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (var_a + var_b + 9e-4)))
    assert metrics.ssim(x, y) == pytest.approx(np.mean(found))


def test_stray_specks_touch_no_ink_and_have_a_size():
    true = np.full((2, 32, 32), 255, np.uint8)
    true[:, 10:20, 10:20] = 0
    drawn = true.copy()
    drawn[0, 2:4, 2:4] = 0  # 4 pixels: a speck
    drawn[0, 28, 28:31] = 0  # 3 pixels: too small
    drawn[0, 20:23, 12:14] = 0  # touches the true ink
    drawn[1, 2, 2] = drawn[1, 3, 3] = drawn[1, 4, 4] = drawn[1, 5, 5] = 0  # one diagonal component
    assert metrics.stray_specks(drawn, true) == 1.0


def test_a_hole_is_paper_within_the_true_ink():
    true = np.full((1, 32, 32), 255, np.uint8)
    true[0, 4:28, 4:28] = 0
    drawn = true.copy()
    drawn[0, 8:10, 8:10] = 255  # a hole
    drawn[0, 14, 14] = 255  # too small to count
    drawn[0, 20:28, 20:24] = 255  # open to the paper around
    assert metrics.stray_holes(drawn, true) == 1.0
    assert metrics.stray_holes(true, drawn) == 0.0


def test_the_edge_distance_is_that_of_a_moved_outline():
    true = np.full((1, 32, 32), 255, np.uint8)
    true[0, 10:20, 10] = 0  # a line, which is all outline
    assert metrics.edge_distance(np.roll(true, 3, axis=2), true) == 3.0
    paper = np.full_like(true, 255)
    assert metrics.edge_distance(paper, true) == 32.0
    assert metrics.edge_distance(paper, paper) == 0.0


def test_greyness_is_relative_to_the_target():
    true = np.full((2, 8, 8), 255, np.uint8)
    true[:, 2:6, 2:6] = 0
    true[:, 2, 2:6] = 128  # four grey pixels in each
    drawn = true.copy()
    drawn[0, 3:5, 2:6] = 128
    assert metrics.greyness(drawn, true) == 2.0


def test_shift_consistency_is_zero_for_a_function_of_the_pixel():
    source = torch.rand(2, 1, 32, 32) * 2 - 1
    assert metrics.shift_consistency(lambda x: -x, source) == pytest.approx(0, abs=1e-7)
    assert metrics.shift_consistency(lambda x: x * torch.linspace(0, 1, 32), source) > 0.001


# ------------------------------------------------------------------------------------------- checkpoints


def save(folder, step, model=None):
    model = model or tiny_model()
    state = model.netG.state_dict()
    parts = {"net_G": state, "net_D": model.netD.state_dict(), "net_G_EMA": state, "state": {"step": step}}
    parts["draw"] = {"ema": [Calibration(0.3, 1.2), Calibration()]}
    checkpoint.save_checkpoint(folder, step, parts)


def test_a_checkpoint_is_four_files_loadable_without_code_and_one_of_text(tmp_path):
    save(tmp_path, 7)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"7_net_G.pth", "7_net_D.pth", "7_net_G_EMA.pth", "7_state.pth", "7_draw.json"}
    assert read_calibrations(tmp_path / "7_draw.json") == {"ema": [Calibration(0.3, 1.2), Calibration(0, 1)]}
    for name in names - {"7_draw.json"}:
        assert isinstance(torch.load(tmp_path / name, weights_only=True), dict)


def test_retention_keeps_the_newest(tmp_path):
    for step in (1, 2, 10, 30):
        save(tmp_path, step)
    (tmp_path / "5_net_G.pth").write_bytes(b"an earlier port's")
    (tmp_path / "notes.pth").write_bytes(b"the user's own")
    checkpoint.retain(tmp_path, 2)
    assert checkpoint.steps_with(tmp_path, "state") == checkpoint.steps_with(tmp_path, "net_D") == [10, 30]
    assert checkpoint.steps_with(tmp_path, "net_G") == [5, 10, 30]
    assert checkpoint.steps_with(tmp_path, "draw") == [10, 30]
    assert (tmp_path / "notes.pth").exists()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1)
    before = sorted(path.name for path in tmp_path.iterdir())

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="space"):
        save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def load_weights(net, path):
    pth.fit(net, pth.read_part(path), path)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_files_that_are_no_state_dict_are_refused(tmp_path):
    torch.save(Payload(tmp_path / "ran"), tmp_path / "1_net_G.pth")
    (tmp_path / "2_net_G.pth").write_bytes(b"garbage")
    torch.save([1, 2], tmp_path / "3_net_G.pth")
    (tmp_path / "4_net_G.pth").touch()
    for step in (1, 2, 3, 4, 5):
        with pytest.raises(UserError, match=f"{step}_net_G.pth") as caught:
            pth.read_part(tmp_path / f"{step}_net_G.pth")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"g_blur": True}, "blur is missing.*--g_blur"),
        ({"embedding_dim": 9}, "embedder.weight.*--embedding_num or --embedding_dim"),
        ({"norm_type": "instance"}, "running_.*unexpected.*--norm_type"),
        ({"up_mode": "upsample"}, "up.1.weight.*--up_mode"),
    ],
)
def test_weights_that_do_not_fit_are_an_error_and_change_nothing(tmp_path, changes, words):
    save(tmp_path, 1)
    net = tiny_model(seed=9, **changes).netG
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UserError, match=words):
        load_weights(net, tmp_path / "1_net_G.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_weights_that_fit_are_loaded(tmp_path):
    save(tmp_path, 1, tiny_model(seed=1))
    net = tiny_model(seed=2).netG
    load_weights(net, tmp_path / "1_net_G.pth")
    assert torch.equal(net.embedder.weight, tiny_model(seed=1).netG.embedder.weight)


def test_drawing_weights_fall_back_and_say_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for step in (3, 6):
        save(tmp_path, step)
    assert find_weights(tmp_path, "latest", "auto").path.name == "6_net_G_EMA.pth"
    assert find_weights(tmp_path, "latest", "raw").path.name == "6_net_G.pth"
    assert find_weights(tmp_path, "3", "auto").path.name == "3_net_G_EMA.pth"
    (tmp_path / "6_net_G_EMA.pth").unlink()
    weights = find_weights(tmp_path, "latest", "auto")
    assert weights.path.name == "6_net_G.pth"
    assert "no EMA weights" in caplog.messages[0]
    assert find_weights(tmp_path, "latest", "ema").step == 3
    with pytest.raises(UserError, match="step 9"):
        find_weights(tmp_path, "9", "auto")


def test_drawing_passes_over_what_is_cut_or_damaged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "3_state.pth").unlink()
    (tmp_path / "2_net_G_EMA.pth").write_bytes(b"PK damaged")
    (tmp_path / "2_net_G.pth").write_bytes(b"")
    weights = find_weights(tmp_path, "latest", "auto")
    assert weights.step == 1
    assert "step 3" in caplog.messages[0]
    assert "2_net_G_EMA.pth" in caplog.messages[1]
    with pytest.raises(UserError, match="2_net_G"):
        find_weights(tmp_path, "2", "auto")


# ------------------------------------------------------------------------------------------------- names


def test_every_rule_names_a_file():
    names = {rule: file_stem("永", rule, 12) for rule in ("unicode_hex", "unicode_int", "char", "seq")}
    assert names == {"unicode_hex": "U+6C38", "unicode_int": "27704", "char": "永", "seq": "00012"}
    assert file_stem("𠀀", "unicode_hex", 1) == "U+20000"


@pytest.mark.parametrize("character", [*'/\\:*?"<>|. \0\n~', "A", "Å", "ß", "\uf900", "か゚"[1], "\u3000", "ｱ", "\ud800"])
def test_unsafe_characters_are_named_by_code_point(character):
    assert file_stem(character, "char", 1) == f"U+{ord(character):04X}"


@pytest.mark.parametrize("character", [*"永字a7あ가𠀀"])
def test_safe_characters_name_themselves(character):
    composed = character in "가"  # its decomposition is another string: not every file system keeps it
    assert is_safe_name(character) == (not composed)


# ------------------------------------------------------------------------------------------- files drawn


MANNER = Manner(7, "ema", [Calibration(0.25, 1.1)])


class Inverter:
    """Stands for a model: draws the negative of the source."""

    device = torch.device("cpu")

    class config:
        embedding_num = 1
        image_size = 32
        input_nc = 1

    def __init__(self):
        self.drawn_at_once: list[int] = []

    def field(self, source, label, weights):
        self.drawn_at_once.append(len(source))
        return torch.atanh(-source)


def draw(tmp_path, characters, **flags):
    options = {"rule": "unicode_hex", "earlier": None, "manner": MANNER} | flags
    font = GlyphRenderer("bundled:source.otf")
    drawings = plan(characters, [0], tmp_path, options["rule"], "png")
    return list(draw_files(Inverter(), font, drawings, options["manner"], 2, options["earlier"]))


def test_every_batch_has_files_of_its_own(tmp_path):
    entries = draw(tmp_path, "國一學是的")
    font = GlyphRenderer("bundled:source.otf")
    for item in entries:
        with Image.open(tmp_path / item["file"]) as image:
            assert np.array_equal(np.asarray(image), 255 - font.render(item["character"], 32))
    assert len({item["file"] for item in entries}) == 5


def test_as_many_are_drawn_at_once_as_is_said(tmp_path):
    model, font = Inverter(), GlyphRenderer("bundled:source.otf")
    characters = [c for c in font.covered() if c.isalpha()][:45]
    assert len(list(draw_files(model, font, plan(characters, [0], tmp_path, "unicode_hex", "png"), MANNER, 40))) == 45
    assert model.drawn_at_once == [40, 5]


def test_a_missing_character_is_an_entry_with_its_reason(tmp_path):
    entries = draw(tmp_path, "國永")
    errors = [item for item in entries if "error" in item]
    assert [item["character"] for item in errors] == ["永"]
    assert "lacks" in errors[0]["error"]
    assert not list(tmp_path.rglob("*6C38*"))


@pytest.mark.parametrize("rule", ["unicode_hex", "unicode_int", "char", "seq"])
def test_skip_exist_keeps_what_is_there_under_every_rule(tmp_path, rule):
    first = draw(tmp_path, "國一學", rule=rule)
    write_manifest(tmp_path, {}, first)
    kept = tmp_path / first[1]["file"]
    kept.write_bytes(b"redrawn by hand")
    (tmp_path / first[2]["file"]).unlink()
    again = draw(tmp_path, "國一學", rule=rule, earlier=earlier_entries(tmp_path))
    assert {item["file"] for item in again} == {item["file"] for item in first}
    assert kept.read_bytes() == b"redrawn by hand"
    assert (tmp_path / first[2]["file"]).is_file()


OTHER_MANNERS = {
    "another step": replace(MANNER, step=8),
    "other weights": replace(MANNER, weights="raw"),
    "another bias": replace(MANNER, labels=[Calibration(0.2, 1.1)]),
    "another sharpness": replace(MANNER, labels=[Calibration(0.25, 1.5)]),
    "fields too": replace(MANNER, with_fields=True),
}


@pytest.mark.parametrize("what", OTHER_MANNERS)
def test_skip_exist_draws_anew_what_was_drawn_otherwise_and_nothing_that_is_the_users(tmp_path, what, caplog):
    caplog.set_level("INFO")
    manner, first = OTHER_MANNERS[what], {item["character"]: item for item in draw(tmp_path, "國一學是")}
    assert all({"step": 7, "weights": "ema", "bias": 0.25, "sharpness": 1.1}.items() <= first[c].items() for c in first)
    write_manifest(tmp_path, {}, [first[c] for c in "國一學"])  # as if 是 was put there by hand
    paths = {character: tmp_path / item["file"] for character, item in first.items()}
    save_image(np.zeros((32, 32), np.uint8), paths["一"])  # retouched

    def drawn_anew() -> set[str]:
        before = {character: path.stat().st_mtime_ns for character, path in paths.items()}
        again = draw(tmp_path, "國一學是", manner=manner, earlier=earlier_entries(tmp_path))
        write_manifest(tmp_path, {}, again)
        assert {item["character"]: "step" in item for item in again} == {
            "國": True,
            "一": False,
            "學": True,
            "是": False,
        }
        assert all(manner.of(0).items() <= item.items() for item in again if "step" in item)
        return {character for character, path in paths.items() if path.stat().st_mtime_ns != before[character]}

    assert drawn_anew() == {"國", "學"}
    assert "2 drawings are there already, 2 were drawn otherwise: these anew" in caplog.text
    assert drawn_anew() == set()
    assert caplog.messages[-1] == "4 drawings are there already"


def test_a_manifest_of_an_earlier_version_tells_the_step_alone(tmp_path):
    first = draw(tmp_path, "國一")
    older = [{key: item[key] for key in ("character", "codepoint", "label", "file")} for item in first]
    (tmp_path / "manifest.json").write_text(json.dumps({"step": 7, "weights": "ema", "characters": older}), "utf-8")
    times = {item["file"]: (tmp_path / item["file"]).stat().st_mtime_ns for item in first}
    again = draw(tmp_path, "國", earlier=earlier_entries(tmp_path))
    assert (tmp_path / again[0]["file"]).stat().st_mtime_ns > times[again[0]["file"]]
    write_manifest(tmp_path, {"step": 9}, again)
    assert earlier_entries(tmp_path).keys() == {identity(item) for item in first}
    assert [item["step"] for item in earlier_entries(tmp_path).values()] == [7, 7]


def test_the_field_is_kept_beside_a_drawing_and_is_traced_as_long_as_that_is_not_changed(tmp_path):
    manner = replace(MANNER, with_fields=True)
    write_manifest(tmp_path, {}, draw(tmp_path, "國一", manner=manner))
    drawn, fields = find_drawings(tmp_path, 0), find_drawings(tmp_path, 0, to_trace=True)
    assert {str(path.relative_to(tmp_path)) for path in fields.values()} == {"0/field/U+570B.png", "0/field/U+4E00.png"}
    picture, field = (np.asarray(Image.open(paths["國"])).astype(float) for paths in (drawn, fields))
    inside = (picture > 2) & (picture < 253)
    expected = np.arctanh(picture[inside] / 127.5 - 1)
    assert np.abs((field[inside] / 127.5 - 1) * STEEPEST - expected.clip(-STEEPEST, STEEPEST)).max() < 0.03
    save_image(np.zeros((32, 32), np.uint8), drawn["國"])
    assert find_drawings(tmp_path, 0, to_trace=True) == {"一": fields["一"], "國": drawn["國"]}
    fields["一"].unlink()
    assert find_drawings(tmp_path, 0, to_trace=True) == drawn


def test_the_manifest_keeps_what_other_runs_drew(tmp_path):
    def item(character, label):
        return {"codepoint": character, "label": label, "file": f"{label}/{character}"}

    write_manifest(tmp_path, {"step": 1}, [item("a", 0), item("b", 0)])
    write_manifest(tmp_path, {"step": 2}, [item("b", 0), item("b", 1)])
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["step"] == 2
    assert [(entry["codepoint"], entry["label"]) for entry in manifest["characters"]] == [("a", 0), ("b", 0), ("b", 1)]


def test_a_drawing_goes_to_the_folder_of_its_label(tmp_path):
    assert plan("永", [2], tmp_path, "seq", "jpg") == [Drawing(2, "永", tmp_path / "2" / "00001.jpg")]


# -------------------------------------------------------------------------------------------------- logs


def losses(value):
    return {"d_loss": torch.tensor(value), "g_loss": torch.tensor(2 * value)}


def test_losses_are_written_once_each_and_cut_back_on_resume(tmp_path):
    path = tmp_path / "losses.csv"
    log = LossLog(path, 0)
    for step in range(1, 6):
        log.add(step, step / 10, 0.001, losses(float(step)))
    assert log.flush() == {"d_loss": 3.0, "g_loss": 6.0}
    assert log.flush() == {}
    log = LossLog(path, 3)
    log.add(4, 0.4, 0.001, losses(9.0))
    log.flush()
    rows = list(read_rows(path))
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert dict(zip(read_header(path), rows[3], strict=True))["d_loss"] == "9"
    plot_losses(read_columns(path), tmp_path / "losses.png")
    with Image.open(tmp_path / "losses.png") as image:
        assert image.width > 300


def test_a_cut_last_line_is_left_out(tmp_path):
    path = tmp_path / "losses.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "epoch", "lr", "d_loss"], [1, 0, 0, 1], [2, 0]])
    assert [row[0] for row in read_rows(path)] == ["1"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_step(tmp_path, value):
    log = LossLog(tmp_path / "losses.csv", 0)
    for step in (1, 2, 3):
        log.add(step, 0.0, 0.001, losses(value if step == 2 else 1.0))
    with pytest.raises(NonFinite, match=r"step 2: d_loss (nan|inf)"):
        log.flush()


def test_the_learning_rate_never_rises():
    factors = [learning_rate_factor(epoch, 10) for epoch in range(200)]
    assert factors[0] == factors[9] == 1
    assert factors[10] == 0.5
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert 1e-5 * factors[-1] < 1e-5 / 1000
    assert {learning_rate_factor(epoch, 0) for epoch in range(100)} == {1.0}
