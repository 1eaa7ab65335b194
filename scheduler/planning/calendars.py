"""Windows of time in ticks: making them, cutting them, and packing them for the compiled core.

A calendar is a tuple of half-open windows (open, shut), sorted and apart; None means always.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from scheduler.planning.problem import NEVER, Ints, Longs
from scheduler.planning.snapshot import Window

Ticks = tuple[tuple[int, int], ...]


class PackedCalendars(NamedTuple):
    """All calendars in a row, with the hint table that makes a look-up constant time."""

    ptr: Longs
    open: Ints
    shut: Ints
    hint: Ints
    bucket: int


def contradiction(windows: Iterable[Window]) -> str | None:
    """The first window that ends before it starts, as words; None where there is none."""
    for window in windows:
        if window.end <= window.start:
            return f"a window ends at {window.end:%Y-%m-%d %H:%M} and starts at {window.start:%Y-%m-%d %H:%M}"
    return None


def to_ticks(windows: Iterable[Window] | None, now: datetime, tick_s: int, horizon: int) -> Ticks | None:
    """Windows as ticks after now, inside 0…horizon: opening rounds up and shutting down, so none grows."""
    if windows is None:
        return None
    found = []
    for window in windows:
        start = max(0, ceil((window.start - now).total_seconds() / tick_s))
        end = min(horizon, floor((window.end - now).total_seconds() / tick_s))
        if start < end:
            found.append((start, end))
    return joined(found)


def joined(windows: Iterable[tuple[int, int]]) -> Ticks:
    """Sorted, with touching and overlapping windows made one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def intersection(first: Ticks | None, second: Ticks | None) -> Ticks | None:
    """When both are open."""
    if first is None:
        return second
    if second is None:
        return first
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(first) and j < len(second):
        start, end = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if start < end:
            out.append((start, end))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def without(windows: Ticks | None, cuts: Ticks, horizon: int) -> Ticks | None:
    """What is left when the cuts are taken out."""
    if not cuts:
        return windows
    gaps, edge = [], 0
    for start, end in joined(cuts):
        if start > edge:
            gaps.append((edge, start))
        edge = max(edge, end)
    if edge < horizon:
        gaps.append((edge, horizon))
    return intersection(windows, tuple(gaps))


def longest(windows: Ticks | None, horizon: int) -> int:
    """Ticks of the longest window."""
    if windows is None:
        return horizon
    return max((end - start for start, end in windows), default=0)


def first_fit(windows: Ticks | None, at: int, need: int) -> int:
    """Earliest t ≥ at with [t, t + need] inside one window; NEVER where there is none."""
    if windows is None:
        return at
    for start, end in windows:
        moment = max(start, at)
        if moment + need <= end:
            return moment
    return NEVER


def pack(calendars: Sequence[Ticks], bucket: int = 1440) -> PackedCalendars:
    """Calendars as arrays; `bucket` is how many ticks one entry of the hint table covers."""
    ptr = np.zeros(len(calendars) + 1, np.int64)
    for i, calendar in enumerate(calendars):
        ptr[i + 1] = ptr[i] + len(calendar)
    starts = np.array([start for calendar in calendars for start, _ in calendar], np.int32)
    ends = np.array([end for calendar in calendars for _, end in calendar], np.int32)
    last = int(ends.max()) if len(ends) else 0
    buckets = last // bucket + 2
    hint = np.zeros((max(1, len(calendars)), buckets), np.int32)
    for i in range(len(calendars)):
        low, high = int(ptr[i]), int(ptr[i + 1])
        hint[i] = low + np.searchsorted(ends[low:high], np.arange(buckets) * bucket, side="left")
    return PackedCalendars(ptr, starts, ends, hint, bucket)
