"""Weights that a training starts from, for the labels it has."""

import itertools
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from utils.data.font_pairs import Earlier
from utils.data.pairs import PairData, sample_validation
from utils.errors import UserError
from utils.experiment import checkpoint, pth
from utils.experiment.config import Paths, read_config
from utils.experiment.weights import KIND_OF, MOST_LOOKS, Weights, find_weights, foreign_config, weights_folder
from utils.messages import _
from utils.training.recorded import BEFORE, recorded

logger = logging.getLogger(__name__)

ARCHITECTURE = (
    *("image_size", "input_nc", "generator", "ngf", "ndf", "embedding_num", "embedding_dim"),
    *("norm_type", "up_mode", "g_blur", "d_blur", "deform", "skip", "attention", "levels"),
)
LABEL_ROWS = ("embedder.weight", "catagory.weight", "catagory.bias")  # tensors with a row for each label


@dataclass(frozen=True)
class Pretrained:
    """Weights that a training starts from."""

    path: Path  # of the generator
    step: int
    architecture: dict[str, Any]  # named as the flags
    labels: list[str]  # the name of each label that was trained
    digests: list[str]  # the SHA-256 of each label's font or folder, as far as known
    generator: dict[str, torch.Tensor]
    shadow: dict[str, torch.Tensor]  # what EMA starts from
    discriminator: dict[str, torch.Tensor] | None
    earlier: Earlier | None = None  # the characters they were trained on, as far as known
    new: tuple[int, ...] = ()  # those of the labels that were not trained,
    before: "Pretrained | None" = None  # and the weights for the labels that were

    @property
    def styles(self) -> torch.Tensor:
        """The embedding of each label that was trained: [N, embedding_dim]."""
        return self.shadow["embedder.weight"][: len(self.labels)]

    def for_labels(self, data: PairData, embedding_num: int) -> "Pretrained":
        """The same for the labels of `data`: known ones keep their rows, `new` ones have the mean of those trained.

        A label is known by its content (a font that was renamed) or else by its name. Says of each what it is.
        """
        rows: list[int | None] = []
        for label, (name, digest) in enumerate(itertools.zip_longest(data.labels, data.label_digests())):
            by_content = self.digests.index(digest) if digest in self.digests else None
            row = by_content if by_content is not None else self.labels.index(name) if name in self.labels else None
            rows.append(row)
            if row is None:
                logger.info(_("label {label} {name} is new", label=label, name=name))
                continue
            changed = _(", whose content was another") if by_content is None and digest and self.digests else ""
            logger.info(
                _(
                    "label {label} {name} is known: it starts from label {row} {other}{changed}",
                    label=label,
                    name=name,
                    row=row,
                    other=self.labels[row],
                    changed=changed,
                )
            )
        new = tuple(label for label, row in enumerate(rows) if row is None)
        rows += [None] * (embedding_num - len(rows))

        def relabel(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            changed = {}
            for key in LABEL_ROWS:
                if key in state:
                    mean = state[key][: len(self.labels)].mean(0)
                    changed[key] = torch.stack([mean if row is None else state[key][row] for row in rows])
            return {**state, **changed}

        return replace(
            self,
            labels=data.labels,
            digests=data.label_digests(),
            generator=relabel(self.generator),
            shadow=relabel(self.shadow),
            discriminator=self.discriminator and relabel(self.discriminator),
            new=new,
            before=self,
        )


def recorded_earlier(config: dict[str, Any]) -> Earlier:
    """What an experiment with fonts was trained on, as its config.json tells."""
    data, training = config["data"], recorded(config)
    validation = data.get("validation")
    if validation is None:
        ratio, seed = training["val_ratio"], training["random_seed"]
        validation = "".join(sorted(sample_validation(set(data["train"]), ratio, seed)))
    digests = [target["sha256"] for target in data["targets"]]
    return Earlier(data["train"], data["held_out"], validation, data["labels"], digests)


# The discriminator and the EMA weights beside a generator, where there are any.
Companions = tuple[dict[str, torch.Tensor] | None, dict[str, torch.Tensor] | None]
Read = tuple[dict[str, Any] | None, Weights, Companions]  # a config.json, where there is one, and what lies beside it


def _companions(weights: Weights) -> Companions:
    """The discriminator and the EMA weights beside a generator, where there are any."""

    def part(name: str) -> dict[str, torch.Tensor] | None:
        try:
            return pth.read_weights(checkpoint.found_path(weights.path.parent, weights.step, name))
        except pth.MissingPart:
            return None

    return part(checkpoint.DISCRIMINATOR), part(checkpoint.EMA_GENERATOR)


def read_pretrained(
    path: Path, resume: str = "latest", kind: str = "auto", image_size: int | None = None
) -> Pretrained:
    """Read the weights of an experiment, of a folder from an earlier port, or a single generator file.

    `kind` is as in `find_weights`. Says what is skipped or assumed.

    Raises:
        UserError: when there are none that can be read.
    """
    if path.is_file():
        config, weights, (discriminator, average) = _read_file(path)
    elif path.is_dir():
        config, weights, (discriminator, average) = _read_folder(path, resume, kind)
    else:
        raise UserError(_("{path}: no such experiment, folder or generator file", path=path))
    if config is None:
        config = foreign_config(weights, image_size)
    architecture = {**BEFORE, **config["model"]}  # older experiments don't say all of it
    architecture = {name: architecture[name] for name in ARCHITECTURE if name in architecture}
    for state in (weights.state_dict, discriminator or {}, average or {}):
        _check_labels(state, architecture["embedding_num"], weights.path)
    from_fonts = config["data"]["kind"] == "fonts"
    asked_for_raw = weights.kind == kind == "raw"
    shadow = average if asked_for_raw and average is not None else weights.state_dict
    return Pretrained(
        path=weights.path,
        step=weights.step,
        architecture=architecture,
        labels=config["data"]["labels"],
        digests=[target["sha256"] for target in config["data"]["targets"]] if from_fonts else [],
        generator=weights.state_dict,
        shadow=shadow,
        discriminator=discriminator,
        earlier=recorded_earlier(config) if from_fonts else None,
    )


def _read_file(path: Path) -> Read:
    match = checkpoint.FILE_NAME.fullmatch(path.name)
    if not match or match[2] not in KIND_OF:
        example = checkpoint.part_path(Path(), 1000, checkpoint.EMA_GENERATOR)
        raise UserError(_("{path} is not named as a generator, such as {example}", path=path, example=example))
    root = path.parent.parent if path.parent.name == "checkpoint" else path.parent
    step = checkpoint.unnumbered_step(path.parent) if match[1] == checkpoint.LATEST else int(match[1])
    weights = Weights(step, KIND_OF[match[2]], path, pth.read_weights(path))
    return read_config(Paths(root)), weights, _companions(weights)


def _read_folder(path: Path, resume: str, kind: str) -> Read:
    config = read_config(Paths(path))
    for _look in range(MOST_LOOKS):
        weights = find_weights(weights_folder(Paths(path), resume), resume, kind)
        companions = _companions(weights)
        if weights.path.is_file():
            return config, weights, companions
        # A training has taken this step away while it was read.
    raise UserError(_("{path} changes faster than it can be read", path=path))


def _check_labels(state: dict[str, torch.Tensor], count: int, path: Path) -> None:
    """Raise UserError when a table of labels in weights from beside `path` is none for `count` labels."""
    for key in LABEL_ROWS:
        if key not in state:
            continue
        rows = tuple(state[key].shape[:1])
        if rows != (count,):
            raise UserError(
                _(
                    "{key} beside {path} is for {count} labels, not for {total}",
                    key=key,
                    path=path,
                    count=sum(rows),
                    total=count,
                )
            )
        if not state[key].is_floating_point():
            raise UserError(_("{key} beside {path} holds integers, not weights", key=key, path=path))
