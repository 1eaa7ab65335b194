"""STEP: read where the optional CAD kernel is installed, and said where it is not."""

from __future__ import annotations

import pytest

from designs.geometry import inspect, part_file
from designs.safe_files import BadGeometry
from designs.step_files import can_read_step

FACES = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))


def box_step(x: float, y: float, z: float, unit: str) -> bytes:
    """A box as a faceted solid (ISO 10303-42 faceted_brep), written from the standard's own words."""
    corners = [(a, b, c) for c in (0.0, z) for b in (0.0, y) for a in (0.0, x)]
    rows: list[str] = []

    def add(text: str) -> str:
        rows.append(f"#{len(rows) + 1}={text};")
        return f"#{len(rows)}"

    application = add("APPLICATION_CONTEXT('automotive design')")
    add(f"APPLICATION_PROTOCOL_DEFINITION('international standard','automotive_design',2000,{application})")
    market = add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = add(f"PRODUCT('box','box','',({market}))")
    formation = add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    context = add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = add(f"PRODUCT_DEFINITION('design','',{formation},{context})")
    shape = add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    length = add(f"(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT({unit},.METRE.))")
    angle = add("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
    solid_angle = add("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    exact = add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-05),{length},'distance_accuracy_value','')")
    space = add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({exact}))"
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid_angle}))REPRESENTATION_CONTEXT('',''))"
    )
    points = [add(f"CARTESIAN_POINT('',({a:.6f},{b:.6f},{c:.6f}))") for a, b, c in corners]
    faces = []
    for face in FACES:
        loop = add(f"POLY_LOOP('',({','.join(points[n] for n in face)}))")
        bound = add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        a, b, c = (corners[n] for n in face[:3])
        u, v = [q - p for p, q in zip(a, b, strict=True)], [q - p for p, q in zip(b, c, strict=True)]
        across = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
        directions = []
        for vector in (across, u):
            length_of = sum(each * each for each in vector) ** 0.5
            directions.append(add(f"DIRECTION('',({','.join(f'{each / length_of:.6f}' for each in vector)}))"))
        place = add(f"AXIS2_PLACEMENT_3D('',{points[face[0]]},{directions[0]},{directions[1]})")
        plane = add(f"PLANE('',{place})")
        faces.append(add(f"FACE_SURFACE('',({bound}),{plane},.T.)"))
    shell = add(f"CLOSED_SHELL('',({','.join(faces)}))")
    solid = add(f"FACETED_BREP('',{shell})")
    whole = add(f"FACETED_BREP_SHAPE_REPRESENTATION('',({solid}),{space})")
    add(f"SHAPE_DEFINITION_REPRESENTATION({shape},{whole})")
    head = "HEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('box','2026-01-01T00:00:00',(''),(''),'','','');\n"
    schema = "FILE_SCHEMA(('AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }'));\nENDSEC;\nDATA;\n"
    return ("ISO-10303-21;\n" + head + schema + "\n".join(rows) + "\nENDSEC;\nEND-ISO-10303-21;\n").encode()


@pytest.mark.parametrize(("unit", "factor"), [(".MILLI.", 1.0), ("$", 0.001), (".CENTI.", 0.1)])
def test_step_is_read_in_its_unit_or_refused_with_a_way_out(unit: str, factor: float) -> None:
    file = part_file("box.step", box_step(10 * factor, 20 * factor, 30 * factor, unit))
    if not can_read_step():
        with pytest.raises(BadGeometry, match=r"CAD kernel.*workshed\[step\]"):
            inspect(file)
        return
    report = inspect(file)
    assert report.dims_mm == pytest.approx((10, 20, 30), abs=1e-3)
    assert report.volume_mm3 == pytest.approx(6000, rel=1e-4)
    assert report.watertight


@pytest.mark.parametrize("data", [b"ISO-10303-21; nonsense", box_step(10, 20, 30, ".MILLI.")[:400], b"\0" * 50])
def test_a_damaged_step_is_a_sentence(data: bytes) -> None:
    with pytest.raises(BadGeometry, match="cannot be read"):
        inspect(part_file("bad.stp", data))
