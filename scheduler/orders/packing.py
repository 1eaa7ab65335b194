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
from designs.nesting_remnant import on_remnant
from designs.processes.model import ProcessKind, Ring
from designs.processes.plates import lay_on_bed, room_mm

#: Room for kerf, lead-in and neighbours around a laser's piece; for the bit and its helix around a router's.
ALLOWANCE_MM: Final[dict[str, float]] = {ProcessKind.LASER: 3.0, ProcessKind.CNC: 8.0}
#: No plate of different outlines is fuller than this: beyond, nothing is tried.
_FULLEST: Final = 0.88
#: Above this many prints only boxes are laid, for speed; the frozen plate is always laid by true outlines.
_TRUE_SHAPE_UP_TO: Final = 5
#: Sheets of up to so many pieces are laid by true outlines where their boxes do not fit.
_OUTLINES_UP_TO: Final = 12
#: Of these no sheet is fuller than this: beyond, they are hardly ever laid, and take longest to be given up.
_OUTLINES_FULLEST: Final = 0.75
_KEPT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Room:
    """What pieces of one kind are laid on: the smallest bed or sheet of the machines that may take them."""

    process: str
    width_mm: float
    depth_mm: float


def fits_together(room: Room, outlines: Mapping[str, Ring], counts: Mapping[str, int]) -> bool:
    """Whether so many of each outline (by key) lie on one plate or sheet: quickly, sheets by boxes alone."""
    return _fit(room, _wanted(outlines, counts))


def outlines_fit_together(room: Room, outlines: Mapping[str, Ring], counts: Mapping[str, int]) -> bool:
    """Whether a few pieces, of which the boxes do not fit, lie on one sheet by their outlines: up to some 50 ms."""
    if room.process == ProcessKind.FDM or sum(counts.values()) > _OUTLINES_UP_TO:
        return False
    return _outlines_fit(room, _wanted(outlines, counts))


def _wanted(outlines: Mapping[str, Ring], counts: Mapping[str, int]) -> tuple[tuple[Ring, int], ...]:
    return tuple(sorted((outlines[key], count) for key, count in counts.items() if count))


@lru_cache(maxsize=_KEPT)
def _fit(room: Room, wanted: tuple[tuple[Ring, int], ...]) -> bool:
    parts = _parts(wanted)
    if not parts:
        return False
    return _on_bed(room, parts) if room.process == ProcessKind.FDM else _on_sheet(room, parts)


@lru_cache(maxsize=_KEPT)
def _outlines_fit(room: Room, wanted: tuple[tuple[Ring, int], ...]) -> bool:
    grown = _grown(room, _parts(wanted))
    if not grown or _area(grown) > _OUTLINES_FULLEST * room.width_mm * room.depth_mm:
        return False
    return not on_remnant(grown, box(0.0, 0.0, room.width_mm, room.depth_mm), 0.0, 1.0).left_over


def _parts(wanted: tuple[tuple[Ring, int], ...]) -> list[NestPart]:
    """The pieces; none where one of them is no plain polygon."""
    parts = [NestPart(str(k), Polygon(points).buffer(0), count) for k, (points, count) in enumerate(wanted)]
    plain = all(part.outline.geom_type == "Polygon" and not part.outline.is_empty for part in parts)
    return parts if plain else []


def _on_bed(room: Room, parts: list[NestPart]) -> bool:
    bed = (room.width_mm, room.depth_mm, 0.0)
    width, depth = room_mm(bed)
    if _area(parts) > _FULLEST * width * depth:
        return False
    if sum(part.quantity for part in parts) > _TRUE_SHAPE_UP_TO:
        parts = [NestPart(part.key, box(*part.outline.bounds), part.quantity) for part in parts]
    return not lay_on_bed(parts, bed).left_over


def _on_sheet(room: Room, parts: list[NestPart]) -> bool:
    grown = _grown(room, parts)
    if _area(grown) > _FULLEST * room.width_mm * room.depth_mm:
        return False
    return not nest(grown, Sheet(room.width_mm, room.depth_mm, 1.0), 0.0).left_over


def _grown(room: Room, parts: list[NestPart]) -> list[NestPart]:
    allowance = ALLOWANCE_MM.get(room.process, 0.0)
    return [
        NestPart(part.key, part.outline.buffer(allowance, join_style="mitre"), part.quantity, part.rotations_deg)
        for part in parts
    ]


def _area(parts: list[NestPart]) -> float:
    return float(sum(part.outline.area * part.quantity for part in parts))
