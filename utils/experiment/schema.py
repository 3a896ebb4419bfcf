"""What config.json must hold: it may have been edited, damaged, or come from a stranger."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Number:
    """A number in a range, its ends included."""

    low: float
    high: float
    whole: bool = False

    def matches(self, value: Any) -> bool:
        """Whether a value is such a number."""
        kinds = int if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return (
            f"{kind} of {self.low} or more"
            if self.high == LARGEST_INTEGER
            else f"{kind} from {self.low} to {self.high}"
        )


@dataclass(frozen=True)
class Maybe:
    """What need not be there: older experiments lack it."""

    shape: Any


COUNT = Number(0, LARGEST_INTEGER, whole=True)
PLACEMENT = {
    "units_per_em": Number(1, 65535, whole=True),
    "em": Number(1e-3, 16),
    "x": Number(-16, 16),
    "y": Number(-16, 16),
}
FONT = {
    **{"spec": str, "name": str, "sha256": str, "placement": PLACEMENT},
    **{"em_bottom": Maybe(Number(-65535, 65535)), "full_width": Maybe(Number(0, 65535))},
    "generated": Maybe(str),
}
FOLDER = {"folder": str, "name": str, "sha256": str, "placement": PLACEMENT, "dropped": Maybe(dict)}
FONTS = {
    "src_font": {**FONT, "further": Maybe([{"name": str, "sha256": str}])},
    "targets": [(FONT, FOLDER)],
    "labels": [str],
    "charset": str,
    "train": str,
    "held_out": str,
    "validation": Maybe(str),
    "lacking": dict,
}
RECORDS = {
    "path": str,
    "sha256": str,
    "channels": Number(1, 3, whole=True),
    "split_ratio": Number(0, 0.9),
    "seed": COUNT,
    "labels": [str],
    "frame": ([Number(-16, 16)], None),
}
CONFIG = {
    "format": COUNT,
    "model": {
        **dict.fromkeys(("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim"), COUNT),
        **dict.fromkeys(("norm_type", "up_mode"), str),
        "generator": Maybe(str),
        **dict.fromkeys(("g_blur", "d_blur"), bool),
    },
    "data": {"kind": str},
    "training": dict,
}
DATA = {"fonts": FONTS, "records": RECORDS}  # by its kind


def config_fault(config: Any) -> str | None:
    """What is wrong with the content of a config.json, or None."""
    wrong = fault(config, CONFIG)
    if wrong is not None:
        return wrong
    data = config["data"]
    if data["kind"] not in DATA:
        return f"data.kind is not one of {', '.join(DATA)}"
    wrong = fault(data, DATA[data["kind"]], "data")
    if wrong is not None:
        return wrong
    labels = data["labels"]
    if not labels or (data["kind"] == "fonts" and len(data["targets"]) != len(labels)):
        return "data.labels is not a name for each of data.targets"
    return "data.labels are more than model.embedding_num" if len(labels) > config["model"]["embedding_num"] else None


def fault(value: Any, shape: Any, where: str = "") -> str | None:
    """What is wrong with a value read from JSON, or None.

    `shape` is a `Number`, a type, a constant, a dict of the keys there must be at least, but for those that are
    `Maybe`, a list with the shape of every item, or a tuple of alternatives. `where` names the value, as in
    `data.labels[0]`.
    """
    if isinstance(shape, tuple):
        faults = [fault(value, alternative, where) for alternative in shape]
        found = [each for each in faults if each is not None]
        return max(found, key=depth) if len(found) == len(faults) else None
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'the whole'} is no object"
        named = ((name, f"{where}.{name}".removeprefix(".")) for name in shape)

        def fault_of(name: str, at: str) -> str | None:
            part = shape[name]
            if name not in value:
                return None if isinstance(part, Maybe) else f"{at} is missing"
            return fault(value[name], part.shape if isinstance(part, Maybe) else part, at)

        faults = itertools.starmap(fault_of, named)
        return next((found for found in faults if found), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        faults = (fault(item, shape[0], f"{where}[{number}]") for number, item in enumerate(value))
        return next((found for found in faults if found), None)
    if isinstance(shape, Number):
        return None if shape.matches(value) else f"{where} is not {shape}"
    if isinstance(shape, type):
        names = {str: "text", bool: "true or false", dict: "an object"}
        return None if isinstance(value, shape) else f"{where} is not {names[shape]}"
    return None if value == shape else f"{where} is not {shape!r}"


def depth(message: str) -> float:
    """How far into the content a fault lies: of several alternatives the one that fits furthest was meant."""
    return message.split(" ")[0].count(".") + message.count("[") if message else math.inf
