"""What happens to a plan that the independent checker refuses: it never leaves, and what is possible of it does.

A refusal is a defect of an engine, and is logged as one; but a network must not stand still for it. The jobs to blame,
and those that need their parts, wait with the checker's sentence as their reason. Work that is fixed always stays.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from scheduler.planning.checker import faults
from scheduler.planning.faults import Fault
from scheduler.planning.objective import sums
from scheduler.planning.snapshot import Plan, Snapshot, Waiting

_log: Final = logging.getLogger(__name__)

#: Rounds of taking out the jobs to blame; afterwards everything that is not fixed waits.
ROUNDS: Final = 8
#: Said behind the engine's name of a plan from which something had to be taken out.
CORRECTED: Final = ", corrected"


def only_possible(snapshot: Snapshot, plan: Plan, only: Collection[str] | None = None) -> Plan:
    """The plan itself where the checker accepts it, else what remains of it when the jobs to blame wait.

    `only`: machines on which anything has changed since the rest was accepted; None: all.
    """
    found = faults(snapshot, plan, only)
    if not found:
        return plan
    _log.error("the %s engine made an impossible plan: %s", plan.engine, "; ".join(fault.text for fault in found[:5]))
    made = replace(plan, engine=plan.engine + CORRECTED, bound=None)
    for _ in range(ROUNDS):
        if any(not fault.job for fault in found):
            break
        made = _without(snapshot, made, {fault.job: fault.text for fault in reversed(found)})
        found = faults(snapshot, made)
        if not found:
            return made
    return _only_fixed(snapshot, made, found)


def _without(snapshot: Snapshot, plan: Plan, blamed: dict[str, str]) -> Plan:
    """The blamed jobs wait, and those that need their parts with them."""
    fixed = {job.id for job in snapshot.jobs if job.fixed is not None}
    whys = {job: f"its place was refused by the planner's own check: {text}" for job, text in blamed.items()}
    changed = True
    while changed:
        changed = False
        for job in snapshot.jobs:
            missing = next((before for before in job.predecessors if before in whys), None)
            if missing is not None and job.id not in whys and job.id not in fixed:
                whys[job.id] = f"it needs the part of job {missing}, which waits itself"
                changed = True
    placements = tuple(placement for placement in plan.placements if placement.job not in whys)
    gone = [placement.job for placement in plan.placements if placement.job in whys]
    waiting = (*plan.waiting, *(Waiting(job, whys[job]) for job in gone))
    return replace(plan, placements=placements, waiting=waiting, terms=sums([one.terms for one in placements]))


def _only_fixed(snapshot: Snapshot, plan: Plan, found: list[Fault]) -> Plan:
    """Every job answered once: fixed work where it is, all else waiting."""
    why = f"the plan was refused by the planner's own check: {found[0].text}"
    fixed = {job.id: job.fixed.machine for job in snapshot.jobs if job.fixed is not None}
    stays = {one.job: one for one in plan.placements if fixed.get(one.job) == one.machine}
    said = {waiting.job: waiting for waiting in plan.waiting if waiting.why}
    waiting = tuple(said.get(job.id, Waiting(job.id, why)) for job in snapshot.jobs if job.id not in stays)
    placements = tuple(stays.values())
    return replace(plan, placements=placements, waiting=waiting, terms=sums([one.terms for one in placements]))
