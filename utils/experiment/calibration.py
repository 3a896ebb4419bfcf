"""What a step is drawn with beside its weights: a bias and a sharpness for each label, in `<step>_draw.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from utils.errors import UserError
from utils.experiment.schema import Maybe, Number, fault
from utils.files import naming
from utils.messages import _

BIAS = Number(-8, 8)  # beyond it tanh is flat: nothing is left to draw
SHARPNESS = Number(0.01, 100)
LARGEST = 32_000_000  # bytes of such a file that is read
LABELS = [{"bias": BIAS, "sharpness": SHARPNESS}]
CONTENT = {"raw": Maybe(LABELS), "ema": Maybe(LABELS)}  # by the weights that are drawn with


@dataclass(frozen=True)
class Calibration:
    """A drawing is tanh(sharpness * field + bias): above 0 a bias makes strokes lighter, below 0 heavier."""

    bias: float = 0.0
    sharpness: float = 1.0


PLAIN = Calibration()  # as the network draws
Calibrations = Mapping[str, Sequence[Calibration]]  # raw or ema, then one for each label


def check_fixed(bias: float | None, sharpness: float | None) -> None:
    """Check a --weight_bias and a --sharpness; None is a flag that was left out.

    Raises:
        UserError: for one that is out of range.
    """
    for flag, value, known in (("weight_bias", bias, BIAS), ("sharpness", sharpness, SHARPNESS)):
        if value is not None and not known.matches(value):
            raise UserError(_("--{flag} {value} is not {known}", flag=flag, value=value, known=known))


def write_calibrations(calibrations: Calibrations, file: BinaryIO) -> None:
    """Write the content of a `<step>_draw.json`."""
    content = {kind: [asdict(each) for each in labels] for kind, labels in calibrations.items()}
    file.write(json.dumps(content, indent=1).encode() + b"\n")


def read_calibrations(path: Path) -> dict[str, list[Calibration]] | None:
    """What lies in a `<step>_draw.json`; None where there is no such file, as of older experiments.

    Raises:
        UserError: when it can't be read.
    """
    try:
        with naming(path), path.open("rb") as file:
            content = json.loads(file.read(LARGEST))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(_("{path} can't be read: {error}; without it the bias is 0", path=path, error=error)) from error
    wrong = fault(content, CONTENT)
    if wrong is not None:
        raise UserError(_("{path} is damaged: {wrong}; without it the bias is 0", path=path, wrong=wrong))
    return {
        kind: [Calibration(float(each["bias"]), float(each["sharpness"])) for each in content[kind]]
        for kind in CONTENT
        if kind in content
    }


def from_table(table: Tensor) -> list[Calibration]:
    """What `as_table` was made of."""
    return [Calibration(*(round(value, 4) for value in row)) for row in table.tolist()]


def as_table(labels: Sequence[Calibration], count: int) -> Tensor:
    """What `Zi2ZiModel.calibrate` takes of a model with room for `count` labels; those that are not known are plain."""
    rows = [*labels, *[PLAIN] * (count - len(labels))]
    return torch.tensor([[each.bias, each.sharpness] for each in rows[:count]])
