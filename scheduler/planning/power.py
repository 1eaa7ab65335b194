"""Power of one circuit over time, while starts are staggered (`staggering.py`)."""

from __future__ import annotations


class CircuitLoad:
    """What runs on a circuit. Milliwatts and ticks."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._runs: list[tuple[int, int, int]] = []

    def draw(self, start: int, end: int, power: int) -> None:
        """A run draws so much."""
        self._runs.append((start, end, power))

    def fits_from(self, start: int, end: int, power: int) -> int:
        """`start`, or the first end of another run after which there may be power for this one."""
        during = [one for one in self._runs if one[0] < end and one[1] > start]
        for moment in sorted({start, *(one[0] for one in during if one[0] > start)}):
            drawn = sum(w for a, b, w in during if a <= moment < b)
            if drawn + power > self._limit:
                return min(b for a, b, _ in during if a <= moment < b)
        return start
