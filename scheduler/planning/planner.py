"""`plan`: the pure function from a snapshot to a plan with reasons."""

from __future__ import annotations

import time

import numpy as np

from scheduler.planning.answering import answer
from scheduler.planning.checker import violations
from scheduler.planning.compiling import Compiled, compile_snapshot
from scheduler.planning.construction import construct
from scheduler.planning.core import Schedule
from scheduler.planning.exact import LARGEST, solve_exactly
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.planning.timing import total_cost


class ImpossiblePlan(AssertionError):
    """The independent checker refused a plan that an engine made: a defect of the planner. The sentences say which."""


def plan(snapshot: Snapshot, *, seed: int = 0, budget_s: float = 2.0) -> Plan:
    """Which machines make which jobs when, and why.

    Up to 40 jobs are solved whole, with a bound; more go through exact insertion and the anytime search. The same
    snapshot and seed give the same plan when the budget is not what ended the search.

    Args:
        budget_s: seconds that improving may take. The first plan is made whatever the budget.

    Raises:
        BadSnapshot: two machines or two jobs carry one id, or a time has no zone.
        ImpossiblePlan: never, unless the planner has a defect.
    """
    began = time.perf_counter()
    compiled = compile_snapshot(snapshot)
    schedule = construct(compiled.problem, compiled.core)
    engine, bound = "insertion", None
    if 0 < compiled.problem.operations <= LARGEST and budget_s > 0:
        better = _exactly(compiled, schedule, seed, budget_s)
        if better is not None:
            schedule, bound = better
            engine = "exact"
    wall_s = time.perf_counter() - began
    made = answer(compiled, schedule, engine=engine, seed=seed, wall_s=wall_s, bound=bound)
    wrong = violations(snapshot, made)
    if wrong:
        raise ImpossiblePlan("; ".join(wrong))
    return made


def _exactly(compiled: Compiled, schedule: Schedule, seed: int, budget_s: float) -> tuple[Schedule, int | None] | None:
    """The exact answer where it is at least as good."""
    if np.any(schedule.machine < 0):
        return None
    found = solve_exactly(
        compiled.problem,
        compiled.core,
        schedule,
        budget_s=budget_s,
        seed=seed,
        circuits=compiled.circuits,
        power=compiled.power,
    )
    if found is None or (found.cost > total_cost(compiled.core, schedule) and not compiled.circuits):
        return None
    return found.schedule, found.bound
