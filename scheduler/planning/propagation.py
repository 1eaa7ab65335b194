"""Re-timing what depends on a change, with a journal so that the change can be taken back.

The journal keeps the old times and the old cost of every operation touched since `begin`; `undo` restores them. Work is
capped: a change that runs in a circle, or touches too much, is refused and taken back.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import NEVER, Flags, Ints, Longs, Problem, Schedule
from scheduler.planning.timing import moving_cost, time_one


class Journal(NamedTuple):
    """Scratch arrays of one search. `counters`: stamp of the current change, journal length, seeds."""

    op: Ints
    start: Ints
    end: Ints
    avail: Ints
    setup: Ints
    cost: Longs
    stamp: Longs
    queue: Ints
    queued: Flags
    seeds: Ints
    counters: Longs


def new_journal(operations: int) -> Journal:
    """Scratch for a problem of so many operations."""
    n = operations
    return Journal(
        np.zeros(n + 8, np.int32),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 8, np.int64),
        np.zeros(n + 1, np.int64),
        np.zeros(n + 8, np.int32),
        np.zeros(n + 1, np.int8),
        np.zeros(4 * n + 64, np.int32),
        np.zeros(4, np.int64),
    )


@inlined
def begin(j: Journal) -> None:
    """Forget the last change."""
    j.counters[0] += 1
    j.counters[1] = 0
    j.counters[2] = 0


@inlined
def note(p: Problem, s: Schedule, j: Journal, o: int) -> None:
    """Write down an operation's times and cost, once a change."""
    if j.stamp[o] != j.counters[0]:
        j.stamp[o] = j.counters[0]
        i = j.counters[1]
        j.op[i] = o
        j.start[i] = s.start[o]
        j.end[i] = s.end[o]
        j.avail[i] = s.avail[o]
        j.setup[i] = s.setup[o]
        if s.machine[o] >= 0:
            j.cost[i] = moving_cost(p, o, p.machine_shop[s.machine[o]], s.avail[o], s.setup[o])
        else:
            j.cost[i] = 0
        j.counters[1] += 1


@inlined
def seed(j: Journal, o: int) -> None:
    """This operation must be re-timed."""
    j.seeds[j.counters[2]] = o
    j.counters[2] += 1


@inlined
def seed_after(p: Problem, s: Schedule, j: Journal, o: int) -> None:
    """Those that wait for the operation's part must be re-timed."""
    for k in range(p.succ_ptr[o], p.succ_ptr[o + 1]):
        if s.machine[p.succs[k]] >= 0:
            seed(j, p.succs[k])


@compiled
def propagate(p: Problem, s: Schedule, j: Journal, limit: int) -> bool:
    """Re-time from the seeds until nothing changes. False: something cannot be, or more than `limit` steps of work."""
    size = len(j.queue)
    head = 0
    tail = 0
    for i in range(j.counters[2]):
        o = j.seeds[i]
        if j.queued[o] == 0 and s.machine[o] >= 0:
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
        ends, frees = end != s.end[o], avail != s.avail[o]
        if not ends and not frees and start == s.start[o] and setup == s.setup[o]:
            continue
        note(p, s, j, o)
        s.start[o], s.end[o], s.avail[o], s.setup[o] = start, end, avail, setup
        m = s.machine[o]
        if ends and s.pos[o] + 1 < s.length[m]:
            after = s.seq[m, s.pos[o] + 1]
            if j.queued[after] == 0:
                j.queue[tail] = after
                tail = tail + 1 if tail + 1 < size else 0
                j.queued[after] = 1
        if frees:
            for k in range(p.succ_ptr[o], p.succ_ptr[o + 1]):
                after = p.succs[k]
                if s.machine[after] >= 0 and j.queued[after] == 0:
                    j.queue[tail] = after
                    tail = tail + 1 if tail + 1 < size else 0
                    j.queued[after] = 1
    while head != tail:
        j.queued[j.queue[head]] = 0
        head = head + 1 if head + 1 < size else 0
    return possible


@inlined
def changed_cost(p: Problem, s: Schedule, j: Journal) -> int:
    """New minus old cost of every operation in the journal (the part that changes with time)."""
    delta = 0
    for i in range(j.counters[1]):
        o = j.op[i]
        if s.machine[o] >= 0:
            delta += moving_cost(p, o, p.machine_shop[s.machine[o]], s.avail[o], s.setup[o])
        delta -= j.cost[i]
    return delta


@inlined
def undo(s: Schedule, j: Journal) -> None:
    """Old times again. The caller puts the sequences back."""
    for i in range(j.counters[1]):
        o = j.op[i]
        s.start[o] = j.start[i]
        s.end[o] = j.end[i]
        s.avail[o] = j.avail[i]
        s.setup[o] = j.setup[i]
