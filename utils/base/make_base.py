"""Make the files of the base from an experiment: its EMA weights in half precision, and its config.json.

    python utils/base/make_base.py experiments/base

The SHA-256 that is printed belongs in utils/training/base.py.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.experiment import checkpoint
from utils.experiment.config import Paths, read_config
from utils.experiment.weights import find_weights, weights_folder

HERE = Path(__file__).resolve().parent


def main(argv: list[str]) -> None:
    if len(argv) != 1:
        raise SystemExit(__doc__)
    paths = Paths(Path(argv[0]))
    config, weights = read_config(paths), find_weights(weights_folder(paths), "latest", "ema")
    if config is None:
        raise SystemExit(f"{paths.config} is not there")
    state = {name: value.half() if value.is_floating_point() else value for name, value in weights.state_dict.items()}
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise SystemExit("a weight is too large for half precision")
    path = checkpoint.part_path(HERE, weights.step, checkpoint.EMA_GENERATOR)
    torch.save(state, path)
    for font in (config["data"]["src_font"], *config["data"]["targets"]):
        font["spec"] = Path(font["spec"]).name  # wherever it lay
    config["data"]["lacking"], config["training"] = {}, {}
    (HERE / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(sys.argv[1:])
