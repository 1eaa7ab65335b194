"""The board: open jobs as marks, lent to their homes; taking them back, with a home's book, after a lost connection.

Every connection is an epoch of its own. Nothing of a job that was lent in an earlier one is offered or granted before
its home has handed in its book, or a person has declared the home lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
import sqlalchemy as sa

from agents.contract import PREFIX, RefusedMessage, decode
from agents.contract import messages as m
from agents.contract.granting import Hold, HoldEvent, may_post
from agents.contract.vocabulary import CLOSED_STATES, JobState
from scheduler.dispatch.lending import (
    current_epoch,
    doubted,
    forget_words,
    lendings,
    move,
    newest_word,
    not_open_any_more,
    open_lease_holders,
    post_mark,
    settled_upto,
    take_down,
)
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.offers import Reach, ticket_of, toolpath_ref
from scheduler.dispatch.picture import Picture
from scheduler.dispatch.reconcile import put_in_doubt
from scheduler.dispatch.states import JobEvent
from scheduler.orders.recipes import read_body
from scheduler.orders.refusal import Refused
from scheduler.store import board_tables as bt
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import post, record
from scheduler.store.rows import AgentRow, JobRow

_log: Final = logging.getLogger(__name__)
#: A mark that nobody renews is read no more after that.
EVAPORATES: Final = timedelta(days=7)
_ASK_AGAIN: Final = timedelta(seconds=10)
_OPEN: Final = frozenset({JobState.WAITING, JobState.OFFERED, JobState.LEASED, JobState.STAGED, JobState.READY})
_OVER: Final = frozenset({JobState.INSPECTED, JobState.CANCELLED})
#: Two or three statements each, while everybody else waits to write.
_TIDIED_AT_ONCE: Final = 20
#: Fences that a home which forgot its grants may have given out beyond the highest anybody told of.
_GIVEN_UNTOLD: Final = 16
_BOARD: Final = f"{PREFIX}/board/"


def begin_epoch(c: sa.Connection, mover: Mover, epoch: int, now: datetime) -> None:
    """A connection is about to be made: what was lent in an earlier one is in doubt, and nothing of it goes out."""
    scheduler = mover.sender.partition("/")[2]
    c.execute(sa.delete(bt.epochs).where(bt.epochs.c.scheduler == scheduler))
    c.execute(sa.insert(bt.epochs).values(scheduler=scheduler, epoch=epoch, began_at=now))
    for held in lendings(c):
        move(c, held, HoldEvent.EPOCH_BEGAN)
    in_doubt = doubted(c)
    for job in queries.jobs(c, ids=sorted(in_doubt)):
        if job.state is JobState.OFFERED:
            mover.move(c, job, Happening(JobEvent.OFFER_WITHDRAWN, now, why="the connection was lost"))
        elif job.state is JobState.WAITING:
            queries.update_job(c, job, {"placement": None})  # a plan made before this is old
    _hold_back(c, set(in_doubt), now)
    ask_for_books(c, mover, now, again=timedelta(0))
    if in_doubt:
        _log.warning("epoch %d: %d jobs wait for the books of their homes", epoch, len(in_doubt))


def _hold_back(c: sa.Connection, in_doubt: set[str], now: datetime) -> None:
    """Marks of an older epoch, and offers and grants of jobs in doubt, never go out."""
    rows = c.execute(sa.select(t.outbox.c.id, t.outbox.c.topic, t.outbox.c.payload).where(t.outbox.c.sent_at.is_(None)))
    stale = []
    for number, topic, payload in rows.all():
        if topic.startswith(_BOARD):
            if payload:
                stale.append(number)
            continue
        try:
            body = decode(payload).body
        except RefusedMessage:
            continue
        job = body.ticket.job if isinstance(body, m.Offer) else body.job if isinstance(body, m.Grant) else ""
        if job in in_doubt or isinstance(body, m.BookRequest):
            stale.append(number)
    for number in stale:
        c.execute(sa.update(t.outbox).where(t.outbox.c.id == number).values(sent_at=now))


def ask_for_books(c: sa.Connection, mover: Mover, now: datetime, *, again: timedelta = _ASK_AGAIN) -> None:
    """Ask every home that owes one, not too often."""
    scheduler = mover.sender.partition("/")[2]
    epoch = current_epoch(c, scheduler)
    if epoch is None:
        return
    for home in sorted({held.home for held in lendings(c, hold=Hold.DOUBTED)}):
        asked = c.execute(sa.select(bt.homes.c.asked_at).where(bt.homes.c.agent == home)).scalar()
        if asked is not None and now - asked < again:
            continue
        c.execute(sa.update(bt.homes).where(bt.homes.c.agent == home).values(asked_at=now))
        request = m.BookRequest(scheduler=scheduler, epoch=epoch, settled=settled_upto(c, home))
        post(c, home, request, now, sender=mover.sender)


# --- posting ----------------------------------------------------------------------------------------------------------


def post_marks(
    c: sa.Connection, mover: Mover, picture: Picture, jobs: Sequence[str], reach: Reach, now: datetime
) -> int:
    """Put those of `jobs` that are open and have a toolpath on the board. Returns how many marks went out."""
    scheduler = mover.sender.partition("/")[2]
    epoch = current_epoch(c, scheduler)
    if epoch is None:
        return 0
    there = keepers(c)
    agents = there.agents
    lent = {held.job: held for held in lendings(c, jobs=jobs)}
    posted = 0
    for job in queries.jobs(c, states=[JobState.WAITING], ids=jobs):
        shown = picture.jobs.get(job.id)
        held = lent.get(job.id)
        if shown is None or shown.version != job.version or job.id in picture.held_back:
            continue
        if held is not None and not may_post(held.hold):
            continue
        home = held.home if held is not None and held.home in agents else there.home_of(job)
        if not home:
            continue
        mark = _mark(job, picture, reach, home, agents.get(home), scheduler, epoch, now)
        if mark is not None and (held is None or held.mark != msgspec.json.encode(mark)):
            post_mark(c, mark, home, now)
            posted += 1
    return posted


@dataclass(frozen=True, slots=True)
class Keepers:
    """The agents that are known, and those that volunteer as homes."""

    agents: dict[str, AgentRow]
    volunteers: frozenset[str]

    def home_of(self, job: JobRow) -> str:
        """The agent of the shop that the job came in through; else one of those that volunteered; else nobody."""
        shop = read_body(job.body).own_shop
        of_shop = sorted(name for name, agent in self.agents.items() if agent.shop == shop and agent.online)
        if of_shop:
            return of_shop[0]
        there = sorted(name for name in self.volunteers if name in self.agents and self.agents[name].online)
        return min(there, key=lambda name: hashlib.sha256(f"{job.id}/{name}".encode()).digest(), default="")


def keepers(c: sa.Connection) -> Keepers:
    """Who may be the home of a job now."""
    volunteers = c.execute(sa.select(bt.homes.c.agent).where(bt.homes.c.volunteers)).scalars()
    return Keepers({row.id: row for row in queries.agents(c)}, frozenset(volunteers))


def _mark(
    job: JobRow,
    picture: Picture,
    reach: Reach,
    home: str,
    agent: AgentRow | None,
    scheduler: str,
    epoch: int,
    now: datetime,
) -> m.BoardMark | None:
    own = picture.toolpaths(job.id)
    places = sorted(own)
    if not places:
        return None
    bases = [reach.toolpath_url, *([f"{agent.http.rstrip('/')}/toolpaths"] if agent is not None and agent.http else [])]
    refs = {}
    for key in places:
        row, model = own[key], picture.machines[key].report.description.model
        refs[row.sha256, model] = toolpath_ref(row, bases, model)
    renewals = (now - job.created_at) // (EVAPORATES - timedelta(days=1))
    return m.BoardMark(
        ticket=ticket_of(job, picture, picture.machines[places[0]], own[places[0]]),
        toolpaths=tuple(refs[key] for key in sorted(refs)),
        attempt=job.attempt,
        home=home.replace(".", "/"),
        posted=job.created_at,
        scheduler=scheduler,
        epoch=epoch,
        floor=job.fence,
        evaporates=job.created_at + (EVAPORATES - timedelta(days=1)) * renewals + EVAPORATES,
    )


def tidy(c: sa.Connection, mover: Mover, now: datetime) -> bool:
    """Take down marks of jobs that run or are over; forget lendings that nobody can use; ask for books again.

    Some of them in this transaction; returns whether there may be more.
    """
    ask_for_books(c, mover, now)
    some = not_open_any_more(c, _OPEN, _OVER, _TIDIED_AT_ONCE)
    for held in some:
        if held.mark is not None:
            take_down(c, held, now)
        else:
            c.execute(sa.delete(bt.lendings).where(bt.lendings.c.job == held.job))
    return len(some) == _TIDIED_AT_ONCE


# --- taking back ------------------------------------------------------------------------------------------------------


def taken_back(c: sa.Connection, mover: Mover, home: str, now: datetime) -> None:
    """The right to grant is the scheduler's own again for all that this home owed a book for."""
    back = {held.job: held for held in lendings(c, home=home, hold=Hold.DOUBTED)}
    for held in back.values():
        move(c, held, HoldEvent.BOOK_CAME)
    _doubt_what_is_unexplained(c, mover, home, back, now)
    # A grant that was held back is said again where the agent, asked what it holds, does not know it.
    for agent in sorted(open_lease_holders(c, back)):
        post(c, agent, m.ReconcileRequest(why="the book of a job's home came"), now, sender=mover.sender)
    record(c, "book_came", now, agent=home, body={"jobs": len(back)})


def _doubt_what_is_unexplained(c: sa.Connection, mover: Mover, home: str, jobs: Iterable[str], now: datetime) -> None:
    """Agents told of a fence that is known neither here nor to the home: one of the two memories is an old copy."""
    for job in queries.jobs(c, ids=sorted(jobs)):
        fence = newest_word(c, job.id)
        forget_words(c, job.id)
        if fence > job.fence and job.state not in CLOSED_STATES:
            why = f"a shop had it under fence {fence}, of which neither this database nor the home {home} knows"
            doubt = f"{why}: look at the machines, then release the job"
            put_in_doubt(c, mover, job, fence + _GIVEN_UNTOLD, doubt, now)


def declare_home_lost(c: sa.Connection, mover: Mover, home: str, why: str, now: datetime) -> int:
    """A person says that a home will never hand in its book. Returns how many jobs are the scheduler's own again.

    Raises Refused (404) for a name that no agent has.
    """
    if queries.agent(c, home) is None:
        why = f"no agent is called {home[:200]}"
        raise Refused("unknown_agent", "Nothing was done", why, "Give shop.agent.", status=404)
    back = {held.job: held for held in lendings(c, home=home, hold=Hold.DOUBTED)}
    for held in back.values():
        move(c, held, HoldEvent.HOME_DECLARED_LOST)
    _doubt_what_is_unexplained(c, mover, home, back, now)
    record(c, "home_declared_lost", now, agent=home, body={"why": why, "jobs": len(back)})
    for agent in sorted(open_lease_holders(c, back)):
        post(c, agent, m.ReconcileRequest(why="a job's home was declared lost"), now, sender=mover.sender)
    return len(back)
