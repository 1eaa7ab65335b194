"""From a plan to offers: which placements are due now, to whom, and what is said about why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import JobState, MachineState, Process
from scheduler.dispatch.actions import NewOffer
from scheduler.dispatch.hearing import hearing
from scheduler.dispatch.limits import Limits
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import BEING_MADE, Picture, SeenMachine, orders_of
from scheduler.dispatch.states import JobEvent
from scheduler.dispatch.wanted import MAKING, TOO_LARGE
from scheduler.orders import urgency
from scheduler.orders.cards import work_card
from scheduler.orders.progress import GOING_STATES, OrderState
from scheduler.orders.recipes import matching_material, read_body
from scheduler.planning.snapshot import Placement, Plan, Snapshot, Waiting
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.content_queries import LineRow
from scheduler.store.rows import JobRow, ToolpathRow

#: A machine in one of these may be offered work.
OFFERABLE_STATES: Final = frozenset({MachineState.IDLE, MachineState.OCCUPIED, MachineState.RUNNING, MachineState.HELD})
_PLANS_KEPT: Final = 200
_FEWEST_PLANS: Final = 10
#: Of all plans together: an option of a job takes some 8 bytes, compressed.
_OPTIONS_KEPT: Final = 12_000_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How toolpaths are reached over HTTP, and which term this scheduler is in."""

    toolpath_url: str
    term: int


def keep_plan(c: sa.Connection, picture: Picture, plan: Plan, now: datetime) -> int:
    """Keep the plan beside the snapshot it was made from, so that it can be made again; returns its number."""
    body = {"snapshot": picture.snapshot, "plan": plan}
    number = c.execute(sa.insert(t.plans).values(at=now, body=body)).inserted_primary_key
    latest = int(number[0]) if number is not None else 0
    c.execute(sa.delete(t.plans).where(t.plans.c.id <= latest - plans_kept(picture.snapshot)))
    return latest


def plans_kept(snapshot: Snapshot) -> int:
    """How many plans are kept: some 100 MB of them at most, 200 in a small network."""
    options = sum(len(job.options) for job in snapshot.jobs)
    return max(_FEWEST_PLANS, min(_PLANS_KEPT, _OPTIONS_KEPT // max(1, options)))


def unheard(c: sa.Connection) -> str:
    """Just after a start: until all have spoken, work that one of them did might be offered to another."""
    going_on = hearing(c)
    if going_on is None:
        return ""
    return f"the scheduler came just now, and {going_on.silent[0]} has not said yet what it holds"


def not_yet(machine: SeenMachine, placement: Placement, room: int, now: datetime, limits: Limits, term: int) -> str:
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


def room_left(c: sa.Connection, machines: Iterable[str], limits: Limits) -> Counter[str]:
    """How many more jobs each machine may hold that have not begun."""
    room: Counter[str] = Counter(dict.fromkeys(machines, limits.queue_per_machine))
    room.subtract(queries.not_begun(c))
    return room


def keep_place(c: sa.Connection, job: JobRow, placement: Placement, plan: Plan, number: int, why: str) -> None:
    """Store where a waiting job is to be made and why there; `why`: it is not offered yet."""
    queries.update_job(c, job, {"placement": {**_placement(placement, plan, number), "not_yet": why}, "waiting": None})


def offer_job(
    c: sa.Connection, mover: Mover, picture: Picture, plan: Plan, placement: Placement, now: datetime, reach: Reach
) -> None:
    """Offer a waiting job to the machine of its place."""
    job, machine = queries.job(c, placement.job), picture.machines[placement.machine]
    if job is None:
        raise LookupError(f"job {placement.job} vanished while it was offered")
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


def store_waiting(c: sa.Connection, picture: Picture, waiting: Mapping[str, Waiting], names: Sequence[str]) -> None:
    """Store why these jobs wait: what the planner said (`waiting`), or why it was not shown them."""
    for job in queries.jobs(c, ids=names):
        if job.state is not JobState.WAITING:
            continue
        if job.id in picture.held_back:
            why = picture.held_back[job.id]
            _write_waiting(c, job, {"why": why, "machines": _held_back(picture, job, why)})
        else:
            _write_waiting(c, job, _reasons_of(picture, job, waiting[job.id]))


def _held_back(picture: Picture, job: JobRow, why: str) -> list[dict[str, str]]:
    """Every machine of the job's kind: what keeps it out there, which is for most the same, and what would lift it."""
    found = []
    for key, machine in picture.machines.items():
        text = picture.shut(job.id).get(key)
        if text is not None:
            lift = _lift_of_toolpath(text, job)
            found.append({"machine": key, "checker": "toolpath", "text": text, "lift": lift})
        elif machine.row.process == job.process:
            found.append({"machine": key, "checker": "job", "text": why, "lift": _lift_of_job(picture, job, why)})
    return found


def _lift_of_job(picture: Picture, job: JobRow, why: str) -> str:
    """What would let a job be planned that the planner was not shown."""
    if any(OrderState(order.state) not in GOING_STATES for order in orders_of(picture, job)):
        return "accept the order"
    if job.id in picture.in_doubt:
        return "let that shop's agent connect; if it is gone for good, declare it lost as a home"
    if why == BEING_MADE:
        return "nothing: it is planned as soon as the first is made"
    return "look at it, then release the job"


def _lift_of_toolpath(text: str, job: JobRow) -> str:
    """What would give a job the toolpath that it does not have on a machine."""
    if text == MAKING:
        return "nothing: it is planned as soon as it is made"
    if text == TOO_LARGE:
        width, depth, height = read_body(job.body).dims_mm or (0.0, 0.0, 0.0)
        return f"divide the part, or ask a machine that takes {width:.0f} x {depth:.0f} x {height:.0f} mm"
    return "change what the sentence names, in the design or in the order, and order it again"


def _reasons_of(picture: Picture, job: JobRow, waiting: Waiting) -> dict[str, Any]:
    """The planner's first failing checker per machine; where a toolpath is missing, why it is."""
    machines = []
    for shut in waiting.machines:
        text, lift = shut.text, shut.lift
        known = picture.shut(waiting.job).get(shut.machine)
        if shut.checker == "toolpath" and known is not None:
            text, lift = known, _lift_of_toolpath(known, job)
        machines.append({"machine": shut.machine, "checker": shut.checker, "text": text, "lift": lift})
    return {"why": waiting.why, "machines": machines}


def _write_waiting(c: sa.Connection, job: JobRow, body: dict[str, Any]) -> None:
    if job.waiting != body:
        c.execute(sa.update(t.jobs).where(t.jobs.c.id == job.id).values(waiting=body, placement=None))


def _offer(
    job: JobRow, picture: Picture, machine: SeenMachine, placement: Placement, plan: Plan, reach: Reach
) -> m.Offer:
    toolpath = picture.toolpaths(job.id)[placement.machine]
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
