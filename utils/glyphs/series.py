"""A source in several fonts, each for the characters that those before it lack."""

import itertools
from collections.abc import Sequence

import numpy as np

from utils.errors import UserError
from utils.glyphs.charset import is_han
from utils.glyphs.font_file import FontFile
from utils.glyphs.placement import Box, Movement, Placement, median_frame, place_in_frame
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import font_files
from utils.messages import _

MEASURED = 300  # ideographs of a font whose ink boxes are looked at


class FontSeries(GlyphRenderer):
    """A font, and further ones: a character is drawn from the first that covers it.

    Joined by `+` in `spec`, as slices are: files that agree in family, style and units per em are slices of one font.
    A further font is placed by its own em, and then scaled and moved once so that the median ink box of its ideographs
    is that of the first font's. Placement, name, SHA-256 and metrics are those of the first.

    Raises:
        UserError: as a `GlyphRenderer`, of any of the fonts.
    """

    def __init__(self, spec: str, placement: Placement | None = None):
        first, *others = by_font(font_files(spec), spec)
        super().__init__(spec, placement, first)
        further = [GlyphRenderer("+".join(file.full_name for file in files), files=files) for files in others]
        self._series = [GlyphRenderer(spec, self.placement, first), *further]
        self._match()

    @property
    def fonts(self) -> list[GlyphRenderer]:
        return self._series

    def place(self, placement: Placement) -> None:
        self.placement = self.fonts[0].placement = placement
        self._match()

    def _match(self) -> None:
        """Place the further fonts beside the first."""
        first, *further = self.fonts
        of_first = ideographs(first) if further else ""
        for font in further:
            own, known = ideographs(font), of_first
            if not (own and known):  # what both have is as large in one as in the other; with nothing, the em tells
                own = known = "".join(filter(first.covers, font.covered()))
            boxes = [box for box in map(first.ink_box, some(known)) if box is not None]
            font.placement = font.em_placement()
            if boxes:
                font.placement = place_in_frame(font, some(own), median_frame(boxes))

    def font_of(self, character: str) -> GlyphRenderer:
        return next((font for font in self.fonts if font.covers(character)), self.fonts[0])

    def covers(self, character: str) -> bool:
        return any(font.covers(character) for font in self.fonts)

    def covers_itself(self, character: str) -> bool:
        return self.fonts[0].covers(character)

    @property
    def placeholders(self) -> frozenset[str]:
        return self.fonts[0].placeholders

    def take_placeholders_for_glyphs(self) -> None:
        self.fonts[0].take_placeholders_for_glyphs()

    def codepoints(self) -> list[int]:
        return sorted(set(itertools.chain.from_iterable(font.codepoints() for font in self.fonts)))

    def ink_box(self, character: str) -> Box | None:
        return self.font_of(character).ink_box(character)

    def render(self, character: str, image_size: int, move: Movement | None = None) -> np.ndarray:
        return self.font_of(character).render(character, image_size, move)

    @property
    def ideograph_advance(self) -> int | None:
        return self.fonts[0].ideograph_advance

    @property
    def title(self) -> str:
        return _("; for what it lacks ").join(font.title for font in self.fonts)

    def describe(self) -> dict:
        found = super().describe()
        further = [font.describe() for font in self.fonts[1:]]
        if not further:
            return found
        spec = "+".join([found["spec"], *(each["spec"] for each in further)])
        return found | {"spec": spec, "further": [{key: each[key] for key in ("name", "sha256")} for each in further]}


def by_font(files: Sequence[FontFile], spec: str) -> list[list[FontFile]]:
    """The files of each font, in the order of the fonts.

    Raises:
        UserError: when a file can't be read.
    """
    fonts: dict[tuple, list[FontFile]] = {}
    for file in files:
        try:
            face = file.face()
        except UserError:
            raise
        # FreeType's binding documents no closed set of errors for damaged files.
        except Exception as error:
            reason = str(error).removeprefix("FT_Exception:").strip()
            raise UserError(
                _("font {spec} can't be read: {name}: {reason}", spec=spec, name=file.path.name, reason=reason)
            ) from error
        fonts.setdefault((face.family_name, face.style_name, face.units_per_EM), []).append(file)
    return list(fonts.values())


def ideographs(font: GlyphRenderer) -> str:
    """The ideographs that a font covers."""
    return "".join(c for c in font.covered() if is_han(ord(c)))


def some(characters: str) -> str:
    """Up to MEASURED of them, evenly spread."""
    return characters[:: max(1, -(-len(characters) // MEASURED))]
