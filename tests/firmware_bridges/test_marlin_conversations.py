"""The Marlin twin answers as the recorded firmware did; the fixture language says no when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridges.conversations import BadConversation, Disagreement, Step, main, on_twin, parse

FOLDER = Path(__file__).parent / "conversations" / "marlin"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_twin_answers_as_recorded(path: Path) -> None:
    on_twin(path, "marlin")


def test_a_wrong_answer_is_a_disagreement_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text("<- start\n<- Marlin 9.9\n")
    with pytest.raises(Disagreement, match=r"line 2: 'Marlin 9\.9' was expected, and 'Marlin bugfix-2\.1\.x' came"):
        on_twin(path, "marlin")
    assert main([str(path), "--twin", "marlin"]) == 1


def test_silence_where_words_come_is_a_disagreement(tmp_path: Path) -> None:
    path = tmp_path / "loud.txt"
    path.write_text("<! 20\n")
    with pytest.raises(Disagreement, match="nothing was expected"):
        on_twin(path, "marlin")


def test_holes_match_numbers_and_texts_only_where_they_stand() -> None:
    step = Step(1, "<-", "ok T:{n} /{n}{text}")
    assert step.matches("ok T:22.50 /0.00 B:1")
    assert step.matches("ok T:-3 /0")
    assert not step.matches("ok T:x /0.00")


def test_an_unknown_kind_of_line_is_refused() -> None:
    with pytest.raises(BadConversation, match="line 2"):
        parse("# fine\n>> M105\n")
