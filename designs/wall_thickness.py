"""How thin a solid's walls are: rays into the material from all over its surface, each to the wall it meets.

A sample with a stated spacing: a thin patch at least so wide is met. Rays against triangles after Möller and Trumbore
(1997). Only walls whose two sides are within 25° of parallel count: the tip of a wedge is thin everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh
from scipy.spatial import cKDTree

MEASURED_TO_MM: Final = 2.5
"""Thicker walls are not told apart."""
MOST_TRIANGLES: Final = 40_000
_FINEST_MM: Final = 0.5
_MOST_RAYS: Final = 12_000
_MOST_TARGETS: Final = 50_000
_MOST_PAIRS: Final = 4_000_000
_CHUNK: Final = 1_500_000
_PARALLEL: Final = -math.cos(math.radians(25.0))
_SAME_MM: Final = 1e-4

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Walls:
    """The thinnest wall met (None: none under MEASURED_TO_MM), and how far apart the rays began, mm."""

    thinnest_mm: float | None
    spacing_mm: float


def measure_walls(mesh: trimesh.Trimesh) -> Walls | None:
    """The thinnest wall of a watertight mesh; None where it is open or has over MOST_TRIANGLES triangles."""
    if len(mesh.faces) > MOST_TRIANGLES or not mesh.is_watertight:
        return None
    corners, areas = np.asarray(mesh.triangles), np.asarray(mesh.area_faces)
    normals = np.asarray(mesh.face_normals)
    reach = max(1.0, math.sqrt(float(areas.sum()) / _MOST_TARGETS))
    spots, faces = _targets(corners, reach)
    tree = cKDTree(spots)
    near = MEASURED_TO_MM + reach
    crowd = float(np.mean(tree.query_ball_point(spots[:: max(1, len(spots) // 200)], near, return_length=True)))
    count = int(min(_MOST_RAYS, areas.sum() / _FINEST_MM**2, _MOST_PAIRS / max(crowd, 1.0)))
    origins, from_faces = _origins(corners, areas, max(count, 200))
    thinnest = math.inf
    step = max(1, int(_CHUNK / max(crowd, 1.0)))
    for at in range(0, len(origins), step):
        found = tree.query_ball_point(origins[at : at + step], near)
        rays = np.repeat(np.arange(at, at + len(found)), [len(each) for each in found])
        met = faces[np.concatenate([np.asarray(each, dtype=np.int64) for each in found])]
        opposed = np.einsum("ij,ij->i", normals[from_faces[rays]], normals[met]) < _PARALLEL
        pairs = np.unique(np.column_stack([rays[opposed], met[opposed]]), axis=0)
        if len(pairs):
            through = _distances(origins[pairs[:, 0]], -normals[from_faces[pairs[:, 0]]], corners[pairs[:, 1]])
            thinnest = min(thinnest, float(through.min()))
    spacing = math.sqrt(float(areas.sum()) / len(origins))
    return Walls(thinnest if thinnest <= MEASURED_TO_MM else None, spacing)


def _targets(corners: Floats, reach_mm: float) -> tuple[Floats, Indices]:
    """Points on every triangle, none of it farther than `reach_mm` from one, and whose they are."""
    edges = corners - np.roll(corners, 1, axis=1)
    cuts = np.ceil(np.linalg.norm(edges, axis=2).max(axis=1) / reach_mm).astype(np.int64).clip(1, 400)
    spots, faces = [], []
    for cut in np.unique(cuts).tolist():
        index = np.flatnonzero(cuts == cut)
        i, j = np.meshgrid(np.arange(cut), np.arange(cut), indexing="ij")
        up, down = i + j < cut, i + j < cut - 1
        u = np.concatenate([(i[up] + 1 / 3) / cut, (i[down] + 2 / 3) / cut])
        v = np.concatenate([(j[up] + 1 / 3) / cut, (j[down] + 2 / 3) / cut])
        weights = np.column_stack([1.0 - u - v, u, v])
        spots.append(np.einsum("kw,fwc->fkc", weights, corners[index]).reshape(-1, 3))
        faces.append(np.repeat(index, len(u)))
    return np.concatenate(spots), np.concatenate(faces)


def _origins(corners: Floats, areas: Floats, count: int) -> tuple[Floats, Indices]:
    """Points spread over the surface in proportion to area, the same every time (R2 sequence, Roberts 2018)."""
    sums = np.cumsum(areas)
    faces = np.searchsorted(sums, (np.arange(count) + 0.5) * sums[-1] / count).clip(0, len(areas) - 1)
    steps = np.arange(1, count + 1)
    u, v = np.mod(0.5 + steps * 0.7548776662466927, 1.0), np.mod(0.5 + steps * 0.5698402909980532, 1.0)
    over = u + v > 1.0
    u, v = np.where(over, 1.0 - u, u), np.where(over, 1.0 - v, v)
    weights = np.column_stack([1.0 - u - v, u, v])
    return np.einsum("nw,nwc->nc", weights, corners[faces]), faces


def _distances(origins: Floats, directions: Floats, corners: Floats) -> Floats:
    """How far along its direction each origin's ray meets its triangle; infinite where it does not."""
    first, edge1, edge2 = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(directions, edge2)
    determinant = np.einsum("ij,ij->i", edge1, across)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / determinant
        away = origins - first
        u = np.einsum("ij,ij->i", away, across) * inverse
        turned = np.cross(away, edge1)
        v = np.einsum("ij,ij->i", turned, directions) * inverse
        distance = np.einsum("ij,ij->i", edge2, turned) * inverse
        hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1.0 + 1e-9) & (distance > _SAME_MM)
    return np.where(hit & (np.abs(determinant) > 1e-12), distance, np.inf)
