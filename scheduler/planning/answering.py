"""From a schedule back to a plan in people's words: placements with terms, the best rejected place, and waits."""

from __future__ import annotations

import numpy as np

from scheduler.planning.compiling import Compiled
from scheduler.planning.core import Schedule, copy_schedule, restore_schedule
from scheduler.planning.insertion import INFINITE, insert_best, remove
from scheduler.planning.objective import sums, terms_of
from scheduler.planning.propagation import Journal, new_journal
from scheduler.planning.snapshot import Placement, Plan, Rejected, Shut, Term, Waiting


def answer(
    compiled: Compiled,
    schedule: Schedule,
    *,
    engine: str,
    seed: int,
    wall_s: float,
    bound: int | None = None,
    alternatives: bool = True,
) -> Plan:
    """The plan that the schedule is. `alternatives`: also say, per job, what the best other machine would have cost."""
    order = [int(o) for o in np.flatnonzero(schedule.machine >= 0)]
    order.sort(key=lambda o: (int(schedule.start[o]), o))
    journal = new_journal(compiled.problem.operations)
    spare = copy_schedule(schedule)
    placements = []
    for o in order:
        rejected = best_rejected(compiled, spare, journal, o) if alternatives else None
        placements.append(placement_of(compiled, schedule, o, rejected))
    waiting = [*compiled.waiting, *(no_room(compiled, schedule, int(o)) for o in np.flatnonzero(schedule.machine < 0))]
    return Plan(
        tuple(placements),
        tuple(waiting),
        sums([placement.terms for placement in placements]),
        bound,
        engine,
        seed,
        wall_s,
    )


def placement_of(compiled: Compiled, schedule: Schedule, o: int, rejected: Rejected | None = None) -> Placement:
    """One operation's place in words."""
    job, machine = compiled.jobs[o], compiled.machines[schedule.machine[o]]
    view = compiled.view
    end = int(schedule.end[o])
    start = view.moment(int(schedule.start[o]))
    if job.fixed is not None and job.fixed.start < view.snapshot.now:
        start = job.fixed.start
    return Placement(
        job.id,
        machine.id,
        start,
        view.moment(end),
        view.moment(end + int(schedule.tail[o])),
        int(schedule.setup[o]) * view.policy.tick_s,
        terms_of(compiled, schedule, o),
        rejected,
        job.fixed is not None,
    )


def best_rejected(compiled: Compiled, schedule: Schedule, journal: Journal, o: int) -> Rejected | None:
    """The cheapest place on any other machine, everything else staying; None where there is no other machine.

    `schedule` is used as scratch and is the same afterwards.
    """
    p = compiled.problem
    low, high = int(p.elig_ptr[o]), int(p.elig_ptr[o + 1])
    if high - low < 2 or p.pinned[o] >= 0:
        return None
    saved = copy_schedule(schedule)
    here = int(schedule.machine[o])
    shut = np.zeros(max(1, p.machines), np.int8)
    shut[here] = 1
    remove(compiled.core, schedule, journal, o)
    cost = int(insert_best(compiled.core, schedule, journal, o, 0, 0, shut, True))
    out = None
    if cost < INFINITE:
        machine = compiled.machines[schedule.machine[o]]
        view = compiled.view
        terms = terms_of(compiled, schedule, o)
        others = cost - sum(term.value for term in terms)
        if others > 0:
            terms = (*terms, Term("others later", others))
        start, end = view.moment(int(schedule.start[o])), view.moment(int(schedule.end[o]))
        out = Rejected(machine.id, start, end, terms)
    restore_schedule(schedule, saved)
    return out


def no_room(compiled: Compiled, schedule: Schedule, o: int) -> Waiting:
    """Machines could make it, and none has room before the horizon, or what it waits for has no place either."""
    job = compiled.jobs[o]
    days = compiled.view.policy.horizon_s / 86_400
    p = compiled.problem
    for q in p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]:
        if schedule.machine[q] < 0:
            return Waiting(job.id, f"it needs the part of job {compiled.jobs[q].id}, which waits itself")
    shared = {m for _, members in compiled.circuits for m in members}
    full = tuple(
        Shut(
            compiled.machines[p.elig_machine[k]].id,
            "room",
            f"no room is left on it{' and its circuit' if p.elig_machine[k] in shared else ''} "
            f"in the next {days:.0f} days",
            "lengthen its hours, or let another job go",
        )
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1])
    )
    return Waiting(job.id, "no machine has room for it before the horizon", (*full, *compiled.shuts.get(job.id, ())))
