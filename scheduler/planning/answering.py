"""From a schedule back to a plan in people's words: placements with terms, the best rejected place, and waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from scheduler.planning.compiling import Compiled
from scheduler.planning.core import (
    CLEARED,
    EARLIEST,
    ELIG_HIGH,
    ELIG_LOW,
    PINNED,
    PRED_HIGH,
    PRED_LOW,
    SINCE,
    Schedule,
    copy_schedule,
    restore_schedule,
)
from scheduler.planning.estimating import INFINITE
from scheduler.planning.feasibility import View
from scheduler.planning.insertion import insert_best, remove
from scheduler.planning.objective import Costed, sums, terms_of
from scheduler.planning.people import CrewTicks, too_few
from scheduler.planning.propagation import Journal, new_journal
from scheduler.planning.snapshot import Placement, Plan, PlanJob, PlanMachine, Rejected, Shut, Term, Waiting
from scheduler.planning.stock import too_little
from scheduler.planning.waits import shuts

NO_ROOM = "no machine has room for it before the horizon"


class Answerable(Costed, Protocol):
    """A compiled problem with the way back to jobs and machines; whole (`Compiled`) or growing."""

    @property
    def view(self) -> View:
        """The snapshot."""
        ...

    @property
    def jobs(self) -> Sequence[PlanJob]:
        """By row."""
        ...

    @property
    def machines(self) -> Sequence[PlanMachine]:
        """By row."""
        ...

    @property
    def circuits(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Milliwatts allowed and machines of each circuit that can bind."""
        ...

    @property
    def crews(self) -> tuple[CrewTicks, ...]:
        """The people that are counted."""
        ...


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
    journal = new_journal(len(compiled.core.ops))
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


def placement_of(compiled: Answerable, schedule: Schedule, o: int, rejected: Rejected | None = None) -> Placement:
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
        view.moment(int(schedule.avail[o])) if compiled.core.ops[o, CLEARED] > 0 else None,
    )


def best_rejected(compiled: Answerable, schedule: Schedule, journal: Journal, o: int) -> Rejected | None:
    """The cheapest place on any other machine, everything else staying; None where there is no other machine.

    `schedule` is used as scratch and is the same afterwards.
    """
    ops = compiled.core.ops
    if ops[o, ELIG_HIGH] - ops[o, ELIG_LOW] < 2 or ops[o, PINNED] >= 0:
        return None
    saved = copy_schedule(schedule)
    here = int(schedule.machine[o])
    shut = np.zeros(max(1, len(compiled.core.mach)), np.int8)
    shut[here] = 1
    # Elsewhere it would neither wait for these people nor for this power.
    held, ops[o, [EARLIEST, CLEARED]] = ops[o, [EARLIEST, CLEARED]].copy(), (ops[o, SINCE], 0)
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
    ops[o, [EARLIEST, CLEARED]] = held
    restore_schedule(schedule, saved)
    return out


def no_room(compiled: Answerable, schedule: Schedule, o: int) -> Waiting:
    """Machines could make it, and none has room before the horizon, or what it waits for has no place either."""
    job = compiled.jobs[o]
    days = compiled.view.policy.horizon_s / 86_400
    core = compiled.core
    for q in core.links[core.ops[o, PRED_LOW] : core.ops[o, PRED_HIGH]].tolist():
        if schedule.machine[q] < 0:
            return Waiting(job.id, f"it needs the part of job {compiled.jobs[q].id}, which waits itself")
    shared = {m for _, members in compiled.circuits for m in members}
    short = too_little(compiled.jobs, compiled.machines, schedule, o) | too_few(compiled, schedule, o)
    full = tuple(
        short.get(m)
        or Shut(
            compiled.machines[m].id,
            "room",
            f"no room is left on it{' and its circuit' if m in shared else ''} in the next {days:.0f} days",
            "lengthen its hours, or let another job go",
        )
        for m in core.elig_machine[core.ops[o, ELIG_LOW] : core.ops[o, ELIG_HIGH]].tolist()
    )
    return Waiting(job.id, NO_ROOM, (*full, *shuts(compiled.view, job)))
