"""Carrying a plan over to tables compiled anew: everything keeps its machine and its order where it still can."""

from __future__ import annotations

import numpy as np

from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import (
    AVAIL,
    DUE,
    MACHINE,
    NUMBER,
    PINNED,
    POS,
    START,
    WEIGHT,
    empty_schedule,
    restore_schedule,
)
from scheduler.planning.growing import Growing
from scheduler.planning.insertion import append_all
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import choose, put_in, time_one

#: Where a job was: its machine's id and its start, in ticks of whatever epoch.
Kept = dict[str, tuple[str, int]]
#: Above this many jobs without a place the first plan appends; inserting is left to events and to the search.
INSERTED_UP_TO = 3_000


def carried(book: Growing, live: ClaimedPlan) -> Kept:
    """Where everything is that has a place."""
    at = live.schedule.at
    return {
        job: (book.machines[at[o, MACHINE]].id, int(at[o, START])) for job, o in book.row.items() if at[o, MACHINE] >= 0
    }


def load(book: Growing, live: ClaimedPlan, kept: Kept, *, only_kept: bool = False) -> None:
    """Fixed work, then what is kept in its old order, then the rest (not with `only_kept`)."""
    pin_all(book, live)
    order = sorted(kept.items(), key=lambda item: item[1][1])
    if not _as_it_was(book, live, order):
        restore_schedule(live.schedule, empty_schedule(book.core, live.schedule.seq.shape[1]))
        pin_all(book, live)
        _one_by_one(book, live, order)
    if only_kept:
        return
    rest = [o for o in book.row.values() if live.schedule.at[o, MACHINE] < 0]
    rest.sort(key=lambda o: (_pressing(book, o), o))
    if len(rest) > INSERTED_UP_TO:
        append_all(book.core, live.schedule, np.array(_parts_first(book, rest), np.int32))
        live.exchange(book.core)
        rest = [o for o in rest if live.schedule.at[o, MACHINE] < 0]
    live.exchange(book.core)
    for o in _parts_first(book, rest):
        live.insert(o)
        live.exchange(book.core)


def pin_all(book: Growing, live: ClaimedPlan) -> None:
    """Every fixed job where it is."""
    fixed = [o for o in book.row.values() if book.core.ops[o, PINNED] >= 0 and live.schedule.at[o, MACHINE] < 0]
    for o in sorted(fixed, key=lambda o: int(book.core.ops[o, PINNED])):
        here = book.choices(o)
        if here.stop > here.start:
            k = here.start
            live.put_pinned(o, int(book.core.elig_machine[k]), k, int(book.core.elig_ticks[k]))
            live.exchange(book.core)


def _as_it_was(book: Growing, live: ClaimedPlan, order: list[tuple[str, tuple[str, int]]]) -> bool:
    """All kept jobs at their old places in the queues; False where the times do not work out."""
    at, starts = live.schedule.at, {}
    for job, (machine, start) in order:
        o, m = book.row.get(job), book.able.row_of(machine)
        if o is None or m < 0 or at[o, MACHINE] >= 0 or live.without_parts_of(o):
            continue
        k = book.choice_on(o, m)
        if k < 0:
            continue
        starts[o] = start
        here = live.queue(m)
        place = sum(starts.get(y, int(at[y, START])) <= start for y in here)
        choose(book.core, live.schedule, o, k)
        put_in(live.schedule, m, place, o)
        live.exchange(book.core)
        at = live.schedule.at
    return live.retime_whole()


def _one_by_one(book: Growing, live: ClaimedPlan, order: list[tuple[str, tuple[str, int]]]) -> None:
    """Each kept job behind what its machine has, where it still may and can."""
    for job, (machine, _) in order:
        o, m = book.row.get(job), book.able.row_of(machine)
        if o is None or m < 0 or live.schedule.at[o, MACHINE] >= 0 or live.without_parts_of(o):
            continue
        k = book.choice_on(o, m)
        if k < 0:
            continue
        choose(book.core, live.schedule, o, k)
        put_in(live.schedule, m, int(live.schedule.length[m]), o)
        live.exchange(book.core)
        start, end, avail, setup = time_one(book.core, live.schedule, o)
        if avail >= NEVER:
            live.schedule.length[m] -= 1
            live.schedule.at[o, [MACHINE, POS]] = -1
            continue
        live.schedule.at[o, START : AVAIL + 2] = np.array([start, end, avail, setup], NUMBER)


def _pressing(book: Growing, o: int) -> float:
    """Rising in the order in which jobs had better be placed: by date, heavier ones earlier."""
    ops = book.core.ops
    return float(ops[o, DUE]) - 360 * float(np.log2(max(ops[o, WEIGHT] / 100, 1e-3)))


def _parts_first(book: Growing, rows: list[int]) -> list[int]:
    """The same order, but nothing before what it waits for."""
    left, out = dict.fromkeys(rows), []

    def visit(o: int) -> None:
        left.pop(o, None)
        for before in book.view.job[book.jobs[o].id].predecessors:
            q = book.row.get(before)
            if q in left:
                visit(q)
        out.append(o)

    for o in rows:
        if o in left:
            visit(o)
    return out
