"""Safe repairs of a mesh: only those that cannot change the intended shape, each said in a sentence."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh

LEAST_AREA_MM2: Final = 1e-9
Faces = npt.NDArray[np.int64]


def repair(mesh: trimesh.Trimesh) -> list[str]:
    """Repair in place what is safe; what was done, in sentences without a capital or a full stop."""
    said: list[str] = []
    before = len(mesh.faces)
    mesh.update_faces(np.asarray(mesh.area_faces) > LEAST_AREA_MM2)
    if len(mesh.faces) < before:
        said.append(f"left out {before - len(mesh.faces)} triangles without area")
    before = len(mesh.faces)
    mesh.update_faces(mesh.unique_faces())
    if len(mesh.faces) < before:
        said.append(f"left out {before - len(mesh.faces)} double triangles")
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0:
        return said
    if not mesh.is_winding_consistent:
        turned = with_one_winding(np.asarray(mesh.faces))
        if not np.array_equal(turned, np.asarray(mesh.faces)):
            mesh.faces = turned
            said.append("turned triangles so that all face the same way")
    if not mesh.is_watertight:
        patches = small_hole_patches(np.asarray(mesh.faces))
        if len(patches):
            mesh.faces = np.vstack([np.asarray(mesh.faces), patches])
            said.append(f"closed small holes with {len(patches)} triangles")
    # bodies inside others are cavities: turning them would fill them, so only a whole that is inside out is turned
    if mesh.is_watertight and mesh.is_winding_consistent and float(mesh.volume) < 0:
        mesh.invert()
        said.append("turned it the right way out (its faces pointed inwards)")
    return said


def with_one_winding(faces: Faces) -> Faces:
    """Faces with each connected body wound one way: the way most of its triangles are."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    forward = (faces[:, [0, 1, 2]] < faces[:, [1, 2, 0]]).reshape(-1)
    _, groups, counts = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    groups = groups.reshape(-1)
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    pairs = order[starts[:-1][counts == 2][:, None] + np.arange(2)]
    clash = forward[pairs[:, 0]] == forward[pairs[:, 1]]
    if not clash.any():
        return faces
    neighbours: list[list[tuple[int, bool]]] = [[] for _ in range(len(faces))]
    for (one, other), differs in zip((pairs // 3).tolist(), clash.tolist(), strict=True):
        neighbours[one].append((other, differs))
        neighbours[other].append((one, differs))
    flip = _flips(neighbours)
    result = faces.copy()
    result[flip] = result[flip][:, ::-1]
    return result


def _flips(neighbours: list[list[tuple[int, bool]]]) -> npt.NDArray[np.bool_]:
    """Which faces to turn, found body by body; the smaller share of a body is turned."""
    flip = np.zeros(len(neighbours), dtype=bool)
    seen = np.zeros(len(neighbours), dtype=bool)
    for first in range(len(neighbours)):
        if seen[first]:
            continue
        seen[first] = True
        body, waiting = [first], deque([first])
        while waiting:
            here = waiting.popleft()
            for other, differs in neighbours[here]:
                if not seen[other]:
                    seen[other] = True
                    flip[other] = flip[here] ^ differs
                    body.append(other)
                    waiting.append(other)
        if 2 * int(flip[body].sum()) > len(body):
            flip[body] = ~flip[body]
    return flip


def small_hole_patches(faces: Faces) -> Faces:
    """Triangles that close holes of three or four edges, wound like their neighbours."""
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    _, groups, counts = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True)
    loose = directed[counts[groups.reshape(-1)] == 1]
    following: dict[int, int] = {}
    crossed: set[int] = set()
    for start, end in loose[:, ::-1].tolist():  # a patch runs along a hole's edge the other way
        if start in following:
            crossed.add(start)
        following[start] = end
    patches: list[tuple[int, int, int]] = []
    done: set[int] = set()
    for start in following:
        ring = [start]
        while len(ring) < 5 and (after := following.get(ring[-1], start)) != start:
            ring.append(after)
        closed = following.get(ring[-1]) == start
        if not closed or len(ring) not in {3, 4} or done & set(ring) or crossed & set(ring):
            continue
        if len(ring) == 3 and (np.sort(faces, axis=1) == sorted(ring)).all(axis=1).any():
            continue  # a lone triangle has no hole to close: a second one on its back would be a body without inside
        done |= set(ring)
        patches.append((ring[0], ring[1], ring[2]))
        if len(ring) == 4:
            patches.append((ring[0], ring[2], ring[3]))
    return np.array(patches, dtype=np.int64).reshape(-1, 3)
