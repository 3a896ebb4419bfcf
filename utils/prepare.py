"""Make train.obj and val.obj from fonts or pictures, and take .obj files apart again.

    python -m utils.prepare pack --src_font a.ttf --dst_font b.ttf --out_dir data
    python -m utils.prepare pack --data_dir pictures --out_dir data
    python -m utils.prepare unpack data/train.obj --out_dir pictures

Training needs none of this: it reads fonts and folders as they are. These are the files of earlier
ports, for whoever works with both.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from utils.cli import Parser, at_least, run_script, say
from utils.data.font_pairs import FontData
from utils.data.obj_file import read_obj, write_obj
from utils.data.pairs import Pair, PairData
from utils.data.record_pairs import RecordData
from utils.errors import UserError
from utils.files import remove_stray, write_whole
from utils.images import read_image


def build_parser() -> Parser:
    """The command line of utils.prepare."""
    parser = Parser(prog="utils.prepare", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    pack = commands.add_parser("pack", help="make train.obj and val.obj", description="Make train.obj and val.obj.")
    pack.add_argument("--src_font", help="font that has every character")
    pack.add_argument("--dst_font", nargs="+", default=[], help="fonts, each a label in this order")
    pack.add_argument("--dst_imgs", nargs="+", default=[], help="folders of drawn glyphs, further labels")
    pack.add_argument("--data_dir", help="folder of pictures side by side (target left), named LABEL_NUMBER.png")
    pack.add_argument("--charset", help="a named charset or a text file (default: all shared characters)")
    pack.add_argument("--split_ratio", type=float, default=0.1, help="share that goes into val.obj (default 0.1)")
    pack.add_argument("--random_seed", type=at_least(0), default=777, help="seed of the split (default 777)")
    pack.add_argument("--image_size", type=at_least(8), default=256, help="pixels of a glyph's side (default 256)")
    pack.add_argument("--input_nc", type=int, choices=(1, 3), default=1, help="channels (default 1)")
    pack.add_argument("--out_dir", required=True, help="folder for train.obj and val.obj")
    unpack = commands.add_parser("unpack", help="write each picture", description="Write each picture of a file.")
    unpack.add_argument("file", help="train.obj or val.obj")
    unpack.add_argument("--out_dir", required=True, help="folder for the pictures, named LABEL_NUMBER.png")
    return parser


def run(args: argparse.Namespace) -> int:
    """Pack or unpack; returns 1 when records had to be left out."""
    return pack(args) if args.command == "pack" else unpack(args)


def pack(args: argparse.Namespace) -> int:
    """Write train.obj, and val.obj with what is held out.

    Raises:
        UserError: when the flags don't go together, or a file is there already.
    """
    fonts = bool(args.src_font and (args.dst_font or args.dst_imgs))
    if fonts == bool(args.data_dir):
        raise UserError("give --src_font with --dst_font (or --dst_imgs), or --data_dir")
    if not 0 <= args.split_ratio <= 0.9:
        raise UserError(f"--split_ratio {args.split_ratio} is not in 0 to 0.9")
    if args.data_dir:
        data: PairData = RecordData.open(Path(args.data_dir), args.input_nc, args.split_ratio, args.random_seed)
    else:
        targets = args.dst_font, args.dst_imgs
        data = FontData.from_fonts(args.src_font, *targets, args.charset, args.split_ratio, args.random_seed)
    say(*data.summary())
    folder = Path(args.out_dir)
    files = {folder / "train.obj": data.train_pairs, folder / "val.obj": data.held_out_pairs}
    for path in files:
        if path.exists():
            raise UserError(f"{path} is there already: delete it, or choose another --out_dir")
    folder.mkdir(parents=True, exist_ok=True)
    remove_stray(folder)
    for path, pairs in files.items():
        if pairs:
            count = write_obj(path, records(data, pairs, args))
            say(f"{path}: {count} pairs")
    return 1 if getattr(data, "dropped", None) else 0


def records(data: PairData, pairs: Sequence[Pair], args: argparse.Namespace) -> Iterator[tuple[int, bytes]]:
    """The label and the picture (PNG, target left) of each pair; pictures that are there already stay as they are."""
    for pair in tqdm(pairs, desc="packing", unit="pair", disable=None):
        if isinstance(data, RecordData):
            yield pair[0], data.picture(pair[1])
            continue
        source, target = data.render_pair(pair, args.image_size)
        picture = Image.fromarray(np.concatenate([target, source], 1))
        packed = io.BytesIO()
        (picture if args.input_nc == 1 else picture.convert("RGB")).save(packed, "PNG")
        yield pair[0], packed.getvalue()


def unpack(args: argparse.Namespace) -> int:
    """Write the picture of each record as it is, named by label and number.

    Raises:
        UserError: when the file can't be read, or the folder holds something already.
    """
    file, folder = read_obj(Path(args.file)), Path(args.out_dir)
    if not file.numbers:
        raise UserError(f"{args.file} holds no pair of a label and a picture")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another --out_dir")
    folder.mkdir(parents=True, exist_ok=True)
    places = list(zip(file.labels, file.numbers, strict=True))
    for index, (label, number) in enumerate(tqdm(places, desc="unpacking", unit="pair", disable=None)):
        content = file.read(index)
        try:
            read_image(content)
        except UserError as error:
            file.dropped[number] = str(error)
            continue
        with Image.open(io.BytesIO(content)) as image:
            extension = {"JPEG": "jpg", "TIFF": "tif"}.get(image.format, image.format.lower())
        write_whole(folder / f"{label}_{number:05d}.{extension}", content)
    for number, reason in file.dropped.items():
        print(f"record {number} is left out: it {reason}", file=sys.stderr)
    say(f"{folder}: {len(places) - sum(n in file.dropped for n in file.numbers)} pictures")
    return 1 if file.dropped else 0


def main(argv: list[str] | None = None) -> int:
    """Run utils.prepare with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
