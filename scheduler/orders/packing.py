"""Whether so many pieces fit on one plate or sheet, by their outlines: quick, on the safe side, the same every time.

The frozen plate is laid out and checked anew, with its real files, when its toolpath is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shapely.geometry import Polygon, box

from designs.nesting import NestPart, Sheet, nest
from designs.processes.model import ProcessKind, Ring
from designs.processes.plates import lay_on_bed, room_mm

#: Room for kerf, lead-in and neighbours around a laser's piece; for the bit and its helix around a router's.
ALLOWANCE_MM: Final[dict[str, float]] = {ProcessKind.LASER: 3.0, ProcessKind.CNC: 8.0}
#: No plate of different outlines is fuller than this: beyond, nothing is tried.
_FULLEST: Final = 0.88
#: Above this many pieces only boxes are laid, for speed; the frozen plate is always laid by true outlines.
_TRUE_SHAPE_UP_TO: Final = 5
_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Room:
    """What pieces of one kind are laid on: the smallest bed or sheet of the machines that may take them."""

    process: str
    width_mm: float
    depth_mm: float


def fits_together(room: Room, outlines: Mapping[str, Ring], counts: Mapping[str, int]) -> bool:
    """Whether so many of each outline (by key) lie on one plate or sheet."""
    wanted = tuple(sorted((outlines[key], count) for key, count in counts.items() if count))
    return _fit(room, wanted)


@lru_cache(maxsize=_KEPT)
def _fit(room: Room, wanted: tuple[tuple[Ring, int], ...]) -> bool:
    parts = [NestPart(str(k), Polygon(points).buffer(0), count) for k, (points, count) in enumerate(wanted)]
    if any(part.outline.geom_type != "Polygon" or part.outline.is_empty for part in parts):
        return False
    if room.process == ProcessKind.FDM:
        return _on_bed(room, parts)
    return _on_sheet(room, parts)


def _on_bed(room: Room, parts: list[NestPart]) -> bool:
    bed = (room.width_mm, room.depth_mm, 0.0)
    width, depth = room_mm(bed)
    if _area(parts) > _FULLEST * width * depth:
        return False
    if sum(part.quantity for part in parts) > _TRUE_SHAPE_UP_TO:
        parts = [NestPart(part.key, box(*part.outline.bounds), part.quantity) for part in parts]
    return not lay_on_bed(parts, bed).left_over


def _on_sheet(room: Room, parts: list[NestPart]) -> bool:
    allowance = ALLOWANCE_MM.get(room.process, 0.0)
    grown = [
        NestPart(part.key, part.outline.buffer(allowance, join_style="mitre"), part.quantity, part.rotations_deg)
        for part in parts
    ]
    if _area(grown) > _FULLEST * room.width_mm * room.depth_mm:
        return False
    return not nest(grown, Sheet(room.width_mm, room.depth_mm, 1.0), 0.0).left_over


def _area(parts: list[NestPart]) -> float:
    return float(sum(part.outline.area * part.quantity for part in parts))
