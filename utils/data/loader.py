"""Pairs of glyphs on their way into the training: augmentation, order, batches."""

import contextlib
import math
import signal
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.data.pairs import Pair, PairData
from utils.errors import Failure, UserError
from utils.glyphs.placement import Movement
from utils.messages import _

Item = tuple[Any, ...]  # label, source and target of a pair, and its deformation where it is known
Batch = tuple[Tensor, ...]  # the same of several pairs
SCALE = (0.96, 1.03)  # augmentation: range of a glyph's size,
SHIFT = 0.015  # and of its place, as a share of the canvas
# With a warp of 1 instead: how far each axis is stretched and leans, by how many radians it turns, and its shift.
STRETCH, SHEAR, TURN, WARPED_SHIFT = 0.08, 0.08, 0.06, 0.04
MOST_WARPED = 3.0


class TrainingPairs(Dataset):
    """Pairs rendered when they are asked for: nothing is prepared, nothing is kept in memory.

    Items are (label int, source uint8 [S, S], target uint8 [S, S]), in colour with a third axis. With
    `augment` both glyphs of a pair are scaled and shifted alike, or with a `warp` (up to MOST_WARPED) stretched,
    sheared, turned and shifted, by an amount that depends on (seed, epoch, index) alone, so that neither workers nor a
    resumed run change it. Never a flip: a mirrored character is another character. Once there are `deformations`,
    float32 [N, 2, G, G], an item has that of its pair too, moved as the glyphs are.

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
        *,
        warp: float = 0.0,
    ):
        self.data = data
        self.pairs = data.train_pairs if pairs is None else pairs
        self.image_size = image_size
        self.augment = augment
        self.warp = warp
        self.deformations: np.ndarray | None = None
        self.seed = seed
        if not self.pairs:
            raise UserError(_("no pair is left to train on: add characters or lower --split_ratio"))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Item] | UserError:
        """A batch; or the reason why there is none, returned: an exception from a worker would be a traceback."""
        try:
            return [self[key] for key in keys]
        except OSError as error:
            return UserError(
                _("the data can't be read any more: {file}: {reason}", file=error.filename, reason=error.strerror)
            )
        except UserError as error:
            return UserError(_("the data can't be read any more: {error}", error=error))

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        pair = self.pairs[index]
        move = self._movement(epoch, index) if self.augment else None
        item = pair[0], *self.data.render_pair(pair, self.image_size, move)
        if self.deformations is None:
            return item
        return *item, carried(self.deformations[index], move or Movement())

    def _movement(self, epoch: int, index: int) -> Movement:
        generator = np.random.default_rng((self.seed, epoch, index))
        if self.warp == 0:
            return Movement.scaling(generator.uniform(*SCALE), *generator.uniform(-SHIFT, SHIFT, 2))
        return warped(generator, self.warp)


def warped(generator: np.random.Generator, by: float) -> Movement:
    """A random affine map that stretches, shears, turns and shifts `by` times as far as STRETCH, SHEAR and so on."""
    most = by * np.array([STRETCH, STRETCH, SHEAR, TURN, WARPED_SHIFT, WARPED_SHIFT])
    x, y, lean, angle, dx, dy = generator.uniform(-most, most).tolist()
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ [[1, lean], [0, 1]] @ np.diag([1 + x, 1 + y])
    (xx, xy), (yx, yy) = matrix.tolist()
    return Movement(xx, xy, yx, yy, dx, dy)


def carried(deformation: np.ndarray, move: Movement) -> np.ndarray:
    """The deformation [2, G, G], as in `model.deform`, of a pair whose glyphs are both moved."""
    count = deformation.shape[-1]
    matrix = np.array([[move.xx, -move.xy], [-move.yx, move.yy]])  # y downwards
    shift = 2 * np.array([move.dx, -move.dy])
    line = np.linspace(-1, 1, count)
    points = np.stack(np.meshgrid(line, line)).reshape(2, -1)  # x, y
    before = np.linalg.solve(matrix, points - shift[:, None])
    rows = ((before[::-1] + 1) / 2 * (count - 1)).reshape(2, count, count)
    moved = np.stack([ndimage.map_coordinates(part, rows, order=1, mode="nearest") for part in deformation])
    return np.tensordot(matrix, moved, 1).astype(np.float32)


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


def collate(items: Sequence[Item] | UserError) -> Batch | UserError:
    """Stack items into label int64 [N], source uint8 [N, S, S], target uint8 [N, S, S], or [N, S, S, 3], and so on."""
    if isinstance(items, UserError):
        return items
    labels, *others = zip(*items, strict=True)
    return torch.tensor(labels), *(torch.from_numpy(np.stack(arrays)) for arrays in others)


@contextlib.contextmanager
def training_batches(
    dataset: Dataset, sampler: ResumableSampler, num_workers: int, pin_memory: bool
) -> Iterator[Iterator[Batch | UserError]]:
    """Endless collated batches in the sampler's order, a UserError in place of one that fails.

    Raises:
        Failure: when a worker is killed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of more workers than cores; they were asked for
        batches: Any = iter(
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
                _(
                    "a process that renders glyphs was killed, perhaps for want of memory: "
                    "continue with --resume latest --num_workers 0"
                )
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
