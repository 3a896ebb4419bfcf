"""Files on disk: written whole or not at all, and folders in which one process works at a time."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import UserError
from utils.messages import _

if os.name == "nt":
    import msvcrt
else:
    import fcntl


logger = logging.getLogger(__name__)

DRAWINGS = ("png", "jpg", "bmp", "tif", "svg")
WRITTEN = (*DRAWINGS, "json", "csv", "pth", "obj", "md", "html", "txt", "pdf", "otf", "ttf")  # what this program writes
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # how a lock that another process holds is refused
RETRIES = 50  # of a rename or a deletion that Windows refuses while a reader has the file open


def temporary_path(path: Path) -> Path:
    """The name under which `path` is written until it is whole."""
    return path.with_name(f".{path.name}.tmp")


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], None], durable: bool = False) -> None:
    """Write a temporary file, then rename it to `path`: a reader or a later run never sees half a file.

    `content` is the bytes, or a function that writes them. With `durable` it is on the disk, not only
    in memory, when this returns.

    Raises:
        OSError: naming `path`, when it can't be written; what was there before is left as it was.
    """
    write_temporary(path, content, durable)
    rename_temporary(path)
    if durable:
        sync_folder(path.parent)


def write_temporary(path: Path, content: bytes | Callable[[BinaryIO], None], durable: bool = False) -> None:
    """The first half of `write_whole`; raises as it does, and then leaves no temporary file."""
    temporary = temporary_path(path)
    try:
        temporary.unlink(missing_ok=True)  # and not written through, should it be a link
        with naming(path), temporary.open("xb") as file:
            content(file) if callable(content) else file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rename_temporary(path: Path) -> None:
    """The second half of `write_whole`; raises as it does, and then leaves no temporary file."""
    temporary = temporary_path(path)
    try:
        with naming(path):
            patiently(lambda: temporary.replace(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writable(path: Path) -> Iterator[BinaryIO]:
    """Within, a file open for reading and writing, made if it was not there; a link is not followed."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(number, "r+b") as file:
        yield file


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within, an OSError names `path`, whatever file or none it named before."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def patiently(change: Callable[[], object]) -> None:
    """Change a file; on Windows, wait for up to five seconds while a reader has it open."""
    for _try in range(RETRIES if os.name == "nt" else 0):
        try:
            change()
            return
        except PermissionError:
            time.sleep(0.1)
    change()


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder last through a loss of power, where the system can."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:  # some network file systems know no such thing
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        os.close(number)


def remove_stray(folder: Path) -> None:
    """Delete the temporary files that a killed run left in a folder; only its one process may call this."""
    for path in folder.glob(".*.tmp"):
        if path.stem.rpartition(".")[2] in WRITTEN:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, name: str, work: str) -> Iterator[None]:
    """Within, this process alone does `work` in `folder`, which is made if need be.

    The lock is the system's: it goes with the process, however that ends. A folder that was made here and
    is empty at the end is taken away again.

    Raises:
        UserError: when another process holds the lock.
        OSError: when the folder can't be made or written to.
    """
    made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    path, number = folder / name, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = _acquire(
            path,
            _("another process is {work} {folder}: wait for it, or choose another folder", work=work, folder=folder),
        )
        yield
    finally:
        if number is not None:
            _release(path, number)
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()


def _acquire(path: Path, refusal: str) -> int:
    """Lock the file `path`, made if need be; returns its descriptor."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(number)
        except OSError as error:
            if error.errno in TAKEN:
                os.close(number)
                raise UserError(refusal) from None
            logger.info(
                _(
                    "{parent} is on a file system without locks: see to it that one process at a time works there",
                    parent=path.parent,
                )
            )
            return number
        with contextlib.suppress(OSError):
            if os.name == "nt" or os.path.samestat(path.stat(), os.fstat(number)):
                return number
        os.close(number)  # its holder deleted it between our opening and locking it


def _release(path: Path, number: int) -> None:
    if os.name == "nt":  # an open file can't be deleted there
        os.close(number)
    with contextlib.suppress(OSError):
        path.unlink()
    if os.name != "nt":
        os.close(number)


def _lock(number: int) -> None:
    if os.name == "nt":
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    else:
        # A record lock, unlike flock, is not shared with forked workers, which may outlive a killed parent.
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def short_digest(content: bytes) -> str:
    """What tells whether a file still holds what it held: 16 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    # What is left of a file name that is not UTF-8 is escaped as JSON escapes it, and is read back as it was.
    write_whole(path, text.encode("utf-8", "backslashreplace"), durable=True)
