"""Pairs of glyphs to train on: what every kind of data offers, and which characters are held out."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from utils.glyphs.placement import Movement
from utils.glyphs.source import GlyphSource
from utils.messages import _


def left_out_lines(where: str, dropped: Mapping[Any, str], most: int = 5) -> list[str]:
    """Lines that name what was left out of `where`, and why; `dropped` maps a name to "is no image"."""
    if not dropped:
        return []
    lines = [
        _("{where}: {name} is left out: it {reason}", where=where, name=name, reason=reason)
        for name, reason in list(dropped.items())[:most]
    ]
    more = _(", of which {most} are named here", most=most) if len(dropped) > most else ""
    return [*lines, _("{where}: {count} left out in all{more}", where=where, count=len(dropped), more=more)]


MOST_VALIDATED = 64  # characters that choose the best checkpoint, and pairs of them that are scored
Item = TypeVar("Item")
Pair = tuple[int, Any]  # label, and the character (str) or, in records, the number of the record (int)


class PairData(ABC):
    """Where pairs come from: what fonts, folders and files have in common."""

    source: GlyphSource  # renders the source glyph of a pair
    labels: list[str]  # the names of the labels
    by_hash: bool  # whether characters are held out by a hash; older experiments drew a sample

    @property
    @abstractmethod
    def train_pairs(self) -> list[Pair]:
        """The pairs to train on."""

    @property
    @abstractmethod
    def held_out_pairs(self) -> list[Pair]:
        """The pairs that are never trained on."""

    @abstractmethod
    def validation_keys(self, ratio: float, seed: int) -> set:
        """The characters (or numbers of records) that are not trained on, and choose the best checkpoint instead."""

    def split_validation(self, ratio: float, seed: int) -> tuple[list[Pair], list[Pair]]:
        """Part the pairs to train on once more: those that are trained on, and those that choose the best checkpoint.

        By character, the same for every label. Of the latter at most MOST_VALIDATED are given, spread over the labels;
        older experiments are scored on all of them, as they were.
        """
        chosen = self.validation_keys(ratio, seed)
        validation = [pair for pair in self.train_pairs if pair[1] in chosen]
        if self.by_hash:
            validation = spread(validation, MOST_VALIDATED, seed)
        return [pair for pair in self.train_pairs if pair[1] not in chosen], validation

    @abstractmethod
    def has_target(self, pair: Pair) -> bool:
        """Whether there is a true glyph of the pair."""

    @abstractmethod
    def render_pair(self, pair: Pair, image_size: int, move: Movement | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Source and target, both moved alike: uint8 [S, S], or [S, S, 3] in colour."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What config.json keeps."""

    @abstractmethod
    def summary(self) -> list[str]:
        """What is used and what is left out, one line each."""

    def label_digests(self) -> list[str]:
        """The SHA-256 of what each label was made from; none where labels are mere numbers."""
        return []

    def render_pairs(self, pairs: Sequence[Pair], image_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target images uint8 [N, S, S] (or [N, S, S, 3]) of pairs."""
        sources, targets = zip(*(self.render_pair(pair, image_size) for pair in pairs), strict=True)
        return np.stack(sources), np.stack(targets)

    def some_pairs(self, count: int) -> list[Pair]:
        """`count` held-out pairs, evenly spread; training pairs where nothing is held out."""
        return evenly(self.held_out_pairs or self.train_pairs, count)


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, evenly spread."""
    return [items[i * len(items) // most] for i in range(most)] if len(items) > most else list(items)


def hashed_share(key: Hashable, seed: int, purpose: str) -> float:
    """A number from 0 to 1 that depends on the key, the seed and the purpose alone, not on the other keys."""
    digest = hashlib.sha256(f"{purpose} {seed} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_held_out(keys: Sequence, ratio: float, seed: int) -> tuple[list, list]:
    """Part characters, or what else tells pairs apart, into those to train on and those held out.

    Each is held out by a hash of the seed and itself, so that it stays so when others are added or left out. At least
    one is held out when `ratio` is above 0, at least one is left to train on.
    """
    shares = {key: hashed_share(key, seed, "held out") for key in keys}
    held_out = {key for key, share in shares.items() if share < ratio}
    if ratio > 0 and not held_out and len(shares) > 1:
        held_out = {min(shares, key=shares.__getitem__)}
    if len(held_out) == len(shares):
        held_out.discard(max(shares, key=shares.__getitem__, default=None))
    return [key for key in keys if key not in held_out], [key for key in keys if key in held_out]


def choose_validation(keys: Sequence, ratio: float, seed: int) -> set:
    """Those of the characters to train on that choose the best checkpoint instead, by a hash as those held out.

    At most MOST_VALIDATED of them; none where `ratio` comes to less than half of one.
    """
    shares = {key: hashed_share(key, seed, "validation") for key in keys}
    chosen = sorted(shares, key=shares.__getitem__)[: min(MOST_VALIDATED, len(shares) - 1)]
    if round(ratio * len(shares)) < 1:
        return set()
    return {key for key in chosen if shares[key] < ratio} or set(chosen[:1])


def sample_held_out(keys: Sequence, ratio: float, seed: int) -> tuple[list, list]:
    """As `split_held_out`, the way older experiments did it: a sample, which is another one when a key is added."""
    count = min(max(round(len(keys) * ratio), 1 if ratio > 0 else 0), len(keys) - 1)
    held_out = set(random.Random(seed).sample(sorted(keys), count))
    return [key for key in keys if key not in held_out], [key for key in keys if key in held_out]


def sample_validation(keys: Collection, ratio: float, seed: int) -> set:
    """As `choose_validation`, the way older experiments did it."""
    count = min(round(ratio * len(keys)), MOST_VALIDATED, len(keys) - 1)
    return set(random.Random(f"validation {seed}").sample(sorted(keys), max(count, 0)))


def spread(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """At most `count` of the pairs, as many of each label as of any other, and of each label other ones."""
    by_label: dict[int, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: hashed_share(pair, seed, "spread")):
        by_label.setdefault(pair[0], []).append(pair)
    ranked = sorted((rank, pair) for own in by_label.values() for rank, pair in enumerate(own))
    return [pair for _, pair in ranked[:count]]
