"""Making a font of drawings: what can be checked before, and the work."""

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from utils.cli import as_given
from utils.errors import UserError, abbreviate
from utils.experiment.config import Paths, read_config
from utils.experiment.manifest import find_drawings, read_manifest, read_suspects
from utils.experiment.marks import LEAVE_OUT, REDRAW, marked, read_marks
from utils.files import locked, remove_stray
from utils.fonts.build import Metrics, build_font, most_glyphs, too_many
from utils.fonts.complete import Base, check_room, complete_font, open_base
from utils.fonts.coverage import add_lent
from utils.fonts.fill import Filling
from utils.fonts.flags import ExportOptions
from utils.fonts.glyph import OutlinedGlyph
from utils.fonts.layout import Layout, find_layout
from utils.fonts.names import Names, check_name, family_name, style_name
from utils.fonts.spacing import SourceSpacing
from utils.fonts.trace_cache import Traces
from utils.fonts.vertical import vertical_pairs
from utils.glyphs.charset import codepoint_name, read_text, unique
from utils.glyphs.generated import write_generated
from utils.glyphs.spec import font_files
from utils.glyphs.variation import as_text
from utils.labels import Label, label_weights
from utils.messages import _
from utils.processes import cores

logger = logging.getLogger(__name__)

MOST_NAMED = 10  # drawings without an outline that are named
SPACES = " \u00a0\u3000"  # what a new font has beside the drawings
KINDS = (".otf", ".ttf")


def run(options: ExportOptions) -> int:
    """Trace the drawings and write the font; returns 1 when a drawing had no outline."""
    export = make_ready(options)
    with locked(export.out.parent, f".{export.out.name}.lock", _("making {name} in", name=export.out.name)):
        remove_stray(export.out.parent)
        return export.write(options.num_workers or cores())


def check_drawn(options: ExportOptions, characters: str) -> None:
    """See before any of `characters` is drawn whether a font could be made of them and of the drawings there are.

    Raises:
        UserError: when it couldn't.
    """
    export, folder = check(options), folder_of_drawings(options)
    with contextlib.suppress(UserError):  # nothing was drawn there so far
        characters += "".join(find_drawings(folder, options.label))
    characters = unique(characters)
    export.wanted(characters)
    if options.exclude_suspects >= len(characters):
        raise UserError(
            _(
                "--exclude_suspects {exclude_suspects} leaves none of the {count} drawings",
                exclude_suspects=options.exclude_suspects,
                count=len(characters),
            )
        )


def folder_of_drawings(options: ExportOptions) -> Path:
    """The folder that infer.py has drawn into."""
    return Path(options.infer_dir) if options.infer_dir else Paths(Path(options.experiment_dir)).root / "infer"


def check_output(out: Path) -> None:
    """See whether a font can be written to `out`.

    Raises:
        UserError: when it can't.
    """
    if out.suffix.lower() not in KINDS:
        raise UserError(_("--font_out {out} ends neither in .otf nor in .ttf", out=out))
    if out.is_dir():
        raise UserError(_("--font_out {out} is a folder", out=out))
    if out.is_file() and not os.access(out, os.W_OK):
        raise UserError(_("--font_out {out} is read-only", out=out))
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not there.is_dir():
        raise UserError(_("--font_out {out}: {there} is no folder", out=out, there=there))
    if not os.access(there, os.W_OK):
        raise UserError(_("--font_out {out}: {there} is read-only", out=out, there=there))


def open_fitting_base(out: Path, spec: str, told_by: str | None) -> Base:
    """The base of `out`; `told_by` is as in `Base`.

    Raises:
        UserError: when it can't be completed, or has other outlines.
    """
    base = Base(spec, told_by)
    kind = ".otf" if "CFF " in base.font else ".ttf"
    if out.suffix.lower() != kind:
        raise UserError(
            _("--base {spec} has the outlines of a {kind} font: let --font_out end in {kind}", spec=spec, kind=kind)
        )
    return base


def refuse_other_label(base: Base, label: Label, data: dict[str, Any]) -> None:
    """See to it that drawings are not added to a font of another style: one that the training knows as another label.

    Raises:
        UserError: when they would be.
    """
    digest, name = base.glyphs.sha256(), base.glyphs.name
    targets = list(enumerate(data.get("targets") or []))
    known = [number for number, record in targets if record["sha256"] == digest]
    known = known or [number for number, record in targets if "spec" in record and record["name"] == name]
    if known and not set(known) & set(label_weights(label)):
        raise UserError(
            _(
                "--base {spec} is {name}, label {known} of the training, and the drawings are of label {label}: draw "
                "with --label {known}, or name another base",
                spec=base.spec,
                name=name,
                known=known[0],
                label=label,
            )
        )


def refuse_inputs(out: Path, options: ExportOptions, config: dict[str, Any] | None) -> None:
    """See to it that no font that something is made from is written over.

    Raises:
        UserError: when `out` is one.
    """
    if not out.exists():
        return
    data = config["data"] if config else {}
    recorded = [data.get("src_font") or {}, *(data.get("targets") or [])]
    specs = [
        options.base,
        options.src_font,
        options.missing,
        options.fill,
        *(record.get("spec") for record in recorded),
    ]
    for spec in filter(None, specs):
        if is_same_file(out, spec):
            raise UserError(_("--font_out {out} is a font that this one is made from: name another file", out=out))


def is_same_file(path: Path, spec: str) -> bool:
    """Whether a font lies in the very file `path`, which exists; a font that is gone does not."""
    try:
        return any(path.samefile(file.path) for file in font_files(spec))
    except (UserError, OSError):
        return False


def choose_names(options: ExportOptions, out: Path, base: Base | None) -> Names | None:
    """What the font is to say of itself; None where it keeps the names of the base.

    Raises:
        UserError: when it can't be said, or would be left out.
    """
    if base is not None and options.font_name is None:
        given = [
            name
            for name in ("font_name_en", "font_style", "font_version", "font_license")
            if getattr(options, name) is not None
        ]
        if given:
            raise UserError(_("--{name} renames the base: give --font_name too", name=given[0]))
        return None
    style, licence = (
        options.font_style or (style_name(base.font) if base else "Regular"),
        read_licence(options.font_license),
    )
    try:
        return Names(
            options.font_name or out.stem, style, options.font_version or "1.000", licence, options.font_name_en
        )
    except ValueError as error:
        raise UserError(f"--{error}") from error


def read_licence(given: str | None) -> str | None:
    """The text of the licence, as given or from the file that is named."""
    with contextlib.suppress(OSError, ValueError):  # a text is no path
        if given and Path(given).is_file():
            return read_text(Path(given))
    return given


# ------------------------------------------------------------------------------------------- the export


@dataclass(frozen=True)
class Export:
    """A font to be written."""

    out: Path
    images: dict[str, Path]
    layout: Layout
    base: Base | None
    tolerance: float
    names: Names | None
    filling: Filling | None = None
    origin: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # how each drawing was made
    folder: Path = Path()  # of the drawings

    def wanted(self, characters: str) -> str:
        """Those of `characters` that go into the font.

        Raises:
            UserError: when it has them all, or has no room for them.
        """
        lent = len(self.lent(characters))
        if self.base is None:
            cubic = self.out.suffix.lower() == ".otf"
            if len(characters) + lent + len(set(SPACES) - set(characters)) + 1 > most_glyphs(cubic):  # and .notdef
                raise UserError(too_many(cubic))
            return characters
        missing = self.base.lacks(characters)
        if not missing:
            if not characters:
                raise UserError(_("none of the characters can be drawn: there is nothing to add to the base"))
            raise UserError(
                _(
                    "--base {spec} has all {count} characters already: there is nothing to add",
                    spec=self.base.spec,
                    count=len(characters),
                )
            )
        check_room(self.base.font, sum(c not in self.base.generated for c in missing) + lent)
        return missing

    def lent(self, characters: str) -> str:
        """What the filling lends beside the `characters` that are drawn, and what the base has."""
        if self.filling is None:
            return ""
        there = set(characters + SPACES)
        lacking = "".join(c for c in self.filling.offered if c not in there)
        if self.base is None:
            return lacking
        return "".join(c for c in self.base.lacks(lacking) if c not in self.base.generated)

    def write(self, workers: int) -> int:
        """Trace the drawings and write the font; returns 1 when a drawing has no outline."""
        traces = Traces(
            self.out.with_name(f".{self.out.name}.traces"), self.images, self.tolerance, self.layout.lattice
        )
        traces.trace(workers)
        tell_errors(traces.errors)
        if not len(traces):
            traces.remove()
            raise UserError(
                _(
                    "none of the {count} drawings has an outline: there is nothing to make a font of",
                    count=len(self.images),
                )
            )
        drawn = "".join(c for c in self.images if c not in traces.errors)
        lent = self.lent(drawn)
        vertical = self._vertical(drawn + lent)
        glyphs: Iterable[OutlinedGlyph]
        glyphs = (self.layout.glyph(character, contours) for character, contours in traces)
        if self.filling is not None and lent:
            glyphs = chain(glyphs, self.filling.lent(lent, self.layout.units_per_em))
        if self.base is not None:
            self._complete(self.base, glyphs, vertical, drawn)
        else:
            count = self._build(glyphs, vertical)
            logger.info(_("{out}: {count} drawn glyphs, {total} in all", out=self.out, count=len(traces), total=count))
        self._tell(lent)
        self._tell_origins(drawn, lent)
        traces.remove()
        return 1 if traces.errors else 0

    def _complete(self, base: Base, glyphs: Iterable[OutlinedGlyph], vertical: dict[str, str], drawn: str) -> None:
        """Add the glyphs to the base, and say how many they are."""
        font = open_base(base.spec)  # fresh: no glyph of it has been looked at
        count = complete_font(font, self.out, glyphs, self.names, base.generated, vertical)
        place, anew = as_text(base.file.variation), sum(c in base.generated for c in drawn)
        logger.info(
            _(
                "{out}: {count} glyphs added to the {own} of the base{at}{again}",
                out=self.out,
                count=count,
                own=len(font.getGlyphOrder()) - count,
                at=_(", a variable font, as it is at {place}", place=place) if place else "",
                again=_("; {anew} that had been generated before are made anew", anew=anew) if anew else "",
            )
        )

    def _tell(self, lent: str) -> None:
        """Say what its maker should know of the font."""
        if self.filling is not None and lent:
            terms, name = abbreviate(self.filling.terms, 300), self.filling.glyphs.name
            logger.info(_("{count} characters are lent by {name}: {terms}", count=len(lent), name=name, terms=terms))
        overrun = "".join(self.layout.overrun)
        if overrun:
            logger.info(
                _(
                    "the ink of {count} glyphs reaches beyond their advance: {overrun}",
                    count=len(overrun),
                    overrun=abbreviate(overrun),
                )
            )
        if self.names is not None and self.names.is_derived:
            logger.info(
                _(
                    "the font's name in English is {english_family}: --font_name_en gives it another",
                    english_family=self.names.english_family,
                )
            )

    def _tell_origins(self, drawn: str, lent: str) -> None:
        """Write which glyphs of the font were generated, or lent, those that the base had before among them."""
        entries: dict[str, Mapping[str, Any]] = dict(self.base.generated if self.base else {})
        if self.filling is not None:
            font = self.filling.glyphs.name
            entries |= {character: {"font": font} for character in lent}
            add_lent(self.folder / "coverage.json", font, self.filling.terms, lent)
        write_generated(self.out, entries | {c: self.origin.get(c, {}) for c in drawn})

    def _vertical(self, new: str) -> dict[str, str]:
        """Which new characters get which form in vertical text; says which would need one that is not there."""
        there = {*self.base.glyphs.covered(), *self.base.generated} if self.base else set()
        sources = [*self.layout.source.fonts, *([self.filling.glyphs] if self.filling else [])]
        pairs, lacking = vertical_pairs(new, there, sources)
        if pairs:
            logger.info(_("punctuation with another form in vertical text (vert): {count}", count=len(pairs)))
        if lacking:
            logger.info(
                _(
                    "in vertical text these stay as they are, since their other forms are not drawn: {lacking}",
                    lacking=abbreviate(lacking),
                )
            )
        return pairs

    def _build(self, glyphs: Iterable[OutlinedGlyph], vertical: Mapping[str, str]) -> int:
        """Write a new font, with the metrics of the source; returns the number of its glyphs."""
        spacing, names = self.layout.spacing, self.names
        if names is None or not isinstance(spacing, SourceSpacing):
            raise TypeError("a font without a base has a name, and the spacing of the source")
        with spacing.source.files[0].open() as source:
            metrics = Metrics.of(source)
        spaces = {
            space: spacing.place(space, 0, 0).advance
            if ord(space) in spacing.advances or space == "\u3000"
            else self.layout.units_per_em // 4
            for space in SPACES
            if space not in self.images
        }
        return build_font(self.out, glyphs, spaces, names, metrics, vertical)


def make_ready(options: ExportOptions) -> Export:
    """Check everything that can be checked before a glyph is traced.

    Raises:
        UserError: when no font can be made of what there is.
    """
    export = check(options)
    folder = folder_of_drawings(options)
    images = find_drawings(folder, options.label, to_trace=True)
    wanted = export.wanted("".join(images))
    left_out = excluded(folder, options)
    chosen = {character: images[character] for character in wanted if character not in left_out}
    if not chosen:
        given = [name for name in ("exclude_suspects", "exclude") if getattr(options, name)]
        flags = " and ".join(as_given(name, getattr(options, name)) for name in given)
        raise UserError(_("{flags} leaves none of the {count} drawings", flags=flags, count=len(wanted)))
    return replace(export, images=chosen, origin=origins(folder, options), folder=folder)


def excluded(folder: Path, options: ExportOptions) -> set[str]:
    """The characters that are left out of the font: the worst of the suspects, and what a review leaves out.

    Raises:
        UserError: when either can't be read.
    """
    found: set[str] = set()
    if options.exclude_suspects:
        found |= set(list(read_suspects(folder, options.label))[: options.exclude_suspects])
    if options.exclude is not None:
        of_review = excluded_by_review(options)
        logger.info(
            _(
                "{exclude} leaves out {count} characters: {of_review}",
                exclude=options.exclude,
                count=len(of_review),
                of_review=abbreviate(of_review),
            )
        )
        found |= set(of_review)
    return found


def excluded_by_review(options: ExportOptions) -> str:
    """The characters that the review of --exclude marks to be redrawn or left out; none without one.

    Raises:
        UserError: when it can't be read, or is of other drawings.
    """
    if options.exclude is None:
        return ""
    config = read_config(Paths(Path(options.experiment_dir)))
    return marked(read_marks(Path(options.exclude), config, options.label), (REDRAW, LEAVE_OUT))


def origins(folder: Path, options: ExportOptions) -> dict[str, dict[str, Any]]:
    """What the file beside the font is to say of each drawing: its step, and the experiment."""
    manifest = folder / "manifest.json"
    entries = read_manifest(manifest) if manifest.is_file() else []
    name = Path(options.experiment_dir).name
    return {
        entry["character"]: {"step": entry["step"], "experiment": name}
        for entry in entries
        if entry.get("label") == options.label and "step" in entry and "character" in entry
    }


def check(options: ExportOptions) -> Export:
    """Check the flags and the fonts that they name, which needs no drawing.

    Raises:
        UserError: when no font could be made.
    """
    if options.font_out is None:
        raise UserError(_("--font_out: name the font to write, such as MyFont.otf"))
    if not 0 < options.tolerance <= 10:
        raise UserError(_("--tolerance {tolerance} is not above 0 and up to 10 pixels", tolerance=options.tolerance))
    config = read_config(Paths(Path(options.experiment_dir)))
    out = Path(options.font_out)
    check_output(out)
    base = open_fitting_base(out, options.base, options.generated) if options.base else None
    refuse_inputs(out, options, config)
    if base is not None and config is not None:
        refuse_other_label(base, options.label, config["data"])
    for name in (options.font_name or (family_name(base.font) if base else out.stem), options.font_name_en or ""):
        check_name(name, options.reserved_font_name)
    names = choose_names(options, out, base)
    if options.fill_charset and not options.fill:
        raise UserError(_("--fill_charset: which font lends its glyphs? name it with --fill"))
    filling = Filling(options.fill, options.fill_charset) if options.fill else None
    layout = find_layout(options.src_font, options.label, config, base)
    return Export(out, {}, layout, base, options.tolerance, names, filling)


def tell_errors(errors: Mapping[str, str]) -> None:
    """Say which drawings have no outline, the first of many."""
    for character, reason in list(errors.items())[:MOST_NAMED]:
        codepoint = codepoint_name(character)
        logger.error(
            _(
                "{character} ({codepoint}): the drawing {reason}; left out",
                character=character,
                codepoint=codepoint,
                reason=reason,
            )
        )
    if len(errors) > MOST_NAMED:
        logger.error(_("and {count} more", count=len(errors) - MOST_NAMED))
