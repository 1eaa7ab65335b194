"""What both sides believe, compared: a pure difference, then its consequences. Nothing here can start anything.

The scheduler asks every agent what it holds after each of its own starts, and offers nothing to an agent before it
answered. Journals are ordered, so what an agent says it holds already includes all it said before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import CLOSED_STATES, LEASED_STATES, MOTION_STATES, JobState
from scheduler.dispatch.actions import grant_message
from scheduler.dispatch.lending import doubted, keep_fence
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.states import JobEvent
from scheduler.store import queries
from scheduler.store.record import post, record
from scheduler.store.rows import JobRow, LeaseRow


class Deed(StrEnum):
    """What a difference asks for."""

    GRANT_AGAIN = "grant_again"
    """It never got the grant: say it again, same lease, same fence."""
    TAKE_BACK = "take_back"
    """It holds what is not its own any more, and has not begun."""
    ASK_CANCEL = "ask_cancel"
    """It runs under a fence that is dead here: a person declared the attempt lost. Ask it to end."""
    DOUBT = "doubt"
    """Our record is older than the truth: a person must look before this job is offered again."""
    FREE = "free"
    """The lease, not begun, is gone on its side: so it is on ours, and the job is in doubt."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One job on which the two sides do not agree, and what to do."""

    deed: Deed
    job: str
    fence: int
    why: str


_RUN_FORGOTTEN: Final = "the agent no longer knows this run: look at the machine, then declare the attempt lost"
_MOVING: Final = frozenset(state.value for state in MOTION_STATES)
#: Its agent told of its first line.
_BEGUN: Final = MOTION_STATES - {JobState.STARTING}


def differences(leases: Sequence[LeaseRow], jobs: Mapping[str, JobRow], holdings: m.Holdings) -> tuple[Difference, ...]:
    """Compare the agent's live leases here (and all `jobs` named on either side) with what it says it holds."""
    found: list[Difference] = []
    held = {(holding.job, holding.fence) for holding in holdings.jobs}
    for lease in leases:
        if (lease.job, lease.fence) in held:
            continue
        job = jobs[lease.job]
        known = holdings.highest_fences.get(lease.job, 0)
        if known < lease.fence and job.state is JobState.LEASED:
            found.append(Difference(Deed.GRANT_AGAIN, lease.job, lease.fence, "the grant did not arrive"))
        elif job.state in MOTION_STATES:
            found.append(Difference(Deed.DOUBT, lease.job, lease.fence, _RUN_FORGOTTEN))
        else:
            why = "the agent no longer knows this lease: its memory or ours was restored from an old copy"
            found.append(Difference(Deed.FREE, lease.job, lease.fence, why))
    live = {(lease.job, lease.fence) for lease in leases}
    for holding in holdings.jobs:
        at_work = holding.state in _MOVING
        if at_work and (state := _not_known_to_move(jobs.get(holding.job), holding)):
            why = f"the agent runs it under fence {holding.fence}, and here it is {state}: this database is an old copy"
            found.append(Difference(Deed.DOUBT, holding.job, holding.fence, why))
        if (holding.job, holding.fence) in live:
            held_here = jobs.get(holding.job)
            if at_work and held_here is not None and held_here.cancel_why:
                why = f"the job was cancelled: {held_here.cancel_why}"
                found.append(Difference(Deed.ASK_CANCEL, holding.job, holding.fence, why))
            elif not at_work and held_here is not None and held_here.state in _BEGUN:
                found.append(Difference(Deed.DOUBT, holding.job, holding.fence, _RUN_FORGOTTEN))
            continue
        deed = Deed.ASK_CANCEL if at_work else Deed.TAKE_BACK
        found.append(Difference(deed, holding.job, holding.fence, "this lease is not live here any more"))
    for job_id, fence in holdings.highest_fences.items():
        known_job = jobs.get(job_id)
        if known_job is not None and fence > known_job.fence:
            why = f"the agent has seen fence {fence}, this database only {known_job.fence}: it is an old copy"
            found.append(Difference(Deed.DOUBT, job_id, fence, why))
    return tuple(found)


def _not_known_to_move(job: JobRow | None, holding: m.Holding) -> str:
    """The job's state here, where nothing of it can be moving; what was told before the holdings is applied already."""
    if job is None or job.fence > holding.fence or job.state in CLOSED_STATES | MOTION_STATES | {JobState.FINISHED}:
        return ""
    return job.state.value


def reconcile(c: sa.Connection, mover: Mover, agent: str, holdings: m.Holdings, now: datetime) -> None:
    """Carry out the differences with one agent."""
    leases = queries.live_leases(c, [agent])
    named = {lease.job for lease in leases} | {h.job for h in holdings.jobs} | set(holdings.highest_fences)
    jobs = {job.id: job for job in queries.jobs(c, ids=sorted(named))}
    in_doubt = doubted(c)
    for difference in differences(leases, jobs, holdings):
        if difference.job in in_doubt:  # its home may have granted it: nothing is taken back or granted before its book
            if difference.deed is Deed.DOUBT:
                keep_fence(c, difference.job, agent, holdings, difference.fence, now)
            continue
        _settle(c, mover, agent, difference, now)


def _settle(c: sa.Connection, mover: Mover, agent: str, d: Difference, now: datetime) -> None:
    job = queries.job(c, d.job)
    body = {"why": d.why, "their_fence": d.fence}
    record(c, f"reconciled_{d.deed}", now, job=d.job, agent=agent, order=None if job is None else job.order, body=body)
    if d.deed is Deed.TAKE_BACK:
        post(c, agent, m.Withdrawal(job=d.job, fence=d.fence, why=d.why), now, sender=mover.sender)
    elif d.deed is Deed.ASK_CANCEL:
        post(c, agent, m.CancelRequest(job=d.job, fence=d.fence, why=d.why), now, sender=mover.sender)
    elif job is None or job.state in CLOSED_STATES:
        return
    elif d.deed is Deed.GRANT_AGAIN:
        lease = queries.live_lease(c, d.job)
        if lease is not None:
            post(c, agent, grant_message(c, lease.id), now, sender=mover.sender)
    elif d.deed is Deed.FREE:
        job = mover.move(c, job, Happening(JobEvent.LEASE_WITHDRAWN, now, agent=agent, why=d.why))
        queries.update_job(c, job, {"flag": d.why})
    elif d.deed is Deed.DOUBT:
        put_in_doubt(c, mover, job, d.fence, d.why, now, agent=agent)


def put_in_doubt(
    c: sa.Connection, mover: Mover, job: JobRow, fence: int, why: str, now: datetime, *, agent: str | None = None
) -> None:
    """Somebody was given a fence that is not known here: what has not begun is taken back, and a person must look."""
    if job.state is JobState.OFFERED:
        job = mover.move(c, job, Happening(JobEvent.OFFER_WITHDRAWN, now, agent=agent, why=why))
    elif job.state in LEASED_STATES - MOTION_STATES:
        job = mover.move(c, job, Happening(JobEvent.LEASE_WITHDRAWN, now, agent=agent, why=why))
    queries.raise_fence(c, job, fence, why)
