"""From a plan to offers: which placements are due now, to whom, and what is said about why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import MOTION_STATES, JobState, MachineState, Process
from scheduler.dispatch.actions import NewOffer
from scheduler.dispatch.hearing import hearing
from scheduler.dispatch.limits import Limits
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import Picture, SeenMachine, orders_of
from scheduler.dispatch.states import JobEvent
from scheduler.orders import urgency
from scheduler.orders.cards import work_card
from scheduler.orders.progress import GOING_STATES, OrderState
from scheduler.orders.recipes import matching_material, read_body
from scheduler.planning.snapshot import Placement, Plan, Waiting
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.content_queries import LineRow
from scheduler.store.rows import JobRow, ToolpathRow

#: A machine in one of these may be offered work.
OFFERABLE_STATES: Final = frozenset({MachineState.IDLE, MachineState.OCCUPIED, MachineState.RUNNING, MachineState.HELD})
_PLANS_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Reach:
    """How toolpaths are reached over HTTP, and which term this scheduler is in."""

    toolpath_url: str
    term: int


def keep_plan(c: sa.Connection, picture: Picture, plan: Plan, now: datetime) -> int:
    """Keep the plan beside the snapshot it was made from, so that it can be made again; returns its number."""
    body = {"snapshot": msgspec.to_builtins(picture.snapshot), "plan": msgspec.to_builtins(plan)}
    number = c.execute(sa.insert(t.plans).values(at=now, body=body)).inserted_primary_key
    latest = int(number[0]) if number is not None else 0
    c.execute(sa.delete(t.plans).where(t.plans.c.id <= latest - _PLANS_KEPT))
    return latest


def carry_out(c: sa.Connection, mover: Mover, picture: Picture, plan: Plan, now: datetime, reach: Reach) -> list[str]:
    """Store placements and reasons, and offer what is due. Returns the jobs offered.

    The plan was made from an older instant: whatever moved since is left alone.
    """
    number = keep_plan(c, picture, plan, now)
    jobs = {job.id: job for job in queries.jobs(c, states=[JobState.WAITING])}
    _store_waiting(c, picture, plan, jobs)
    room = _room(c, mover.limits)
    unheard = _unheard(c, now, mover.limits)
    offered: list[str] = []
    for placement in sorted(plan.placements, key=lambda placement: (placement.start, placement.job)):
        job = jobs.get(placement.job)
        if job is None or placement.fixed or job.version != picture.jobs[job.id].version:
            continue
        machine = picture.machines[placement.machine]
        not_yet = unheard or _not_yet(machine, placement, room[placement.machine], now, mover.limits, reach.term)
        room[placement.machine] -= 1
        placed = {**_placement(placement, plan, number), "not_yet": not_yet}
        queries.update_job(c, job, {"placement": placed, "waiting": None})
        if not_yet:
            continue
        job = queries.job(c, job.id) or job
        message = _offer(job, picture, machine, placement, plan, reach)
        happening = Happening(
            JobEvent.OFFERED,
            now,
            agent=machine.row.agent,
            machine=machine.row.machine,
            offer=NewOffer(machine.row.agent, message),
            body={"offer": message.offer, "planned_start": placement.start.isoformat()},
        )
        mover.move(c, job, happening)
        offered.append(job.id)
    return offered


def _unheard(c: sa.Connection, now: datetime, limits: Limits) -> str:
    """Just after a start: until all have spoken, work that one of them did might be offered to another."""
    going_on = hearing(c, limits, now)
    if going_on is None:
        return ""
    return f"the scheduler came just now, and {going_on.silent[0]} has not said yet what it holds"


def _not_yet(machine: SeenMachine, placement: Placement, room: int, now: datetime, limits: Limits, term: int) -> str:
    """Why a job that has a place is not offered now; empty when it is."""
    minutes = round(limits.ahead.total_seconds() / 60)
    whys = (
        (room <= 0, f"{machine.key} is not given more than {limits.queue_per_machine} that has not begun at a time"),
        (not machine.agent.online, f"the agent of {machine.key} is not connected"),
        (machine.agent.holdings_term != term, f"the agent of {machine.key} has not said yet what it holds"),
        (machine.row.quarantined_at is not None, f"{machine.key} is quarantined: a person must release it"),
        (machine.report.state not in OFFERABLE_STATES, f"{machine.key} is in state {machine.report.state}"),
        (placement.start - now > limits.ahead, f"its turn is more than {minutes} minutes away"),
    )
    return next((why for shut, why in whys if shut), "")


def _room(c: sa.Connection, limits: Limits) -> Counter[str]:
    """How many more jobs each machine may hold that have not begun."""
    moving = {job.id for job in queries.jobs(c, states=MOTION_STATES)}
    room: Counter[str] = Counter({row.key: limits.queue_per_machine for row in queries.machines(c)})
    for lease in queries.live_leases(c):
        if lease.job not in moving:
            room[f"{lease.agent}.{lease.machine}"] -= 1
    for offer in queries.open_offers(c):
        room[f"{offer.agent}.{offer.machine}"] -= 1
    return room


def _placement(placement: Placement, plan: Plan, number: int) -> dict[str, Any]:
    return {
        "plan": number,
        "engine": plan.engine,
        "seed": plan.seed,
        "machine": placement.machine,
        "start": placement.start.isoformat(),
        "finish": placement.finish.isoformat(),
        "finish_p90": placement.finish_p90.isoformat(),
        "setup_s": placement.setup_s,
        "terms": [{"name": term.name, "value": term.value} for term in placement.terms],
        "best_rejected": None
        if placement.best_rejected is None
        else {
            **msgspec.to_builtins(placement.best_rejected),
            "cost": placement.best_rejected.cost,
        },
        "reasons": list(reasons(placement)),
    }


def reasons(placement: Placement) -> tuple[str, ...]:
    """Why this machine, in sentences: the terms that cost something, and what the next best would have cost."""
    costly = [f"{term.name.replace('_', ' ')} {term.value / 100:.1f}" for term in placement.terms if term.value]
    said = ["cost in weight-minutes: " + (", ".join(costly) or "none")]
    other = placement.best_rejected
    if other is not None:
        more = (other.cost - placement.cost) / 100
        start = other.start.strftime("%H:%M UTC")
        said.append(f"next best {other.machine} at {start} would cost {more:.1f} more")
    else:
        said.append("no other machine can take it")
    return tuple(said)


def _store_waiting(c: sa.Connection, picture: Picture, plan: Plan, jobs: dict[str, JobRow]) -> None:
    for waiting in plan.waiting:
        _write_waiting(c, jobs.get(waiting.job), _reasons_of(picture, waiting))
    for job_id, why in picture.held_back.items():
        job = jobs.get(job_id)
        if job is not None:
            _write_waiting(c, job, {"why": why, "machines": _held_back(picture, job, why)})


def _held_back(picture: Picture, job: JobRow, why: str) -> list[dict[str, str]]:
    """Every machine of the job's kind: what keeps it out there, which is for most the same, and what would lift it."""
    lift = "look at it, then release the job" if job.flag or "quarantined" in why else ""
    if any(OrderState(order.state) not in GOING_STATES for order in orders_of(picture, job)):
        lift = "accept the order"
    found = []
    for key, machine in picture.machines.items():
        text = picture.shut.get((job.id, key))
        if text is not None:
            found.append({"machine": key, "checker": "toolpath", "text": text, "lift": ""})
        elif machine.row.process == job.process:
            found.append({"machine": key, "checker": "job", "text": why, "lift": lift})
    return found


def _reasons_of(picture: Picture, waiting: Waiting) -> dict[str, Any]:
    """The planner's first failing checker per machine; where a toolpath is missing, why it is."""
    machines = []
    for shut in waiting.machines:
        text = shut.text
        if shut.checker == "toolpath":
            text = picture.shut.get((waiting.job, shut.machine), text)
        machines.append({"machine": shut.machine, "checker": shut.checker, "text": text, "lift": shut.lift})
    return {"why": waiting.why, "machines": machines}


def _write_waiting(c: sa.Connection, job: JobRow | None, body: dict[str, Any]) -> None:
    if job is not None and job.waiting != body:
        c.execute(sa.update(t.jobs).where(t.jobs.c.id == job.id).values(waiting=body, placement=None))


def _offer(
    job: JobRow, picture: Picture, machine: SeenMachine, placement: Placement, plan: Plan, reach: Reach
) -> m.Offer:
    toolpath = picture.toolpaths[job.id, placement.machine]
    name = hashlib.sha256(f"{job.id}/{job.version}/{reach.term}".encode()).hexdigest()[:16]
    return m.Offer(
        offer=f"f{name}",
        attempt=job.attempt,
        machine=machine.row.machine,
        ticket=ticket_of(job, picture, machine, toolpath),
        toolpath=toolpath_ref(toolpath, [reach.toolpath_url]),
        planned_start=placement.start,
        planned_finish=placement.finish,
        finish_p90=placement.finish_p90,
        reasons=reasons(placement),
    )


def toolpath_ref(toolpath: ToolpathRow, bases: Sequence[str], model: str = "") -> m.ToolpathRef:
    """A toolpath by content, to be had below each of `bases`."""
    return m.ToolpathRef(
        sha256=toolpath.sha256,
        size_bytes=toolpath.size_bytes,
        dialect=toolpath.dialect,
        urls=tuple(f"{base}/{toolpath.sha256}" for base in bases),
        duration_s=toolpath.duration_s,
        lines=toolpath.lines,
        bounds_mm=_six(toolpath.bounds_mm),
        model=model,
    )


def ticket_of(job: JobRow, picture: Picture, machine: SeenMachine, toolpath: ToolpathRow) -> m.JobTicket:
    """What an owner's policy may know of the job, made on this machine by this toolpath."""
    body, order, orders = read_body(job.body), picture.orders[job.order], orders_of(picture, job)
    loaded = matching_material(body, machine.report.description)
    width, height = toolpath.stock_used_mm or (None, None)
    return m.JobTicket(
        job=job.id,
        order=job.order,
        title=body.title,
        process=Process(job.process),
        material=m.MaterialNeed(
            material=loaded.material if loaded else body.material,
            colour=body.colour,
            thickness_mm=body.thickness_mm,
            # A sheet is needed by its size: nobody weighs what is left of one.
            amount_g=None if toolpath.stock_used_mm else toolpath.material_g,
            width_mm=width,
            height_mm=height,
        ),
        need_class=urgency.most_pressing(orders),
        ring=urgency.narrowest(orders),
        licence=body.licence,
        own_use=order.own_use,
        requester=order.requester if len(orders) == 1 else "",
        due=urgency.earliest(urgency.date_of(each) for each in orders),
        pieces=job.pieces,
        work_card=work_card(toolpath, picture.lines.get(job.id, [])),
        contents=_contents(picture.lines.get(job.id, [])),
    )


def _contents(lines: Sequence[LineRow]) -> tuple[m.PieceLine, ...]:
    """Whose pieces lie there, numbered as on the work card; nothing to tell apart where one line is all."""
    if len(lines) < 2:
        return ()
    return tuple(
        m.PieceLine(order=line.order, part=line.part, pieces=line.pieces, title=read_body(line.body).title[:2000])
        for line in lines
    )


def _six(values: list[float]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = values
    return (a, b, c, d, e, f)
