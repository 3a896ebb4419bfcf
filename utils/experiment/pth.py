"""Reading .pth files safely, and fitting what they hold to a network."""

import errno
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from model.architecture import translated
from utils.errors import UserError, abbreviate, is_out_of_memory
from utils.files import naming
from utils.messages import _

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LIKELY_FLAGS = (
    ("embedder", "--embedding_num or --embedding_dim"),
    ("catagory", "--embedding_num"),
    (".blur", "--g_blur or --d_blur"),
    ("running_", "--norm_type"),
    (".style.", "--generator"),
    (".att.", "--attention"),
    (".up.", "--generator, --up_mode, --ngf or --image_size"),
    ("binary", "--image_size"),
)


class MissingPart(UserError):
    """A file of a checkpoint is not there, or no longer."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the state dict of a network, with the names of this program.

    Raises as `read_part` does, and for anything but tensors of numbers.
    """
    content = read_part(path)
    for key, value in content.items():
        if not is_plain_tensor(value):
            first = abbreviate(", ".join(list(content)[:3]), 80)
            raise UserError(
                _(
                    "checkpoint {path} holds no weights, but {first}: {key} is no tensor of numbers",
                    path=path,
                    first=first,
                    key=abbreviate(key, 80),
                )
            )
    return translated(content)


def read_part(path: Path) -> dict[str, Any]:
    """Read one file of a checkpoint onto the CPU; tensors and plain values only, no code runs.

    Raises:
        MissingPart: when there is no such file.
        UserError: when it is damaged, or holds anything else.
        OSError: when the disk fails.
        MemoryError, RuntimeError: when there is too little memory.
    """
    if not path.is_file():
        raise MissingPart(_("checkpoint {path}: no such file", path=path))
    try:
        with naming(path), path.open("rb") as file:
            _check_archive(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of what is odd in a file, and reads or refuses it
                content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MissingPart(_("checkpoint {path}: no such file", path=path)) from None
    # torch.load documents no closed set of errors for damaged or hostile files.
    except Exception as error:
        if is_of_the_machine(error):
            raise
        raise UserError(_("checkpoint {path} can't be read: {reason}", path=path, reason=_reason(error))) from error
    if not isinstance(content, dict):
        raise UserError(_("checkpoint {path} holds a {kind}, not a state dict", path=path, kind=type(content).__name__))
    if not all(isinstance(key, str) for key in content):
        raise UserError(_("checkpoint {path} has keys that are no names: it is no state dict", path=path))
    return content


def is_of_the_machine(error: Exception) -> bool:
    """Whether an error in reading a file tells of the disk or the memory, and not of the file."""
    if isinstance(error, OSError):
        return error.errno != errno.EINVAL  # a damaged archive has zipfile look before its beginning
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error))


def _reason(error: Exception) -> str:
    """Why a file can't be loaded, in a line; torch explains a file that holds code with advice to run it."""
    if isinstance(error, pickle.UnpicklingError):
        return _("it holds something else than tensors and plain values, or is damaged")
    first = abbreviate(next(iter(str(error).strip().splitlines()), ""), 200)
    return (
        first
        if isinstance(error, ValueError) and first
        else _("it is damaged ({name}: {first})", name=type(error).__name__, first=first)
    )


def _check_archive(file: BinaryIO) -> None:
    """Compare a file that torch.save wrote with its checksums, which torch.load does not look at.

    Raises:
        ValueError: when it is not what was written.
    """
    is_archive = file.read(2) == b"PK"
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise ValueError(_("it is empty"))
    if is_archive:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
                small = sum(entry.file_size for entry in entries) <= size
                damaged = archive.testzip() if plain and small else None
        # A damaged archive makes zipfile raise whatever its parts do.
        except Exception as error:
            if is_of_the_machine(error):
                raise
            raise ValueError(_("it is cut off or damaged")) from error
        if not (plain and small):
            raise ValueError(_("it is packed in another way than torch.save packs"))
        if damaged is not None:
            raise ValueError(_("it is damaged: the checksum of {damaged} is another", damaged=damaged))
    file.seek(0)


def fit(net: nn.Module, found: Mapping[str, Any], path: Path) -> None:
    """Load the state dict `found`, read from `path`, into `net`: strictly, by name, wholly or not at all.

    Raises:
        UserError: as `check_fit` does.
    """
    check_fit(net, found, path)
    net.load_state_dict(found)


def check_fit(net: nn.Module, found: Mapping[str, Any], path: Path) -> None:
    """Compare the names and shapes of the state dict `found`, read from `path`, with those of `net`.

    Raises:
        UserError: naming the first keys that don't fit and the flag that is likely wrong.
    """
    expected = net.state_dict()
    problems = [_("{key} is missing", key=key) for key in expected if key not in found]
    problems += [_("{key} is unexpected", key=abbreviate(key, 80)) for key in found if key not in expected]
    for key in expected:
        if key in found and not is_plain_tensor(found[key], expected[key].is_floating_point()):
            problems.append(_("{key} is no tensor of numbers", key=key))
        elif key in found and found[key].shape != expected[key].shape:
            problems.append(
                _(
                    "{key} is {found}, not {expected}",
                    key=key,
                    found=tuple(found[key].shape),
                    expected=tuple(expected[key].shape),
                )
            )
    if problems:
        more = _(" and {count} more", count=len(problems) - 3) if len(problems) > 3 else ""
        flag = next((flag for mark, flag in LIKELY_FLAGS if any(mark in problem for problem in problems)), None)
        hint = f"; check {flag}" if flag else ""
        raise UserError(
            _(
                "checkpoint {path} does not fit: {problems}{more}{hint}",
                path=path,
                problems="; ".join(problems[:3]),
                more=more,
                hint=hint,
            )
        )


def is_plain_tensor(value: Any, floating: bool | None = None) -> bool:
    """Whether a value is a dense tensor in memory, of real numbers or of integers (`floating` says which).

    One that repeats the same few bytes, and so could claim any size or could not be written to, is none.
    """
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in (*REAL, torch.int64)
        and floating in (None, value.dtype in REAL)
        and not value.is_neg()  # a view that negates, which optimizers can't write to either
        and not repeats(value)
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def repeats(value: torch.Tensor) -> bool:
    """Whether several elements of a strided tensor may lie in the same place in memory."""
    covered = 1
    for stride, count in sorted(pair for pair in zip(value.stride(), value.shape, strict=True) if pair[1] > 1):
        if stride < covered:
            return True
        covered = stride * count
    return False
