"""Weights that a training starts from, for the labels it has."""

import itertools
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
from utils.training.recorded import recorded

ARCHITECTURE = (
    *("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim", "norm_type", "up_mode"),
    *("g_blur", "d_blur"),
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

    def for_labels(self, data: PairData, embedding_num: int) -> tuple["Pretrained", list[str]]:
        """The same for the labels of `data`: known ones keep their rows, new ones start from the mean of those trained.

        A label is known by its content (a font that was renamed) or else by its name. Returns also a line for
        each label.
        """
        rows, said = [], []
        for label, (name, digest) in enumerate(itertools.zip_longest(data.labels, data.label_digests())):
            by_content = self.digests.index(digest) if digest in self.digests else None
            row = by_content if by_content is not None else self.labels.index(name) if name in self.labels else None
            rows.append(row)
            if row is None:
                said.append(f"label {label} {name} is new: it starts from the mean of the known ones")
                continue
            changed = ", whose content was another" if by_content is None and digest and self.digests else ""
            said.append(f"label {label} {name} is known: it starts from label {row} {self.labels[row]}{changed}")
        rows += [None] * (embedding_num - len(rows))

        def relabel(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            changed = {}
            for key in LABEL_ROWS:
                if key in state:
                    mean = state[key][: len(self.labels)].mean(0)
                    changed[key] = torch.stack([mean if row is None else state[key][row] for row in rows])
            return {**state, **changed}

        new = replace(
            self,
            labels=data.labels,
            generator=relabel(self.generator),
            shadow=relabel(self.shadow),
            discriminator=self.discriminator and relabel(self.discriminator),
        )
        return new, said


def earlier_of(config: dict[str, Any]) -> Earlier:
    """What an experiment with fonts was trained on, as its config.json tells."""
    data, training = config["data"], recorded(config)
    validation = data.get("validation")
    if validation is None:
        ratio, seed = training["val_ratio"], training["random_seed"]
        validation = "".join(sorted(sample_validation(set(data["train"]), ratio, seed)))
    digests = [target["sha256"] for target in data["targets"]]
    return Earlier(data["train"], data["held_out"], validation, data["labels"], digests)


def _companions(weights: Weights) -> tuple[dict[str, torch.Tensor] | None, dict[str, torch.Tensor] | None]:
    """The discriminator and the EMA weights beside a generator, where there are any."""

    def part(name: str) -> dict[str, torch.Tensor] | None:
        try:
            return pth.load_weights(checkpoint.part_path(weights.path.parent, weights.step, name))
        except pth.MissingPart:
            return None

    return part(checkpoint.DISCRIMINATOR), part(checkpoint.EMA_GENERATOR)


def read_pretrained(
    path: Path, resume: str = "latest", kind: str = "auto", image_size: int | None = None
) -> tuple[Pretrained, list[str]]:
    """Read the weights of an experiment, of a folder from an earlier port, or a single generator file.

    `kind` is as in `find_weights`. Returns also lines that say what was passed over or assumed.

    Raises:
        UserError: when there are none that can be read.
    """
    if path.is_file():
        match = checkpoint.FILE_NAME.fullmatch(path.name)
        if not match or match[2] not in KIND_OF:
            example = checkpoint.part_path(Path(), 1000, checkpoint.EMA_GENERATOR)
            raise UserError(f"{path} is not named as a generator, such as {example}")
        root = path.parent.parent if path.parent.name == "checkpoint" else path.parent
        config, said = read_config(Paths(root)), []
        weights = Weights(int(match[1]), KIND_OF[match[2]], path, pth.load_weights(path))
        discriminator, average = _companions(weights)
    elif path.is_dir():
        config = read_config(Paths(path))
        for _ in range(MOST_LOOKS):
            weights, said = find_weights(weights_folder(Paths(path), resume), resume, kind)
            discriminator, average = _companions(weights)
            if weights.path.is_file():  # else a training has taken this step away while it was read
                break
    else:
        raise UserError(f"{path}: no such experiment, folder or generator file")
    if config is None:
        config, assumed = foreign_config(weights, image_size)
        said = said + assumed
    architecture = {name: config["model"][name] for name in ARCHITECTURE if name in config["model"]}

    for state in (weights.state_dict, discriminator or {}, average or {}):
        for key in LABEL_ROWS:
            if key not in state:
                continue
            rows, count = tuple(state[key].shape[:1]), architecture["embedding_num"]
            if rows != (count,):
                raise UserError(f"{key} beside {weights.path} is for {sum(rows)} labels, not for {count}")
            if not state[key].is_floating_point():
                raise UserError(f"{key} beside {weights.path} holds integers, not weights")
    from_fonts = config["data"]["kind"] == "fonts"
    shadow = average or weights.state_dict if weights.kind == "raw" and kind == "raw" else weights.state_dict
    return (
        Pretrained(
            path=weights.path,
            step=weights.step,
            architecture=architecture,
            labels=config["data"]["labels"],
            digests=[target["sha256"] for target in config["data"]["targets"]] if from_fonts else [],
            generator=weights.state_dict,
            shadow=shadow,
            discriminator=discriminator,
            earlier=earlier_of(config) if from_fonts else None,
        ),
        said,
    )
