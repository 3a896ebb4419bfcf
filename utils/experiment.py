"""What lies in an experiment folder, and its config.json."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.cli import UserError
from utils.dataset import PairData
from utils.files import write_whole
from utils.font_data import FontData
from utils.record_data import RecordData
from utils.schema import config_fault

FORMAT = 2  # of config.json
LARGEST = 32_000_000  # bytes of a config.json that is read


@dataclass(frozen=True)
class Paths:
    """Where things lie in an experiment folder; the one place for these names."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def sample(self) -> Path:
        return self.root / "sample"

    @property
    def losses_csv(self) -> Path:
        return self.root / "losses.csv"

    @property
    def losses_png(self) -> Path:
        return self.root / "losses.png"

    @property
    def quality_csv(self) -> Path:
        return self.root / "quality.csv"

    @property
    def quality_png(self) -> Path:
        return self.root / "quality.png"

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    def sample_sheet(self, step: int) -> Path:
        return self.sample / f"{step:06d}.png"


def read_config(paths: Paths) -> dict[str, Any] | None:
    """The experiment's config.json, or None when there is none.

    Raises:
        UserError: when it can't be read.
    """
    if not paths.config.is_file():
        return None
    if paths.config.stat().st_size > LARGEST:
        raise UserError(f"{paths.config} can't be read: it is larger than any config can be")
    try:
        config = json.loads(paths.config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{paths.config} can't be read: {error}") from error
    if not isinstance(config, dict) or not {"model", "data", "training"} <= config.keys():
        raise UserError(f"{paths.config} is not the config of an experiment")
    if config.get("format") != FORMAT:
        raise UserError(f"{paths.config} was written by another version of this program")
    wrong = config_fault(config)
    if wrong is not None:
        raise UserError(f"{paths.config} is damaged: {wrong}")
    return config


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    # What is left of a file name that is not UTF-8 is escaped as JSON escapes it, and is read back as it was.
    write_whole(path, text.encode("utf-8", "backslashreplace"), durable=True)


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
            raise UserError("this experiment was trained on pictures, not fonts: leave out --src_font and the like")
        return RecordData.from_config(data, data_dir)
    if data_dir:
        raise UserError("this experiment was trained on fonts: leave out --data_dir")
    return FontData.from_config(data, src_font, dst_fonts, dst_imgs)
