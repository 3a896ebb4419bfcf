"""What infer.py does, from the flags to the drawings, sheets and scores."""

import contextlib
import logging
from pathlib import Path

from utils.data.font_pairs import FontData
from utils.device import choose_device
from utils.distributed import Ranks, joined
from utils.drawing.compare import compare
from utils.drawing.draw import draw_files
from utils.drawing.flags import DrawOptions
from utils.drawing.job import Job
from utils.drawing.review import review_of
from utils.drawing.session import HEADINGS, Session, open_session
from utils.drawing.suspects import draw_suspects, rank_drawings
from utils.errors import UserError
from utils.experiment.config import Paths, read_config
from utils.experiment.manifest import changed_since, earlier_entries, entry_title, read_suspects, write_manifest
from utils.files import locked, remove_stray, write_json
from utils.fonts import export
from utils.fonts.coverage import charsets_for, coverage, coverage_lines
from utils.glyphs.charset import unique
from utils.glyphs.generated import disregard_generated
from utils.glyphs.render import GlyphRenderer
from utils.labels import Label, label_folder
from utils.messages import _

logger = logging.getLogger(__name__)

OF_FONT = ("font_name", "font_name_en", "base", "fill", "fill_charset", "exclude_suspects", "exclude")
MOST_NAMED = 10  # failures that are named


def run(options: DrawOptions) -> int:
    """Draw, score, and make a font, as the flags say; returns 1 when something could not be drawn."""
    check_font_flags(options)
    device = choose_device(options.gpu_ids)
    with joined(device) as ranks, contextlib.ExitStack() as stack:
        with ranks.together():
            session = open_session(options, device)
            if ranks.is_main:
                stack.enter_context(locked(session.folder, ".drawing.lock", _("drawing into")))
                clean(session.folder, session.job)
        failed = draw_all(session, ranks)
        if ranks.is_main and (session.job.scored or options.compare):
            score(session)
        if ranks.is_main and options.missing:
            report_coverage(session, options.missing)
        if ranks.is_main and options.suspects:
            find_suspects(session)
    if options.font_out and ranks.is_main:
        failed += export.run(options.of_font())
    return 1 if failed else 0


def check_font_flags(options: DrawOptions) -> None:
    """Check the flags of a font that can be checked before it is known what is drawn.

    Raises:
        UserError: when no font could be made, or what is said of one is said in vain.
    """
    if not options.font_out:
        given = [name for name in OF_FONT if getattr(options, name)]
        if given:
            raise UserError(_("--{name} is for a font that is made: name it with --font_out", name=given[0]))
        return
    if options.run_all_label or len(options.label or [0]) > 1:
        raise UserError(_("--font_out makes a font of one label: name it with --label"))
    if options.image_ext == "svg":
        raise UserError(_("--font_out traces pictures: leave out --image_ext svg"))
    of_font = options.of_font()
    export.excluded_by_review(of_font)
    if options.exclude_suspects and not options.suspects:
        read_suspects(export.folder_of_drawings(of_font), of_font.label)


def clean(folder: Path, job: Job) -> None:
    """Delete what a killed run left half written where this one writes."""
    for place in {folder, *(item.path.parent for item in job.drawings)}:
        remove_stray(place)


def draw_all(session: Session, ranks: Ranks) -> int:
    """Draw every file and write the manifest, also of a run that is interrupted; returns the number that failed.

    Of several processes each draws its share, and the first writes the manifest of all.
    """
    job, folder, model = session.job, session.folder, session.model
    entries = list(job.failed) if ranks.is_main else []
    try:
        share = ranks.share(job.drawings)
        earlier = earlier_entries(folder) if session.options.skip_exist else None
        entries.extend(draw_files(model, job.source, share, session.manner, session.batch_size, earlier))
        entries = ranks.gather(entries)
    finally:
        if ranks.is_main:
            weights = session.weights
            header = {"step": weights.step, "weights": weights.kind, "image_size": model.config.image_size}
            write_manifest(folder, header, entries)
    failed = [entry for entry in entries if "error" in entry]
    for entry in failed[:MOST_NAMED]:
        logger.error(f"{entry_title(entry)}: {entry['error']}")
    if len(failed) > MOST_NAMED:
        logger.error(_("and {count} more: see {file}", count=len(failed) - MOST_NAMED, file=folder / "manifest.json"))
    logger.info(
        _(
            "{count} of {total} glyphs are in {folder}",
            count=len(entries) - len(failed),
            total=len(entries),
            folder=folder,
        )
    )
    return len(failed)


def score(session: Session) -> None:
    """Draw a sheet, and score each model where there is something to compare with."""
    sheet = session.folder / ("compare.png" if session.options.compare else "sheet.png")
    scores = compare(session, sheet)
    for heading, values in scores.items():
        logger.info(f"{heading}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
    if scores:
        content = {"step": session.weights.step, "characters": len(session.job.drawings), **scores}
        write_json(session.folder / "metrics.json", content)
    logger.info(sheet)


def report_coverage(session: Session, missing: str) -> None:
    """Say what the font of --missing covers with the drawings, and write coverage.json."""
    drawn = (str(item.key) for item in session.job.drawings if item.path.is_file())
    generated, font = "".join(drawn), GlyphRenderer(missing)
    disregard_generated(font, session.options.generated)
    have = font.covered()
    wanted = charsets_for(session.options.charset, unique(generated + have), session.job.offered)
    found = coverage(have, generated, wanted, font.placeholders)
    for line in coverage_lines(found):
        logger.info(line)
    write_json(session.folder / "coverage.json", {"font": missing, **found})


def find_suspects(session: Session) -> None:
    """Rank the drawings, the most suspicious first: suspects.json, and a sheet of the worst."""
    job, folder = session.job, session.folder
    drawn, changed = HEADINGS[session.weights.kind], changed_since(folder, job.drawings)
    ranked = rank_drawings(job, session.models, drawn, session.batch_size, changed)
    write_json(folder / "suspects.json", {"suspects": ranked})
    draw_suspects(ranked, job, folder / "suspects.png")
    logger.info(
        _(
            "{count} drawings, the most suspicious first, are in {file}",
            count=len(ranked),
            file=folder / "suspects.json",
        )
    )
    labels = list(dict.fromkeys(entry["label"] for entry in ranked))
    for label in labels:
        page = folder / ("review.html" if len(labels) == 1 else f"review_{label_folder(label)}.html")
        write_review(session, label, page)


def write_review(session: Session, label: Label, page: Path) -> None:
    """Write the page to look the drawings through on; a font is made without one too."""
    experiment, job = Path(session.options.experiment_dir), session.job
    config = read_config(Paths(experiment))
    if config is None or not isinstance(job.source, GlyphRenderer) or not isinstance(job.truth, FontData):
        raise TypeError("suspects are ranked of an experiment with fonts")
    try:
        review_of(experiment, config, session.folder, label, job.source, job.truth).write(page)
    except UserError as error:
        logger.error(_("there is no review page: {error}", error=error))
    else:
        logger.info(_("{page}: to be looked through in a browser", page=page))
