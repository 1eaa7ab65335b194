"""3MF in: what its build plate holds, in millimetres.

3MF Core Specification 1.3: an OPC zip whose root relationship of type 3dmodel names the model part; `unit` on the
model; `object` with `mesh` or `components` (with 4 × 3 row-vector transforms); `build/item` say what is made. The
production extension's `p:path` (objects in other model parts, as Bambu and Orca write them) is followed.
"""

from __future__ import annotations

import posixpath
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from designs.processes.model import PartFile
from designs.safe_files import BadGeometry, SafeZip, parse_xml

Array = npt.NDArray[np.float64]
Matrix = Array
Mesh = tuple[Array, npt.NDArray[np.int64]]

UNIT_MM: Final[dict[str, float]] = {
    "micron": 0.001,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "inch": 25.4,
    "foot": 304.8,
    "meter": 1000.0,
}
_CORE: Final = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
_PATH: Final = "{http://schemas.microsoft.com/3dmanufacturing/production/2015/06}path"
_MODEL_TYPE: Final = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
_DEEPEST: Final = 16
_MOST_MESHES: Final = 10_000
_MOST_CORNERS: Final = 20_000_000


def read_threemf(file: PartFile) -> Mesh:
    """All items of the build as one mesh: vertices (n × 3) in mm, faces (m × 3). Raises BadGeometry."""
    return _Package(file).build()


class _Package:
    def __init__(self, file: PartFile) -> None:
        self._name = file.name
        self._zip = SafeZip(file.data, file.name)
        self._models: dict[str, dict[str, Element]] = {}
        self._root_path = self._find_model()
        self._root = self._parse(self._root_path)
        self._meshes: list[Mesh] = []
        self._corners = 0

    def _bad(self, why: str, hint: str = "Export it again.") -> BadGeometry:
        return BadGeometry(f"{self._name} cannot be read", why, hint)

    def _find_model(self) -> str:
        if "_rels/.rels" in self._zip.names:
            for relation in parse_xml(self._zip.read("_rels/.rels"), self._name):
                if relation.get("Type") == _MODEL_TYPE:
                    return self._member(relation.get("Target", ""))
        found = [name for name in self._zip.names if name.lower().endswith(".model")]
        if len(found) == 1:
            return found[0]
        raise self._bad("the archive names no 3D model", "A sliced 3MF holds G-code only; export the model.")

    def _member(self, target: str) -> str:
        wanted = posixpath.normpath(target.lstrip("/"))
        for name in self._zip.names:
            if name.lower() == wanted.lower():
                return name
        raise self._bad(f"{target!r}, which it refers to, is not in the archive")

    def _parse(self, path: str) -> Element:
        root = parse_xml(self._zip.read(path), self._name)
        if root.tag != f"{_CORE}model":
            raise self._bad(f"{path} is not a 3MF model")
        self._models[path] = {
            each.get("id", ""): each for each in root.iterfind(f"{_CORE}resources/{_CORE}object") if each.get("id")
        }
        return root

    def build(self) -> Mesh:
        unit = self._root.get("unit", "millimeter")
        if unit not in UNIT_MM:
            raise self._bad(f"its unit is {unit!r}, which 3MF does not know")
        scale = np.diag([UNIT_MM[unit]] * 3 + [1.0])
        items = list(self._root.iterfind(f"{_CORE}build/{_CORE}item"))
        if not items:
            raise self._bad("its build plate is empty", "Put the model on the plate and export again.")
        for item in items:
            self._add(item, self._root_path, scale, 0)
        if not self._meshes:
            raise BadGeometry(f"{self._name} holds no shape", "none of its objects has triangles", "Export it again.")
        offsets = np.cumsum([0] + [len(vertices) for vertices, _ in self._meshes[:-1]])
        faces = [each + offset for (_, each), offset in zip(self._meshes, offsets, strict=True)]
        return np.vstack([vertices for vertices, _ in self._meshes]), np.vstack(faces)

    def _add(self, reference: Element, path: str, above: Matrix, depth: int) -> None:
        """Add what an item or component refers to; `above` turns its coordinates into the plate's."""
        if depth > _DEEPEST:
            raise self._bad("its components contain each other")
        if reference.get(_PATH):
            path = self._member(reference.get(_PATH, ""))
            if path not in self._models:
                self._parse(path)
        wanted = reference.get("objectid", "")
        found = self._models[path].get(wanted)
        if found is None:
            raise self._bad(f"object {wanted!r}, which it refers to, is missing")
        if depth > 0 or found.get("type", "model") not in {"support", "other"}:
            matrix = above @ self._transform(reference.get("transform"))
            mesh = found.find(f"{_CORE}mesh")
            if mesh is not None:
                self._meshes.append(self._placed(mesh, matrix))
            for component in found.iterfind(f"{_CORE}components/{_CORE}component"):
                self._add(component, path, matrix, depth + 1)

    def _transform(self, text: str | None) -> Matrix:
        matrix = np.eye(4)
        if text:
            try:
                numbers = [float(word) for word in text.split()]
            except ValueError as error:
                raise self._bad(f"a transform is not numbers: {text[:60]!r}") from error
            if len(numbers) != 12:
                raise self._bad(f"a transform has {len(numbers)} numbers, not 12")
            matrix[:3, :] = np.array(numbers).reshape(4, 3).T
        return matrix

    def _placed(self, mesh: Element, matrix: Matrix) -> Mesh:
        try:
            vertices = np.array(
                [
                    (float(each.attrib["x"]), float(each.attrib["y"]), float(each.attrib["z"]))
                    for each in mesh.iterfind(f"{_CORE}vertices/{_CORE}vertex")
                ]
            ).reshape(-1, 3)
            faces = np.array(
                [
                    (int(each.attrib["v1"]), int(each.attrib["v2"]), int(each.attrib["v3"]))
                    for each in mesh.iterfind(f"{_CORE}triangles/{_CORE}triangle")
                ],
                dtype=np.int64,
            ).reshape(-1, 3)
        except (KeyError, ValueError, OverflowError) as error:
            raise self._bad(f"a vertex or triangle is damaged ({error})") from error
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise self._bad("a triangle names a corner that does not exist")
        self._corners += len(faces) * 3
        if len(self._meshes) >= _MOST_MESHES or self._corners > _MOST_CORNERS:
            raise self._bad("it repeats its objects too often", "Export only what is to be made.")
        if np.linalg.det(matrix[:3, :3]) < 0:
            faces = faces[:, ::-1]  # a mirroring transform turns triangles inside out
        return vertices @ matrix[:3, :3].T + matrix[:3, 3], faces
