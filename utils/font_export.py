"""Make a font of drawn glyphs, or complete one with them.

    python -m utils.font_export --experiment_dir experiments/run1 --font_out MyFont.otf --font_name "My Font"
    python -m utils.font_export --experiment_dir experiments/run1 --font_out Full.ttf --base MyFont.ttf

Drawings are those of infer.py. Each is traced and put where a drawn glyph of the target font would be: the inverse of
its placement in training.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont

from utils.charset import codepoint_name, is_han
from utils.cli import Parser, UserError, abbreviate, add_flag, at_least, resolve, run_script, say
from utils.experiment import Paths, read_config
from utils.files import locked, remove_stray
from utils.font_build import Metrics, Names, OutlinedGlyph, build_font
from utils.font_complete import check_name, complete_font, family_of, missing_from, open_base
from utils.font_data import open_recorded
from utils.glyph_images import character_of
from utils.images import EXTENSIONS
from utils.labels import Label, heaviest, label_or_blend, labels_of
from utils.render import GlyphRenderer, Placement
from utils.traces import Contours, Traces, calls_of, cores
from utils.vectorize import TOLERANCE, Lattice

DEFAULTS = {
    "experiment_dir": "experiments/default",
    "label": 0,
    "font_style": "Regular",
    "font_version": "1.000",
    "tolerance": TOLERANCE,
    "exclude_suspects": 0,
}
SPACES = " \u00a0\u3000"  # what a new font has beside the drawings
KINDS = (".otf", ".ttf")


def build_parser() -> Parser:
    """The command line of the export."""
    parser = Parser(prog="utils.font_export", description=__doc__.split("\n\n")[0])

    def flag(group: argparse._ArgumentGroup, name: str, help_text: str, **kwargs: Any) -> None:
        add_flag(group, name, help_text, DEFAULTS.get(name), **kwargs)

    what = parser.add_argument_group("what goes into the font")
    flag(what, "experiment_dir", "folder of the experiment")
    flag(what, "infer_dir", "folder of the drawings (default: EXPERIMENT_DIR/infer)")
    flag(what, "label", "label, or blend of labels, whose drawings are taken", type=label_or_blend)
    flag(what, "src_font", "the source font, if it has moved or none is recorded")
    flag(what, "base", "font to complete: .ttf, .otf, or .ttc#INDEX; what it has stays as it is")
    flag(what, "exclude_suspects", "worst of suspects.json to leave out", type=at_least(0))
    flag(what, "tolerance", "pixels that an outline may be away from a drawing's edge", type=float)

    out = parser.add_argument_group("the font")
    flag(out, "font_out", "file to write: .otf (cubic) or .ttf (quadratic outlines)")
    flag(out, "font_name", "name of the family (default: that of the base, or of the file)")
    flag(out, "font_style", "name of the style")
    flag(out, "font_version", "version number")
    flag(out, "font_license", "text of the licence, or a file that holds it")
    flag(out, "reserved_font_name", "names that the licence of a font it is made from reserves", nargs="+")
    flag(out, "num_workers", "processes that trace (default: one a core)", type=at_least(1, 256))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the export with `argv`; returns the exit code."""
    return run_script(build_parser(), run, argv)


def run(args: argparse.Namespace) -> int:
    """Trace the drawings and write the font; returns 1 when a drawing had no outline."""
    args = resolve(args, DEFAULTS)
    export = prepare(args)
    with locked(export.out.parent, f".{export.out.name}.lock", f"making {export.out.name} in"):
        remove_stray(export.out.parent)
        return export.write(args.num_workers or cores())


def prepare(args: argparse.Namespace) -> "Export":
    """Check everything that can be checked before a glyph is traced.

    Raises:
        UserError: when no font can be made of what there is.
    """
    if args.font_out is None:
        raise UserError("--font_out: name the font to write, such as MyFont.otf")
    out = Path(args.font_out)
    base = check_output(out, args.base)
    if not 0 < args.tolerance <= 10:
        raise UserError(f"--tolerance {args.tolerance} is not above 0 and up to 10 pixels")
    paths = Paths(Path(args.experiment_dir))
    config = read_config(paths)
    folder = Path(args.infer_dir) if args.infer_dir else paths.root / "infer"
    images = find_drawings(folder, args.label)
    if base is not None:
        missing = missing_from(base, "".join(images))
        if not missing:
            raise UserError(f"--base {args.base} has all {len(images)} characters already: there is nothing to add")
        images = {character: images[character] for character in missing}
    if args.exclude_suspects:
        for character in read_suspects(folder, args.label)[: args.exclude_suspects]:
            images.pop(character, None)
    check_name(args.font_name or (family_of(base) if base else out.stem), args.reserved_font_name or [])
    frame = find_frame(args, config, base)
    return Export(out, images, frame, base, args.tolerance, names_of(args, out, base))


def check_output(out: Path, base: str | None) -> TTFont | None:
    """See whether a font can be written to `out`, and open the base, where there is one.

    Raises:
        UserError: when it can't.
    """
    if out.suffix.lower() not in KINDS:
        raise UserError(f"--font_out {out} ends neither in .otf nor in .ttf")
    if out.is_dir():
        raise UserError(f"--font_out {out} is a folder")
    if out.is_file() and not os.access(out, os.W_OK):
        raise UserError(f"--font_out {out} is read-only")
    if base is None:
        return None
    font = open_base(base)
    if out.exists() and out.samefile(font.reader.file.name):
        raise UserError(f"--font_out {out} is the base itself, which is never written over: name another file")
    if (out.suffix.lower() == ".otf") != ("CFF " in font):
        kind = ".otf" if "CFF " in font else ".ttf"
        raise UserError(f"--base {base} has the outlines of a {kind} font: let --font_out end in {kind}")
    return font


def names_of(args: argparse.Namespace, out: Path, base: TTFont | None) -> Names | None:
    """What the font is to say of itself; None where it goes on saying what the base says."""
    if base is not None and args.font_name is None:
        return None
    licence = args.font_license
    if licence and len(licence) < 4096 and Path(licence).is_file():
        licence = Path(licence).read_text("utf-8")
    return Names(args.font_name or out.stem, args.font_style, args.font_version, licence)


# ------------------------------------------------------------------------- drawings and where they belong


def find_drawings(folder: Path, label: Label) -> dict[str, Path]:
    """The drawings in a folder of infer.py, by their characters, as its manifest tells, or else the names of its files.

    Raises:
        UserError: when there are none.
    """
    manifest, found = folder / "manifest.json", {}
    if manifest.is_file():
        for entry in read_manifest(manifest):
            if entry.get("label") == label and "error" not in entry and "codepoint" in entry:
                found[chr(int(entry["codepoint"][2:], 16))] = folder / entry["file"]
        if any(path.suffix == ".svg" for path in found.values()):
            raise UserError(f"{folder} holds outlines: draw pictures for a font, without --image_ext svg")
        if not found:
            raise UserError(f"{manifest} names no drawing of a character in label {label}: draw some with infer.py")
        return dict(sorted(found.items()))
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of drawings: draw some with infer.py")
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    for path in files:
        character = character_of(path.stem)
        if character is not None:
            found[character] = path
    if not found:
        first = f", such as {files[0].name}" if files else ""
        raise UserError(f"{folder} has {len(files)} images{first}, and none is named by a character, as 永.png is")
    return dict(sorted(found.items()))


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest.json.

    Raises:
        UserError: when it can't be read.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))["characters"]
        known = [entry for entry in entries if isinstance(entry, dict)]
        for entry in known:
            int(str(entry.get("codepoint", "U+0"))[2:], 16)
            if not isinstance(entry.get("file", ""), str) or ".." in Path(entry.get("file", "")).parts:
                raise ValueError("a file outside of the folder")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {abbreviate(str(error), 100)}") from error
    return known


def read_suspects(folder: Path, label: Label) -> list[str]:
    """The characters of suspects.json, the worst first.

    Raises:
        UserError: when it is not there or can't be read.
    """
    path = folder / "suspects.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file: infer.py --suspects makes it")
    try:
        entries = json.loads(path.read_text("utf-8"))["suspects"]
        return [chr(int(entry["codepoint"][2:], 16)) for entry in entries if entry["label"] == label]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} can't be read: {abbreviate(str(error), 100)}") from error


@dataclass
class Frame:
    """How a canvas lies in the font that is made: the inverse of a placement, and the advances of the source font."""

    target: Placement  # of the target font's glyphs on the canvas
    units_per_em: int  # of the font that is made
    source: GlyphRenderer
    full_width: int  # advance of a character that is an em wide in the source font
    vertical: tuple[int, int] | None  # advance and origin of a full-width character, where the base has them

    def __post_init__(self):
        with TTFont(self.source.path, fontNumber=self.source.index, lazy=True) as font:
            cmap, widths = font.getBestCmap() or {}, font["hmtx"].metrics
            self.source_units = font["head"].unitsPerEm
            self.advances = {codepoint: widths[name][0] for codepoint, name in cmap.items() if name in widths}
            self.metrics = Metrics.of(font)
        self.unit = self.units_per_em / self.target.em  # units of the font in a canvas of side 1

    @property
    def lattice(self) -> Lattice:
        """The whole units on the canvas, as shares of it, y downwards."""
        return Lattice(1 / self.unit, self.target.x, 1 - self.target.y)

    def advance(self, character: str) -> tuple[int, float]:
        """The advance of a character, and how far to the right of its place on the canvas its origin is."""
        own = self.advances.get(ord(character), self.source_units)
        if own == self.source_units or is_han(ord(character)):
            return self.full_width, 0.0
        placement = self.source.placement
        scale = placement.em / placement.units_per_em * self.unit
        return round(own * scale), (placement.x - self.target.x) * self.unit

    def glyph(self, character: str, contours: Contours) -> OutlinedGlyph:
        """A traced glyph in font units."""
        advance, origin = self.advance(character)

        def place(x: float, y: float) -> tuple[int, int]:
            return round((x - self.target.x) * self.unit - origin), round((1 - y - self.target.y) * self.unit)

        height, top = self.vertical or (None, None)
        return OutlinedGlyph(character, advance, calls_of(contours, place), height, top)


def find_frame(args: argparse.Namespace, config: dict[str, Any] | None, base: TTFont | None) -> Frame:
    """Where drawings of the label belong.

    Raises:
        UserError: when the experiment does not tell, or its fonts are gone.
    """
    known = config["data"] if config else {}
    if known.get("kind") == "fonts":
        source = open_recorded(known["src_font"], args.src_font)
        labels_of([args.label], False, known["labels"])
        target = Placement(**known["targets"][heaviest(args.label)]["placement"])
    elif args.src_font:
        source = GlyphRenderer(args.src_font)
        target = source.placement
    else:
        raise UserError("what the glyphs' advances are is not recorded: name the source font with --src_font")
    if base is None:
        with TTFont(source.path, fontNumber=source.index, lazy=True) as font:
            units = font["head"].unitsPerEm
        return Frame(target, units, source, units, None)
    units = base["head"].unitsPerEm
    han = next((name for codepoint, name in base.getBestCmap().items() if is_han(codepoint)), None)
    full_width = base["hmtx"].metrics[han][0] if han else units
    return Frame(target, units, source, full_width, vertical_of(base, han))


def vertical_of(base: TTFont, name: str | None) -> tuple[int, int] | None:
    """Vertical advance and origin of a glyph, where a font has vertical metrics."""
    if name is None or "vmtx" not in base:
        return None
    height, bearing = base["vmtx"].metrics[name]
    if "VORG" in base:
        return height, base["VORG"][name]
    if "glyf" in base and base["glyf"][name].numberOfContours:
        return height, bearing + base["glyf"][name].yMax
    return height, base["hhea"].ascent


# ------------------------------------------------------------------------------------------- the export


@dataclass
class Export:
    """A font to be written."""

    out: Path
    images: dict[str, Path]
    frame: Frame
    base: TTFont | None
    tolerance: float
    names: Names | None

    def write(self, workers: int) -> int:
        """Trace the drawings and write the font; returns 1 when a drawing has no outline."""
        traces = Traces(self.out.with_name(f".{self.out.name}.traces"), self.images, self.tolerance, self.frame.lattice)
        traces.trace(workers)
        for character, reason in list(traces.errors.items())[:10]:
            print(f"{character} ({codepoint_name(character)}): the drawing {reason}; left out", file=sys.stderr)
        if len(traces.errors) > 10:
            print(f"and {len(traces.errors) - 10} more", file=sys.stderr)
        if not len(traces):
            traces.remove()
            raise UserError(
                f"none of the {len(self.images)} drawings has an outline: there is nothing to make a font of"
            )
        glyphs = (self.frame.glyph(character, contours) for character, contours in traces)
        if self.base is not None:
            count = complete_font(self.base, self.out, glyphs, self.names)
            say(f"{self.out}: {count} glyphs added to the {len(self.base.getGlyphOrder()) - count} of the base")
        else:
            spaces = {character: self._space(character) for character in SPACES if character not in self.images}
            count = build_font(self.out, glyphs, spaces, self.names, self.frame.metrics)
            say(f"{self.out}: {len(traces)} drawn glyphs, {count} in all")
        traces.remove()
        return 1 if traces.errors else 0

    def _space(self, character: str) -> int:
        known = ord(character) in self.frame.advances or character == "\u3000"
        return self.frame.advance(character)[0] if known else self.frame.units_per_em // 4


def export_font(args: argparse.Namespace) -> int:
    """The export as a part of infer.py: `args` holds its flags, the rest is as if it was left out."""
    values = {action.dest: None for group in build_parser()._action_groups[2:] for action in group._group_actions}
    given = {name: value for name, value in vars(args).items() if name in values}
    return run(argparse.Namespace(**values | given))


if __name__ == "__main__":
    sys.exit(main())
