"""What lies in the app's folder: projects, each with the glyphs that were uploaded and its experiment."""

import re
import shutil
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from utils.errors import UserError, abbreviate
from utils.files import patiently, write_whole
from utils.glyphs.render import GlyphRenderer
from utils.images import EXTENSIONS
from utils.messages import _

NAME = re.compile(r"\w[\w-]{0,39}")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
PLACE = re.compile(r"(#[0-9]{1,3})?(:[\w= .,-]{1,80})?")  # of a face in a collection, and on the axes
KINDS = ("otf", "ttf")  # of fonts that are made
FONTS = (".ttf", ".otf", ".ttc", ".otc", ".woff", ".woff2")
MOST_FILES, MOST_BYTES, LARGEST = 70_000, 4_000_000_000, 64_000_000  # in an archive, in all, in one file
CHUNK = 1 << 20
SHEET = re.compile(r"sample/[0-9]{1,18}\.png")


@dataclass(frozen=True)
class Project:
    """A folder of the app's folder: an experiment, and beside its files what was uploaded and made."""

    root: Path

    @property
    def name(self) -> str:
        """Its name, which is a plain one."""
        return self.root.name

    @property
    def fonts(self) -> Path:
        """The folder of the fonts that are made."""
        return self.root / "fonts"

    @property
    def template(self) -> Path:
        """The pages to write on."""
        return self.root / "template.pdf"

    @property
    def review(self) -> Path:
        """What was marked on the review page."""
        return self.root / "review.json"

    @property
    def glyphs(self) -> Path:
        """The folder of glyph images, which is there where some were uploaded."""
        return self.root / "glyphs"

    def font(self, role: str) -> str | None:
        """The font that was uploaded as `source` or as `target`, with its place; None where none was."""
        note = self.root / f"{role}.txt"
        return f"{self.root / note.read_text(encoding='utf-8').strip()}" if note.is_file() else None


def projects_in(folder: Path) -> list[str]:
    """The names of the projects, the last used first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and is_name(path.name)]
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def is_name(name: str) -> bool:
    """Whether a name is one for a project: letters of any script, digits, _ and -."""
    return NAME.fullmatch(name) is not None and name.lower() not in RESERVED


def open_project(folder: Path, name: str, make: bool = False) -> Project:
    """The project of a name, which is made if it is to be.

    Raises:
        UserError: when the name is none for a project, or none is there.
    """
    if not is_name(name or ""):
        raise UserError(_("a project's name has letters, digits, _ and -, at most 40"))
    root = folder / name
    if make:
        root.mkdir(parents=True, exist_ok=True)
    elif not root.is_dir():
        raise UserError(_("there is no project {name}", name=name))
    return Project(root)


def files_of(project: Project) -> dict[str, Path]:
    """The files of a project that a browser may have, by their paths; some may not be there. Sheets come besides."""
    return {
        "report.html": project.root / "report.html",
        "review.html": project.root / "infer" / "review.html",
        "template.pdf": project.template,
        "review.json": project.review,
        **{f"fonts/{project.name}.{kind}": project.fonts / f"{project.name}.{kind}" for kind in KINDS},
    }


def page_file(project: Project, path: str) -> Path | None:
    """The file of a project that a browser may have under a path; None for any other path."""
    return project.root / path if SHEET.fullmatch(path) else files_of(project).get(path)


def take_font(project: Project, role: str, upload: Path, place: str = "") -> str:
    """Keep a font that was uploaded as `source` or `target`, in place of an earlier one; returns its title.

    `place` says which face of a collection, or where on the axes: `#3`, `:wght=400`.

    Raises:
        UserError: when it can't be drawn from.
    """
    if upload.suffix.lower() not in FONTS:
        raise UserError(_("{name} is no font: {kinds}", name=abbreviate(upload.name, 60), kinds=" ".join(FONTS)))
    if not PLACE.fullmatch(place.strip()):
        raise UserError(_("{place} is neither #3 nor :wght=400", place=abbreviate(place, 40)))
    name = f"{role}{upload.suffix.lower()}"
    fresh = project.root / f"new-{name}"
    shutil.copyfile(upload, fresh)
    try:
        font = GlyphRenderer(f"{fresh}{place.strip()}")
        title = font.name
        del font  # Windows can't replace a file that is open
        patiently(lambda: fresh.replace(project.root / name))
    finally:
        fresh.unlink(missing_ok=True)
    write_whole(project.root / f"{role}.txt", f"{name}{place.strip()}".encode())
    if role == "target":
        shutil.rmtree(project.glyphs, ignore_errors=True)
    return title


def take_images(project: Project, uploads: Sequence[Path]) -> tuple[int, int]:
    """Add glyph images, or archives of them, to a project's; returns how many files were taken, and left.

    Raises:
        UserError: when an archive can't be read, or unpacks to too much.
    """
    begin_glyphs(project)
    taken = left = 0
    for upload in uploads:
        if upload.suffix.lower() == ".zip":
            more, others = unpack(upload, project.glyphs)
            taken, left = taken + more, left + others
        elif upload.suffix.lower() in EXTENSIONS:
            shutil.copyfile(upload, project.glyphs / upload.name)
            taken += 1
        else:
            left += 1
    if not taken:
        raise UserError(_("there is no image among the files: {kinds}", kinds=" ".join(EXTENSIONS)))
    return taken, left


def begin_glyphs(project: Project) -> None:
    """Make the folder for glyph images; what a font was the target of, they are."""
    project.glyphs.mkdir(exist_ok=True)
    (project.root / "target.txt").unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Write the images of a zip into a folder, without the folders in it; returns how many were taken, and left.

    Raises:
        UserError: when it can't be read, or would unpack to more than MOST_FILES and MOST_BYTES.
    """
    taken, total = set(), 0
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            if len(entries) > MOST_FILES:
                raise UserError(_("{name} holds too many files: {count}", name=archive.name, count=len(entries)))
            for entry in entries:
                name = printable(PurePosixPath(entry_name(entry).replace("\\", "/")).name)
                is_link = stat.S_ISLNK(entry.external_attr >> 16)
                if is_link or name in taken or name.startswith(".") or Path(name).suffix.lower() not in EXTENSIONS:
                    continue
                with opened.open(entry) as file:
                    total += copy(file, folder / name, min(LARGEST, MOST_BYTES - total))
                taken.add(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(_("{name} can't be unpacked: {error}", name=archive.name, error=error)) from error
    return len(taken), len(entries) - len(taken)


def copy(file: IO[bytes], path: Path, most: int) -> int:
    """Write what a file holds, at most so many bytes; returns their number.

    Raises:
        UserError: when it holds more, whatever its archive tells of it.
    """
    size = 0
    with path.open("wb") as out:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > most:
                break
            out.write(chunk)
    if size > most:
        path.unlink()
        raise UserError(_("{name} unpacks to too much: it is no image of a glyph", name=abbreviate(path.name)))
    return size


def entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of a file in a zip; of one made by Windows in Taiwan, 永.png, is in Big5, and not marked so."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        content = entry.filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.filename
    for encoding in ("utf-8", "cp950", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def printable(name: str) -> str:
    """A file name without what a file system may refuse."""
    return re.sub(r'[\x00-\x1f<>:"|?*]', "_", Path(name).name)[-100:]
