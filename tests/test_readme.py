"""The two READMEs keep level with the program, and with one another."""

import re
import shlex
from pathlib import Path

import pytest

import infer
import train
from utils import app, choose, font_export, prepare, review, specimen, template
from utils.cli import flags_in
from utils.drawing.flags import DRAW
from utils.fonts.flags import EXPORT
from utils.training.flags import TRAIN

ROOT = Path(__file__).parent.parent
README, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-TW.md"))
PARSERS = {
    "train.py": train.build_parser(),
    "infer.py": infer.build_parser(),
    "-m utils.prepare": prepare.build_parser(),
    "-m utils.font_export": font_export.build_parser(),
    "-m utils.specimen": specimen.build_parser(),
    "-m utils.template": template.build_parser(),
    "-m utils.choose": choose.build_parser(),
    "-m utils.review": review.build_parser(),
    "-m utils.app": app.build_parser(),
}


TABLES = (
    TRAIN,
    DRAW,
    prepare.PACK,
    prepare.UNPACK,
    EXPORT,
    specimen.SPECIMEN,
    template.TEMPLATE,
    choose.CHOOSE,
    review.REVIEW,
    app.APP,
)
# --help itself, and flags of earlier ports, of torchrun and pip, and of the studies.
FOREIGN = {
    "--averages",
    "--canvas_size",
    "--char_size",
    "--characters",
    "--crop_src_font",
    "--each_loop_length",
    "--experiment_checkpoint_dir",
    "--experiment_data_dir",
    "--experiment_infer_dir",
    "--filters",
    "--final",
    "--flip_labels",
    "--from_txt",
    "--help",
    "--generate_filename_mode",
    "--index-url",
    "--inst_norm",
    "--minutes",
    "--nproc_per_node",
    "--only",
    "--out",
    "--overwrite_exist",
    "--plot",
    "--resume_from_round",
    "--rounds",
    "--score_at",
    "--seeds",
    "--sizes",
    "--src_font_y_offset",
    "--table",
    "--threads",
    "--type_file",
    "--what",
}


MOST_LINES = 400


def test_a_readme_is_read_in_one_sitting():
    assert max(len(text.splitlines()) for text in (README, CHINESE)) <= MOST_LINES


def test_every_flag_that_is_mentioned_exists():
    known = {f"--{form}{name}" for table in TABLES for name in flags_in(table) for form in ("", "no-")}
    for text in (README, CHINESE):
        mentioned = set(re.findall(r"(?<![\w-])--[A-Za-z][A-Za-z0-9_-]*", text))
        assert mentioned - known - FOREIGN == set()


def test_every_command_can_be_parsed():
    commands = re.findall(r"(?m)(?:^|&& )python (train\.py|infer\.py|-m utils\.\w+)([^\n&#]*)", README)
    assert len(commands) >= 20
    for script, flags in commands:
        PARSERS[script].given(shlex.split(flags))


def outline(text: str) -> list[dict]:
    """What must be alike in two languages, section by section."""
    sections = []
    for section in re.split(r"\n(?=#+ )", text):
        blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
        commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
        sections.append(
            {
                "level": section.split(" ")[0],
                "commands": commands,
                "flags": sorted(set(re.findall(r"--[A-Za-z][\w-]*", section))),
                "files": sorted(set(re.findall(r"`([\w{}./]+\.(?:py|json|pth|png|csv|obj|txt))`", section))),
                "table rows": len(re.findall(r"^\|", section, re.MULTILINE)),
                "list items": len(re.findall(r"^- ", section, re.MULTILINE)),
                "numbers": sorted(re.findall(r"\d+\.\d+|\d{3,}", re.sub(r"(?<=\d),(?=\d)", "", section))),
                "links": re.findall(r"\]\((?!README)([^)]+)\)", section.replace(".zh-TW.gif", ".gif")),
            }
        )
    return sections


def test_the_chinese_readme_is_level_with_the_english_one():
    english, chinese = outline(README), outline(CHINESE)
    for number, (one, other) in enumerate(zip(english, chinese, strict=True)):
        for what in one:
            assert one[what] == other[what], f"{what} of section {number}: {one['commands'][:1]}"


@pytest.mark.parametrize(("old", "new"), [("--g_blur", "--blur"), ("infer.py --compare", "infer.py"), ("## ", "### ")])
def test_a_readme_that_is_not_level_is_noticed(old, new):
    assert outline(README) != outline(README.replace(old, new, 1))


def test_the_test_command_is_that_of_ci():
    assert "python -m pytest\n```" in README
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\npython -m pytest")


def test_every_file_it_points_to_exists():
    for name in ("README.md", "README.zh-TW.md", "tests/results/README.md", ".github/CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for path in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert ((ROOT / name).parent / path).exists(), (name, path)


def test_every_file_that_contributing_names_exists():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:model|utils|tests)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
