"""Glyphs that another font lends: what is neither drawn nor in the base would be boxes."""

import io
from collections.abc import Iterator
from typing import Any

from fontTools.misc.transform import Scale
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.reverseContourPen import ReverseContourPen
from fontTools.pens.roundingPen import RoundingPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

from utils.errors import UserError
from utils.fonts.glyph import OutlinedGlyph
from utils.fonts.layout import vertical_metrics
from utils.glyphs.charset import read_charset
from utils.glyphs.font_file import FontFile, table, unicode_cmap
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.spec import one_font_file
from utils.messages import _

COPYRIGHT, LICENCE, LICENCE_URL = 0, 13, 14  # entries of a name table


class Filling:
    """A font that lends glyphs as they are, scaled to the em; `charset` tells of which characters, None: of all it has.

    Raises:
        UserError: when it can't be read, or has none of them.
    """

    def __init__(self, spec: str, charset: str | None = None):
        self.spec = spec
        self.file: FontFile = one_font_file(spec, "--fill")
        self.glyphs = GlyphRenderer(spec)
        with self.file.open_as_it_is() as font:
            named = unicode_cmap(font) or {}  # FreeType makes up a cmap where there is none
        offered = "".join(c for c in self.glyphs.covered() if ord(c) in named)
        wanted = None if charset is None else set(read_charset(charset, self.glyphs.covered))
        self.offered = "".join(c for c in offered if wanted is None or c in wanted)
        if not self.offered:
            raise UserError(
                _("--fill {spec} has no character of {charset}", spec=spec, charset=charset)
                if charset
                else _("--fill {spec} has no glyph", spec=spec)
            )

    @property
    def terms(self) -> str:
        """What the font says of its copyright and licence, in one line."""
        with self.file.open_as_it_is() as font:
            names: Any = font.get("name")
            found = [names.getDebugName(number) for number in (COPYRIGHT, LICENCE, LICENCE_URL)] if names else []
            return "; ".join(" ".join(text.split()) for text in found if text) or _("it says nothing of its licence")

    def lent(self, characters: str, units_per_em: int) -> Iterator[OutlinedGlyph]:
        """The glyphs of `characters`, which the font has, in units of another font."""
        font = TTFont(io.BytesIO(self.file.alone()), lazy=True)
        scale = units_per_em / table(font, "head").unitsPerEm
        outlines, names = font.getGlyphSet(), unicode_cmap(font) or {}
        widths, vertical = table(font, "hmtx").metrics, vertical_metrics(self.glyphs)
        for character in characters:
            name = names[ord(character)]
            recording = DecomposingRecordingPen(outlines)
            pen: Any = RoundingPen(recording)
            pen = TransformPen(pen, Scale(scale)) if scale != 1 else recording
            # In a CFF table outlines turn the other way round.
            outlines[name].draw(pen if "glyf" in font else ReverseContourPen(pen))
            measures = vertical(character)
            height, top = (None, None) if measures is None else (round(value * scale) for value in measures)
            yield OutlinedGlyph(character, round(widths[name][0] * scale), recording.value, height, top)
