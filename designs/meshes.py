"""Meshes in from STL (binary and ASCII), OBJ and 3MF, with every claim in the file checked; STL out, byte for byte.

Formats: STL as 3D Systems described it (80 bytes, a count, 50 bytes a triangle; or `solid … facet … vertex`); OBJ
(Wavefront, `v` and `f` lines); 3MF in `designs.threemf`. STL and OBJ carry no unit: millimetres are assumed, and
`designs.mesh_checks` says when the size looks like another unit. STEP: `designs.step_files`, by an optional library.
"""

from __future__ import annotations

import re
import struct
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh

from designs.processes.model import GeometryKind, PartFile
from designs.safe_files import BadGeometry, check_size

MESH_KINDS: Final = frozenset({GeometryKind.STL, GeometryKind.OBJ, GeometryKind.THREE_MF, GeometryKind.STEP})
MOST_TRIANGLES: Final = 5_000_000
_FARTHEST_MM: Final = 1e6
_STL_RECORD: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
_VERTEX: Final = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)

Vertices = npt.NDArray[np.float64]
Faces = npt.NDArray[np.int64]


def load_mesh(file: PartFile) -> trimesh.Trimesh:
    """The mesh as the file says it, in mm, equal vertices merged, nothing repaired. Raises BadGeometry."""
    check_size(file.data, file.name)
    if file.kind is GeometryKind.STL:
        vertices, faces = _stl(file)
    elif file.kind is GeometryKind.OBJ:
        vertices, faces = _obj(file)
    elif file.kind is GeometryKind.THREE_MF:
        from designs.threemf import read_threemf

        vertices, faces = read_threemf(file)
    elif file.kind is GeometryKind.STEP:
        from designs.step_files import read_step

        vertices, faces = read_step(file)
    else:
        raise BadGeometry(f"{file.name} is not a mesh", f"it is {file.kind.value}", "Use STL, OBJ or 3MF.")
    return _mesh(vertices, faces, file.name)


def _mesh(vertices: Vertices, faces: Faces, name: str) -> trimesh.Trimesh:
    if len(faces) == 0:
        raise BadGeometry(f"{name} holds no shape", "it has no triangles", "Export it again from the CAD program.")
    if len(faces) > MOST_TRIANGLES:
        raise BadGeometry(f"{name} is too fine", f"it has {len(faces)} triangles, at most {MOST_TRIANGLES} are taken")
    if not np.isfinite(vertices).all():
        raise BadGeometry(f"{name} is damaged", "some corners are not numbers (NaN or infinite)", "Export it again.")
    if np.abs(vertices).max() > _FARTHEST_MM:
        raise BadGeometry(
            f"{name} is out of bounds", "some corners lie more than a kilometre away", "Check its unit and its origin."
        )
    mesh = trimesh.Trimesh(vertices=vertices, faces=faces, process=False, validate=False)
    mesh.merge_vertices()
    return mesh


def _stl(file: PartFile) -> tuple[Vertices, Faces]:
    data = file.data
    if len(data) >= 84:
        count = struct.unpack_from("<I", data, 80)[0]
        if len(data) == 84 + 50 * count:
            return _binary_stl(data, count)
    if data[:512].lstrip().lower().startswith(b"solid") and b"facet" in data[:4096].lower():
        return _ascii_stl(file)
    if len(data) < 84:
        raise BadGeometry(f"{file.name} is not an STL file", "it is shorter than an STL header and is not STL text")
    if data[:6].lower().startswith(b"solid"):
        raise BadGeometry(f"{file.name} holds no shape", "it is an STL text without a facet", "Export it again.")
    count = struct.unpack_from("<I", data, 80)[0]
    whole = (len(data) - 84) // 50
    if len(data) > 84 + 50 * count and 0 < count <= MOST_TRIANGLES:
        return _binary_stl(data, count)  # some programs append colours or notes after the triangles
    raise BadGeometry(
        f"{file.name} is cut short or not an STL file",
        f"its header announces {count} triangles and there is room for {whole}",
        "Export it again, and check that the upload finished.",
    )


def _binary_stl(data: bytes, count: int) -> tuple[Vertices, Faces]:
    corners = np.frombuffer(data, dtype=_STL_RECORD, count=count, offset=84)["corners"]
    return corners.reshape(-1, 3).astype(np.float64), np.arange(count * 3, dtype=np.int64).reshape(-1, 3)


def _ascii_stl(file: PartFile) -> tuple[Vertices, Faces]:
    found = _VERTEX.findall(file.data)
    if b"endsolid" not in file.data[-512:].lower() or len(found) % 3:
        raise BadGeometry(
            f"{file.name} is cut short", "its text does not end with endsolid", "Export it again, or upload it again."
        )
    try:
        vertices = np.array(found, dtype="S64").astype(np.float64)
    except ValueError as error:
        raise BadGeometry(
            f"{file.name} is damaged", f"a corner is not a number ({error})", "Export it again."
        ) from error
    return vertices.reshape(-1, 3), np.arange(len(found), dtype=np.int64).reshape(-1, 3)


def _obj(file: PartFile) -> tuple[Vertices, Faces]:
    vertices: list[tuple[float, float, float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, raw in enumerate(file.data.decode("utf-8", "replace").splitlines(), start=1):
        words = raw.split("#", 1)[0].split()
        if not words or words[0] not in {"v", "f"}:
            continue
        try:
            if words[0] == "v":
                vertices.append((float(words[1]), float(words[2]), float(words[3])))
            else:
                faces.extend(_fan([_obj_index(word, len(vertices)) for word in words[1:]]))
        except (ValueError, IndexError) as error:
            raise BadGeometry(
                f"{file.name} is damaged", f"line {number} cannot be read: {raw[:60]!r}", "Export it again."
            ) from error
    if faces and max(max(face) for face in faces) >= len(vertices):
        raise BadGeometry(f"{file.name} is damaged", "a face names a corner that does not exist", "Export it again.")
    if not faces:
        raise BadGeometry(
            f"{file.name} holds no shape", "it has no faces", "Export it as a mesh, not as points or lines."
        )
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), np.array(faces, dtype=np.int64)


def _obj_index(word: str, so_far: int) -> int:
    """OBJ counts from 1, and negative numbers count back from the latest vertex."""
    index = int(word.split("/", 1)[0])
    zero_based = index - 1 if index > 0 else so_far + index
    if zero_based < 0:
        raise ValueError(word)
    return zero_based


def _fan(polygon: list[int]) -> list[tuple[int, int, int]]:
    if len(polygon) < 3:
        raise ValueError(polygon)
    return [(polygon[0], polygon[at], polygon[at + 1]) for at in range(1, len(polygon) - 1)]


def write_stl(mesh: trimesh.Trimesh, title: str = "") -> bytes:
    """Binary STL, the same bytes for the same mesh: triangles in a fixed order, coordinates in micrometres.

    Corners are rounded to 1 µm and each triangle starts at its smallest corner, so that neither a library's order of
    faces nor the last bit of a float changes the file.
    """
    corners = np.round(np.asarray(mesh.vertices)[np.asarray(mesh.faces)] * 1000.0).astype(np.int64)
    one, two, three = corners[:, 0], corners[:, 1], corners[:, 2]
    whole = (one != two).any(axis=1) & (two != three).any(axis=1) & (three != one).any(axis=1)
    one, two, three = one[whole], two[whole], three[whole]
    first = np.where(_before(two, one), np.where(_before(three, two), 2, 1), np.where(_before(three, one), 2, 0))
    turn = (first[:, None] + np.arange(3)) % 3
    rolled = np.take_along_axis(corners[whole], turn[:, :, None], axis=1)
    flat = rolled.reshape(-1, 9)
    points = rolled[np.lexsort(flat.T[::-1])] / 1000.0
    table = np.zeros(len(points), dtype=_STL_RECORD)
    if len(points):
        normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        unit = np.round(np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0), 4) + 0.0
        table["normal"], table["corners"] = unit, points
    header = f"Workshed {title}".encode("ascii", "replace")[:80].ljust(80)
    return header + struct.pack("<I", len(points)) + table.tobytes()


def _before(one: Faces, other: Faces) -> npt.NDArray[np.bool_]:
    """Row by row: whether a corner comes before another, by x, then y, then z."""
    x, y, z = (one[:, axis] - other[:, axis] for axis in range(3))
    return np.asarray((x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0)))))
