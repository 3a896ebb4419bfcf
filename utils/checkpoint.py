"""Checkpoints on disk: their names, atomic writing, safe and strict loading, retention."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.cli import UserError

GENERATOR, DISCRIMINATOR, EMA_GENERATOR, STATE = "net_G", "net_D", "net_G_EMA", "state"
FILE_NAME = re.compile(r"(\d+)_(net_G|net_D|net_G_EMA|state)\.pth")
LIKELY_FLAGS = (
    ("embedder", "--embedding_num or --embedding_dim"),
    ("catagory", "--embedding_num"),
    (".blur", "--g_blur or --d_blur"),
    ("running_", "--norm_type"),
    (".up.", "--up_mode, --ngf or --image_size"),
    ("binary", "--image_size"),
)


def part_path(folder: Path, step: int, part: str) -> Path:
    """`<folder>/<step>_<part>.pth`; the one place where checkpoint files get their names."""
    return folder / f"{step}_{part}.pth"


def steps_with(folder: Path, part: str) -> list[int]:
    """The steps, ascending, that have a file of this part."""
    names = (FILE_NAME.fullmatch(path.name) for path in folder.glob("*.pth")) if folder.is_dir() else ()
    return sorted(int(match[1]) for match in names if match and match[2] == part)


def save_checkpoint(folder: Path, step: int, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write all parts of a step under temporary names, flush them to the disk, then rename them.

    `state` is renamed last: a step is complete when its state file is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(parts, key=lambda part: part == STATE)
    temporary = {part: folder / f".{part_path(folder, step, part).name}.tmp" for part in ordered}
    try:
        for part in ordered:
            with temporary[part].open("wb") as file:
                torch.save(parts[part], file)
                file.flush()
                os.fsync(file.fileno())
        for part in ordered:
            temporary[part].replace(part_path(folder, step, part))
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def retain(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` complete steps; weights without a state file may be the user's own."""
    for step in steps_with(folder, STATE)[:-keep]:
        for part in (STATE, GENERATOR, DISCRIMINATOR, EMA_GENERATOR):
            part_path(folder, step, part).unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Delete every checkpoint, and temporary files that an interrupted write left."""
    remove_temporary(folder)
    for path in folder.glob("*.pth"):
        if FILE_NAME.fullmatch(path.name):
            path.unlink()


def remove_temporary(folder: Path) -> None:
    """Delete temporary files that an interrupted write left."""
    for path in folder.glob(".*_*.pth.tmp"):
        path.unlink()


def load_part(path: Path) -> dict[str, Any]:
    """Read one file of a checkpoint onto the CPU; tensors and plain values only, no code runs.

    Raises:
        UserError: when the file is missing, damaged, or holds anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path}: no such file") from None
    # torch.load documents no closed set of errors for damaged or hostile files.
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise UserError(f"checkpoint {path} can't be read: {reason[0] if reason else type(error).__name__}") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {path} holds a {type(content).__name__}, not a state dict")
    if not all(isinstance(key, str) for key in content):
        raise UserError(f"checkpoint {path} has keys that are no names: it is no state dict")
    return content


def load_weights(net: nn.Module, path: Path) -> None:
    """Load a state dict file into `net`; raises as `load_part` and `fit` do."""
    fit(net, load_part(path), path)


def fit(net: nn.Module, found: Mapping[str, Any], path: Path) -> None:
    """Load the state dict `found`, read from `path`, into `net`: strictly, by name, wholly or not at all.

    Raises:
        UserError: naming the first keys that don't fit and the flag that is likely wrong.
    """
    expected = net.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in found]
    problems += [f"{key} is unexpected" for key in found if key not in expected]
    for key in expected:
        shape = getattr(found.get(key), "shape", None)
        if key in found and shape != expected[key].shape:
            problems.append(f"{key} is {tuple(shape) if shape else 'no tensor'}, not {tuple(expected[key].shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        flag = next((flag for mark, flag in LIKELY_FLAGS if any(mark in problem for problem in problems)), None)
        hint = f"; check {flag}" if flag else ""
        raise UserError(f"checkpoint {path} does not fit: {'; '.join(problems[:3])}{more}{hint}")
    net.load_state_dict(found)


def architecture_of(generator: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a generator's state dict tells of its architecture, named as the flags; all but the image size.

    Raises:
        UserError: when the state dict, read from `path`, is not that of a zi2zi generator.
    """
    for key, ndim in {"model.down.0.weight": 4, "model.up.1.weight": 4, "embedder.weight": 2}.items():
        if getattr(generator.get(key), "ndim", None) != ndim:
            first = ", ".join(str(key) for key in list(generator)[:3]) or "nothing"
            raise UserError(f"{path} is no generator of zi2zi: it has no {key}, but {first}")
    ngf, input_nc = generator["model.down.0.weight"].shape[:2]
    outer, _, size = generator["model.up.1.weight"].shape[:3]
    up_mode = "conv" if size == 4 else "pixelshuffle" if outer == 4 * input_nc else "upsample"
    return {
        "input_nc": input_nc,
        "ngf": ngf,
        "embedding_num": generator["embedder.weight"].shape[0],
        "embedding_dim": generator["embedder.weight"].shape[1],
        "norm_type": "batch" if any(key.endswith("running_mean") for key in generator) else "instance",
        "up_mode": up_mode,
        "g_blur": any(key.endswith(".blur") for key in generator),
    }


def levels_of(generator: Mapping[str, Any]) -> int:
    """How many times a generator halves its image."""
    return 1 + max(key.count("submodule.") for key in generator)


def discriminator_architecture_of(discriminator: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a discriminator's state dict tells: filters, blur, and the image size.

    Raises:
        UserError: when the state dict, read from `path`, is not that of a zi2zi discriminator.
    """
    for key, ndim in {"model.0.weight": 4, "binary.weight": 2}.items():
        if getattr(discriminator.get(key), "ndim", None) != ndim:
            raise UserError(f"{path} is no discriminator of zi2zi: it has no {key}")
    return {
        "ndf": discriminator["model.0.weight"].shape[0],
        "d_blur": any(key.endswith(".blur") for key in discriminator),
        "image_size": 8 * math.isqrt(discriminator["binary.weight"].shape[1]),
    }


def newest_readable(folder: Path, steps: Iterable[int], parts: Iterable[str]) -> tuple[int | None, list[str]]:
    """The newest of `steps` all of whose `parts` can be read, and a line for each step passed over."""
    passed_over = []
    parts = list(parts)
    for step in sorted(steps, reverse=True):
        try:
            for part in parts:
                load_part(part_path(folder, step, part))
        except UserError as error:
            passed_over.append(f"step {step} is passed over: {error}")
            continue
        return step, passed_over
    return None, passed_over
