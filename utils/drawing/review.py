"""A page to look through drawings on, and to mark them: one file, which a browser shows without a server."""

import base64
import io
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fontTools import unicodedata
from PIL import Image
from tqdm import tqdm

from utils.data.font_pairs import FontData
from utils.data.open import framed_font, source_font
from utils.data.pairs import evenly
from utils.drawing.suspects import REASONS
from utils.errors import UserError
from utils.experiment.config import Paths, read_config
from utils.experiment.manifest import find_drawings, read_manifest, read_suspects
from utils.experiment.marks import FORMAT, experiment_id
from utils.files import write_whole
from utils.glyphs.charset import NAMED, read_charset
from utils.glyphs.components import components
from utils.glyphs.render import GlyphRenderer
from utils.images import PAPER, read_image
from utils.labels import Label, heaviest, label_weights
from utils.messages import _
from utils.page import render

logger = logging.getLogger(__name__)

CELL = 96  # pixels of a glyph's side
ACROSS = 16  # glyphs of a row of a sprite, which is square
LEVELS = 16  # of grey in a sprite
MOST_OWN = 3000  # drawn glyphs of the target that are shown beside
NEIGHBOURS = 2  # of these, beside each drawing

Draw = Callable[[str], np.ndarray | None]  # a character to uint8 [CELL, CELL]; None where there is nothing to show


@dataclass(frozen=True)
class Review:
    """The drawings of one label, and what is known of them."""

    name: str  # of the experiment
    config: Mapping[str, Any]
    label: Label
    step: int | None
    drawings: Mapping[str, Path]  # by their characters
    ranked: Mapping[str, Mapping[str, Any]]  # what suspects.json tells of each character, the worst first
    source: GlyphRenderer
    truth: FontData | None  # the fonts of the training
    other: Mapping[str, Path] = field(default_factory=dict)  # drawings to compare with

    def order(self) -> list[str]:
        """The characters, the most suspicious first, then those that were not ranked."""
        return list(dict.fromkeys([*filter(self.drawings.__contains__, self.ranked), *self.drawings]))

    def own(self) -> str:
        """The characters that the target font itself has, of those that were compared in training."""
        if self.truth is None:
            return ""
        target = self.truth.targets[heaviest(self.label)]
        return "".join(evenly([c for c in self.truth.train + self.truth.held_out if target.covers(c)], MOST_OWN))

    def write(self, path: Path) -> None:
        """Write the page."""
        characters, own = self.order(), self.own()
        content = {
            **{"format": FORMAT, "experiment": experiment_id(self.config), "name": self.name},
            **{"label": self.label, "label_name": self._label_name(), "step": self.step},
            **{"cell": CELL, "across": ACROSS, "em": self._em(), "own": own, "compared": bool(self.other)},
            **self._glyphs(characters, own),
        }
        kinds = {"source": (characters, self._of_source), "drawn": (characters, self._of_file(self.drawings))}
        if self.other:
            kinds["other"] = (characters, self._of_file(self.other))
        kinds["own"] = (list(own), self._of_own)
        count = sum(len(chosen) for chosen, _ in kinds.values())
        with tqdm(total=count, desc="reviewing", unit="glyph", disable=None) as bar:
            sheets = [
                f'<script type="text/plain" id="{kind}-{number}">{sheet}</script>'
                for kind, (chosen, draw) in kinds.items()
                for number, sheet in enumerate(sprites(chosen, draw, bar.update))
            ]
        write_whole(path, render("review", content, images="blob:", more="\n".join(sheets)).encode("utf-8"))

    def _label_name(self) -> str:
        labels = self.config["data"]["labels"]
        return labels[self.label] if isinstance(self.label, int) and self.label < len(labels) else str(self.label)

    def _em(self) -> float:
        """The em of the drawings, as a share of the canvas."""
        targets = self.config["data"].get("targets")
        return targets[heaviest(self.label)]["placement"]["em"] if targets else self.source.placement.em

    def _glyphs(self, characters: Sequence[str], own: str) -> dict[str, Any]:
        """What the page knows of each glyph: code point, score, reasons, block, charsets, neighbours."""
        blocks = [unicodedata.block(character) for character in characters]
        known_blocks = sorted(set(blocks))
        charsets = {name: set(read_charset(name)) for name in NAMED}
        codes = list(REASONS)
        near = neighbours(characters, own)
        glyphs = []
        for character, block, beside in zip(characters, blocks, near, strict=True):
            entry = self.ranked.get(character, {})
            reasons = [codes.index(code) for code in entry.get("reasons", []) if code in codes]
            within = sum(1 << number for number, known in enumerate(charsets.values()) if character in known)
            glyphs.append([ord(character), entry.get("score"), reasons, known_blocks.index(block), within, beside])
        return {"glyphs": glyphs, "reasons": codes, "blocks": known_blocks, "charsets": list(charsets)}

    def _of_source(self, character: str) -> np.ndarray | None:
        return self.source.render(character, CELL) if self.source.covers(character) else None

    def _of_own(self, character: str) -> np.ndarray | None:
        target = self.truth.targets[heaviest(self.label)] if self.truth else None
        return target.render(character, CELL) if target is not None else None

    @staticmethod
    def _of_file(drawings: Mapping[str, Path]) -> Draw:
        def draw(character: str) -> np.ndarray | None:
            path = drawings.get(character)
            if path is None or not path.is_file():
                return None
            try:
                return np.asarray(read_image(path.read_bytes()).resize((CELL, CELL), Image.Resampling.BOX))
            except UserError as error:
                logger.error(_("{path} {error}: it is not shown", path=path, error=error))
                return None

        return draw


def open_review(experiment: Path, folder: Path, label: Label, src_font: str | None, other: str | None) -> Review:
    """The drawings of `label` in `folder`, which were made with the experiment.

    Raises:
        UserError: when there are none, or their source font is not known.
    """
    config = read_config(Paths(experiment))
    if config is None:
        raise UserError(
            _(
                "{experiment} has no config.json: name the experiment of the drawings with --experiment_dir",
                experiment=experiment,
            )
        )
    data = config["data"]
    if data["kind"] != "fonts" and src_font is None:
        raise UserError(_("the experiment was trained on pictures: name the font of the drawings with --src_font"))
    if data["kind"] == "fonts":
        source = source_font(src_font, data["src_font"])
    else:
        source = framed_font(src_font or "", data.get("frame"))
    review = review_of(experiment, config, folder, label, source, find_truth(data, src_font))
    return replace(review, other=find_other(Path(other), label)) if other else review


def review_of(
    experiment: Path,
    config: Mapping[str, Any],
    folder: Path,
    label: Label,
    source: GlyphRenderer,
    truth: FontData | None,
) -> Review:
    """As `open_review`, with fonts that are open.

    Raises:
        UserError: when there are none.
    """
    count = len(config["data"]["labels"])
    if max(label_weights(label)) >= count:
        raise UserError(_("--label {label}: the experiment has {count} labels, from 0", label=label, count=count))
    drawings = find_drawings(folder, label)
    ranked: dict[str, dict[str, Any]] = {}
    if (folder / "suspects.json").is_file():
        ranked = read_suspects(folder, label)
    if not ranked:
        logger.info(_("infer.py --suspects has not ranked these drawings: they are shown by their code points"))
    return Review(experiment.resolve().name, config, label, step_of(folder, label), drawings, ranked, source, truth)


def step_of(folder: Path, label: Label) -> int | None:
    """The step that all drawings of a label were made with; None where they are of several, or it is not known."""
    manifest = folder / "manifest.json"
    entries = read_manifest(manifest) if manifest.is_file() else []
    steps = [entry.get("step") for entry in entries if entry.get("label") == label and "error" not in entry]
    return steps[0] if steps and type(steps[0]) is int and all(step == steps[0] for step in steps) else None


def find_other(place: Path, label: Label) -> dict[str, Path]:
    """The drawings to compare with: of an experiment, or in a folder."""
    inside = place / "infer"
    return find_drawings(inside if inside.is_dir() else place, label)


def find_truth(data: dict[str, Any], src_font: str | None) -> FontData | None:
    """The fonts of the training; None, which is said, where they can't be opened any more."""
    if data["kind"] != "fonts":
        return None
    reason = None
    for spec in dict.fromkeys([src_font, None]):  # drawings may have another source than the training had
        try:
            return FontData.from_config(data, spec)
        except UserError as error:
            reason = error
    logger.info(_("your own glyphs are not shown beside: {reason}", reason=reason))
    return None


def neighbours(characters: Sequence[str], own: str) -> list[list[int]]:
    """For each character the places in `own` of those that share most components with it, rare ones counting more."""
    having: dict[str, list[int]] = {}
    for number, character in enumerate(own):
        for component in components(character):
            having.setdefault(component, []).append(number)
    used = Counter(component for character in characters for component in components(character))
    found = []
    for character in characters:
        shared = np.zeros(len(own))
        for component in components(character):
            shared[having.get(component, [])] += 1 / math.sqrt(used[component])
        itself = own.find(character)
        if itself >= 0:
            shared[itself] = 0
        best = np.argsort(-shared, kind="stable")[:NEIGHBOURS]
        found.append([int(number) for number in best if shared[number] > 0])
    return found


def sprites(characters: Sequence[str], draw: Draw, advance: Callable[[], object]) -> list[str]:
    """PNG files in base64, each with ACROSS * ACROSS glyphs in rows; what is not there is paper."""
    found, each = [], ACROSS * ACROSS
    for start in range(0, len(characters), each):
        some = characters[start : start + each]
        rows = -(-len(some) // ACROSS)
        sheet = np.full((rows * CELL, ACROSS * CELL), PAPER, np.uint8)
        for place, character in enumerate(some):
            glyph = draw(character)
            if glyph is not None:
                row, column = divmod(place, ACROSS)
                sheet[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = glyph
            advance()
        levels = (sheet.astype(np.uint16) * (LEVELS - 1) + PAPER // 2) // PAPER
        picture = Image.fromarray(levels.astype(np.uint8), "P")
        picture.putpalette([level * PAPER // (LEVELS - 1) for level in range(LEVELS) for _ in range(3)])
        content = io.BytesIO()
        picture.save(content, "PNG", compress_level=6, bits=4)  # 9 takes ten times as long for 4% less
        found.append(base64.b64encode(content.getvalue()).decode("ascii"))
    return found
