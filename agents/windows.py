"""When pool work may run: windows by calendar rule, minus quiet hours. Pure; local wall time in, UTC intervals out.

Rules are RFC 5545 recurrence rules (python-dateutil), read in the shop's own time zone, so that "from 8" stays 8
o'clock across a change of summer time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

#: Longest single window; keeps the look-back when expanding a rule bounded.
LONGEST_WINDOW: Final = timedelta(days=31)
_EPOCH: Final = datetime(2020, 1, 6)  # noqa: DTZ001 - a Monday, local wall time on purpose
#: A time of its own zone, as calendar programs write it: `TZID=…`, or `…Z` for UTC.
_ZONED: Final = re.compile(r"TZID=|\dZ\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` up to `end`, both UTC."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def holds(self, start: datetime, end: datetime) -> bool:
        """Whether all of `start`…`end` lies inside."""
        return self.start <= start and end <= self.end


@dataclass(frozen=True)
class Window:
    """Opens at every occurrence of the rule, for `length`. Empty `machines` means all."""

    rule: rrule | rruleset
    length: timedelta
    machines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Once:
    """One stretch, from a local wall time on. Empty `machines` means all."""

    wall: datetime
    length: timedelta
    machines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Daily hours without pool work, on some weekdays (0 is Monday). `end` not after `start` passes midnight."""

    start: time
    end: time
    weekdays: frozenset[int] = frozenset(range(7))
    machines: frozenset[str] = frozenset()


def read_rule(text: str) -> rrule | rruleset:
    """A recurrence rule; without DTSTART it starts from a Monday long past. Raises ValueError.

    It remembers its occurrences: they are asked for with every look at the gates, and are counted from the start.
    """
    if _ZONED.search(text):
        raise ValueError(f"{text!r} names a zone: write local times (20260530T080000); `timezone` of the file holds")
    try:
        rule = rrulestr(text, dtstart=_EPOCH, cache=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{text!r} is not a recurrence rule of RFC 5545: {error}") from error
    rules = (*getattr(rule, "_rrule", ()), *getattr(rule, "_exrule", ())) if isinstance(rule, rruleset) else (rule,)
    if any(getattr(one, "_freq", 0) > 4 for one in rules):  # dateutil: HOURLY is 4, MINUTELY 5, SECONDLY 6
        raise ValueError(f"{text!r} recurs more often than hourly; say one longer window instead")
    return rule


def allowed(
    windows: tuple[Window, ...],
    quiet: tuple[QuietHours, ...],
    machine: str,
    zone: ZoneInfo,
    span: Interval,
) -> tuple[Interval, ...]:
    """The intervals inside `span` when pool work may run on `machine`, in order, apart from each other.

    No window declared for anyone means always; windows for other machines only means never for this one.
    """
    if windows:
        opened = [
            interval
            for window in windows
            if not window.machines or machine in window.machines
            for interval in _openings(window, zone, span)
        ]
    else:
        opened = [span]
    silent = [
        interval
        for hours in quiet
        if not hours.machines or machine in hours.machines
        for interval in _silences(hours, zone, span)
    ]
    return without(_merged(opened), _merged(silent))


def stretches(
    windows: tuple[Window | Once, ...], machine: str, zone: ZoneInfo, span: Interval
) -> tuple[Interval, ...] | None:
    """The windows of `machine` inside `span`, in order, apart from each other; None where none speaks of it at all."""
    of_machine = [window for window in windows if not window.machines or machine in window.machines]
    if not of_machine:
        return None
    return _merged([interval for window in of_machine for interval in _openings(window, zone, span)])


def common(first: tuple[Interval, ...], second: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What lies in both; both in order, apart from each other."""
    found = []
    for one in first:
        for other in second:
            start, end = max(one.start, other.start), min(one.end, other.end)
            if start < end:
                found.append(Interval(start, end))
    return tuple(found)


def first_fit(intervals: tuple[Interval, ...], earliest: datetime, length: timedelta) -> datetime | None:
    """The first moment from which `length` fits into one interval; None when it fits nowhere."""
    for interval in intervals:
        start = max(interval.start, earliest)
        if start + length <= interval.end:
            return start
    return None


def _utc(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _readings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """What a wall time may mean where clocks change; twice the same where they do not."""
    return _utc(wall, zone), _utc(wall.replace(fold=1), zone)


def _clipped(start: datetime, end: datetime, span: Interval) -> Interval | None:
    start, end = max(start, span.start), min(end, span.end)
    return Interval(start, end) if start < end else None


def _openings(window: Window | Once, zone: ZoneInfo, span: Interval) -> list[Interval]:
    if isinstance(window, Once):
        start = _utc(window.wall, zone)
        clipped = _clipped(start, start + window.length, span)
        return [] if clipped is None else [clipped]
    day = timedelta(days=1)  # wall time and UTC differ by less
    first = span.start.replace(tzinfo=None) - window.length - day
    last = span.end.replace(tzinfo=None) + day
    found = []
    for wall in window.rule.between(first, last, inc=True):
        start = _utc(wall, zone)
        clipped = _clipped(start, start + window.length, span)
        if clipped is not None:
            found.append(clipped)
    return found


def _silences(hours: QuietHours, zone: ZoneInfo, span: Interval) -> list[Interval]:
    found = []
    day: date = span.start.astimezone(zone).date() - timedelta(days=1)
    last = span.end.astimezone(zone).date()
    while day <= last:
        if day.weekday() in hours.weekdays:
            until = day if hours.end > hours.start else day + timedelta(days=1)
            # A clock put back shows some times twice, one put forward some never: it is quiet in any reading.
            start = min(_readings(datetime.combine(day, hours.start), zone))
            end = max(_readings(datetime.combine(until, hours.end), zone))
            clipped = _clipped(start, end, span)
            if clipped is not None:
                found.append(clipped)
        day += timedelta(days=1)
    return found


def _merged(intervals: list[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for interval in sorted(intervals, key=lambda item: item.start):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return tuple(merged)


def without(intervals: tuple[Interval, ...], holes: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What is left of `intervals` outside `holes`; both in order, apart from each other."""
    left: list[Interval] = []
    for interval in intervals:
        start = interval.start
        for hole in holes:
            if hole.end <= start or hole.start >= interval.end:
                continue
            if hole.start > start:
                left.append(Interval(start, hole.start))
            start = max(start, hole.end)
        if start < interval.end:
            left.append(Interval(start, interval.end))
    return tuple(left)
