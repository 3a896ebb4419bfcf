"""The notebook for Colab, run from its first cell to its last, with a folder in place of a Drive."""

import json
import runpy

import pytest
from fontTools.ttLib import TTFont

from tests.helpers.exports import TARGET, without
from tests.helpers.ranks import ROOT
from tests.helpers.scripts import TINY_FLAGS

COLAB = ROOT / ".colab"


def test_the_notebook_is_what_its_script_makes():
    made = runpy.run_path(str(COLAB / "make_notebook.py"))
    assert json.loads((COLAB / "zi2zi.ipynb").read_text(encoding="utf-8")) == made["notebook"]()
    address = made["ADDRESS"].removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{address}/blob/main/.colab/zi2zi.ipynb"
    for name in ("README.md", "README.zh-TW.md"):
        assert link in (ROOT / name).read_text(encoding="utf-8"), "the badge has another address"


def test_it_trains_draws_and_makes_a_font(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(COLAB / "zi2zi.ipynb", as_version=4)
    values = {
        "FOLDER": str(tmp_path / "drive"),
        "SOURCE": "bundled:source.otf",
        "TARGET": str(without(TARGET, "一不", tmp_path / "MyFont.ttf")),
        "CHARSET": "U+4E00-4E2D",
        "MORE": " ".join([*TINY_FLAGS, "--max_steps", "2"]),
    }
    settings, install, *_ = (cell for cell in notebook.cells if cell.cell_type == "code")
    settings.source += "".join(f"{name} = {value!r}\n" for name, value in values.items())
    assert '"pip", "install", "-q", "-r", "requirements.txt"' in install.source
    install.source = install.source.replace('"pip", "install", "-q", "-r", "requirements.txt"', '"pip", "--version"')
    where = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "step 2: saved in" in said
    with TTFont(tmp_path / "drive" / "Full.ttf") as made:
        assert {ord("一"), ord("不")} <= made.getBestCmap().keys()
    assert (tmp_path / "drive" / "run" / "infer" / "review.html").is_file()
