"""The flags of infer.py."""

from dataclasses import dataclass, fields

from utils.cli import Flag, FlagTable, at_least, defaults_in, step_latest_or_best
from utils.files import DRAWINGS
from utils.fonts.flags import ExportOptions
from utils.labels import Label, label_or_blend

# Known from the checkpoint; a flag confirms it or is an error.
CONFIRMED_SIZES = ("image_size", "input_nc", "ngf", "ndf", "embedding_num", "embedding_dim")
CONFIRMED_MODES = ("generator", "norm_type", "up_mode")
CONFIRMED_BLUR = ("g_blur", "d_blur")
CONFIRMED = CONFIRMED_SIZES + CONFIRMED_MODES + CONFIRMED_BLUR
NAMES = ("unicode_hex", "unicode_int", "char", "seq")

DRAW: FlagTable = {
    "what to draw (without any of these: the held-out characters, with a score)": (
        Flag("src_txt", "characters, or U+6C38"),
        Flag("src_txt_file", "text file of characters, UTF-8"),
        Flag(
            "obj_path",
            "train.obj or val.obj file, or a folder of such pictures, whose pairs are drawn and scored",
        ),
        Flag("charset", "charsets joined by +: big5_1, hkscs, punctuation, source, U+3400-4DBF, a text file"),
        Flag("missing", "font: of these characters draw only those that it lacks, and report what it covers"),
        Flag("generated", "which glyphs of --missing or --base were generated (default: NAME.generated.json)"),
    ),
    "how": (
        Flag(
            "src_font",
            "font to draw from: .ttf, .otf, or .ttc#INDEX (default: the source font of the training)",
        ),
        Flag("label", "labels to draw, or blends such as 0:0.7,1:0.3", label_or_blend, many=True),
        Flag("run_all_label", "draw every label", bool, one_way=True),
        Flag("weights", "auto (EMA where there is one), ema or raw", str, "auto", choices=("auto", "ema", "raw")),
        Flag("sharpness", "contrast of what is drawn (default: what the training has found)", float),
        Flag("weight_bias", "lightens strokes, below 0 thickens them (default: what the training has found)", float),
        Flag("compare", "also draw raw and EMA weights side by side, and score both", bool, one_way=True),
        Flag("legibility", "score how many glyphs an OCR reads (needs rapidocr, onnxruntime)", bool, one_way=True),
        Flag("suspects", "rank the drawings by how odd they are, and draw a sheet of the worst", bool, one_way=True),
        Flag("batch_size", "characters drawn at once (default: 16 on the CPU, more on a GPU)", at_least(1, 8192)),
    ),
    "where": (
        Flag("experiment_dir", "folder of the experiment", str, "experiments/default"),
        Flag("resume", "checkpoint to draw with: latest, best, or a step", step_latest_or_best, "latest"),
        Flag("gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", many=True, metavar="ID"),
        Flag("infer_dir", "folder for the drawings (default: EXPERIMENT_DIR/infer)"),
        Flag("image_ext", "png, jpg, bmp or tif, or svg for outlines", str, "png", choices=DRAWINGS),
        Flag(
            "filename_rule",
            "unicode_hex: U+6C38, unicode_int: 27704, char: 永, seq: 00001",
            str,
            "unicode_hex",
            choices=NAMES,
        ),
        Flag("skip_exist", "leave what is drawn so already, and what you have changed", bool, one_way=True),
    ),
    "a font of the drawings (python -m utils.font_export has more flags)": (
        Flag("font_out", "font to make of the drawings: .otf or .ttf"),
        Flag("font_name", "name of its family (default: that of the base, or of the file)"),
        Flag("font_name_en", "name of the family in English, beside a Chinese one (default: its code points)"),
        Flag("base", "font to complete with the drawings"),
        Flag("fill", "font that lends, as they are, the characters that are neither drawn nor in the base"),
        Flag("fill_charset", "of these alone, charsets joined by + (default: all that it has)"),
        Flag("exclude_suspects", "worst of the suspects to leave out of the font (default 0)", at_least(0)),
        Flag("exclude", "review.json: what it marks to be redrawn or left out is left out of the font"),
    ),
    "known from the checkpoint (accepted, and checked against it)": (
        *(Flag(name, "anti-aliased downsampling", bool) for name in CONFIRMED_BLUR),
        *(Flag(name, "as in train.py") for name in CONFIRMED_MODES),
        *(Flag(name, "as in train.py", int) for name in CONFIRMED_SIZES),
    ),
}
DEFAULTS = defaults_in(DRAW)


@dataclass(frozen=True)
class DrawOptions:
    """The value of every flag of a drawing; what a flag means, its help says."""

    src_txt: str | None = None
    src_txt_file: str | None = None
    obj_path: str | None = None
    charset: str | None = None
    missing: str | None = None
    generated: str | None = None
    src_font: str | None = None
    label: list[Label] | None = None
    run_all_label: bool = False
    weights: str = DEFAULTS["weights"]
    sharpness: float | None = None
    weight_bias: float | None = None
    compare: bool = False
    legibility: bool = False
    suspects: bool = False
    batch_size: int | None = None
    experiment_dir: str = DEFAULTS["experiment_dir"]
    resume: str = DEFAULTS["resume"]
    gpu_ids: list[str] | None = None
    infer_dir: str | None = None
    image_ext: str = DEFAULTS["image_ext"]
    filename_rule: str = DEFAULTS["filename_rule"]
    skip_exist: bool = False
    font_out: str | None = None
    font_name: str | None = None
    font_name_en: str | None = None
    base: str | None = None
    fill: str | None = None
    fill_charset: str | None = None
    exclude_suspects: int = 0
    exclude: str | None = None
    g_blur: bool | None = None
    d_blur: bool | None = None
    generator: str | None = None
    norm_type: str | None = None
    up_mode: str | None = None
    image_size: int | None = None
    input_nc: int | None = None
    ngf: int | None = None
    ndf: int | None = None
    embedding_num: int | None = None
    embedding_dim: int | None = None

    def of_font(self) -> ExportOptions:
        """The flags of the font export, of which infer.py has some."""
        shared = {field.name for field in fields(ExportOptions)} & {field.name for field in fields(self)}
        values = {name: getattr(self, name) for name in shared - {"label"}}
        return ExportOptions(label=(self.label or [0])[0], **values)
