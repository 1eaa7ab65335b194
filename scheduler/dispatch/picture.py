"""What the planner is shown: a read of the database at one instant, and why the jobs it is not shown must wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract.messages import MachineReport
from agents.contract.vocabulary import (
    LEASED_STATES,
    MOTION_STATES,
    JobState,
    Process,
)
from designs.processes.materials import canonical
from scheduler.dispatch.actions import quarantined
from scheduler.dispatch.fairness import pressures
from scheduler.dispatch.lending import doubted
from scheduler.dispatch.limits import Limits
from scheduler.dispatch.plan_machines import REQUESTERS, circuits, crews, legs, offered, plan_machines
from scheduler.dispatch.plan_machines import SeenMachine as SeenMachine
from scheduler.dispatch.remaining import Place, held_places
from scheduler.dispatch.reservations import reserved_windows
from scheduler.dispatch.wanted import MAKING, Wanted, find_toolpaths
from scheduler.orders import urgency
from scheduler.orders.outcomes import REMEMBERED, Learned
from scheduler.orders.progress import GOING_STATES, OrderState
from scheduler.orders.quotes import due_for_a_quote
from scheduler.orders.recipes import JobBody, read_body
from scheduler.planning.snapshot import (
    Carbon,
    Declined,
    DurationOption,
    Fixed,
    MaterialNeed,
    PlanJob,
    PlanPolicy,
    Snapshot,
)
from scheduler.store import content_queries, queries
from scheduler.store.content_queries import LineRow
from scheduler.store.rows import JobRow, OrderRow, ToolpathRow

#: No toolpath known: the longest stretch assumed for a job that is already under way.
_UNKNOWN_S: Final = 3600.0
#: Each quote is a plan of its own; the others wait for the next turn.
_QUOTED_AT_ONCE: Final = 3
#: Why a job is not planned yet: it has no toolpath at all.
BEING_MADE: Final = "its toolpaths are being made"


@dataclass(slots=True)
class Picture:
    """One instant: the snapshot, and what dispatch needs to turn the plan into offers."""

    snapshot: Snapshot
    machines: dict[str, SeenMachine]
    jobs: dict[str, JobRow]
    orders: dict[str, OrderRow]
    wanted: Wanted = field(default_factory=Wanted)
    """Toolpaths of waiting jobs: made, being made, impossible."""
    lines: dict[str, list[LineRow]] = field(default_factory=dict)
    """Whose pieces lie on each job."""
    learned: Learned = field(default_factory=Learned)
    held_back: dict[str, str] = field(default_factory=dict)
    """Waiting jobs that the planner was not shown, and why."""
    in_doubt: frozenset[str] = frozenset()
    """Of these, jobs that wait for the book of their home."""
    to_quote: dict[str, tuple[PlanJob, ...]] = field(default_factory=dict)
    """Orders that wait for a date, with their jobs as the planner would see them."""

    def toolpaths(self, job: str) -> dict[str, ToolpathRow]:
        """The job's toolpaths that are made, by machine key."""
        return self.wanted.made.get(job, {})

    def shut(self, job: str) -> dict[str, str]:
        """Why the job has no toolpath, by machine key."""
        return self.wanted.shut.get(job, {})


def seen_machines(c: sa.Connection, agents_of: Sequence[str] | None = None) -> dict[str, SeenMachine]:
    """Machines with their reports, by key: all, or those of some agents."""
    agents = {row.id: row for row in queries.agents(c, agents_of)}
    return {
        row.key: SeenMachine(row, msgspec.convert(row.report, MachineReport), agents[row.agent])
        for row in queries.machines(c, agents=agents_of)
    }


def take_picture(
    c: sa.Connection, now: datetime, limits: Limits, policy: PlanPolicy, carbon: tuple[Carbon, ...] = ()
) -> Picture:
    """Read everything a plan depends on. `carbon`: how clean shops' current is, where somebody declared it."""
    machines = seen_machines(c)
    jobs = {job.id: job for job in queries.open_jobs(c)}
    orders = {order.id: order for order in queries.orders(c)} if jobs else {}
    picture = Picture(Snapshot(now, (), ()), machines, jobs, orders)
    picture.lines = content_queries.lines_of_jobs(c, jobs)
    remembered = content_queries.outcomes(c, since=now - REMEMBERED)
    picture.learned = Learned(remembered)
    waiting = [job for job in jobs.values() if job.state is JobState.WAITING]
    picture.wanted = find_toolpaths(c, machines, waiting, picture.lines)
    declined = _declined(c, now)
    in_doubt = doubted(c)
    picture.in_doubt = frozenset(in_doubt)
    files = quarantined(c)
    plan_jobs: list[PlanJob] = []
    places = held_places(c)
    for job in jobs.values():
        if job.state is JobState.OFFERED or job.state in LEASED_STATES:
            plan_jobs.append(_fixed_job(job, picture, places.get(job.id), now))
        elif job.state is JobState.WAITING:
            why = in_doubt.get(job.id) or _held_back(job, files, picture)
            if why:
                picture.held_back[job.id] = why
            else:
                plan_jobs.append(_waiting_job(job, picture, declined.get(job.id, ()), now))
    picture.to_quote = _to_quote(c, picture, waiting, now)
    seen = list(machines.values())
    picture.snapshot = Snapshot(
        now,
        plan_machines(machines, picture.learned, now, reserved_windows(c, now)),
        tuple(plan_jobs),
        policy,
        legs=legs(seen),
        circuits=circuits(seen),
        pressures=pressures(remembered, offered(seen, now), now),
        crews=crews(seen, remembered, now),
        carbon=carbon,
    )
    return picture


def _to_quote(
    c: sa.Connection, picture: Picture, waiting: Sequence[JobRow], now: datetime
) -> dict[str, tuple[PlanJob, ...]]:
    """An order is quoted once none of its toolpaths is being made any more."""
    found = {}
    for order in due_for_a_quote(c, now):
        own = [job for job in waiting if job.order == order]
        if not any(why == MAKING for job in own for why in picture.shut(job.id).values()):
            found[order] = tuple(_waiting_job(job, picture, (), now) for job in own)
        if len(found) == _QUOTED_AT_ONCE:
            break
    return found


def orders_of(picture: Picture, job: JobRow) -> list[OrderRow]:
    """The orders that want something of the job; the one it goes by where nobody does any more."""
    wanted = sorted({line.order for line in picture.lines.get(job.id, ()) if line.unwanted_at is None})
    return [picture.orders[order] for order in wanted or [job.order]]


def _held_back(job: JobRow, files: set[str], picture: Picture) -> str:
    for order in orders_of(picture, job):
        if OrderState(order.state) not in GOING_STATES:
            return f"the order is {order.state.replace('_', ' ')}, not accepted yet"
    if job.flag:
        return job.flag
    if job.file_key in files:
        return "the file failed on two machines: it is quarantined until a person has looked at it"
    making = MAKING in picture.shut(job.id).values()
    return BEING_MADE if making and not picture.toolpaths(job.id) else ""


def _declined(c: sa.Connection, now: datetime) -> dict[str, tuple[Declined, ...]]:
    found: dict[str, list[Declined]] = {}
    for job, machine, until, reasons in queries.declines_in_force(c, now):
        found.setdefault(job, []).append(Declined(machine, until, tuple(reasons)))
    return {job: tuple(declines) for job, declines in found.items()}


def _need(body: JobBody, amount_g: float | None) -> MaterialNeed:
    return MaterialNeed(canonical(body.material), body.colour, body.thickness_mm, amount_g)


def _waiting_job(job: JobRow, picture: Picture, declined: tuple[Declined, ...], now: datetime) -> PlanJob:
    body, orders = read_body(job.body), orders_of(picture, job)
    own = picture.toolpaths(job.id)
    amounts = [row.material_g for row in own.values() if row.material_g is not None]
    previous = (job.placement or {}).get("machine")
    return PlanJob(
        id=job.id,
        order=job.order,
        process=Process(job.process),
        options=tuple(_option(picture, job, key, row) for key, row in own.items()),
        need=_need(body, max(amounts, default=None)),
        release=job.not_before if job.not_before is not None and job.not_before > now else None,
        **_pressing(orders, now),
        declined=declined,
        own_shop=body.own_shop,
        previous_machine=previous if isinstance(previous, str) else None,
    )


def _pressing(orders: Sequence[OrderRow], now: datetime) -> dict[str, Any]:
    """Date, class, aged weight and promise of a job, from all whose pieces lie on it."""
    return {
        "due": urgency.earliest(urgency.date_of(order) for order in orders),
        "need_class": urgency.most_pressing(orders),
        "weight": sum(urgency.weight(order, now) for order in orders),
        "ring": urgency.narrowest(orders),
        "promised": urgency.earliest(order.promised for order in orders),
        "delivery": REQUESTERS,
    }


def _option(picture: Picture, job: JobRow, key: str, toolpath: ToolpathRow) -> DurationOption:
    """How long the toolpath takes on this machine, by its estimate and by what was learned."""
    row = picture.machines[key].row
    return picture.learned.option(job.file_key, row.model, row.shop, toolpath.duration_s, key)


def _fixed_job(job: JobRow, picture: Picture, place: Place | None, now: datetime) -> PlanJob:
    """A job that is offered, leased or running keeps its machine; how long it still takes follows its progress."""
    body, orders = read_body(job.body), orders_of(picture, job)
    machine = "" if place is None else place.machine
    offer = None if place is None else place.offer
    toolpath = None if place is None else place.toolpath
    if toolpath is not None:
        picture.wanted.made.setdefault(job.id, {})[machine] = toolpath
    option = DurationOption(p50_s=_UNKNOWN_S, machine=machine or None)
    if toolpath is not None and machine in picture.machines:
        option = _option(picture, job, machine, toolpath)
    whole_s = option.p50_s
    moving = job.state in MOTION_STATES
    start = (job.started_at or job.since) if moving else max(now, offer.planned_start if offer else now)
    left_s = whole_s * (1.0 - job.progress) if moving else whole_s
    finish = max(now, start) + timedelta(seconds=max(1.0, left_s))
    return PlanJob(
        id=job.id,
        order=job.order,
        process=Process(job.process),
        options=(option,),
        need=_need(body, None),
        **_pressing(orders, now),
        own_shop=body.own_shop,
        fixed=Fixed(machine, start, finish, job.state.value),
    )
