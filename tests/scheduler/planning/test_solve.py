"""The command that solves public instances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler.planning.solve import main, warm


@pytest.mark.parametrize(
    ("text", "more", "key", "value"),
    [
        ("2 2 1\n2 1 1 3 2 1 2 2 4\n1 1 2 5\n", [], "makespan", 5),
        ("2 1\n1 1 1 3\n1 1 1 4\n0 9\n2 0\n", [], "makespan", 9),
        ("2 1\n1\n0 3\n0 4\nSSD\nM0\n0 9\n2 0\n", [], "makespan", 9),
        ("3 4 1 5 3 4\n", ["--jobs", "2"], "costs", [4]),
    ],
)
def test_every_format_is_solved(
    text: str, more: list[str], key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "instance.txt"
    file.write_text(text)
    assert main([str(file), "--seconds", "0.3", "--json", *more]) == 0
    assert json.loads(capsys.readouterr().out)[key] == value


def test_everything_that_is_compiled_ahead_runs() -> None:
    warm()


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "instance.txt"
    file.write_bytes(b"\xff\xfe\x00")
    assert main([str(file)]) == 2
    assert "not a text file" in capsys.readouterr().err
    assert main([str(tmp_path / "none.txt")]) == 2
