"""Thin walls are met wherever they are, at the spacing that is stated, and thick parts are not called thin."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.mesh_checks import check_mesh
from designs.wall_thickness import MEASURED_TO_MM, measure_walls


def codes(mesh: trimesh.Trimesh) -> set[str]:
    return {finding.code for finding in check_mesh(mesh, "x").findings}


def thinnest(mesh: trimesh.Trimesh) -> float | None:
    walls = measure_walls(mesh)
    assert walls is not None
    return walls.thinnest_mm


@pytest.mark.parametrize("thickness", [0.3, 0.79, 2.0])
def test_a_sheet_is_as_thick_as_it_is(thickness: float) -> None:
    sheet = trimesh.creation.box((20, 20, thickness))
    assert thinnest(sheet) == pytest.approx(thickness, abs=1e-6)
    assert ("thin_wall" in codes(sheet)) == (thickness < 0.8)


def test_a_small_rib_on_a_large_block_is_met() -> None:
    """Its sides are a fortieth of the surface: probes of the largest faces alone would miss it."""
    rib = trimesh.creation.box((12, 0.5, 6)).apply_translation((5, 7, 17.9))
    block = trimesh.creation.box((60, 40, 30)).union(rib)
    assert block.is_watertight
    assert thinnest(block) == pytest.approx(0.5, abs=1e-6)
    (found,) = [each for each in check_mesh(block, "x").findings if each.code == "thin_wall"]
    assert "0.50 mm" in found.text
    assert "measured every 1." in found.text


def test_a_thin_tab_as_wide_as_the_stated_spacing_is_met() -> None:
    base = trimesh.creation.box((80, 80, 20))
    walls = measure_walls(base)
    assert walls is not None
    side = 2.0 * walls.spacing_mm
    tab = trimesh.creation.box((side, 0.6, side + 1)).apply_translation((20, 10, 10 + side / 2))
    assert thinnest(base.union(tab)) == pytest.approx(0.6, abs=1e-6)


def test_a_tube_wall_is_met_through_its_facets() -> None:
    tube = trimesh.creation.annulus(r_min=9.4, r_max=10.0, height=20, sections=64)
    assert thinnest(tube) == pytest.approx(0.6, abs=0.03)


def test_a_thin_lid_over_a_hollow_is_met() -> None:
    hollow = trimesh.creation.box((30, 30, 20)).difference(
        trimesh.creation.box((26, 26, 15)).apply_translation((0, 0, 1.9))
    )
    assert thinnest(hollow) == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(
    "mesh",
    [
        trimesh.creation.box((30, 20, 10)),
        trimesh.creation.icosphere(subdivisions=4, radius=8),
        trimesh.creation.cone(10, 12, sections=48),
        trimesh.creation.annulus(r_min=5, r_max=9, height=6),
    ],
    ids=["box", "ball", "cone", "ring"],
)
def test_what_is_thick_is_not_called_thin(mesh: trimesh.Trimesh) -> None:
    assert thinnest(mesh) is None
    assert "thin_wall" not in codes(mesh)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 2.4), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_turning_and_fineness_change_nothing(thickness: float, about_x: float, about_y: float) -> None:
    sheet = trimesh.creation.box((15, 10, thickness)).subdivide().subdivide()
    sheet.apply_transform(trimesh.transformations.euler_matrix(about_x, about_y, 0.3))
    assert thinnest(sheet) == pytest.approx(thickness, abs=1e-5)


def test_open_meshes_are_not_measured_and_huge_ones_say_so() -> None:
    box = trimesh.creation.box((10, 10, 10))
    torn = trimesh.Trimesh(box.vertices, np.asarray(box.faces)[:-1], process=False)
    assert measure_walls(torn) is None
    fine = trimesh.creation.icosphere(subdivisions=6, radius=20)
    assert len(fine.faces) > 40_000
    assert "walls_not_measured" in codes(fine)
    assert MEASURED_TO_MM > 0.8
