"""train.obj and val.obj of earlier ports: a stream of pickled (label, image bytes) records.

A record is a pickle of its own: a tuple of an int and the bytes of an image file. Only the few
opcodes that such a tuple needs are understood and nothing is ever executed: a file from a stranger
is data.
"""

import pickle
import pickletools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import Reason, UserError
from utils.files import write_whole
from utils.messages import _

LONGEST = 100  # opcodes of a record; a pickled (int, bytes) has ten or so
HIGHEST_LABEL = 9999  # a table of more labels is a mistake, and would not fit into memory
INTEGERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"}
BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
# What else a pickled (int, bytes) may hold: framing, memo, and the tuple itself.
STRUCTURE = {"PROTO", "FRAME", "MARK", "TUPLE", "TUPLE2", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"}


@dataclass
class ObjFile:
    """Where the records of a file lie: an index, so that a large file need not be in memory."""

    path: Path
    labels: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # offset and length of the image bytes
    numbers: list[int] = field(default_factory=list)  # place of the record in the file, from 1
    dropped: dict[int, Reason] = field(default_factory=dict)  # number of a record -> why it is left out

    def __len__(self) -> int:
        return len(self.labels)

    def record_name(self, number: int) -> str:
        """What to call a record in a message."""
        return f"record {number}"

    def read(self, index: int) -> bytes:
        """The image file in a record."""
        offset, length = self.spans[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


def read_obj(path: Path) -> ObjFile:
    """Index a file. A record that is no (int, bytes) is named and left out; so is all that follows a cut.

    Raises:
        UserError: when the file can't be read, or a record asks for anything but data.
    """
    index = ObjFile(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number = 0
            while file.tell() < size:
                number += 1
                if not _read_record(file, size, number, index):
                    break
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    return index


def _read_record(file: BinaryIO, size: int, number: int, index: ObjFile) -> bool:
    """Add the record at the file's position to the index; False when nothing after it can be read."""
    label, span, known = None, None, True
    bounded: Any = _Bounded(file, size)
    try:
        for count, (opcode, argument, _place) in enumerate(pickletools.genops(bounded)):
            if count > LONGEST:
                raise ValueError(_("it does not end"))
            if opcode.name in INTEGERS and label is None:
                label = argument
            elif opcode.name in BYTES and span is None and argument is not None:
                span = file.tell() - len(argument), len(argument)
            elif opcode.name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
                raise UserError(
                    _(
                        "{path}: record {number} holds a class, not an image: the file is refused",
                        path=index.path,
                        number=number,
                    )
                )
            elif opcode.name not in STRUCTURE:
                known = False
    except UserError:
        raise
    except (ValueError, EOFError, IndexError, OverflowError, UnicodeDecodeError) as error:
        index.dropped[number] = Reason(
            _("can't be read, nor what follows it ({error})", error=str(error)[:60] or "it is cut"), "damaged"
        )
        return False
    if not known or span is None or type(label) is not int or label < 0:
        index.dropped[number] = Reason(_("is no pair of a label and an image"), "no_pair")
        return True
    if label > HIGHEST_LABEL:
        index.dropped[number] = Reason(_("has a label beyond {most}", most=HIGHEST_LABEL), "label")
        return True
    index.labels.append(label)
    index.spans.append(span)
    index.numbers.append(number)
    return True


class _Bounded:
    """A file that refuses to read beyond its end, so that a false length costs no memory."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size, self.tell = file, size, file.tell

    def read(self, count: int) -> bytes:
        if count > self.size - self.file.tell():
            raise EOFError(_("it is cut"))
        return self.file.read(count)

    def readline(self) -> bytes:
        return self.file.readline(1000)


def write_obj(path: Path, records: Iterable[tuple[int, bytes]]) -> int:
    """Write (label, image bytes) records as the earlier ports do; returns how many."""
    count = 0

    def write(file: BinaryIO) -> None:
        nonlocal count
        for label, image in records:
            pickle.dump((int(label), bytes(image)), file, protocol=4)
            count += 1

    write_whole(path, write)
    return count
