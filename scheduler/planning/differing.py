"""Two plans of one world as a difference: what is handed back instead of all placements again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from scheduler.planning.snapshot import Placement, Plan, ShopWeek, Term, Waiting


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What is other than in the plan before; applied to it, it gives the one after."""

    placements: tuple[Placement, ...]
    """New or moved."""
    waiting: tuple[Waiting, ...]
    """New, or for other reasons."""
    gone: tuple[str, ...]
    """Jobs that the plan no longer speaks of."""
    terms: tuple[Term, ...]
    bound: int | None
    engine: str
    seed: int
    wall_s: float
    moves: int | None = None
    epoch: datetime | None = None
    hours: tuple[ShopWeek, ...] = ()


NO_PLAN = Plan((), (), (), None, "none", 0, 0.0)


def plan_change(before: Plan, after: Plan) -> PlanChange:
    """What turns one plan into the other."""
    places = {placement.job: placement for placement in before.placements}
    waits = {waiting.job: waiting for waiting in before.waiting}
    now = {one.job for one in after.placements} | {one.job for one in after.waiting}
    return PlanChange(
        tuple(one for one in after.placements if places.get(one.job) != one),
        tuple(one for one in after.waiting if waits.get(one.job) != one),
        tuple(job for job in (*places, *waits) if job not in now),
        after.terms,
        after.bound,
        after.engine,
        after.seed,
        after.wall_s,
        after.moves,
        after.epoch,
        after.hours,
    )


def changed(before: Plan, change: PlanChange) -> Plan:
    """The plan after the change, placements by their start."""
    places = {placement.job: placement for placement in before.placements}
    waits = {waiting.job: waiting for waiting in before.waiting}
    for job in (*change.gone, *(one.job for one in change.waiting)):
        places.pop(job, None)
    for job in (*change.gone, *(one.job for one in change.placements)):
        waits.pop(job, None)
    places.update({placement.job: placement for placement in change.placements})
    waits.update({waiting.job: waiting for waiting in change.waiting})
    return replace(
        before,
        placements=tuple(sorted(places.values(), key=lambda placement: placement.start)),
        waiting=tuple(waits.values()),
        terms=change.terms,
        bound=change.bound,
        engine=change.engine,
        seed=change.seed,
        wall_s=change.wall_s,
        moves=change.moves,
        epoch=change.epoch,
        hours=change.hours,
    )
