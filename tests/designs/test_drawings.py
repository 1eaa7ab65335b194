"""Drawings: units, layers and colours, joining and mending, and a zoo of bad files, each with a clear error."""

from __future__ import annotations

import contextlib
import io

import ezdxf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.drawing_conventions import Operation
from designs.drawings import BadDrawing, Drawing, read_drawing
from designs.processes.model import GeometryKind, PartFile, Severity
from tests.designs.bad_files import dxf_blocks
from tests.designs.drawing_zoo import dxf, dxf_square, laser_plate, layer, plate, svg


def codes(drawing: Drawing) -> set[str]:
    return {f.code for f in drawing.findings}


def test_svg_units_layers_and_colours():
    drawing = read_drawing(
        svg(
            layer("CUT", '<rect x="10" y="10" width="80" height="40"/>')
            + '<path d="M20 20 H40" stroke="#0000ff" fill="none"/>'
            + '<path d="M20 25 H40" stroke="#000000" fill="none"/>'
            + '<path d="M20 30 H40" stroke="#808080" fill="none"/>'
            + layer("POCKET_2.5", '<circle cx="50" cy="30" r="5"/>')
        )
    )
    assert drawing.size_mm == pytest.approx((80.0, 40.0), abs=0.01)
    operations = [(c.operation, c.depth_mm) for c in drawing.contours]
    assert sorted(operations, key=str) == sorted(
        [(Operation.CUT, None), (Operation.ENGRAVE, None), (Operation.MARK, None), (Operation.POCKET, 2.5)], key=str
    )


def test_svg_y_points_up_and_pixels_are_96_an_inch():
    drawing = read_drawing(
        svg('<rect x="0" y="0" width="96" height="96" stroke="#ff0000"/>', "192px", "192px", "0 0 192 192")
    )
    assert drawing.size_mm == pytest.approx((25.4, 25.4), abs=0.01)
    assert drawing.origin_mm == pytest.approx((0.0, 25.4), abs=0.01)


def test_nested_labels_the_nearest_wins():
    drawing = read_drawing(svg(layer("CUT", layer("ENGRAVE", '<rect x="1" y="1" width="20" height="20"/>'))))
    assert [c.operation for c in drawing.contours] == [Operation.ENGRAVE]


def test_text_is_told_not_made():
    drawing = read_drawing(svg('<rect x="1" y="1" width="20" height="20"/><text x="2" y="9">hello</text>'))
    assert "text" in codes(drawing)
    assert len(drawing.contours) == 1


def test_drawing_without_meanings_is_cut_and_says_so():
    drawing = read_drawing(svg('<rect x="1" y="1" width="20" height="20" stroke="#123456"/>'))
    assert [c.operation for c in drawing.contours] == [Operation.CUT]
    assert "default_operation" in codes(drawing)


def test_shapes_without_meaning_beside_meaningful_ones_are_left_out_and_told():
    drawing = read_drawing(
        svg(
            layer("CUT", '<rect x="1" y="1" width="20" height="20"/>')
            + '<rect x="30" y="1" width="5" height="5" stroke="#ff00ff"/>'
        )
    )
    assert len(drawing.contours) == 1
    assert "no_operation" in codes(drawing)


def test_dxf_lines_join_to_a_contour_and_holes_are_holes():
    drawing = read_drawing(dxf(dxf_square()))
    assert all(c.closed for c in drawing.contours)
    (region,) = drawing.regions()
    assert region.area == pytest.approx(2500.0 - 3.14159265 * 25.0, rel=1e-3)


@pytest.mark.parametrize(("units", "factor"), [(4, 1.0), (1, 25.4), (5, 10.0)])
def test_dxf_units(units: int, factor: float):
    drawing = read_drawing(dxf(dxf_square(units)))
    assert drawing.size_mm == pytest.approx((50.0 * factor, 50.0 * factor), rel=1e-6)


def test_dxf_without_units_says_so():
    assert "no_units" in codes(read_drawing(dxf(dxf_square(0))))


def test_duplicates_are_made_once():
    rect = '<rect x="1" y="1" width="20" height="20"/>'
    drawing = read_drawing(svg(layer("CUT", rect + rect + '<path d="M1 1 V21 H21 V1 Z"/>')))
    assert len(drawing.contours) == 1
    assert "duplicate" in codes(drawing)


def test_open_contour_is_found_and_small_gap_closed():
    opened = read_drawing(svg(layer("CUT", '<path d="M10 10 H50 V40 H10 V20"/>')))
    assert "open_contour" in codes(opened)
    mended = read_drawing(svg(layer("CUT", '<path d="M10 10 H50 V40 H10 V10.3"/>')))
    assert "gap_closed" in codes(mended)
    assert mended.contours[0].closed


@pytest.mark.parametrize(("factor", "code"), [(0.001, "tiny"), (1000.0, "huge")])
def test_unit_mistakes_are_errors(factor: float, code: str):
    drawing = read_drawing(dxf(dxf_square(4, 50.0 * factor)))
    assert [f.severity for f in drawing.findings if f.code == code] == [Severity.ERROR]


def test_self_crossing_is_told():
    assert "self_crossing" in codes(read_drawing(svg(layer("CUT", '<path d="M10 10 L50 40 L50 10 L10 40 Z"/>'))))


def bomb_by_use() -> bytes:
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9mm" height="9mm">'
    ]
    lines.append('<defs><path id="a0" d="M0 0H9V9Z"/>')
    for k in range(1, 12):
        uses = f'<use xlink:href="#a{k - 1}"/>' * 10
        lines.append(f'<g id="a{k}">{uses}</g>')
    lines.append('</defs><use xlink:href="#a11"/></svg>')
    return "".join(lines).encode()


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<svg xmlns="http://www.w3.org/2000/svg"><text>&b;</text></svg>"""
DEEP = b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g>" * 5000 + b"</g>" * 5000 + b"</svg>"
LOOP = b'<svg xmlns="http://www.w3.org/2000/svg"><g id="a"><use href="#a"/></g></svg>'
WHOLE = dxf_square()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.svg", b"", "empty"),
        ("blank.dxf", b"  \n ", "empty"),
        ("truncated.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><rect x="1" y="1" wid', "cut short"),
        ("binary.svg", bytes(range(256)) * 20, "damaged"),
        ("page.svg", b"<html><body/></html>", "root element"),
        ("entities.svg", ENTITIES, "entities"),
        ("entities16.svg", ENTITIES.decode().encode("utf-16"), "entities"),
        ("deep.svg", DEEP, "deep"),
        ("loop.svg", LOOP, "uses itself"),
        ("bomb.svg", bomb_by_use(), "expands to over"),
        ("nothing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9mm" height="9mm"/>', "no paths"),
        ("text.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><text x="1" y="2">hi</text></svg>', "text"),
        ("nan.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><path d="MNaN NaN L1e400 5"/></svg>', ""),
        ("binary.dxf", bytes(range(256)) * 20, ""),
        ("words.dxf", b"hello, I am no drawing\n" * 50, ""),
        ("truncated.dxf", WHOLE[: len(WHOLE) * 2 // 3], ""),
        ("recursion.dxf", dxf_blocks(loop=True), "itself"),
        ("bomb.dxf", dxf_blocks(loop=False), "expand to over"),
    ],
)
def test_bad_file_zoo(name: str, data: bytes, says: str):
    kind = GeometryKind.SVG if name.endswith("svg") else GeometryKind.DXF
    with pytest.raises(BadDrawing) as caught:
        read_drawing(PartFile(name, kind, data))
    text = str(caught.value)
    assert name in text
    assert says in text
    assert len(text) < 400


def test_empty_model_space_is_an_error():
    document = ezdxf.new()
    out = io.StringIO()
    document.write(out)
    with pytest.raises(BadDrawing, match="no lines"):
        read_drawing(dxf(out.getvalue().encode()))


def test_block_layer_zero_takes_the_layer_of_its_insert():
    document = ezdxf.new(units=4)
    block = document.blocks.new("HOLE")
    block.add_circle((0, 0), 3)
    document.layers.add("DRILL")
    document.modelspace().add_blockref("HOLE", (10, 10), dxfattribs={"layer": "DRILL"})
    out = io.StringIO()
    document.write(out)
    drawing = read_drawing(dxf(out.getvalue().encode()))
    (contour,) = drawing.contours
    assert contour.operation is Operation.DRILL
    centre_radius = contour.circle()
    assert centre_radius is not None
    assert centre_radius[1] == pytest.approx(3.0, abs=0.01)


def test_damaged_numbers_are_an_error_not_a_guess():
    assert WHOLE.count(b"\n50.0\n") > 2
    drawing = read_drawing(dxf(WHOLE.replace(b"\n50.0\n", b"\n5l0.0\n", 1)))
    assert [f.severity for f in drawing.findings if f.code == "damaged_numbers"] == [Severity.ERROR]


_EDITS = st.lists(
    st.tuples(
        st.floats(0.0, 0.999), st.sampled_from(["set", "insert", "drop", "cut"]), st.binary(min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80)
@given(st.sampled_from([WHOLE, plate().data, laser_plate().data]), _EDITS)
def test_any_damage_gives_a_drawing_or_a_sentence(whole: bytes, edits: list[tuple[float, str, bytes]]):
    data = bytearray(whole)
    for where, how, new in edits:
        at = int(where * len(data))
        if how == "set":
            data[at : at + len(new)] = new
        elif how == "insert":
            data[at:at] = new
        elif how == "drop":
            del data[at : at + 4 * len(new)]
        else:
            del data[at:]
    kind = GeometryKind.DXF if whole is WHOLE else GeometryKind.SVG
    drawing: Drawing | None = None
    with contextlib.suppress(BadDrawing):
        drawing = read_drawing(PartFile("damaged", kind, bytes(data)))
    assert drawing is None or drawing.contours
