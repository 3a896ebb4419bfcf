"""The outline of a glyph: the closed lines of a level of its picture, found to a fraction of a pixel."""

import contourpy
import numpy as np

SMALLEST = 3.0  # square pixels: what is smaller is no contour


def level_lines(image: np.ndarray) -> list[np.ndarray]:
    """The closed lines of the 50% level of uint8 [S, S], [N, 2] as (x, y) without the repeated end.

    Pixel (0, 0) spans 0 to 1. Ink lies to the right of a line in the direction it runs (seen with y downwards).
    """
    left, top, right, bottom = bounds(image < 255)
    if left == right:
        return []
    ink = np.pad(255.0 - image[top:bottom, left:right], 1)  # paper all around closes every line
    generator = contourpy.contour_generator(z=ink, name="serial", line_type=contourpy.LineType.Separate)
    corner = np.array([left - 0.5, top - 0.5])
    return [np.asarray(line)[:-1] + corner for line in generator.lines(255 / 2)]


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is true in bool [H, W]; 0 where nothing is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def points_along(line: np.ndarray, step: float) -> np.ndarray | None:
    """Points of a closed line at equal distances of about `step` pixels; None where it is too small."""
    if abs(area(line)) < SMALLEST:
        return None
    closed = np.vstack([line, line[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    position = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(8, round(position[-1] / step))
    at = np.arange(count) * (position[-1] / count)
    return np.stack([np.interp(at, position, closed[:, axis]) for axis in (0, 1)], 1)


def area(line: np.ndarray) -> float:
    """The signed area within a closed line, positive where it runs clockwise with y downwards."""
    x, y = line.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
