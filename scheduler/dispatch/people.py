"""What people ask for: accept, cancel, pause, declare lost, release, hand over. Each checks the state it assumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import sqlalchemy as sa

from agents.contract.vocabulary import MOTION_STATES, FailureClass, JobState
from scheduler.dispatch.moves import Happening, Mover, may_be_cancelled_at_once
from scheduler.dispatch.states import JobEvent
from scheduler.orders import contents, quotes
from scheduler.orders.progress import ENDED_STATES, GOING_STATES, OrderState, order_follows, set_order_state
from scheduler.orders.refusal import Refused
from scheduler.store import content_queries, queries
from scheduler.store import tables as t
from scheduler.store.record import record
from scheduler.store.rows import JobRow, MachineRow, OrderRow


def the_order(c: sa.Connection, order_id: str) -> OrderRow:
    """The order. Raises Refused (404)."""
    found = queries.order(c, order_id)
    if found is None:
        raise Refused("unknown_order", "Nothing was done", f"there is no order {order_id[:64]}", status=404)
    return found


def the_job(c: sa.Connection, job_id: str) -> JobRow:
    """The job. Raises Refused (404)."""
    found = queries.job(c, job_id)
    if found is None:
        raise Refused("unknown_job", "Nothing was done", f"there is no job {job_id[:64]}", status=404)
    return found


def accept_order(c: sa.Connection, order_id: str, now: datetime) -> OrderRow:
    """The requester says yes; a date that was quoted and still stands is promised by it. Accepting twice is once."""
    order = the_order(c, order_id)
    state = OrderState(order.state)
    if state in (OrderState.REQUESTED, OrderState.QUOTED):
        values = {"accepted_at": now, "promised": quotes.accept(c, order, now)}
        set_order_state(c, order_id, OrderState.ACCEPTED, now, values)
    elif state not in GOING_STATES:
        raise _conflict("accepted", order)
    return the_order(c, order_id)


def cancel_order(c: sa.Connection, mover: Mover, order_id: str, why: str, now: datetime) -> OrderRow:
    """Cancel all its jobs: at once where nothing moved, by asking the shop where a machine may be moving."""
    order = the_order(c, order_id)
    if OrderState(order.state) is OrderState.CANCELLED:
        return order
    if OrderState(order.state) in ENDED_STATES or OrderState(order.state) is OrderState.MADE:
        raise _conflict("cancelled", order)
    set_order_state(c, order_id, OrderState.CANCELLED, now, {}, why)
    for job in queries.jobs(c, order=order_id):
        _give_up(c, mover, job, order_id, why, now)
    return the_order(c, order_id)


def _give_up(c: sa.Connection, mover: Mover, job: JobRow, order_id: str, why: str, now: datetime) -> None:
    """Cancel an order's pieces on a job; those of other orders stay where they are."""
    if job.state is JobState.CANCELLED:
        return
    lying = content_queries.lines(c, job.id)
    if any(line.order != order_id and line.unwanted_at is None for line in lying):
        if job.state is JobState.OFFERED:
            job = mover.move(c, job, Happening(JobEvent.OFFER_WITHDRAWN, now, why=why, by_person=True))
        if job.state is not JobState.WAITING:
            for line in lying:
                if line.order == order_id:
                    content_queries.update_line(c, line, {"unwanted_at": now})
            return
        name = contents.split_off(c, job, order_id, now, why)
        contents.settle(c, the_job(c, job.id))
        cancel_job(c, mover, name, why, now)
    elif job.state not in (JobState.FINISHED, JobState.INSPECTED):
        cancel_job(c, mover, job.id, why, now)


def say_whose(
    c: sa.Connection, mover: Mover, job_id: str, rejected: Mapping[tuple[str, str], int], now: datetime
) -> JobRow:
    """A person says whose pieces of an inspected job were the rejected ones, by (order, part)."""
    job = the_job(c, job_id)
    if job.state is not JobState.INSPECTED or any(x.good or x.rejected for x in content_queries.lines(c, job_id)):
        text = f"the job is {job.state} and nothing is open about its pieces"
        raise Refused("nothing_open", "Nothing was done", text, status=409)
    known = {(line.order, line.part) for line in content_queries.lines(c, job_id)}
    if not set(rejected) <= known or not contents.count_inspected(c, job, rejected):
        text = f"{job.rejected} of its {job.pieces} pieces were rejected, and what was said does not add up to that"
        raise Refused("does_not_add_up", "Nothing was done", text, "Name each order, part and number.")
    record(c, "said_whose", now, order=job.order, job=job.id, body={f"{o}/{p}": n for (o, p), n in rejected.items()})
    queries.update_job(c, job, {"flag": ""})
    contents.replace_rejected(c, the_job(c, job_id), now)
    for order in contents.orders_on(c, job):
        order_follows(c, order, now)
    return the_job(c, job_id)


def hand_over(c: sa.Connection, order_id: str, now: datetime) -> OrderRow:
    """The requester has the parts."""
    order = the_order(c, order_id)
    if OrderState(order.state) is OrderState.HANDED_OVER:
        return order
    if OrderState(order.state) is not OrderState.MADE:
        raise _conflict("handed over", order)
    set_order_state(c, order_id, OrderState.HANDED_OVER, now, {"handed_over_at": now})
    return the_order(c, order_id)


def step_done(c: sa.Connection, order_id: str, step: str, by: str, now: datetime) -> OrderRow:
    """A person did an assembly step. It must be open: all it needs was inspected and found good."""
    order = the_order(c, order_id)
    row = next((row for row in queries.order_steps(c, order_id) if row["step"] == step), None)
    if row is None:
        raise Refused("unknown_step", "Nothing was done", f"the order has no step {step[:80]!r}", status=404)
    if row["done_at"] is not None:
        return order
    if row["opened_at"] is None:
        why = f"the step {step!r} is not open: its parts are not all made and inspected"
        raise Refused("step_shut", "Nothing was done", why, status=409)
    where = (t.order_steps.c.order == order_id, t.order_steps.c.step == step)
    c.execute(sa.update(t.order_steps).where(*where).values(done_at=now, done_by=by))
    record(c, "step_done", now, order=order_id, body={"step": step})
    order_follows(c, order_id, now)
    return the_order(c, order_id)


def cancel_job(c: sa.Connection, mover: Mover, job_id: str, why: str, now: datetime) -> JobRow:
    """Cancel a job: at once where nothing can have moved, else ask the machine's agent and wait for its word."""
    job = the_job(c, job_id)
    if job.state is JobState.CANCELLED:
        return job
    if job.state in MOTION_STATES:
        values = {"cancel_why": why}
        return mover.move(c, job, Happening(JobEvent.CANCEL_ASKED, now, why=why, values=values, by_person=True))
    if not may_be_cancelled_at_once(job):
        raise Refused("job_over", "Nothing was done", f"the job is {job.state} already", status=409)
    happening = Happening(JobEvent.CANCELLED, now, why=why, values={"cancel_why": why}, by_person=True)
    return mover.move(c, job, happening)


def pause_job(c: sa.Connection, mover: Mover, job_id: str, why: str, now: datetime) -> JobRow:
    """Ask the machine's agent to hold the job at the next safe moment. It never resumes by message."""
    job = the_job(c, job_id)
    if job.state not in MOTION_STATES:
        raise Refused("job_still", "Nothing was done", f"the job is {job.state}: nothing moves for it", status=409)
    return mover.move(c, job, Happening(JobEvent.PAUSE_ASKED, now, why=why, by_person=True))


def declare_lost(
    c: sa.Connection, mover: Mover, job_id: str, why: str, now: datetime, attempt: int | None = None
) -> JobRow:
    """A person looked, and says that the attempt is lost. Its agent's late words change nothing any more.

    `attempt`: the one that was looked at; two people press, and the second must not end the attempt that follows.
    """
    job = the_job(c, job_id)
    if attempt is not None and attempt != job.attempt:
        text = f"attempt {attempt} is over already; attempt {job.attempt} is {job.state}"
        raise Refused("other_attempt", "Nothing was done", text, "Look at the job again.", status=409)
    if job.state not in MOTION_STATES:
        text = f"the job is {job.state}: no machine may be moving for it"
        raise Refused("job_still", "Nothing was done", text, "It can be cancelled instead.", status=409)
    happening = Happening(
        JobEvent.DECLARED_LOST,
        now,
        agent=job.agent,
        machine=job.machine,
        why=why,
        failure=FailureClass.OTHER,
        values={"flag": ""},
        by_person=True,
    )
    return mover.move(c, job, happening)


def inspect_job(
    c: sa.Connection, mover: Mover, job_id: str, good: int, rejected: int, note: str, now: datetime
) -> JobRow:
    """A person looked at the parts of a finished job and says so here, because the shop's agent no longer knows it."""
    job = the_job(c, job_id)
    if job.state is not JobState.FINISHED:
        text = f"the job is {job.state}: only what a machine finished can be inspected"
        raise Refused("job_not_finished", "Nothing was done", text, status=409)
    if good < 0 or rejected < 0 or good + rejected != job.pieces:
        text = f"{good} good and {rejected} rejected of {job.pieces} pieces: the numbers do not add up"
        raise Refused("wrong_count", "Nothing was done", text, "Count every piece of the job once.", status=422)
    happening = Happening(
        JobEvent.INSPECTED,
        now,
        agent=job.agent,
        machine=job.machine,
        fence=job.fence,
        values={"good": good, "rejected": rejected},
        body={"good": good, "rejected": rejected, "note": note},
        by_person=True,
    )
    return mover.move(c, job, happening)


def release_job(c: sa.Connection, mover: Mover, job_id: str, now: datetime) -> JobRow:
    """A person looked at a job in doubt, given up or with a quarantined file: it may be offered again."""
    job = the_job(c, job_id)
    if job.state in MOTION_STATES:
        text = f"the job is {job.state} as far as anybody knows"
        raise Refused("job_moving", "Nothing was done", text, "Declare the attempt lost if it is.", status=409)
    forgive = sa.update(t.file_faults).where(t.file_faults.c.file_key == job.file_key)
    c.execute(forgive.values(forgiven_at=now))
    c.execute(sa.delete(t.declines).where(t.declines.c.job == job_id))
    if job.flag:
        queries.update_job(c, job, {"flag": ""})
    record(c, "released", now, order=job.order, job=job.id, body={"flag": job.flag})
    job = the_job(c, job_id)
    if job.state is JobState.FAILED:
        values = {"attempt": job.attempt + 1, "agent": None, "machine": None, "not_before": None}
        job = mover.move(c, job, Happening(JobEvent.RETRIED, now, why="released by a person", values=values))
    return job


def release_machine(c: sa.Connection, agent: str, machine: str, now: datetime) -> MachineRow:
    """A person looked at a quarantined machine: it may be offered work again."""
    row = queries.machine(c, agent, machine)
    if row is None:
        raise Refused("unknown_machine", "Nothing was done", f"there is no machine {agent}.{machine}", status=404)
    values = {"quarantined_at": None, "quarantine_why": "", "faults_in_a_row": 0}
    queries.update_machine(c, agent, machine, values)
    record(c, "machine_released", now, agent=agent, machine=machine)
    return queries.machine(c, agent, machine) or row


def _conflict(wanted: str, order: OrderRow) -> Refused:
    why = f"the order is {order.state.replace('_', ' ')}, so it cannot be {wanted}"
    return Refused("order_state", "Nothing was done", why, status=409)


TimedDeed = Callable[[sa.Connection, datetime], object]
