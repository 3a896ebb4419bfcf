"""Whether drawn glyphs can be read: an optional measure, by the recogniser that rapidocr brings along.

The two packages it needs are an extra: utils/requirements/legibility.txt.
"""

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.messages import _

SIDE = 48  # pixels that the recogniser sees
Reader = Callable[[np.ndarray], str]


def glyph_reader() -> Reader:
    """What reads one glyph, uint8 [S, S], as text; empty where it reads nothing.

    The recogniser is PP-OCR's, a classifier of the columns of a line of text whose most likely classes are
    joined without repetitions and blanks (CTC, Graves et al., 2006). Nothing is fetched: its weights are in the wheel.

    Raises:
        UserError: when the extra is not installed.
    """
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None or not find_spec("onnxruntime"):
        raise UserError(_("--legibility needs an extra: python -m pip install -r utils/requirements/legibility.txt"))
    onnxruntime: Any = importlib.import_module("onnxruntime")
    models = Path(spec.origin).parent / "models"
    found = sorted(models.glob("*_rec_*.onnx"))
    if not found:
        raise UserError(_("--legibility: {models} has no recogniser: install rapidocr 3.10 or newer", models=models))
    session = onnxruntime.InferenceSession(str(found[0]), providers=["CPUExecutionProvider"])
    alphabet = ["", *session.get_modelmeta().custom_metadata_map["character"].split("\n"), " "]
    name = session.get_inputs()[0].name

    def read(glyph: np.ndarray) -> str:
        small = np.asarray(Image.fromarray(glyph).resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
        pixels = np.broadcast_to(small / 255 * 2 - 1, (1, 3, SIDE, SIDE)).copy()
        classes = session.run(None, {name: pixels})[0][0].argmax(-1)
        return "".join(alphabet[n] for i, n in enumerate(classes) if n and (i == 0 or classes[i - 1] != n))

    return read


def legibility(read: Reader, images: np.ndarray, characters: Sequence[str]) -> float:
    """The share of glyphs uint8 [N, S, S] that are read as their character."""
    return sum(read(image) == character for image, character in zip(images, characters, strict=True)) / len(images)
