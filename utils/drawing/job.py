"""What infer.py is to draw: characters, records, or what was held out; from which font, in which labels."""

import functools
import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from utils.data.font_pairs import placeholder_line
from utils.data.open import data_from_config, framed_font, source_font
from utils.data.pairs import Pair, PairData
from utils.data.record_pairs import RecordData, open_records
from utils.drawing.flags import DrawOptions
from utils.errors import UserError, abbreviate
from utils.experiment.manifest import Drawing
from utils.fonts.complete import missing_from
from utils.glyphs.charset import codepoint_name, parse_text, read_charset, read_text_file, unique
from utils.glyphs.generated import disregard_generated, generated_line
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.source import GlyphSource
from utils.labels import Label, choose_labels, label_folder
from utils.messages import _

logger = logging.getLogger(__name__)
NO_FONT = "these weights come without a font: give --src_font and --src_txt, or --obj_path"


class Job(NamedTuple):
    """What there is to draw."""

    source: GlyphSource  # renders what is drawn from
    truth: PairData | None  # what the drawings are compared with
    drawings: list[Drawing]
    failed: tuple[dict, ...] = ()  # manifest entries of what can't be drawn at all
    scored: bool = True  # whether the drawings are to be compared with the truth
    offered: Callable[[], str] | None = None  # all characters of the source font

    def characters(self) -> str:
        """The characters that are drawn; none of records, which have no names."""
        keys = (item.key for item in self.drawings)
        return unique(key for key in keys if isinstance(key, str) and self.source.covers(key))


def choose_job(options: DrawOptions, config: dict[str, Any], folder: Path) -> Job:
    """What the flags ask for: the records of a file, characters, or what was held out of the training.

    Raises:
        UserError: when the flags name nothing that can be drawn.
    """
    known = config["data"]
    open_source = functools.cache(lambda: open_source_font(options, known))
    characters = choose_characters(options, lambda: open_source().covered())
    if options.suspects and (options.obj_path is not None or known["kind"] != "fonts" or options.image_ext == "svg"):
        raise UserError(_("--suspects compares pictures of characters with those of the fonts: here are none of these"))
    if options.legibility and (options.obj_path is not None or known["kind"] != "fonts"):
        raise UserError(_("--legibility needs to know the characters and their true glyphs: here are none of these"))
    if options.obj_path is not None:
        if characters is not None or options.label or options.run_all_label or options.src_font:
            raise UserError(_("--obj_path draws pairs under their own labels: leave out texts, labels and --src_font"))
        return choose_records(Path(options.obj_path), options, config["model"], folder)
    if characters is None and known["kind"] == "records":
        if options.label or options.run_all_label or options.src_font:
            raise UserError(_("labels and --src_font are for characters: name some with --src_txt or the like"))
        data = data_from_config(known)
        if not data.held_out_pairs:
            raise UserError(_("this experiment holds no pairs out: name some characters, or a file with --obj_path"))
        return Job(data.source, data, plan_records(data.held_out_pairs, folder, options.image_ext))
    labels = choose_labels(options.label, options.run_all_label, known["labels"])
    if known["kind"] == "fonts":
        source = open_source()
        scored = characters is None or options.compare or options.legibility
        truth = data_from_config(known) if scored or options.suspects else None
        characters = characters or known["held_out"]
        if not characters:
            raise UserError(_("this experiment holds no characters out: name some with --src_txt or --charset"))
    else:
        if characters is None or options.src_font is None:
            raise UserError(_(NO_FONT))
        source, truth, scored = open_source(), None, False
    drawings = plan(characters, labels, folder, options.filename_rule, options.image_ext)
    drawings = [replace(each, font=name_of_further(source, each.key)) for each in drawings]
    say_further(source, characters)
    return Job(source, truth, drawings, scored=bool(scored), offered=source.covered)


def say_further(source: GlyphRenderer, characters: str) -> None:
    """Say which of the characters are drawn from the further fonts of a series."""
    for font in source.fonts[1:]:
        own = "".join(c for c in characters if source.font_of(c) is font)
        if own:
            logger.info(
                _(
                    "{count} of {total} characters are drawn from {name}: {some}",
                    count=len(own),
                    total=len(characters),
                    name=font.name,
                    some=abbreviate(own),
                )
            )


def open_source_font(options: DrawOptions, known: Mapping[str, Any]) -> GlyphRenderer:
    """The font that characters are drawn from.

    Raises:
        UserError: when the weights come without one, and none is named.
    """
    if known["kind"] == "fonts":
        return source_font(options.src_font, known["src_font"])
    if options.src_font is None:
        raise UserError(_(NO_FONT))
    return framed_font(options.src_font, known.get("frame"))


def name_of_further(source: GlyphRenderer, character: Any) -> str | None:
    """The name of the font that a character is drawn from, where that is not the first of the source."""
    font = source.font_of(character)
    return None if font is source.fonts[0] else font.name


def choose_records(path: Path, options: DrawOptions, model: dict[str, Any], folder: Path) -> Job:
    """The records of --obj_path, under their own labels.

    Raises:
        UserError: when there are none, or one has a label that the model lacks.
    """

    data = RecordData(open_records(path), None, model["input_nc"])
    for line in data.summary():
        logger.info(line)
    most = model["embedding_num"]
    if len(data.labels) > most:
        raise UserError(
            _(
                "{path} has the label {highest}, the weights have {most} labels",
                path=path,
                highest=data.labels[-1],
                most=most,
            )
        )
    failed = tuple({"record": number, "error": reason} for number, reason in data.dropped.items())
    return Job(data, data, plan_records(data.train_pairs, folder, options.image_ext), failed)


def choose_characters(options: DrawOptions, offered: Callable[[], str]) -> str | None:
    """The characters that the flags name, each once; None when they name none. `offered` gives those of the source.

    Raises:
        UserError: when a flag names no character that could be drawn.
    """

    chosen = []
    if options.src_txt is not None:
        chosen.append(parse_text(options.src_txt))
        if not chosen[-1]:
            raise UserError(_("--src_txt holds no character"))
    if options.src_txt_file is not None:
        chosen.append(read_text_file(Path(options.src_txt_file)))
    if options.charset is not None:
        chosen.append(read_charset(options.charset, offered))
    characters = unique("".join(chosen)) if chosen else None
    if options.missing is None:
        return characters
    if characters is None:
        raise UserError(_("--missing: of which characters? name a --charset, or --src_txt"))
    font = GlyphRenderer(options.missing)
    found = disregard_generated(font, options.generated)
    if found is not None:
        logger.info(generated_line(font, found))
    missing = missing_from(font, characters)
    if not missing:
        raise UserError(
            _(
                "{missing} has all {count} characters: there is nothing to draw",
                missing=options.missing,
                count=len(characters),
            )
        )
    logger.info(
        _(
            "{missing} lacks {count} of {total} characters: {some}",
            missing=options.missing,
            count=len(missing),
            total=len(characters),
            some=abbreviate(missing),
        )
    )
    line = placeholder_line(options.missing, [c for c in missing if c in font.placeholders])
    if line:
        logger.info(line)
    return missing


def is_safe_name(character: str) -> bool:
    """Whether a character can name a file on every system, without meeting another character's file.

    Cased letters meet on systems that ignore case, characters that normalise to others on those
    that normalise names; of the rest, letters, digits and symbols beyond ASCII are safe.
    """
    if character.isascii():
        return character.isdigit() or character.islower()
    forms = (unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC"))
    caseless = character == character.lower() == character.casefold() and character.upper() == character
    return caseless and all(form == character for form in forms) and unicodedata.category(character)[0] in "LNS"


def file_stem(character: str, rule: str, number: int) -> str:
    """The name of a drawing without its extension, by --filename_rule; `number` counts from 1."""
    if rule == "unicode_int":
        return str(ord(character))
    if rule == "seq":
        return f"{number:05d}"
    if rule == "char" and is_safe_name(character):
        return character
    return codepoint_name(character)


def plan(characters: str, labels: Sequence[Label], folder: Path, rule: str, extension: str) -> list[Drawing]:
    """A drawing for every character in every label, in `folder/<label>/`."""
    return [
        Drawing(label, character, folder / label_folder(label) / f"{file_stem(character, rule, number)}.{extension}")
        for label in labels
        for number, character in enumerate(characters, 1)
    ]


def plan_records(pairs: Sequence[Pair], folder: Path, extension: str) -> list[Drawing]:
    """A drawing for every record in its own label, named by its number."""
    return [Drawing(label, key, folder / str(label) / f"{abs(key):05d}.{extension}") for label, key in pairs]
