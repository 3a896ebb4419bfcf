"""What an experiment is: its config.json, and the fonts and characters that it is about."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.charset import is_han, read_charset
from utils.cli import UserError, abbreviate
from utils.dataset import FontPairs, Pair, covered_pairs, split_characters
from utils.render import GlyphRenderer, Placement, align

BUNDLED_SOURCE, BUNDLED_TARGET = "bundled:source.otf", "bundled:target.ttf"


@dataclass(frozen=True)
class Paths:
    """Where things lie in an experiment folder; the one place for these names."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def sample(self) -> Path:
        return self.root / "sample"

    @property
    def losses_csv(self) -> Path:
        return self.root / "losses.csv"

    @property
    def losses_png(self) -> Path:
        return self.root / "losses.png"

    def sample_sheet(self, step: int) -> Path:
        return self.sample / f"{step:06d}.png"


def read_config(paths: Paths) -> dict[str, Any] | None:
    """The experiment's config.json, or None when there is none.

    Raises:
        UserError: when it can't be read.
    """
    if not paths.config.is_file():
        return None
    try:
        config = json.loads(paths.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{paths.config} can't be read: {error}") from error
    if not isinstance(config, dict) or not {"model", "data", "training"} <= config.keys():
        raise UserError(f"{paths.config} is not the config of an experiment")
    return config


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


@dataclass
class FontData:
    """The fonts of an experiment, placed, and the characters it trains on and holds out."""

    source: GlyphRenderer
    targets: list[GlyphRenderer]  # one a label, in the order of the labels
    charset: str  # how the characters were chosen
    train: str
    held_out: str
    lacking: dict[str, str]  # characters left out, by the name of the font that lacks them

    @classmethod
    def from_fonts(
        cls, src_font: str, dst_fonts: Sequence[str], charset: str | None, split_ratio: float, seed: int
    ) -> "FontData":
        """Open the fonts, choose the characters that source and targets have, and part them.

        Without a charset these are the Han ideographs that the source and a target font have.

        Raises:
            UserError: when a font can't be used, or when no character is left.
        """
        source, targets = GlyphRenderer(src_font), [GlyphRenderer(spec) for spec in dst_fonts]
        if charset is None:
            wanted = "".join(sorted({chr(c) for target in targets for c in target.codepoints() if is_han(c)}))
        else:
            wanted = read_charset(charset)
        lacking = {font.name: "".join(c for c in wanted if not font.covers(c)) for font in (source, *targets)}
        usable = "".join(c for c in wanted if source.covers(c) and any(target.covers(c) for target in targets))
        if not usable:
            raise UserError(f"no character of {charset or 'the target fonts'} is in both {src_font} and a target font")
        for target in targets:
            shared = "".join(c for c in usable if target.covers(c))
            if not shared:
                raise UserError(f"font {target.spec} shares no character with {src_font}")
            target.placement = align(target, source, shared)
        train, held_out = split_characters(usable, split_ratio, seed)
        lacking = {name: characters for name, characters in lacking.items() if characters}
        return cls(source, targets, charset or "shared Han ideographs", train, held_out, lacking)

    @classmethod
    def from_config(
        cls, data: dict[str, Any], src_font: str | None = None, dst_fonts: Sequence[str] | None = None
    ) -> "FontData":
        """Open what `describe` recorded: the same fonts, placed alike, and the same characters.

        `src_font` and `dst_fonts` say where the fonts lie now, if they have moved.

        Raises:
            UserError: when a font is gone or is not the one that was recorded.
        """
        if dst_fonts is not None and len(dst_fonts) != len(data["dst_fonts"]):
            raise UserError(f"--dst_font names {len(dst_fonts)} fonts, the experiment has {len(data['dst_fonts'])}")
        specs = dst_fonts or [record["spec"] for record in data["dst_fonts"]]
        source = open_recorded(data["src_font"], src_font)
        targets = [open_recorded(record, spec) for record, spec in zip(data["dst_fonts"], specs, strict=True)]
        return cls(source, targets, data["charset"], data["train"], data["held_out"], data["lacking"])

    def describe(self) -> dict[str, Any]:
        """What config.json keeps."""
        return {
            "src_font": self.source.describe(),
            "dst_fonts": [target.describe() for target in self.targets],
            "labels": [target.name for target in self.targets],
            "charset": self.charset,
            "train": self.train,
            "held_out": self.held_out,
            "lacking": self.lacking,
        }

    def summary(self) -> list[str]:
        """What is used and what is left out, one line each."""
        lines = [f"source {self.source.title}"]
        lines += [
            f"label {label} {target.title}: {sum(map(target.covers, self.train))} characters "
            f"to train on, {sum(map(target.covers, self.held_out))} held out"
            for label, target in enumerate(self.targets)
        ]
        lines += [
            f"{name} lacks {len(missing)} characters, left out: {abbreviate(missing)}"
            for name, missing in self.lacking.items()
        ]
        for font in (self.source, *self.targets):
            clipped = "".join(c for c in self.train + self.held_out if font.is_clipped(c))
            if clipped:
                lines.append(f"{font.name}: {len(clipped)} characters are cut at the border: {abbreviate(clipped)}")
        return lines

    def training_pairs(self, image_size: int, augment: bool, seed: int) -> FontPairs:
        """The data set to train on.

        Raises:
            UserError: when it is empty.
        """
        pairs = covered_pairs(self.train, self.targets)
        if not pairs:
            raise UserError("no pair is left to train on: add characters or lower --split_ratio")
        return FontPairs(self.source, self.targets, pairs, image_size, augment, seed)

    def sheet_pairs(self, count: int) -> list[Pair]:
        """`count` held-out pairs, evenly spread; training pairs where nothing is held out."""
        pairs = covered_pairs(self.held_out, self.targets) or covered_pairs(self.train, self.targets)
        return [pairs[i * len(pairs) // count] for i in range(count)] if len(pairs) > count else pairs

    def render_pairs(self, pairs: Sequence[Pair], image_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target images uint8 [N, S, S] of (label, character) pairs."""
        source = np.stack([self.source.render(character, image_size) for _, character in pairs])
        target = np.stack([self.targets[label].render(character, image_size) for label, character in pairs])
        return source, target


def open_recorded(record: dict[str, Any], spec: str | None = None) -> GlyphRenderer:
    """Open a font as config.json recorded it, with the placement of training, at `spec` if it has moved.

    Raises:
        UserError: when the file is not there, or is another one.
    """
    try:
        font = GlyphRenderer(spec or record["spec"], Placement(**record["placement"]))
    except UserError as error:
        raise UserError(f"{error} (expected {record['name']}, as in training)") from error
    if font.sha256() != record["sha256"]:
        raise UserError(f"font {font.spec} is not the {record['name']} of the training: its SHA-256 is another")
    return font
