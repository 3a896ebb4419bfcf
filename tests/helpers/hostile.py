"""Fonts of boxes, and refusals that are one line."""

from pathlib import Path

from tests.helpers.fonts import make_font


def refused(capsys, run, *flags) -> str:
    """The one line with which a script refuses."""
    code = run(*flags)
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def boxes(path: Path, **changes) -> Path:
    return make_font(path, {c: (100, 0, 900, 100 * i) for i, c in enumerate("一二三", 1)}, **changes)
