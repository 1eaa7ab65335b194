"""`plan`: the pure function from a snapshot to a plan with reasons."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scheduler.planning.answering import answer
from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.cleaner import wait_for_clean_hours
from scheduler.planning.compiling import Compiled, compile_snapshot
from scheduler.planning.construction import append_first, construct
from scheduler.planning.core import EARLIEST, Schedule, copy_schedule
from scheduler.planning.exact import LARGEST, ExactAnswer, solve_exactly
from scheduler.planning.improving import improve_by, workers_for
from scheduler.planning.people import hours_of, shop_weeks
from scheduler.planning.refusing import only_possible
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.planning.staggering import mark_decided, stagger
from scheduler.planning.stock import ration
from scheduler.planning.timing import total_cost

#: Above this many operations, "what would the best other machine have cost" is asked per job, not stored for all.
ALTERNATIVES_UP_TO = 400
#: Above this many operations the first plan is made by appending; insertion is left to the search and to live plans.
INSERTED_UP_TO = 3_000


def plan(
    snapshot: Snapshot,
    *,
    seed: int = 0,
    budget_s: float = 2.0,
    moves: int | None = None,
    workers: int | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Plan:
    """Which machines make which jobs when, and why.

    Up to 40 jobs are solved whole, with a bound, and searched too where half of the budget proves nothing; more go
    through exact insertion and the anytime search. The same snapshot, seed and `moves` give the same plan; a search
    ended by its budget may differ with the computer's speed.

    Args:
        budget_s: seconds that improving may take. The first plan is made whatever the budget.
        moves: moves of the search instead of a budget, for plans that must repeat exactly; leaves the exact layer out.
        workers: processes that search, each a part of the network at a time (`sharding.py`). None: as many as there are
            cores where the network is large and time enough, else 1. With several, the same seed, moves and number of
            workers give the same plan; it is kept as one that time ended, and not searched again when replayed.
        progress: told the share done and the best cost (hundredths of a weight-minute) while searching.

    Raises:
        BadSnapshot: two machines or two jobs carry one id, or a time has no zone.
    """
    began = time.perf_counter()
    compiled = compile_snapshot(snapshot)
    n = compiled.problem.operations
    first = construct if n <= INSERTED_UP_TO else append_first
    schedule, shared = first(compiled.problem, compiled.core), compiled.shared
    asked = hours_of(compiled, schedule)
    engine, bound, proven = "insertion", None, False
    exact = _exactly(compiled, schedule, seed, budget_s / 2) if 0 < n <= LARGEST and moves is None else None
    if exact is not None:
        schedule, engine, bound, proven = exact.schedule, "exact", exact.bound, exact.proven
    left_s = budget_s if exact is None else budget_s / 2
    if n > 0 and not proven and (left_s > 0 or moves is not None):
        searched, undelayed = copy_schedule(schedule), compiled.core.ops[:, EARLIEST].copy()
        workers = workers or workers_for(n, left_s, moves)
        improve_by(workers, compiled.core, searched, seed=seed, budget_s=left_s, moves=moves, progress=progress)
        wait_for_clean_hours(compiled.core, searched)
        asked = hours_of(compiled, searched)
        stagger(compiled.core, searched, shared)
        if exact is None or _better(compiled, searched, schedule):
            schedule, engine, exact = searched, "search", None
        else:
            compiled.core.ops[:, EARLIEST] = undelayed
    elif exact is None:
        stagger(compiled.core, schedule, shared)
    if exact is not None:
        mark_decided(compiled.core, schedule, shared)
    if ration(compiled.jobs, compiled.machines, ClaimedPlan(compiled.core, schedule)):
        bound = None
        stagger(compiled.core, schedule, shared)
    wall_s = time.perf_counter() - began
    made = answer(
        compiled,
        schedule,
        engine=engine,
        seed=seed,
        wall_s=wall_s,
        bound=bound,
        alternatives=n <= ALTERNATIVES_UP_TO,
    )
    hours = shop_weeks(compiled, hours_of(compiled, schedule), asked)
    return only_possible(snapshot, replace(made, moves=None if (workers or 1) > 1 else moves, hours=hours))


def _exactly(compiled: Compiled, schedule: Schedule, seed: int, budget_s: float) -> ExactAnswer | None:
    """The exact answer where it is at least as good."""
    if budget_s <= 0 or np.any(schedule.machine < 0):
        return None
    found = solve_exactly(
        compiled.problem,
        compiled.core,
        schedule,
        budget_s=budget_s,
        seed=seed,
        shared=compiled.shared,
    )
    if found is None or (found.cost > int(total_cost(compiled.core, schedule)) and not compiled.shared.binds):
        return None
    return found


def _better(compiled: Compiled, one: Schedule, other: Schedule) -> bool:
    """Whether `one` places every operation too, and costs less."""
    cheaper = int(total_cost(compiled.core, one)) < int(total_cost(compiled.core, other))
    return cheaper and not np.any(one.machine < 0)
