"""DXF to shapes in millimetres: units from the header, blocks expanded with a limit, curves flattened to 0.01 mm.

ezdxf reads the file (recovering what it can); DXF Reference: `$INSUNITS`, layer 8, INSERT 2.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import threading
from collections.abc import Iterator
from typing import Any

import ezdxf.filemanagement
from ezdxf import recover, units
from ezdxf.enums import InsertUnits
from ezdxf.filemanagement import dxf_stream_info
from ezdxf.lldxf.const import DXFError
from ezdxf.path import make_path

from designs.drawing_conventions import Meaning, meaning_of_layer
from designs.drawings import MOST_POINTS, MOST_SHAPES, BadDrawing, RawDrawing, Shape
from designs.processes.model import Finding, PartFile, Severity

_FLATTEN_MM = 0.01
_LINES = {"LINE", "ARC", "CIRCLE", "ELLIPSE", "SPLINE", "LWPOLYLINE", "POLYLINE", "HELIX"}
_TEXTS = {"TEXT", "MTEXT", "ATTRIB", "ATTDEF"}
_SILENT = {"DIMENSION", "LEADER", "MULTILEADER", "VIEWPORT", "POINT", "TOLERANCE", "XLINE", "RAY"}

_DAMAGE = (
    DXFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    StopIteration,
    struct.error,
)
"""What ezdxf raises on files that are not what they say."""
_RECOVERY = threading.Lock()
_LOG = logging.getLogger("ezdxf")


def read_dxf(file: PartFile) -> RawDrawing:
    """All lines of the model space. Raises BadDrawing for what is no DXF, is cut short, or expands without end."""
    findings: list[Finding] = []
    document = _open(file, findings)
    left_out: dict[str, int] = {}
    try:
        shapes = _shapes(file.name, document, findings, left_out)
    except BadDrawing:
        raise
    except (*_DAMAGE, RecursionError) as why:
        raise BadDrawing(
            f"{file.name} cannot be read as DXF",
            f"an entity in it is damaged ({str(why)[:120]})",
            "Export it again as ASCII DXF R12 or later.",
        ) from why
    _tell_left_out(left_out, findings)
    if not shapes:
        text = "; text is left out" if _TEXTS & set(left_out) else ""
        raise BadDrawing(
            f"{file.name} has no lines",
            f"its model space holds no lines, arcs, circles, splines or polylines{text}",
            "Export the flat outline into the model space.",
        )
    return RawDrawing(tuple(shapes), tuple(findings))


def _shapes(name: str, document: Any, findings: list[Finding], left_out: dict[str, int]) -> list[Shape]:
    factor = _millimetres(document, findings)
    space = document.modelspace()
    _refuse_bombs(name, document, space)
    shapes: list[Shape] = []
    points = 0
    for entity, layer in _entities(space, 0):
        shape = _shape(entity, layer, factor, left_out)
        if shape is None:
            continue
        points += len(shape.points)
        if points > MOST_POINTS:
            raise BadDrawing(f"{name} is too detailed", "its curves have over two million points", "Simplify it.")
        shapes.append(shape)
    return shapes


def _tell_left_out(left_out: dict[str, int], findings: list[Finding]) -> None:
    for kind, count in sorted(left_out.items()):
        if kind in _TEXTS:
            findings.append(
                Finding(Severity.WARNING, "text", f"{count} texts ({kind}) are left out: convert text to outlines.")
            )
        elif kind.endswith("(damaged)"):
            text = f"{count} entities of kind {kind} cannot be made: the part would lack them."
            findings.append(Finding(Severity.ERROR, "damaged_shapes", text))
        elif kind not in _SILENT:
            findings.append(Finding(Severity.WARNING, "left_out", f"{count} entities of kind {kind} are left out."))


def _open(file: PartFile, findings: list[Finding]) -> Any:
    """The document: read strictly, else recovered. Recovered numbers are guesses: an error, not a warning."""
    binary = file.data.startswith(b"AutoCAD Binary DXF")
    try:
        document = None if binary else _strictly(file.data)
        if document is None:
            with _RECOVERY, _Listening() as heard:
                document, _ = recover.read(io.BytesIO(file.data))
            if heard.guessed:
                findings.append(
                    Finding(
                        Severity.ERROR,
                        "damaged_numbers",
                        f"{heard.guessed} numbers in the file are damaged and would have to be guessed.",
                    )
                )
    except _DAMAGE as why:
        raise BadDrawing(
            f"{file.name} cannot be read as DXF",
            f"it is damaged or no DXF ({str(why)[:120]})",
            "Export it again as ASCII DXF R12 or later.",
        ) from why
    except RecursionError as why:
        raise BadDrawing(
            f"{file.name} cannot be read as DXF", "its blocks nest without end", "Explode the blocks."
        ) from why
    if b"EOF" not in file.data[-512:] and not binary:
        raise BadDrawing(
            f"{file.name} is cut short", "a DXF ends with EOF and this one does not", "Send the whole file again."
        )
    return document


def _strictly(data: bytes) -> Any:
    """The document as the file says it, None where it does not keep to the format."""
    try:
        info = dxf_stream_info(io.StringIO(data.decode("utf-8", "replace")))
        return ezdxf.filemanagement.read(io.StringIO(data.decode(info.encoding, "surrogateescape")))
    except (*_DAMAGE, RecursionError):
        return None


class _Listening(logging.Handler):
    """Counts what ezdxf's recovery guesses, which it tells only its log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.guessed = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.guessed += "recovered invalid" in record.getMessage()

    def __enter__(self) -> _Listening:
        _LOG.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _LOG.removeHandler(self)


def _millimetres(document: Any, findings: list[Finding]) -> float:
    unit = int(document.header.get("$INSUNITS", 0) or 0)
    if unit == 0:
        inches = int(document.header.get("$MEASUREMENT", 1)) == 0
        findings.append(
            Finding(
                Severity.NOTE,
                "no_units",
                "The file names no unit: read as millimetres."
                + (" Its header says imperial: check the size." if inches else ""),
            )
        )
        return 1.0
    try:
        return float(units.conversion_factor(InsertUnits(unit), InsertUnits.Millimeters))
    except (ValueError, KeyError, DXFError):
        findings.append(Finding(Severity.WARNING, "no_units", f"Unknown unit {unit} in the file: read as millimetres."))
        return 1.0


def _refuse_bombs(name: str, document: Any, space: Any) -> None:
    """Count what the blocks expand to without expanding them."""
    counts: dict[str, int] = {}

    def expanded(block_name: str, trail: tuple[str, ...]) -> int:
        key = block_name.lower()
        if key in trail or len(trail) > 60:
            raise BadDrawing(
                f"{name} cannot be expanded",
                f"block {block_name} contains itself or nests too deep",
                "Explode the blocks.",
            )
        if key not in counts:
            block = document.blocks.get(block_name)
            counts[key] = 0 if block is None else total(block, (*trail, key))
        return counts[key]

    def total(entities: Any, trail: tuple[str, ...]) -> int:
        found = 0
        for entity in entities:
            found += 1
            if entity.dxftype() == "INSERT":
                copies = max(1, int(entity.dxf.get("row_count", 1))) * max(1, int(entity.dxf.get("column_count", 1)))
                found += copies * expanded(str(entity.dxf.get("name", "")), trail)
            if found > MOST_SHAPES:
                raise BadDrawing(
                    f"{name} is too large", f"its blocks expand to over {MOST_SHAPES} shapes", "Send one part a file."
                )
        return found

    total(space, ())


def _entities(space: Any, depth: int) -> Iterator[tuple[Any, str]]:
    """Entities with their layers; what a block draws on layer 0 is on its INSERT's layer (DXF Reference, INSERT)."""
    for entity in space:
        if entity.dxftype() == "INSERT" and depth < 60:
            inserts = entity.multi_insert() if entity.mcount > 1 else (entity,)
            for insert in inserts:
                own = str(insert.dxf.get("layer", "0"))
                for inner, layer in _entities(insert.virtual_entities(), depth + 1):
                    yield inner, own if layer == "0" else layer
        else:
            yield entity, str(entity.dxf.get("layer", "0"))


def _shape(entity: Any, layer: str, factor: float, left_out: dict[str, int]) -> Shape | None:
    kind = entity.dxftype()
    if kind not in _LINES:
        left_out[kind] = left_out.get(kind, 0) + 1
        return None
    try:
        path = make_path(entity)
        flat = [(v.x * factor, v.y * factor) for v in path.flattening(_FLATTEN_MM / factor)]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, DXFError):
        left_out[f"{kind} (damaged)"] = left_out.get(f"{kind} (damaged)", 0) + 1
        return None
    if len(flat) < 2 or not all(math.isfinite(x) and math.isfinite(y) and abs(x) + abs(y) < 1e7 for x, y in flat):
        left_out[f"{kind} (damaged)"] = left_out.get(f"{kind} (damaged)", 0) + 1
        return None
    meaning: Meaning | None = meaning_of_layer(layer)
    return Shape(tuple(flat), bool(path.is_closed), layer, meaning)
