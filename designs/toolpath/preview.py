"""A program in three dimensions for a browser: JSON of whole-number coordinates, thinned to what a screen can show.

`{"v":1,"unit_um":10,"origin_mm":[x,y,z],"size_mm":[…],"runs":[{"kind":"work","line":12,"points":[x,y,z,dx,dy,dz,…]}]}`:
the first three numbers of a run are its start, the rest steps, all in `unit_um`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from designs.toolpath.parser import Source
from designs.toolpath.strokes import Segments, StrokeKind, read_segments

_UNIT_MM = 0.01
_NAMES = {int(StrokeKind.TRAVEL): "travel", int(StrokeKind.WORK): "work"}


def preview(gcode: Source, dialect: str = "grbl", *, most_points: int = 60_000) -> bytes:
    """The preview's JSON bytes; at most about `most_points` points (every n-th is kept, ends of runs always)."""
    total = sum(len(part.ends) for part in read_segments(gcode, dialect))
    step = max(1, -(-total // most_points))
    runs: list[dict[str, Any]] = []
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for part in read_segments(gcode, dialect):
        low = np.minimum(low, part.ends.reshape(-1, 3).min(axis=0))
        high = np.maximum(high, part.ends.reshape(-1, 3).max(axis=0))
        _add(part, step, runs)
    if not runs:
        low = high = np.zeros(3)
    origin = np.floor(low)
    for run in runs:
        points = np.round((np.array(run["points"]) - origin) / _UNIT_MM).astype(np.int64)
        points[1:] -= points[:-1].copy()
        run["points"] = points.ravel().tolist()
    whole = {
        "v": 1,
        "unit_um": round(_UNIT_MM * 1000),
        "origin_mm": origin.tolist(),
        "size_mm": np.round(high - low, 3).tolist(),
        "step": step,
        "runs": runs,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def _add(part: Segments, step: int, runs: list[dict[str, Any]]) -> None:
    """Append a window's segments, as runs of one kind."""
    breaks = np.flatnonzero(np.diff(part.kinds)) + 1
    for chunk in np.split(np.arange(len(part.kinds)), breaks):
        kept = chunk[step - 1 :: step].tolist()
        if not kept or kept[-1] != chunk[-1]:
            kept.append(int(chunk[-1]))
        kind = _NAMES[int(part.kinds[chunk[0]])]
        points = part.ends[kept, 3:].tolist()
        start = part.ends[chunk[0], :3].tolist()
        if runs and runs[-1]["kind"] == kind and runs[-1]["points"][-1] == start:
            runs[-1]["points"].extend(points)
        else:
            runs.append({"kind": kind, "line": int(part.lines[chunk[0]]), "points": [start, *points]})
