"""Re-timing what depends on a change, with a journal so that the change can be taken back.

The journal keeps the old times and the old cost of every operation touched since `begin`; `undo` restores them. Work is
capped: a change that runs in a circle, or touches too much, is refused and taken back.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduler.planning.core import (
    AVAIL,
    END,
    MACHINE,
    NUMBER,
    POS,
    SETUP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    Core,
    Schedule,
)
from scheduler.planning.jit import borrowed, compiled, inlined
from scheduler.planning.problem import NEVER, Flags, Ints, Longs
from scheduler.planning.timing import moving_cost, time_one


class Journal(NamedTuple):
    """Scratch arrays of one search. `counters`: stamp of the current change, journal length, seeds."""

    rows: Ints
    """(n, 5) operation, old start, end, avail and setup."""
    cost: Longs
    stamp: Longs
    queue: Ints
    queued: Flags
    seeds: Longs
    counters: Longs


def new_journal(operations: int) -> Journal:
    """Scratch for a problem of so many operations."""
    n = operations
    return Journal(
        np.zeros((n + 8, 5), NUMBER),
        np.zeros(n + 8, np.int64),
        np.zeros(n + 1, np.int64),
        np.zeros(n + 8, NUMBER),
        np.zeros(n + 1, np.int8),
        np.zeros(4 * n + 64, np.int64),
        np.zeros(4, np.int64),
    )


@inlined
def begin(j: Journal) -> None:
    """Forget the last change."""
    j.counters[0] += 1
    j.counters[1] = 0
    j.counters[2] = 0


@inlined
def note(p: Core, s: Schedule, j: Journal, o: int) -> None:
    """Write down an operation's times and cost, once a change."""
    if j.stamp[o] != j.counters[0]:
        j.stamp[o] = j.counters[0]
        i = j.counters[1]
        j.rows[i, 0] = o
        j.rows[i, 1] = s.at[o, START]
        j.rows[i, 2] = s.at[o, END]
        j.rows[i, 3] = s.at[o, AVAIL]
        j.rows[i, 4] = s.at[o, SETUP]
        if s.at[o, MACHINE] >= 0:
            j.cost[i] = moving_cost(p, s, o)
        else:
            j.cost[i] = 0
        j.counters[1] += 1


@inlined
def seed(j: Journal, o: int) -> None:
    """This operation must be re-timed."""
    j.seeds[j.counters[2]] = o
    j.counters[2] += 1


@inlined
def seed_after(p: Core, s: Schedule, j: Journal, o: int) -> None:
    """Those that wait for the operation's part must be re-timed."""
    for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
        if s.at[p.links[k], POS] >= 0:
            seed(j, p.links[k])


@compiled
def propagate(p: Core, s: Schedule, j: Journal, limit: int) -> bool:
    """Re-time from the seeds until nothing changes. False: something cannot be, or more than `limit` steps of work."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    size = len(j.queue)
    head = 0
    tail = 0
    for i in range(j.counters[2]):
        o = j.seeds[i]
        if j.queued[o] == 0 and s.at[o, POS] >= 0:
            j.queue[tail] = o
            tail += 1
            j.queued[o] = 1
    work = 0
    possible = True
    while head != tail:
        o = j.queue[head]
        head = head + 1 if head + 1 < size else 0
        j.queued[o] = 0
        work += 1
        if work > limit:
            possible = False
            break
        start, end, avail, setup = time_one(p, s, o)
        if avail >= NEVER:
            possible = False
            break
        ends, frees = end != s.at[o, END], avail != s.at[o, AVAIL]
        if not ends and not frees and start == s.at[o, START] and setup == s.at[o, SETUP]:
            continue
        note(p, s, j, o)
        s.at[o, START], s.at[o, END], s.at[o, AVAIL], s.at[o, SETUP] = start, end, avail, setup
        m = s.at[o, MACHINE]
        if ends and s.at[o, POS] + 1 < s.length[m]:
            after = s.seq[m, s.at[o, POS] + 1]
            if j.queued[after] == 0:
                j.queue[tail] = after
                tail = tail + 1 if tail + 1 < size else 0
                j.queued[after] = 1
        if frees:
            for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
                after = p.links[k]
                if s.at[after, POS] >= 0 and j.queued[after] == 0:
                    j.queue[tail] = after
                    tail = tail + 1 if tail + 1 < size else 0
                    j.queued[after] = 1
    while head != tail:
        j.queued[j.queue[head]] = 0
        head = head + 1 if head + 1 < size else 0
    return possible


@inlined
def changed_cost(p: Core, s: Schedule, j: Journal) -> int:
    """New minus old cost of every operation in the journal (the part that changes with time)."""
    delta = 0
    for i in range(j.counters[1]):
        o = j.rows[i, 0]
        if s.at[o, MACHINE] >= 0:
            delta += moving_cost(p, s, o)
        delta -= j.cost[i]
    return delta


@inlined
def undo(s: Schedule, j: Journal) -> None:
    """Old times again. The caller puts the sequences back."""
    for i in range(j.counters[1]):
        o = j.rows[i, 0]
        s.at[o, START] = j.rows[i, 1]
        s.at[o, END] = j.rows[i, 2]
        s.at[o, AVAIL] = j.rows[i, 3]
        s.at[o, SETUP] = j.rows[i, 4]
