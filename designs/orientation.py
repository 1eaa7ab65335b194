"""Which way up to print: least overhang, stable on the bed, low.

Candidates are the faces of the convex hull (a part can only stand on those) and the way it was modelled. The score is
the area that would need support, plus what is missing of a firm stand and a little for height, in mm².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh
from scipy.spatial import ConvexHull, QhullError

from designs.mesh_checks import contact_area_mm2, overhang_area_mm2

FIRM_MM2: Final = 25.0
"""A stand smaller than this is likely to be knocked over."""
_CANDIDATES: Final = 24
_HEIGHT_WEIGHT: Final = 0.5

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Orientation:
    """A turn (3 × 3, applied as `vertices @ turn.T`), and what it gives."""

    turn: Matrix
    overhang_mm2: float
    contact_mm2: float
    height_mm: float
    stable: bool

    @property
    def score(self) -> float:
        """Smaller is better, mm²."""
        missing_stand = max(0.0, FIRM_MM2 - self.contact_mm2)
        tips = 0.0 if self.stable else 1e4
        return self.overhang_mm2 + missing_stand + _HEIGHT_WEIGHT * self.height_mm + tips


def rate(mesh: trimesh.Trimesh, turn: Matrix | None = None) -> Orientation:
    """How the mesh would stand with this turn (None: as it is)."""
    turn = np.eye(3) if turn is None else turn
    turned = trimesh.Trimesh(np.asarray(mesh.vertices) @ turn.T, mesh.faces, process=False)
    vertices = np.asarray(turned.vertices)
    height = float(np.ptp(vertices[:, 2]))
    return Orientation(turn, overhang_area_mm2(turned), contact_area_mm2(turned), height, _stands(turned))


def suggest(mesh: trimesh.Trimesh) -> Orientation:
    """The best way up among the candidates; the way it was modelled wins ties."""
    best = rate(mesh)
    for normal in _hull_normals(mesh):
        found = rate(mesh, _down(normal))
        if found.score < best.score - 1e-6:
            best = found
    return best


def _hull_normals(mesh: trimesh.Trimesh) -> list[Matrix]:
    """Outward normals of the hull's largest flat sides, largest first."""
    try:
        hull = mesh.convex_hull
    except (QhullError, ValueError):
        return []
    areas: dict[tuple[float, ...], float] = {}
    for normal, area in zip(np.round(np.asarray(hull.face_normals), 3) + 0.0, np.asarray(hull.area_faces), strict=True):
        key = tuple(float(each) for each in normal)
        areas[key] = areas.get(key, 0.0) + float(area)
    largest = sorted(areas, key=lambda key: (-round(areas[key], 3), key))[:_CANDIDATES]
    return [np.array(key) / np.linalg.norm(key) for key in largest if np.linalg.norm(key) > 0]


def _down(normal: Matrix) -> Matrix:
    """The rotation that turns `normal` to point at the bed (Rodrigues' formula)."""
    target = np.array([0.0, 0.0, -1.0])
    axis, cosine = np.cross(normal, target), float(normal @ target)
    if cosine > 1 - 1e-9:
        return np.eye(3)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn: Matrix = np.eye(3) + cross + cross @ cross / (1 + cosine)
    return turn


def _stands(mesh: trimesh.Trimesh) -> bool:
    """Whether the centre of mass is over the hull of what touches the bed."""
    vertices = np.asarray(mesh.vertices)
    touching = vertices[vertices[:, 2] < vertices[:, 2].min() + 0.05][:, :2]
    if len(touching) < 3:
        return False
    centre = np.asarray(mesh.center_mass if mesh.is_watertight else mesh.centroid)[:2]
    try:
        ring = touching[ConvexHull(touching).vertices]  # in two dimensions: counter-clockwise
    except (QhullError, ValueError):
        return False
    side = np.roll(ring, -1, axis=0) - ring
    away = centre - ring
    return bool((side[:, 0] * away[:, 1] - side[:, 1] * away[:, 0] >= -1e-6).all())
