"""The flags of the font export."""

from dataclasses import dataclass

from utils.cli import Flag, FlagTable, at_least, defaults_in
from utils.fonts.fit import TOLERANCE
from utils.labels import Label, label_or_blend

EXPORT: FlagTable = {
    "what goes into the font": (
        Flag("experiment_dir", "folder of the experiment", str, "experiments/default"),
        Flag("infer_dir", "folder of the drawings (default: EXPERIMENT_DIR/infer)"),
        Flag("label", "label, or blend of labels, whose drawings are taken", label_or_blend, 0),
        Flag("src_font", "the source font, if it has moved or none is recorded"),
        Flag("base", "font to complete: .ttf, .otf, or .ttc#INDEX; what it has stays as it is"),
        Flag("generated", "which glyphs of --base were generated (default: NAME.generated.json beside it)"),
        Flag("fill", "font that lends, as they are, the characters that are neither drawn nor in the base"),
        Flag("fill_charset", "of these alone, charsets joined by + (default: all that it has)"),
        Flag("exclude_suspects", "worst of suspects.json to leave out", at_least(0), 0),
        Flag("exclude", "review.json: what it marks to be redrawn or left out is left out"),
        Flag("tolerance", "pixels that an outline may be away from a drawing's edge", float, TOLERANCE),
    ),
    "the font": (
        Flag("font_out", "file to write: .otf (cubic) or .ttf (quadratic outlines)"),
        Flag("font_name", "name of the family (default: that of the base, or of the file)"),
        Flag("font_name_en", "name of the family in English, beside a Chinese one (default: its code points)"),
        Flag("font_style", "name of the style (default: Regular, or that of the base)"),
        Flag("font_version", "version number (default: 1.000)"),
        Flag("font_license", "text of the licence, or a file that holds it"),
        Flag("reserved_font_name", "names that the licence of a font it is made from reserves", many=True),
        Flag("num_workers", "processes that trace (default: one a core)", at_least(1, 256)),
    ),
}
DEFAULTS = defaults_in(EXPORT)


@dataclass(frozen=True)
class ExportOptions:
    """The value of every flag of the export; what a flag means, its help says."""

    experiment_dir: str = DEFAULTS["experiment_dir"]
    infer_dir: str | None = None
    label: Label = DEFAULTS["label"]
    src_font: str | None = None
    base: str | None = None
    generated: str | None = None
    fill: str | None = None
    fill_charset: str | None = None
    exclude_suspects: int = DEFAULTS["exclude_suspects"]
    exclude: str | None = None
    tolerance: float = DEFAULTS["tolerance"]
    font_out: str | None = None
    font_name: str | None = None
    font_name_en: str | None = None
    font_style: str | None = None
    font_version: str | None = None
    font_license: str | None = None
    reserved_font_name: tuple[str, ...] | list[str] = ()
    num_workers: int | None = None
    missing: str | None = None  # of infer.py: another font that is not to be written over
