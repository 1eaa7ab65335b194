"""What the checker's parts share: a fault and a look at windows. No engine uses it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from scheduler.planning.snapshot import Window


class Fault(NamedTuple):
    """One thing that is wrong, and the job without which it would not be; "" where no one job is to blame."""

    job: str
    text: str


def within(windows: tuple[Window, ...] | None, start: datetime, end: datetime) -> bool:
    """Whether the windows together cover the stretch; None is always."""
    if windows is None:
        return True
    reach = start
    for window in sorted(windows, key=lambda w: w.start):
        if window.start <= reach and window.end > reach:
            reach = window.end
        if reach >= end:
            return True
    return any(window.start <= start and end <= window.end for window in windows)
