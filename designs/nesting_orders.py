"""Pieces of several orders on one sheet: when material, process and dates agree, and who gets what of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shapely.geometry import Polygon

from designs.nesting import Nest, NestPart, Sheet, nest
from designs.processes.model import ProcessKind


@dataclass(frozen=True, slots=True)
class Want:
    """Some copies of one outline for one order."""

    order: str
    outline: Polygon
    quantity: int
    process: ProcessKind
    material: str
    thickness_mm: float
    colour: str = ""
    due: datetime | None = None
    rotations_deg: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)


@dataclass(frozen=True, slots=True)
class SharedSheet:
    """One sheet to cut: `shares` says how many pieces of each want (by its index) lie on it."""

    nest: Nest
    wants: tuple[int, ...]
    shares: tuple[tuple[int, int], ...]


def groups(wants: Sequence[Want], window: timedelta = timedelta(days=3)) -> list[list[int]]:
    """Indices of wants that may share sheets: same process, material, thickness, colour, and due within `window`.

    Groups and their members come in order of due date (wants without one last); a window begins at a group's first.
    """
    kinds: dict[tuple[str, str, float, str], list[int]] = {}
    for k, want in enumerate(wants):
        kinds.setdefault((want.process, want.material.lower(), want.thickness_mm, want.colour.lower()), []).append(k)
    result: list[list[int]] = []
    for members in kinds.values():
        dated = sorted((k for k in members if wants[k].due is not None), key=lambda k: (_due(wants[k]), k))
        group: list[int] = []
        for k in dated:
            if group and _due(wants[k]) - _due(wants[group[0]]) > window:
                result.append(group)
                group = []
            group.append(k)
        group += [k for k in members if wants[k].due is None]
        if group:
            result.append(group)
    return sorted(result, key=lambda g: (wants[g[0]].due is None, str(wants[g[0]].due), g[0]))


def _due(want: Want) -> datetime:
    if want.due is None:
        raise ValueError("a want without a due date has none")
    return want.due


def fill_sheets(
    wants: Sequence[Want], sheet: Sheet, gap_mm: float, *, budget_s: int = 0, most_sheets: int = 50
) -> tuple[list[SharedSheet], dict[int, int]]:
    """(sheets, pieces that fit on none by want) for wants of one group; earlier wants go first on earlier sheets."""
    left = {k: want.quantity for k, want in enumerate(wants)}
    sheets: list[SharedSheet] = []
    while any(left.values()) and len(sheets) < most_sheets:
        parts = [
            NestPart(str(k), want.outline, left[k], want.rotations_deg) for k, want in enumerate(wants) if left[k] > 0
        ]
        found = nest(parts, sheet, gap_mm, budget_s=budget_s)
        if not found.placements:
            break
        counts: dict[int, int] = {}
        for placement in found.placements:
            counts[int(placement.key)] = counts.get(int(placement.key), 0) + 1
        for k, count in counts.items():
            left[k] -= count
        sheets.append(SharedSheet(found, tuple(sorted(counts)), tuple(sorted(counts.items()))))
    return sheets, {k: count for k, count in left.items() if count}
