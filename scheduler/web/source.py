"""From the API's own views to what the pages show: one consistent read a second, shared by everybody who looks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.api import views
from scheduler.clock import Clock
from scheduler.store import Store, content_queries, queries
from scheduler.web import gantt
from scheduler.web.clocks import own_zone
from scheduler.web.models import (
    BarShown,
    GateShown,
    HoursShown,
    JobShown,
    MachineShown,
    OffcutShown,
    OrderDetail,
    OrderShown,
    Overview,
    PartShown,
    Reason,
    StepShown,
    StretchShown,
)
from scheduler.web.words import KEPT_WORDS, STALE_AFTER

#: Orders in the list of the first page, newest first; the rest stand on the page of all orders.
ORDERS_SHOWN: Final = 12
QUEUE_SHOWN: Final = 60
#: Runs that ended longer ago are not in the schedule any more.
DONE_SHOWN_FOR: Final = timedelta(hours=2)
#: Reservations and maintenance that begin later are not on the pages yet.
KEPT_SHOWN_FOR: Final = timedelta(days=7)
#: A gap smaller than this is the plan's rounding, not somebody who is missing.
_GAP_SHOWN_S: Final = 360.0
_WEEK: Final = timedelta(days=7)
_FRESH_S: Final = 0.9
_DONE: Final = frozenset({JobState.FINISHED.value, JobState.INSPECTED.value})
_PLANNED: Final = frozenset({"waiting", "offered", "leased", "staged", "ready"})
_MOVING: Final = frozenset({"starting", "running", "held"})


class Source:
    """Reads the store for the pages; at most one overview a second however many look."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._overview: Overview | None = None

    def now(self) -> datetime:
        """The scheduler's time, in the server's own zone, as people here read it."""
        return self._clock.now().astimezone(own_zone())

    def overview(self) -> Overview:
        """All of the first page."""
        with self._lock:
            moment = self._clock.now().timestamp()
            if self._overview is None or self._read_at is None or not 0 <= moment - self._read_at < _FRESH_S:
                with self._store.read() as c:
                    self._overview, self._read_at = read_overview(c, self._clock.now()), moment
            return self._overview

    def order(self, order: str) -> OrderDetail | None:
        """One order's page; None for an unknown one."""
        with self._store.read() as c:
            return read_order(c, order, self._clock.now())

    def orders(self, limit: int = 200) -> tuple[OrderShown, ...]:
        """The newest orders."""
        with self._store.read() as c:
            return tuple(_order(c, row) for row in _newest_orders(c, limit))


def read_offcuts(c: sa.Connection) -> tuple[OffcutShown, ...]:
    """What lies on the shops' shelves for the next job that fits on it."""
    return tuple(
        OffcutShown(row.id, row.shop, f"{row.material}, {row.thickness_mm or 0:g} mm, {row.area_mm2 / 100:.0f} cm²")
        for row in content_queries.remnants(c, states=["available", "in_doubt"])
    )


def read_overview(c: sa.Connection, now: datetime) -> Overview:
    """Everything of the first page in one read."""
    machines = views.machines_live(c)
    names = {machine.id: machine.name for machine in machines}
    orders = {row.id: row for row in queries.orders(c)}
    jobs = views.queue_with_reasons(c)
    titles = {job.id: f"{job.pieces} × {job.title}" if job.pieces > 1 else job.title for job in jobs}
    plan = views.plan_gantt(c)
    remaining = {bar.job: bar.finish for bar in plan.bars}
    # A machine's own word comes more often than a job's progress is recorded; one page must not say both.
    newest = {machine.job: machine.progress for machine in machines if machine.job and machine.progress}
    shown = tuple(_machine(machine, titles, remaining, now) for machine in machines)
    return Overview(
        orders=tuple(_order(c, row, newest) for row in _newest_orders(c, ORDERS_SHOWN)),
        queue=tuple(
            replace(shown, progress=max(shown.progress, newest.get(shown.job, 0.0)))
            for shown in (_job(job, orders.get(job.order), names) for job in jobs[:QUEUE_SHOWN])
        ),
        machines=shown,
        bars=_with_kept(_bars(c, plan, names, now), shown, now),
        lanes=tuple(names.values()),
        planned_at=plan.at,
        plan_note=plan.engine,
        hours=_hours(plan, now),
    )


def _hours(plan: views.Gantt, now: datetime) -> tuple[HoursShown, ...]:
    """This week and those to come, of shops whose people are too few first."""
    shown = [
        HoursShown(one.shop, one.week, one.given_s, one.planned_s, _missing_s(one.asked_s - one.planned_s))
        for one in plan.hours
        if one.week + _WEEK > now
    ]
    short = {one.shop for one in shown if one.missing_s}
    return tuple(sorted(shown, key=lambda one: (one.shop not in short, one.shop, one.week)))


def _missing_s(seconds: float) -> float:
    return seconds if seconds >= _GAP_SHOWN_S else 0.0


def read_order(c: sa.Connection, order: str, now: datetime) -> OrderDetail | None:
    """All of one order's page."""
    row = queries.order(c, order)
    if row is None:
        return None
    view = views.order_view(c, row, names=False)
    names = {machine.id: machine.name for machine in views.machines_live(c)}
    made_by: dict[str, str] = {}
    runs: dict[str, float] = {}
    for job_row in queries.jobs(c, order=order):
        toolpath = views.job_page(c, job_row).toolpath
        if toolpath is not None:
            made_by[job_row.id] = f"{toolpath.made_by}, {toolpath.settings}"
            runs[job_row.id] = toolpath.duration_s
    shared: Counter[str] = Counter()
    for piece in view.pieces:  # a line for each part
        if piece.orders_on_job > 1:
            shared[piece.job] += piece.pieces
    return OrderDetail(
        order=_order(c, row),
        expected=view.expected_finish,
        parts=tuple(PartShown(part.part, part.quantity, part.good, part.process) for part in view.parts),
        steps=tuple(StepShown(step.step, step.instruction, step.needs, step.state) for step in view.steps),
        jobs=tuple(_job(job, row, names, made_by.get(job.id, ""), runs.get(job.id)) for job in view.jobs),
        accepted=view.accepted_at,
        made=view.made_at,
        handed_over=view.handed_over_at,
        quoted=None if view.quote is None else view.quote.finish_p90,
        quoted_until=None if view.quote is None else view.quote.valid_until,
        quote_why="" if view.quote is None or view.quote.finish_p90 else "; ".join(view.quote.reasons),
        promised=view.promised,
        shared=tuple(shared.items()),
    )


def _newest_orders(c: sa.Connection, limit: int) -> Sequence[Any]:
    return sorted(queries.orders(c), key=lambda row: row.created_at, reverse=True)[:limit]


def _order(c: sa.Connection, row: Any, newest: Mapping[str, float] | None = None) -> OrderShown:
    jobs = [job for job in queries.jobs(c, order=row.id) if job.state is not JobState.CANCELLED]
    done = sum(job.state.value in _DONE for job in jobs)
    heard = newest or {}
    shares = [1.0 if job.state.value in _DONE else max(job.progress, heard.get(job.id, 0.0)) for job in jobs]
    share = sum(shares) / len(shares) if shares else 0.0
    return OrderShown(
        order=row.id,
        title=row.title,
        state=row.state,
        need=row.need_class,
        ring=row.ring,
        quantity=row.quantity,
        created=row.created_at,
        due=row.due,
        jobs=len(jobs),
        jobs_done=done,
        progress=round(share, 3),
    )


def _job(
    job: views.JobView, order: Any | None, names: Mapping[str, str], made_by: str = "", run_s: float | None = None
) -> JobShown:
    machine = names.get(job.machine or "", "")
    shop = (job.machine or "").split(".")[0] if machine else ""
    reasons = _reasons(job, names)
    return JobShown(
        job=job.id,
        order=job.order,
        title=job.title,
        part=job.part,
        pieces=job.pieces,
        process=job.process,
        material=job.material,
        state=job.state,
        need=getattr(order, "need_class", ""),
        ring=getattr(order, "ring", ""),
        since=job.since,
        machine=machine,
        shop=shop,
        progress=job.progress,
        planned_start=job.planned_start,
        planned_finish=job.planned_finish,
        reasons=tuple(reasons),
        placement=job.reasons,
        flag=job.flag,
        made_by=made_by,
        run_s=run_s,
        attempt=job.attempt,
        good=job.good,
        rejected=job.rejected,
        home=job.home.home.split(".")[0],
        doubt=job.home.doubt,
        homeless=job.home.missing,
    )


def _reasons(job: views.JobView, names: Mapping[str, str]) -> list[Reason]:
    """Why it waits: machine by machine, or once where it is the same everywhere."""
    said = {(shut.text, shut.lift) for shut in job.waiting}
    if len(said) == 1 and (len(job.waiting) > 1 or job.waiting[0].text == job.why):
        ((why, lift),) = said
        return [] if why == job.home.doubt else [Reason("" if why == job.why else "Every machine", why, lift)]
    if job.waiting:
        return [Reason(names.get(shut.machine, shut.machine), shut.text, shut.lift) for shut in job.waiting]
    return [Reason("", job.why)] if job.why and job.why != job.home.doubt else []


def _machine(
    machine: views.MachineView, titles: Mapping[str, str], finishes: Mapping[str, datetime], now: datetime
) -> MachineShown:
    stale = machine.stale or (machine.state == "running" and now - machine.heard_at > STALE_AFTER)
    return MachineShown(
        machine=machine.id,
        shop=machine.shop,
        name=machine.name,
        process=machine.process,
        state=machine.state,
        why=machine.quarantine or machine.why,
        stale=stale,
        heard_at=machine.heard_at if stale else None,
        materials=tuple(_material(loaded) for loaded in machine.materials),
        job=machine.job or "",
        job_title=titles.get(machine.job or "", ""),
        progress=machine.progress,
        person_present=machine.person_present,
        gates=tuple(GateShown(gate["gate"], gate.get("why", ""), gate.get("lift", "")) for gate in machine.shut_gates),
        expected=finishes.get(machine.job or ""),
        kept=_kept(machine, now),
        attended_from=_attended_from(machine, now),
        accepts_pool=machine.accepts_pool_work,
        zone=machine.timezone,
    )


def _kept(machine: views.MachineView, now: datetime) -> tuple[StretchShown, ...]:
    reserved = [StretchShown("reserved", one.start, one.end, one.why) for one in machine.reserved]
    down = [StretchShown("maintenance", start, end) for start, end in machine.maintenance]
    coming = [one for one in (*reserved, *down) if one.end > now and one.start < now + KEPT_SHOWN_FOR]
    return tuple(sorted(coming, key=lambda one: (one.start, one.kind)))


def _attended_from(machine: views.MachineView, now: datetime) -> datetime | None:
    """When somebody comes, where nobody is there now by the shop's own hours."""
    if machine.person_present or any(start <= now < end for start, end in machine.attended_hours):
        return None
    return min((start for start, _ in machine.attended_hours if start > now), default=None)


def _material(loaded: Mapping[str, Any]) -> str:
    words = [f"{loaded['thickness_mm']:g} mm" if loaded.get("thickness_mm") else "", loaded.get("colour", "")]
    words.append(loaded["material"])
    text = " ".join(word for word in words if word)
    if loaded.get("width_mm") and loaded.get("height_mm"):
        return f"{text}, {loaded['width_mm']:g} × {loaded['height_mm']:g} mm"
    return f"{text}, {loaded['remaining_g']:.0f} g" if loaded.get("remaining_g") else text


def _with_kept(bars: tuple[BarShown, ...], machines: Sequence[MachineShown], now: datetime) -> tuple[BarShown, ...]:
    """The bars, behind them what keeps each machine, so far ahead as the plan goes."""
    until = max([now + gantt.KEPT_DRAWN_FOR, *(bar.end for bar in bars)])
    kept = [
        BarShown(machine.name, "", KEPT_WORDS[one.kind], machine.process, one.kind, one.start, one.end)
        for machine in machines
        for one in machine.kept
        if one.start < until
    ]
    return (*kept, *bars)


def _bars(c: sa.Connection, plan: views.Gantt, names: Mapping[str, str], now: datetime) -> tuple[BarShown, ...]:
    """What keeps machines, done and running runs as they were, then the plan for the rest."""
    planned = {bar.job: bar for bar in plan.bars}
    bars: list[BarShown] = []
    for row in queries.jobs(c):
        if row.started_at is None or row.agent is None:
            continue
        lane, state = names.get(f"{row.agent}.{row.machine}", ""), row.state.value
        job = views.job_view(row)
        if row.finished_at is not None and row.finished_at > now - DONE_SHOWN_FOR and state in _DONE:
            bars.append(BarShown(lane, row.id, job.title, row.process, "done", row.started_at, row.finished_at))
        elif state in _MOVING:
            bar = planned.get(row.id)
            end = max(bar.finish, row.started_at) if bar is not None else row.started_at
            latest = bar.finish_p90 if bar is not None else None
            bars.append(BarShown(lane, row.id, job.title, row.process, "running", row.started_at, end, latest))
    processes = {row.id: row.process for row in queries.jobs(c, ids=list(planned))}
    shown = {bar.job for bar in bars}
    for bar in plan.bars:
        if bar.job not in shown and bar.state in _PLANNED:
            lane = names.get(bar.machine, bar.machine)
            kind = processes.get(bar.job, "manual")
            bars.append(BarShown(lane, bar.job, bar.title, kind, "planned", bar.start, bar.finish, bar.finish_p90))
    return tuple(bars)
