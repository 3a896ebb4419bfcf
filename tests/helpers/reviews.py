"""An experiment whose drawings can be reviewed, without a training: the glyphs of a font stand for drawings."""

import json
from pathlib import Path

from tests.helpers.exports import SOURCE, TARGET
from utils.data.font_pairs import FontData, Split
from utils.experiment.config import FORMAT
from utils.glyphs.charset import codepoint_name, read_charset
from utils.glyphs.render import GlyphRenderer
from utils.images import save_image

MODEL = {
    **{"image_size": 64, "input_nc": 1, "ngf": 4, "ndf": 2, "embedding_num": 1, "embedding_dim": 8},
    **{"norm_type": "batch", "up_mode": "upsample", "g_blur": True, "d_blur": False, "generator": "residual"},
}


def reviewable(root: Path, characters: str, charset: str, size: int = 64, source: str = SOURCE) -> Path:
    """An experiment that was trained on `charset` and has drawn `characters`, ranked from the last to the first."""
    data = FontData.from_fonts(source, [TARGET], [], charset, Split(0.1, 777))
    config = {"format": FORMAT, "model": MODEL, "data": data.describe(), "training": {}}
    folder = root / "infer" / "0"
    folder.mkdir(parents=True)
    (root / "config.json").write_text(json.dumps(config), encoding="utf-8")
    font, entries, suspects = GlyphRenderer(source), [], []
    for character in characters:
        name = codepoint_name(character)
        save_image(font.render(character, size), folder / f"{name}.png")
        entries.append({"character": character, "codepoint": name, "label": 0, "file": f"0/{name}.png", "step": 150})
        suspects.insert(0, {**entries[-1], "score": float(len(entries)), "reasons": ["parts", "greyness"]})
    (root / "infer" / "manifest.json").write_text(json.dumps({"characters": entries}), encoding="utf-8")
    (root / "infer" / "suspects.json").write_text(json.dumps({"suspects": suspects}), encoding="utf-8")
    return root


def big5(count: int) -> str:
    """So many characters of Big5 level 1."""
    return read_charset("big5_1")[:count]
