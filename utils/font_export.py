"""Make a font of drawn glyphs, or complete one with them.

    python -m utils.font_export --experiment_dir experiments/run1 --font_out MyFont.otf --font_name "My Font"
    python -m utils.font_export --experiment_dir experiments/run1 --font_out Full.ttf --base MyFont.ttf

Drawings are those of infer.py. Each is traced and put where a drawn glyph of the target font would be: the inverse of
its placement in training.
"""

import argparse
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fontTools.ttLib import TTFont

from utils.charset import codepoint_name, read_text
from utils.cli import Parser, UserError, abbreviate, add_flag, at_least, resolve, run_script, say
from utils.experiment import Paths, read_config
from utils.files import locked, remove_stray
from utils.font_build import Names, build_font
from utils.font_complete import check_name, complete_font, family_of, missing_from, open_base, style_of
from utils.font_frame import Frame, find_frame
from utils.glyph_images import character_of
from utils.images import EXTENSIONS
from utils.labels import Label, label_or_blend
from utils.render import split_spec
from utils.traces import Traces, cores
from utils.vectorize import TOLERANCE

DEFAULTS = {
    "experiment_dir": "experiments/default",
    "label": 0,
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
    flag(out, "font_style", "name of the style (default: Regular, or that of the base)")
    flag(out, "font_version", "version number (default: 1.000)")
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
    base, names, frame = check(args)
    out, folder = Path(args.font_out), folder_of_drawings(args)
    images = find_drawings(folder, args.label)
    if base is not None:
        missing = missing_from(base, "".join(images))
        if not missing:
            raise UserError(f"--base {args.base} has all {len(images)} characters already: there is nothing to add")
        images = {character: images[character] for character in missing}
    if args.exclude_suspects:
        for character in read_suspects(folder, args.label)[: args.exclude_suspects]:
            images.pop(character, None)
    return Export(out, images, frame, args.base, args.tolerance, names)


def folder_of_drawings(args: argparse.Namespace) -> Path:
    """The folder that infer.py has drawn into."""
    return Path(args.infer_dir) if args.infer_dir else Paths(Path(args.experiment_dir)).root / "infer"


def check(args: argparse.Namespace) -> tuple[TTFont | None, Names | None, Frame]:
    """Check the flags and the fonts that they name, which needs no drawing; returns base, names and frame.

    Raises:
        UserError: when no font could be made.
    """
    if args.font_out is None:
        raise UserError("--font_out: name the font to write, such as MyFont.otf")
    if not 0 < args.tolerance <= 10:
        raise UserError(f"--tolerance {args.tolerance} is not above 0 and up to 10 pixels")
    config = read_config(Paths(Path(args.experiment_dir)))
    out = Path(args.font_out)
    base = check_output(out, args.base)
    refuse_inputs(out, args, config)
    check_name(args.font_name or (family_of(base) if base else out.stem), args.reserved_font_name or [])
    return base, names_of(args, out, base), find_frame(args.src_font, args.label, config, base)


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
    if (out.suffix.lower() == ".otf") != ("CFF " in font):
        kind = ".otf" if "CFF " in font else ".ttf"
        raise UserError(f"--base {base} has the outlines of a {kind} font: let --font_out end in {kind}")
    return font


def refuse_inputs(out: Path, args: argparse.Namespace, config: dict[str, Any] | None) -> None:
    """See to it that no font that something is made from is written over.

    Raises:
        UserError: when `out` is one.
    """
    if not out.exists():
        return
    data = config["data"] if config else {}
    recorded = [data.get("src_font") or {}, *(data.get("targets") or [])]
    specs = [args.base, args.src_font, getattr(args, "missing", None), *(record.get("spec") for record in recorded)]
    for spec in filter(None, specs):
        if is_same_file(out, spec):
            raise UserError(f"--font_out {out} is a font that this one is made from: name another file")


def is_same_file(path: Path, spec: str) -> bool:
    """Whether a font lies in the very file `path`, which exists; a font that is gone does not."""
    try:
        return path.samefile(split_spec(spec)[0])
    except (UserError, OSError):
        return False


def names_of(args: argparse.Namespace, out: Path, base: TTFont | None) -> Names | None:
    """What the font is to say of itself; None where it goes on saying what the base says.

    Raises:
        UserError: when it can't be said, or would be left out.
    """
    if base is not None and args.font_name is None:
        given = [name for name in ("font_style", "font_version", "font_license") if getattr(args, name) is not None]
        if given:
            raise UserError(f"--{given[0]} renames the base: give --font_name too")
        return None
    style = args.font_style or (style_of(base) if base is not None else "Regular")
    try:
        return Names(args.font_name or out.stem, style, args.font_version or "1.000", licence_of(args.font_license))
    except ValueError as error:
        raise UserError(f"--{error}") from error


def licence_of(given: str | None) -> str | None:
    """The text of the licence, as given or from the file that is named."""
    with contextlib.suppress(OSError, ValueError):  # a text is no path
        if given and Path(given).is_file():
            return read_text(Path(given))
    return given


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
            if "error" in entry or "record" in entry:
                continue
            chr(int(entry["codepoint"][2:], 16))
            file = Path(entry["file"])
            if file.is_absolute() or ".." in file.parts:
                raise ValueError("a file outside of the folder")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
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
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} can't be read: {abbreviate(str(error), 100)}") from error


# ------------------------------------------------------------------------------------------- the export


@dataclass
class Export:
    """A font to be written."""

    out: Path
    images: dict[str, Path]
    frame: Frame
    base: str | None
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
            base = open_base(self.base)  # fresh: no glyph of it has been looked at
            count = complete_font(base, self.out, glyphs, self.names)
            say(f"{self.out}: {count} glyphs added to the {len(base.getGlyphOrder()) - count} of the base")
        else:
            spaces = {character: self._space(character) for character in SPACES if character not in self.images}
            count = build_font(self.out, glyphs, spaces, self.names, self.frame.metrics)
            say(f"{self.out}: {len(traces)} drawn glyphs, {count} in all")
        traces.remove()
        return 1 if traces.errors else 0

    def _space(self, character: str) -> int:
        known = ord(character) in self.frame.advances or character == "\u3000"
        return self.frame.advance(character)[0] if known else self.frame.units_per_em // 4


def flags_from(args: argparse.Namespace) -> argparse.Namespace:
    """The flags of the export out of those of infer.py: what these don't hold is as if it was left out."""
    values = {action.dest: None for group in build_parser()._action_groups[2:] for action in group._group_actions}
    given = {name: value for name, value in vars(args).items() if name in values or name == "missing"}
    return argparse.Namespace(**values | given)


if __name__ == "__main__":
    sys.exit(main())
