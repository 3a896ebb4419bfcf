"""The command lines of a project's jobs: the flags that a user would give the scripts."""

from dataclasses import dataclass

from utils.errors import UserError
from utils.experiment import checkpoint
from utils.experiment.config import Paths
from utils.glyphs.charset import NAMED, RANGE, SOURCE, read_joined
from utils.glyphs.render import GlyphRenderer
from utils.messages import _
from utils.web.projects import KINDS, Project

TRAIN, DRAW, FONT, TEMPLATE = "train.py", "infer.py", "utils.font_export", "utils.template"
AUTO = "auto"  # as the font that is completed, else the first of KINDS
MARKS_AND_LETTERS = "punctuation+bopomofo+latin"  # what is borrowed of the source font


@dataclass(frozen=True)
class Training:
    """What the form of the training holds."""

    minutes: float | None = None
    steps: float | None = None
    batch_size: float | None = None
    from_scratch: bool = False
    start_over: bool = False


def is_trained(project: Project) -> bool:
    """Whether the project has a checkpoint."""
    return bool(checkpoint.drawable_steps(Paths(project.root).checkpoint))


def train_flags(project: Project, training: Training) -> list[str]:
    """The flags of train.py: a project that has a checkpoint goes on from it, if it is not to start over."""
    goes_on = is_trained(project) and not training.start_over
    flags = ["--experiment_dir", str(project.root)]
    flags += ["--resume", "latest"] if goes_on else data_flags(project)
    if not goes_on:
        flags += ["--g_blur", "--ema_decay", "0.999", *(["--from_scratch"] if training.from_scratch else [])]
        flags += ["--overwrite"] if training.start_over else []
    for name, value in (("max_minutes", training.minutes), ("max_steps", training.steps)):
        flags += [f"--{name}", number(value)] if value else []
    return flags + (["--batch_size", number(training.batch_size)] if training.batch_size else [])


def data_flags(project: Project) -> list[str]:
    """The fonts and images of a project; those that were not uploaded are the bundled ones."""
    source, target = project.font("source"), project.font("target")
    flags = ["--src_font", source] if source else []
    flags += ["--dst_font", target] if target else []
    return flags + (["--dst_imgs", str(project.glyphs)] if project.glyphs.is_dir() else [])


def number(value: float) -> str:
    """A number of a form, whole ones without a point."""
    return f"{value:g}" if value != int(value) else str(int(value))


def draw_flags(project: Project, charset: str, text: str, only_missing: bool) -> list[str]:
    """The flags of infer.py: the characters of a text or a charset, of these those that one's own font lacks.

    Raises:
        UserError: when nothing is trained, or nothing is to be drawn; a file is no charset here.
    """
    if not is_trained(project):
        raise UserError(_("nothing is trained yet"))
    flags = ["--experiment_dir", str(project.root), "--suspects"]
    target = project.font("target")
    if text.strip():
        return [*flags, "--src_txt", text.strip()]
    if not charset:
        raise UserError(_("choose a charset, or type the characters"))
    known = read_joined(charset, lambda part: part in NAMED or part == SOURCE or bool(RANGE.fullmatch(part)))
    if isinstance(known, str):
        raise UserError(
            _("{charset} is neither a charset by its name nor a range such as U+3400-4DBF", charset=charset)
        )
    return [*flags, "--charset", charset, *(["--missing", target] if only_missing and target else [])]


@dataclass(frozen=True)
class FontChoice:
    """What the form of the font holds."""

    name: str = ""
    kind: str = AUTO
    complete: bool = True  # the font that was uploaded, rather than make one of the drawings alone
    borrow: bool = False
    reviewed: bool = False  # leave out what was marked


def font_name(project: Project, choice: FontChoice) -> str:
    """The file name of the font."""
    kind, target = choice.kind, project.font("target")
    if kind not in KINDS:
        kind = KINDS[0]
        if choice.complete and target:
            with GlyphRenderer(target).files[0].open() as font:
                kind = "ttf" if "glyf" in font else "otf"
    return f"{project.name}.{kind}"


def font_flags(project: Project, choice: FontChoice) -> list[str]:
    """The flags of the export.

    Raises:
        UserError: when letters are to be borrowed of a source font that was not uploaded.
    """
    flags = ["--experiment_dir", str(project.root)]
    flags += ["--font_out", str(project.fonts / font_name(project, choice))]
    flags += ["--font_name", choice.name.strip()] if choice.name.strip() else []
    target, source = project.font("target"), project.font("source")
    flags += ["--base", target] if choice.complete and target else []
    if choice.borrow:
        if source is None:
            raise UserError(_("upload a source font: the bundled one has no punctuation to borrow"))
        flags += ["--fill", source, "--fill_charset", MARKS_AND_LETTERS]
    return flags + (["--exclude", str(project.review)] if choice.reviewed else [])
