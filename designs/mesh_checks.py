"""What is wrong with a mesh, and how it would print: holes, thin walls, overhang, size.

What may be repaired, and how, is in `designs.mesh_repair`. All else is said and left alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from designs.mesh_repair import repair
from designs.processes.model import Finding, Severity
from designs.safe_files import BadGeometry
from designs.wall_thickness import MOST_TRIANGLES, measure_walls

TINY_MM: Final = 0.5
SMALL_MM: Final = 3.0
HUGE_MM: Final = 3000.0
FLAT_MM: Final = 0.01
OVERHANG_DEG: Final = 45.0
"""Steeper than this from the vertical needs support; what slicers and FDM guides use."""
THIN_WALL_MM: Final = 0.8
"""Two lines of a 0.4 mm nozzle."""
_BED_MM: Final = 0.05

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CheckedMesh:
    """A mesh after safe repair, with what was found and what was changed."""

    mesh: trimesh.Trimesh
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...]
    watertight: bool


def check_mesh(mesh: trimesh.Trimesh, name: str) -> CheckedMesh:
    """Repair what is safe, then check; the given mesh is not changed. Raises BadGeometry for what is no solid."""
    mesh = mesh.copy()
    repaired = repair(mesh)
    if len(mesh.faces) == 0:
        raise BadGeometry(f"{name} holds no shape", "all its triangles have no area", "Export it again.")
    sides = np.ptp(np.asarray(mesh.vertices), axis=0)
    findings = _sizes(sides, name)
    if sides.min() < FLAT_MM:
        raise BadGeometry(
            f"{name} is flat",
            f"it is {sides.min():.3g} mm thick in one direction",
            "Give it thickness and export again.",
        )
    watertight = bool(mesh.is_watertight)
    if not watertight:
        findings.append(_open_edges(mesh))
    elif abs(float(mesh.volume)) < 1e-3:
        raise BadGeometry(f"{name} has no inside", "its volume is zero", "Export it as a solid.")
    bodies = _bodies(mesh)
    if bodies > 1:
        findings.append(Finding(Severity.NOTE, "bodies", f"It consists of {bodies} separate bodies."))
    findings += _walls(mesh, watertight)
    return CheckedMesh(mesh, tuple(findings), tuple(repaired), watertight)


def _walls(mesh: trimesh.Trimesh, watertight: bool) -> list[Finding]:
    walls = measure_walls(mesh)
    if walls is None:
        said = f"Walls were not measured: over {MOST_TRIANGLES} triangles."
        return [Finding(Severity.NOTE, "walls_not_measured", said)] if watertight else []
    if walls.thinnest_mm is None or walls.thinnest_mm >= THIN_WALL_MM:
        return []
    text = f"The thinnest wall found is {walls.thinnest_mm:.2f} mm (measured every {walls.spacing_mm:.1f} mm); "
    return [Finding(Severity.WARNING, "thin_wall", text + f"under {THIN_WALL_MM} mm a 0.4 mm nozzle may not print it.")]


def _bodies(mesh: trimesh.Trimesh) -> int:
    pairs, count = np.asarray(mesh.face_adjacency).reshape(-1, 2), len(mesh.faces)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return int(connected_components(graph, directed=False, return_labels=False))


def _open_edges(mesh: trimesh.Trimesh) -> Finding:
    _, counts = np.unique(np.sort(np.asarray(mesh.edges), axis=1), axis=0, return_counts=True)
    loose, crowded = int((counts == 1).sum()), int((counts > 2).sum())
    what = []
    if loose:
        what.append(f"{loose} edges have a triangle on one side only (holes)")
    if crowded:
        what.append(f"{crowded} edges join more than two triangles")
    text = "It is not watertight: " + " and ".join(what or ["some triangles face the wrong way"]) + "."
    return Finding(Severity.WARNING, "not_watertight", text)


def _sizes(sides: Floats, name: str) -> list[Finding]:
    longest = float(sides.max())
    size = " × ".join(f"{side:.0f}" if side >= 1000.0 else f"{side:.4g}" for side in sides)
    if longest < TINY_MM:
        raise BadGeometry(
            f"{name} is too small to make",
            f"it measures {size} mm",
            "It looks as if it was drawn in metres: scale it by 1000 and export in millimetres.",
        )
    if longest > HUGE_MM:
        raise BadGeometry(
            f"{name} is too large to make",
            f"it measures {size} mm",
            "It looks like a mistake of units (micrometres, or inches scaled twice): export it in millimetres.",
        )
    if longest < SMALL_MM:
        text = f"It measures only {size} mm: if it was drawn in inches or centimetres, scale it by 25.4 or 10."
        return [Finding(Severity.WARNING, "tiny", text)]
    return []


def overhang_area_mm2(mesh: trimesh.Trimesh, limit_deg: float = OVERHANG_DEG) -> float:
    """Area of faces that hang over more than `limit_deg` from the vertical and do not lie on the bed, z up."""
    normals, areas = np.asarray(mesh.face_normals), np.asarray(mesh.area_faces)
    lowest = np.asarray(mesh.triangles)[:, :, 2]
    hangs = (normals[:, 2] < -math.sin(math.radians(limit_deg)) - 1e-6) & (lowest.max(axis=1) > lowest.min() + _BED_MM)
    return float(areas[hangs].sum())


def contact_area_mm2(mesh: trimesh.Trimesh) -> float:
    """Area that lies flat on the bed, z up."""
    heights = np.asarray(mesh.triangles)[:, :, 2]
    flat = (heights.max(axis=1) < heights.min() + _BED_MM) & (np.asarray(mesh.face_normals)[:, 2] < -0.99)
    return float(np.asarray(mesh.area_faces)[flat].sum())
