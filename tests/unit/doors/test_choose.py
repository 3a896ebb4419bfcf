"""Which characters to draw first."""

import pytest

from tests.helpers.fonts import boxes, make_font
from utils import choose as door
from utils.glyphs.charset import read_charset
from utils.glyphs.components import choose, components, coverage

BIG5 = read_charset("big5_1")


def test_components_are_known_with_their_places_down_to_the_smallest():
    assert {"說", "言", "兌", "口", "言 a first", "兌 a last"} <= components("說")
    assert "言 a first" not in components("信")  # on the right there
    assert not any(0x31C0 <= ord(part[0]) < 0x31F0 for part in components("永"))  # strokes are in every character
    assert components("A") == {"A"}


@pytest.mark.parametrize("count", [50, 100])
def test_chosen_characters_cover_more_than_a_sample_and_are_as_dense(count):
    chosen = choose(BIG5, count)
    assert len(set(chosen)) == count and set(chosen) <= set(BIG5)
    assert chosen.startswith(choose(BIG5, 10)), "more of them begin with the same ones"
    sample = BIG5[:: len(BIG5) // count][:count]
    assert coverage(BIG5, chosen) > coverage(BIG5, sample) + 0.03

    def density(characters: str) -> float:
        return sum(len(components(character)) for character in characters) / len(characters)

    assert 0.8 < density(chosen) / density(BIG5) < 1.25


def test_what_is_drawn_is_not_chosen_and_what_it_has_counts_less():
    first = choose(BIG5, 20)
    further = choose(BIG5, 20, drawn=first)
    assert not set(first) & set(further)
    assert choose(BIG5, 40) == first + further
    assert choose("明林", 2, drawn="明") == "林"


def test_they_can_be_chosen_among_others():
    assert choose("說話謝語", 1, among="言水火") == "言"


def test_the_command_prints_or_writes_them(tmp_path, capsys):
    assert door.main(["--count", "30"]) == 0
    printed, said = capsys.readouterr().out.splitlines()
    assert printed == choose(BIG5, 30)
    assert said.startswith("30 of 5401 characters: ") and said.endswith("% of the components, by use")

    (tmp_path / "drawn.txt").write_text(choose(BIG5, 20), encoding="utf-8")
    out = tmp_path / "next.txt"
    assert door.main(["--count", "10", "--drawn", str(tmp_path / "drawn.txt"), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").strip() == choose(BIG5, 30)[20:]
    assert "without them" in capsys.readouterr().out


def test_fonts_tell_what_is_drawn_and_what_can_be(tmp_path, capsys):
    drawn = make_font(tmp_path / "drawn.ttf", boxes("日月"))
    source = make_font(tmp_path / "source.ttf", boxes("日月明林"))
    assert door.main(["--src_font", str(source), "--dst_font", str(drawn), "--count", "9"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()[0]) == sorted("明林")


def test_where_nothing_is_left_to_choose_is_said(capsys):
    assert door.main(["--drawn", "big5_1"]) == 2
    assert "all 5401 ideographs of --charset big5_1 are drawn already" in capsys.readouterr().err
    assert door.main(["--charset", "latin"]) == 2
    assert "has no ideograph to choose" in capsys.readouterr().err
