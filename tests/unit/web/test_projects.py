"""What is uploaded to the app: fonts, images, archives of them; wrong, hostile and huge ones."""

import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from tests.helpers.exports import TARGET
from tests.helpers.fonts import boxes, make_collection, make_font
from utils.errors import UserError
from utils.glyphs.render import GlyphRenderer
from utils.web import projects
from utils.web.commands import Training, data_flags, draw_flags, train_flags
from utils.web.preview import coverage_of
from utils.web.projects import Project, open_project, projects_in, take_font, take_images, unpack

PNG = b"\x89PNG\r\n\x1a\nno more than its first bytes"


@pytest.fixture
def project(tmp_path) -> Project:
    """A project without anything."""
    return open_project(tmp_path / "app", "mine", make=True)


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    """A zip of some files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def files_in(folder: Path) -> list[str]:
    """All files in a folder, by their paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/b", "a\\b", "/etc", "a b", "con", "Nul", "x" * 41, "a.b", "-a", "a\n"]
)
def test_a_project_has_a_plain_name(name, tmp_path):
    with pytest.raises(UserError, match="letters, digits"):
        open_project(tmp_path, name, make=True)
    assert list(tmp_path.iterdir()) == []


def test_projects_are_listed_the_last_used_first(tmp_path):
    assert projects_in(tmp_path / "none") == []
    for name in ("a", "王小明的字"):
        open_project(tmp_path, name, make=True)
    (tmp_path / ".uploads").mkdir()
    assert set(projects_in(tmp_path)) == {"a", "王小明的字"}
    with pytest.raises(UserError, match="no project b"):
        open_project(tmp_path, "b")


def test_a_font_is_kept_and_shown(project, tmp_path):
    upload = make_font(tmp_path / "../evil name.ttf".replace("../", ""), boxes("一二三"), family="Mine")
    assert take_font(project, "target", upload) == "Mine"
    spec = project.font("target")
    assert spec is not None and set(GlyphRenderer(spec).covered()) == set("一二三")
    title, rows = coverage_of(project, "target")
    assert title == "Mine, from target.ttf"
    assert rows[0][0] == "big5_1" and rows[0][2:] == (3, 5401, "0.1%")
    assert data_flags(project) == ["--dst_font", spec]


def test_a_font_in_a_collection_is_chosen(project, tmp_path):
    one = make_font(tmp_path / "1.ttf", boxes("一"), family="Font One")
    two = make_font(tmp_path / "2.ttf", boxes("二"), family="Font Two")
    upload = make_collection(tmp_path / "both.ttc", [one, two])
    assert take_font(project, "source", upload, "#1") == "Font Two"
    assert coverage_of(project, "source")[1][0][2] == 1
    for place in ("#x", "../other.ttf", ":", "#1;rm"):
        with pytest.raises(UserError, match="neither #3"):
            take_font(project, "source", upload, place)
    assert coverage_of(project, "source")[0].startswith("Font Two")


@pytest.mark.parametrize("content", [b"", b"no font", b"\x00\x01\x00\x00" + bytes(1000), b"OTTO\xff" * 100])
def test_what_is_no_font_is_refused_and_the_earlier_one_stays(content, project, tmp_path):
    take_font(project, "target", Path(GlyphRenderer(TARGET).path))
    before = files_in(project.root)
    bad = tmp_path / "bad.ttf"
    bad.write_bytes(content)
    with pytest.raises(UserError) as raised:
        take_font(project, "target", bad)
    assert "\n" not in str(raised.value)
    assert files_in(project.root) == before
    assert coverage_of(project, "target")[0].startswith("Sample Kai")


def test_a_script_is_no_font(project, tmp_path):
    (tmp_path / "a.html").write_text("<script>alert(1)</script>")
    with pytest.raises(UserError, match=r"a\.html is no font"):
        take_font(project, "target", tmp_path / "a.html")


def test_images_replace_a_font_and_a_font_replaces_images(project, tmp_path):
    take_font(project, "target", make_font(tmp_path / "a.ttf", boxes("一")))
    (tmp_path / "永.png").write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("x")
    assert take_images(project, [tmp_path / "永.png", tmp_path / "notes.txt"]) == (1, 1)
    assert data_flags(project) == ["--dst_imgs", str(project.glyphs)]
    take_font(project, "target", tmp_path / "a.ttf")
    assert data_flags(project) == ["--dst_font", project.font("target")]
    with pytest.raises(UserError, match="no image among the files"):
        take_images(project, [tmp_path / "notes.txt"])


def test_an_archive_is_unpacked_into_one_folder(tmp_path):
    folder = tmp_path / "glyphs"
    folder.mkdir()
    entries = {
        **{"../../永.png": PNG, "/etc/U+6C38.png": PNG, "C:\\Windows\\U+4E00.png": PNG, "a/b/二.png": PNG},
        **{"again/二.png": b"second", "__MACOSX/._二.png": PNG, "evil.html": b"x", ".hidden.png": PNG, "sub/": b""},
    }
    assert unpack(archive(tmp_path / "a.zip", entries), folder) == (4, 4)
    assert files_in(tmp_path) == ["a.zip", *sorted(f"glyphs/{n}.png" for n in ("永", "U+6C38", "U+4E00", "二"))]
    assert (folder / "二.png").read_bytes() == PNG


def test_names_of_windows_in_taiwan_are_read(tmp_path):
    path = archive(tmp_path / "a.zip", {"AB.png": PNG})
    name = "永".encode("cp950")
    path.write_bytes(path.read_bytes().replace(b"AB.png", name + b".png"))
    (tmp_path / "glyphs").mkdir()
    assert unpack(path, tmp_path / "glyphs") == (1, 0)
    assert files_in(tmp_path / "glyphs") == ["永.png"]


def test_links_are_left(tmp_path):
    entry = zipfile.ZipInfo("永.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    (tmp_path / "glyphs").mkdir()
    assert unpack(tmp_path / "a.zip", tmp_path / "glyphs") == (0, 1)
    assert files_in(tmp_path / "glyphs") == []


def test_bombs_are_refused(tmp_path, monkeypatch):
    (tmp_path / "glyphs").mkdir()
    bomb = archive(tmp_path / "a.zip", {"永.png": bytes(3_000_000)})
    assert bomb.stat().st_size < 10_000
    monkeypatch.setattr(projects, "LARGEST", 2_000_000)
    with pytest.raises(UserError, match="unpacks to too much"):
        unpack(bomb, tmp_path / "glyphs")
    assert files_in(tmp_path / "glyphs") == []
    monkeypatch.setattr(projects, "LARGEST", 4_000_000)
    monkeypatch.setattr(projects, "MOST_BYTES", 5_000_000)
    with pytest.raises(UserError, match="unpacks to too much"):
        unpack(archive(tmp_path / "b.zip", {f"{c}.png": bytes(3_000_000) for c in "一二"}), tmp_path / "glyphs")
    monkeypatch.setattr(projects, "MOST_FILES", 3)
    with pytest.raises(UserError, match="too many files: 4"):
        unpack(archive(tmp_path / "c.zip", {f"{c}.png": PNG for c in "一二三四"}), tmp_path / "glyphs")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no more", b"x" * 1000])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip can't be unpacked"):
        unpack(tmp_path / "a.zip", tmp_path)


def test_a_project_that_was_trained_goes_on(project, trained):
    flags = train_flags(project, Training(minutes=2.5, steps=0, batch_size=8, from_scratch=True))
    assert flags[2:] == [
        "--g_blur",
        "--ema_decay",
        "0.999",
        "--from_scratch",
        "--max_minutes",
        "2.5",
        "--batch_size",
        "8",
    ]
    with pytest.raises(UserError, match="nothing is trained"):
        draw_flags(project, "big5_1", "", True)
    shutil.copytree(trained, project.root, dirs_exist_ok=True)
    assert train_flags(project, Training(steps=20))[2:] == ["--resume", "latest", "--max_steps", "20"]
    assert "--overwrite" in train_flags(project, Training(start_over=True))
    assert draw_flags(project, "big5_1", " 永 ", True)[2:] == ["--suspects", "--src_txt", "永"]
    assert draw_flags(project, "big5_1+U+3400-3410", "", False)[4] == "big5_1+U+3400-3410"
    for charset in ("/etc/passwd", "big5_1+/etc/passwd", "../secret.txt"):
        with pytest.raises(UserError, match="neither a charset by its name"):
            draw_flags(project, charset, "", True)
    with pytest.raises(UserError, match="choose a charset"):
        draw_flags(project, "", " ", True)
