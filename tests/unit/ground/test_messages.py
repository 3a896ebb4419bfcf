"""Messages in Traditional Chinese, and in English where nothing else is asked for."""

import ast
import json
import re

import pytest

import infer
import train
from tests.helpers.messages import all_messages, calls, placeholders, table_path
from tests.helpers.ranks import ROOT
from tests.helpers.scripts import run_infer, run_train
from utils.messages import VARIABLES, _, columns, language, wrap

TABLE: dict[str, str] = json.loads(table_path("zh_TW").read_text(encoding="utf-8"))
CHINESE = re.compile(r"[一-鿿]")


@pytest.fixture
def chinese(monkeypatch) -> None:
    """Within, the user's language is Traditional Chinese."""
    monkeypatch.setenv("ZI2ZI_LANG", "zh_TW")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_TW.UTF-8"}, "zh_TW"),
        ({"LANG": "zh_HK"}, "zh_TW"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW.UTF-8"}, "zh_TW"),
        ({"LANG": "zh_TW.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_TW.UTF-8", "ZI2ZI_LANG": "en"}, "en"),
        ({"ZI2ZI_LANG": "zh-Hant"}, "zh_TW"),
        ({"LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "", "ZI2ZI_LANG": "klingon"}, "en"),
    ],
)
def test_the_language_is_that_of_the_locale(given, expected, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_help_is_no_wider_than_the_terminal(chinese, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        train.build_parser().parse_args(["--help"])
    shown = capsys.readouterr().out
    texts = [line for line in shown.splitlines() if line.startswith(" " * 24)]  # of the flags
    assert len(texts) > 40
    assert max(map(columns, texts)) in range(74, 79)  # argparse leaves two columns free


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("一二三四五六", ["一二三四", "五六"]),
        ("一二三四，五六", ["一二三", "四，五六"]),  # no line begins with a comma
        ("一二三「四五」", ["一二三", "「四五」"]),  # or ends with an opening bracket
        ("用 --lr 0.1", ["用 --lr", "0.1"]),
        ("--a_long_flag", ["--a_long_flag"]),
        ("", [""]),
    ],
)
def test_lines_break_where_a_reader_expects_it(text, lines):
    assert wrap(text, 8) == lines


def test_every_message_has_the_values_of_its_placeholders():
    for call in calls():
        assert {name.partition("!")[0] for name in placeholders(call.text)} == call.values, call.where


def test_the_table_has_every_message_with_the_same_placeholders_and_no_others():
    known = all_messages()
    assert [text for text in known if text not in TABLE] == []
    assert [text for text in TABLE if text not in known] == []
    for text, translated in TABLE.items():
        if "%(" in text or "%s" in text:  # argparse's
            assert re.findall(r"%\(\w+\)|%s", text) == re.findall(r"%\(\w+\)|%s", translated)
        else:
            assert placeholders(text) == placeholders(translated), text
        assert set(re.findall(r"--\w+", text)) == set(re.findall(r"--\w+", translated)), text


def test_what_a_table_lacks_stays_english(chinese):
    assert _("nobody has said this") == "nobody has said this"
    assert _("nobody has said {what}", what="this") == "nobody has said this"
    assert _("resuming from step {step}", step=7) == "從第 7 步繼續"


@pytest.mark.parametrize("script", [train, infer])
def test_help_is_chinese(script, chinese, capsys):
    with pytest.raises(SystemExit):
        script.build_parser().parse_args(["--help"])
    text = capsys.readouterr().out
    prose = re.sub(r"(?m)^用法：.*?\n\n", "", text, count=1, flags=re.DOTALL)
    flags = re.split(r"\n  --", prose)[1:]
    assert len(flags) > 40
    assert all(CHINESE.search(flag) for flag in flags)


MISTAKES = [
    (train, ["--lr"], "需要一個值"),
    (train, ["--ngg", "1"], "沒有這些旗標：--ngg 1"),
    (train, ["--batch_size", "0"], "0 小於 1"),
    (train, ["--generator", "unet"], "不能是 'unet'"),
    (train, ["–lr", "1"], "排版用橫線"),
    (train, ["--src_font", "none.ttf", "--dst_font", "none.ttf"], "沒有這個檔案"),
    (train, ["--resume", "last"], "不是 latest、best 或步數"),
    (train, ["--max_minutes", "-1"], "不大於 0"),
    (infer, ["--font_out", "a.ttf", "--image_ext", "svg"], "請不要給 --image_ext svg"),
    (infer, ["--base", "a.ttf"], "請用 --font_out 指定檔名"),
]


@pytest.mark.parametrize(("script", "flags", "words"), MISTAKES)
def test_a_mistake_is_told_in_chinese_with_the_same_exit_code(script, flags, words, tmp_path, monkeypatch, capsys):
    told = {}
    for name in ("en", "zh_TW"):
        monkeypatch.setenv("ZI2ZI_LANG", name)
        code = script.main([*flags, "--experiment_dir", str(tmp_path / "run")] if "--lr" not in flags else flags)
        told[name] = code, capsys.readouterr().err
    assert told["en"][0] == told["zh_TW"][0] == 2
    assert words in told["zh_TW"][1]
    assert not CHINESE.search(told["en"][1])
    assert len(told["zh_TW"][1].splitlines()) == 1


def test_files_are_the_same_in_every_language(tmp_path, monkeypatch, capsys):
    found = {}
    for name in ("en", "zh_TW"):
        monkeypatch.setenv("ZI2ZI_LANG", name)
        root = tmp_path / name / "run"
        assert run_train(root, "--max_steps", 4, "--sample_steps", 2) == 0
        assert (
            run_infer(root, "--src_txt", "一丁龘", "--suspects", "--font_out", root / "a.otf", "--font_name", "A") == 1
        )
        kept = [path for path in root.rglob("*") if path.suffix in (".json", ".csv", ".md", ".txt")]
        assert len(kept) >= 8
        found[name] = {
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8").replace(str(root), "") for path in kept
        }
    assert "步" in capsys.readouterr().out
    assert found["en"].keys() == found["zh_TW"].keys()
    for name, text in found["en"].items():
        assert found["zh_TW"][name] == text, name


def test_no_code_reads_a_message():
    """What goes wrong is told apart by its class or its code: the words of an error are only shown, or wrapped."""
    for path in (ROOT / "utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                text = ast.unparse(node)
                assert not re.search(r"\bin str\((error|reason)\)|\b_\(", text), f"{path}: {text}"
