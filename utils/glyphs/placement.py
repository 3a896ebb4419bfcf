"""From an em box to a canvas and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, Protocol

Box = tuple[float, float, float, float]  # left, bottom, right, top on a canvas of side 1, y upwards
EM_SHARE = 0.86  # of the canvas; the rest is margin, so that overshooting strokes are not clipped


class Movement(NamedTuple):
    """Scaling about the centre of the canvas, then a shift, as shares of the canvas, y upwards."""

    scale: float
    dx: float
    dy: float


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

    def moved(self, move: Movement) -> "Placement":
        """The same placement on a canvas that is moved."""
        x, y = ((value - 0.5) * move.scale + 0.5 for value in (self.x, self.y))
        return Placement(self.units_per_em, self.em * move.scale, x + move.dx, y + move.dy)


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
    return target.placement.moved(Movement(scale, *shift))


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
    return font.placement.moved(Movement(scale, *(frame[i] - ((own[i] - 0.5) * scale + 0.5) for i in (1, 2))))
