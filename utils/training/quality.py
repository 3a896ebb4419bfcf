"""How good the drawings are during a run: quality.csv, the best step, and when to stop."""

import contextlib
import copy
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from model import Zi2ZiModel
from utils import metrics, strokes
from utils.data.pairs import Pair, PairData
from utils.experiment import checkpoint, pth
from utils.experiment.config import Paths
from utils.experiment.tables import StepTable, best_step, read_quality, stale
from utils.images import to_grey
from utils.messages import _, in_english
from utils.sample import draw
from utils.training.calibration import Calibrator
from utils.training.report import write_report

logger = logging.getLogger(__name__)

SHEET_GLYPHS = 15  # glyphs on a sample sheet
REPORTED = 200  # held-out glyphs that are scored at the end
STALE = 10  # scorings without a gain before it is said
SATURATED_REPORTS = 20  # reports of losses in a row that show the discriminator to have won
SATURATED_D, SATURATED_G = 0.1, 3.0  # D's loss under the one and G's adversarial loss above the other


class QualityLog:
    """quality.csv: the scores of a run, one row for every step that is scored.

    Opened at step n it keeps the rows up to n.
    """

    def __init__(self, path: Path, step: int):
        self._table = StepTable(path, step)
        self.rows = read_quality(path)

    def add(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Write the scores of a step: measures by what was drawn and with which weights, as in validation_EMA."""
        row = {f"{what}_{name}": value for what, measures in scores.items() for name, value in measures.items()}
        if self.rows and next(iter(self.rows.values())).keys() != row.keys():
            self.rows.clear()  # scores of other weights are not compared with these
        self._table.append(["step", *row], [[str(step), *(f"{value:.5g}" for value in row.values())]])
        self.rows[step] = {name: float(f"{value:.5g}") for name, value in row.items()}


class Examiner:
    """Draws and scores the same pairs of glyphs again and again while `model` learns."""

    def __init__(self, model: Zi2ZiModel, data: PairData, calibrator: Calibrator):
        self.model, self.data, self.calibrator = model, data, calibrator

    def kinds(self) -> list[str]:
        """The weights there are to draw with: raw, and EMA where there are any."""
        return ["raw", "EMA"] if self.model.ema else ["raw"]

    def columns(self, pairs: Sequence[Pair], kinds: Sequence[str]) -> dict[str, np.ndarray]:
        """Source, drawings with each kind of weights, and target: uint8 [N, S, S], or [N, S, S, 3] in colour."""
        source, target = self.data.render_pairs(pairs, self.model.config.image_size)
        labels = [label for label, _ in pairs]
        drawn = {kind: draw(self.model, source, labels, weights=kind.lower()) for kind in kinds}
        return {"source": source, **drawn, "target": target}

    @contextlib.contextmanager
    def drawing_with(self, path: Path) -> Iterator[None]:
        """Within, the network that draws best (EMA where there is one) has the weights of a file, and is calibrated."""
        net, kind = (self.model.ema.shadow, "ema") if self.model.ema else (self.model.netG, "raw")
        newest, calibrated = copy.deepcopy(net.state_dict()), self.model.calibration.get(kind)
        pth.fit(net, pth.read_weights(path), path)
        self.calibrator.calibrate([kind])
        try:
            yield
        finally:
            net.load_state_dict(newest)
            self.model.calibrate(calibrated, kind)


def score_columns(columns: Mapping[str, np.ndarray], strokes_too: bool = False) -> dict[str, dict[str, float]]:
    """The measures of every column between source and target; those of the strokes, which take longer, if asked."""
    source, target = to_grey(columns["source"]), to_grey(columns["target"])
    drawn = {kind: to_grey(images) for kind, images in columns.items() if kind not in ("source", "target")}
    if strokes_too:
        return strokes.score_all(drawn, target, source)
    return {kind: metrics.score(images, target) for kind, images in drawn.items()}


class Scorer:
    """Scores a run: its sheet's characters, those that choose the best step, and at the end what was held out."""

    def __init__(self, examiner: Examiner, data: PairData, validation: Sequence[Pair], paths: Paths):
        self.examiner, self.data, self.validation, self.paths = examiner, data, validation, paths
        self.sheet_pairs = data.some_pairs(SHEET_GLYPHS)
        self.rows: dict[int, dict[str, float]] = {}  # the scores of every step, as in quality.csv
        self._stale = 0  # how many scores in a row were no gain

    def open(self, step: int) -> None:
        """Take up quality.csv; the checkpoint of a run that did not come to score it any more is scored now."""
        self._log = QualityLog(self.paths.quality_csv, step)
        self.rows = self._log.rows
        self._stale = stale(self.rows)
        unscored = self.validation and step not in self.rows
        if unscored and step in checkpoint.steps_with(self.paths.checkpoint, checkpoint.STATE):
            self.examiner.calibrator.calibrate()
            self.score(step)

    def score(self, step: int) -> tuple[dict[str, np.ndarray], str]:
        """Draw and score the sheet's characters and those for validation; returns the sheet's columns and a line."""
        held_out = self._kind_of_pairs()
        columns = self.examiner.columns(self.sheet_pairs, self.examiner.kinds())
        found = score_columns(columns)
        scores = {f"{held_out.replace('-', '_')}_{kind}": measures for kind, measures in found.items()}
        errors = ", ".join(f"{kind} {measures['l1']:.4f}" for kind, measures in found.items())
        line = _(
            "step {step}: L1 on {count} {held_out} characters: {errors}",
            step=step,
            count=len(self.sheet_pairs),
            held_out=_(held_out),
            errors=errors,
        )
        if self.validation:
            kind = self.examiner.kinds()[-1]
            measures = score_columns(self.examiner.columns(self.validation, [kind]))[kind]
            scores[f"validation_{kind}"] = measures
            line += _(
                "; on {count} for validation: {kind} {l1:.4f}", count=len(self.validation), kind=kind, l1=measures["l1"]
            )
        self._log.add(step, scores)
        self._stale = stale(self.rows)
        return columns, line

    def best(self) -> int | None:
        """The step with the best score of those that can be drawn with."""
        return best_step(self.rows, checkpoint.drawable_steps(self.paths.checkpoint))

    def has_enough(self, early_stop: int) -> bool:
        """Whether so many scores in a row were no gain; 0: never."""
        return 0 < early_stop <= self._stale

    def advise(self, early_stop: int) -> None:
        """Say once when nothing has got better for long."""
        if self._stale == (early_stop or STALE):
            best = best_step(self.rows, self.rows)
            logger.info(
                _(
                    "no improvement on the validation characters since step {best}, in {stale} scores",
                    best=best,
                    stale=self._stale,
                )
            )

    def write_report(self, step: int) -> None:
        """Score the held-out characters at the end, with the newest weights and with the best, and write report.md."""
        pairs, best = self.data.some_pairs(REPORTED), self.best()
        kinds, kind = self.examiner.kinds(), self.examiner.kinds()[-1]
        newest = score_columns(self.examiner.columns(pairs, kinds), strokes_too=True)
        scores = {f"{name}, step {step}": measures for name, measures in newest.items()}
        if best is not None and best != step:
            with self.examiner.drawing_with(checkpoint.drawable_path(self.paths.checkpoint, best)):
                columns = self.examiner.columns(pairs, [kind])
                scores[f"{kind}, step {best}"] = score_columns(columns, strokes_too=True)[kind]
        what = f"{len(pairs)} {self._kind_of_pairs()} characters"
        with in_english():
            data = self.data.summary()
        write_report(self.paths, step, data, scores, what, best)

    def _kind_of_pairs(self) -> str:
        return "held-out" if self.data.held_out_pairs else "training"


class SaturationWatch:
    """Tells when the discriminator has won: what it says then no longer teaches the generator anything."""

    def __init__(self):
        self._in_a_row = 0

    def look(self, losses: Mapping[str, float]) -> str | None:
        """Take the losses of one report; returns a line to say, once for each time that it comes to this."""
        won = losses.get("d_loss", math.inf) < SATURATED_D and losses.get("adv_loss", 0) > SATURATED_G
        self._in_a_row = self._in_a_row + 1 if won else 0
        if self._in_a_row != SATURATED_REPORTS:
            return None
        return _(
            "the discriminator tells every drawing from a true glyph and teaches little: try a lower --lr_D or --ndf"
        )
