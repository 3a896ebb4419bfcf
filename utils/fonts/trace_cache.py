"""Outlines of many drawings: traced by all cores, kept in a file so that a run that was stopped can continue."""

import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.errors import Failure, UserError
from utils.files import naming, short_digest, writable
from utils.fonts.fit import Lattice
from utils.fonts.trace import trace
from utils.glyphs.charset import codepoint_name
from utils.images import read_image

VERSION = 1  # of what is kept: another one is made anew
CHUNK = 8  # drawings that a process takes at a time
MOST_ON_WINDOWS = 61  # processes that can be waited for there
FEW = 8  # drawings a process that are sooner traced than the process is started
DIGITS = 6  # of a coordinate, as a share of the canvas
Contours = list[list[list[float]]]  # a contour is its start and segments: 2 numbers for a line, 6 for a curve


def trace_image(content: bytes, tolerance: float, lattice: Lattice | None = None) -> Contours:
    """The outlines in an image file, as shares of the canvas, y downwards; so is the `lattice` that they end on.

    Raises:
        UserError: when it can't be read, is not square, or has no outline.
    """
    pixels = np.asarray(read_image(content))
    if pixels.shape[0] != pixels.shape[1]:
        raise UserError(f"is {pixels.shape[1]} x {pixels.shape[0]} pixels, not square")
    side = len(pixels)
    contours = trace(pixels, tolerance, Lattice(*(value * side for value in lattice)) if lattice else None)
    if not contours:
        raise UserError("has no outline: it is blank")

    def shares(*points: tuple[float, float]) -> list[float]:
        return [round(float(value) / side, DIGITS) for point in points for value in point]

    return [
        [shares(contour.start), *(shares(*(segment.controls or ()), segment.end) for segment in contour.segments)]
        for contour in contours
    ]


def pen_calls(contours: Contours, place: Any) -> list[tuple[str, tuple]]:
    """The calls of a segment pen that draw contours, each point through `place(x, y)`."""
    calls: list[tuple[str, tuple]] = []
    for start, *segments in contours:
        calls.append(("moveTo", (place(*start),)))
        for segment in segments:
            points = tuple(place(*segment[i : i + 2]) for i in range(0, len(segment), 2))
            calls.append(("lineTo" if len(points) == 1 else "curveTo", points))
        calls.append(("closePath", ()))
    return calls


def _trace_file(job: tuple[str, Path, float, Lattice]) -> dict[str, Any]:
    """The line of the trace file for a drawing; `error` says why there is no outline."""
    character, path, tolerance, lattice = job
    record: dict[str, Any] = {"character": codepoint_name(character)}
    try:
        content = path.read_bytes()
        record["digest"] = short_digest(content)
        record["contours"] = trace_image(content, tolerance, lattice)
    except OSError as error:
        record["error"] = f"can't be read: {error.strerror}"
    except UserError as error:
        record["error"] = str(error)
    return record


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _worked_off(jobs: list[tuple[str, Path, float, Lattice]], workers: int) -> Iterator[Iterator[dict[str, Any]]]:
    """The records of jobs in their order, by several processes where that is worth starting them.

    Raises:
        Failure: when one of these is killed.
    """
    if workers == 1 or len(jobs) <= FEW * workers:
        yield map(_trace_file, jobs)
        return
    context = multiprocessing.get_context("spawn")
    workers = min(workers, MOST_ON_WINDOWS) if os.name == "nt" else workers
    pool = ProcessPoolExecutor(workers, context, _leave_interrupts_to_parent)
    try:
        yield pool.map(_trace_file, jobs, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise Failure("a process that traces was killed, perhaps for want of memory: run the command again") from error
    finally:
        pool.shutdown(cancel_futures=True)


class Traces:
    """The outlines of drawings, in a file of JSON lines beside the font that is made of them.

    They are read from there one at a time, so that memory does not grow with their number.
    """

    def __init__(self, path: Path, images: Mapping[str, Path], tolerance: float, lattice: Lattice):
        self.path, self.images, self.tolerance, self.lattice = path, images, tolerance, lattice
        self.errors: dict[str, str] = {}
        self._places: dict[str, int] = {}  # character -> offset of its line

    def trace(self, workers: int) -> None:
        """Trace what is not traced yet, with a progress bar; may be stopped at any time and called again.

        Raises:
            OSError: when the file can't be written.
        """
        self._read_kept()
        left = [(c, path, self.tolerance, self.lattice) for c, path in self.images.items() if c not in self._places]
        with contextlib.ExitStack() as stack:
            stack.enter_context(naming(self.path))
            file = stack.enter_context(self.path.open("ab"))
            records = stack.enter_context(_worked_off(left, workers))
            bar = tqdm(records, "tracing", len(self.images), initial=len(self._places), unit="glyph", disable=None)
            for record in bar:
                character = chr(int(record["character"][2:], 16))
                if "error" in record:
                    self.errors[character] = record["error"]
                    continue
                self._places[character] = file.tell()
                file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _read_kept(self) -> None:
        """Find what an earlier run has traced of these very drawings; a line that is cut off is dropped."""
        header = json.dumps({"version": VERSION, "tolerance": self.tolerance, "lattice": self.lattice}).encode() + b"\n"
        kept = 0
        with naming(self.path), writable(self.path) as file:
            if file.readline() == header:
                kept = file.tell()
                while (line := file.readline()).endswith(b"\n"):
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        self._take(json.loads(line), kept)
                    kept = file.tell()
            else:
                file.seek(0)
                file.write(header)
                kept = file.tell()
            file.truncate(kept)

    def _take(self, record: dict[str, Any], offset: int) -> None:
        character = chr(int(record["character"][2:], 16))
        path = self.images.get(character)
        if path is not None and path.is_file() and short_digest(path.read_bytes()) == record["digest"]:
            self._places[character] = offset

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[str, Contours]]:
        """Characters in the order of their code points, with their outlines."""
        with self.path.open("rb") as file:
            for character in sorted(self._places):
                file.seek(self._places[character])
                yield character, json.loads(file.readline())["contours"]

    def remove(self) -> None:
        """Delete the file, once the font is there."""
        self.path.unlink(missing_ok=True)


def cores() -> int:
    """How many processes can work at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
