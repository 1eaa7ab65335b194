"""What is shown: typed answers to the questions of pages and programs, read in one consistent view each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from agents.contract.vocabulary import LEASED_STATES, JobState
from scheduler.api.homes import NONE, HomeView, homes_of
from scheduler.api.machine_views import MachineView as MachineView
from scheduler.api.machine_views import ShopView as ShopView
from scheduler.api.machine_views import machines_live as machines_live
from scheduler.api.machine_views import shops as shops
from scheduler.api.pieces import PieceView, QuoteView, pieces_of, pieces_on, quote_of
from scheduler.orders.progress import good_pieces
from scheduler.orders.recipes import read_body
from scheduler.planning.snapshot import Plan, ShopWeek
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.rows import EventRow, JobRow, OrderRow


@dataclass(frozen=True, slots=True)
class ShutMachine:
    """Why one machine does not take a job, and the cheapest change that would lift it."""

    machine: str
    checker: str
    text: str
    lift: str


@dataclass(frozen=True, slots=True)
class JobView:
    """One job."""

    id: str
    order: str
    title: str
    part: str
    pieces: int
    process: str
    material: str
    state: str
    since: datetime
    attempt: int
    fence: int
    machine: str | None
    progress: float
    line: int
    flag: str
    failure: str | None
    good: int
    rejected: int
    replaces: str | None
    machine_s: float
    started_at: datetime | None
    finished_at: datetime | None
    planned_start: datetime | None
    planned_finish: datetime | None
    reasons: tuple[str, ...]
    why: str
    waiting: tuple[ShutMachine, ...]
    home: HomeView = NONE
    """Who looks after it while the scheduler is away."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of the record."""

    id: int
    at: datetime
    kind: str
    job: str | None
    order: str | None
    machine: str | None
    agent: str | None
    fence: int | None
    from_state: str | None
    to_state: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolpathView:
    """How a job's toolpath came to be."""

    sha256: str
    made_by: str
    settings: str
    duration_s: float
    lines: int
    size_bytes: int
    material_g: float | None
    dialect: str
    work_card: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """One job with its history, placement and toolpath."""

    job: JobView
    history: tuple[EventView, ...]
    placement: dict[str, Any] | None
    toolpath: ToolpathView | None
    pieces: tuple[PieceView, ...] = ()


@dataclass(frozen=True, slots=True)
class PartView:
    """One part of an order: how many are wanted, and how many are good."""

    part: str
    quantity: int
    good: int
    process: str


@dataclass(frozen=True, slots=True)
class StepView:
    """One assembly step."""

    step: str
    instruction: str
    needs: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order; names only for those who may see them."""

    id: str
    design: str
    title: str
    state: str
    quantity: int
    need_class: str
    ring: str
    own_use: bool
    created_at: datetime
    accepted_at: datetime | None
    made_at: datetime | None
    handed_over_at: datetime | None
    due: datetime | None
    expected_finish: datetime | None
    requester: str
    delivery: str
    parts: tuple[PartView, ...]
    steps: tuple[StepView, ...]
    jobs: tuple[JobView, ...]
    pieces: tuple[PieceView, ...] = ()
    """Where its own pieces lie; jobs may carry those of others beside them."""
    promised: datetime | None = None
    quote: QuoteView | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of work on one machine, planned or going on."""

    job: str
    order: str
    title: str
    machine: str
    start: datetime
    finish: datetime
    finish_p90: datetime
    state: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class Gantt:
    """The newest plan as bars, and how good it is."""

    at: datetime | None
    engine: str
    cost: int | None
    bound: int | None
    bars: tuple[Bar, ...] = field(default_factory=tuple)
    hours: tuple[ShopWeek, ...] = ()
    """What people give, what is planned of it and what was asked, by shop and week; of shops whose people are known."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything in numbers. `jobs_in` equals the sum of the five that follow it, at every instant."""

    jobs_in: int
    done: int
    running: int
    waiting: int
    unmatched: int
    cancelled: int
    orders: dict[str, int]
    jobs: dict[str, int]
    machines: dict[str, int]
    agents_online: int
    agents: int


def job_views(c: sa.Connection, rows: Sequence[JobRow]) -> tuple[JobView, ...]:
    """These jobs for people, with who looks after each."""
    homes = homes_of(c, rows)
    return tuple(job_view(row, homes.get(row.id, NONE)) for row in rows)


def job_view(row: JobRow, home: HomeView = NONE) -> JobView:
    """One job for people."""
    body, placement, waiting = read_body(row.body), row.placement or {}, row.waiting or {}
    open_state = row.state in (JobState.WAITING, JobState.OFFERED) or row.state in LEASED_STATES
    return JobView(
        id=row.id,
        order=row.order,
        title=body.title,
        part=row.part,
        pieces=row.pieces,
        process=row.process,
        material=body.material,
        state=row.state.value,
        since=row.since,
        attempt=row.attempt,
        fence=row.fence,
        machine=f"{row.agent}.{row.machine}" if row.agent and row.machine else placement.get("machine"),
        progress=row.progress,
        line=row.line,
        flag=row.flag,
        failure=row.failure,
        good=row.good,
        rejected=row.rejected,
        replaces=row.replaces,
        machine_s=row.machine_s,
        started_at=row.started_at,
        finished_at=row.finished_at,
        planned_start=_moment(placement.get("start")) if open_state else None,
        planned_finish=_moment(placement.get("finish")) if open_state else None,
        reasons=tuple(placement.get("reasons", ())),
        why=waiting.get("why", "") or placement.get("not_yet", "") if row.state is JobState.WAITING else "",
        waiting=tuple(ShutMachine(**shut) for shut in waiting.get("machines", ()))
        if row.state is JobState.WAITING
        else (),
        home=home,
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def job_page(c: sa.Connection, row: JobRow) -> JobPage:
    """One job with everything known of it."""
    history = tuple(event_view(event) for event in queries.events(c, job=row.id, limit=2000))
    offer = c.execute(
        sa.select(t.offers.c.sha256).where(t.offers.c.job == row.id).order_by(t.offers.c.made_at.desc()).limit(1)
    ).scalar()
    toolpath = None if offer is None else queries.toolpath(c, offer)
    shown = None
    if toolpath is not None:
        wanted = ToolpathView.__dataclass_fields__
        shown = ToolpathView(**{name: getattr(toolpath, name) for name in wanted})
    return JobPage(job_views(c, [row])[0], history, row.placement, shown, pieces_on(c, row.id))


def event_view(row: EventRow) -> EventView:
    """One line of the record for people."""
    return EventView(**{name: getattr(row, name) for name in EventView.__dataclass_fields__})


def order_view(c: sa.Connection, row: OrderRow, *, names: bool) -> OrderView:
    """One order with parts, steps and jobs; `names` shows who asked for it."""
    jobs = job_views(c, queries.jobs(c, order=row.id))
    good = good_pieces(c, row.id)
    finishes = [job.planned_finish for job in jobs if job.planned_finish is not None]
    return OrderView(
        **{
            name: getattr(row, name)
            for name in ("id", "design", "title", "state", "quantity", "need_class", "ring", "own_use")
        },
        **{name: getattr(row, name) for name in ("created_at", "accepted_at", "made_at", "handed_over_at", "due")},
        expected_finish=max(finishes, default=None),
        requester=row.requester if names else "",
        delivery=row.delivery if names else "",
        parts=tuple(
            PartView(part["part"], part["quantity"], good.get(part["part"], 0), part["process"])
            for part in queries.order_parts(c, row.id)
        ),
        steps=tuple(
            StepView(step["step"], step["instruction"], tuple(step["needs"]), _step_state(step))
            for step in queries.order_steps(c, row.id)
        ),
        jobs=jobs,
        pieces=pieces_of(c, row.id),
        promised=row.promised,
        quote=quote_of(c, row.id),
    )


def _step_state(step: dict[str, Any]) -> str:
    if step["done_at"] is not None:
        return "done"
    return "open" if step["opened_at"] is not None else "shut"


def order_page(c: sa.Connection, order_id: str, *, names: bool = False) -> OrderView | None:
    """One order, or None."""
    row = queries.order(c, order_id)
    return None if row is None else order_view(c, row, names=names)


def queue_with_reasons(c: sa.Connection) -> tuple[JobView, ...]:
    """Every job that is not over, oldest first, with why it waits or why it is where it is."""
    return job_views(c, queries.open_jobs(c))


def plan_gantt(c: sa.Connection) -> Gantt:
    """The newest plan, with the titles of its jobs."""
    newest = queries.last_plan(c)
    if newest is None:
        return Gantt(None, "", None, None)
    at, body = newest
    plan = msgspec.convert(body["plan"], Plan)
    jobs = {job.id: job for job in queries.jobs(c, ids=[placement.job for placement in plan.placements])}
    bars = tuple(
        Bar(
            job=placement.job,
            order=jobs[placement.job].order,
            title=read_body(jobs[placement.job].body).title,
            machine=placement.machine,
            start=placement.start,
            finish=placement.finish,
            finish_p90=placement.finish_p90,
            state=jobs[placement.job].state.value,
            fixed=placement.fixed,
        )
        for placement in plan.placements
        if placement.job in jobs
    )
    return Gantt(at, plan.engine, plan.cost, plan.bound, bars, plan.hours)


def overview(c: sa.Connection) -> Overview:
    """Conservation in numbers: every job that came in is done, running, waiting, unmatched or cancelled."""
    jobs = queries.count_jobs(c)
    running = [JobState.OFFERED, *LEASED_STATES]
    waiting = sum(1 for job in queries.jobs(c, states=[JobState.WAITING]) if _has_a_chance(job))
    unmatched = jobs.get(JobState.WAITING, 0) - waiting + jobs.get(JobState.FAILED, 0)
    agents = queries.agents(c)
    return Overview(
        jobs_in=sum(jobs.values()),
        done=jobs.get(JobState.FINISHED, 0) + jobs.get(JobState.INSPECTED, 0),
        running=sum(jobs.get(state, 0) for state in running),
        waiting=waiting,
        unmatched=unmatched,
        cancelled=jobs.get(JobState.CANCELLED, 0),
        orders=_counted(order.state for order in queries.orders(c)),
        jobs=jobs,
        machines=_counted(machine.state for machine in queries.machines(c)),
        agents_online=sum(agent.online for agent in agents),
        agents=len(agents),
    )


def _has_a_chance(job: JobRow) -> bool:
    """A waiting job is unmatched once a plan said that no machine can take it."""
    return job.placement is not None or job.waiting is None or not (job.waiting.get("machines") or job.flag)


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
