"""The shape of the repository: who may import whom."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def imports(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


def test_imports_run_one_way():
    for path in (ROOT / "model").glob("*.py"):
        assert imports(path) <= sys.stdlib_module_names | {"torch", "model"}, path
    for path in (ROOT / "utils").rglob("*.py"):
        assert not imports(path) & {"model", "train", "infer", "tests"}, path


def test_one_place_for_the_value_mapping_and_the_file_names():
    sources = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.py"), *ROOT.glob("[mu]*/*.py"))}
    assert [path.name for path, text in sources.items() if "127.5" in text] == ["images.py"]
    assert [path.name for path, text in sources.items() if '.pth"' in text] == ["checkpoint.py"]
    assert [path.name for path, text in sources.items() if "EM_SHARE" in text] == ["render.py"]


def test_the_bundled_fonts_are_small_and_licensed():
    folder = ROOT / "utils" / "samples"
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 1_000_000
    assert "SIL OPEN FONT LICENSE" in (folder / "OFL.txt").read_text(encoding="utf-8")
