"""Measure trained experiments on their held-out characters; not a test.

    python -m tests.measure experiments/default [more experiments]

Prints, for raw and EMA weights, the measures of utils.metrics and the shift consistency. `EMA, copied`
is the shadow with the raw network's batch-norm statistics in place of averaged ones. With rapidocr and
onnxruntime installed it adds `read`: the share of glyphs that an OCR reads as the right character.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model import Zi2ZiConfig, Zi2ZiModel
from utils import checkpoint, metrics
from utils.drawing import images_of
from utils.experiment import Paths, data_from_config, read_config
from utils.images import to_float, to_grey
from utils.weights import find_weights


def ocr_reader() -> Callable[[np.ndarray], str] | None:
    """A function that reads one glyph, uint8 [S, S], with rapidocr's bundled recogniser; None without it."""
    if not (find_spec("rapidocr") and find_spec("onnxruntime")):
        return None
    import onnxruntime
    import rapidocr

    (path,) = (Path(rapidocr.__file__).parent / "models").glob("*_rec_*.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    alphabet = ["", *session.get_modelmeta().custom_metadata_map["character"].split("\n"), " "]

    def read(glyph: np.ndarray) -> str:
        small = np.asarray(Image.fromarray(glyph).resize((48, 48), Image.Resampling.LANCZOS), np.float32)
        pixels = np.broadcast_to(small / 255 * 2 - 1, (1, 3, 48, 48)).copy()
        best = session.run(None, {session.get_inputs()[0].name: pixels})[0][0].argmax(-1)
        return "".join(alphabet[n] for i, n in enumerate(best) if n and (i == 0 or best[i - 1] != n))

    return read


def variants(paths: Paths, config: dict) -> dict[str, Zi2ZiModel]:
    """The newest checkpoint's networks: raw, EMA, and EMA with the raw network's statistics."""
    raw = find_weights(paths.checkpoint, "latest", "raw")[0].state_dict
    ema = find_weights(paths.checkpoint, "latest", "ema")[0].state_dict
    copied = {key: raw[key] if "running_" in key else tensor for key, tensor in ema.items()}
    models = {}
    for name, state in (("raw", raw), ("EMA", ema), ("EMA, copied", copied)):
        models[name] = Zi2ZiModel(Zi2ZiConfig(**config["model"]), is_training=False)
        checkpoint.fit(models[name].netG, state, paths.checkpoint)
    return models


def measure(folder: Path, read: Callable[[np.ndarray], str] | None) -> None:
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
    for name, model in variants(paths, config).items():
        drawn = to_grey(images_of(model, source, labels))
        row = metrics.score(drawn, target)
        row["shift"] = metrics.shift_consistency(lambda x, m=model: m.sample(x, torch.tensor(labels)), pixels)
        if read:
            row["read"] = np.mean([read(glyph) == pair[1] for glyph, pair in zip(drawn, pairs, strict=True)])
            row["read_true"] = np.mean([read(glyph) == pair[1] for glyph, pair in zip(target, pairs, strict=True)])
        print(f"  {name:12s} " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    reader = ocr_reader()
    for argument in sys.argv[1:] or ["experiments/default"]:
        measure(Path(argument), reader)
