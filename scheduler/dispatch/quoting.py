"""Quotes from the same planner as plans: where the asked order's jobs would go, beside everything that is accepted.

A planner that lives on says so without planning again; of a plain function the snapshot with those jobs in it is
planned, read and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import sqlalchemy as sa

from scheduler.dispatch.picture import Picture
from scheduler.orders import quotes
from scheduler.orders.quotes import Dates
from scheduler.planning.serving import Quotation
from scheduler.planning.snapshot import Placement, Plan, PlanJob, Snapshot


@runtime_checkable
class LivingPlanner(Protocol):
    """A planner that keeps its plan, and can say where jobs would go while it stays as it is."""

    def __call__(self, snapshot: Snapshot) -> Plan:
        """The plan for this snapshot."""
        ...

    def quote(self, snapshot: Snapshot, jobs: Sequence[PlanJob]) -> Quotation:
        """Where new jobs would be made together in this snapshot's plan."""
        ...


Planner = Callable[[Snapshot], Plan] | LivingPlanner


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan that is carried out, and the dates that orders without a yes were given beside it."""

    plan: Plan
    dates: dict[str, Dates] = field(default_factory=dict)


def plan_and_quote(planner: Planner, picture: Picture) -> Planned:
    """Plan what is accepted; then, for each order that asked for a date, the same with that order in it.

    One order at a time: a quote counts on what is accepted, not on what others only asked about.
    """
    plan = planner(picture.snapshot)
    return Planned(plan, {order: _dates(planner, picture, jobs) for order, jobs in picture.to_quote.items()})


def write_quotes(c: sa.Connection, planned: Planned, now: datetime) -> list[str]:
    """Keep the dates. Returns the orders that got one (or were told why not)."""
    return [order for order, dates in planned.dates.items() if quotes.give(c, order, dates, now)]


def _dates(planner: Planner, picture: Picture, jobs: Sequence[PlanJob]) -> Dates:
    shut = [job for job in jobs if not job.options]
    if shut or not jobs:
        return Dates(None, None, tuple(_why_not(picture, job.id) for job in shut) or ("it has nothing to be made",))
    asked = {job.id: job for job in jobs}
    told: Plan | Quotation
    if isinstance(planner, LivingPlanner):
        told = planner.quote(picture.snapshot, jobs)
    else:
        told = planner(replace(picture.snapshot, jobs=(*picture.snapshot.jobs, *jobs)))
    placed = [placement for placement in told.placements if placement.job in asked]
    if len(placed) < len(asked):
        why = tuple(f"job {wait.job}: {wait.why}" for wait in told.waiting if wait.job in asked)
        return Dates(None, None, why or ("no machine can take all of it",))
    p50 = max(_half(placement, asked[placement.job]) for placement in placed)
    p90 = max(placement.finish_p90 for placement in placed)
    said = [_said(placement) for placement in sorted(placed, key=lambda each: (each.start, each.job))]
    return Dates(min(p50, p90), p90, tuple(said))


def _half(placement: Placement, job: PlanJob) -> datetime:
    """The finish that half of such runs keep: the planned one counts on P80."""
    option = next((each for each in job.options if each.machine == placement.machine), job.options[0])
    return placement.start + timedelta(seconds=placement.setup_s + option.p50_s)


def _said(placement: Placement) -> str:
    start, finish = placement.start.strftime("%d %b %H:%M"), placement.finish_p90.strftime("%d %b %H:%M UTC")
    return f"on {placement.machine} from {start}, nine times in ten done by {finish}"


def _why_not(picture: Picture, job: str) -> str:
    said = sorted(set(picture.shut(job).values()))
    return "; ".join(said[:3]) or "no machine that is known can make it from this material"
