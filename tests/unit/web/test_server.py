"""The server of the app: loopback alone, its own pages alone, no file but those that it shows."""

import socket

import pytest

from tests.helpers.reviews import reviewable
from tests.helpers.scripts import FEW
from utils import app
from utils.errors import UserError
from utils.web.projects import open_project, page_file
from utils.web.server import is_from_here

HOST = {"host": "127.0.0.1:7860"}
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-site": "cross-site"}
POST = {**HOST, "origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize(
    ("headers", "method", "expected"),
    [
        (HOST, "GET", True),
        ({"host": "localhost:7860"}, "GET", True),
        (POST, "POST", True),
        ({**HOST, **NAVIGATION}, "GET", True),  # a link elsewhere that leads here
        ({**HOST, **NAVIGATION}, "POST", False),  # a form elsewhere
        ({**HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "GET", False),
        ({**HOST, "origin": "http://evil.example"}, "POST", False),
        ({**HOST, "origin": "null"}, "POST", False),
        ({**HOST, "origin": "http://127.0.0.1:8000"}, "POST", False),  # another program of this computer
        ({"host": "evil.example:7860"}, "GET", False),  # whose name was made to lead here
        ({"host": "127.0.0.1.evil.example"}, "GET", False),
        ({"host": ""}, "GET", False),
        ({}, "GET", False),
    ],
)
def test_only_pages_of_the_app_may_ask_it(headers, method, expected):
    assert is_from_here(headers, method) == expected


@pytest.mark.parametrize(
    "path",
    [
        *("config.json", "../config.json", "sample/../config.json", "sample/000001.png/x", "infer/review.html"),
        *("fonts/other.otf", "fonts/../source.ttf", "fonts/mine.html", "source.ttf", "job.log", "", "/etc/passwd"),
    ],
)
def test_a_project_shows_no_other_file(path, tmp_path):
    assert page_file(open_project(tmp_path, "mine", make=True), path) is None


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of the app, whose project has a review page."""
    pytest.importorskip("gradio")
    from starlette.testclient import TestClient

    from utils.web.server import make_app

    folder = tmp_path_factory.mktemp("app")
    project = open_project(folder, "試", make=True)
    reviewable(project.root, "一二", str(FEW))
    (project.root / "infer" / "review.html").write_text("<h1>review</h1>")
    (folder / "note.txt").write_text("what nobody may read")
    with TestClient(make_app(folder), base_url="http://127.0.0.1:7860") as client:
        client.folder = folder
        yield client


def test_the_page_and_the_projects_files_are_there(client):
    page = client.get("/")
    assert page.status_code == 200 and "gradio" in page.text
    assert "'unsafe-inline'" in page.headers["content-security-policy"]
    assert "https:" not in page.headers["content-security-policy"], "nothing is fetched"
    found = client.get("/project/試/review.html")
    assert found.text == "<h1>review</h1>" and found.headers["content-type"].startswith("text/html")
    assert found.headers["x-content-type-options"] == "nosniff"
    assert client.get("/project/試/report.html").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/project/../note.txt", "/project/%2e%2e/note.txt", "/project/試/..%2f..%2fnote.txt"),
        *("/project/試/config.json", "/project/none/review.html", "/gradio_api/file=/etc/passwd"),
        *("/gradio_api/file=note.txt", "/gradio_api/file=../note.txt", "/file=/etc/passwd", "/docs"),
        *("/gradio_api/file=FOLDER/note.txt", "/gradio_api/file=FOLDER/試/config.json"),
    ],
)
def test_no_other_path_can_be_read(path, client):
    found = client.get(path.replace("FOLDER", str(client.folder)))
    assert found.status_code in (403, 404)
    assert not any(words in found.text for words in ("nobody may read", "root:", "Sample Kai"))


def test_a_page_elsewhere_is_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.post("/gradio_api/upload", headers={"origin": "http://evil.example"}).status_code == 403


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert app.main(["--app_dir", str(tmp_path / "app"), "--port", port, "--no-browser"]) == 2
    assert capsys.readouterr().err == f"utils.app: error: port {port} is taken: choose another with --port\n"


def test_gradio_is_an_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.web.server.find_spec", lambda _name: None)
    assert app.main(["--app_dir", str(tmp_path), "--no-browser"]) == 2
    assert "utils/requirements/app.txt" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["..", "../other", "/etc"])
def test_no_name_of_a_project_leads_elsewhere(name, tmp_path):
    pytest.importorskip("gradio")
    from utils.web.handlers import Handlers

    (tmp_path / "job.log").write_text("what nobody may read")
    with pytest.raises(UserError, match="letters, digits"):
        Handlers(tmp_path / "app").look(name)
