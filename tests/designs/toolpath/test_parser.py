"""Reading programs: any bytes, any size, plain and compiled alike."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.processes.model import ProcessKind
from designs.toolpath import Kinematics, MachineLimits, compact, estimate, lint, picture, preview
from designs.toolpath import motions as m
from designs.toolpath import scanning as s
from designs.toolpath.parser import read_blocks, read_lines, read_motions

ANY = MachineLimits(ProcessKind.CNC, "grbl", (-10.0, -10.0, -10.0), (100.0, 100.0, 50.0))
PRINTER = MachineLimits(ProcessKind.FDM, "marlin", (0.0, 0.0, 0.0), (200.0, 200.0, 200.0))


def words(text: str, dialect: str = "grbl") -> list[tuple[int, str]]:
    return [
        (line.number, " ".join(w.letter + ("" if w.value is None else f"{w.value:g}") for w in line.words))
        for line in read_lines(text.encode(), dialect)
    ]


def oddities(data: bytes, dialect: str = "grbl") -> list[tuple[int, int]]:
    return [(o.kind, o.line) for block in read_blocks(data, dialect) for o in block.oddities]


def rows(text: str, dialect: str = "grbl") -> np.ndarray:
    return np.concatenate([block.table() for block in read_motions(text.encode(), dialect)])


def test_words_comments_case_and_line_numbers():
    assert words("g1x10 y-2.5 ; up\n\n(note) G 0 X+1.\r\nN10 M5*33\n%\n") == [
        (1, "G1 X10 Y-2.5"),
        (3, "G0 X1"),
        (4, "N10 M5"),
    ]


def test_marlin_text_and_bare_axes():
    assert words("M117 Hello G1 X9\nG28 X Y\n", "marlin") == [(1, "M117"), (2, "G28 X Y")]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"$H\n", s.DOLLAR),
        (b"G1 X1 !\n", s.REALTIME),
        (b"G1 X1\xc3\xa4\n", s.NON_ASCII),
        (b"; \xc3\xa4\n", s.NON_ASCII_COMMENT),
        (b"@pause\n", s.GARBAGE),
        (b"G1 X1.2.3\n", s.BAD_NUMBER),
        (b"G1 X-\n", s.BAD_NUMBER),
        (b"EXCLUDE_OBJECT_START NAME=a\n", s.EXTENDED),
        (b"(never closed\nG0X0\n", s.OPEN_COMMENT),
        (b"G1 " + b"X1.000000 " * 20 + b"\n", s.LONG_LINE),
        (b"/G1 X1\n", s.BLOCK_DELETE),
        (b"G1" + b" X1" * 400_000, s.CUT_LINE),
    ],
)
def test_oddities(data: bytes, kind: int):
    assert (kind, 1) in oddities(data)


def test_modes_units_offsets_and_arcs():
    table = rows("G91 G20\nG1 X1 F10\nG90 G21\nG92 X0\nG1 X5\nG2 X15 I5\nG92.1\nG0 X0\n")
    ends = [(row[m.LINE], round(row[m.X], 3)) for row in table.tolist() if row[m.KIND] in (m.RAPID, m.LINEAR, m.ARC)]
    assert ends == [(2, 25.4), (5, 30.4), (6, 40.4), (8, 0.0)]
    assert table[table[:, m.LINE] == 2, m.FEED].tolist() == [254.0]
    arc = table[table[:, m.KIND] == m.ARC][0]
    assert (arc[m.CENTRE_A], arc[m.SWEEP]) == pytest.approx((35.4, -math.pi))


def test_radius_arcs_go_the_short_way_and_negative_ones_the_long_way():
    short = rows("G3 X10 Y0 R10 F100\n")[0]
    long = rows("G3 X10 Y0 R-10 F100\n")[0]
    assert short[m.SWEEP] == pytest.approx(math.pi / 3)
    assert long[m.SWEEP] == pytest.approx(5 * math.pi / 3)
    assert rows("G3 X10 Y0 R2 F100\n")[0][m.KIND] == m.BAD_ARC


def test_marlin_extrusion_and_heat():
    table = rows("M109 S210\nG28\nM83\nG1 X10 E1 F1200\nG92 E0\nM82\nG1 X20 E2\n", "marlin")
    moves = table[table[:, m.KIND] == m.LINEAR]
    assert moves[:, m.E].tolist() == [1.0, 3.0]
    assert moves[:, m.NOZZLE].tolist() == [210.0, 210.0]
    assert moves[:, m.HOMED].tolist() == [7.0, 7.0]


junk = st.one_of(
    st.binary(max_size=300),
    st.text(alphabet='GMXYZEFSIJRPTNgmxyz0123456789.-+ ;()*$!?~%/\n\r"', max_size=300).map(str.encode),
)


@settings(max_examples=150)
@given(junk, st.sampled_from(["grbl", "marlin"]))
def test_any_bytes_give_a_result(data: bytes, dialect: str):
    limits = ANY if dialect == "grbl" else PRINTER
    findings = lint(data, limits)
    table = estimate(data, Kinematics(dialect=dialect), fast=False)
    assert table.duration_s >= 0.0
    assert all(b >= a for a, b in zip(table.times_s, table.times_s[1:], strict=False))
    assert picture(data, dialect, width_px=32, height_px=24).startswith(b"\x89PNG")
    assert preview(data, dialect).startswith(b"{")
    assert compact(table)
    if not any(o for block in read_motions(data, dialect) for o in block.oddities):
        assert findings is not None


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(-900_000, 900_000), st.integers(-900_000, 900_000), st.integers(1, 6000)),
        min_size=1,
        max_size=40,
    )
)
def test_what_is_written_is_read(points: list[tuple[int, int, int]]):
    text = "".join(f"G1 X{x / 1000:.3f} Y{y / 1000:.3f} F{f}\n" for x, y, f in points)
    table = rows(text)
    assert table[:, m.X].tolist() == [x / 1000 for x, _, _ in points]
    assert table[:, m.Y].tolist() == [y / 1000 for _, y, _ in points]
    assert table[:, m.FEED].tolist() == [float(f) for _, _, f in points]


def test_windows_do_not_split_lines(tmp_path: Path):
    lines = 20_000
    data = b"".join(b"G1 X%d Y%d F600\n" % (k % 100, k % 70) for k in range(lines))
    file = tmp_path / "long.nc"
    file.write_bytes(data)
    tracemalloc.start()
    count = last = 0
    for block in read_motions(file, fast=False):
        table = block.table()
        count += len(table)
        last = int(table[-1, m.LINE])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (count, last) == (lines, lines)
    assert peak < 80_000_000


def test_byte_order_mark_is_passed_over():
    assert oddities(b"\xef\xbb\xbfG0 X1\n") == []
