"""What a part's file holds: size, volume, whether it is sound, what was wrong and what was repaired.

`inspect` is the one door: meshes (STL, OBJ, 3MF), drawings (DXF, SVG), pictures for engraving, and G-code that somebody
brings. It raises BadGeometry (a CannotMake) with a sentence for people when nothing can be made from the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Final

import numpy as np
import trimesh

from designs.mesh_checks import CheckedMesh, check_mesh, overhang_area_mm2
from designs.meshes import MESH_KINDS, load_mesh
from designs.processes.model import Finding, GeometryKind, PartFile, Severity
from designs.safe_files import BadGeometry, check_size

__all__ = ["BadGeometry", "CheckedMesh", "GeometryReport", "checked_mesh", "inspect", "kind_of", "part_file"]

_ENDINGS: Final[dict[str, GeometryKind]] = {
    ".stl": GeometryKind.STL,
    ".3mf": GeometryKind.THREE_MF,
    ".obj": GeometryKind.OBJ,
    ".step": GeometryKind.STEP,
    ".stp": GeometryKind.STEP,
    ".svg": GeometryKind.SVG,
    ".dxf": GeometryKind.DXF,
    ".png": GeometryKind.IMAGE,
    ".jpg": GeometryKind.IMAGE,
    ".jpeg": GeometryKind.IMAGE,
    ".bmp": GeometryKind.IMAGE,
    ".gcode": GeometryKind.GCODE,
    ".gco": GeometryKind.GCODE,
    ".g": GeometryKind.GCODE,
    ".nc": GeometryKind.GCODE,
    ".ngc": GeometryKind.GCODE,
    ".tap": GeometryKind.GCODE,
    ".bgcode": GeometryKind.GCODE,
}


@dataclass(frozen=True)
class GeometryReport:
    """What was measured. Fields that do not apply to a kind are None."""

    kind: GeometryKind
    dims_mm: tuple[float, float, float] | None
    """x, y, z as the file has it; z is 0 for drawings."""
    volume_mm3: float | None = None
    area_mm2: float | None = None
    """Surface of a mesh; material kept of a drawing."""
    watertight: bool | None = None
    triangles: int | None = None
    overhang_mm2: float | None = None
    findings: tuple[Finding, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """No finding that stops the job."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


def kind_of(name: str) -> GeometryKind:
    """The format a file name announces. Raises BadGeometry for an ending nothing can be made from."""
    low = name.lower()
    if low.endswith(".gcode.3mf"):
        return GeometryKind.GCODE
    kind = _ENDINGS.get(PurePath(low).suffix)
    if kind is None:
        known = ", ".join(sorted({ending[1:] for ending in _ENDINGS}))
        raise BadGeometry(f"{name} cannot be used", "its ending names no format that can be made from", f"Use {known}.")
    return kind


def part_file(name: str, data: bytes) -> PartFile:
    """A part's file with its kind told by its name. Raises BadGeometry."""
    return PartFile(name, kind_of(name), data)


def inspect(file: PartFile) -> GeometryReport:
    """Measure and check one file. Raises BadGeometry when nothing can be made from it."""
    check_size(file.data, file.name)
    if file.kind in MESH_KINDS:
        return _mesh_report(file)
    if file.kind in {GeometryKind.SVG, GeometryKind.DXF}:
        return _drawing_report(file)
    if file.kind is GeometryKind.IMAGE:
        return _image_report(file)
    return _gcode_report(file)


@lru_cache(maxsize=8)
def checked_mesh(file: PartFile) -> CheckedMesh:
    """The file's mesh, repaired where safe and checked. Do not change the mesh. Raises BadGeometry.

    The last few are kept: inspecting, orienting and slicing ask for the same one.
    """
    return check_mesh(load_mesh(file), file.name)


def _mesh_report(file: PartFile) -> GeometryReport:
    checked = checked_mesh(file)
    mesh: trimesh.Trimesh = checked.mesh
    sides = np.ptp(np.asarray(mesh.vertices), axis=0)
    return GeometryReport(
        kind=file.kind,
        dims_mm=(float(sides[0]), float(sides[1]), float(sides[2])),
        volume_mm3=float(mesh.volume) if checked.watertight else None,
        area_mm2=float(mesh.area),
        watertight=checked.watertight,
        triangles=len(mesh.faces),
        overhang_mm2=overhang_area_mm2(mesh),
        findings=checked.findings,
        repaired=checked.repaired,
    )


def _drawing_report(file: PartFile) -> GeometryReport:
    from designs.drawings import read_drawing

    drawing = read_drawing(file)
    area = sum(float(region.area) for region in drawing.regions())
    width, height = drawing.size_mm
    return GeometryReport(
        kind=file.kind, dims_mm=(width, height, 0.0), area_mm2=area or None, findings=tuple(drawing.findings)
    )


_MOST_PIXELS: Final = 40_000_000


def _image_report(file: PartFile) -> GeometryReport:
    """Pictures have pixels, not millimetres: the size in mm is chosen when they are engraved."""
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file.data)) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise BadGeometry(
                    f"{file.name} is too large", f"it claims {width} × {height} pixels", "Scale it down first."
                )
            image.verify()
    except Image.DecompressionBombError as error:
        raise BadGeometry(
            f"{file.name} is too large", f"it claims more pixels than can be held ({error})", "Scale it down first."
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadGeometry):
            raise
        raise BadGeometry(
            f"{file.name} cannot be read", f"it is not a whole picture ({error})", "Save it as PNG."
        ) from error
    note = Finding(Severity.NOTE, "pixels", f"The picture has {width} × {height} pixels.")
    return GeometryReport(kind=file.kind, dims_mm=None, findings=(note,))


def _gcode_report(file: PartFile) -> GeometryReport:
    from designs.gcode_metadata import read_gcode_metadata

    found = read_gcode_metadata(file)
    return GeometryReport(kind=file.kind, dims_mm=found.extent_mm, findings=found.findings)
