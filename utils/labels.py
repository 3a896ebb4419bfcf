"""Labels to draw in: single ones by their numbers, and blends of several."""

import argparse
import re
from collections.abc import Sequence

from utils.errors import UserError, abbreviate
from utils.messages import _

Label = int | str  # a blend is a text such as 0:0.7,1:0.3
BLEND = re.compile(r"[0-9]{1,6}:[0-9]*\.?[0-9]+(,[0-9]{1,6}:[0-9]*\.?[0-9]+)*")


def label_or_blend(text: str) -> Label:
    """An argparse type: the number of a label, or weights of several labels, which are made to sum to 1."""
    if re.fullmatch("[0-9]{1,6}", text):
        return int(text)
    if not BLEND.fullmatch(text):
        raise argparse.ArgumentTypeError(
            _("{text} is neither a label nor a blend such as 0:0.7,1:0.3", text=abbreviate(repr(text)))
        )
    parts = [part.split(":") for part in text.split(",")]
    weights = {int(label): float(weight) for label, weight in parts}
    total = sum(weights.values())
    if len(weights) < len(parts) or total <= 0:
        raise argparse.ArgumentTypeError(
            _("{text} names a label twice, or all of its weights are 0", text=abbreviate(repr(text)))
        )
    return ",".join(f"{label}:{weight / total:.6g}" for label, weight in weights.items())


def label_weights(label: Label) -> dict[int, float]:
    """The weight of each label: all of it on a single one, shared in a blend."""
    if isinstance(label, int):
        return {label: 1.0}
    return {int(one): float(weight) for one, weight in (part.split(":") for part in label.split(","))}


def heaviest(label: Label) -> int:
    """The label itself, or the one with the largest weight in a blend."""
    weights = label_weights(label)
    return max(weights, key=lambda one: weights[one])


def label_folder(label: Label) -> str:
    """The name of the folder for drawings in a label; systems refuse colons."""
    return str(label).replace(":", "x").replace(",", "+")


def choose_labels(given: Sequence[Label] | None, run_all: bool, names: Sequence[str]) -> list[Label]:
    """The labels to draw: all, those given, or 0.

    Raises:
        UserError: for a label that was not trained.
    """
    if run_all:
        return list(range(len(names)))
    labels = list(dict.fromkeys(given or [0]))
    for label in labels:
        if max(label_weights(label)) >= len(names):
            known = ", ".join(name if name == str(number) else f"{number} {name}" for number, name in enumerate(names))
            raise UserError(
                _("--label {label}: there are the labels {known}", label=label, known=abbreviate(known, 200))
            )
    return labels
