"""Pairs of glyphs to train on: augmentation, the split into training and held-out characters, order, batches."""

import contextlib
import hashlib
import random
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.cli import Failure, UserError
from utils.render import Movement

SCALE = (0.96, 1.03)  # augmentation: range of a glyph's size,
SHIFT = 0.015  # and of its place, as a share of the canvas
MOST_VALIDATED = 64  # characters that choose the best checkpoint, and pairs of them that are scored

Item = tuple[int, np.ndarray, np.ndarray]  # label, source, target
Pair = tuple[int, str | int]  # label, and the character or, in records, the number of the record


class PairData(ABC):
    """Where pairs come from: what fonts, folders and files have in common.

    `source` renders the source glyph of a pair (`covers(key)`, `render(key, size)`), with the
    interface of `GlyphRenderer`.
    """

    source: Any
    labels: list[str]  # the names of the labels
    by_hash: bool  # how characters are held out; older experiments drew a sample

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
        """The characters, or numbers of records, to train on that choose the best checkpoint instead."""

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
        pairs = self.held_out_pairs or self.train_pairs
        return [pairs[i * len(pairs) // count] for i in range(count)] if len(pairs) > count else pairs


def share_of(key: Hashable, seed: int, purpose: str) -> float:
    """A number from 0 to 1 that depends on the key, the seed and the purpose alone, not on the other keys."""
    digest = hashlib.sha256(f"{purpose} {seed} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_held_out(keys: Sequence, ratio: float, seed: int) -> tuple[list, list]:
    """Part characters, or what else tells pairs apart, into those to train on and those held out.

    Each is held out by a hash of the seed and itself, so that it stays so when others are added or left out. At least
    one is held out when `ratio` is above 0, at least one is left to train on.
    """
    shares = {key: share_of(key, seed, "held out") for key in keys}
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
    shares = {key: share_of(key, seed, "validation") for key in keys}
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
    for pair in sorted(pairs, key=lambda pair: share_of(pair, seed, "spread")):
        by_label.setdefault(pair[0], []).append(pair)
    ranked = sorted((rank, pair) for own in by_label.values() for rank, pair in enumerate(own))
    return [pair for _, pair in ranked[:count]]


class TrainingPairs(Dataset):
    """Pairs rendered when they are asked for: nothing is prepared, nothing is kept in memory.

    Items are (label int, source uint8 [S, S], target uint8 [S, S]), in colour with a third axis. With
    `augment` both glyphs of a pair are scaled and shifted alike, by an amount that depends on (seed,
    epoch, index) alone, so that neither workers nor a resumed run change it. Never a flip: a mirrored
    character is another character.

    Raises:
        UserError: when `data` has nothing to train on.
    """

    def __init__(
        self,
        data: PairData,
        image_size: int,
        augment: bool = False,
        seed: int = 0,
        pairs: Sequence[Pair] | None = None,  # a part of the pairs to train on
    ):
        self.data = data
        self.pairs = data.train_pairs if pairs is None else pairs
        self.image_size = image_size
        self.augment = augment
        self.seed = seed
        if not self.pairs:
            raise UserError("no pair is left to train on: add characters or lower --split_ratio")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Item] | UserError:
        """A batch; or the reason why there is none, returned: an exception from a worker would be a traceback."""
        try:
            return [self[key] for key in keys]
        except OSError as error:
            return UserError(f"the data can't be read any more: {error.filename}: {error.strerror}")
        except UserError as error:
            return UserError(f"the data can't be read any more: {error}")

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        pair = self.pairs[index]
        move = self._movement(epoch, index) if self.augment else None
        return pair[0], *self.data.render_pair(pair, self.image_size, move)

    def _movement(self, epoch: int, index: int) -> Movement:
        generator = np.random.default_rng((self.seed, epoch, index))
        return Movement(generator.uniform(*SCALE), *generator.uniform(-SHIFT, SHIFT, 2))


class ResumableSampler(Sampler):
    """Endless batches of (epoch, index), each epoch in an order of its own, from any image onwards.

    Batches run across the end of an epoch, so that every step has a full batch and no pair is left
    out; with fewer pairs than a batch, a batch spans several epochs. Of `count` processes that train
    together each has its share of a batch: the `rank`-th part.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start: int = 0, rank: int = 0, count: int = 1):
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        share = batch_size // count
        self.share = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        keys = self._keys()
        while True:
            yield [next(keys) for _ in range(self.batch_size)][self.share]

    def _keys(self) -> Iterator[tuple[int, int]]:
        epoch, place = divmod(self.start, self.length)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            for index in order[place:]:
                yield epoch, int(index)
            epoch, place = epoch + 1, 0


def collate(
    items: Sequence[tuple[int, np.ndarray, np.ndarray]] | UserError,
) -> tuple[Tensor, Tensor, Tensor] | UserError:
    """Stack items into label int64 [N], source uint8 [N, S, S], target uint8 [N, S, S], or [N, S, S, 3]."""
    if isinstance(items, UserError):
        return items
    labels, sources, targets = zip(*items, strict=True)
    return torch.tensor(labels), torch.from_numpy(np.stack(sources)), torch.from_numpy(np.stack(targets))


@contextlib.contextmanager
def training_batches(
    dataset: Dataset, sampler: ResumableSampler, num_workers: int, pin_memory: bool
) -> Iterator[Iterator[tuple[Tensor, Tensor, Tensor] | UserError]]:
    """Endless collated batches in the sampler's order, a UserError in place of one that fails.

    Raises:
        Failure: when a worker is killed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of more workers than cores; they were asked for
        batches = iter(
            DataLoader(
                dataset,
                batch_sampler=sampler,
                collate_fn=collate,
                num_workers=num_workers,
                pin_memory=pin_memory,
                worker_init_fn=ignore_signals,
            )
        )
    try:
        yield batches
    except (RuntimeError, OSError, EOFError) as error:
        # A worker that dies shows in whatever the parent is doing: waiting, receiving, or something else.
        if num_workers and has_died(batches._workers):
            raise Failure(
                "a process that renders glyphs was killed, perhaps for want of memory: "
                "go on with --resume latest --num_workers 0"
            ) from error
        raise
    finally:
        if num_workers:  # at its own end Python would send them a SIGTERM, which they ignore, and wait
            with contextlib.suppress(RuntimeError):
                batches._shutdown_workers()
            for worker in batches._workers:
                worker.kill()


def has_died(workers: Sequence[BaseProcess]) -> bool:
    """Whether a worker has ended, or does so within a second."""
    with contextlib.suppress(RuntimeError):  # torch raises one wherever the signal of it finds us
        return bool(wait([worker.sentinel for worker in workers], timeout=1))
    return True


def ignore_signals(_worker: int) -> None:
    """Leave SIGINT and SIGTERM, which a terminal or a scheduler sends to all, to the parent, which still needs data."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
