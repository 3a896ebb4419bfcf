"""What the app's page asks of a project: to take uploads, start and stop jobs, show what there is."""

import functools
import html
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from utils.errors import Failure, UserError
from utils.files import write_whole
from utils.messages import _
from utils.web import commands
from utils.web.commands import FontChoice, Training
from utils.web.jobs import ROOT, Job, Jobs, State, environment
from utils.web.preview import Row, coverage_of
from utils.web.projects import (
    Project,
    begin_glyphs,
    files_of,
    open_project,
    page_file,
    projects_in,
    take_font,
    take_images,
)

LINES = 40  # of the log
MOST_MARKS = 8_000_000  # characters of what the review page hands over


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler; what goes wrong in it is shown on the page, in one line."""

    @functools.wraps(handler)
    def shown(*values: Any) -> Any:
        try:
            return handler(*values)
        except (UserError, Failure) as error:
            raise gr.Error(str(error), print_exception=False) from error
        except OSError as error:
            where, why = error.filename or "", error.strerror or error
            raise gr.Error(f"{where}: {why}", print_exception=False) from error

    return shown


class Handlers:
    """What the page's buttons do. Each project is named anew, since several browsers may be open."""

    def __init__(self, folder: Path):
        self.folder, self.jobs = folder, Jobs(folder)

    def project(self, name: str | None) -> Project:
        """The project that a browser has chosen."""
        if not name:
            raise UserError(_("choose a project, or make one"))
        return open_project(self.folder, name)

    def first(self) -> Any:
        """When the page is opened: the project of the job, or else the one last used."""
        names, last = projects_in(self.folder), self.jobs.last()
        chosen = last[0].project if last and last[0].project in names else next(iter(names), None)
        return gr.update(choices=names, value=chosen)

    def make(self, name: str) -> Any:
        """Make a project."""
        project = open_project(self.folder, (name or "").strip(), make=True)
        return gr.update(choices=projects_in(self.folder), value=project.name), ""

    def look(self, name: str | None) -> Any:
        """How the job stands, the last lines of the project's log, whether it can be stopped, and what tells news."""
        last = self.jobs.last()
        project = self.project(name) if name else None  # whose name may come from anyone
        lines = self.jobs.log(project.name) if project else []
        running = last is not None and last[1] is State.RUNNING
        reported = project is not None and (project.root / "report.html").is_file()
        news = f"{last and (last[0].id, last[1].name)} {reported}"
        return status(last, self.folder, lines), "\n".join(lines[-LINES:]), gr.update(interactive=running), news

    def coverage(self, name: str | None) -> Any:
        """The fonts of a project, and how much of each charset they have."""
        return tuple(self._coverage_of(name, role) for role in ("source", "target"))

    def _coverage_of(self, name: str | None, role: str) -> str:
        if not name:
            return ""
        try:
            title, rows = coverage_of(self.project(name), role)
        except UserError as error:
            return block(str(error))
        return f"<strong>{html.escape(title)}</strong>" + (table(rows) if rows else "")

    def pages_of(self, name: str | None) -> Any:
        """The report, the review page and the downloads of a project."""
        if not name:
            return "", "", ""
        project = self.project(name)
        return frame(project, "report.html"), frame(project, "review.html"), downloads(project)

    def source(self, name: str | None, upload: str | None, place: str) -> None:
        """Take the source font."""
        self._font(name, "source", upload, place)

    def target(self, name: str | None, upload: str | None, place: str) -> None:
        """Take one's own font."""
        self._font(name, "target", upload, place)

    def _font(self, name: str | None, role: str, upload: str | None, place: str) -> None:
        if upload is None:
            raise UserError(_("choose a file first"))
        title = take_font(self.project(name), role, Path(upload), place or "")
        gr.Info(_("{title} was taken", title=html.escape(title)))

    def images(self, name: str | None, uploads: Sequence[str] | None) -> None:
        """Take glyph images, or archives of them."""
        if not uploads:
            raise UserError(_("choose a file first"))
        taken, left = take_images(self.project(name), [Path(upload) for upload in uploads])
        gr.Info(_("{taken} images were taken, {left} other files left", taken=taken, left=left))

    def pages(self, name: str | None, uploads: Sequence[str] | None) -> str:
        """Cut the glyphs out of pages that were written on; returns what the script says."""
        if not uploads:
            raise UserError(_("choose a file first"))
        project = self.project(name)
        begin_glyphs(project)
        return run_now(commands.TEMPLATE, ["--scan", *uploads, "--out_dir", str(project.glyphs), "--overwrite"])

    def template(self, name: str | None, charset: str, count: float | None) -> tuple[str, str]:
        """Make pages to write on; returns what the script says, and a link."""
        project = self.project(name)
        flags = ["--charset", charset, "--count", commands.number(count or 60), "--out", str(project.template)]
        said = run_now(commands.TEMPLATE, flags)
        return said, downloads(project)

    def check(self, name: str | None, *values: Any) -> str:
        """What a training would do, as train.py says it."""
        flags = commands.train_flags(self.project(name), Training(*values))
        return run_now(commands.TRAIN, [*flags, "--dry_run"])

    def train(self, name: str | None, *values: Any) -> None:
        """Train, or go on."""
        project = self.project(name)
        self.jobs.start(project.name, commands.TRAIN, commands.train_flags(project, Training(*values)))

    def stop(self) -> None:
        """Stop the job."""
        self.jobs.stop()
        gr.Info(_("stopping: what has been done so far is saved first"))

    def draw(self, name: str | None, charset: str, text: str, only_missing: bool) -> None:
        """Draw characters, and rank them for the review."""
        project = self.project(name)
        flags = commands.draw_flags(project, charset, text or "", only_missing)
        self.jobs.start(project.name, commands.DRAW, flags)

    def font(self, name: str | None, *values: Any) -> None:
        """Make the font of the drawings."""
        *choices, marks = values
        project, choice = self.project(name), FontChoice(*choices)
        if choice.reviewed:
            keep_marks(project, marks)
        project.fonts.mkdir(exist_ok=True)
        self.jobs.start(project.name, commands.FONT, commands.font_flags(project, choice))


def keep_marks(project: Project, marks: str | None) -> None:
    """Keep what was marked on the review page as review.json.

    Raises:
        UserError: when the page hands over nothing.
    """
    if not marks or marks == "null" or len(marks) > MOST_MARKS:
        raise UserError(_("open the review page first: its marks are to be left out"))
    write_whole(project.review, marks.encode("utf-8", "backslashreplace"))


def run_now(script: str, flags: Sequence[str]) -> str:
    """Run a script that takes seconds; returns what it says, of a mistake its one line too."""
    command = [sys.executable, *([script] if script.endswith(".py") else ["-m", script]), *flags]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=False, **pipes)
    return done.stdout.decode("utf-8", "replace").strip()


def status(last: tuple[Job, State] | None, folder: Path, lines: Sequence[str]) -> str:
    """How the job stands, in markup."""
    if last is None:
        return block(_("no job has run yet"))
    job, state = last
    words = {
        State.RUNNING: _("running"),
        State.DONE: _("done"),
        State.STOPPED: _("stopped"),
        State.FAILED: _("failed"),
        State.KILLED: _("killed"),
    }
    said = f"{job.project}: {job.script}, {words[state]}"
    drawn = count_drawn(folder / job.project, job) if job.script == commands.DRAW else 0
    if state is State.RUNNING and drawn:
        said += ", " + _("{count} glyphs drawn", count=drawn)
    elif lines:
        said += f": {lines[-1]}"
    return block(said)


def count_drawn(root: Path, job: Job) -> int:
    """How many glyphs a job has drawn so far."""
    drawings = (root / "infer").glob("*/*.png")
    return sum(path.stat().st_mtime >= job.started for path in drawings if path.parent.name.isdecimal())


def table(rows: Sequence[Row]) -> str:
    """The coverage of charsets, in markup."""
    lines = [
        f"<tr><td><code>{name}</code> {html.escape(what)}</td><td>{have} / {count}</td><td>{share}</td></tr>"
        for name, what, have, count, share in rows
    ]
    return f"<table class='coverage'>{''.join(lines)}</table>"


def block(text: str) -> str:
    """A line of the status."""
    return f'<div class="status" role="status">{html.escape(text)}</div>'


def frame(project: Project, page: str) -> str:
    """A page of the project within this one; a note where it is not there yet."""
    file = page_file(project, page)
    if file is None or not file.is_file():
        return block(_("it is not there yet"))
    version = "" if page == "report.html" else f"?{file.stat().st_mtime_ns}"  # that one looks for a newer one itself
    return f'<iframe src="{address(project, page)}{version}" title="{page}"></iframe>'


def address(project: Project, path: str) -> str:
    """Where the server has a file of a project."""
    return f"/project/{quote(project.name)}/{quote(path)}"


def downloads(project: Project) -> str:
    """Links to what a project has made."""
    there = [path for path, file in files_of(project).items() if file.suffix != ".html" and file.is_file()]
    links = [f'<a href="{address(project, path)}" download>{html.escape(path)}</a>' for path in there]
    return block(_("nothing to download yet")) if not links else f'<div class="status">{" · ".join(links)}</div>'
