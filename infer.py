"""Draw characters with a trained model: its EMA weights where there are any."""

import argparse
import contextlib
import sys
from pathlib import Path

from utils.cli import Parser, add_flag, at_least, resolve, run_script, step_latest_or_best
from utils.drawing.run import (
    CONFIRMED_BLUR,
    CONFIRMED_MODES,
    CONFIRMED_SIZES,
    check_font_flags,
    clean,
    compare,
    draw,
    find_suspects,
    font_flags,
    prepare,
    report_coverage,
)
from utils.labels import label_or_blend

DEFAULTS = {
    "experiment_dir": "experiments/default",
    "resume": "latest",
    "weights": "auto",
    "image_ext": "png",
    "filename_rule": "unicode_hex",
}


def build_parser() -> Parser:
    """The command line of infer.py."""
    parser = Parser(prog="infer.py", description=__doc__)

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    what = parser.add_argument_group("what to draw (without any of these: the held-out characters, with a score)")
    flag(what, "src_txt", "characters, or U+6C38")
    flag(what, "src_txt_file", "text file of characters, UTF-8")
    flag(what, "obj_path", "train.obj or val.obj file, or a folder of such pictures, whose pairs are drawn and scored")
    flag(what, "charset", "big5_1, big5, gb2312_1, gb2312, jis_1, ksx1001 or a text file")
    flag(what, "missing", "font: of these characters draw only those that it lacks, and report what it covers")

    how = parser.add_argument_group("how")
    flag(how, "src_font", "font to draw from: .ttf, .otf, or .ttc#INDEX (default: the source font of the training)")
    flag(how, "label", "labels to draw, or blends such as 0:0.7,1:0.3", nargs="+", type=label_or_blend)
    flag(how, "run_all_label", "draw every label", action="store_true")
    flag(how, "weights", "auto (EMA where there is one), ema or raw", choices=("auto", "ema", "raw"))
    flag(how, "sharpness", "contrast of what is drawn (default: as in the training)", type=float)
    flag(how, "compare", "also draw raw and EMA weights side by side, and score both", action="store_true")
    flag(how, "legibility", "score how many glyphs an OCR reads (needs rapidocr, onnxruntime)", action="store_true")
    flag(how, "suspects", "rank the drawings by how odd they are, and draw a sheet of the worst", action="store_true")
    flag(how, "batch_size", "characters drawn at once (default: 16 on the CPU, more on a GPU)", type=at_least(1, 8192))

    where = parser.add_argument_group("where")
    flag(where, "experiment_dir", "folder of the experiment")
    flag(where, "resume", "checkpoint to draw with: latest, best, or a step", type=step_latest_or_best)
    flag(where, "gpu_ids", "CUDA device, -1 for the CPU, or mps (default: 0)", nargs="+", metavar="ID")
    flag(where, "infer_dir", "folder for the drawings (default: EXPERIMENT_DIR/infer)")
    flag(where, "image_ext", "png, jpg, bmp or tif, or svg for outlines", choices=("png", "jpg", "bmp", "tif", "svg"))
    rules = ("unicode_hex", "unicode_int", "char", "seq")
    flag(where, "filename_rule", "unicode_hex: U+6C38, unicode_int: 27704, char: 永, seq: 00001", choices=rules)
    flag(where, "skip_exist", "leave files that are there already as they are", action="store_true")

    font = parser.add_argument_group("a font of the drawings (python -m utils.font_export has more flags)")
    flag(font, "font_out", "font to make of the drawings: .otf or .ttf")
    flag(font, "font_name", "name of its family (default: that of the base, or of the file)")
    flag(font, "font_name_en", "name of the family in English, beside a Chinese one (default: its code points)")
    flag(font, "base", "font to complete with the drawings")
    flag(font, "exclude_suspects", "worst of the suspects to leave out of the font (default 0)", type=at_least(0))

    confirm = parser.add_argument_group("known from the checkpoint (accepted, and checked against it)")
    for name in CONFIRMED_BLUR:
        flag(confirm, name, "anti-aliased downsampling", action=argparse.BooleanOptionalAction)
    for name in CONFIRMED_MODES:
        flag(confirm, name, "as in train.py")
    for name in CONFIRMED_SIZES:
        flag(confirm, name, "as in train.py", type=int)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run infer.py with `argv`; returns the exit code, exits with 2 on a mistake of the user's."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Join the rooms and draw; returns 1 when something could not be drawn."""
    from utils.device import choose_device
    from utils.distributed import joined
    from utils.files import locked
    from utils.fonts import export

    args = resolve(args, DEFAULTS)
    if args.font_out:
        check_font_flags(args)
    device, warning = choose_device(args.gpu_ids)
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            models, weights, job, folder = prepare(args, device, warning)
            if ranks.is_main:
                stack.enter_context(locked(folder, ".drawing.lock", "drawing into"))
                clean(folder, job)
        failed = draw(models["EMA" if weights.kind == "ema" else "raw"], job, folder, args, weights, ranks)
        if ranks.is_main and (job.scored or args.compare):
            caption = f"{Path(args.experiment_dir).name}, step {weights.step}"
            compare(models, job, folder, args, caption, weights.step)
        if ranks.is_main and args.missing:
            report_coverage(args, job, folder)
        if ranks.is_main and args.suspects:
            find_suspects(models, job, folder, args)
    if args.font_out and ranks.is_main:
        failed += export.run(font_flags(args))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
