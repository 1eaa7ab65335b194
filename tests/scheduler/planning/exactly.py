"""What the search's estimates must equal: the objective computed anew from the sequences."""

from __future__ import annotations

import numpy as np

from scheduler.planning.core import CHOICE, ELIG_HIGH, ELIG_LOW, MACHINE, POS, Core, Schedule, copy_schedule
from scheduler.planning.estimating import INFINITE, shifted
from scheduler.planning.improving import times_agree
from scheduler.planning.insertion import insert_best, remove
from scheduler.planning.propagation import new_journal
from scheduler.planning.search import leaving_gains, move
from scheduler.planning.timing import choose, put_in, retime_all, total_cost


def exact(core: Core, schedule: Schedule) -> int | None:
    """The whole objective, timed anew from the sequences; None where they cannot be."""
    scratch = np.empty(len(core.ops), schedule.at.dtype)
    return int(total_cost(core, schedule)) if retime_all(core, schedule, scratch, scratch.copy()) else None


def everywhere(core: Core, schedule: Schedule, o: int) -> list[int | None]:
    """What the plan would cost with the operation in any place, timed anew."""
    out = []
    for k in range(int(core.ops[o, ELIG_LOW]), int(core.ops[o, ELIG_HIGH])):
        m = int(core.elig_machine[k])
        for i in range(int(schedule.length[m]) + 1):
            other = copy_schedule(schedule)
            choose(core, other, o, k)
            put_in(other, m, i, o)
            out.append(exact(core, other))
    return out


def assert_moving_and_leaving_cost_what_is_said(core: Core, schedule: Schedule, which: int, to: int) -> int:
    """One of the placed operations moved inside its queue, in a copy, and taken out of it, for good: its row."""
    placed = np.flatnonzero(schedule.pos >= 0)
    o = int(placed[which % len(placed)])
    m, i = int(schedule.at[o, MACHINE]), int(schedule.at[o, POS])
    before = int(total_cost(core, schedule))
    to %= int(schedule.length[m]) + 1
    if to not in (i, i + 1):
        said = int(shifted(core, schedule, m, i, to, INFINITE))
        other = copy_schedule(schedule)
        changed = int(move(core, other, new_journal(len(core.ops)), o, int(other.at[o, CHOICE]), to, INFINITE - 1))
        assert said == changed or said >= INFINITE
        assert int(total_cost(core, other)) - before == changed
        assert times_agree(core, other)
    said = int(leaving_gains(core, schedule, o))
    remove(core, schedule, new_journal(len(core.ops)), o)
    assert before - int(total_cost(core, schedule)) == said
    return o


def assert_no_place_is_cheaper_than_insertions(core: Core, schedule: Schedule, o: int) -> None:
    """An operation without a place is put into one: no other would have cost less."""
    before = int(total_cost(core, schedule))
    least = min(cost for cost in everywhere(core, schedule, o) if cost is not None) - before
    shut = np.zeros(len(core.mach), np.int8)
    assert int(insert_best(core, schedule, new_journal(len(core.ops)), o, 0, 0, shut, True)) == least
    assert int(total_cost(core, schedule)) - before == least
    assert times_agree(core, schedule)
