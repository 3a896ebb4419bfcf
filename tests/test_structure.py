"""The shape of the repository: who may import whom."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


GROUND = {"errors", "cli", "files", "device", "distributed", "images", "labels", "metrics", "legibility", "sample"}
GROUND |= {"outlines", "strokes", "page", "processes", "messages"}
DOORS = {"prepare", "font_export", "specimen", "template", "choose", "review", "app"}
# Which wing may import which, beside itself; what lies directly in utils/ is ground, or a door that people run.
MAY_IMPORT = {
    "model": set(),
    "ground": set(),
    "glyphs": {"ground"},
    "data": {"glyphs", "ground"},
    "experiment": {"glyphs", "ground", "model"},
    "training": {"data", "experiment", "glyphs", "ground", "model"},
    "fonts": {"data", "experiment", "glyphs", "ground"},
    "drawing": {"fonts", "data", "experiment", "glyphs", "ground", "model"},
    "web": {"experiment", "glyphs", "ground"},
    "doors": {"web", "drawing", "training", "fonts", "data", "experiment", "glyphs", "ground", "model"},
}


def wing_of(module: str) -> str:
    """The wing that a module lies in, or the name of a script or of another package."""
    first, second = [*module.split("."), ""][:2]
    if first != "utils" or second in MAY_IMPORT:
        return second if first == "utils" else first
    return "ground" if second in GROUND else "doors"


def wings_imported(path: Path) -> set[str]:
    """The wings and scripts that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {wing_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {wing_of(f"{node.module}.{alias.name}") for alias in node.names}
    return found & (MAY_IMPORT.keys() | {"train", "infer", "tests"})


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
        wing = wing_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if path.parent.name not in ("samples", "base") and path.stem != "__init__":
            drawing = {"model"} if path == ROOT / "utils" / "sample.py" else set()  # the one place of ground that draws
            assert wings_imported(path) <= MAY_IMPORT[wing] | {wing} | drawing, path


LONGEST, MOST_PARAMETERS = 50, 6  # lines of a function, and parameters that it takes by their places


def test_functions_fit_on_a_screen_and_take_few_parameters():
    sources = [*ROOT.glob("*.py"), *(ROOT / "model").rglob("*.py"), *(ROOT / "utils").rglob("*.py")]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                assert node.end_lineno - node.lineno < LONGEST, where
                named = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
                assert len(named) <= MOST_PARAMETERS, where


def test_the_wings_begin_empty_so_that_help_needs_no_torch():
    for wing in MAY_IMPORT.keys() - {"model", "ground", "doors"}:
        assert (ROOT / "utils" / wing / "__init__.py").read_text(encoding="utf-8") == ""
    assert {path.stem for path in (ROOT / "utils").glob("*.py")} == GROUND | DOORS | {"__init__"}


def test_one_place_for_the_value_mapping_and_the_file_names():
    sources = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.py"), *ROOT.glob("[mu]*/**/*.py"))}
    assert [path.name for path, text in sources.items() if "127.5" in text] == ["images.py"]
    assert [path.name for path, text in sources.items() if '.pth"' in text] == ["checkpoint.py"]
    assert [path.name for path, text in sources.items() if "EM_SHARE" in text] == ["placement.py"]


def test_the_bundled_fonts_are_small_and_licensed():
    folder = ROOT / "utils" / "samples"
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 1_000_000
    assert "SIL OPEN FONT LICENSE" in (folder / "OFL.txt").read_text(encoding="utf-8")
