"""Solids for the catalogue: outlines drawn up, cylinders, joined and cut with manifold3d, out as STL bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import manifold3d
import numpy as np
import trimesh

from designs.catalogue.outlines import Ring, flattened
from designs.meshes import write_stl

Solid = Any
"""A manifold3d.Manifold (the library ships no types): `+` joins, `-` cuts."""


CHORD_MM: Final = 1.8
"""Arcs of solids are cut into chords of about this length: round enough for a hand, and short to slice."""


def drawn_up(ring: Ring, height: float, holes: Sequence[Ring] = (), segments: int = 24) -> Solid:
    """An outline with holes, drawn up from z = 0."""
    rings = [_turned(flattened(ring, segments, CHORD_MM), 1.0)] + [
        _turned(flattened(hole, segments, CHORD_MM), -1.0) for hole in holes
    ]
    return manifold3d.CrossSection(rings, manifold3d.FillRule.EvenOdd).extrude(height)


def _turned(points: list[tuple[float, float]], wanted: float) -> list[tuple[float, float]]:
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True))
    return points if area * wanted > 0 else points[::-1]


def cylinder(diameter: float, height: float, segments: int = 24, top: float | None = None) -> Solid:
    """Standing on z = 0 around the z axis; a cone where `top` is another diameter."""
    return manifold3d.Manifold.cylinder(height, diameter / 2, (diameter if top is None else top) / 2, segments)


def box(x: float, y: float, z: float) -> Solid:
    """From the origin to x, y, z."""
    return manifold3d.Manifold.cube((x, y, z))


def stl(solid: Solid, title: str) -> bytes:
    """Binary STL of the solid, standing on z = 0 with its lower left corner at the origin."""
    found = solid.to_mesh()
    vertices = np.asarray(found.vert_properties, dtype=np.float64)[:, :3]
    mesh = trimesh.Trimesh(vertices - vertices.min(axis=0), np.asarray(found.tri_verts), process=False)
    return write_stl(mesh, title)
