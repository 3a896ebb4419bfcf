"""From a grey glyph to outlines: closed contours of straight lines and cubic curves, with few points.

The outline is the 50% level of the anti-aliased image, found to a fraction of a pixel. It is cut at corners and at
extremes, and each piece is fitted by a straight line, or by the cubic of least squares whose ends keep their directions
(Schneider, "An Algorithm for Automatically Fitting Digitized Curves", Graphics Gems, 1990); what does not fit is cut in
two where it is worst, with one direction for both halves. All pieces are fitted at once, in flat arrays.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from utils.fonts.fit import TOLERANCE, Contour, Lattice, fit
from utils.outlines import level_lines, points_along

STEP = 0.75  # pixels between the points that an outline is sampled at


def trace(image: np.ndarray, tolerance: float = TOLERANCE, lattice: Lattice | None = None) -> list[Contour]:
    """The outlines of a grey glyph, uint8 [S, S], ink 0 on paper 255; pixel (0, 0) spans 0 to 1.

    Ink lies to the right of an outline in the direction it runs (seen with y downwards), so that holes run the
    other way round than what they are in. A blank image has none. With a `lattice` every segment ends on it.
    """
    return trace_all([image], tolerance, lattice)[0]


def trace_all(
    images: Sequence[np.ndarray], tolerance: float = TOLERANCE, lattice: Lattice | None = None
) -> list[list[Contour]]:
    """As `trace`, for each of several images: the pieces of all are fitted at once, which is faster."""
    outlines = [
        [samples for line in level_lines(image) if (samples := points_along(line, STEP)) is not None]
        for image in images
    ]
    all_of_them = list(itertools.chain.from_iterable(outlines))
    fitted = iter(fit(all_of_them, tolerance, lattice) if all_of_them else [])
    return [list(itertools.islice(fitted, len(own))) for own in outlines]


def to_svg(contours: list[Contour], side: int) -> str:
    """The outlines of an image of `side` pixels as an SVG document of one path, filled black."""

    def numbers(*points: tuple[float, float]) -> str:
        return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for point in points for value in point)

    path = ""
    for contour in contours:
        path += f"M{numbers(contour.start)}"
        for end, controls in contour.segments:
            path += f"C{numbers(*controls, end)}" if controls else f"L{numbers(end)}"
        path += "Z"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}"><path d="{path}"/></svg>\n'
