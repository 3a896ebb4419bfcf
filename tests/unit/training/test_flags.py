"""Every flag is read and has an effect; mistakes are one line and exit with 2."""

import json
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import infer
import train
from model import Zi2ZiConfig, Zi2ZiModel
from model import config as networks
from tests.helpers.fonts import make_font
from tests.helpers.scripts import ROOT, run_train, tiny_run
from utils import prepare, specimen
from utils.cli import Kept, flags_in
from utils.drawing.flags import CONFIRMED, DRAW, DrawOptions
from utils.experiment import checkpoint
from utils.experiment.calibration import read_calibrations
from utils.experiment.config import Paths, read_config
from utils.fonts.flags import EXPORT, ExportOptions
from utils.labels import label_or_blend
from utils.training import flags as train_flags
from utils.training import options, recorded, stopping, trainer
from utils.training import trainer as training
from utils.training.flags import TrainOptions

# Each flag of train.py with a value that must change what a run of two steps leaves behind.
TRAIN_FLAGS = {
    **{"src_font": "MADE:s", "dst_font": "MADE:t", "charset": "MADE:c", "split_ratio": "0.5", "augment": False},
    **{"warp": "2"},
    **{"image_size": "96", "input_nc": "3", "ngf": "5", "ndf": "3", "embedding_num": "4", "embedding_dim": "9"},
    **{
        "generator": "zi2zi",
        "norm_type": "instance",
        "up_mode": "pixelshuffle",
        "g_blur": False,
        "d_blur": True,
        "deform": True,
        "dropout": "0.3",
    },
    **{"epoch": "1", "max_steps": "3", "batch_size": "3", "accum_steps": "2", "lr": "0.01", "lr_D": "0.01"},
    **{
        "L1_penalty": "1",
        "Ladv_penalty": "2",
        "Lconst_penalty": "1",
        "Lcategory_penalty": "9",
        "ink_weight": "2",
        "ema_decay": "0.01",
        "optimizer": "adam",
        "random_seed": "5",
    },
    **{"checkpoint_steps": "1", "sample_steps": "1", "amp": "bf16", "val_ratio": "0.3"},
}
WEIGHTS = {"net_G", "net_D", "net_G_EMA"}
CHANGED = {  # what these change of a run; the others change all weights, and no name of a file
    "ema_decay": {"net_G_EMA"},
    "checkpoint_steps": {"files"},
    "sample_steps": {"files"},
    "epoch": {"files", *WEIGHTS},
    "max_steps": {"files", *WEIGHTS},
}
# Flags that need a run of their own, below.
TESTED_APART = {
    *("experiment_dir", "gpu_ids", "resume", "overwrite", "keep_checkpoints", "checkpoint_only_last"),
    *("num_workers", "max_minutes", "schedule", "dst_imgs", "data_dir", "fine_tune", "freeze_encoder"),
    *("compile", "early_stop", "recipe", "sharpness", "weight_bias", "checkpoint_minutes", "deterministic", "dry_run"),
    *("all_sources", "generated", "skip", "attention", "levels", "exclude_characters", "from_scratch", "tensorboard"),
}
INFER_FLAGS = {
    *(
        "src_txt",
        "src_txt_file",
        "charset",
        "obj_path",
        "src_font",
        "label",
        "run_all_label",
        "weights",
        "compare",
        "legibility",
        "suspects",
        *("sharpness", "weight_bias"),
        "missing",
        *(
            "font_out",
            "font_name",
            "font_name_en",
            "base",
            "exclude_suspects",
            "exclude",
            "fill",
            "fill_charset",
            "generated",
        ),
        "batch_size",
    ),
    *("experiment_dir", "resume", "gpu_ids", "infer_dir", "image_ext", "filename_rule", "skip_exist"),
    *CONFIRMED,
}


def fingerprint(folder: Path) -> dict[str, object]:
    """Everything a run leaves: the bytes of the weights, and the files."""
    found: dict[str, object] = {"files": sorted(path.name for path in folder.rglob("*") if path.is_file())}
    for part in ("net_G", "net_D", "net_G_EMA"):
        newest = max(folder.glob(f"checkpoint/*_{part}.pth"), key=lambda path: int(path.name.split("_")[0]))
        state = torch.load(newest, weights_only=True)
        found[part] = {key: tensor.double().sum().item() for key, tensor in state.items()}
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two small fonts and a text file."""
    folder = tmp_path_factory.mktemp("made")
    characters = "一二三人大小中上下天"
    make_font(folder / "s.ttf", {c: (100, 0, 300 + 50 * i, 700) for i, c in enumerate(characters)})
    make_font(folder / "t.ttf", {c: (100, 100, 900, 200 + 50 * i) for i, c in enumerate(characters)})
    (folder / "c.txt").write_text(characters[:8], encoding="utf-8")
    return folder


def made_flags(made: Path) -> list[str]:
    return ["--src_font", str(made / "s.ttf"), "--dst_font", str(made / "t.ttf")]


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    assert run_train(folder, *made_flags(made), "--max_steps", 2) == 0
    return fingerprint(folder)


def test_every_flag_is_tested():
    assert train_flags.FLAGS.keys() == TRAIN_FLAGS.keys() | TESTED_APART
    assert flags_in(DRAW).keys() == INFER_FLAGS
    assert set(recorded.OF_MACHINE) == {name for name, flag in train_flags.FLAGS.items() if flag.kept is Kept.MACHINE}


def test_a_run_repeats(made, base, tmp_path):
    assert run_train(tmp_path, *made_flags(made), "--max_steps", 2) == 0
    assert fingerprint(tmp_path) == base


@pytest.mark.slow
@pytest.mark.parametrize("flag", TRAIN_FLAGS)
def test_a_flag_of_train_has_an_effect(flag, made, base, tmp_path):
    value = TRAIN_FLAGS[flag]
    if isinstance(value, str) and value.startswith("MADE:"):
        value = made / {"s": "t.ttf", "t": "s.ttf", "c": "c.txt"}[value[-1]]
    given = [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    length = [] if flag in ("max_steps", "epoch") else ["--max_steps", 2]
    assert run_train(tmp_path, *made_flags(made), *length, *given) == 0
    found = fingerprint(tmp_path)
    assert {part for part in base if found[part] != base[part]} == CHANGED.get(flag, WEIGHTS)
    config = read_config(Paths(tmp_path))
    value_of_run = (config["training"] | config["model"])[flag]
    if flag == "dst_font":
        assert value_of_run == [str(value)]
    elif isinstance(value, bool):
        assert value_of_run is value
    else:
        assert train_flags.FLAGS[flag].type(str(value)) == value_of_run


def test_the_recipe_of_the_earlier_ports(made, tmp_path):
    """It stands in for the defaults: a flag goes before it, and a resumed run keeps it."""
    flags = ["--image_size", "64", "--ngf", "2", "--ndf", "2", "--gpu_ids", "-1", "--experiment_dir", str(tmp_path)]
    flags += made_flags(made)
    assert train.main([*flags, "--recipe", "zi2zi", "--dropout", "0.2", "--max_steps", "1"]) == 0
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    values = config["model"] | config["training"]
    assert {name: values[name] for name in train_flags.RECIPES["zi2zi"]} == train_flags.RECIPES["zi2zi"] | {
        "dropout": 0.2
    }
    assert not list(tmp_path.glob("checkpoint/*EMA*"))
    assert train.main([*flags, "--resume", "latest", "--max_steps", "2"]) == 0
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["model"] == config["model"]


def test_without_an_adversarial_loss_the_discriminator_stays_as_it_is(made, tmp_path, capsys):
    """The default. It is not saved, and a run that goes on with it starts it from the seed."""
    flags = ["--image_size", "64", "--ngf", "2", "--ndf", "2", "--gpu_ids", "-1", "--experiment_dir", str(tmp_path)]
    flags += [*made_flags(made), "--checkpoint_steps", "1"]
    assert train.main([*flags, "--max_steps", "2"]) == 0
    assert not list(tmp_path.glob("checkpoint/*_net_D.pth"))
    assert (tmp_path / "losses.csv").read_text().splitlines()[0] == "step,epoch,lr,g_loss,l1_loss,deform_loss"
    capsys.readouterr()
    assert train.main([*flags, "--resume", "latest", "--max_steps", "3", "--Ladv_penalty", "1"]) == 0
    assert "there is no trained discriminator: it starts untrained" in capsys.readouterr().out
    third = torch.load(tmp_path / "checkpoint/3_net_D.pth", weights_only=True)
    torch.manual_seed(train_flags.DEFAULTS["random_seed"])
    model = read_config(Paths(tmp_path))["model"]
    first = Zi2ZiModel(Zi2ZiConfig(**model)).netD.state_dict()
    assert all((first[key] - third[key]).abs().max() < 0.01 for key in first if key.endswith("weight"))
    assert not all(torch.equal(first[key], third[key]) for key in first)
    assert "d_loss" in (tmp_path / "losses.csv").read_text()


def test_schedule_halves_the_rate(made, tmp_path):
    assert run_train(tmp_path, *made_flags(made), "--epoch", 5, "--schedule", 2, "--batch_size", 9) == 0
    rows = (tmp_path / "losses.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[2]) for row in rows] == [0.001, 0.001, 0.0005, 0.0005, 0.00025]


@pytest.mark.slow
def test_retention_flags(made, tmp_path):
    flags = [*made_flags(made), "--max_steps", 5, "--checkpoint_steps", 1]
    kept = {}
    for name, extra in {"3": [], "2": ["--keep_checkpoints", 2], "1": ["--checkpoint_only_last"]}.items():
        assert run_train(tmp_path / name, *flags, *extra) == 0
        kept[name] = sorted(path.name for path in (tmp_path / name / "checkpoint").glob("*_state.pth"))
    assert kept["3"] == ["4_state.pth", "5_state.pth"]
    assert (tmp_path / "3" / "checkpoint" / "3_net_G_EMA.pth").is_file()
    assert not (tmp_path / "3" / "checkpoint" / "3_net_D.pth").exists()
    assert kept["2"] == ["4_state.pth", "5_state.pth"]
    assert kept["1"] == ["5_state.pth"]


def test_num_workers_reaches_the_loader_and_changes_no_weight(made, base, tmp_path, monkeypatch):
    seen, real = [], trainer.training_batches

    def spy(dataset, sampler, num_workers, pin_memory):
        seen.append(num_workers)
        return real(dataset, sampler, num_workers, pin_memory)

    monkeypatch.setattr(training, "training_batches", spy)
    assert run_train(tmp_path, *made_flags(made), "--max_steps", 2, "--num_workers", 2) == 0
    assert seen == [2]
    assert fingerprint(tmp_path) == base


def recorded_training(root):
    return read_config(Paths(root))["training"]


@pytest.mark.slow
def test_max_minutes_fixes_the_length_once(made, tmp_path, capsys):
    flags = [*made_flags(made), "--max_minutes", 0.02]
    assert run_train(tmp_path, *flags, "--epoch", 100000) == 0
    steps = recorded_training(tmp_path)["max_steps"]
    assert steps >= stopping.WARM_STEPS + stopping.TIMED_STEPS
    assert (tmp_path / "checkpoint" / f"{steps}_state.pth").exists()
    capsys.readouterr()
    assert run_train(tmp_path, *flags, "--resume", "latest") == 0
    assert f"step {steps}: this run is finished" in capsys.readouterr().out


@pytest.mark.slow
def test_other_max_minutes_give_a_finished_run_a_new_length(made, tmp_path):
    flags = [*made_flags(made), "--max_minutes", 0.02]
    assert run_train(tmp_path, *flags, "--epoch", 100000) == 0
    first = recorded_training(tmp_path)["max_steps"]
    assert run_train(tmp_path, *flags[:-1], 0.03, "--resume", "latest") == 0
    training_flags = recorded_training(tmp_path)
    assert training_flags["max_steps"] >= first + stopping.WARM_STEPS + stopping.TIMED_STEPS
    assert (tmp_path / "checkpoint" / f"{training_flags['max_steps']}_state.pth").exists()


@pytest.mark.parametrize("before", [0, 120])
def test_the_length_of_a_run_counts_what_is_before_the_first_steps_and_not_their_pace(monkeypatch, before):
    now, waits = [0.0], []
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    clock, found = stopping.Clock(10, began=-before), []
    for step in range(40):
        now[0] += 10 if step < stopping.WARM_STEPS else 2  # as long as it takes to compile and to choose
        found.append(clock.remaining_steps(lambda: waits.append(now[0]), None))
    assert waits == [100, 140]
    assert [steps for steps in found if steps is not None] == [(600 - before - 140) // 2]


def test_scores_and_checkpoints_count_in_the_length_of_a_run(monkeypatch):
    """Of ten minutes a pause of 10 s after every 20 steps of 1 s takes a third."""
    now = [0.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    clock, step, end = stopping.Clock(10, began=0), 0, None
    while end is None or step < end:
        step += 1
        now[0] += 1
        pause = 10.0 if step % 20 == 0 else None
        now[0] += pause or 0
        remaining = clock.remaining_steps(lambda: None, pause)
        end = end if remaining is None else step + max(1, remaining)
    assert 585 <= now[0] + 10 <= 610  # with the pause after the last step


def test_what_is_due_by_time_takes_a_hundredth_of_it_at_most(monkeypatch):
    now, taken = [0.0], 0.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    interval = stopping.Interval(500, minutes=1)
    for step in range(10_000):
        now[0] += 1
        if interval.is_due(step):
            now[0] += 3
            taken += 3
            interval.done(3)
    assert 0.008 < taken / now[0] < 0.011
    by_steps = stopping.Interval(50)
    assert [step for step in range(1, 151) if by_steps.is_due(step)] == [50, 100, 150]


def test_checkpoints_by_time(made, tmp_path, monkeypatch):
    """At an interval of next to nothing each step is due; by --checkpoint_steps none would be but the last."""
    monkeypatch.setattr(stopping, "MOST_SHARE", 1.0)
    assert run_train(tmp_path, *made_flags(made), "--max_steps", 4, "--checkpoint_minutes", 1e-9) == 0
    assert checkpoint.steps_with(tmp_path / "checkpoint", checkpoint.STATE) == [3, 4]
    assert run_train(tmp_path, "--resume", "latest", "--checkpoint_minutes", 1, "--checkpoint_steps", 5) == 2


def test_steps_between_checkpoints_outlive_the_run_that_they_were_given_to(made, tmp_path):
    """Also on CUDA, where checkpoints go by time otherwise, and in place of minutes that were given before."""
    assert run_train(tmp_path, *made_flags(made), "--max_steps", 1, "--checkpoint_steps", 200) == 0
    config = read_config(Paths(tmp_path))
    for minutes, flags in ((0.0, []), (5.0, ["--checkpoint_steps", "200"])):
        config["training"]["checkpoint_minutes"] = minutes
        given = options.with_implied(train.build_parser().given(["--resume", "latest", *flags]))
        found = options.resolve_options(given, Paths(tmp_path), config, {}, on_cuda=True).options
        assert (found.checkpoint_steps, found.checkpoint_minutes) == (200, 0.0)


def test_a_deterministic_run_is_the_same_on_a_cpu(made, base, tmp_path):
    try:
        assert run_train(tmp_path, *made_flags(made), "--max_steps", 2, "--deterministic") == 0
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert fingerprint(tmp_path) == base


def test_what_the_machine_chose_another_machine_chooses_anew(made, tmp_path):
    flags = tiny_run(tmp_path, *made_flags(made), "--max_steps", 2, "--num_workers", 1)
    at = flags.index("--amp")
    assert train.main(flags[:at] + flags[at + 2 :]) == 0
    config = read_config(Paths(tmp_path))
    assert config["training"]["of_machine"] == ["amp", "sample_steps", "checkpoint_minutes"]
    given = options.with_implied(train.build_parser().given(["--resume", "latest"]))
    own = config["training"]["amp"] = config["model"]["amp"] = "off"
    found = options.resolve_options(given, Paths(tmp_path), config, {}, on_cuda=True, amp="bf16").options
    assert (found.num_workers, found.amp, found.sample_steps, found.checkpoint_minutes) == (1, "bf16", 0, 10.0)
    said = recorded.changes_on_resume(given, found, config)
    assert said == [
        "--amp bf16 from here on, off before",
        "--sample_steps 0 from here on, 100 before",
        "--checkpoint_minutes 10.0 from here on, 0.0 before",
    ]
    again = options.resolve_options(given, Paths(tmp_path), config, {}, on_cuda=False, amp=own).options
    assert recorded.changes_on_resume(given, again, config) == []
    for odd in (None, 3, "amp", [["amp"], {}], ["amp", "amp", "lr"]):
        config["training"]["of_machine"] = odd
        found = options.resolve_options(given, Paths(tmp_path), config, {}, on_cuda=True, amp="bf16").options
        assert found.amp == ("bf16" if odd == ["amp", "amp", "lr"] else "off")


LENGTHS = {  # what is given, what was recorded, and the epochs, steps and minutes that come of it
    "": ({}, (100, None, None)),
    "--max_steps 50": ({}, (None, 50, None)),
    "--epoch 7 --max_steps 50": ({}, (7, 50, None)),
    "--epoch 7": ({"max_minutes": 3.0, "max_steps": 800}, (7, None, None)),
    "--max_steps 9": ({"epoch": 100, "max_steps": 50}, (None, 9, None)),
    "--max_minutes 3": ({"max_minutes": 3.0, "max_steps": 800}, (None, 800, 3.0)),
    "--max_minutes 4.0": ({"max_minutes": 3.0, "max_steps": 800}, (None, None, 4.0)),
    "--lr 0.1": ({"epoch": 100, "max_steps": 50}, (100, 50, None)),
}


@pytest.mark.parametrize("on_cuda", [False, True])
@pytest.mark.parametrize("given", LENGTHS)
def test_a_length_that_is_given_takes_the_place_of_others(made, tmp_path, given, on_cuda):
    saved, expected = LENGTHS[given]
    flags = options.with_implied(train.build_parser().given([*made_flags(made), *given.split()]))
    config = {"model": {}, "training": saved} if saved else None
    found = options.resolve_options(flags, Paths(tmp_path), config, {}, on_cuda=on_cuda).options
    if not given and on_cuda:
        expected = (None, None, 60.0)
    assert (found.epoch, found.max_steps, found.max_minutes) == expected
    assert found.early_stop == (10 if not given and on_cuda else 0)
    if config:
        lengths = ("epoch", "max_steps", "max_minutes")
        replaced = [name for name, value in zip(lengths, expected, strict=True) if value is None and name in saved]
        said = [line for line in recorded.changes_on_resume(flags, found, config) if "replaces" in line]
        assert said == [f"{given} replaces --{name} {saved[name]}" for name in replaced]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "end"),
    [
        (["--max_steps", 3], "step 3, by --max_steps 3"),
        (["--epoch", 1, "--max_steps", 100, "--batch_size", 9], "step 1, by --epoch 1"),
        (["--epoch", 9, "--max_steps", 2], "step 2, by --max_steps 2"),
    ],
)
def test_the_limit_that_ends_a_run_is_said_at_both_ends(made, tmp_path, capsys, flags, end):
    assert run_train(tmp_path, *made_flags(made), *flags) == 0
    said = capsys.readouterr().out
    assert said.count(f"this run ends at {end}") == 2
    assert run_train(tmp_path, "--resume", "latest") == 0
    assert f"this run is finished: this run ends at {end}" in capsys.readouterr().out


@pytest.mark.slow
def test_fewer_epochs_than_the_default_do_not_end_a_run_whose_steps_are_given(made, tmp_path):
    """Nine characters in batches of 64: a hundred passes over them are 15 steps."""
    assert run_train(tmp_path, *made_flags(made), "--batch_size", 64, "--max_steps", 17) == 0
    assert checkpoint.steps_with(tmp_path / "checkpoint", checkpoint.STATE)[-1] == 17


@pytest.mark.slow
def test_gpu_ids_minus_1_is_the_cpu_without_a_warning(made, tmp_path, capsys):
    flags = [*made_flags(made), "--max_steps", 1]
    assert run_train(tmp_path / "a", *flags) == 0
    assert "WARNING" not in capsys.readouterr().out
    if not torch.cuda.is_available():
        assert run_train(tmp_path / "b", *flags, "--gpu_ids", 0) == 0
        assert capsys.readouterr().out.count("WARNING: no CUDA device") == 1


def test_without_ema_there_is_no_ema_file(made, tmp_path):
    assert run_train(tmp_path, *made_flags(made), "--max_steps", 1, "--ema_decay", 0) == 0
    found = sorted(p.name for p in tmp_path.glob("checkpoint/*"))
    assert found == ["1_draw.json", "1_net_D.pth", "1_net_G.pth", "1_state.pth"]
    assert read_calibrations(tmp_path / "checkpoint" / "1_draw.json").keys() == {"raw"}


def test_defaults_of_the_config_are_those_of_the_earlier_ports():
    """The tables for --help, which must not import torch, and the dataclass agree; but EMA is on in the latter."""
    ports = train_flags.DEFAULTS | train_flags.OF_GENERATOR["zi2zi"] | train_flags.RECIPES["zi2zi"]
    ports["ema_decay"] = train_flags.DEFAULTS["ema_decay"]
    for field in fields(Zi2ZiConfig):
        if field.name in ports:
            assert ports[field.name] == field.default, field.name
    assert {field.name for field in fields(Zi2ZiConfig)} - train_flags.DEFAULTS.keys() == {
        "embedding_num",
        "lr_D",
        "amp",
    }
    assert list(networks.AMP_TYPES) == list(train_flags.AMP)
    assert networks.OPTIMIZERS == train_flags.OPTIMIZERS


OPTIONS = {  # what travels once the flags are parsed, and what it holds beside them
    "train": (TrainOptions, train_flags.TRAIN, {"of_machine"}),
    "infer": (DrawOptions, DRAW, set()),
    "font_export": (ExportOptions, EXPORT, {"missing"}),
    "prepare": (prepare.PackOptions, prepare.PACK, set()),
    "specimen": (specimen.SpecimenOptions, specimen.SPECIMEN, {"font"}),
}


@pytest.mark.parametrize("command", OPTIONS)
def test_what_travels_has_the_names_and_the_types_of_the_flags(command):
    kind, table, beside = OPTIONS[command]
    of_call = {name for name, flag in flags_in(table).items() if flag.kept is Kept.NOT} if command == "train" else set()
    types = typing.get_type_hints(kind)
    assert types.keys() - beside == flags_in(table).keys() - of_call
    for name in types.keys() - beside:
        flag, known = flags_in(table)[name], typing.get_args(types[name]) or (types[name],)
        shown = {getattr(each, "__name__", str(each)) for each in known}
        made = {"bool": "bool", "float": "float", "int": "int", "integer": "int"}.get(flag.type.__name__, "str")
        assert made in shown or flag.many or flag.type is label_or_blend, (name, known)
        if flag.default is not None and command != "train":
            assert next(field for field in fields(kind) if field.name == name).default == flag.default, name


def test_a_dry_run_says_where_every_value_comes_from_and_writes_nothing(made, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run_train(folder, *made_flags(made), "--recipe", "zi2zi", "--max_steps", 7, "--dry_run") == 0
    said = {line.split()[0]: " ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}
    assert said["max_steps"] == "7 (flag)"
    assert said["schedule"] == "20 (recipe)"
    assert said["up_mode"] == "conv (generator)"
    assert said["random_seed"] == "777 (default)"
    assert said["num_workers"] == "0 (machine)"
    assert said["lr_D"] == "0.001 (as --lr)"
    assert set(train_flags.TrainOptions.names()) <= said.keys()
    assert not folder.exists()
    assert run_train(folder, *made_flags(made), "--max_steps", 1) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run_train(folder, "--resume", "latest", "--max_steps", 9, "--dry_run") == 0
    said = capsys.readouterr().out
    assert re.search(r"(?m)^random_seed +777  \(checkpoint\)$", said)
    assert re.search(r"(?m)^max_steps +9  \(flag\)$", said)
    assert re.search(r"\d+ pairs to train on, \d+ for validation, \d+ held out", said)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("script", ["train.py", "infer.py"])
def test_help_needs_no_torch(script):
    code = f"import sys; sys.modules['torch'] = None; import {script[:-3]} as script; script.main(['--help'])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--g_blur" in result.stdout


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "flags", "words"),
    [
        ("train", "--use_ema", "EMA is on by default, --ema_decay 0 turns it off"),
        ("infer", "--use_ema", "EMA is on by default"),
        ("train", "–g_blur", "typographic dash.*type --g_blur"),
        ("train", "—-g_blur", "type --g_blur"),
        ("train", "−−batch_size 4", "type --batch_size"),
        ("train", "--batch 4", "unrecognized arguments"),
        ("train", "--batch_size 0", "batch_size.*0 is less than 1"),
        ("train", "--batch_size many", "'many' is not a whole number"),
        ("train", "--image_size 200", "image_size 200.*use 192 or 256"),
        ("train", "--ema_decay 1", "ema_decay 1.0 is not in"),
        ("train", "--lr 0", "lr 0.0 is not a number above 0"),
        ("train", "--split_ratio 1", "split_ratio 1.0"),
        ("train", "--src_font a.ttf", "go together"),
        ("train", "--src_font no.ttf --dst_font no.ttf", "no.ttf: no such file"),
        ("train", "--charset nowhere", "neither a charset"),
        ("train", "--embedding_num 0", "embedding_num 0 has no room for 1"),
        ("train", "--gpu_ids 0 1", "one process works on one device"),
        ("train", "--gpu_ids first", "gpu_ids first: expected a number"),
        ("train", "--resume newest", "neither 'latest' nor 'best' nor a step"),
        ("train", "--resume best", "scores no checkpoint"),
        ("train", "--val_ratio 1", "val_ratio 1.0 is not in 0 to 0.9"),
        ("train", "--warp 4", "warp 4.0 is not in 0 to 3"),
        ("train", "--resume 10", "no complete step 10"),
        ("train", "--resume latest --overwrite", "contradict"),
        ("train", "--checkpoint_only_last --keep_checkpoints 2", "contradicts --keep_checkpoints 2"),
        ("train", "--max_minutes -1", "max_minutes -1.0"),
        ("train", "--up_mode nearest", "invalid choice: 'nearest'"),
        ("infer", "", "train first"),
    ],
)
def test_a_mistake_is_one_line(script, flags, words, tmp_path, capsys):
    main = {"train": train.main, "infer": infer.main}[script]
    code = main([*flags.split(), "--experiment_dir", str(tmp_path / "run")])
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{script}.py: error: ")
    assert error.count("\n") == 1
    assert re.search(words, error), error
    assert not list(tmp_path.rglob("*.pth"))


def test_a_dash_in_a_text_is_no_flag(trained, tmp_path):
    code = infer.main(["--experiment_dir", str(trained), "--src_txt", "—", "--infer_dir", str(tmp_path)])
    assert code == 1


@pytest.mark.slow
def test_compile_has_the_networks_compiled(made, tmp_path, monkeypatch):
    """By torch's own tracer, which is quick; the default backend is tried with a whole step elsewhere."""
    real = Zi2ZiModel.compile
    monkeypatch.setattr(Zi2ZiModel, "compile", lambda model: real(model, backend="eager"))
    traced = torch._dynamo.utils.counters["stats"]
    found = {}
    for name, flags in (("plain", []), ("compiled", ["--compile"])):
        before = traced["calls_captured"]
        flags = [*made_flags(made), "--max_steps", 1, "--dropout", 0, "--norm_type", "instance", *flags]
        assert run_train(tmp_path / name, *flags) == 0
        found[name] = (traced["calls_captured"] - before, fingerprint(tmp_path / name))
    assert found["plain"][0] == 0
    assert found["compiled"][0] > 50
    for part in WEIGHTS:
        assert found["compiled"][1][part] == pytest.approx(found["plain"][1][part], rel=1e-4, abs=1e-5)


def test_flags_of_what_is_left_out_are_said_to_do_nothing(tmp_path, capsys):
    sizes = ["--image_size", "64", "--ngf", "4", "--embedding_dim", "8", "--batch_size", "2", "--gpu_ids", "-1"]
    flags = ["--ndf", "2", "--d_blur", "--warp", "2", "--no-deform", "--max_steps", "1"]
    assert train.main([*sizes, *flags, "--no-augment", "--experiment_dir", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "--d_blur, --ndf 2 do nothing here: without --Ladv_penalty there is no discriminator to train" in said
    assert "--warp 2.0 does nothing here: with --no-augment the glyphs stay as they are" in said
    assert train.main([*sizes, *flags, "--Ladv_penalty", "1", "--experiment_dir", str(tmp_path / "b")]) == 0
    assert "nothing here" not in capsys.readouterr().out
