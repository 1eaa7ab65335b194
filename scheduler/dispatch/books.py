"""A home's book, taken in: what it granted while the scheduler was away becomes part of the record, once.

Leases that never began raise the fence and nothing else. Those whose start the home permitted become the job's live
lease; then what their holders had told meanwhile is applied, in order, and how they ended.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import JobState
from scheduler.dispatch.actions import Adopted
from scheduler.dispatch.apply import apply_event
from scheduler.dispatch.board import taken_back
from scheduler.dispatch.lending import AT_WORK, current_epoch, lending, words
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.states import TRANSITIONS, JobEvent
from scheduler.store import board_tables as bt
from scheduler.store import queries
from scheduler.store.record import post, record
from scheduler.store.rows import JobRow

_log: Final = logging.getLogger(__name__)
_NOT_BEGUN: Final = frozenset({JobState.LEASED, JobState.STAGED, JobState.READY})


def book_came(c: sa.Connection, mover: Mover, home: str, book: m.HomeBook, now: datetime) -> str | None:
    """Take in one part of a book of `home` (`{shop}.{agent}`). Returns why it is refused; None when it was taken in."""
    scheduler = mover.sender.partition("/")[2]
    epoch = current_epoch(c, scheduler)
    if book.scheduler != scheduler:
        return f"it is the book for {book.scheduler}; this is {scheduler}"
    if epoch is None or book.epoch != epoch:
        return f"it is the book for epoch {book.epoch}; this is {epoch}: the newer one will be asked for"
    for lease in sorted(book.leases, key=lambda lease: (lease.job, lease.fence)):
        held = lending(c, lease.job)
        if held is not None and held.home == home and lease.epoch == held.epoch:
            _take_in(c, mover, home, lease, now)
    for job_id, fence in book.given_up.items():
        _given_up(c, mover, home, job_id, fence, now)
    if book.last:
        taken_back(c, mover, home, now)
        c.execute(sa.update(bt.homes).where(bt.homes.c.agent == home).values(settled=epoch, asked_at=None))
    return None


def _take_in(c: sa.Connection, mover: Mover, home: str, lease: m.HomeLease, now: datetime) -> None:
    """One lease of the home's. A lease of the scheduler's own on the job can never have begun: it is void."""
    job = queries.job(c, lease.job)
    if job is None or queries.lease_under(c, lease.job, lease.fence) is not None:
        return
    body = {"home": home, "agent": lease.agent, "fence": lease.fence, "committed": lease.committed}
    record(c, "granted_by_home", now, order=job.order, job=job.id, agent=lease.agent, body=body)
    job = _freed(c, mover, job, f"its home {home} granted it anew while the scheduler was away", now)
    if (job.state, JobEvent.STARTED_BY_HOME) not in TRANSITIONS or lease.fence <= job.fence:
        _too_late(c, mover, job, lease, now)
        return
    if not (lease.committed or any(isinstance(event, AT_WORK) for _, event in words(c, job.id, lease.fence))):
        queries.update_job(c, job, {"fence": lease.fence})
        return
    happening = Happening(
        JobEvent.STARTED_BY_HOME,
        now,
        agent=lease.agent,
        machine=lease.machine,
        fence=lease.fence,
        values={"attempt": lease.attempt, "agent": lease.agent, "machine": lease.machine, "fence": lease.fence},
        adopted=Adopted(lease),
        why=f"granted by its home {home} while the scheduler was away",
    )
    mover.move(c, job, happening)
    for agent, event in words(c, job.id, lease.fence):
        apply_event(c, mover, agent, event, now)
    live = queries.live_lease(c, job.id)
    if lease.ended is None or live is None or live.fence != lease.fence:
        return
    if isinstance(lease.ended, m.Finished):  # it ran first, whoever told so to whom
        ran = m.Running(job=job.id, fence=lease.fence, machine=lease.machine, started=lease.ended.started)
        apply_event(c, mover, lease.agent, ran, now)
    apply_event(c, mover, lease.agent, lease.ended, now)


def _freed(c: sa.Connection, mover: Mover, job: JobRow, why: str, now: datetime) -> JobRow:
    """The job without an offer or lease of the scheduler's own: nothing can have begun, or the home had not granted."""
    event = {
        JobState.OFFERED: JobEvent.OFFER_WITHDRAWN,
        JobState.STARTING: JobEvent.GIVEN_UP,
        **dict.fromkeys(_NOT_BEGUN, JobEvent.LEASE_WITHDRAWN),
    }.get(job.state)
    return job if event is None else mover.move(c, job, Happening(event, now, why=why))


def _too_late(c: sa.Connection, mover: Mover, job: JobRow, lease: m.HomeLease, now: datetime) -> None:
    """The job was ended here meanwhile, by a person: what runs for it is asked to end."""
    if lease.committed and lease.ended is None:
        request = m.CancelRequest(job=job.id, fence=lease.fence, why=f"the job is {job.state}")
        post(c, lease.agent, request, now, sender=mover.sender)
    _log.warning("a home's lease on %s comes too late: the job is %s", job.id, job.state)


def _given_up(c: sa.Connection, mover: Mover, home: str, job_id: str, fence: int, now: datetime) -> None:
    """A holder gave up the scheduler's own lease, as the home heard it: nothing will begin under it."""
    job, live = queries.job(c, job_id), queries.live_lease(c, job_id)
    if job is None or live is None or live.fence != fence:
        return
    if (job.state, JobEvent.GIVEN_UP) in TRANSITIONS:
        why = f"its holder gave it up to the home {home}"
        mover.move(c, job, Happening(JobEvent.GIVEN_UP, now, agent=live.agent, machine=live.machine, why=why))
