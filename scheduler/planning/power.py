"""Power caps of circuits in plans too large for the exact layer: starts are staggered until every circuit holds."""

from __future__ import annotations

import numpy as np

from scheduler.planning.core import AVAIL, EARLIEST, END, MACHINE, PINNED, POS, SETUP, START, Core, Schedule
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import parts_placed, put_in, take_out, time_one

Load = list[tuple[int, int, int]]


def stagger(
    core: Core, schedule: Schedule, circuits: tuple[tuple[int, tuple[int, ...]], ...], power: tuple[int, ...]
) -> int:
    """Delay starts, in the order in which they are planned, until every circuit holds its limit.

    Delays are written into the core's earliest starts, so that re-timing keeps them. What no longer fits before the
    horizon becomes unplaced, and what waits for its part with it. Pinned work stays; what would run into it goes
    behind it.

    Returns:
        How many operations were delayed.
    """
    if not circuits:
        return 0
    limit_of = {m: limit for limit, members in circuits for m in members}
    loads: dict[int, Load] = {}
    for _, members in circuits:
        shared: Load = []
        loads |= dict.fromkeys(members, shared)
    delayed = 0
    queued = [int(o) for o in np.flatnonzero(schedule.pos >= 0)]
    # Fixed work draws its power whatever the others do.
    queued.sort(key=lambda o: (core.ops[o, PINNED] < 0, int(schedule.at[o, START]), int(schedule.at[o, POS])))
    for o in queued:
        m = int(schedule.at[o, MACHINE])
        load = loads.get(m, [])
        if core.ops[o, PINNED] < 0:
            before = int(schedule.at[o, START])
            if not parts_placed(core, schedule, o) or not _settle(
                core, schedule, o, load, limit_of.get(m, 0), power[m]
            ):
                take_out(schedule, m, int(schedule.at[o, POS]))
                schedule.at[o, [MACHINE, POS]] = -1
                continue
            delayed += int(schedule.at[o, START]) > before
        load.append((int(schedule.at[o, START]), int(schedule.at[o, END]), power[m]))
    return delayed


def _settle(core: Core, schedule: Schedule, o: int, load: Load, limit: int, watts: int) -> bool:
    """The first start at which its circuit carries it and it ends before pinned work; False where there is none."""
    m = int(schedule.at[o, MACHINE])
    while _time(core, schedule, o):
        start, end = int(schedule.at[o, START]), int(schedule.at[o, END])
        at = _fits_from(load, limit, watts, start, end) if limit > 0 else start
        if at > start:
            core.ops[o, EARLIEST] = at
            continue
        behind = schedule.seq[m, int(schedule.at[o, POS]) + 1 : int(schedule.length[m])].tolist()
        pin = next((y for y in behind if core.ops[y, PINNED] >= 0), None)
        if pin is None or end <= core.ops[pin, PINNED]:
            return True
        take_out(schedule, m, int(schedule.at[o, POS]))
        put_in(schedule, m, int(schedule.at[pin, POS]) + 1, o)
    return False


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
