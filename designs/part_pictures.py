"""Parts as pictures (PNG): a mesh shaded from above its corner, a drawing with its operations in their colours."""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image, ImageDraw

from designs.drawing_conventions import Operation
from designs.drawings import Drawing, read_drawing
from designs.geometry import checked_mesh
from designs.meshes import MESH_KINDS
from designs.processes.model import GeometryKind, PartFile
from designs.safe_files import BadGeometry

_PAPER: Final = (250, 249, 246)
_LIGHT: Final = np.array([0.35, -0.5, 0.79])
_TINT: Final = np.array([226.0, 148.0, 60.0])
_EDGE_DEG: Final = 25.0
_MOST_FACES: Final = 200_000
Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
_INK: Final[dict[Operation, tuple[int, int, int]]] = {
    Operation.CUT: (196, 40, 40),
    Operation.ENGRAVE: (40, 70, 190),
    Operation.MARK: (30, 30, 30),
    Operation.POCKET: (150, 90, 170),
    Operation.DRILL: (30, 130, 60),
    Operation.IGNORE: (170, 170, 170),
}


def part_picture(file: PartFile, *, width_px: int = 480, height_px: int = 360) -> bytes:
    """PNG of a part: meshes in three dimensions, drawings flat, pictures as they are. Raises CannotMake."""
    if file.kind in MESH_KINDS:
        return mesh_picture(checked_mesh(file).mesh, width_px=width_px, height_px=height_px)
    if file.kind in {GeometryKind.SVG, GeometryKind.DXF}:
        return drawing_picture(read_drawing(file), width_px=width_px, height_px=height_px)
    raise BadGeometry(f"{file.name} has no picture", f"a {file.kind.value} file is not drawn as a part")


def mesh_picture(mesh: trimesh.Trimesh, *, width_px: int = 480, height_px: int = 360) -> bytes:
    """The mesh seen from above its front right corner, orthographic; what is nearest at a pixel is seen there."""
    if len(mesh.faces) > _MOST_FACES:
        mesh = mesh.convex_hull
    turn, tip = math.radians(-35), math.radians(-60)
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(tip), -math.sin(tip)], [0, math.sin(tip), math.cos(tip)]])
    seen = np.asarray(mesh.vertices) @ (about_x @ about_z).T
    normals = np.asarray(mesh.face_normals)
    image, _, place = _sheet(seen[:, :2].min(axis=0), seen[:, :2].max(axis=0), width_px, height_px)
    spots = np.column_stack([np.array([place(x, y) for x, y in seen[:, :2]]), seen[:, 2]])
    shade = 0.45 + 0.55 * np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    pixels = np.array(image)
    nearest = np.full(pixels.shape[:2], -np.inf)
    facing = np.flatnonzero((normals @ (about_x @ about_z).T)[:, 2] > 0).tolist()
    for index in facing:
        _paint(pixels, nearest, spots[np.asarray(mesh.faces)[index]], np.clip(_TINT * shade[index], 0, 255))
    edges = _sharp_edges(mesh)
    slack = 0.01 * float(np.ptp(seen, axis=0).max())
    for start, end in {edge for index in facing for edge in edges.get(index, ())}:
        _line(pixels, nearest, spots[start], spots[end], slack)
    return _png(Image.fromarray(pixels), width_px, height_px)


def _paint(pixels: Pixels, nearest: Floats, corners: Floats, colour: Floats) -> None:
    """One triangle (x, y in pixels, z towards the eye) wherever nothing nearer is painted."""
    low = np.floor(corners[:, :2].min(axis=0)).astype(int)
    high = np.ceil(corners[:, :2].max(axis=0)).astype(int) + 1
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
    twice = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if abs(twice) < 1e-9:
        return
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    u = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / twice
    v = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / twice
    z = az + u * (bz - az) + v * (cz - az)
    here = nearest[low[1] : high[1], low[0] : high[0]]
    hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (z > here)
    here[hit] = z[hit]
    pixels[low[1] : high[1], low[0] : high[0]][hit] = colour.astype(np.uint8)


def _line(pixels: Pixels, nearest: Floats, start: Floats, end: Floats, slack: float) -> None:
    """An edge, two pixels wide, where it is not hidden by more than `slack`."""
    count = int(np.abs(end[:2] - start[:2]).max()) + 2
    along = start + (end - start) * np.linspace(0.0, 1.0, count)[:, None]
    columns, rows = np.round(along[:, 0]).astype(int), np.round(along[:, 1]).astype(int)
    shown = along[:, 2] >= nearest[rows, columns] - slack
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        pixels[rows[shown] + dy, columns[shown] + dx] = (120, 72, 24)


def _sharp_edges(mesh: trimesh.Trimesh) -> dict[int, list[tuple[int, int]]]:
    """Edges to draw with each face: those where the surface turns."""
    sharp = np.asarray(mesh.face_adjacency_angles) > math.radians(_EDGE_DEG)
    found: dict[int, list[tuple[int, int]]] = {}
    sides, ends = np.asarray(mesh.face_adjacency)[sharp].tolist(), np.asarray(mesh.face_adjacency_edges)[sharp].tolist()
    for pair, (start, end) in zip(sides, ends, strict=True):
        for face in pair:
            found.setdefault(face, []).append((start, end))
    return found


def drawing_picture(drawing: Drawing, *, width_px: int = 480, height_px: int = 360) -> bytes:
    """The material that stays as a filled shape, and every line in its operation's colour."""
    width, height = drawing.size_mm
    image, draw, place = _sheet(np.zeros(2), np.array([width, height]), width_px, height_px)
    for region in drawing.regions():
        draw.polygon([place(x, y) for x, y in region.exterior.coords], fill=(232, 208, 170))
        for hole in region.interiors:
            draw.polygon([place(x, y) for x, y in hole.coords], fill=_PAPER)
    for contour in drawing.contours:
        points = [place(x, y) for x, y in contour.points]
        if contour.operation is Operation.POCKET and contour.closed:
            draw.polygon(points, fill=(214, 190, 160))
        draw.line(points + (points[:1] if contour.closed else []), fill=_INK[contour.operation], width=3)
    return _png(image, width_px, height_px)


class _Place:
    """Millimetres to pixels of a sheet twice as large as the picture."""

    def __init__(self, low: np.ndarray, high: np.ndarray, width_px: int, height_px: int) -> None:
        room = np.array([width_px, height_px]) * 2 - 64
        self._scale = float(np.min(room / np.maximum(high - low, 1e-6)))
        self._shift = 32 + (room - (high - low) * self._scale) / 2
        self._low, self._height = low, height_px * 2

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        across = self._shift[0] + (x - self._low[0]) * self._scale
        up = self._shift[1] + (y - self._low[1]) * self._scale
        return float(across), float(self._height - up)


def _sheet(
    low: np.ndarray, high: np.ndarray, width_px: int, height_px: int
) -> tuple[Image.Image, ImageDraw.ImageDraw, _Place]:
    image = Image.new("RGB", (width_px * 2, height_px * 2), _PAPER)
    return image, ImageDraw.Draw(image), _Place(low, high, width_px, height_px)


def _png(image: Image.Image, width_px: int, height_px: int) -> bytes:
    out = io.BytesIO()
    image.resize((width_px, height_px), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()
