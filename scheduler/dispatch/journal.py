"""The agents' journals: numbered, committed in order, each number once, acknowledged as far as nothing is missing.

An event that comes early is kept until the ones before it came. A number that comes again with another message id is
not a repetition but an agent whose memory was restored: it is refused, so that no start is ever granted by accident.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import JobState
from scheduler.dispatch.apply import apply_event, must_be_proven
from scheduler.dispatch.books import book_came
from scheduler.dispatch.entries import Entry, read_entry, sender_of
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.owners import note_own_work
from scheduler.dispatch.reconcile import reconcile
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.given import Given, names_of, rows_of
from scheduler.store.record import record

_log: Final = logging.getLogger(__name__)
#: Inbox rows kept below the cursor; a number from further below is refused unseen.
KEPT_BELOW_CURSOR: Final = 2_000
_REFUSED_SAID: Final = 200
#: What comes further ahead of its turn is not kept: it is sent again until it is acknowledged.
FARTHEST_AHEAD: Final = 5_000
#: Old inbox rows go whenever a cursor passes a multiple of this: never many at once.
_FORGET_EVERY: Final = 250
_FORGOTTEN_AT_ONCE: Final = 1_000


@dataclass(slots=True)
class _Done:
    """One entry as this transaction commits it."""

    entry: Entry
    refused: str | None


@dataclass(slots=True)
class _Book:
    """One agent's place in its journal during one transaction."""

    agent: str
    opened_at: int
    """The cursor when this transaction began."""
    cursor: int
    done: dict[int, _Done] = field(default_factory=dict)
    """What this transaction committed, by number."""
    early: dict[int, Entry] = field(default_factory=dict)


class Journals:
    """Applies batches of journal entries inside the caller's transaction."""

    def __init__(self, mover: Mover, *, term: int) -> None:
        self._mover = mover
        self._term = term

    def apply(self, c: sa.Connection, entries: Sequence[Entry], now: datetime) -> dict[str, m.JournalAck]:
        """Apply what can be applied now. Returns, for every agent named, what to acknowledge after the commit."""
        by_agent: dict[str, list[Entry]] = {}
        for entry in entries:
            by_agent.setdefault(entry.agent, []).append(entry)
        books = self._open(c, by_agent)
        progress: list[tuple[str, m.Progressed]] = []
        for agent, own in by_agent.items():
            for entry in sorted(own, key=lambda entry: entry.seq):
                self._take(c, books[agent], entry, progress, now)
        _write_progress(c, progress)
        self._close(c, books, now, heard=True)
        return _acknowledgements(c, books)

    def take_in(self, c: sa.Connection, agents: Sequence[str], now: datetime) -> None:
        """Apply what these agents told early and is due now. Nobody is acknowledged by it: they tell it again."""
        books = self._open(c, dict.fromkeys(agents, ()))
        progress: list[tuple[str, m.Progressed]] = []
        for book in books.values():
            self._drain(c, book, progress, now)
        _write_progress(c, progress)
        self._close(c, books, now, heard=False)

    def _open(self, c: sa.Connection, by_agent: Mapping[str, Sequence[Entry]]) -> dict[str, _Book]:
        books: dict[str, _Book] = {}
        for agent, cursor, seq, payload, refused in c.execute(_OPEN, names_of(by_agent)):
            book = books.setdefault(agent, _Book(agent, cursor, cursor))
            if payload is not None:
                entry = read_entry(agent, sender_of(agent), payload)
                book.early[seq] = entry if refused is None else replace(entry, refused=refused)
        return books

    def _take(
        self, c: sa.Connection, book: _Book, entry: Entry, progress: list[tuple[str, m.Progressed]], now: datetime
    ) -> None:
        if entry.seq <= book.cursor:
            _repeated(c, book, entry, now)
            return
        body = entry.body
        if isinstance(body, m.Holdings) and body.unacked_from > book.cursor + 1 and entry.seq >= body.unacked_from:
            self._jump(c, book, body.unacked_from - 1, now)
            self._drain(c, book, progress, now)
        is_next = entry.seq == book.cursor + 1
        if is_next and not (entry.seq in book.early or must_be_proven(c, book.agent, body)):
            self._commit(c, book, entry, progress, now)
            self._drain(c, book, progress, now)
        elif entry.seq > book.cursor + FARTHEST_AHEAD:
            _log.warning("journal of %s: %d is too far ahead of %d to keep", book.agent, entry.seq, book.cursor)
        elif entry.seq > book.cursor:
            _keep_early(c, book, entry, now)
            self._drain(c, book, progress, now)

    def _drain(self, c: sa.Connection, book: _Book, progress: list[tuple[str, m.Progressed]], now: datetime) -> None:
        """What came early and is due now, up to a start that must be proven first."""
        while entry := book.early.get(book.cursor + 1):
            if must_be_proven(c, book.agent, entry.body):
                return
            del book.early[entry.seq]
            where = (t.inbox.c.agent == book.agent, t.inbox.c.seq == book.cursor + 1)
            c.execute(sa.delete(t.inbox).where(*where))
            self._commit(c, book, entry, progress, now)

    def _jump(self, c: sa.Connection, book: _Book, to: int, now: datetime) -> None:
        """The agent no longer keeps what is missing here: this database is an older copy than the truth."""
        body = {"missing_from": book.cursor + 1, "missing_to": to}
        record(c, "journal_gap", now, agent=book.agent, body=body)
        _log.error("journal of %s: %s to %s are lost here; the database is an old copy", book.agent, *body.values())
        for seq in [seq for seq in book.early if seq <= to]:
            del book.early[seq]
            c.execute(
                sa.update(t.inbox).where(t.inbox.c.agent == book.agent, t.inbox.c.seq == seq).values(applied=True)
            )
        book.cursor = to

    def _commit(
        self, c: sa.Connection, book: _Book, entry: Entry, progress: list[tuple[str, m.Progressed]], now: datetime
    ) -> None:
        body, refused = entry.body, entry.refused or None
        if refused is not None:
            record(c, "refused_word", now, agent=book.agent, body={"said": entry.kind, "refused": refused})
        elif isinstance(body, m.Progressed):
            progress.append((book.agent, body))
        else:
            _write_progress(c, progress)
            refused = self._guarded(c, book.agent, body, now)
        if refused is not None:
            _log.warning("journal of %s, %d refused: %s", book.agent, entry.seq, refused)
        book.done[entry.seq] = _Done(entry, refused)
        book.cursor = entry.seq

    def _guarded(self, c: sa.Connection, agent: str, body: Any, now: datetime) -> str | None:
        """One bad event must not hold up all others: what breaks a rule of the database is undone and refused."""
        try:
            with c.begin_nested():
                if isinstance(body, m.Holdings):
                    reconcile(c, self._mover, agent, body, now)
                    values = {"holdings_at": now, "holdings_term": self._term, "boot": body.boot}
                    c.execute(sa.update(t.agents).where(t.agents.c.id == agent).values(**values))
                    return None
                if isinstance(body, m.OwnWork):
                    note_own_work(c, agent, body, now)
                    return None
                if isinstance(body, m.HomeBook):
                    return book_came(c, self._mover, agent, body, now)
                return apply_event(c, self._mover, agent, body, now)
        except (sa.exc.IntegrityError, queries.StaleVersion, LookupError, ValueError) as error:
            _log.exception("journal of %s: an event could not be applied", agent)
            return f"it could not be applied: {str(error).splitlines()[0]}"

    def _close(self, c: sa.Connection, books: dict[str, _Book], now: datetime, *, heard: bool) -> None:
        done = [one for book in books.values() for one in book.done.values()]
        if done:
            rows = ((x.entry.agent, x.entry.seq, x.entry.message, x.entry.kind, x.refused) for x in done)
            c.execute(_KEEP, {"at": now, **rows_of(rows)})
        moved = _HEARD if heard else _MOVED
        c.execute(moved, {"at": now, **rows_of((book.agent, book.cursor) for book in books.values())})
        old = [
            {"whose": book.agent, "below": book.cursor - KEPT_BELOW_CURSOR}
            for book in books.values()
            if book.opened_at // _FORGET_EVERY != book.cursor // _FORGET_EVERY
        ]
        if old:
            c.execute(_FORGET, old)


# --- one statement for all agents of a batch --------------------------------------------------------------------------

_entries: Final = Given(sa.String, sa.BigInteger, sa.String, sa.String, sa.Text)
_agent, _seq, _message, _kind, _refused = _entries.columns
_KEEP: Final = sa.insert(t.inbox).from_select(
    ["agent", "seq", "message", "kind", "refused", "received_at", "applied"],
    sa.select(_agent, _seq, _message, _kind, _refused, sa.bindparam("at", type_=t.UtcTime), sa.true()),
)
_places: Final = Given(sa.String, sa.BigInteger)
_whose, _place = _places.columns
_MOVED: Final = sa.update(t.agents).where(t.agents.c.id == _whose).values(cursor=_place)
_HEARD: Final = _MOVED.values(heard_at=sa.bindparam("at"))
_FORGET: Final = sa.delete(t.inbox).where(
    t.inbox.c.agent == sa.bindparam("whose"), t.inbox.c.seq < sa.bindparam("below")
)
# Nothing waits below a cursor: the range on the key keeps a long journal out of every batch.
_EARLY: Final = sa.and_(
    t.inbox.c.agent == t.agents.c.id, t.inbox.c.seq > t.agents.c.cursor, t.inbox.c.applied.is_(False)
)
_OPEN: Final = (
    sa.select(t.agents.c.id, t.agents.c.cursor, t.inbox.c.seq, t.inbox.c.payload, t.inbox.c.refused)
    .join(t.inbox, _EARLY, isouter=True)
    .where(t.agents.c.id.in_(_places.names))
)
_REFUSED: Final = (
    sa.select(t.inbox.c.agent, t.inbox.c.seq, t.inbox.c.refused)
    .where(t.inbox.c.agent.in_(_places.names), t.inbox.c.refused.is_not(None))
    .order_by(t.inbox.c.seq.desc())
)
_LAST: Final = (
    sa.select(t.agents.c.id, t.inbox.c.message)
    .join(t.inbox, sa.and_(t.agents.c.id == t.inbox.c.agent, t.agents.c.cursor == t.inbox.c.seq))
    .where(t.agents.c.id.in_(_places.names))
)


def that_waited(c: sa.Connection) -> list[str]:
    """Agents with a lease from before the present term whose next word is here already: it had to wait for others'."""
    query = (
        sa.select(t.leases.c.agent)
        .join(t.agents, t.agents.c.id == t.leases.c.agent)
        .join(t.inbox, sa.and_(t.inbox.c.agent == t.agents.c.id, t.inbox.c.seq == t.agents.c.cursor + 1))
        .where(t.leases.c.ended_at.is_(None), t.leases.c.term < queries.present_term(), t.inbox.c.applied.is_(False))
    )
    return list(c.execute(query.distinct().order_by(t.leases.c.agent)).scalars())


def take_in_what_waited(c: sa.Connection, mover: Mover, agents: Sequence[str], now: datetime) -> None:
    """Apply what `agents` told while a start's hearing went on, before time alone may unmake what it tells of."""
    term = c.execute(sa.select(queries.present_term())).scalar()
    if term is not None:
        Journals(mover, term=term).take_in(c, agents, now)


def prune(c: sa.Connection) -> bool:
    """Forget some inbox rows far below the cursors. Whether there may be more."""
    below = sa.and_(t.inbox.c.agent == t.agents.c.id, t.inbox.c.seq < t.agents.c.cursor - KEPT_BELOW_CURSOR)
    old = sa.select(t.inbox.c.agent, t.inbox.c.seq).join(t.agents, below).limit(_FORGOTTEN_AT_ONCE)
    key = sa.tuple_(t.inbox.c.agent, t.inbox.c.seq)
    return c.execute(sa.delete(t.inbox).where(key.in_(old))).rowcount == _FORGOTTEN_AT_ONCE


def _row(entry: Entry, now: datetime, *, applied: bool) -> dict[str, Any]:
    return {
        "agent": entry.agent,
        "seq": entry.seq,
        "message": entry.message,
        "kind": entry.kind,
        "received_at": now,
        "applied": applied,
    }


def _keep_early(c: sa.Connection, book: _Book, entry: Entry, now: datetime) -> None:
    before = book.early.setdefault(entry.seq, entry)
    if before is entry:
        c.execute(sa.insert(t.inbox).values(**_row(entry, now, applied=False), payload=entry.payload))
    elif before.message != entry.message:
        book.early[entry.seq] = replace(before, refused=m.used_number(entry.seq))
        where = (t.inbox.c.agent == entry.agent, t.inbox.c.seq == entry.seq)
        c.execute(sa.update(t.inbox).where(*where).values(refused=m.used_number(entry.seq)))


def _repeated(c: sa.Connection, book: _Book, entry: Entry, now: datetime) -> None:
    """The same event again is no news; another event under a number that was used is refused, and so is that number."""
    why = m.used_number(entry.seq)
    done = book.done.get(entry.seq)
    if done is not None:
        if done.entry.message != entry.message:
            done.refused = why
        return
    where = (t.inbox.c.agent == entry.agent, t.inbox.c.seq == entry.seq)
    known = c.execute(sa.select(t.inbox.c.message).where(*where)).scalar()
    if known == entry.message:
        return
    _log.error("journal of %s: %s", entry.agent, why)
    if known is None:
        row = {**_row(entry, now, applied=True), "payload": None, "refused": why}
        c.execute(sa.insert(t.inbox).values(**row))
    else:
        c.execute(sa.update(t.inbox).where(*where).values(refused=why))


def _write_progress(c: sa.Connection, progress: list[tuple[str, m.Progressed]]) -> None:
    """How far the machines are: no change of state, the newest word of each job, and only of the attempt that runs."""
    newest = {(agent, event.job, event.fence): event for agent, event in progress}
    progress.clear()
    if newest:
        rows = ((agent, job, fence, event.line, event.fraction) for (agent, job, fence), event in newest.items())
        c.execute(_PROGRESS, rows_of(rows))


_progress: Final = Given(sa.String, sa.String, sa.Integer, sa.Integer, sa.Float)
_by, _job, _under, _to_line, _part_done = _progress.columns
_PROGRESS: Final = (
    sa.update(t.jobs)
    .where(
        t.jobs.c.id == _job,
        t.jobs.c.agent == _by,
        t.jobs.c.fence == _under,
        # Not the bare column: SQLite would go through all that runs for each word, by the index on the state.
        sa.func.coalesce(t.jobs.c.state, "").in_([JobState.RUNNING.value, JobState.HELD.value]),
    )
    .values(
        line=_to_line,
        progress=_part_done,
        # That it goes on is no answer where it was asked to end.
        flag=sa.case((t.jobs.c.cancel_why == "", ""), else_=t.jobs.c.flag),
    )
)


def _acknowledgements(c: sa.Connection, books: dict[str, _Book]) -> dict[str, m.JournalAck]:
    """All numbers refused of late are named every time: an acknowledgement may get lost, a refusal must not."""
    refused: dict[str, list[m.RefusedEvent]] = {agent: [] for agent in books}
    for agent, seq, why in c.execute(_REFUSED, names_of(books)):
        if len(refused[agent]) < _REFUSED_SAID and seq <= books[agent].cursor:
            refused[agent].append(m.refused_event(seq, why))
    last = {agent: book.done[book.cursor].entry.message for agent, book in books.items() if book.cursor in book.done}
    still = books.keys() - last.keys()
    if still:
        last |= {row.id: row.message for row in c.execute(_LAST, names_of(still))}
    return {
        agent: m.JournalAck(upto=book.cursor, refused=tuple(reversed(refused[agent])), last=last.get(agent, ""))
        for agent, book in books.items()
    }
