"""Starts that wait for cleaner current, where nobody loses more by it than the climate gains.

The compiled search starts everything as early as it can and counts what that costs; afterwards, last ones first, each
start moves into the gap behind it as far as that pays. Nothing else moves. The exact layer does both at once.
"""

from __future__ import annotations

import numpy as np

from scheduler.planning.core import (
    AVAIL,
    CURVE,
    EARLIEST,
    END,
    MACHINE,
    PINNED,
    POS,
    SETUP,
    SHOP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    Core,
    Schedule,
)
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import moving_cost, time_one

#: Hours that a start may wait: after a day the same hours come again.
HOURS = 24
_TIMES = [START, END, AVAIL, SETUP]


def wait_for_clean_hours(core: Core, schedule: Schedule) -> int:
    """Delay starts where it costs less. Delays are written into the core's earliest starts. Returns how many."""
    if not len(core.carbon):
        return 0
    at, moved = schedule.at, 0
    movable = (schedule.pos >= 0) & (core.ops[:, PINNED] < 0)
    movable[movable] = core.mach[schedule.machine[movable], CURVE] >= 0
    rows = np.flatnonzero(movable)
    for o in rows[np.argsort(-at[rows, START], kind="stable")].tolist():
        moved += _waits(core, schedule, o)
    return moved


def _waits(core: Core, schedule: Schedule, o: int) -> bool:
    """Delay one start where that is cheaper; whether it was."""
    at, ops = schedule.at, core.ops
    hour = max(1, (core.carbon.shape[1] - 1) // HOURS)
    kept, earliest = at[o, _TIMES].copy(), int(ops[o, EARLIEST])
    best, least, until = earliest, int(moving_cost(core, schedule, o)), _room_until(core, schedule, o)
    for wait in range(1, HOURS):
        ops[o, EARLIEST] = int(kept[0]) + wait * hour
        if ops[o, EARLIEST] >= until:
            break
        at[o, _TIMES] = time_one(core, schedule, o)
        if at[o, AVAIL] >= NEVER or at[o, AVAIL] > until or _parts_late(core, schedule, o):
            break
        cost = int(moving_cost(core, schedule, o))
        if cost < least:
            best, least = int(ops[o, EARLIEST]), cost
    ops[o, EARLIEST] = best
    at[o, _TIMES] = kept if best == earliest else time_one(core, schedule, o)
    return best != earliest


def _room_until(core: Core, schedule: Schedule, o: int) -> int:
    """When the next in its queue starts."""
    m, i = int(schedule.at[o, MACHINE]), int(schedule.at[o, POS])
    last = i + 1 >= int(schedule.length[m])
    return NEVER if last else int(schedule.at[schedule.seq[m, i + 1], START])


def _parts_late(core: Core, schedule: Schedule, o: int) -> bool:
    """Whether something placed would start before its part has come."""
    at, shop = schedule.at, core.mach[schedule.at[o, MACHINE], SHOP]
    waits = core.links[core.ops[o, SUCC_LOW] : core.ops[o, SUCC_HIGH]].tolist()
    return any(
        at[y, MACHINE] >= 0 and at[y, START] < at[o, AVAIL] + core.legs[shop, core.mach[at[y, MACHINE], SHOP]]
        for y in waits
    )
