"""What lies in an experiment folder, and its config.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.experiment.schema import config_fault
from utils.messages import _

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

    @property
    def live_report(self) -> Path:
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

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
        raise UserError(_("{config} can't be read: it is larger than any config can be", config=paths.config))
    try:
        config = json.loads(paths.config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(_("{config} can't be read: {error}", config=paths.config, error=error)) from error
    if not isinstance(config, dict) or not {"model", "data", "training"} <= config.keys():
        raise UserError(_("{config} is not the config of an experiment", config=paths.config))
    if config.get("format") != FORMAT:
        raise UserError(_("{config} was written by another version of this program", config=paths.config))
    wrong = config_fault(config)
    if wrong is not None:
        raise UserError(_("{config} is damaged: {wrong}", config=paths.config, wrong=wrong))
    if "sharpness" in config["model"]:  # where older experiments have it
        config["training"]["sharpness"] = config["model"].pop("sharpness")
    return config
