"""Measure trained experiments on their held-out characters; not a test.

    python -m tests.measure experiments/default [more experiments]

Prints, for raw and EMA weights, the measures of utils.metrics, the roughness of the pictures of the fields, which fonts
are traced from, and the shift consistency. `EMA, copied`
is the shadow with the raw network's batch-norm statistics in place of averaged ones. With rapidocr and
onnxruntime installed it adds the legibility: the share of glyphs that an OCR reads as the right character.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

from model import Zi2ZiConfig, Zi2ZiModel
from utils import metrics
from utils.data.open import data_from_config
from utils.drawing.draw import STEEPEST
from utils.experiment import pth
from utils.experiment.config import Paths, read_config
from utils.experiment.weights import find_weights
from utils.images import to_float, to_grey, to_uint8
from utils.legibility import Reader, glyph_reader, legibility
from utils.sample import draw, draw_field
from utils.strokes import roughness, score_all, strokes
from utils.training.calibration import Calibrator, pairs_to_look_at


def variants(paths: Paths, config: dict) -> dict[str, Zi2ZiModel]:
    """The newest checkpoint's networks: raw, EMA, and EMA with the raw network's statistics."""
    raw = find_weights(paths.checkpoint, "latest", "raw").state_dict
    ema = find_weights(paths.checkpoint, "latest", "ema").state_dict
    copied = {key: raw[key] if "running_" in key else tensor for key, tensor in ema.items()}
    models = {}
    for name, state in (("raw", raw), ("EMA", ema), ("EMA, copied", copied)):
        models[name] = Zi2ZiModel(Zi2ZiConfig(**config["model"]), is_training=False)
        pth.fit(models[name].netG, state, paths.checkpoint)
    return models


def measure(folder: Path, read: Reader | None) -> None:
    """Print the table of one experiment."""
    paths = Paths(folder)
    config = read_config(paths)
    if config is None:
        sys.exit(f"{paths.config}: no such file; usage: python -m tests.measure EXPERIMENT_DIR [...]")
    data = data_from_config(config["data"])
    pairs = data.held_out_pairs
    labels = [label for label, _ in pairs]
    source, target = data.render_pairs(pairs, config["model"]["image_size"])
    target = to_grey(target)
    pixels = to_float(torch.from_numpy(source), config["model"]["input_nc"])
    print(f"{folder}: {len(pairs)} held-out pairs")
    training = config["training"]
    looked_at = pairs_to_look_at(data, training.get("val_ratio", 0.0), training["random_seed"])
    for name, model in variants(paths, config).items():
        Calibrator(model, data, looked_at).calibrate()
        drawn = to_grey(draw(model, source, labels))
        fields = to_grey(to_uint8(draw_field(model, source, labels) / STEEPEST))
        row = score_all({name: drawn}, target, to_grey(source))[name]
        row["traced"] = roughness(list(map(strokes, fields)), list(map(strokes, target)))
        row["shift"] = metrics.shift_consistency(lambda x, m=model: m.sample(x, torch.tensor(labels)), pixels)
        if read:
            characters = [character for _, character in pairs]
            row["legibility"] = legibility(read, drawn, characters)
            row["of targets"] = legibility(read, target, characters)
        print(f"  {name:12s} " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    reader = glyph_reader() if find_spec("rapidocr") and find_spec("onnxruntime") else None
    for argument in sys.argv[1:] or ["experiments/default"]:
        measure(Path(argument), reader)
