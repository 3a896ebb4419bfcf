"""Pages to write glyphs on by hand, and the glyphs cut out of photos or scans of them.

A page has a mark in each corner (ArUco, Garrido-Jurado et al., Pattern Recognition 2014), which tells where the page
lies in a photo and which way up, a QR code with what is asked for, and cells: the em box, and above it the character
small. Lines lie outside of the em boxes, so that none is cut out with a glyph. Lengths are in millimetres.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from utils.errors import UserError
from utils.glyphs.charset import codepoint_name
from utils.glyphs.render import GlyphRenderer
from utils.messages import _

WIDTH, HEIGHT = 210.0, 297.0  # of A4
MARGIN, MARK = 12.0, 12.0  # from the edge of the page to the marks, and the side of a mark
HEAD = 32.0  # from the upper edge to the first row of cells
CODE = 26.0  # side of the QR code, in the middle at the top
LABEL, GAP = 6.0, 3.0  # height of what is above a cell, and space between cells
AWAY = 0.8  # from the em box to the line around it
DOTS = 300 / 25.4  # of a printed page, a millimetre
FINEST, COARSEST = 24.0, 8.0  # dots a millimetre that a photo is brought to, at most and at least
BACKGROUND = 12.0  # how far around the lightest paper is looked for
BLANK = 0.002  # share of a cell that is ink, at least, where something is written
CORE = 0.04  # of the side of a cell, along its edges, where ink of a neighbour's does not count as writing
AT_EDGE = 0.02  # share of the edge of a cell that is ink, at most
DARKER = 60  # grey levels that ink is darker than paper
FEWEST_MARKS = 3
VERSION = "ZI2ZI1"


class Cell(NamedTuple):
    """A cell of a page: the character, and the upper left corner of its em box."""

    character: str
    x: float
    y: float


@dataclass(frozen=True)
class PageForm:
    """What is asked for on a page: em boxes with sides of so many millimetres, and the characters."""

    side: float
    characters: str
    number: int = 1  # of the page

    def __post_init__(self):
        if not 12 <= self.side <= 60:
            raise UserError(_("--cell {side:g} is not from 12 to 60 millimetres", side=self.side))

    @property
    def columns(self) -> int:
        return int((WIDTH - 2 * MARGIN + GAP) // (self.side + GAP))

    @property
    def rows(self) -> int:
        return int((HEIGHT - HEAD - MARGIN - MARK - 2 + GAP) // (self.side + LABEL + GAP))

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells, row by row."""
        left = (WIDTH - self.columns * (self.side + GAP) + GAP) / 2
        places = ((left + (self.side + GAP) * (n % self.columns), n // self.columns) for n in range(10**6))
        step = self.side + LABEL + GAP
        return [Cell(c, x, HEAD + LABEL + row * step) for c, (x, row) in zip(self.characters, places, strict=False)]

    def code(self) -> str:
        """The text of the QR code, of letters that such a code packs densely."""
        points = ".".join(f"{ord(c):X}" for c in self.characters)
        return f"{VERSION}/{self.side:g}/{self.number}/{points}"

    @classmethod
    def from_code(cls, text: str) -> "PageForm":
        """The form that a code tells of.

        Raises:
            UserError: when it is none.
        """
        try:
            version, side, number, points = text.split("/")
            characters = "".join(chr(int(point, 16)) for point in points.split("."))
            form = cls(float(side), characters, int(number))
        except (ValueError, OverflowError) as error:
            raise UserError(_("has a code of something else")) from error
        if version != VERSION or len(characters) > form.columns * form.rows:
            raise UserError(_("has a code of something else"))
        return form


def page_forms(characters: str, side: float) -> list[PageForm]:
    """The pages for some characters."""
    empty = PageForm(side, "")
    each = empty.columns * empty.rows
    starts = range(0, len(characters), each)
    return [PageForm(side, characters[start : start + each], n) for n, start in enumerate(starts, 1)]


def draw_page(form: PageForm, font: GlyphRenderer, count: int) -> Image.Image:
    """A page as a printer has it, black and white; `font` draws the small characters, `count` is that of the pages."""
    page = Image.new("L", (_dots(WIDTH), _dots(HEIGHT)), 255)
    pen, text = ImageDraw.Draw(page), ImageFont.load_default(_dots(2.4))
    for mark, (x, y) in enumerate(mark_places()):
        page.paste(_mark(mark, _dots(MARK)), (_dots(x), _dots(y)))
    code = _code(form.code(), _dots(CODE))
    page.paste(code, (_dots((WIDTH - CODE) / 2), _dots(4.0)))
    pen.text((_dots(MARGIN + MARK + 4), _dots(MARGIN)), f"page {form.number} of {count}", fill=0, font=text)
    for character, x, y in form.cells:
        edges = (x - AWAY, y - AWAY, x + form.side + AWAY, y + form.side + AWAY)
        pen.rectangle(tuple(map(_dots, edges)), outline=0, width=max(1, _dots(0.12)))
        small = LABEL - 1.6
        if font.covers(character):
            glyph = Image.fromarray(font.render(character, _dots(small)))
            page.paste(glyph, (_dots(x), _dots(y - LABEL + 0.4)))
        pen.text((_dots(x + small + 1), _dots(y - LABEL + 1.6)), codepoint_name(character), fill=0, font=text)
    return page.convert("1", dither=Image.Dither.NONE)


def mark_places() -> list[tuple[float, float]]:
    """The upper left corners of the marks: at the upper left, upper right, lower right and lower left of the page."""
    right, low = WIDTH - MARGIN - MARK, HEIGHT - MARGIN - MARK
    return [(MARGIN, MARGIN), (right, MARGIN), (right, low), (MARGIN, low)]


def read_page(photo: np.ndarray) -> tuple[PageForm, Iterator[tuple[str, np.ndarray]]]:
    """The glyphs that are written on a photographed page, uint8 [H, W]: its form, and each em box, uint8 [S, S].

    What is left blank is left out.

    Raises:
        UserError: when the marks or the code can't be found; or OpenCV is not installed.
    """
    cv2 = opencv()
    detector = cv2.aruco.ArucoDetector(_dictionary(), _careful())
    found, numbers, _rejected = detector.detectMarkers(photo)
    known = {int(n): corners[0] for n, corners in zip([] if numbers is None else numbers.ravel(), found, strict=True)}
    marks = [n for n in range(4) if n in known]
    if len(marks) < FEWEST_MARKS:
        raise UserError(
            _("shows {count} of the four corner marks: photograph the whole page, flat and in focus", count=len(marks))
        )
    seen = np.concatenate([known[n] for n in marks]).astype(np.float32)
    there = np.concatenate([_corners(*mark_places()[n], MARK) for n in marks]).astype(np.float32)
    scale = float(np.clip(_dots_in(seen, there), COARSEST, FINEST))
    transform, _kept = cv2.findHomography(seen, there * scale)
    size = round(WIDTH * scale), round(HEIGHT * scale)
    page = cv2.warpPerspective(photo, transform, size, flags=cv2.INTER_CUBIC, borderValue=255)
    form = PageForm.from_code(_read_code(page, scale))
    page = evened(page, scale)
    return form, _written(page, form, scale)


def _written(page: np.ndarray, form: PageForm, scale: float) -> Iterator[tuple[str, np.ndarray]]:
    for character, x, y in form.cells:
        side = round(form.side * scale)
        left, top = round(x * scale), round(y * scale)
        cell = page[top : top + side, left : left + side]
        inset = max(1, round(CORE * side))
        if (cell[inset:-inset, inset:-inset] < 255 - DARKER).mean() >= BLANK:
            yield character, cell


def evened(page: np.ndarray, scale: float) -> np.ndarray:
    """A page uint8 [H, W] whose paper is white everywhere: shadows and the fall of the light are divided out."""
    step = max(1, round(scale))  # a millimetre
    high, wide = (length // step * step for length in page.shape)
    small = page[:high, :wide].reshape(high // step, step, wide // step, step).mean((1, 3), dtype=np.float32)
    reach = 2 * round(BACKGROUND) + 1
    paper = ndimage.gaussian_filter(ndimage.percentile_filter(small, 90, reach), BACKGROUND / 2)
    rows, columns = page.shape
    paper = np.asarray(Image.fromarray(paper).resize((columns, rows), Image.Resampling.BILINEAR))
    return np.clip(page / np.maximum(paper, 1) * 255, 0, 255).astype(np.uint8)


def opencv() -> Any:
    """OpenCV, an extra.

    Raises:
        UserError: when it is not installed.
    """
    if not find_spec("cv2"):
        raise UserError(_("pages need an extra: python -m pip install -r utils/requirements/scan.txt"))
    return importlib.import_module("cv2")


def _dictionary() -> Any:
    cv2 = opencv()
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)


def _careful() -> Any:
    """How marks are looked for: to a fraction of a pixel."""
    cv2 = opencv()
    how = cv2.aruco.DetectorParameters()
    how.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return how


def _mark(number: int, side: int) -> Image.Image:
    return Image.fromarray(opencv().aruco.generateImageMarker(_dictionary(), number, side))


def _code(text: str, side: int) -> Image.Image:
    code = opencv().QRCodeEncoder.create().encode(text)
    each = side // len(code)
    side = each * len(code)
    return Image.fromarray(code).resize((side, side), Image.Resampling.NEAREST)


def _read_code(page: np.ndarray, scale: float) -> str:
    """The text of the code on a page that lies straight."""
    edges = [round(edge * scale) for edge in ((WIDTH - CODE) / 2 - 3, 1.0, (WIDTH + CODE) / 2 + 3, 4.0 + CODE + 3)]
    part = page[edges[1] : edges[3], edges[0] : edges[2]]
    # One finds what another does not, and each depends on how large the code is.
    detectors = [kind() for kind in (opencv().QRCodeDetectorAruco, opencv().QRCodeDetector)]
    for times in (1.0, 2.0, 0.5, 3.0):
        side = round(part.shape[1] * times), round(part.shape[0] * times)
        scaled = np.asarray(Image.fromarray(part).resize(side, Image.Resampling.BICUBIC))
        for detector in detectors:
            text, *_rest = detector.detectAndDecode(scaled)
            if text:
                return text
    raise UserError(_("has a code that can't be read: photograph it sharper, or in better light"))


def _corners(x: float, y: float, side: float) -> np.ndarray:
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])


def _dots_in(seen: np.ndarray, there: np.ndarray) -> float:
    """Pixels of a photo in a millimetre of the page, about."""
    return float(np.linalg.norm(np.ptp(seen, 0)) / np.linalg.norm(np.ptp(there, 0)))


def _dots(length: float) -> int:
    return round(length * DOTS)


def cut_off(cells: Mapping[str, np.ndarray]) -> str:
    """The characters whose ink reaches the edge of their cell: it was written beyond, or the page was not flat."""
    edges = {c: np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]]) for c, cell in cells.items()}
    return "".join(c for c, edge in edges.items() if (edge < 255 - DARKER).mean() > AT_EDGE)


def left_out(form: PageForm, written: Sequence[str]) -> str:
    """The characters of a page that were left blank."""
    return "".join(c for c in form.characters if c not in written)
