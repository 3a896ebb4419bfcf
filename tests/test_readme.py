"""README.md keeps level with the program. `python -m tests.test_readme` prints its tables of flags anew."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

import infer
import train
from utils import font_export, prepare, specimen

ROOT = Path(__file__).parent.parent
README, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-TW.md"))
PARSERS = {
    "train.py": train.build_parser(),
    "infer.py": infer.build_parser(),
    "-m utils.prepare": prepare.build_parser(),
    "-m utils.font_export": font_export.build_parser(),
    "-m utils.specimen": specimen.build_parser(),
}


def flag_table(parser: argparse.ArgumentParser) -> str:
    """A Markdown table for each group of flags."""
    lines = []
    for group in parser._action_groups[2:]:
        lines += [f"**{group.title}**", "", "| flag | |", "| --- | --- |"]
        for action in group._group_actions:
            both = len(action.option_strings) == 2
            flag = action.option_strings[0] + (f", {action.option_strings[1]}" if both else "")
            lines.append(f"| `{flag}` | {action.help.replace('%%', '%').replace('|', ' or ')} |")
        lines.append("")
    return "\n".join(lines).strip()


def test_every_flag_is_in_its_table():
    for name, parser in list(PARSERS.items())[:2]:
        section = README.split(f"## Flags of {name}\n")[1].split("\n## ")[0]
        assert flag_table(parser) in section, "run python -m tests.test_readme and copy its tables"


def test_every_command_can_be_parsed():
    commands = re.findall(r"(?m)(?:^|&& )python (train\.py|infer\.py|-m utils\.\w+)([^\n&#]*)", README)
    assert len(commands) >= 20
    for script, flags in commands:
        PARSERS[script].parse_args(shlex.split(flags))


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
                "links": re.findall(r"\]\((?!README)([^)]+)\)", section),
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
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


if __name__ == "__main__":
    for name, parser in list(PARSERS.items())[:2]:
        print(f"## Flags of {name}\n\n{flag_table(parser)}\n")
