"""Opening the data and the fonts of an experiment."""

import logging
from collections.abc import Sequence
from typing import Any

from utils.data.font_pairs import FontData, open_recorded_font
from utils.data.pairs import PairData
from utils.data.record_pairs import RecordData
from utils.errors import UserError
from utils.glyphs.charset import read_charset
from utils.glyphs.placement import place_in_frame
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.series import FontSeries
from utils.messages import _

logger = logging.getLogger(__name__)


def data_from_config(
    data: dict[str, Any],
    src_font: str | None = None,
    dst_fonts: Sequence[str] | None = None,
    dst_imgs: Sequence[str] | None = None,
    data_dir: str | None = None,
) -> PairData:
    """Open the data that config.json describes; the further arguments say where things lie now, if they have moved.

    Raises:
        UserError: when something is gone, is another one, or was never part of the experiment.
    """
    if data["kind"] == "records":
        if src_font or dst_fonts or dst_imgs:
            raise UserError(_("this experiment was trained on pictures, not fonts: leave out --src_font and the like"))
        return RecordData.from_config(data, data_dir)
    if data_dir:
        raise UserError(_("this experiment was trained on fonts: leave out --data_dir"))
    return FontData.from_config(data, src_font, dst_fonts, dst_imgs)


def source_font(spec: str | None, record: dict) -> GlyphRenderer:
    """The font to draw from: that of the training, placed as in training, or another, placed by its own em."""

    if spec is None:
        return open_recorded_font(record, kind=FontSeries)
    font = FontSeries(spec)
    if font.sha256() == record["sha256"]:
        return open_recorded_font(record, spec, FontSeries)
    logger.info(
        _(
            "{name} is not {other}, the source font of the training: its drawings may be worse",
            name=font.name,
            other=record["name"],
        )
    )
    return font


def framed_font(spec: str, frame: list[float] | None) -> GlyphRenderer:
    """A font to draw from with weights that were trained on pictures, placed as the glyphs in those were."""

    font = FontSeries(spec)
    if frame:
        font.place(place_in_frame(font, read_charset("big5_1")[::20], frame))
    return font
