"""Nesting: nothing overlaps, nothing lies outside, and remnants keep their history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from designs.nesting import NestPart, Sheet, faults, nest, rows
from designs.nesting_remnant import offcuts, on_remnant, whole_sheet

ELL = Polygon([(0, 0), (40, 0), (40, 12), (12, 12), (12, 40), (0, 40)])
TEE = Polygon([(0, 0), (36, 0), (36, 12), (24, 12), (24, 36), (12, 36), (12, 12), (0, 12)])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(3, 60), st.integers(3, 60), st.integers(1, 4)), min_size=1, max_size=8))
def test_rows_never_overlap_and_count_what_is_left(sizes: list[tuple[int, int, int]]):
    parts = [NestPart(str(k), box(5, -3, 5 + w, -3 + h), n) for k, (w, h, n) in enumerate(sizes)]
    found = rows(parts, Sheet(150.0, 100.0, 2.0), 1.5)
    assert faults(parts, found, box(2, 2, 148, 98), 1.5) == []
    assert len(found.placements) + sum(n for _, n in found.left_over) == sum(n for _, _, n in sizes)


def test_true_shape_is_tighter_than_rows_and_valid():
    parts = [NestPart("ell", ELL, 8), NestPart("tee", TEE, 8)]
    sheet = Sheet(300.0, 100.0, 1.0)
    quick = rows(parts, sheet, 1.0)
    tight = nest(parts, sheet, 1.0, budget_s=3)
    assert faults(parts, tight, box(0, 0, 300, 100), 1.0) == []
    assert len(tight.placements) == 16
    assert tight.used_mm[0] < quick.used_mm[0] or len(quick.placements) < 16


def test_true_shape_leaves_over_what_does_not_fit():
    parts = [NestPart("ell", ELL, 30), NestPart("huge", box(0, 0, 500, 500), 1)]
    found = nest(parts, Sheet(120.0, 100.0, 1.0), 1.0, budget_s=4)
    assert faults(parts, found, box(0, 0, 120, 100), 1.0) == []
    left = dict(found.left_over)
    assert left["huge"] == 1
    assert len(found.placements) + left["ell"] == 30
    assert len(found.placements) >= 5


def test_faults_sees_overlap_and_outside():
    parts = [NestPart("a", box(0, 0, 10, 10), 2)]
    good = rows(parts, Sheet(50.0, 50.0, 0.0), 1.0)
    assert faults(parts, good, box(0, 0, 50, 50), 1.0) == []
    assert faults(parts, good, box(0, 0, 50, 50), 2.0)
    assert faults(parts, good, box(0, 0, 15, 50), 1.0)


def test_remnant_with_a_hole():
    remnant = box(0, 0, 200, 120).difference(Point(100, 60).buffer(40))
    parts = [NestPart("ell", ELL, 6), NestPart("small", box(0, 0, 15, 15), 10)]
    found = on_remnant(parts, remnant, 2.0)
    assert faults(parts, found, remnant.buffer(-2.0), 2.0) == []
    assert found.left_over == ()


def test_remnant_too_small_for_anything():
    found = on_remnant([NestPart("ell", ELL, 2)], box(0, 0, 30, 30), 2.0)
    assert found.placements == ()
    assert found.left_over == (("ell", 2),)


def test_offcuts_keep_area_shape_and_history():
    sheet = whole_sheet(300, 200)
    used = [box(0, 0, 100, 200), box(150, 0, 300, 50)]
    kept = offcuts(sheet, used, 2.0, "plywood", 3.0, "birch", ("sheet 17", "job 4711"))
    assert len(kept) == 1
    (offcut,) = kept
    assert offcut.source == ("sheet 17", "job 4711")
    assert offcut.area_mm2 == pytest.approx((200 * 200) - 2 * 200 - 150 * 52 - 52 * 2, rel=0.02)
    again = on_remnant([NestPart("p", box(0, 0, 140, 100), 1)], offcut.outline, 1.0)
    assert again.left_over == ()
    assert offcuts(sheet, [box(0, 0, 290, 200)], 2.0, "plywood", 3.0, "", ("sheet 18",)) == ()
