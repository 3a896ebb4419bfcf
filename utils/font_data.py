"""Pairs from fonts and from folders of drawn glyphs: the same character in the source and in a target."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from utils.charset import codepoint_name, is_han, read_charset
from utils.cli import UserError, abbreviate, left_out_lines
from utils.dataset import Pair, PairData, split_held_out
from utils.glyph_images import GlyphImages
from utils.render import GlyphRenderer, Movement, Placement, align

Target = GlyphRenderer | GlyphImages


@dataclass
class FontData(PairData):
    """The fonts of an experiment, placed, and the characters it trains on and holds out."""

    source: GlyphRenderer
    targets: list[Target]  # one a label, in the order of the labels
    charset: str  # how the characters were chosen
    train: str
    held_out: str
    lacking: dict[str, str]  # characters left out, by the name of the font that lacks them

    @classmethod
    def from_fonts(
        cls,
        src_font: str,
        dst_fonts: Sequence[str],
        dst_imgs: Sequence[str],
        charset: str | None,
        split_ratio: float,
        seed: int,
    ) -> "FontData":
        """Open the fonts and folders, choose the characters that source and targets have, and part them.

        Without a charset these are the Han ideographs of the target fonts and all characters of the folders.

        Raises:
            UserError: when a font or folder can't be used, or when no character is left.
        """
        source = GlyphRenderer(src_font)
        targets: list[Target] = [*map(GlyphRenderer, dst_fonts), *map(GlyphImages, dst_imgs)]
        if charset is None:
            wanted = "".join(sorted({character for target in targets for character in offered(target)}))
        else:
            wanted = read_charset(charset)
        names = distinct([font.name for font in (source, *targets)])
        lacking = {
            name: "".join(c for c in wanted if not font.covers(c))
            for name, font in zip(names, (source, *targets), strict=True)
        }
        usable = "".join(c for c in wanted if source.covers(c) and any(target.covers(c) for target in targets))
        if not usable:
            what = f"no character of {charset} is" if charset else "no character is"
            raise UserError(f"{what} both in {src_font} and in {' or '.join(target.spec for target in targets)}")
        for target in targets:
            shared = "".join(c for c in usable if target.covers(c))
            if not shared:
                raise UserError(f"{target.spec} shares no character with {src_font}")
            target.placement = align(target, source, shared)
        train, held_out = map("".join, split_held_out(usable, split_ratio, seed))
        lacking = {name: characters for name, characters in lacking.items() if characters}
        return cls(source, targets, charset or "shared characters", train, held_out, lacking)

    @classmethod
    def from_config(
        cls,
        data: dict[str, Any],
        src_font: str | None = None,
        dst_fonts: Sequence[str] | None = None,
        dst_imgs: Sequence[str] | None = None,
    ) -> "FontData":
        """Open what `describe` recorded: the same fonts, placed alike, and the same characters.

        The further arguments say where fonts and folders lie now, if they have moved.

        Raises:
            UserError: when a font or folder is gone or is not the one that was recorded.
        """
        specs: list[str | None] = [None] * len(data["targets"])
        for flag, key, given in (("dst_font", "spec", dst_fonts), ("dst_imgs", "folder", dst_imgs)):
            places = [label for label, record in enumerate(data["targets"]) if key in record]
            if given is not None and len(given) != len(places):
                raise UserError(f"--{flag} names {len(given)}, the experiment has {len(places)} of them")
            for label, spec in zip(places, given or [], strict=False):
                specs[label] = spec
        source = open_recorded(data["src_font"], src_font)
        targets = [open_recorded(record, spec) for record, spec in zip(data["targets"], specs, strict=True)]
        unknown = [c for c in data["train"] + data["held_out"] if not source.covers(c)]
        if unknown:
            raise UserError(f"config.json names {codepoint_name(unknown[0])}, which {source.name} does not have")
        return cls(source, targets, data["charset"], data["train"], data["held_out"], data["lacking"])

    @property
    def labels(self) -> list[str]:
        return distinct([target.name for target in self.targets])

    @cached_property
    def train_pairs(self) -> list[Pair]:
        return self._covered(self.train)

    @cached_property
    def held_out_pairs(self) -> list[Pair]:
        return self._covered(self.held_out)

    def _covered(self, characters: str) -> list[Pair]:
        return [(label, c) for label, target in enumerate(self.targets) for c in characters if target.covers(c)]

    def has_target(self, pair: Pair) -> bool:
        return self.targets[pair[0]].covers(pair[1])

    def render_pair(self, pair: Pair, image_size: int, move: Movement | None = None) -> tuple[np.ndarray, np.ndarray]:
        label, character = pair
        return self.source.render(character, image_size, move), self.targets[label].render(character, image_size, move)

    def label_digests(self) -> list[str]:
        return [target.sha256() for target in self.targets]

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "fonts",
            "src_font": self.source.describe(),
            "targets": [target.describe() for target in self.targets],
            "labels": self.labels,
            "charset": self.charset,
            "train": self.train,
            "held_out": self.held_out,
            "lacking": self.lacking,
        }

    def summary(self) -> list[str]:
        lines = [f"source {self.source.title}"]
        for label, target in enumerate(self.targets):
            train, held_out = (sum(map(target.covers, part)) for part in (self.train, self.held_out))
            lines.append(f"label {label} {target.title}: {train} characters to train on, {held_out} held out")
            if isinstance(target, GlyphImages):
                lines += left_out_lines(target.name, target.dropped)
        lines += [
            f"{name} lacks {len(missing)} characters, left out: {abbreviate(missing)}"
            for name, missing in self.lacking.items()
        ]
        for font in (self.source, *self.targets):
            clipped = "".join(c for c in self.train + self.held_out if font.is_clipped(c))
            if clipped:
                lines.append(f"{font.name}: {len(clipped)} characters are cut at the border: {abbreviate(clipped)}")
        return lines


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where they would be the same."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        found.append(name if name not in found else next(n for n in numbered if n not in found and n not in names))
    return found


def offered(target: Target) -> list[str]:
    """What a target is for when no charset is given: a font's Han ideographs, all that a folder shows."""
    return [chr(c) for c in target.codepoints() if is_han(c) or isinstance(target, GlyphImages)]


def open_recorded(record: dict[str, Any], spec: str | None = None) -> Target:
    """Open a font or folder as config.json recorded it, placed as in training, at `spec` if it has moved.

    Raises:
        UserError: when it is not there, or is another one.
    """
    kind = GlyphImages if "folder" in record else GlyphRenderer
    try:
        target = kind(spec or record.get("spec") or record["folder"], Placement(**record["placement"]))
    except UserError as error:
        raise UserError(f"{error} (expected {record['name']}, as in training)") from error
    if target.sha256() != record["sha256"]:
        raise UserError(f"{target.spec} is not the {record['name']} of the training: its content is another")
    return target
