"""Layer names and colours mean what the table says, there and back."""

from __future__ import annotations

import pytest

from designs.drawing_conventions import Meaning, Operation, layer_name, meaning_of_colour, meaning_of_layer


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("CUT", Meaning(Operation.CUT)),
        (" cut ", Meaning(Operation.CUT)),
        ("Pocket_6", Meaning(Operation.POCKET, 6.0)),
        ("POCKET_2.5", Meaning(Operation.POCKET, 2.5)),
        ("POCKET_2_5", Meaning(Operation.POCKET, 2.5)),
        ("POCKET_3mm", Meaning(Operation.POCKET, 3.0)),
        ("DRILL", Meaning(Operation.DRILL)),
        ("DRILL_4", Meaning(Operation.DRILL, 4.0)),
        ("Defpoints", Meaning(Operation.IGNORE)),
        ("0", None),
        ("POCKET", None),
        ("POCKET_0", None),
        ("POCKET_999", None),
        ("CUTTING", None),
    ],
)
def test_a_layer_name_has_one_meaning(name: str, meaning: Meaning | None) -> None:
    assert meaning_of_layer(name) == meaning


@pytest.mark.parametrize(
    "meaning", [Meaning(Operation.CUT), Meaning(Operation.POCKET, 2.5), Meaning(Operation.DRILL, 4)]
)
def test_a_written_layer_reads_back(meaning: Meaning) -> None:
    assert meaning_of_layer(layer_name(meaning)) == meaning


def test_colours() -> None:
    assert meaning_of_colour("#FF0000") == Meaning(Operation.CUT)
    assert meaning_of_colour("#123456") is None
