"""Pairs from fonts and from folders of drawn glyphs: the same character in the source and in a target."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np

from utils.data.pairs import Pair, PairData, choose_validation, left_out_lines, sample_validation, split_held_out
from utils.errors import UserError, abbreviate
from utils.glyphs.charset import codepoint_name, is_drawable, is_han, read_charset
from utils.glyphs.generated import disregard_generated, generated_line
from utils.glyphs.image_folder import GlyphImages
from utils.glyphs.placement import Movement, Placement, align
from utils.glyphs.render import GlyphRenderer
from utils.glyphs.series import FontSeries
from utils.messages import _

Target = GlyphRenderer | GlyphImages
AnyTarget = TypeVar("AnyTarget", GlyphRenderer, GlyphImages)
SLICES_SHARE = 1.2  # characters of all slices of a font, over those of the font: they share few


class Earlier(NamedTuple):
    """What the weights that a training starts from were trained on."""

    train: str  # including those for validation
    held_out: str
    validation: str
    labels: list[str]
    digests: list[str]

    def knows(self, targets: Sequence[Target]) -> bool:
        """Whether one of the targets was a target then, perhaps with other content."""
        return any(target.name in self.labels or target.sha256() in self.digests for target in targets)


class Split(NamedTuple):
    """Which characters are taken and how they are parted; what was held out in an earlier training stays so."""

    ratio: float  # share of the characters that is held out
    seed: int
    val_ratio: float = 0.0  # share of the others that chooses the best checkpoint
    earlier: Earlier | None = None
    all_sources: bool = False  # whether those that only further fonts of the source have are taken too
    generated: str | None = None  # the file that tells which glyphs of the targets were generated
    excluded: str = ""  # characters that are not taken at all


@dataclass
class FontData(PairData):
    """The fonts of an experiment, placed, and the characters it trains on and holds out."""

    source: GlyphRenderer
    targets: list[Target]  # one a label, in the order of the labels
    charset: str  # how the characters were chosen
    train: str
    held_out: str
    lacking: dict[str, str]  # characters left out, by the name of the font that lacks them
    validation: str | None = ""  # of `train`, those that choose the best checkpoint; None: not recorded then
    notes: tuple[str, ...] = ()  # lines on the targets

    @classmethod
    def from_fonts(
        cls,
        src_font: str,
        dst_fonts: Sequence[str],
        dst_imgs: Sequence[str],
        charset: str | None,
        split: Split,
    ) -> "FontData":
        """Open the fonts and folders, choose the characters that source and targets have, and part them.

        Without a charset these are the Han ideographs of the target fonts and all characters of the folders. Of a
        source in several fonts those of the first are trained on, or with `split.all_sources` those of all. Glyphs that
        were generated, as `split.generated` or the file beside a target tells, are none of the target's.

        Raises:
            UserError: when a font or folder can't be used, or when no character is left.
        """
        source = FontSeries(src_font)
        fonts = [GlyphRenderer(spec) for spec in dst_fonts]
        if split.generated and len(fonts) > 1:
            raise UserError(
                _("--generated tells of one font: with several --dst_font let each have its file beside it")
            )
        known = [(font, disregard_generated(font, split.generated)) for font in fonts]
        notes = tuple(generated_line(font, found) for font, found in known if found is not None)
        targets: list[Target] = [*fonts, *map(GlyphImages, dst_imgs)]
        wanted = wanted_characters(charset, source, targets, split.excluded)
        names = distinct([font.name for font in (source, *targets)])
        in_source = source.covers if split.all_sources else source.covers_itself
        covered = [set(filter(covers, wanted)) for covers in (in_source, *(target.covers for target in targets))]
        lacking = {
            name: "".join(c for c in wanted if c not in known) for name, known in zip(names, covered, strict=True)
        }
        usable = "".join(c for c in wanted if c in covered[0] and any(c in known for known in covered[1:]))
        if not usable:
            if any(source.covers(c) and any(c in known for known in covered[1:]) for c in wanted):
                raise UserError(why_not_of_the_first(source, targets))
            raise UserError(why_nothing_is_shared(source, targets, charset))
        for target, known in zip(targets, covered[1:], strict=True):
            shared = "".join(c for c in usable if c in known)
            if not shared:
                raise UserError(why_nothing_is_shared(source, [target], charset))
            target.placement = align(target, source, shared)
        train, held_out, validation = part(usable, split, targets)
        lacking = {name: characters for name, characters in lacking.items() if characters}
        return cls(source, targets, charset or "shared characters", train, held_out, lacking, validation, notes)

    @classmethod
    def from_config(
        cls,
        data: dict[str, Any],
        src_font: str | None = None,
        dst_fonts: Sequence[str] | None = None,
        dst_imgs: Sequence[str] | None = None,
    ) -> "FontData":
        """Open what `describe` recorded: the same fonts, placed alike, and the same characters.

        The further arguments say where fonts and folders lie now, if they have moved.

        Raises:
            UserError: when a font or folder is gone or is not the one that was recorded.
        """
        specs: list[str | None] = [None] * len(data["targets"])
        for flag, key, given in (("dst_font", "spec", dst_fonts), ("dst_imgs", "folder", dst_imgs)):
            places = [label for label, record in enumerate(data["targets"]) if key in record]
            if given is not None and len(given) != len(places):
                raise UserError(
                    _(
                        "--{flag} names {count}, the experiment has {total} of them",
                        flag=flag,
                        count=len(given),
                        total=len(places),
                    )
                )
            for label, spec in zip(places, given or [], strict=False):
                specs[label] = spec
        source = open_recorded_font(data["src_font"], src_font, FontSeries)
        targets = [open_recorded(record, spec) for record, spec in zip(data["targets"], specs, strict=True)]
        validation = data.get("validation")
        unknown = [c for c in data["train"] + data["held_out"] if not source.covers(c)]
        if unknown:
            raise UserError(
                _(
                    "config.json names {unknown}, which {name} does not have",
                    unknown=codepoint_name(unknown[0]),
                    name=source.name,
                )
            )
        return cls(source, targets, data["charset"], data["train"], data["held_out"], data["lacking"], validation)

    @property
    def by_hash(self) -> bool:
        return self.validation is not None

    def validation_keys(self, ratio: float, seed: int) -> set[str]:
        if self.validation is not None:
            return set(self.validation)
        return sample_validation({character for _, character in self.train_pairs}, ratio, seed)

    @property
    def labels(self) -> list[str]:
        return distinct([target.name for target in self.targets])

    @cached_property
    def train_pairs(self) -> list[Pair]:
        return self._covered(self.train)

    @cached_property
    def held_out_pairs(self) -> list[Pair]:
        return self._covered(self.held_out)

    def _covered(self, characters: str) -> list[Pair]:
        return [(label, c) for label, target in enumerate(self.targets) for c in characters if target.covers(c)]

    def has_target(self, pair: Pair) -> bool:
        return self.targets[pair[0]].covers(pair[1])

    def render_pair(self, pair: Pair, image_size: int, move: Movement | None = None) -> tuple[np.ndarray, np.ndarray]:
        label, character = pair
        return self.source.render(character, image_size, move), self.targets[label].render(character, image_size, move)

    def kept_lines(self, earlier: Earlier, where: str) -> list[str]:
        """Lines that say what became of the characters that an earlier training held out."""
        if not self.held_out:
            return []
        kept = set(self.held_out) & set(earlier.held_out)
        lines = [
            _(
                "{count} of the {total} held-out characters were held out in {where}, and stay so",
                count=len(kept),
                total=len(self.held_out),
                where=where,
            )
        ]
        trained = set(earlier.train) - set(earlier.validation) if earlier.knows(self.targets) else set()
        known = [c for c in self.held_out if c in trained]
        if known:
            lines.append(
                _(
                    "{count} of them were trained on in {where}: their scores will be too good",
                    count=len(known),
                    where=where,
                )
            )
        return lines

    def label_digests(self) -> list[str]:
        return [target.sha256() for target in self.targets]

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "fonts",
            "src_font": self.source.describe(),
            "targets": [target.describe() for target in self.targets],
            "labels": self.labels,
            "charset": self.charset,
            "train": self.train,
            "held_out": self.held_out,
            **({"validation": self.validation} if self.validation is not None else {}),
            "lacking": self.lacking,
        }

    def summary(self) -> list[str]:
        lines = [f"source {self.source.title}"]
        for label, target in enumerate(self.targets):
            train, held_out = (sum(map(target.covers, part)) for part in (self.train, self.held_out))
            lines.append(
                _(
                    "label {label} {title}: {train} characters to train on, {held_out} held out",
                    label=label,
                    title=target.title,
                    train=train,
                    held_out=held_out,
                )
            )
            if isinstance(target, GlyphImages):
                lines += [*left_out_lines(target.name, target.dropped), *target.notes]
        lines += self.notes
        fonts = (self.source, *self.targets)
        for name, font in zip(distinct([font.name for font in fonts]), fonts, strict=True):
            missing = self.lacking.get(name, "")
            if missing:
                lines.append(
                    _(
                        "{name} lacks {count} characters, left out: {missing}",
                        name=name,
                        count=len(missing),
                        missing=abbreviate(missing),
                    )
                )
                lines += filter(None, [placeholder_line(name, [c for c in missing if c in font.placeholders])])
        lines += slices_lines(self.targets)
        for font in fonts:
            clipped = "".join(c for c in self.train + self.held_out if font.is_clipped(c))
            if clipped:
                lines.append(
                    _(
                        "{name}: {count} characters are cut at the border: {clipped}",
                        name=font.name,
                        count=len(clipped),
                        clipped=abbreviate(clipped),
                    )
                )
        return lines


def part(usable: str, split: Split, targets: Sequence[Target]) -> tuple[str, str, str]:
    """Characters to train on, held out, and, of the former, for validation.

    What was held out in an earlier training stays so, and of a font that was trained then nothing else is taken that
    the network has seen, as far as there is anything else.
    """
    earlier, seed = split.earlier, split.seed
    seen: set[str] = set()
    kept, kept_validation = set(), set()
    if earlier is not None:
        kept, kept_validation = set(earlier.held_out), set(earlier.validation)
        if earlier.knows(targets):
            seen = set(earlier.train) - kept_validation

    def choose(characters: str, kept: set[str], choice: Callable[[str], Collection[str]]) -> set[str]:
        unseen = "".join(c for c in characters if c not in seen)
        return kept & set(characters) | set(choice(unseen)) if unseen else set(choice(characters))

    held_out: set[str] = set()
    if split.ratio > 0:
        held_out = choose(usable, kept, lambda known: split_held_out(known, split.ratio, seed)[1])
        if len(held_out) == len(usable):
            held_out.discard(usable[0])
    train = "".join(c for c in usable if c not in held_out)
    validation: set[str] = set()
    if split.val_ratio > 0:
        validation = choose(train, kept_validation, lambda known: choose_validation(known, split.val_ratio, seed))
    held_out_ones, for_validation = ("".join(c for c in usable if c in chosen) for chosen in (held_out, validation))
    return train, held_out_ones, for_validation


def why_not_of_the_first(source: FontSeries, targets: Sequence[Target]) -> str:
    """Why there is nothing to train on, although further fonts of the source share characters with the targets."""
    return _(
        "{first} shares no character with {where}: --all_sources learns the other fonts' too",
        first=source.fonts[0].name,
        where=", ".join(target.name for target in targets),
    )


def why_nothing_is_shared(source: GlyphRenderer, targets: Sequence[Target], charset: str | None) -> str:
    """The message for fonts that have nothing in common that could be trained on."""
    where = " or ".join(target.spec for target in targets)
    for font in (source, *targets):
        if not font.codepoints():
            return _("font {spec} has no cmap that tells which characters it has", spec=font.spec)
        if isinstance(font, GlyphRenderer) and font.is_symbolic:
            return _(
                "font {spec} numbers its glyphs as symbols (cmap 3,0), which does not tell which characters they "
                "are: give it a Unicode cmap in a font editor",
                spec=font.spec,
            )
    own, others = set(map(chr, source.codepoints())), {chr(c) for target in targets for c in target.codepoints()}
    both = (
        own & others & set(read_charset(charset, source.covered))
        if charset
        else {c for c in own & others if is_han(ord(c))}
    )
    boxed = {c for c in both if any(c in font.placeholders for font in (source, *targets))}
    if boxed and boxed == both:
        return _(
            "all {count} characters that are both in {spec} and in {where} are placeholders in one of them, one "
            "outline for several characters: nobody drew them",
            count=len(both),
            spec=source.spec,
            where=where,
        )
    if charset:
        return _(
            "no character of {charset} is both in {spec} and in {where}", charset=charset, spec=source.spec, where=where
        )
    drawn = {c for c in own & others if is_drawable(c) and source.covers(c)}
    shared = "".join(c for c in sorted(drawn) if any(target.covers(c) for target in targets))
    if shared:
        return _(
            "{spec} and {where} share no Han ideograph, but {count} other characters, {shared}: name those to "
            "learn with --charset (a text file, or ksx1001 for Hangul)",
            spec=source.spec,
            where=where,
            count=len(shared),
            shared=abbreviate(shared, 10),
        )
    return _("no character is both in {spec} and in {where}", spec=source.spec, where=where)


def slices_lines(targets: Sequence[Target]) -> list[str]:
    """A line for each name that several targets have without sharing characters, as slices of a web font do."""
    by_name: dict[str, list[set[int]]] = {}
    for target in targets:
        by_name.setdefault(target.name, []).append(set(target.codepoints()))
    return [
        _(
            "{count} labels are called {name} and have different characters: slices of one font are one label "
            "when they are joined with +, or named by a pattern in quotes",
            count=len(parts),
            name=name,
        )
        for name, parts in by_name.items()
        if len(parts) > 1 and sum(map(len, parts)) < SLICES_SHARE * len(set().union(*parts))
    ]


def placeholder_line(name: str, placeholders: Sequence[str]) -> str | None:
    """The line that says how many of the characters that a font lacks only seem to be in it."""
    if not placeholders:
        return None
    return _(
        "of these {name} has {count} only as placeholders, one outline for several characters: {placeholders}",
        name=name,
        count=len(placeholders),
        placeholders=abbreviate("".join(placeholders)),
    )


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where they would be the same."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        found.append(name if name not in found else next(n for n in numbered if n not in found and n not in names))
    return found


def wanted_characters(charset: str | None, source: GlyphRenderer, targets: Sequence[Target], excluded: str) -> str:
    """The characters that are asked for, whoever has them: of a charset, else what the targets are for.

    Raises:
        UserError: when none is left of them without the `excluded` ones.
    """
    if charset is None:
        wanted = sorted({character for target in targets for character in offered(target)})
    else:
        wanted = list(read_charset(charset, source.covered))
    left_out = set(excluded)
    found = "".join(character for character in wanted if character not in left_out)
    if excluded and not found:
        raise UserError(_("--exclude_characters leaves no character to learn"))
    return found


def offered(target: Target) -> list[str]:
    """What a target is for when no charset is given: a font's Han ideographs, all that a folder shows."""
    return [chr(c) for c in target.codepoints() if is_han(c) or isinstance(target, GlyphImages)]


def open_recorded(record: dict[str, Any], spec: str | None = None) -> Target:
    """Open a font or folder as config.json recorded it, placed as in training, at `spec` if it has moved.

    Raises:
        UserError: when it is not there, or is another one.
    """
    if "folder" not in record:
        return open_recorded_font(record, spec)
    place = Placement(**record["placement"])
    return _checked(lambda: GlyphImages(spec or record["folder"], place, record.get("dropped")), record)


def open_recorded_font(
    record: dict[str, Any], spec: str | None = None, kind: type[GlyphRenderer] = GlyphRenderer
) -> GlyphRenderer:
    """As `open_recorded`, for a font; a source is a `FontSeries`."""
    font = _checked(lambda: kind(spec or record["spec"], Placement(**record["placement"])), record)
    font.disregarded = frozenset(record.get("generated", ""))
    if spec is None:
        for further, known in zip(font.fonts[1:], record.get("further", []), strict=False):
            if further.sha256() != known["sha256"]:
                raise UserError(
                    _(
                        "{spec} is not the {name} of the training: its content is another",
                        spec=further.spec,
                        name=known["name"],
                    )
                )
    if "em_bottom" not in record:
        font.take_placeholders_for_glyphs()  # an older experiment was trained on them, and stays as it is
    return font


def _checked(open_it: Callable[[], AnyTarget], record: dict[str, Any]) -> AnyTarget:
    try:
        target = open_it()
    except UserError as error:
        raise UserError(_("{error} (expected {name}, as in training)", error=error, name=record["name"])) from error
    if target.sha256() != record["sha256"]:
        raise UserError(
            _("{spec} is not the {name} of the training: its content is another", spec=target.spec, name=record["name"])
        )
    return target
