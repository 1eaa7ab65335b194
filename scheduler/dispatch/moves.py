"""The one way a job's state changes: check the table, compare-and-set the job, write the record, carry out the actions.

All of it happens in the caller's transaction: a crash leaves either everything or nothing of a move.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import logs
from agents.contract.vocabulary import (
    CLOSED_STATES,
    FILE_FAULTS,
    LEASED_STATES,
    MOTION_STATES,
    FailureClass,
    JobState,
)
from scheduler.dispatch import actions
from scheduler.dispatch.limits import Limits
from scheduler.dispatch.retry import Again, after_failure
from scheduler.dispatch.states import TRANSITIONS, Action, JobEvent, step
from scheduler.orders import contents
from scheduler.orders.progress import order_follows
from scheduler.store import content_queries, queries
from scheduler.store.record import record
from scheduler.store.rows import JobRow

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event that happens to a job, with what its actions need to know."""

    event: JobEvent
    now: datetime
    agent: str | None = None
    machine: str | None = None
    fence: int | None = None
    why: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Written to the record as it stands."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the job to set; never its state, version or fence."""
    offer: actions.NewOffer | None = None
    adopted: actions.Adopted | None = None
    failure: FailureClass | None = None
    not_before: datetime | None = None
    by_person: bool = False
    rejected_of: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Rejected pieces by (order, part), where somebody said whose they are."""


class Mover:
    """Moves jobs. Holds only what does not change: how to sign messages, and the limits."""

    def __init__(self, *, sender: str, limits: Limits) -> None:
        self.sender = sender
        self.limits = limits

    def move(self, c: sa.Connection, job: JobRow, happening: Happening) -> JobRow:
        """Let `happening` happen to `job`. Returns the job as it stands after all actions.

        Raises ImpossibleTransition when the table does not allow it, and StaleVersion when `job` is not the newest.
        """
        taken = step(job.state, happening.event)
        values = {**happening.values, "state": taken.to.value, **self._timing(job, taken.to, happening)}
        if Action.GRANT in taken.actions:
            values["fence"] = job.fence + 1
        queries.update_job(c, job, values)
        if happening.event is not JobEvent.PROGRESSED:
            self._record(c, job, taken.to, happening, values.get("fence", job.fence))
        after = _again(c, job.id)
        for action in taken.actions:
            after = self._act(action, c, after, happening)
        if taken.to is JobState.WAITING and after.state is JobState.WAITING:
            after = self._drop_unwanted(c, after, happening.now)
        return after

    def _timing(self, job: JobRow, to: JobState, happening: Happening) -> dict[str, Any]:
        """Deadlines belong to states: entering one sets its own or none."""
        values: dict[str, Any] = {}
        if to is not job.state:
            values["since"] = happening.now
        if to is JobState.OFFERED:
            values["deadline"] = happening.now + self.limits.offer
        elif to in (JobState.LEASED, JobState.STAGED, JobState.READY):
            if job.state is JobState.OFFERED:
                values["deadline"] = happening.now + self.limits.start
        elif to not in MOTION_STATES or not (to is job.state is JobState.STARTING or job.cancel_why):
            values["deadline"] = None
        if to not in LEASED_STATES and to not in (JobState.OFFERED, JobState.FINISHED, JobState.INSPECTED):
            values |= {"line": 0, "progress": 0.0}
        return values

    def _record(self, c: sa.Connection, job: JobRow, to: JobState, happening: Happening, fence: int) -> None:
        body = dict(happening.body)
        if happening.why:
            body["why"] = happening.why
        if happening.failure is not None:
            body["failure"] = happening.failure.value
        record(
            c,
            happening.event.value,
            happening.now,
            order=job.order,
            job=job.id,
            machine=happening.machine or job.machine,
            agent=happening.agent or job.agent,
            fence=fence,
            from_state=job.state.value,
            to_state=to.value,
            body=body,
        )
        with logs.bound(order=job.order, job=job.id, machine=happening.machine or job.machine):
            _log.info("%s: %s → %s%s", happening.event, job.state, to, f" ({happening.why})" if happening.why else "")

    def _act(self, action: Action, c: sa.Connection, job: JobRow, happening: Happening) -> JobRow:
        if action is Action.DECIDE_RETRY:
            return self._decide_retry(c, job, happening)
        if action is Action.COUNT_PIECES:
            return self._count_pieces(c, job, happening)
        if action is Action.TELL_ORDER:
            for order in contents.orders_on(c, job):
                order_follows(c, order, happening.now)
            return job
        actions.ACTIONS[action](
            c,
            actions.Scene(
                job=job,
                now=happening.now,
                sender=self.sender,
                limits=self.limits,
                why=happening.why or happening.event.replace("_", " "),
                offer=happening.offer,
                failure=happening.failure,
                agent=happening.agent or job.agent,
                machine=happening.machine or job.machine,
                not_before=happening.not_before,
                adopted=happening.adopted,
            ),
        )
        return _again(c, job.id)

    def _decide_retry(self, c: sa.Connection, job: JobRow, happening: Happening) -> JobRow:
        failure = happening.failure or FailureClass.OTHER
        queries.update_job(c, job, {"failure": failure.value})
        job = _again(c, job.id)
        if job.cancel_why:
            return self.move(c, job, Happening(JobEvent.CANCELLED, happening.now, why=job.cancel_why))
        decision = after_failure(
            failure,
            attempt=job.attempt,
            of_this_class=queries.failures_of(c, job.id, failure.value),
            file_quarantined=job.file_key in actions.quarantined(c),
        )
        if not isinstance(decision, Again):
            queries.update_job(c, job, {"flag": decision.why})
            record(c, "given_up", happening.now, order=job.order, job=job.id, body={"why": decision.why})
            return _again(c, job.id)
        if not decision.same_machine and happening.agent and happening.machine:
            queries.remember_decline(
                c,
                job=job.id,
                agent=happening.agent,
                machine=happening.machine,
                until=happening.now + self.limits.avoid,
                reasons=[f"the last attempt on it failed: {failure.replace('_', ' ')}"],
            )
        job = self.move(
            c,
            job,
            Happening(
                JobEvent.RETRIED,
                happening.now,
                why=f"attempt {job.attempt} ended by {failure.replace('_', ' ')}; it is tried again",
                values={
                    "attempt": job.attempt + 1,
                    "not_before": happening.now + decision.wait,
                    "agent": None,
                    "machine": None,
                    "started_at": None,
                    "placement": None,
                },
            ),
        )
        why = f"an attempt with pieces of several orders ended by {failure.replace('_', ' ')}"
        contents.part_ways(c, job, happening.now, why, alone=why if failure in FILE_FAULTS else "")
        return _again(c, job.id)

    def _drop_unwanted(self, c: sa.Connection, job: JobRow, now: datetime) -> JobRow:
        """A job that waits again, but was cancelled while it was held, ends; so do pieces of cancelled orders on it."""
        lying = content_queries.lines(c, job.id)
        why = job.cancel_why or "its order was cancelled"
        if job.cancel_why or all(line.unwanted_at is not None for line in lying):
            return self.move(c, job, Happening(JobEvent.CANCELLED, now, why=why))
        for order in sorted({line.order for line in lying if line.unwanted_at is not None}):
            name = contents.split_off(c, job, order, now, why)
            job = contents.settle(c, _again(c, job.id))
            self.move(c, _again(c, name), Happening(JobEvent.CANCELLED, now, why=why))
        return job

    def _count_pieces(self, c: sa.Connection, job: JobRow, happening: Happening) -> JobRow:
        if not contents.count_inspected(c, job, happening.rejected_of):
            queries.update_job(c, job, {"flag": contents.WHOSE.format(rejected=job.rejected, pieces=job.pieces)})
            return _again(c, job.id)
        if job.rejected:
            if not job.good:
                actions.count_file_fault(c, job, FailureClass.INSPECTION_REJECTED, happening.now)
            contents.replace_rejected(c, job, happening.now)
        return job


def may_be_cancelled_at_once(job: JobRow) -> bool:
    """Whether nothing can have moved for it yet (a start under a dead lease is refused)."""
    return job.state not in CLOSED_STATES and (job.state, JobEvent.CANCELLED) in TRANSITIONS


def _again(c: sa.Connection, job_id: str) -> JobRow:
    row = queries.job(c, job_id)
    if row is None:  # pragma: no cover - jobs are never removed
        raise LookupError(f"job {job_id} vanished")
    return row
