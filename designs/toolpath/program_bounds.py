"""How far a program goes: the box of all its motion, arcs included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from designs.toolpath import motions as m
from designs.toolpath.parser import Source, read_motions

Bounds = tuple[float, float, float, float, float, float]


def moving(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are motions."""
    kind = table[:, m.KIND]
    return np.asarray((kind == m.RAPID) | (kind == m.LINEAR) | (kind == m.ARC) | (kind == m.BAD_ARC))


def arc_reach(table: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bounds (n, 6) of each arc row: its centre ± radius wherever the sweep passes a quarter point.

    `before`: positions (n, 3) at the rows' beginnings.
    """
    result = np.concatenate([table[:, m.X : m.Z + 1], table[:, m.X : m.Z + 1]], axis=1)
    result[:, :3] = np.minimum(result[:, :3], before)
    result[:, 3:] = np.maximum(result[:, 3:], before)
    for k in range(len(table)):
        plane = int(table[k, m.PLANE])
        a, b = ((0, 1), (2, 0), (1, 2))[plane]
        ca, cb, sweep = table[k, m.CENTRE_A], table[k, m.CENTRE_B], table[k, m.SWEEP]
        radius = float(np.hypot(before[k, a] - ca, before[k, b] - cb))
        start = float(np.arctan2(before[k, b] - cb, before[k, a] - ca))
        low, high = min(start, start + sweep), max(start, start + sweep)
        first = int(np.ceil(low / (np.pi / 2)))
        for quarter in range(first, min(first + 5, int(np.floor(high / (np.pi / 2))) + 1)):
            angle = quarter * np.pi / 2
            for axis, value in ((a, ca + radius * np.cos(angle)), (b, cb + radius * np.sin(angle))):
                result[k, axis] = min(result[k, axis], value)
                result[k, 3 + axis] = max(result[k, 3 + axis], value)
    return result


def motion_bounds(gcode: Source, dialect: str = "grbl") -> Bounds:
    """xmin, ymin, zmin, xmax, ymax, zmax of all motion from the first move's end on; zeros where nothing moves."""
    low = np.full(3, np.inf)
    high = np.full(3, -np.inf)
    last = np.zeros(3)
    for block in read_motions(gcode, dialect):
        table = block.table()
        moves = table[moving(table)]
        if not len(moves):
            continue
        ends = moves[:, m.X : m.Z + 1]
        low, high = np.minimum(low, ends.min(axis=0)), np.maximum(high, ends.max(axis=0))
        arcs = moves[:, m.KIND] == m.ARC
        if arcs.any():
            before = np.vstack([last[None, :], ends[:-1]])[arcs]
            reach = arc_reach(moves[arcs], before)
            low, high = np.minimum(low, reach[:, :3].min(axis=0)), np.maximum(high, reach[:, 3:].max(axis=0))
        last = ends[-1]
    if not np.isfinite(low).all():
        return (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return (float(low[0]), float(low[1]), float(low[2]), float(high[0]), float(high[1]), float(high[2]))
