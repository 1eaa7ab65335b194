"""Jobs lent to their homes: the rows, the marks that go out, and what must not be done while a job is in doubt.

The rules are those of `agents.contract.granting`. A mark stands in the outbox before anything that depends on it, in
the same transaction: the broker has taken it before the agent has the grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import structs

from agents.contract import encode, wrap
from agents.contract import messages as m
from agents.contract.granting import Hold, HoldEvent, hold_after
from agents.contract.topics import BOARD
from agents.contract.vocabulary import JobState
from scheduler.store import board_tables as bt
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.rows import JobRow

#: What an agent may say of a lease that is not known here, while its job's home may have granted it.
_OF_LEASES: Final = (
    *(m.Staged, m.Ready, m.GatesShut, m.StartIntended, m.Running, m.Held, m.Resumed, m.Finished, m.Failed),
    *(m.CancelConfirmed, m.Inspected),
)
#: What a holder says of a run that its machine confirmed: true also where an old copy of the home's memory forgot it.
AT_WORK: Final = (m.Running, m.Held, m.Resumed, m.Finished)
_body: Final = msgspec.json.Decoder(m.JournalBody)


@dataclass(frozen=True, slots=True)
class Lending:
    """One job that was posted with a home. `home` is `{shop}.{agent}`; `epoch` the one it was lent in last."""

    job: str
    home: str
    epoch: int
    hold: Hold
    topic: str
    mark: bytes | None
    at: datetime


def _lending(row: sa.RowMapping) -> Lending:
    values: dict[str, Any] = {**row}
    return Lending(**{**values, "hold": Hold(values["hold"])})


def lending(c: sa.Connection, job: str) -> Lending | None:
    """What is known of one job's lending."""
    row = c.execute(sa.select(bt.lendings).where(bt.lendings.c.job == job)).mappings().first()
    return None if row is None else _lending(row)


def lendings(
    c: sa.Connection,
    *,
    home: str | None = None,
    hold: Hold | None = None,
    jobs: Sequence[str] | None = None,
) -> list[Lending]:
    """All lendings, or those of one home, of one hold, of these jobs."""
    query = sa.select(bt.lendings).order_by(bt.lendings.c.job)
    if jobs is not None:
        query = query.where(bt.lendings.c.job.in_(jobs))
    if home is not None:
        query = query.where(bt.lendings.c.home == home)
    if hold is not None:
        query = query.where(bt.lendings.c.hold == hold.value)
    return [_lending(row) for row in c.execute(query).mappings()]


def not_open_any_more(
    c: sa.Connection, open_: Iterable[JobState], over: Iterable[JobState], most: int
) -> list[Lending]:
    """Lent jobs in no `open_` state that still have a mark; and those `over` of whose marks the broker knows all."""
    states, ended = [state.value for state in open_], [state.value for state in over]
    unsent = sa.exists().where(t.outbox.c.topic == bt.lendings.c.topic, t.outbox.c.sent_at.is_(None))
    forgettable = sa.and_(t.jobs.c.state.in_(ended), ~unsent)
    query = (
        sa.select(bt.lendings)
        .join(t.jobs, t.jobs.c.id == bt.lendings.c.job)
        .where(bt.lendings.c.hold == Hold.LENT.value, t.jobs.c.state.not_in(states))
        .where(sa.or_(bt.lendings.c.mark.is_not(None), forgettable))
        .order_by(bt.lendings.c.job)
        .limit(most)
    )
    return [_lending(row) for row in c.execute(query).mappings()]


def move(c: sa.Connection, held: Lending, event: HoldEvent) -> Hold:
    """One step of the table; a job that is the scheduler's own again needs no row."""
    hold = hold_after(held.hold, event)
    where = bt.lendings.c.job == held.job
    if hold is Hold.OWN:
        c.execute(sa.delete(bt.lendings).where(where))
    else:
        c.execute(sa.update(bt.lendings).where(where).values(hold=hold.value))
    return hold


def current_epoch(c: sa.Connection, scheduler: str) -> int | None:
    """The epoch of the connection that stands or is being made; None where there never was one."""
    return c.execute(sa.select(bt.epochs.c.epoch).where(bt.epochs.c.scheduler == scheduler)).scalar()


def doubted(c: sa.Connection) -> dict[str, str]:
    """Jobs that nothing may be offered or granted for, and why, in a sentence."""
    return {
        held.job: f"its home {held.home} may have granted it while the connection was lost, and has not said yet what "
        "it did; when that shop is gone for good, a person can declare the home lost"
        for held in lendings(c, hold=Hold.DOUBTED)
    }


def post_mark(c: sa.Connection, mark: m.BoardMark, home: str, now: datetime) -> None:
    """Put a mark on the board (or a newer one in its place) and note that the job is lent."""
    ticket = mark.ticket
    topic = BOARD.of(ring=ticket.ring.value, process=ticket.process.value, job=ticket.job)
    before = lending(c, ticket.job)
    body = msgspec.json.encode(mark)
    if before is not None and before.mark == body:
        return
    if before is not None and before.topic != topic and before.mark is not None:
        _say(c, before.topic, b"", now)
    hold = hold_after(before.hold if before is not None else Hold.OWN, HoldEvent.POSTED)
    values = {"home": home, "epoch": mark.epoch, "hold": hold.value, "topic": topic, "mark": body, "at": now}
    if before is None:
        c.execute(sa.insert(bt.lendings).values(job=ticket.job, **values))
    else:
        c.execute(sa.update(bt.lendings).where(bt.lendings.c.job == ticket.job).values(**values))
    _say(c, topic, encode(wrap(mark, sender=f"scheduler/{mark.scheduler}", now=now)), now)


def take_down(c: sa.Connection, held: Lending, now: datetime) -> None:
    """The job is open no more."""
    c.execute(sa.update(bt.lendings).where(bt.lendings.c.job == held.job).values(mark=None, at=now))
    _say(c, held.topic, b"", now)


def _say(c: sa.Connection, topic: str, payload: bytes, now: datetime) -> None:
    c.execute(sa.insert(t.outbox).values(topic=topic, payload=payload, retained=True, created_at=now, expires_at=None))


def hold_for(c: sa.Connection, job: JobRow, agent: str, machine: str, now: datetime) -> None:
    """The job is about to be granted under `job.fence`: its mark says so first, for the home to read if need be."""
    held = lending(c, job.id)
    if held is None or held.mark is None:
        return
    mark = msgspec.json.decode(held.mark, type=m.BoardMark)
    lease = m.HeldLease(agent=agent, machine=machine, fence=job.fence)
    post_mark(c, structs.replace(mark, held=lease, floor=job.fence), held.home, now)


def put_off(c: sa.Connection, job: JobRow, agent: str, event: Any, now: datetime) -> str | None:
    """Keep what an agent says of a lease that only the book of the job's home will explain; None where it need not be.

    A start is answered by whoever granted it: here it is refused, and the agent that holds a home's lease does not
    ask here.
    """
    if not isinstance(event, _OF_LEASES) or event.fence <= job.fence:
        return None
    held = lending(c, job.id)
    if held is None or held.hold is not Hold.DOUBTED:
        return None
    _keep_word(c, job.id, agent, event.fence, event, now)
    return f"the home {held.home} granted it, if anybody did: its book is waited for"


def called_unbegun(c: sa.Connection, agent: str, event: Any) -> bool:
    """Whether a machine of the agent ran under a lease that the book of the job's home said had never begun.

    The book may come before its holder's words, and from an old copy of the home's memory.
    """
    if not isinstance(event, AT_WORK) or queries.lease_under(c, event.job, event.fence) is not None:
        return False
    granted = sa.select(t.events.c.body).where(
        t.events.c.job == event.job, t.events.c.kind == "granted_by_home", t.events.c.agent == agent
    )
    books = c.execute(granted).scalars()
    return any(book["fence"] == event.fence and not book["committed"] for book in books)


def keep_fence(c: sa.Connection, job: str, agent: str, holdings: m.Holdings, fence: int, now: datetime) -> None:
    """An agent has seen a fence that is not known here: the book of the job's home may explain it, or nobody can."""
    _keep_word(c, job, agent, fence, structs.replace(holdings, jobs=(), highest_fences={job: fence}), now)


def _keep_word(c: sa.Connection, job: str, agent: str, fence: int, said: Any, now: datetime) -> None:
    values = {"job": job, "agent": agent, "fence": fence, "payload": msgspec.json.encode(said), "at": now}
    c.execute(sa.insert(bt.home_words).values(**values))


def newest_word(c: sa.Connection, job: str) -> int:
    """The highest fence that was told of a job while it was in doubt; 0 for none."""
    return c.execute(sa.select(sa.func.max(bt.home_words.c.fence)).where(bt.home_words.c.job == job)).scalar() or 0


def words(c: sa.Connection, job: str, fence: int) -> list[tuple[str, Any]]:
    """(agent, event) put off under a fence, in the order in which they came."""
    query = (
        sa.select(bt.home_words.c.agent, bt.home_words.c.payload)
        .where(bt.home_words.c.job == job, bt.home_words.c.fence == fence)
        .order_by(bt.home_words.c.id)
    )
    said = [(agent, _body.decode(payload)) for agent, payload in c.execute(query)]
    return [(agent, event) for agent, event in said if not isinstance(event, m.Holdings)]


def forget_words(c: sa.Connection, job: str) -> None:
    """They were applied, or put the job in doubt, for nothing explains them."""
    c.execute(sa.delete(bt.home_words).where(bt.home_words.c.job == job))


def note_home(c: sa.Connection, agent: str, said: m.AgentPresence) -> None:
    """Whether an agent volunteers as a home."""
    if not said.online:
        return
    changed = c.execute(sa.update(bt.homes).where(bt.homes.c.agent == agent).values(volunteers=said.volunteers))
    if not changed.rowcount:
        c.execute(sa.insert(bt.homes).values(agent=agent, volunteers=said.volunteers, settled=0))


def settled_upto(c: sa.Connection, agent: str) -> int:
    """The last epoch whose book of this home was taken in."""
    return c.execute(sa.select(bt.homes.c.settled).where(bt.homes.c.agent == agent)).scalar() or 0


def open_lease_holders(c: sa.Connection, jobs: Mapping[str, object]) -> set[str]:
    """Agents that hold live leases on some of these jobs."""
    return {lease.agent for lease in queries.live_leases(c) if lease.job in jobs}
