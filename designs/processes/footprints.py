"""What a piece takes of plate or sheet, and about how long a machine works on it, before anything is sliced or cut.

Outlines are what plates and sheets are composed by; times are rough (within a factor of two or three) and serve only to
compare plates with each other: what is promised comes from finished toolpaths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
import trimesh
from shapely import affinity
from shapely.geometry import MultiPoint, Polygon

from designs.contours import bounds
from designs.drawing_conventions import Operation
from designs.drawings import read_drawing
from designs.geometry import checked_mesh
from designs.mesh_checks import overhang_area_mm2
from designs.meshes import MESH_KINDS
from designs.orientation import FIRM_MM2, rate, suggest
from designs.processes.model import CannotMake, Finding, GeometryKind, PartFile, Ring, Severity
from designs.processes.sheet_layout import footprint

SUPPORT_FROM_MM2: Final = 40.0
"""Less hanging area than this is printed without support (small bridges hold themselves)."""
_SUGGEST_FACES: Final = 100_000
_EXACT_FACES: Final = 20_000
"""Meshes with more faces are taken by their convex hull."""
_UPWARD: Final = 1e-3
_GRID_MM: Final = 0.001
_SMOOTH_MM: Final = 0.2
_WALLS_MM: Final = 1.2
_FILLED: Final = 0.2
_PRINT_MM3_S: Final = 5.0
"""Plastic a second over a whole print, travel and small layers included."""
_CUT_MM_S: Final = 8.0


@dataclass(frozen=True)
class Ready:
    """A piece's mesh, standing at 0, 0 on z = 0 the way it will be printed."""

    name: str
    mesh: trimesh.Trimesh
    watertight: bool
    overhang_mm2: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Outline of one piece with its lower left corner at 0, 0, and rough machine seconds."""

    outline_mm: Ring
    machine_s: float


def footprint_of(file: PartFile) -> Footprint | None:
    """What one piece takes; None for what has no size of its own (pictures) or lies alone (G-code, STEP unread).

    Raises CannotMake when the file cannot be read.
    """
    if file.kind in MESH_KINDS:
        mesh = standing(file).mesh
        volume = abs(float(mesh.volume))
        plastic = min(volume, float(mesh.area) * _WALLS_MM / 2.0 + volume * _FILLED)
        return Footprint(ring(shadow(mesh)), plastic / _PRINT_MM3_S)
    if file.kind not in (GeometryKind.SVG, GeometryKind.DXF):
        return None
    drawing = read_drawing(file)
    if not drawing.contours:
        return None
    x0, y0, _, _ = bounds(drawing.contours)
    length = sum(c.length_mm for c in drawing.contours if c.operation is not Operation.ENGRAVE)
    filled = sum(c.polygon().area for c in drawing.contours if c.operation is Operation.ENGRAVE and c.closed)
    outline = affinity.translate(footprint(drawing, 0.0), -x0, -y0)
    return Footprint(ring(outline), length / _CUT_MM_S + filled / 10.0)


def shadow(mesh: trimesh.Trimesh) -> Polygon:
    """What a standing mesh covers of the bed, seen from above; its hull where the exact outline cannot be had."""
    hull = MultiPoint(np.asarray(mesh.vertices)[:, :2]).convex_hull
    found: Any = None
    if len(mesh.faces) <= _EXACT_FACES:
        upward = np.asarray(mesh.triangles)[np.asarray(mesh.face_normals)[:, 2] > _UPWARD][:, :, :2]
        found = shapely.union_all(shapely.polygons(upward), grid_size=_GRID_MM)
    if found is None or found.geom_type != "Polygon" or found.is_empty:
        found = hull if isinstance(hull, Polygon) else hull.buffer(0.1)
    outer = Polygon(found.exterior)
    smooth = outer.buffer(_SMOOTH_MM, quad_segs=2).simplify(_SMOOTH_MM)
    return smooth if isinstance(smooth, Polygon) and smooth.contains(outer) else outer


def ring(outline: Polygon) -> Ring:
    """The outer ring as plain points, to a hundredth of a millimetre."""
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in outline.exterior.coords[:-1])


def standing(file: PartFile) -> Ready:
    """A piece's mesh as it will be printed, turned where it would not stand. Raises CannotMake (BadGeometry)."""
    if file.kind not in MESH_KINDS:
        raise CannotMake(
            f"{file.name} cannot be printed", f"it is {file.kind.value}, not a solid", "Use STL, 3MF or OBJ."
        )
    checked = checked_mesh(file)
    findings = list(checked.findings)
    findings += [Finding(Severity.NOTE, "repaired", f"{file.stem}: {said}.") for said in checked.repaired]
    mesh = checked.mesh.copy()
    modelled = rate(mesh)
    if modelled.contact_mm2 < FIRM_MM2 or not modelled.stable:
        better = suggest(mesh)
        if better.score < modelled.score:
            mesh.vertices = np.asarray(mesh.vertices) @ better.turn.T
            text = f"{file.stem} was turned: as modelled it would stand on {modelled.contact_mm2:.0f} mm²."
            findings.append(Finding(Severity.NOTE, "turned", text))
    elif modelled.overhang_mm2 >= SUPPORT_FROM_MM2 and len(mesh.faces) <= _SUGGEST_FACES:
        better = suggest(mesh)
        if better.overhang_mm2 < SUPPORT_FROM_MM2:
            text = f"{file.stem} would need no support another way up; turn it in the model if looks allow."
            findings.append(Finding(Severity.NOTE, "better_way_up", text))
    mesh.apply_translation(-mesh.bounds[0])
    return Ready(file.stem, mesh, checked.watertight, overhang_area_mm2(mesh), tuple(findings))
