"""What draws glyphs: the interface that fonts, folders of drawings and records of pairs have in common."""

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np


class GlyphSource(Protocol):
    """Renders glyphs by their keys: characters, or the numbers of records."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def placeholders(self) -> Collection[str]:
        """Characters that only seem to be there: one outline stands for several of them."""
        ...

    def covers(self, key: Any, /) -> bool:
        """Whether there is such a glyph."""
        ...

    def render(self, key: Any, image_size: int, /) -> np.ndarray:
        """The glyph: uint8 [S, S], or [S, S, 3] in colour; ink is dark."""
        ...
