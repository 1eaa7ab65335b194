"""Toolpaths on disk: every line, from any line, nothing a controller could misread."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridges.toolpath_file import ToolpathFile, UnreadableToolpath

_LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(
    lines=st.lists(_LINE, max_size=60),
    repeat=st.integers(1, 80),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_every_line_from_everywhere(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], repeat: int, ending: str, last: bool
) -> None:
    wanted = lines * repeat
    text = ending.join(wanted) + (ending if wanted and last else "")
    expected = text.replace("\r\n", "\n").split("\n")
    if expected[-1] == "":
        expected.pop()
    path = tmp_path_factory.getbasetemp() / "every.nc"
    path.write_bytes(text.encode())
    toolpath = ToolpathFile(path)
    assert toolpath.total_lines == len(expected)
    assert toolpath.size_bytes == path.stat().st_size
    assert list(toolpath.lines()) == list(enumerate(expected, start=1))
    for start in {1, 2, len(expected) // 2 + 1, 1024, 1025, 2049, max(1, len(expected)), len(expected) + 1}:
        assert list(toolpath.lines(start)) == list(enumerate(expected, start=1))[start - 1 :]


def test_a_comment_in_any_language_never_reaches_the_wire(tmp_path: Path) -> None:
    path = tmp_path / "umlaut.nc"
    path.write_bytes("; größer – 20 °C\nG0 X1 (naïve)\n".encode())
    lines = [text for _, text in ToolpathFile(path).lines()]
    assert all(text.isascii() for text in lines)
    assert lines[1].startswith("G0 X1")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"G0 X1\nG1 X\xe2\x88\x925\n", 2),
        (b"G0 X1\rM3 S1000\n", 1),
        (b"; comment\rM3 S1000\n", 1),
        (b"G0\x18X1\n", 1),
        (b"\x00\x01\x02\x03", 1),
        (b"G1 X1 \x85\n", 1),
        (b"G1 X1\n" + b"X" * 70_000 + b"\n", 2),
        (b"G1 X1\n" + b"X" * 900_000, 2),
    ],
)
def test_what_a_controller_could_misread_is_refused_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "odd.nc"
    path.write_bytes(content)
    with pytest.raises(UnreadableToolpath) as refused:
        ToolpathFile(path)
    assert refused.value.line == line


def test_memory_stays_flat_whatever_the_size(tmp_path: Path) -> None:
    path = tmp_path / "big.nc"
    with path.open("w") as file:
        for i in range(400_000):
            file.write(f"G1 X{i % 200}.125 Y{i % 97}.5\n")
    tracemalloc.start()
    try:
        toolpath = ToolpathFile(path)
        count = sum(1 for _ in toolpath.lines(2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 399_999
    assert peak < 4_000_000, f"{peak} bytes for a file of {path.stat().st_size}"


def test_lines_are_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "one.nc"
    path.write_text("G0\n")
    with pytest.raises(ValueError, match="counted from 1"):
        list(ToolpathFile(path).lines(0))


def test_a_file_that_became_shorter_is_no_end_and_stays_none(tmp_path: Path) -> None:
    """A run ends well when its lines are at their end: an error must look like one to everybody who pulls, not once."""
    path = tmp_path / "part.gcode"
    path.write_text("".join(f"G1 X{number}\n" for number in range(5000)))
    toolpath = ToolpathFile(path)
    lines = toolpath.lines()
    assert next(lines) == (1, "G1 X0")
    with path.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(OSError, match="it had 5000 when the run began"):
        list(lines)
    with pytest.raises(OSError, match="it had 5000"):
        next(lines)
