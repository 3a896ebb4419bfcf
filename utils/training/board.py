"""TensorBoard's event files of a run: losses, learning rate, scores, sheets."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.messages import _
from utils.training.report import HEADINGS

EVENTS = "events.out.tfevents.*"  # its files


def check_installed() -> None:
    """Raise UserError when TensorBoard is not installed."""
    if not find_spec("tensorboard"):
        extra = "utils/requirements/tensorboard.txt"
        raise UserError(
            _("--tensorboard needs TensorBoard: python -m pip install -r {extra} (or --no-tensorboard)", extra=extra)
        )


class Board:
    """Writes to `folder` where there is one. What a run that is resumed at `step` wrote later is not shown any more."""

    def __init__(self, folder: Path | None, step: int):
        self._writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter  # an extra, which takes a second to load

            self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def losses(self, step: int, values: Mapping[str, float], lr: float) -> None:
        """The mean losses of the last steps, and the learning rate."""
        self._scalars(step, {f"losses/{name.removesuffix('_loss')}": value for name, value in values.items()})
        self._scalars(step, {"lr": lr})

    def scores(self, step: int, row: Mapping[str, float]) -> None:
        """A row of quality.csv: a chart for each measure."""
        for name, value in row.items():
            measure = max((known for known in HEADINGS if name.endswith(f"_{known}")), key=len, default=None)
            if measure is not None:
                self._scalars(step, {f"{measure}/{name.removesuffix(f'_{measure}')}": value})

    def sheet(self, step: int, path: Path) -> None:
        """A sheet of drawings."""
        if self._writer is not None:
            with Image.open(path) as picture:
                self._writer.add_image("sheet", np.array(picture.convert("RGB")), step, dataformats="HWC")
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
