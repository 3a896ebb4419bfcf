"""Pairs without fonts: .obj files, pictures side by side, and packing and unpacking them."""

import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import infer
from tests.helpers.fonts import make_font
from tests.helpers.scripts import run_train
from utils import prepare
from utils.data.loader import TrainingPairs
from utils.data.obj_file import read_obj, write_obj
from utils.data.record_pairs import RecordData
from utils.errors import UserError
from utils.glyphs.placement import place_in_frame
from utils.glyphs.render import GlyphRenderer

PORT = Path(__file__).parent.parent.parent / "port"


def picture(number: int, size: int = 64, mode: str = "L", target: int = 0) -> bytes:
    """A pair: a target bar `target` pixels wide on the left, a source bar that tells the number on the right."""
    pixels = np.full((size, 2 * size), 255, np.uint8)
    pixels[10:50, 8 : 12 + target] = 0
    pixels[10 : 14 + number, size + 10 : 2 * size - 10] = 0
    packed = io.BytesIO()
    image = Image.fromarray(pixels)
    if mode == "RGB":
        image = Image.merge("RGB", (image, image, Image.new("L", image.size, 200)))
    image.convert(mode).save(packed, "PNG")
    return packed.getvalue()


@pytest.fixture
def train_obj(tmp_path) -> Path:
    """Ten pairs in two labels."""
    path = tmp_path / "made" / "train.obj"
    path.parent.mkdir()
    write_obj(path, [(number % 2, picture(number)) for number in range(10)])
    return path


class Payload:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# ---------------------------------------------------------------------------------------------- obj files


def test_a_file_of_an_earlier_port_is_read_and_written_alike(tmp_path):
    index = read_obj(PORT / "train.obj")
    assert len(index) == 12
    assert index.labels == [0, 1] * 6
    for number in range(12):
        with Image.open(io.BytesIO(index.read(number))) as image:
            assert image.size == (512, 256)
    again = tmp_path / "again.obj"
    assert write_obj(again, ((label, index.read(n)) for n, label in enumerate(index.labels))) == 12
    with again.open("rb") as ours, (PORT / "train.obj").open("rb") as theirs:
        for _ in range(12):
            assert pickle.load(ours) == pickle.load(theirs)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_that_has_bytes_is_read(tmp_path, protocol):
    path = tmp_path / "a.obj"
    records = [(0, b""), (1, b"x" * 300), (300, b"y" * 70_000), (9_999, b"z")]
    path.write_bytes(b"".join(pickle.dumps(record, protocol) for record in records))
    index = read_obj(path)
    assert [(label, index.read(n)) for n, label in enumerate(index.labels)] == records


def test_a_file_that_was_cut_keeps_what_came_before(tmp_path):
    content = (PORT / "train.obj").read_bytes()
    for cut in (1, 7, 5000):
        path = tmp_path / "cut.obj"
        path.write_bytes(content[:-cut])
        index = read_obj(path)
        assert len(index) == 11
        assert list(index.dropped) == [12]
        assert "can't be read" in index.dropped[12]


@pytest.mark.parametrize("record", [7, "text", (1, "text"), (1.5, b"x"), (True, b"x"), [1, b"x"], (-1, b"x"), (1, 2)])
def test_a_record_that_is_no_pair_is_named_and_left_out(tmp_path, record):
    path = tmp_path / "a.obj"
    path.write_bytes(b"".join(pickle.dumps(each) for each in ((0, b"one"), record, (1, b"two"))))
    index = read_obj(path)
    assert index.numbers == [1, 3]
    assert index.dropped == {2: "is no pair of a label and an image"}


@pytest.mark.parametrize("protocol", range(6))
def test_a_class_is_refused_and_nothing_runs(tmp_path, protocol):
    marker, path = tmp_path / "executed", tmp_path / "a.obj"
    path.write_bytes(pickle.dumps((0, picture(1))) + pickle.dumps((0, Payload(marker)), protocol))
    with pytest.raises(UserError, match="record 2 holds a class"):
        read_obj(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker), protocol))
    assert marker.exists(), "the payload does run where it is let in"


def test_a_false_length_costs_no_memory(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"\x80\x04K\x00\x8e" + (2**40).to_bytes(8, "little") + b"short")
    assert "it is cut" in read_obj(path).dropped[1]


def test_a_large_file_is_not_held_in_memory(tmp_path):
    path = tmp_path / "large.obj"
    image = os.urandom(10_000)
    write_obj(path, ((0, image) for _ in range(3000)))
    tracemalloc.start()
    index = read_obj(path)
    assert index.read(2999) == image
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 10


# ------------------------------------------------------------------------------------------------ records


def test_the_target_is_on_the_left(tmp_path):
    path = tmp_path / "a.obj"
    write_obj(path, [(0, picture(5, target=3))])
    data = RecordData.open(path, channels=1)
    source, target = data.render_pair(data.train_pairs[0], 64)
    with Image.open(io.BytesIO(picture(5, target=3))) as image:
        pixels = np.asarray(image)
    assert np.array_equal(target, pixels[:, :64])
    assert np.array_equal(source, pixels[:, 64:])


def test_records_that_can_not_be_used_are_named_by_number(tmp_path, capsys):
    path = tmp_path / "a.obj"
    square = io.BytesIO()
    Image.new("L", (64, 64)).save(square, "PNG")
    cut = picture(1)[:-30]
    records = [
        (0, picture(0)),
        (0, b"no image"),
        (1, cut),
        (0, square.getvalue()),
        (10**6, picture(2)),
        (1, picture(3)),
    ]
    write_obj(path, records)
    data = RecordData.open(path, channels=1)
    assert sorted(key for _, key in data.train_pairs) == [1, 6]
    assert list(data.dropped) == [2, 3, 4, 5]
    said = "\n".join(data.summary())
    assert "record 2 is left out: it can't be read as an image" in said
    assert "record 4 is left out: it is 64 x 64 pixels, not two squares side by side" in said
    assert "record 5 is left out: it has a label beyond 9999" in said
    assert "4 left out in all" in said
    assert list(data.describe()["dropped"]) == ["record 2", "record 3", "record 4", "record 5"]


def test_val_obj_is_what_is_held_out(train_obj):
    write_obj(train_obj.with_name("val.obj"), [(1, picture(20)), (0, picture(21))])
    data = RecordData.open(train_obj.parent, channels=1, split_ratio=0.5, seed=1)
    assert (len(data.train_pairs), len(data.held_out_pairs)) == (10, 2)
    sources, _ = data.render_pairs(data.held_out_pairs, 64)
    assert [int((image < 128).any(1).sum()) for image in sources] == [24, 25]


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95 cut"])
def test_a_val_obj_without_pairs_is_made_up_for(train_obj, content):
    train_obj.with_name("val.obj").write_bytes(content)
    data = RecordData.open(train_obj.parent, channels=1, split_ratio=0.2, seed=1)
    assert (len(data.train_pairs), len(data.held_out_pairs)) == (7, 3)
    named = any("val.obj record 1 is left out" in line for line in data.summary())
    assert named == bool(content)


def test_a_file_is_reopened_without_its_neighbour(train_obj):
    """What was asked for was one file: a val.obj beside it is not part of it."""
    write_obj(train_obj.with_name("val.obj"), [(0, picture(20))])
    data = RecordData.open(train_obj, channels=1, split_ratio=0.2, seed=1)
    assert RecordData.from_config(data.describe()).held_out_pairs == data.held_out_pairs


def test_without_val_obj_a_share_is_held_out(train_obj):
    data = RecordData.open(train_obj.parent, channels=1, split_ratio=0.2, seed=1)
    keys = {key for _, key in data.train_pairs}, {key for _, key in data.held_out_pairs}
    assert [len(part) for part in keys] == [7, 3]
    assert keys[0] | keys[1] == set(range(1, 11))
    again = RecordData.from_config(data.describe())
    assert again.held_out_pairs == data.held_out_pairs
    write_obj(train_obj, [(0, picture(1))])
    with pytest.raises(UserError, match="content is another"):
        RecordData.from_config(data.describe())


def test_augmentation_moves_both_halves_alike(train_obj):
    write_obj(train_obj, [(0, picture(36, target=40))])
    with Image.open(io.BytesIO(picture(36, target=40))) as image:
        halves = np.asarray(image)
    assert not np.array_equal(halves[:, :64], halves[:, 64:])
    same = np.concatenate([halves[:, 64:]] * 2, 1)
    packed = io.BytesIO()
    Image.fromarray(same).save(packed, "PNG")
    write_obj(train_obj, [(0, packed.getvalue())])
    pairs = TrainingPairs(RecordData.open(train_obj, channels=1), 64, augment=True, seed=1)
    images = [pairs[epoch, 0] for epoch in range(10)]
    assert all(np.array_equal(source, target) for _, source, target in images)
    assert len({source.tobytes() for _, source, _ in images}) == 10
    assert all(source[0, 0] == 255 for _, source, _ in images)


def test_a_folder_of_pictures_takes_labels_from_names(tmp_path):
    for name, number in (("0_00001.png", 1), ("2_00001.png", 2), ("plain.png", 3)):
        (tmp_path / name).write_bytes(picture(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "20251124_1.png").write_bytes(picture(4))
    data = RecordData.open(tmp_path, channels=1)
    assert data.describe()["dropped"] == {
        "20251124_1.png": "label",
        "notes.txt": "no_image",
    }
    assert [label for label, _ in data.train_pairs] == [0, 2, 0]
    assert data.labels == ["0", "1", "2"]


def test_colour_is_kept_where_the_network_has_it(tmp_path):
    path = tmp_path / "a.obj"
    write_obj(path, [(0, picture(5, mode="RGB"))])
    pair = RecordData.open(path, channels=3).render_pair((0, 1), 64)
    assert [image.shape for image in pair] == [(64, 64, 3)] * 2
    assert (pair[0][..., 2] == 200).all()
    assert RecordData.open(path, channels=1).render_pair((0, 1), 64)[0].shape == (64, 64)


def test_a_font_is_placed_as_the_pictures_were(train_obj):
    """Drawing characters after training on pictures: same median size and centre."""
    data = RecordData.open(train_obj, channels=1)
    side, x, y = data.frame
    font = GlyphRenderer("bundled:source.otf")
    font.placement = place_in_frame(font, "國的是", data.frame)
    boxes = np.array([font.ink_box(c) for c in "國的是"])
    assert np.median(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])) == pytest.approx(side, abs=1e-6)
    assert np.median((boxes[:, 0] + boxes[:, 2]) / 2) == pytest.approx(x, abs=1e-6)
    assert np.median((boxes[:, 1] + boxes[:, 3]) / 2) == pytest.approx(y, abs=1e-6)


# ------------------------------------------------------------------------------------------ from end to end


@pytest.mark.slow
def test_the_obj_file_of_an_earlier_port_trains_and_is_drawn(tmp_path, capsys):
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    (run / "data" / "train.obj").write_bytes((PORT / "train.obj").read_bytes())
    flags = ["--experiment_dir", str(run), "--gpu_ids", "-1"]
    assert run_train(run, "--max_steps", 4, "--checkpoint_steps", 2) == 0
    assert "12 pairs, 1 of them held out, 2 labels" in capsys.readouterr().out
    assert run_train(run, "--max_steps", 5, "--resume", "latest") == 0
    assert infer.main(flags) == 0
    (drawn,) = (run / "infer").glob("*/*.png")
    out = tmp_path / "out"
    assert infer.main([*flags, "--obj_path", str(PORT / "train.obj"), "--infer_dir", str(out)]) == 0
    items = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["characters"]
    assert [item["record"] for item in items] == list(range(1, 13))
    assert [item["file"] for item in items][:3] == ["0/00001.png", "1/00002.png", "0/00003.png"]
    assert all((out / item["file"]).is_file() for item in items)
    assert json.loads((out / "metrics.json").read_text())["EMA"]["l1"] > 0
    name = drawn.relative_to(run / "infer")
    assert np.array_equal(np.asarray(Image.open(drawn)), np.asarray(Image.open(out / name)))
    text = ["--src_txt", "國", "--src_font", "bundled:source.otf", "--infer_dir", str(tmp_path / "text")]
    assert infer.main([*flags, *text]) == 0
    assert infer.main([*flags, "--src_txt", "國"]) == 2
    assert "give --src_font" in capsys.readouterr().err


def test_three_channel_files_train_and_are_drawn(tmp_path):
    path = tmp_path / "colour.obj"
    write_obj(path, [(0, picture(number, mode="RGB")) for number in range(4)])
    run = tmp_path / "run"
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "train.obj").write_bytes(path.read_bytes())
    assert run_train(run, "--data_dir", tmp_path / "pictures", "--input_nc", 3, "--max_steps", 2) == 0
    assert infer.main(["--experiment_dir", str(run), "--gpu_ids", "-1", "--obj_path", str(path)]) == 0
    with Image.open(run / "infer" / "0" / "00001.png") as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))


@pytest.mark.slow
def test_a_damaged_record_is_in_the_manifest(tmp_path):
    path = tmp_path / "a.obj"
    write_obj(path, [(0, picture(1)), (0, b"no image"), (0, picture(2))])
    run = tmp_path / "run"
    assert run_train(run, "--data_dir", path, "--max_steps", 1) == 0
    assert infer.main(["--experiment_dir", str(run), "--gpu_ids", "-1", "--obj_path", str(path)]) == 1
    items = json.loads((run / "infer" / "manifest.json").read_text(encoding="utf-8"))["characters"]
    assert [item["record"] for item in items if "error" in item] == [2]
    assert [item["record"] for item in items if "file" in item] == [1, 3]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data_dir", "nowhere"], "nowhere: no such file or folder"),
        (["--data_dir", "MADE", "--src_font", "a.ttf"], "leave out --src_font"),
        (["--data_dir", "MADE", "--charset", "big5_1"], "have no names"),
        (["--data_dir", "MADE", "--embedding_num", "1"], "no room for 2 labels"),
    ],
)
def test_mistakes(flags, words, train_obj, tmp_path, capsys):
    code = run_train(tmp_path / "run", *[train_obj.parent if flag == "MADE" else flag for flag in flags])
    assert code == 2
    assert words in capsys.readouterr().err


def test_pictures_in_the_experiment_are_its_data(tmp_path, capsys):
    (tmp_path / "run" / "data").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "run" / "data" / f"0_{number}.png").write_bytes(picture(number))
    assert run_train(tmp_path / "run", "--max_steps", 1) == 0
    assert "4 pairs, 1 of them held out, 1 label" in capsys.readouterr().out
    assert run_train(tmp_path / "run", "--charset", "big5_1", "--overwrite") == 2
    assert "have no names" in capsys.readouterr().err


def test_a_label_that_the_weights_lack_is_refused(trained, tmp_path, capsys):
    path = tmp_path / "a.obj"
    write_obj(path, [(3, picture(1))])
    assert infer.main(["--experiment_dir", str(trained), "--gpu_ids", "-1", "--obj_path", str(path)]) == 2
    assert "has the label 3, the weights have 1 labels" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- pack, unpack


def test_fonts_are_packed_and_unpacked(tmp_path):
    box = {c: (100, 0, 900, 80 * i) for i, c in enumerate("一二三四五六七八九十", 1)}
    fonts = [str(make_font(tmp_path / f"{n}.ttf", box, family=n)) for n in "sab"]
    flags = ["--src_font", fonts[0], "--dst_font", *fonts[1:], "--image_size", "64"]
    assert prepare.main(["pack", *flags, "--out_dir", str(tmp_path / "data")]) == 0
    files = [read_obj(tmp_path / "data" / name) for name in ("train.obj", "val.obj")]
    assert [len(file) for file in files] == [18, 2]
    assert sorted(set(files[0].labels)) == [0, 1]
    with Image.open(io.BytesIO(files[0].read(0))) as image:
        assert image.size == (128, 64)
    assert prepare.main(["unpack", str(tmp_path / "data" / "train.obj"), "--out_dir", str(tmp_path / "p")]) == 0
    assert len(list((tmp_path / "p").glob("*.png"))) == 18
    repack = ["pack", "--data_dir", str(tmp_path / "p"), "--split_ratio", "0", "--out_dir", str(tmp_path / "again")]
    assert prepare.main(repack) == 0
    again = read_obj(tmp_path / "again" / "train.obj")

    def content(file):
        return sorted((label, file.read(n)) for n, label in enumerate(file.labels))

    assert content(again) == content(files[0])
    assert prepare.main(repack) == 2


def test_unpacking_leaves_out_what_is_no_picture(tmp_path, capsys):
    path = tmp_path / "a.obj"
    bomb = io.BytesIO()
    info = PngInfo()
    info.add_text("key", "x" * 100_000_000, zip=True)
    Image.new("L", (4, 2)).save(bomb, "PNG", pnginfo=info)
    write_obj(path, [(0, picture(1)), (0, bomb.getvalue()), (0, b"no image"), (10**300, picture(2))])
    assert prepare.main(["unpack", str(path), "--out_dir", str(tmp_path / "p")]) == 1
    assert [file.name for file in (tmp_path / "p").iterdir()] == ["0_00001.png"]
    assert capsys.readouterr().err.count("is left out") == 3
    (tmp_path / "empty.obj").write_bytes(b"")
    assert prepare.main(["unpack", str(tmp_path / "empty.obj"), "--out_dir", str(tmp_path / "q")]) == 2


@pytest.mark.slow
def test_prepare_runs_as_a_module(tmp_path):
    root = Path(__file__).parent.parent.parent.parent
    command = [
        sys.executable,
        "-m",
        "utils.prepare",
        "unpack",
        str(PORT / "train.obj"),
        "--out_dir",
        str(tmp_path / "p"),
    ]
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
    assert len(list((tmp_path / "p").iterdir())) == 12
