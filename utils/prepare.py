"""Make train.obj and val.obj from fonts or pictures, and take .obj files apart again.

    python -m utils.prepare pack --src_font a.ttf --dst_font b.ttf --out_dir data
    python -m utils.prepare pack --data_dir pictures --out_dir data
    python -m utils.prepare unpack data/train.obj --out_dir pictures

Training needs none of this: it reads fonts and folders as they are. These are the files of earlier
ports, for whoever works with both.
"""

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from utils.cli import Flag, FlagTable, Parser, at_least, run_script
from utils.data.font_pairs import FontData, Split
from utils.data.obj_file import read_obj, write_obj
from utils.data.pairs import Pair, PairData
from utils.data.record_pairs import RecordData
from utils.errors import Reason, UserError
from utils.files import remove_stray, write_whole
from utils.images import read_image
from utils.messages import _

logger = logging.getLogger("utils.prepare")  # which is __main__ when it runs


PACK: FlagTable = {
    "pairs": (
        Flag("src_font", "font that has every character"),
        Flag("dst_font", "fonts, each a label in this order", many=True),
        Flag("dst_imgs", "folders of drawn glyphs, further labels", many=True),
        Flag("data_dir", "folder of pictures side by side (target left), named LABEL_NUMBER.png"),
        Flag("charset", "a named charset or a text file (default: all shared characters)"),
        Flag("split_ratio", "share that goes into val.obj", float, 0.1),
        Flag("random_seed", "seed of the split", at_least(0), 777),
        Flag("image_size", "pixels of a glyph's side", at_least(8), 256),
        Flag("input_nc", "channels", int, 1, choices=(1, 3)),
        Flag("out_dir", "folder for train.obj and val.obj", required=True),
    )
}
UNPACK: FlagTable = {
    "pictures": (Flag("out_dir", "folder for the pictures, named LABEL_NUMBER.png", required=True),),
}


@dataclass(frozen=True)
class PackOptions:
    """The value of every flag of `pack`."""

    out_dir: str
    src_font: str | None = None
    dst_font: list[str] | None = None
    dst_imgs: list[str] | None = None
    data_dir: str | None = None
    charset: str | None = None
    split_ratio: float = 0.1
    random_seed: int = 777
    image_size: int = 256
    input_nc: int = 1


def build_parser() -> Parser:
    """The command line of utils.prepare."""
    parser = Parser("utils.prepare", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    pack = _("make train.obj and val.obj")
    commands.add_parser("pack", prog="utils.prepare pack", help=pack, description=f"{pack.capitalize()}.", table=PACK)
    unpack = _("write each picture of a file")
    command = commands.add_parser(
        "unpack", prog="utils.prepare unpack", help=unpack, description=f"{unpack.capitalize()}.", table=UNPACK
    )
    command.add_argument("file", help=_("train.obj or val.obj"))
    return parser


def run(given: dict[str, Any]) -> int:
    """Pack or unpack; returns 1 when records had to be left out."""
    values = {name: value for name, value in given.items() if name != "command"}
    return pack(PackOptions(**values)) if given["command"] == "pack" else unpack(**values)


def pack(options: PackOptions) -> int:
    """Write train.obj, and val.obj with what is held out.

    Raises:
        UserError: when the flags don't go together, or a file is there already.
    """
    fonts = bool(options.src_font and (options.dst_font or options.dst_imgs))
    if fonts == bool(options.data_dir):
        raise UserError(_("give --src_font with --dst_font (or --dst_imgs), or --data_dir"))
    if not 0 <= options.split_ratio <= 0.9:
        raise UserError(_("--split_ratio {split_ratio} is not in 0 to 0.9", split_ratio=options.split_ratio))
    data = open_pairs(options)
    for line in data.summary():
        logger.info(line)
    folder = Path(options.out_dir)
    files = {folder / "train.obj": data.train_pairs, folder / "val.obj": data.held_out_pairs}
    for path in files:
        if path.exists():
            raise UserError(_("{path} is there already: delete it, or choose another --out_dir", path=path))
    folder.mkdir(parents=True, exist_ok=True)
    remove_stray(folder)
    for path, pairs in files.items():
        if pairs:
            count = write_obj(path, records(data, pairs, options))
            logger.info(_("{path}: {count} pairs", path=path, count=count))
    return 1 if isinstance(data, RecordData) and data.dropped else 0


def open_pairs(options: PackOptions) -> PairData:
    """The pairs that the flags name."""
    ratio, seed = options.split_ratio, options.random_seed
    if options.data_dir:
        return RecordData.open(Path(options.data_dir), options.input_nc, ratio, seed)
    targets = options.dst_font or [], options.dst_imgs or []
    return FontData.from_fonts(options.src_font or "", *targets, options.charset, Split(ratio, seed))


def records(data: PairData, pairs: Sequence[Pair], options: PackOptions) -> Iterator[tuple[int, bytes]]:
    """The label and the picture (PNG, target left) of each pair; pictures that are there already stay as they are."""
    for pair in tqdm(pairs, desc="packing", unit="pair", disable=None):
        if isinstance(data, RecordData):
            yield pair[0], data.picture(pair[1])
            continue
        source, target = data.render_pair(pair, options.image_size)
        picture = Image.fromarray(np.concatenate([target, source], 1))
        packed = io.BytesIO()
        (picture if options.input_nc == 1 else picture.convert("RGB")).save(packed, "PNG")
        yield pair[0], packed.getvalue()


def unpack(file: str, out_dir: str) -> int:
    """Write the picture of each record as it is, named by label and number.

    Raises:
        UserError: when the file can't be read, or the folder holds something already.
    """
    opened, folder = read_obj(Path(file)), Path(out_dir)
    if not opened.numbers:
        raise UserError(_("{file} holds no pair of a label and a picture", file=file))
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(_("{folder} is not empty: choose another --out_dir", folder=folder))
    folder.mkdir(parents=True, exist_ok=True)
    places = list(zip(opened.labels, opened.numbers, strict=True))
    for index, (label, number) in enumerate(tqdm(places, desc="unpacking", unit="pair", disable=None)):
        content = opened.read(index)
        try:
            read_image(content)
        except UserError as error:
            opened.dropped[number] = Reason.of(error)
            continue
        with Image.open(io.BytesIO(content)) as image:
            kind = image.format or "PNG"
        extension = {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower())
        write_whole(folder / f"{label}_{number:05d}.{extension}", content)
    for number, reason in opened.dropped.items():
        logger.error(_("record {number} is left out: it {reason}", number=number, reason=reason))
    logger.info(
        _(
            "{folder}: {count} pictures",
            folder=folder,
            count=len(places) - sum(n in opened.dropped for n in opened.numbers),
        )
    )
    return 1 if opened.dropped else 0


def main(argv: list[str] | None = None) -> int:
    """Run utils.prepare with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
