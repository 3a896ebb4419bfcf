"""Pairs without characters: two glyphs side by side in one picture, target left, source right.

They come as the train.obj and val.obj of earlier ports, or as a folder of such pictures.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from utils.data.obj_file import HIGHEST_LABEL, ObjFile, read_obj
from utils.data.pairs import (
    Pair,
    PairData,
    choose_validation,
    left_out_lines,
    sample_held_out,
    sample_validation,
    split_held_out,
)
from utils.errors import Reason, UserError, codes
from utils.glyphs.placement import Box, Movement, median_frame, on_canvas
from utils.images import EXTENSIONS, ink_box, read_image
from utils.messages import _

BY_HASH = "hash"  # in config.json: how records are held out
FRAME_GLYPHS = 300  # source glyphs that the frame is measured on


@dataclass
class PairFolder:
    """A folder of pictures as a sequence of records; `2_00017.png` has the label 2, a name without a number 0."""

    path: Path
    files: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    dropped: dict[int, Reason] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)

    def __post_init__(self):
        files = sorted(file for file in self.path.iterdir() if file.is_file() and not file.name.startswith("."))
        for number, file in enumerate(files, 1):
            self._names.append(file.name.encode("utf-8", "backslashreplace").decode())
            label = re.match(r"[0-9]+(?=_)", file.stem)
            if file.suffix.lower() not in EXTENSIONS:
                self.dropped[number] = Reason(_("is no png, jpg, tif or bmp"), "no_image")
            elif label and int(label[0]) > HIGHEST_LABEL:
                self.dropped[number] = Reason(_("has a label beyond {most}", most=HIGHEST_LABEL), "label")
            else:
                self.files.append(file)
                self.labels.append(int(label[0]) if label else 0)
                self.numbers.append(number)

    def record_name(self, number: int) -> str:
        """What to call a record in a message."""
        return self._names[number - 1]

    def read(self, index: int) -> bytes:
        """The picture of a record."""
        return self.files[index].read_bytes()


Records = ObjFile | PairFolder


def open_records(path: Path) -> Records:
    """Open an .obj file or a folder of pictures.

    Raises:
        UserError: when there is neither.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.obj"))
        if inside:
            raise UserError(_("{path} is a folder: name one of its files, such as {file}", path=path, file=inside[0]))
        return PairFolder(path)
    if not path.is_file():
        raise UserError(_("{path}: no such file or folder", path=path))
    return read_obj(path)


def split_picture(content: bytes, channels: int) -> tuple[Image.Image, Image.Image]:
    """Source and target of a picture with the target on the left, both square.

    Raises:
        UserError: when it is no such picture.
    """
    image = read_image(content, channels)
    side = image.height
    if image.width != 2 * side:
        raise UserError(
            _("is {width} x {side} pixels, not two squares side by side", width=image.width, side=side), code="shape"
        )
    return image.crop((side, 0, 2 * side, side)), image.crop((0, 0, side, side))


class RecordData(PairData):
    """The records of `train` and, where there are some, of `val`, which are held out.

    Without `val` a share of the records is held out. A record's key is its number in its file, in `val`
    negative. Records that can't be used are in `dropped`, with the reason.

    Raises:
        UserError: when no record can be used.
    """

    placeholders: frozenset[str] = frozenset()  # every picture was drawn

    def __init__(
        self,
        train: Records,
        val: Records | None,
        channels: int,
        split_ratio: float = 0,
        seed: int = 0,
        by_hash: bool = True,
    ):
        self.files = [train] if val is None else [train, val]
        self.path = train.path  # what was asked for: the file, or a folder with train.obj
        self.by_hash = by_hash
        self.channels, self.split_ratio, self.seed = channels, split_ratio, seed
        self.dropped: dict[int, Reason] = {}
        self._places: dict[int, tuple[int, int]] = {}  # key -> file, index
        self._sources: dict[int, str] = {}  # key -> digest of the source glyph, which stands for the character
        digest = hashlib.sha256()
        for which, file in enumerate(self.files):
            self._check(which, file, digest)
        self.dropped = dict(sorted(self.dropped.items(), key=lambda item: abs(item[0])))
        self.digest = digest.hexdigest()
        if not self._places:
            reason = next((f": {name} {why}" for name, why in self._dropped_names().items()), "")
            raise UserError(_("{path} holds no pair of pictures{reason}", path=train.path, reason=reason))
        self.train_keys = [key for key in self._places if key > 0]
        self.held_out_keys = [key for key in self._places if key < 0]
        if not self.held_out_keys and by_hash:
            _kept, held_out = split_held_out(list(self._sources.values()), split_ratio, seed)
            self.held_out_keys = self._showing(held_out)
            self.train_keys = [key for key in self.train_keys if key not in set(self.held_out_keys)]
        elif not self.held_out_keys:
            self.train_keys, self.held_out_keys = sample_held_out(self.train_keys, split_ratio, seed)

    def _showing(self, sources: Collection[str]) -> list[int]:
        """The keys of the records to train on with these source glyphs, whatever their labels."""
        wanted = set(sources)
        return [key for key in self.train_keys if self._sources[key] in wanted]

    def validation_keys(self, ratio: float, seed: int) -> set[int]:
        if not self.by_hash:
            return sample_validation(self.train_keys, ratio, seed)
        return set(self._showing(choose_validation([self._sources[key] for key in self.train_keys], ratio, seed)))

    def _check(self, which: int, file: Records, digest: Any) -> None:
        """Read every picture once: damage is found before the training, not in the middle of it."""
        sign = -1 if which else 1
        self.dropped |= {sign * number: reason for number, reason in file.dropped.items()}
        bar = tqdm(file.numbers, desc=f"reading {file.path.name}", unit="pair", disable=None, leave=False)
        for index, number in enumerate(bar):
            try:
                content = file.read(index)
                source, _target = split_picture(content, self.channels)
            except UserError as error:
                self.dropped[sign * number] = Reason.of(error)
                continue
            self._places[sign * number] = which, index
            self._sources[sign * number] = hashlib.sha256(source.tobytes()).hexdigest()
            digest.update(b"%d %d " % (file.labels[index], len(content)) + content)

    @classmethod
    def open(
        cls, path: Path, channels: int, split_ratio: float = 0, seed: int = 0, by_hash: bool = True
    ) -> "RecordData":
        """The train.obj and perhaps val.obj of a folder, or else its pictures; or a single .obj file.

        Raises:
            UserError: when there is none of these.
        """
        train, val = path / "train.obj", path / "val.obj"
        if not train.is_file():
            return cls(open_records(path), None, channels, split_ratio, seed, by_hash)
        data = cls(read_obj(train), read_obj(val) if val.is_file() else None, channels, split_ratio, seed, by_hash)
        data.path = path
        return data

    @classmethod
    def from_config(cls, data: dict[str, Any], path: str | None = None) -> "RecordData":
        """Open what `describe` recorded, at `path` if it has moved.

        Raises:
            UserError: when it is gone or has changed.
        """
        where, by_hash = Path(path or data["path"]), data.get("split") == BY_HASH
        opened = cls.open(where, data["channels"], data["split_ratio"], data["seed"], by_hash)
        if opened.digest != data["sha256"]:
            raise UserError(_("{path} is not the data of the training: its content is another", path=opened.path))
        return opened

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def source(self) -> "RecordData":
        return self

    @cached_property
    def labels(self) -> list[str]:
        return [str(label) for label in range(max(label for label, _number in self.pairs_with(self._places)) + 1)]

    def pairs_with(self, keys: Iterable[int]) -> list[Pair]:
        """The pairs of records, by their keys."""
        return [(self.files[which].labels[index], key) for key in keys for which, index in [self._places[key]]]

    @cached_property
    def train_pairs(self) -> list[Pair]:
        return self.pairs_with(self.train_keys)

    @cached_property
    def held_out_pairs(self) -> list[Pair]:
        return self.pairs_with(self.held_out_keys)

    def covers(self, key: int) -> bool:
        """Whether there is such a record."""
        return key in self._places

    def has_target(self, pair: Pair) -> bool:
        return self.covers(pair[1])

    def picture(self, key: int) -> bytes:
        """The picture of a record, as it is in its file."""
        which, index = self._places[key]
        return self.files[which].read(index)

    def render(self, key: int, image_size: int) -> np.ndarray:
        """The source glyph of a record."""
        return self.render_pair((0, key), image_size)[0]

    def render_pair(self, pair: Pair, image_size: int, move: Movement | None = None) -> tuple[np.ndarray, np.ndarray]:
        pictures = split_picture(self.picture(pair[1]), self.channels)
        source, target = (on_canvas(picture, image_size, 0, 0, 1, move) for picture in pictures)
        return source, target

    @cached_property
    def frame(self) -> tuple[float, float, float] | None:
        """The median side and centre of the source glyphs' ink: where a font has to be placed to look alike."""
        keys = list(self._places)[:: max(1, len(self._places) // FRAME_GLYPHS)]
        boxes = [box for key in keys if (box := self._ink_box(key)) is not None]
        return median_frame(boxes) if boxes else None

    def _ink_box(self, key: int) -> Box | None:
        return ink_box(split_picture(self.picture(key), 1)[0])

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "records",
            "path": str(self.path.resolve()),
            "sha256": self.digest,
            "channels": self.channels,
            "split_ratio": self.split_ratio,
            "seed": self.seed,
            **({"split": BY_HASH} if self.by_hash else {}),
            "labels": self.labels,
            "frame": self.frame,
            "pairs": len(self._places),
            "dropped": codes(self._dropped_names()),
        }

    def _dropped_names(self) -> dict[str, Reason]:
        train, val = self.files[0], self.files[-1]
        return {
            train.record_name(key) if key > 0 else f"{val.path.name} {val.record_name(-key)}": reason
            for key, reason in self.dropped.items()
        }

    def summary(self) -> list[str]:
        where = str(self.path)
        labels = len({label for label, _number in self.pairs_with(self._places)})
        held_out = _(", {count} of them held out", count=len(self.held_out_keys)) if self.held_out_keys else ""
        return [
            f"{where}: {len(self._places)} pairs{held_out}, {labels} {'label' if labels == 1 else 'labels'}",
            *left_out_lines(where, self._dropped_names()),
        ]
