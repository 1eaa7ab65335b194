"""Meshes: every format reads the same solid; what is wrong is said; the bad-file zoo stays in its cages."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from designs.geometry import inspect, kind_of, part_file
from designs.mesh_checks import check_mesh, contact_area_mm2, overhang_area_mm2
from designs.meshes import load_mesh, write_stl
from designs.orientation import rate, suggest
from designs.processes.model import CannotMake, GeometryKind, PartFile, Severity
from designs.safe_files import BadGeometry

BOX = trimesh.creation.box((10.0, 20.0, 30.0))
NS = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"


def stl(mesh: trimesh.Trimesh) -> PartFile:
    return PartFile("part.stl", GeometryKind.STL, write_stl(mesh, "test"))


def ascii_stl(mesh: trimesh.Trimesh) -> bytes:
    lines = ["solid box"]
    for triangle in mesh.triangles:
        lines += ["facet normal 0 0 0", "outer loop", *(f"vertex {x:g} {y:g} {z:g}" for x, y, z in triangle)]
        lines += ["endloop", "endfacet"]
    return "\n".join([*lines, "endsolid box\n"]).encode()


def obj(mesh: trimesh.Trimesh) -> bytes:
    lines = [f"v {x} {y} {z}" for x, y, z in mesh.vertices] + [
        f"f {a + 1}//1 {b + 1}/2 {c + 1}" for a, b, c in mesh.faces
    ]
    return "\n".join(lines).encode()


def model_xml(
    mesh: trimesh.Trimesh, unit: str = "millimeter", build: str = '<item objectid="1"/>', more: str = ""
) -> str:
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in mesh.vertices)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces)
    return (
        f'<model unit="{unit}" xmlns="{NS}"><resources><object id="1" type="model"><mesh>'
        f"<vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh></object>{more}</resources><build>{build}</build></model>"
    )


def threemf(xml: str, path: str = "3D/3dmodel.model") -> PartFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships><Relationship Id="r" Target="/{path}" '
            'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>',
        )
        archive.writestr(path, xml)
    return PartFile("part.3mf", GeometryKind.THREE_MF, out.getvalue())


@pytest.mark.parametrize(
    "file",
    [
        stl(BOX),
        PartFile("a.stl", GeometryKind.STL, ascii_stl(BOX)),
        PartFile("a.obj", GeometryKind.OBJ, obj(BOX)),
        threemf(model_xml(BOX)),
        PartFile("tail.stl", GeometryKind.STL, write_stl(BOX) + b"appended colours"),
    ],
    ids=["binary", "ascii", "obj", "3mf", "appended"],
)
def test_every_format_gives_the_same_solid(file: PartFile) -> None:
    report = inspect(file)
    assert report.dims_mm == pytest.approx((10, 20, 30))
    assert report.volume_mm3 == pytest.approx(6000)
    assert report.area_mm2 == pytest.approx(2200)
    assert report.watertight
    assert report.triangles == 12
    assert report.repaired == ()
    assert report.sound


@pytest.mark.parametrize(
    ("unit", "factor"), [("inch", 25.4), ("centimeter", 10.0), ("micron", 0.001), ("meter", 1000.0)]
)
def test_3mf_units(unit: str, factor: float) -> None:
    mesh = BOX.copy()
    mesh.apply_scale(2.0 / factor)
    assert inspect(threemf(model_xml(mesh, unit))).dims_mm == pytest.approx((20, 40, 60))


def test_3mf_builds_its_items_with_transforms_components_and_mirrors() -> None:
    more = (
        '<object id="2" type="model"><components><component objectid="1" transform="1 0 0 0 1 0 0 0 1 100 0 0"/>'
        "</components></object>"
    )
    build = '<item objectid="1"/><item objectid="2" transform="-1 0 0 0 1 0 0 0 1 0 50 0"/>'
    report = inspect(threemf(model_xml(BOX, build=build, more=more)))
    assert report.triangles == 24
    assert report.volume_mm3 == pytest.approx(12000)
    assert report.dims_mm == pytest.approx((110, 70, 30))
    assert any(finding.code == "bodies" for finding in report.findings)


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        (model_xml(BOX, unit="furlong"), "furlong"),
        (model_xml(BOX, build=""), "plate is empty"),
        (model_xml(BOX, build='<item objectid="9"/>'), "'9'"),
        (model_xml(BOX, build='<item objectid="1" transform="1 2 3"/>'), "not 12"),
        (
            model_xml(
                BOX,
                build='<item objectid="2"/>',
                more='<object id="2"><components><component objectid="2"/></components></object>',
            ),
            "contain each other",
        ),
        (model_xml(BOX).replace('v1="0"', 'v1="999"', 1), "does not exist"),
        (model_xml(BOX).replace('x="', 'x="abc', 1), "damaged"),
        ("<model/>", "not a 3MF model"),
    ],
)
def test_bad_3mf_says_why(xml: str, says: str) -> None:
    with pytest.raises(BadGeometry, match=says):
        inspect(threemf(xml))


def test_a_3mf_whose_components_multiply_is_refused() -> None:
    rows = "".join(
        f'<object id="{n}"><components>{f"""<component objectid="{n - 1}"/>""" * 10}</components></object>'
        for n in range(2, 9)
    )
    with pytest.raises(BadGeometry, match="repeats its objects too often"):
        inspect(threemf(model_xml(BOX, build='<item objectid="8"/>', more=rows)))


def nan_stl() -> bytes:
    data = bytearray(write_stl(BOX))
    struct.pack_into("<f", data, 84 + 12, float("nan"))
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.stl", b"", "empty"),
        (
            "words.stl",
            b"this is not a mesh at all, but it is long enough to have a header" * 3,
            "cut short or not an STL",
        ),
        ("short.stl", b"solid", "not an STL"),
        ("cut.stl", write_stl(BOX)[:-20], "announces 12 triangles"),
        ("claims.stl", b"\0" * 80 + struct.pack("<I", 0xFFFFFFFF) + b"\0" * 50, "announces 4294967295"),
        ("none.stl", b"\0" * 80 + struct.pack("<I", 0), "no triangles"),
        ("nan.stl", nan_stl(), "not numbers"),
        ("cut-text.stl", ascii_stl(BOX)[:-60], "endsolid"),
        ("bad-text.stl", ascii_stl(BOX).replace(b"vertex 5", b"vertex 5x", 1), "not a number"),
        ("no-facet.stl", b"solid x\nendsolid x\n" + b" " * 100, "without a facet"),
        ("a.obj", b"v 0 0 0\nf 1 2 3\n", "does not exist"),
        ("b.obj", b"v 0 0\n", "line 1"),
        ("c.obj", b"v 0 0 0\nl 1 1\n", "no faces"),
        ("d.obj", b"v 0 0 0\nf -5 1 1\n", "line 2"),
        ("a.3mf", b"PK\x03\x04 nonsense", "zip archive"),
        ("a.step", b"ISO-10303-21;", "CAD kernel|no whole STEP"),
        ("a.png", b"\x89PNG nonsense", "whole picture"),
    ],
)
def test_the_zoo(name: str, data: bytes, says: str) -> None:
    with pytest.raises(BadGeometry, match=says):
        inspect(part_file(name, data))


def scaled(factor: float) -> trimesh.Trimesh:
    mesh = BOX.copy()
    mesh.apply_scale(factor)
    return mesh


def test_sizes_that_look_like_another_unit() -> None:
    with pytest.raises(BadGeometry, match="metres"):
        inspect(PartFile("m.stl", GeometryKind.STL, ascii_stl(scaled(0.001))))
    with pytest.raises(BadGeometry, match="mistake of units"):
        inspect(stl(scaled(1000)))
    assert [finding.code for finding in inspect(stl(scaled(0.05))).findings] == ["tiny", "thin_wall"]


def test_flat_meshes_are_refused() -> None:
    flat = trimesh.Trimesh([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(BadGeometry, match="flat"):
        inspect(stl(flat))


def test_an_unknown_ending_names_the_known_ones() -> None:
    with pytest.raises(CannotMake, match="stl"):
        kind_of("part.docx")
    assert kind_of("PLATE.GCODE.3MF") is GeometryKind.GCODE


def test_safe_repairs_are_made_and_said() -> None:
    inside_out = BOX.copy()
    inside_out.invert()
    assert inspect(stl(inside_out)).repaired == ("turned it the right way out (its faces pointed inwards)",)

    mixed = BOX.copy()
    faces = np.asarray(mixed.faces).copy()
    faces[3] = faces[3][::-1]
    report = inspect(stl(trimesh.Trimesh(mixed.vertices, faces, process=False)))
    assert report.watertight
    assert report.volume_mm3 == pytest.approx(6000)
    assert any("same way" in said for said in report.repaired)

    holed = trimesh.Trimesh(BOX.vertices, BOX.faces[1:], process=False)
    report = inspect(stl(holed))
    assert report.volume_mm3 == pytest.approx(6000)
    assert any("small holes" in said for said in report.repaired)


def test_doubles_and_triangles_without_area_are_left_out() -> None:
    faces = np.vstack([BOX.faces, BOX.faces[:1], [[0, 0, 1]]])
    checked = check_mesh(trimesh.Trimesh(BOX.vertices, faces, process=False), "x")
    assert checked.repaired == ("left out 1 triangles without area", "left out 1 double triangles")
    assert checked.watertight


def test_a_hole_too_large_to_close_is_said() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=10)
    keep = ball.triangles_center[:, 2] < 4
    report = inspect(stl(trimesh.Trimesh(ball.vertices, ball.faces[keep], process=False)))
    assert report.watertight is False
    assert report.volume_mm3 is None
    assert [(each.code, each.severity) for each in report.findings] == [("not_watertight", Severity.WARNING)]


def test_a_lone_triangle_is_not_made_a_body() -> None:
    shard = trimesh.Trimesh([[40, 0, 0], [49, 0, 3], [40, 9, 5]], [[0, 1, 2]], process=False)
    report = inspect(stl(trimesh.util.concatenate([BOX, shard])))
    assert report.repaired == ()
    assert report.watertight is False


def test_a_cavity_is_not_filled_by_repair() -> None:
    inner = trimesh.creation.box((5, 5, 5))
    inner.invert()
    report = inspect(stl(trimesh.util.concatenate([BOX, inner])))
    assert report.volume_mm3 == pytest.approx(6000 - 125)
    assert report.repaired == ()


def table() -> trimesh.Trimesh:
    """A top of 20 × 20 on a leg of 4 × 4, 10 high; 20² − 4² hangs over."""
    top = trimesh.creation.box((20, 20, 2)).apply_translation((0, 0, 11))
    leg = trimesh.creation.box((4, 4, 10)).apply_translation((0, 0, 5))
    return top.union(leg)


def test_overhang_contact_and_the_way_up() -> None:
    mesh = table()
    assert overhang_area_mm2(mesh) == pytest.approx(400 - 16)
    assert contact_area_mm2(mesh) == pytest.approx(16)
    best = suggest(mesh)
    assert best.overhang_mm2 == pytest.approx(0, abs=1e-6)
    assert best.contact_mm2 == pytest.approx(400)
    assert best.stable
    assert np.linalg.det(best.turn) == pytest.approx(1)


def _turned(mesh: trimesh.Trimesh, degrees: float, axis: tuple[int, int, int]) -> trimesh.Trimesh:
    mesh = mesh.copy()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.radians(degrees), axis))
    return mesh


def _bracket() -> trimesh.Trimesh:
    """An L of 30 × 20 × 30, 4 thick."""
    foot = trimesh.creation.box((30, 20, 4)).apply_translation((15, 0, 2))
    return foot.union(trimesh.creation.box((4, 20, 30)).apply_translation((2, 0, 15)))


KNOWN = {
    "a tray on its open side": (
        _turned(trimesh.creation.box((40, 30, 10)).difference(
            trimesh.creation.box((36, 26, 8)).apply_translation((0, 0, 2))), 180, (1, 0, 0)), 10.0),
    "a plate on its edge": (_turned(trimesh.creation.box((40, 30, 4)), 90, (1, 0, 0)), 4.0),
    "a bracket on its corner": (_turned(_bracket(), 45, (0, 1, 0)), 20.0),
    "a cone on its tip": (_turned(trimesh.creation.cone(10, 15, sections=32), 180, (1, 0, 0)), 15.0),
    "a cup upside down": (
        _turned(trimesh.creation.cylinder(12, 20, sections=48).difference(
            trimesh.creation.cylinder(10, 18, sections=48).apply_translation((0, 0, 2))), 180, (1, 0, 0)), 20.0),
}  # fmt: skip
"""A part set down the wrong way, and how high it stands the right way, mm."""


@pytest.mark.parametrize("name", KNOWN)
def test_known_parts_are_set_the_right_way_up(name: str) -> None:
    mesh, height = KNOWN[name]
    best = suggest(mesh)
    assert best.stable
    assert best.overhang_mm2 == pytest.approx(0.0, abs=1e-6)
    assert best.height_mm == pytest.approx(height, abs=0.01)
    assert best.score <= rate(mesh).score


def test_a_part_that_would_tip_over_is_not_called_stable() -> None:
    arm = (
        trimesh.creation.box((30, 4, 2))
        .apply_translation((15, 0, 9))
        .union(trimesh.creation.box((4, 4, 10)).apply_translation((0, 0, 5)))
    )
    assert not rate(arm).stable
    assert suggest(arm).stable
    assert rate(BOX).stable


def test_written_stl_does_not_depend_on_the_order_of_faces() -> None:
    shuffled = trimesh.Trimesh(BOX.vertices, np.roll(BOX.faces[::-1], 1, axis=1), process=False)
    assert write_stl(shuffled) == write_stl(BOX)


@given(st.binary(max_size=400), st.sampled_from(["a.stl", "a.obj", "a.3mf", "a.png"]))
def test_any_bytes_give_a_report_or_a_sentence(data: bytes, name: str) -> None:
    try:
        said = str(inspect(part_file(name, data)).kind)
    except CannotMake as refused:
        said = str(refused)
    assert said


@given(st.integers(0, 600), st.integers(1, 255))
def test_a_damaged_stl_gives_a_report_or_a_sentence(at: int, flip: int) -> None:
    data = bytearray(write_stl(BOX))
    data[at] ^= flip
    try:
        said = str(inspect(part_file("a.stl", bytes(data))).kind)
    except CannotMake as refused:
        said = str(refused)
    assert said


def test_loading_does_not_repair() -> None:
    assert len(load_mesh(stl(trimesh.Trimesh(BOX.vertices, BOX.faces[1:], process=False))).faces) == 11
