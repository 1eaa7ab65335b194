"""What goes with a transition, one function an action. Each runs inside the move's transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import FILE_FAULTS, MACHINE_FAULTS, FailureClass, JobState
from scheduler.dispatch.lending import hold_for
from scheduler.dispatch.limits import Limits
from scheduler.dispatch.retry import FAULTS_TO_QUARANTINE_MACHINE, MACHINES_TO_QUARANTINE_FILE
from scheduler.dispatch.states import Action
from scheduler.orders import outcomes
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import post, record
from scheduler.store.rows import JobRow


@dataclass(frozen=True, slots=True)
class NewOffer:
    """An offer about to be made; `message.machine` is the agent's own name of the machine."""

    agent: str
    message: m.Offer


@dataclass(frozen=True, slots=True)
class Adopted:
    """A lease that the job's home granted, and whose start it permitted, while the scheduler was away."""

    lease: m.HomeLease


@dataclass(frozen=True, slots=True)
class Scene:
    """What an action may know: the job after the move, and what happened."""

    job: JobRow
    now: datetime
    sender: str
    limits: Limits
    why: str
    offer: NewOffer | None
    failure: FailureClass | None
    agent: str | None
    machine: str | None
    not_before: datetime | None
    adopted: Adopted | None = None


def quarantined(c: sa.Connection) -> set[str]:
    """Keys of the files that nobody should try again before a person looked at them."""
    return queries.quarantined_files(c, MACHINES_TO_QUARANTINE_FILE)


def open_offer(c: sa.Connection, s: Scene) -> None:
    """Write the offer and queue its message."""
    if s.offer is None:
        raise ValueError("an offer needs its message")
    message = s.offer.message
    c.execute(
        sa.insert(t.offers).values(
            id=message.offer,
            job=s.job.id,
            attempt=message.attempt,
            agent=s.offer.agent,
            machine=message.machine,
            sha256=message.toolpath.sha256,
            planned_start=message.planned_start,
            planned_finish=message.planned_finish,
            made_at=s.now,
            term=queries.present_term(),
            outcome="open",
        )
    )
    post(c, s.offer.agent, message, s.now, sender=s.sender, valid_for=s.limits.offer)


def close_offer(c: sa.Connection, s: Scene) -> None:
    """The offer is answered, lapsed or taken back."""
    outcome = {JobState.LEASED: "claimed", JobState.WAITING: "not taken"}.get(s.job.state, s.job.state.value)
    where = (t.offers.c.job == s.job.id, t.offers.c.closed_at.is_(None))
    c.execute(sa.update(t.offers).where(*where).values(closed_at=s.now, outcome=outcome))


def withdraw_offer(c: sa.Connection, s: Scene) -> None:
    """Tell the agent that the offer no longer stands."""
    standing = queries.open_offer(c, s.job.id)
    if standing is not None:
        message = m.Withdrawal(job=s.job.id, offer=standing.id, why=s.why)
        post(c, standing.agent, message, s.now, sender=s.sender)


def remember_decline(c: sa.Connection, s: Scene) -> None:
    """Do not ask again too soon. It is kept beside the job, counts for nothing else, and fades.

    A time named by a shop may be over already, by a clock that is slow: asked at once, it would say the same for ever.
    """
    if s.agent is None or s.machine is None:
        return
    until = max(s.not_before or s.now + s.limits.decline, s.now + s.limits.unanswered)
    queries.remember_decline(c, job=s.job.id, agent=s.agent, machine=s.machine, until=until, reasons=[s.why])


def grant(c: sa.Connection, s: Scene) -> None:
    """Hold the job for the agent under the new fence."""
    taken = queries.open_offer(c, s.job.id)
    if taken is None:
        raise ValueError(f"job {s.job.id} is claimed without an offer")
    start_by = max(s.now, taken.planned_start) + s.limits.start
    lease = f"l{s.job.id}-{s.job.fence}"[:64]
    hold_for(c, s.job, taken.agent, taken.machine, s.now)
    c.execute(
        sa.insert(t.leases).values(
            id=lease,
            job=s.job.id,
            fence=s.job.fence,
            attempt=s.job.attempt,
            offer=taken.id,
            agent=taken.agent,
            machine=taken.machine,
            granted_at=s.now,
            term=queries.present_term(),
            start_by=start_by,
            ended_why="",
        )
    )
    values: dict[str, Any] = {"agent": taken.agent, "machine": taken.machine, "deadline": start_by}
    queries.update_job(c, s.job, values)
    post(c, taken.agent, grant_message(c, lease), s.now, sender=s.sender)


def adopt_lease(c: sa.Connection, s: Scene) -> None:
    """Keep a home's lease as the job's own, with an offer that says where it came from."""
    if s.adopted is None:
        raise ValueError("a home's lease is needed")
    lease = s.adopted.lease
    shared = {
        "job": s.job.id,
        "attempt": lease.attempt,
        "agent": lease.agent,
        "machine": lease.machine,
        "term": queries.present_term(),
    }
    c.execute(
        sa.insert(t.offers).values(
            **shared,
            id=lease.lease,
            sha256=lease.sha256,
            planned_start=lease.granted,
            planned_finish=lease.granted,
            made_at=lease.granted,
            closed_at=s.now,
            outcome="by its home",
        )
    )
    c.execute(
        sa.insert(t.leases).values(
            **shared,
            id=lease.lease,
            fence=lease.fence,
            offer=lease.lease,
            granted_at=lease.granted,
            start_by=lease.start_by,
            ended_why="",
        )
    )


def grant_message(c: sa.Connection, lease_id: str) -> m.Grant:
    """The grant of a lease, for the first time or again (an agent that knows it answers as before)."""
    row = queries.lease(c, lease_id)
    if row is None:
        raise LookupError(f"no lease {lease_id}")
    return m.Grant(
        lease=row.id,
        offer=row.offer,
        job=row.job,
        attempt=row.attempt,
        fence=row.fence,
        machine=row.machine,
        start_by=row.start_by,
    )


def end_lease(c: sa.Connection, s: Scene) -> None:
    """The lease is over: no event under its fence changes anything any more, but an inspection."""
    where = (t.leases.c.job == s.job.id, t.leases.c.ended_at.is_(None))
    c.execute(sa.update(t.leases).where(*where).values(ended_at=s.now, ended_why=s.why))


def withdraw_lease(c: sa.Connection, s: Scene) -> None:
    """Tell the holder that its lease, not begun, is taken back."""
    held = queries.live_lease(c, s.job.id)
    if held is not None:
        message = m.Withdrawal(job=s.job.id, lease=held.id, fence=held.fence, why=s.why)
        post(c, held.agent, message, s.now, sender=s.sender)


def ask_cancel(c: sa.Connection, s: Scene) -> None:
    """Ask the holder to end the job; only its confirmation ends it here."""
    held = queries.live_lease(c, s.job.id)
    if held is not None:
        message = m.CancelRequest(job=s.job.id, fence=held.fence, why=s.why)
        post(c, held.agent, message, s.now, sender=s.sender, valid_for=timedelta(days=1))


def ask_pause(c: sa.Connection, s: Scene) -> None:
    """Ask the holder to hold the job at the next safe moment."""
    held = queries.live_lease(c, s.job.id)
    if held is not None:
        message = m.PauseRequest(job=s.job.id, fence=held.fence, why=s.why)
        post(c, held.agent, message, s.now, sender=s.sender, valid_for=timedelta(minutes=5))


def expect_first_line(c: sa.Connection, s: Scene) -> None:
    """The start is committed: the machine should confirm its first line soon, or somebody should look."""
    queries.update_job(c, s.job, {"deadline": s.now + s.limits.first_line})


def flag_overdue(c: sa.Connection, s: Scene) -> None:
    """Say so; do not guess."""
    since = s.job.since.strftime("%H:%M UTC")
    text = f"starting since {since} and no first line confirmed: look at the machine"
    queries.update_job(c, s.job, {"flag": text, "deadline": None})


def expect_end(c: sa.Connection, s: Scene) -> None:
    """The machine should confirm soon that it ended."""
    queries.update_job(c, s.job, {"deadline": s.now + s.limits.cancel})


def flag_no_end(c: sa.Connection, s: Scene) -> None:
    """Say so; only the machine's word, or a person's, ends the attempt."""
    text = f"cancelled ({s.job.cancel_why}), and the machine did not confirm that it ended: look at it, stop it there"
    queries.update_job(c, s.job, {"flag": text, "deadline": None})


def clear_flag(c: sa.Connection, s: Scene) -> None:
    """The agent spoke: whatever was in doubt no longer is, but for a fence that was given out and is not known here."""
    if s.job.flag and not newer_fence_seen(c, s.job):
        queries.update_job(c, s.job, {"flag": ""})


def newer_fence_seen(c: sa.Connection, job: JobRow) -> bool:
    """Whether an agent has seen a higher fence than any lease here: this database is an older copy of the truth."""
    given = c.execute(sa.select(sa.func.max(t.leases.c.fence)).where(t.leases.c.job == job.id)).scalar()
    return job.fence > (given or 0)


def clear_faults(c: sa.Connection, s: Scene) -> None:
    """A finished job proves the machine."""
    if s.agent and s.machine:
        queries.update_machine(c, s.agent, s.machine, {"faults_in_a_row": 0})


def book_run(c: sa.Connection, s: Scene) -> None:
    """Keep what the attempt taught, and what it left of its sheet."""
    failure = None if s.job.state is JobState.FINISHED else s.failure or FailureClass.OTHER
    outcomes.book_run(c, s.job, failure, s.now)


def count_fault(c: sa.Connection, s: Scene) -> None:
    """Blame the machine or the file, where the failure class says so, and quarantine at the threshold."""
    if s.failure in FILE_FAULTS:
        count_file_fault(c, s.job, s.failure, s.now)
    if s.failure not in MACHINE_FAULTS or not s.agent or not s.machine:
        return
    row = queries.machine(c, s.agent, s.machine)
    if row is None:
        return
    faults = row.faults_in_a_row + 1
    values: dict[str, Any] = {"faults_in_a_row": faults}
    if faults >= FAULTS_TO_QUARANTINE_MACHINE and row.quarantined_at is None:
        why = f"{faults} attempts in a row failed for its own reasons, the last by {s.failure.replace('_', ' ')}"
        values |= {"quarantined_at": s.now, "quarantine_why": why}
        record(c, "machine_quarantined", s.now, machine=s.machine, agent=s.agent, body={"why": why})
    queries.update_machine(c, s.agent, s.machine, values)


def count_file_fault(c: sa.Connection, job: JobRow, failure: FailureClass, now: datetime) -> None:
    """The file may be to blame; two machines make it so."""
    machine = f"{job.agent}.{job.machine}"
    where = (t.file_faults.c.file_key == job.file_key, t.file_faults.c.machine == machine)
    c.execute(sa.delete(t.file_faults).where(*where))
    c.execute(sa.insert(t.file_faults).values(file_key=job.file_key, machine=machine, failure=failure.value, at=now))
    if job.file_key in quarantined(c):
        record(c, "file_quarantined", now, order=job.order, job=job.id, body={"file_key": job.file_key})


ACTIONS: Final[dict[Action, Callable[[sa.Connection, Scene], None]]] = {
    Action.OPEN_OFFER: open_offer,
    Action.CLOSE_OFFER: close_offer,
    Action.WITHDRAW_OFFER: withdraw_offer,
    Action.REMEMBER_DECLINE: remember_decline,
    Action.GRANT: grant,
    Action.ADOPT_LEASE: adopt_lease,
    Action.END_LEASE: end_lease,
    Action.WITHDRAW_LEASE: withdraw_lease,
    Action.ASK_CANCEL: ask_cancel,
    Action.ASK_PAUSE: ask_pause,
    Action.EXPECT_FIRST_LINE: expect_first_line,
    Action.FLAG_OVERDUE: flag_overdue,
    Action.EXPECT_END: expect_end,
    Action.FLAG_NO_END: flag_no_end,
    Action.CLEAR_FLAG: clear_flag,
    Action.CLEAR_FAULTS: clear_faults,
    Action.COUNT_FAULT: count_fault,
    Action.BOOK_RUN: book_run,
}
