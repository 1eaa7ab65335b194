"""Starting in the middle: golden files show the lines sent before the first line of the toolpath.

A golden pair is NAME.input (its first line says from where, for which process) and NAME.expected. What an expected file
claims is checked a second time by meaning: after the preamble every mode and position is that of the full program.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridges.bridge import NotSupported
from firmware_bridges.modal import Dialect, Motion, Problem, interpreter
from firmware_bridges.start_at_line import lines_from, preamble
from tests.firmware_bridges.simulated_line import Lines

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.input"))


def parts(path: Path) -> tuple[Lines, int, str, Dialect]:
    lines = path.read_text().splitlines()
    head = re.match(r"; from line (\d+), (\w+)", lines[0])
    assert head is not None
    return Lines(lines), int(head[1]), head[2], Dialect.PRINTER if head[2] == "fdm" else Dialect.GRBL


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    toolpath, line, process, dialect = parts(path)
    assert preamble(toolpath, line, process, dialect) == path.with_suffix(".expected").read_text().splitlines()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_preamble_leaves_the_machine_as_the_whole_program_would(path: Path) -> None:
    toolpath, line, process, dialect = parts(path)
    whole, rebuilt = interpreter(dialect), interpreter(dialect)
    for number, text in toolpath.lines():
        if number < line:
            whole.step(text)
    for text in preamble(toolpath, line, process, dialect):
        step = rebuilt.step(text)
        assert not isinstance(step, Problem), (text, step)
        if isinstance(step, Motion):
            assert not step.beam_on or process != "laser", f"{text} moves with the beam on"
    wanted, got = whole.state(), rebuilt.state()
    for name in ("millimetres", "absolute", "plane", "system", "spindle", "spindle_value", "flood", "tool", "bed_c",
                 "hotends_c", "fans", "extruder_absolute", "extruder_mm", "retracted", "sticky"):  # fmt: skip
        assert getattr(got, name) == getattr(wanted, name), name
    assert got.feed_mm_min == pytest.approx(wanted.feed_mm_min)
    assert got.position == pytest.approx(wanted.position, abs=1e-3)
    first = next(text for number, text in toolpath.lines(line))
    a, b = whole.step(first), rebuilt.step(first)
    assert isinstance(a, Motion)
    assert isinstance(b, Motion)
    assert (a.kind, a.beam_on) == (b.kind, b.beam_on)
    assert a.end == pytest.approx(b.end, abs=1e-3)


def test_the_order_is_lift_across_spin_plunge() -> None:
    toolpath, line, process, dialect = parts(next(path for path in GOLDEN if path.stem == "router_in_the_work"))
    lines = preamble(toolpath, line, process, dialect)
    order = [
        next(i for i, text in enumerate(lines) if text.startswith(start))
        for start in ("G0 Z", "G0 X", "M3", "G4", "G1 Z")
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("lines", "line", "dialect", "why"),
    [
        (["G0 X5", "G92 X0", "G1 X1 F1", "G1 X2"], 4, Dialect.GRBL, "zero point"),
        (["G53 G0 X1", "G1 X2 F1"], 2, Dialect.GRBL, "machine coordinates"),
        (["G43.1 Z5", "G1 X2 F1"], 2, Dialect.GRBL, "tool length"),
        (["G5 X1", "G1 X2 F1"], 2, Dialect.GRBL, "cannot be followed"),
        (["M104 S200", "G1 X5"], 2, Dialect.PRINTER, "height"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(lines: list[str], line: int, dialect: Dialect, why: str) -> None:
    with pytest.raises(NotSupported, match=why):
        lines_from(Lines(lines), line, "cnc", dialect)


_WORDS = st.lists(
    st.sampled_from(
        [
            "G0 Z5",
            "G0 X1 Y2",
            "G1 Z-1 F200",
            "G1 X7",
            "X3 Y4",
            "G91",
            "G90",
            "G20",
            "G21",
            "M3 S900",
            "M5",
            "M8",
            "M9",
            "G2 X1 Y1 R20",
            "G55",
            "G18",
            "G17",
            "F33",
            "S44",
            "T2",
        ]
    ),
    min_size=2,
    max_size=30,
)


@given(_WORDS, st.integers(0, 29), st.sampled_from(["cnc", "laser"]))
def test_any_program_from_anywhere_goes_on_as_it_would_have(words: list[str], cut: int, process: str) -> None:
    program = ["G1 F100 X0 Y0 Z1", *words, "G1 X9 Y9 F50"]
    line = 2 + cut % len(words)
    whole = interpreter(Dialect.GRBL)
    expected = [whole.step(text) for text in program]
    if any(isinstance(step, Problem) for step in expected):
        return
    rebuilt = interpreter(Dialect.GRBL)
    try:
        lines = list(lines_from(Lines(program), line, process, Dialect.GRBL))
    except NotSupported:  # the line goes on with an arc of an earlier one
        assert any("G2" in word for word in words)
        return
    for number, text in lines:
        step = rebuilt.step(text)
        assert not isinstance(step, Problem), (text, step)
        wanted = expected[number - 1] if number else None
        if isinstance(wanted, Motion):
            assert isinstance(step, Motion)
            assert step.kind == wanted.kind
            assert step.beam_on == wanted.beam_on
            assert step.end == pytest.approx(wanted.end, abs=2e-3)
