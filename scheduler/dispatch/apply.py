"""One journal event, applied: who may say it, under which fence, and the move it becomes.

Returns why the event was refused, or None. A refused event changed nothing; the acknowledgement names it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import CLOSED_STATES, FailureClass, JobState
from scheduler.dispatch.hearing import from_before_this_start, unproven_before
from scheduler.dispatch.lending import called_unbegun, newest_word, put_off
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.reconcile import put_in_doubt
from scheduler.dispatch.remaining import held_places
from scheduler.dispatch.reservations import in_the_way, reserved_windows
from scheduler.dispatch.states import ImpossibleTransition, JobEvent
from scheduler.store import content_queries, queries
from scheduler.store.record import record
from scheduler.store.rows import JobRow, LeaseRow

_SIMPLE: Final[dict[type[m.Message], JobEvent]] = {
    m.Staged: JobEvent.STAGED,
    m.Ready: JobEvent.READY,
    m.GatesShut: JobEvent.GATES_SHUT,
    m.GivenUp: JobEvent.GIVEN_UP,
    m.StartIntended: JobEvent.START_INTENDED,
    m.Running: JobEvent.RUNNING,
    m.Held: JobEvent.HELD,
    m.Resumed: JobEvent.RESUMED,
    m.Finished: JobEvent.FINISHED,
    m.Failed: JobEvent.FAILED,
    m.CancelConfirmed: JobEvent.CANCEL_CONFIRMED,
}

_ANEW: Final = "the scheduler began anew and has not heard every shop yet: the job will be offered again"


def apply_event(c: sa.Connection, mover: Mover, agent: str, event: Any, now: datetime) -> str | None:
    """Apply one event of `agent` (`{shop}.{agent}`). Returns the reason if it is refused."""
    job = queries.job(c, event.job)
    if job is None:
        return f"this scheduler knows no job {event.job}"
    waits = put_off(c, job, agent, event, now)
    if waits is not None:
        return waits if isinstance(event, m.StartIntended) else None
    try:
        if isinstance(event, m.Claimed | m.Declined):
            return _answer_to_offer(c, mover, agent, job, event, now)
        if isinstance(event, m.Inspected):
            return _inspected(c, mover, agent, job, event, now)
        return _under_lease(c, mover, agent, job, event, now)
    except ImpossibleTransition as error:
        return str(error)


def must_be_proven(c: sa.Connection, agent: str, event: Any) -> bool:
    """Whether this start waits, neither committed nor refused, until every other shop said what it holds.

    Its lease is from before the scheduler's start: where an old database began, another shop may have the job since.
    It may also be history told again, with a run behind it, so it is not refused either. Time ends the wait.
    """
    if not isinstance(event, m.StartIntended):
        return False
    unproven = unproven_before(c, asker=agent)
    lease = None if unproven is None else queries.live_lease(c, event.job)
    if unproven is None or lease is None or _not_its_lease(lease, agent, event) is not None:
        return False
    return lease.term < unproven


def _answer_to_offer(
    c: sa.Connection, mover: Mover, agent: str, job: JobRow, event: m.Claimed | m.Declined, now: datetime
) -> str | None:
    offer = queries.open_offer(c, job.id)
    if offer is None or offer.id != event.offer:
        return f"the offer {event.offer} no longer stands"
    if (offer.agent, offer.machine) != (agent, event.machine):
        return f"the offer {event.offer} was made to another machine"
    if isinstance(event, m.Claimed):
        unproven = unproven_before(c, asker=agent)
        if unproven is not None and offer.term < unproven:
            mover.move(c, job, Happening(JobEvent.OFFER_WITHDRAWN, now, agent=agent, why=_ANEW))
            return _ANEW
        mover.move(c, job, Happening(JobEvent.CLAIMED, now, agent=agent, machine=event.machine))
        return None
    declined = Happening(
        JobEvent.DECLINED,
        now,
        agent=agent,
        machine=event.machine,
        why="; ".join(event.reasons) or "the shop gave no reason",
        not_before=event.not_before,
    )
    mover.move(c, job, declined)
    return None


def _inspected(
    c: sa.Connection, mover: Mover, agent: str, job: JobRow, event: m.Inspected, now: datetime
) -> str | None:
    lease = queries.lease_under(c, job.id, event.fence)
    if lease is None or lease.agent != agent or event.fence != job.fence:
        return f"fence {event.fence} is not the one job {job.id} was made under"
    if event.good + event.rejected != job.pieces:
        return f"{event.good} good and {event.rejected} rejected of {job.pieces} pieces: the numbers do not add up"
    happening = Happening(
        JobEvent.INSPECTED,
        now,
        agent=agent,
        machine=lease.machine,
        fence=event.fence,
        values={"good": event.good, "rejected": event.rejected},
        body={
            "good": event.good,
            "rejected": event.rejected,
            "note": event.note,
            **({"rejected_of": msgspec.to_builtins(event.rejected_of)} if event.rejected_of else {}),
        },
        rejected_of=_whose(c, job, event),
    )
    mover.move(c, job, happening)
    return None


def _whose(c: sa.Connection, job: JobRow, event: m.Inspected) -> dict[tuple[str, str], int]:
    """Rejected pieces by (order, part); empty where what was said is not about this job's pieces: people are asked."""
    lying = {(line.order, line.part) for line in content_queries.lines(c, job.id)}
    said = {(one.order, one.part): one.rejected for one in event.rejected_of}
    return said if set(said) <= lying and len(said) == len(event.rejected_of) else {}


def _under_lease(c: sa.Connection, mover: Mover, agent: str, job: JobRow, event: Any, now: datetime) -> str | None:
    lease = queries.live_lease(c, job.id)
    why = _not_its_lease(lease, agent, event)
    if why is not None:
        _late_word(c, job, agent, event, why, now)
        if job.state not in CLOSED_STATES | {JobState.FINISHED} and called_unbegun(c, agent, event):
            ran = f"{agent} ran it under fence {event.fence}, which its home, on an old memory, called not begun"
            put_in_doubt(c, mover, job, event.fence, f"{ran}: look at the machine, then release the job", now)
        return why
    if isinstance(event, m.StartIntended):
        why = _no_start(c, mover, job, lease, now)
        if why is not None:
            return why
    happening = Happening(_event_of(job, event), now, agent=agent, machine=event_machine(event, lease), **_said(event))
    mover.move(c, job, happening)
    return None


def _not_its_lease(lease: LeaseRow | None, agent: str, event: Any) -> str | None:
    if lease is None or lease.agent != agent:
        return f"{agent} holds no lease on job {event.job}"
    if event.fence != lease.fence:
        return f"fence {event.fence} is stale: job {event.job} is held under {lease.fence}"
    if not isinstance(event, m.GrantRefused) and event.machine != lease.machine:
        return f"job {event.job} is leased to {lease.machine}, not to {event.machine}"
    return None


def _no_start(c: sa.Connection, mover: Mover, job: JobRow, lease: LeaseRow | None, now: datetime) -> str | None:
    if job.cancel_why:
        return f"the job was cancelled: {job.cancel_why}"
    if lease is None:
        return None
    machine = queries.machine(c, lease.agent, lease.machine)
    if machine is not None and machine.quarantined_at is not None:
        return f"the machine is quarantined: {machine.quarantine_why}"
    if newest_word(c, job.id) > lease.fence:  # put off until the home's book comes, which may be behind this very word
        return "another shop told of this job under a newer fence"
    if from_before_this_start(c, lease.term):
        return None
    if now > lease.start_by:
        return f"the lease lapsed at {lease.start_by.isoformat(timespec='seconds')}"
    windows = reserved_windows(c, now).get(f"{lease.agent}.{lease.machine}", ())
    if not windows:
        return None
    length = held_places(c, [lease.agent])[job.id].length
    return in_the_way(windows, now, now + length, mover.limits.drift) or None


def _late_word(c: sa.Connection, job: JobRow, agent: str, event: Any, why: str, now: datetime) -> None:
    """Kept for people to read; it changes nothing."""
    tag = type(event).__struct_config__.tag
    record(c, "late_word", now, order=job.order, job=job.id, agent=agent, body={"said": tag, "refused": why})


def event_machine(event: Any, lease: LeaseRow | None) -> str | None:
    """The machine the event is about."""
    return getattr(event, "machine", None) or (None if lease is None else lease.machine)


def _event_of(job: JobRow, event: Any) -> JobEvent:
    if isinstance(event, m.GrantRefused):
        return JobEvent.GRANT_REFUSED
    if isinstance(event, m.CancelConfirmed) and not job.cancel_why:
        return JobEvent.STOPPED_BY_SHOP
    return _SIMPLE[type(event)]


def _said(event: Any) -> dict[str, Any]:
    """What the event adds to the job's columns and to the record."""
    why = getattr(event, "why", "")
    body: dict[str, Any] = {}
    values: dict[str, Any] = {}
    more: dict[str, Any] = {}
    if isinstance(event, m.Ready | m.GatesShut):
        body["gates"] = msgspec.to_builtins(event.gates)
        shut = [gate for gate in event.gates if not gate.open]
        why = "; ".join(gate.why or gate.gate for gate in shut)
    elif isinstance(event, m.Running):
        values["started_at"] = event.started
        body["from_line"] = event.from_line
    elif isinstance(event, m.Held):
        values["line"] = body["line"] = event.line
    elif isinstance(event, m.Finished):
        values |= {"line": event.lines, "progress": 1.0, "machine_s": event.machine_s, "finished_at": event.finished}
        body |= {"lines": event.lines, "machine_s": event.machine_s, "position_mm": list(event.position_mm)}
    elif isinstance(event, m.Failed):
        more["failure"] = event.failure
        body |= {"last_line": event.last_line, "may_be_moving": event.may_be_moving, "machine_s": event.machine_s}
    elif isinstance(event, m.CancelConfirmed):
        more["failure"] = FailureClass.CANCELLED_BY_OPERATOR
        body |= {"last_line": event.last_line, "machine_s": event.machine_s}
    return {"why": why, "values": values, "body": body, **more}
