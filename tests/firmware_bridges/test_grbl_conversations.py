"""The GRBL twin answers, through a real pseudo-terminal, as the recorded firmware did."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridges.conversations import on_twin

FOLDER = Path(__file__).parent / "conversations" / "grbl"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_twin_answers_as_recorded(path: Path) -> None:
    on_twin(path, "grbl")
