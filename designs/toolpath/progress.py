"""A time table small enough to travel with a grant: line → seconds in a few hundred points, read by the stdlib alone.

`{"v":1,"duration_s":1234.5,"total_lines":56789,"lines":[12,30,…],"tenths":[5,11,…]}`: both lists hold steps from one
point to the next; between points time goes in proportion to lines.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate

from designs.toolpath.timetable import TimeTable


def compact(table: TimeTable, *, most_points: int = 400) -> bytes:
    """JSON bytes of the table, thinned so that no time is off by more than needed: 400 points are about 3 kB."""
    lines, times = _thin(list(table.lines), list(table.times_s), most_points)
    tenths = [round(t * 10.0) for t in times]
    whole = {
        "v": 1,
        "duration_s": round(table.duration_s, 1),
        "total_lines": table.total_lines,
        "lines": [b - a for a, b in zip([0, *lines], lines, strict=False)],
        "tenths": [b - a for a, b in zip([0, *tenths], tenths, strict=False)],
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def _thin(lines: list[int], times: list[float], most: int) -> tuple[list[int], list[float]]:
    """Keep the points that a straight line between their neighbours misses most, by halving the number of spans."""
    if len(lines) <= most:
        return lines, times
    kept = [0, len(lines) - 1]
    spans = [(*_worst(lines, times, 0, len(lines) - 1), 0, len(lines) - 1)]
    while len(kept) < most and spans:
        spans.sort(key=lambda s: s[0])
        error, at, first, last = spans.pop()
        if error <= 0.05:
            break
        kept.append(at)
        for a, b in ((first, at), (at, last)):
            if b - a > 1:
                spans.append((*_worst(lines, times, a, b), a, b))
    kept.sort()
    return [lines[k] for k in kept], [times[k] for k in kept]


def _worst(lines: list[int], times: list[float], first: int, last: int) -> tuple[float, int]:
    """(greatest error in seconds, where) of the chord between two points."""
    slope = (times[last] - times[first]) / max(1, lines[last] - lines[first])
    best = (0.0, first)
    step = max(1, (last - first) // 512)
    for k in range(first + 1, last, step):
        error = abs(times[first] + slope * (lines[k] - lines[first]) - times[k])
        if error > best[0]:
            best = (error, k)
    return best


class ProgressTable:
    """A compact table, read: seconds done and left at a line. Raises ValueError for what is not version 1."""

    def __init__(self, data: bytes) -> None:
        try:
            whole = json.loads(data)
            if whole["v"] != 1:
                raise ValueError(f"progress table version {whole['v']} is not known")
            self.duration_s = float(whole["duration_s"])
            self.total_lines = int(whole["total_lines"])
            self._lines = list(accumulate(int(n) for n in whole["lines"]))
            self._times = [t / 10.0 for t in accumulate(int(n) for n in whole["tenths"])]
        except (KeyError, TypeError, UnicodeDecodeError) as why:
            raise ValueError(f"this is no progress table ({why})") from why

    def elapsed_s(self, line: int) -> float:
        """Seconds of machine time until `line` is done."""
        lines = [0, *self._lines, self.total_lines]
        times = [0.0, *self._times, self.duration_s]
        if line >= self.total_lines:
            return self.duration_s
        k = max(1, bisect_right(lines, line))
        k = min(k, len(lines) - 1)
        span = lines[k] - lines[k - 1]
        share = (line - lines[k - 1]) / span if span else 1.0
        return times[k - 1] + max(0.0, min(1.0, share)) * (times[k] - times[k - 1])

    def remaining_s(self, line: int) -> float:
        """Seconds of machine time still to go once `line` is done."""
        return max(0.0, self.duration_s - self.elapsed_s(line))
