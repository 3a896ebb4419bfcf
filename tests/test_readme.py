"""README.md keeps level with the program. `python -m tests.test_readme` prints its tables of flags anew."""

import argparse
import re
import shlex
from pathlib import Path

import infer
import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARSERS = {"train.py": train.build_parser(), "infer.py": infer.build_parser()}


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
    for name, parser in PARSERS.items():
        section = README.split(f"## Flags of {name}\n")[1].split("\n## ")[0]
        assert flag_table(parser) in section, "run python -m tests.test_readme and copy its tables"


def test_every_command_can_be_parsed():
    commands = re.findall(r"python ((?:train|infer)\.py[^\n&#]*)", README)
    assert len(commands) >= 10
    for command in commands:
        script, *flags = shlex.split(command)
        PARSERS[script].parse_args(flags)


def test_the_test_command_is_that_of_ci():
    assert "python -m pytest\n```" in README
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\npython -m pytest")


def test_every_file_it_points_to_exists():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


if __name__ == "__main__":
    for name, parser in PARSERS.items():
        print(f"## Flags of {name}\n\n{flag_table(parser)}\n")
