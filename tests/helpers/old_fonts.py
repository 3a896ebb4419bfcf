"""Fonts as old programs wrote them."""

from pathlib import Path

from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.DefaultTable import DefaultTable


def short_os2(path: Path, length: int, out: Path) -> Path:
    """A font whose OS/2 table is cut short, as those of the first Windows are."""
    with TTFont(path) as font:
        cut = DefaultTable("OS/2")
        cut.data = font.getTableData("OS/2")[:length]
        del font["OS/2"]
        font["OS/2"] = cut
        font.save(out)
    return out
