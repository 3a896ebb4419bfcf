"""Training pairs straight from fonts: the same character in the source and in a target font.

A data set is anything that maps (epoch, index) to (label, source, target); fonts are the one kind
there is so far.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.render import GlyphRenderer

SCALE = (0.92, 1.06)  # augmentation: range of a glyph's size,
SHIFT = 0.03  # and of its place, as a share of the canvas

Pair = tuple[int, str]  # label, character


def split_characters(characters: str, ratio: float, seed: int) -> tuple[str, str]:
    """Part characters into those to train on and those held out, the same for every label.

    At least one is held out when `ratio` is above 0, at least one is left to train on. Depends on
    the characters and the seed alone, not on their order.
    """
    count = min(max(round(len(characters) * ratio), 1 if ratio > 0 else 0), len(characters) - 1)
    held_out = set(random.Random(seed).sample(sorted(characters), count))
    return (
        "".join(character for character in characters if character not in held_out),
        "".join(character for character in characters if character in held_out),
    )


def covered_pairs(characters: str, targets: Sequence[GlyphRenderer]) -> list[Pair]:
    """(label, character) for every target font that covers the character."""
    return [(label, c) for label, target in enumerate(targets) for c in characters if target.covers(c)]


class FontPairs(Dataset):
    """Pairs rendered when they are asked for: nothing is prepared, nothing is kept in memory.

    Items are (label int, source uint8 [S, S], target uint8 [S, S]). With `augment` both glyphs of a
    pair are scaled and shifted alike, as outlines, by an amount that depends on (seed, epoch, index)
    alone, so that neither workers nor a resumed run change it. Never a flip: a mirrored character is
    another character.
    """

    def __init__(
        self,
        source: GlyphRenderer,
        targets: Sequence[GlyphRenderer],
        pairs: Sequence[Pair],
        image_size: int,
        augment: bool = False,
        seed: int = 0,
    ):
        self.source = source
        self.targets = list(targets)
        self.pairs = list(pairs)
        self.image_size = image_size
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, np.ndarray, np.ndarray]:
        epoch, index = key
        label, character = self.pairs[index]
        move = self._movement(epoch, index) if self.augment else (1.0, 0.0, 0.0)
        source, target = (
            renderer.render(character, self.image_size, renderer.placement.moved(*move))
            for renderer in (self.source, self.targets[label])
        )
        return label, source, target

    def _movement(self, epoch: int, index: int) -> tuple[float, float, float]:
        generator = np.random.default_rng((self.seed, epoch, index))
        return generator.uniform(*SCALE), *generator.uniform(-SHIFT, SHIFT, 2)


class ResumableSampler(Sampler):
    """Endless batches of (epoch, index), each epoch in an order of its own, from any image onwards.

    Batches run across the end of an epoch, so that every step has a full batch and no pair is left
    out; with fewer pairs than a batch, a batch spans several epochs.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start: int = 0):
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        keys = self._keys()
        while True:
            yield [next(keys) for _ in range(self.batch_size)]

    def _keys(self) -> Iterator[tuple[int, int]]:
        epoch, place = divmod(self.start, self.length)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            for index in order[place:]:
                yield epoch, int(index)
            epoch, place = epoch + 1, 0


def collate(items: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack items into label int64 [N], source uint8 [N, S, S], target uint8 [N, S, S]."""
    labels, sources, targets = zip(*items, strict=True)
    return torch.tensor(labels), torch.from_numpy(np.stack(sources)), torch.from_numpy(np.stack(targets))


def training_loader(dataset: Dataset, sampler: ResumableSampler, num_workers: int, pin_memory: bool) -> DataLoader:
    """An endless loader of collated batches in the sampler's order."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
    )
