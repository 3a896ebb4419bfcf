"""Outlines of many drawings: traced by all cores, kept in a file so that a run that was stopped can continue."""

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from utils.errors import UserError
from utils.files import naming, short_digest, writable
from utils.fonts.fit import Contour, Lattice
from utils.fonts.trace import trace_all
from utils.glyphs.charset import codepoint_name
from utils.images import read_image
from utils.messages import _
from utils.processes import process_pool

VERSION = 2  # of what is kept: another one is made anew
CHUNK = 8  # drawings that are traced at a time
FEW = 8  # drawings a process that are sooner traced than the process is started
DIGITS = 6  # of a coordinate, as a share of the canvas
Job = tuple[str, Path]  # a character, and its drawing
Work = Callable[[Sequence[Job]], list[dict[str, Any]]]
Contours = list[list[list[float]]]  # a contour is its start and segments: 2 numbers for a line, 6 for a curve


def read_square(path: Path) -> tuple[str, np.ndarray]:
    """What identifies the content of an image file, and its pixels, uint8 [S, S].

    Raises:
        UserError: when it can't be read, or is not square.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(_("can't be read: {reason}", reason=error.strerror)) from error
    pixels = np.asarray(read_image(content))
    if pixels.shape[0] != pixels.shape[1]:
        raise UserError(_("is {width} x {height} pixels, not square", width=pixels.shape[1], height=pixels.shape[0]))
    return short_digest(content), pixels


def as_shares(contours: list[Contour], side: int) -> Contours:
    """Outlines in an image of `side` pixels as shares of the canvas, y downwards."""

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


def trace_files(jobs: Sequence[Job], tolerance: float, lattice: Lattice) -> list[dict[str, Any]]:
    """The lines of the trace file for some drawings; `error` says why one has no outline.

    The `lattice` is in shares of the canvas too.
    """
    records: list[dict[str, Any]] = []
    by_side: dict[int, list[tuple[dict[str, Any], np.ndarray]]] = {}
    for character, path in jobs:
        record: dict[str, Any] = {"character": codepoint_name(character)}
        records.append(record)
        try:
            record["digest"], pixels = read_square(path)
            by_side.setdefault(len(pixels), []).append((record, pixels))
        except UserError as error:
            record["error"] = str(error)
    for side, some in by_side.items():
        own = Lattice(*(value * side for value in lattice))
        for (record, _pixels), contours in zip(
            some, trace_all([pixels for _record, pixels in some], tolerance, own), strict=True
        ):
            if contours:
                record["contours"] = as_shares(contours, side)
            else:
                record["error"] = "has no outline: it is blank"
    return records


@contextlib.contextmanager
def _worked_off(jobs: Sequence[Job], work: Work, workers: int) -> Iterator[Iterator[dict[str, Any]]]:
    """The records of jobs in their order, by several processes where that is worth starting them.

    Raises:
        Failure: when one of these is killed.
    """
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    if workers == 1 or len(jobs) <= FEW * workers:
        yield itertools.chain.from_iterable(map(work, chunks))
        return
    with process_pool(workers, "traces") as pool:
        yield itertools.chain.from_iterable(pool.map(work, chunks))


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
        left = [(c, path) for c, path in self.images.items() if c not in self._places]
        work = functools.partial(trace_files, tolerance=self.tolerance, lattice=self.lattice)
        with contextlib.ExitStack() as stack:
            stack.enter_context(naming(self.path))
            file = stack.enter_context(self.path.open("ab"))
            records = stack.enter_context(_worked_off(left, work, workers))
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
