"""Power caps of circuits in plans too large for the exact layer: starts are staggered until every circuit holds."""

from __future__ import annotations

import numpy as np

from scheduler.planning.core import AVAIL, EARLIEST, END, MACHINE, PINNED, POS, SETUP, START, Core, Schedule
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import take_out, time_one

Load = list[tuple[int, int, int]]


def stagger(
    core: Core, schedule: Schedule, circuits: tuple[tuple[int, tuple[int, ...]], ...], power: tuple[int, ...]
) -> int:
    """Delay starts, in the order in which they are planned, until every circuit holds its limit.

    Delays are written into the core's earliest starts, so that re-timing keeps them. What no longer fits before the
    horizon becomes unplaced.

    Returns:
        How many operations were delayed.
    """
    if not circuits:
        return 0
    circuit_of = {m: c for c, (_, members) in enumerate(circuits) for m in members}
    loads: list[Load] = [[] for _ in circuits]
    delayed = 0
    queued = [int(o) for o in np.flatnonzero(schedule.pos >= 0)]
    # Fixed work draws its power whatever the others do.
    queued.sort(key=lambda o: (core.ops[o, PINNED] < 0, int(schedule.at[o, START]), int(schedule.at[o, POS])))
    for o in queued:
        m = int(schedule.at[o, MACHINE])
        if m not in circuit_of:
            _time(core, schedule, o)
            continue
        load, limit = loads[circuit_of[m]], circuits[circuit_of[m]][0]
        possible = _time(core, schedule, o)
        while possible and core.ops[o, PINNED] < 0:
            at = _fits_from(load, limit, power[m], int(schedule.at[o, START]), int(schedule.at[o, END]))
            if at == int(schedule.at[o, START]):
                break
            core.ops[o, EARLIEST] = at
            delayed += 1
            possible = _time(core, schedule, o)
        if possible:
            load.append((int(schedule.at[o, START]), int(schedule.at[o, END]), power[m]))
        else:
            take_out(schedule, m, int(schedule.at[o, POS]))
            schedule.at[o, [MACHINE, POS]] = -1
    return delayed


def _time(core: Core, schedule: Schedule, o: int) -> bool:
    """Re-time one operation; False where it cannot be."""
    start, end, avail, setup = time_one(core, schedule, o)
    for column, value in ((START, start), (END, end), (AVAIL, avail), (SETUP, setup)):
        schedule.at[o, column] = value
    return bool(avail < NEVER)


def _fits_from(load: Load, limit: int, watts: int, start: int, end: int) -> int:
    """`start`, or the first end of another run after which there may be power for this one."""
    during = [one for one in load if one[0] < end and one[1] > start]
    for moment in sorted({start, *(one[0] for one in during if one[0] > start)}):
        drawn = sum(w for a, b, w in during if a <= moment < b)
        if drawn + watts > limit:
            return min(b for a, b, _ in during if a <= moment < b)
    return start
