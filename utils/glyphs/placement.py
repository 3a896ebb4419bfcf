"""From an em box to a canvas and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from utils.images import PAPER, resample

Box = tuple[float, float, float, float]  # left, bottom, right, top on a canvas of side 1, y upwards
EM_SHARE = 0.86  # of the canvas; the rest is margin, so that overshooting strokes are not clipped
FINER = 2  # times as many pixels a side while a picture is turned, which would blur it


class Movement(NamedTuple):
    """An affine map of the canvas about its centre, then a shift, as shares of the canvas, y upwards.

    A point (x, y) away from the centre goes to (xx x + xy y + dx, yx x + yy y + dy).
    """

    xx: float = 1.0
    xy: float = 0.0
    yx: float = 0.0
    yy: float = 1.0
    dx: float = 0.0
    dy: float = 0.0

    @classmethod
    def scaling(cls, scale: float, dx: float = 0.0, dy: float = 0.0) -> "Movement":
        """The same scale in all directions, then a shift."""
        return cls(xx=scale, yy=scale, dx=dx, dy=dy)

    @property
    def is_scaling(self) -> bool:
        """Whether squares stay upright squares."""
        return self.xx == self.yy and self.xy == self.yx == 0

    def of(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the canvas goes."""
        x, y = x - 0.5, y - 0.5
        return self.xx * x + self.xy * y + 0.5 + self.dx, self.yx * x + self.yy * y + 0.5 + self.dy

    def inverse(self) -> "Movement":
        """The map back."""
        xx, xy, yx, yy = np.linalg.inv([[self.xx, self.xy], [self.yx, self.yy]]).ravel().tolist()
        return Movement(xx, xy, yx, yy, -(xx * self.dx + xy * self.dy), -(yx * self.dx + yy * self.dy))


@dataclass(frozen=True)
class Placement:
    """Where a font's em lies on a canvas of side 1, y upwards: canvas = units / units_per_em * em + (x, y)."""

    units_per_em: int
    em: float  # side of the em on the canvas
    x: float  # canvas position of the origin of a glyph
    y: float  # canvas position of the baseline

    @classmethod
    def centred(cls, units_per_em: int, descender: int) -> "Placement":
        """The em, which begins at `descender` units, in the middle of the canvas."""
        margin = (1 - EM_SHARE) / 2
        return cls(units_per_em, EM_SHARE, margin, margin - descender / units_per_em * EM_SHARE)

    def scaled(self, scale: float, dx: float, dy: float) -> "Placement":
        """The same placement on a canvas that is scaled about its centre, then shifted."""
        x, y = Movement.scaling(scale, dx, dy).of(self.x, self.y)
        return Placement(self.units_per_em, self.em * scale, x, y)


def on_canvas(
    picture: Image.Image, image_size: int, left: float, bottom: float, side: float, move: Movement | None = None
) -> np.ndarray:
    """A square picture on a canvas of side 1, y upwards, which is then moved: as `resample`, in the same form."""
    if move is not None and move.is_scaling:
        (left, bottom), side, move = move.of(left, bottom), side * move.xx, None
    if move is None:
        return resample(picture, image_size, left, 1 - bottom - side, side)
    large = image_size * FINER
    canvas = Image.fromarray(resample(picture, large, left, 1 - bottom - side, side))
    back = move.inverse()
    x, y = back.of(0, 1)  # where the upper left corner comes from
    rows = (back.xx, -back.xy, x * large), (-back.yx, back.yy, (1 - y) * large)
    fill = PAPER if canvas.mode == "L" else (PAPER,) * 3
    moved = canvas.transform(
        canvas.size, Image.Transform.AFFINE, (*rows[0], *rows[1]), Image.Resampling.BICUBIC, fillcolor=fill
    )
    return np.asarray(moved.reduce(FINER))


class Placed(Protocol):
    """A font, or a folder of drawings, that lies on a canvas."""

    @property
    def placement(self) -> Placement:
        """Where."""
        ...

    def ink_box(self, character: str, /) -> Box | None:
        """Left, bottom, right, top of the ink on a canvas of side 1, y upwards; None without any."""
        ...


def align(target: Placed, source: Placed, characters: str) -> Placement:
    """A placement of `target` whose median ink box matches that of `source`.

    One further scale and shift for the whole font: skip connections learn best from aligned
    pairs. Measured on up to 300 of `characters`, evenly spread, which both fonts must cover.
    """
    chosen = characters[:: max(1, len(characters) // 300)]
    both = [(source.ink_box(character), target.ink_box(character)) for character in chosen]
    boxes = [(goal, box) for goal, box in both if goal is not None and box is not None]
    if not boxes:
        return target.placement

    scale = median(side(from_source) for from_source, _ in boxes) / median(side(box) for _, box in boxes)
    scale = min(max(scale, 0.5), 2.0)
    shift = [
        median(centre(goal, axis) - ((centre(box, axis) - 0.5) * scale + 0.5) for goal, box in boxes) for axis in (0, 1)
    ]
    return target.placement.scaled(scale, *shift)


def side(box: Box) -> float:
    """The longer side of an ink box."""
    return max(box[2] - box[0], box[3] - box[1])


def centre(box: Box, axis: int) -> float:
    """The middle of an ink box along x (0) or y (1)."""
    return (box[axis] + box[axis + 2]) / 2


def median_frame(boxes: Sequence[Box]) -> tuple[float, float, float]:
    """The median side and centre of ink boxes: what is known of the placement of pictures without a font."""
    return median(map(side, boxes)), median(centre(box, 0) for box in boxes), median(centre(box, 1) for box in boxes)


def place_in_frame(font: Placed, characters: str, frame: Sequence[float]) -> Placement:
    """A placement of `font` at which the frame of `characters`, as far as it covers them, is `frame`."""
    boxes = [box for box in map(font.ink_box, characters) if box is not None]
    if not boxes:
        return font.placement
    own = median_frame(boxes)
    scale = frame[0] / own[0]
    return font.placement.scaled(scale, *(frame[i] - ((own[i] - 0.5) * scale + 0.5) for i in (1, 2)))
