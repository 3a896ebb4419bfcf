"""A study makes its runs in processes of their own, and leaves a line for each."""

import json

from tests.study import study


def test_a_study_leaves_a_line_a_run_and_makes_none_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    fonts = ["--src_font", "bundled:source.otf", "--dst_font", "bundled:target.ttf", "--characters", "40"]
    small = ["--image_size", "64", "--ngf", "4", "--max_steps", "1", "--only", "residual, deform"]
    for _ in range(2):
        study.main(["generators", *fonts, *small])
        (line,) = (tmp_path / "generators.jsonl").read_text("utf-8").splitlines()
    result = json.loads(line)
    assert (result["variant"], result["seed"], result["steps"]) == ("residual, deform", 1, 1)
    assert result["scores"].keys() == {"raw", "EMA"}
    assert 0 < result["scores"]["EMA"]["stroke_score"] < 1
    assert "| residual, deform |" in capsys.readouterr().out
