"""The base: a generator that has learnt many faces, which comes with the program as weights to start from."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from utils.cli import as_given
from utils.errors import UserError
from utils.experiment import checkpoint
from utils.experiment.config import Paths, read_config
from utils.glyphs.charset import is_han
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.source import GlyphSource
from utils.images import PAPER, ink_box
from utils.messages import _
from utils.training.pretrained import ARCHITECTURE, Pretrained, read_pretrained

NAME = "bundled:base"  # as --fine_tune has it
FOLDER = Path(__file__).parent.parent / "base"
STEP = 20000
SHA256 = "30b016256053e80332d9c19301fe0ec55a6c614e559133a271e52c4064318572"  # of its generator
# What tells of a discriminator, which it has none of, and of the labels, of which a new run has others.
OF_OTHERS = ("ndf", "d_blur", "embedding_num")
FEW = 500  # characters up to which it is the better start on a GPU too; on a CPU it always is
# What suits a run that starts from it, by the number of characters: up to so many, these values.
LEARNING: tuple[tuple[float, Mapping[str, Any]], ...] = (
    (75, {"lr": 2e-4, "max_steps": 100, "freeze_encoder": True}),
    (150, {"lr": 2e-4, "max_steps": 300, "freeze_encoder": True}),
    (400, {"lr": 2e-4, "max_steps": 600}),
    (float("inf"), {"lr": 2e-4, "max_steps": 1000}),
)
SOURCE = "bundled:source.otf"  # a part of the font that was its source
# Likeness of a source font to that one, from which on the base is the better start: it is with Noto Serif, at 0.95, and
# not with AR PL UKai, at 0.8.
LIKE = 0.87
SIDE, COMPARED, BLUR = 96, 60, 2.0  # pixels of the glyphs that are compared, their number, and how far they are blurred


def read_base() -> Pretrained:
    """The base.

    Raises:
        UserError: when its file is gone, or is not the one that came with the program.
    """
    path = checkpoint.part_path(FOLDER, STEP, checkpoint.EMA_GENERATOR)
    if not path.is_file():
        raise UserError(_("{name} has no {path}: fetch the repository again", name=NAME, path=path))
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise UserError(_("{path} is not the base that came with the program: fetch the repository again", path=path))
    found = read_pretrained(path)
    architecture = {name: value for name, value in found.architecture.items() if name not in OF_OTHERS}
    generator, shadow = as_float(found.generator), as_float(found.shadow)
    # Its characters are no secret to any run: which of them are held out is up to the run.
    return replace(found, architecture=architecture, generator=generator, shadow=shadow, earlier=None)


def as_float(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that are kept in half precision, in single precision."""
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}


def learning(characters: int) -> dict[str, Any]:
    """The flags that suit a run of so many characters that starts from the base."""
    return dict(next(values for most, values in LEARNING if characters <= most))


def suits(given: Mapping[str, Any], characters: int, on_gpu: bool, source: GlyphSource) -> tuple[bool, str | None]:
    """Whether a new run on fonts starts from the base where nothing is said of it, and a line that says so, or why not.

    There is none where a GPU learns many characters from nothing, as it always did.
    """
    if on_gpu and characters > FEW:
        return False, None
    reason = reason_against(given)
    if reason is None and likeness(source) < LIKE:
        reason = _("{name} is drawn unlike the sans that the base knows as a source", name=source.name)
    if reason:
        return False, _("training from nothing, not from the base: {reason}", reason=reason)
    return True, _("starting from the base, which knows many faces: --from_scratch trains from nothing instead")


def reason_against(given: Mapping[str, Any]) -> str | None:
    """What in the flags that are given does not go with the base."""
    if given.get("from_scratch"):
        return _("--from_scratch asks for it")
    if given.get("recipe"):
        return _("--recipe {recipe} is given", recipe=given["recipe"])
    config = read_config(Paths(FOLDER))
    model = config["model"] if config else {}  # without its files, reading it says so
    known = {name: model[name] for name in ARCHITECTURE if name in model and name not in OF_OTHERS}
    others = [as_given(name, given[name]) for name, value in known.items() if given.get(name, value) != value]
    return f"{', '.join(others)} {'is' if len(others) == 1 else 'are'} given" if others else None


def likeness(source: GlyphSource) -> float:
    """How much a source font is drawn like that of the base, from 0 to 1, whatever the weight and the place in the em.

    The median over glyphs of the correlation of the two blurred ones, each stretched to where its ink is; 1 where none
    is shared.
    """
    own = GlyphRenderer(SOURCE)
    shared = [c for c in own.covered() if is_han(ord(c)) and source.covers(c)]
    pairs = [(_shape(own, c), _shape(source, c)) for c in shared[:: -(-len(shared) // COMPARED) or 1]]
    found = [float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())) for one, other in pairs]
    return float(np.median(found)) if found else 1.0


def _shape(font: GlyphSource, character: str) -> np.ndarray:
    """The ink of a glyph, stretched to a square and blurred: float32 [S, S]."""
    image = Image.fromarray(font.render(character, SIDE)).convert("L")
    left, bottom, right, top = ink_box(image) or (0.0, 0.0, 1.0, 1.0)
    box = (left * SIDE, (1 - top) * SIDE, right * SIDE, (1 - bottom) * SIDE)
    stretched = image.resize((SIDE // 2, SIDE // 2), Image.Resampling.BILINEAR, box=box)
    return gaussian_filter(PAPER - np.asarray(stretched, np.float32), BLUR)
