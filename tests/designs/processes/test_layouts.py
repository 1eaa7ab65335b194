"""Plates and sheets by true outlines: nested tighter than boxes, checked, drawn, and offcuts left and used again."""

from __future__ import annotations

import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Polygon, box

from designs.meshes import write_stl
from designs.nesting import NestPart, faults
from designs.processes import fdm
from designs.processes.footprints import footprint_of, shadow, standing
from designs.processes.model import CannotMake, GeometryKind, PartFile, Piece, Stock
from designs.processes.plates import GAP_MM, Box, arrange, lay_on_bed
from designs.processes.print_program import FRONT_MM, SIDE_MM
from designs.processes.sheet_layout import lay_out, stock_outline

BED = (200.0, 200.0, 180.0)
ROOM = box(SIDE_MM, FRONT_MM, BED[0] - SIDE_MM, BED[1] - SIDE_MM)
ELL = Polygon([(0, 0), (110, 0), (110, 20), (20, 20), (20, 110), (0, 110)])


def angle_bracket() -> trimesh.Trimesh:
    lower = trimesh.creation.box((80, 15, 6))
    upper = trimesh.creation.box((15, 80, 6))
    upper.apply_translation((-32.5, 32.5, 0))
    joined: trimesh.Trimesh = lower.union(upper)
    return joined


def drawing(width: float, height: float) -> PartFile:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}">'
        f'<rect x="0" y="0" width="{width}" height="{height}" fill="none" stroke="red"/></svg>'
    )
    return PartFile(f"plate{width:g}.svg", GeometryKind.SVG, svg.encode())


def test_true_outlines_find_room_where_boxes_do_not() -> None:
    parts = [NestPart("ell", ELL, 4)]
    boxes = arrange([Box(n, 110, 110) for n in range(4)], BED)
    assert len(boxes.placed) == 1
    found = lay_on_bed(parts, BED)
    assert len(found.placements) >= 3
    assert faults(parts, found, ROOM, GAP_MM) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90), st.integers(1, 3)), min_size=1, max_size=5))
def test_pieces_keep_the_edges_the_primed_line_and_each_other_clear(sizes: list[tuple[int, int, int]]) -> None:
    parts = [NestPart(str(k), box(3, -2, 3 + w, -2 + h), n) for k, (w, h, n) in enumerate(sizes)]
    found = lay_on_bed(parts, BED)
    assert faults(parts, found, ROOM, GAP_MM) == []
    assert len(found.placements) + sum(n for _, n in found.left_over) == sum(n for *_, n in sizes)


def test_the_shadow_of_a_bracket_is_no_box() -> None:
    mesh = angle_bracket()
    mesh.apply_translation(-mesh.bounds[0])
    found = shadow(mesh)
    assert found.area == pytest.approx(80 * 15 + 65 * 15, rel=0.03)
    assert found.buffer(0.01).contains(Polygon([(0.5, 0.5), (79, 0.5), (79, 14), (0.5, 14)]))


def test_turned_meshes_lie_where_their_outlines_do() -> None:
    lower, upper = trimesh.creation.box((110, 20, 6)), trimesh.creation.box((20, 110, 6))
    upper.apply_translation((-45, 45, 0))
    data = write_stl(lower.union(upper))
    piece = Piece(PartFile("ell.stl", GeometryKind.STL, data), 3)
    ready = [standing(piece.file)]
    plate, layout = fdm._laid([piece], ready, BED, "tests")
    assert len(plate.copies) == len(layout.placed) == 3
    assert len(plate.meshes) > 1, "boxes find no room for three: some are turned"
    for (index, x, y), placed in zip(plate.copies, layout.placed, strict=True):
        mesh = plate.meshes[index]
        assert mesh.bounds[0] == pytest.approx((0, 0, 0), abs=1e-6)
        lying = affinity.translate(shadow(mesh), x, y)
        outline = Polygon(placed.outline_mm)
        assert lying.symmetric_difference(outline).area < 0.005 * outline.area
        assert ROOM.buffer(0.3).contains(outline)


def test_footprints_of_files_begin_at_zero_and_take_time() -> None:
    printed = footprint_of(PartFile("bracket.stl", GeometryKind.STL, write_stl(angle_bracket())))
    cut = footprint_of(drawing(60, 40))
    assert printed is not None
    assert cut is not None
    for each in (printed, cut):
        x0, y0, _, _ = Polygon(each.outline_mm).bounds
        assert (x0, y0) == pytest.approx((0, 0), abs=0.3)
    assert cut.machine_s == pytest.approx(200 / 8, rel=0.05)
    assert 300 < printed.machine_s < 6_000
    assert footprint_of(PartFile("x.gcode", GeometryKind.GCODE, b"G0")) is None


def test_a_sheet_says_whose_outline_lies_where_and_what_is_left() -> None:
    pieces = [Piece(drawing(60, 40), 2), Piece(drawing(30, 30), 1)]
    told = lay_out(pieces, Stock("MDF", "", 3.0, 300.0, 200.0), (400.0, 400.0), 1.0, 2.0).told()
    assert [(p.piece, p.copy) for p in told.placed] == [(0, 0), (0, 1), (1, 0)]
    outlines = [Polygon(p.outline_mm) for p in told.placed]
    for k, one in enumerate(outlines):
        assert all(one.distance(other) >= 1.98 for other in outlines[k + 1 :])
    assert told.parts_mm2 == pytest.approx(2 * 60 * 40 + 900, rel=1e-4)
    left = [Polygon(rings[0], rings[1:]) for rings in told.offcuts_mm]
    assert left
    taken = sum(outline.area for outline in outlines)
    assert sum(each.area for each in left) + taken <= 300 * 200
    assert sum(each.area for each in left) >= 0.75 * 300 * 200


def test_an_unknown_sheet_leaves_no_offcut_that_could_be_believed() -> None:
    assert lay_out([Piece(drawing(60, 40))], Stock("MDF", "", 3.0), (400.0, 400.0), 1.0, 2.0).told().offcuts_mm == ()


def test_the_next_pieces_lie_on_the_offcut_and_nowhere_outside_it() -> None:
    first = lay_out([Piece(drawing(180, 100))], Stock("MDF", "", 3.0, 200.0, 200.0), (400.0, 400.0), 1.0, 2.0).told()
    rings = max(first.offcuts_mm, key=lambda each: Polygon(each[0], each[1:]).area)
    stock = Stock("MDF", "", 3.0, *_size(rings[0]), outline_mm=rings, label="R-1")
    second = lay_out([Piece(drawing(60, 40), 3)], stock, (400.0, 400.0), 1.0, 2.0)
    whole = stock_outline(stock).buffer(0.01)
    assert len(second.laid) == 3
    assert all(whole.contains(each.taken) for each in second.laid)
    assert second.told().sheet_label == "R-1"
    with pytest.raises(CannotMake, match="offcut R-1"):
        lay_out([Piece(drawing(150, 120))], stock, (400.0, 400.0), 1.0, 2.0)


def _size(points: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    return max(x for x, _ in points), max(y for _, y in points)
