"""The agents' journals: numbered, committed in order, each number once, acknowledged as far as nothing is missing.

An event that comes early is kept until the ones before it came. A number that comes again with another message id is
not a repetition but an agent whose memory was restored: it is refused, so that no start is ever granted by accident.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import Envelope, RefusedMessage, decode, encode
from agents.contract import messages as m
from scheduler.dispatch.apply import apply_event, runs_under
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.reconcile import reconcile
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import record

_log: Final = logging.getLogger(__name__)
#: Inbox rows kept below the cursor; a number from further below is refused unseen.
KEPT_BELOW_CURSOR: Final = 2_000
_REFUSED_SAID: Final = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal message of one agent."""

    agent: str
    seq: int
    envelope: Envelope


@dataclass(slots=True)
class _Book:
    """One agent's place in its journal during one transaction."""

    agent: str
    cursor: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    early: dict[int, Envelope] = field(default_factory=dict)


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
        seen = _seen(c, by_agent)
        progress: list[tuple[str, m.Progressed]] = []
        for agent, own in by_agent.items():
            for entry in sorted(own, key=lambda entry: entry.seq):
                self._take(c, books[agent], entry, seen, progress, now)
        _write_progress(c, progress)
        self._close(c, books, now)
        return _acknowledgements(c, books)

    def _open(self, c: sa.Connection, agents: Iterable[str]) -> dict[str, _Book]:
        wanted = list(agents)
        query = sa.select(t.agents.c.id, t.agents.c.cursor).where(t.agents.c.id.in_(wanted))
        books = {agent: _Book(agent, cursor) for agent, cursor in c.execute(query)}
        pending = (
            sa.select(t.inbox.c.agent, t.inbox.c.seq, t.inbox.c.payload)
            .where(t.inbox.c.agent.in_(wanted), t.inbox.c.applied.is_(False))
            .order_by(t.inbox.c.seq)
        )
        for agent, seq, payload in c.execute(pending):
            if payload is not None:
                books[agent].early[seq] = decode(payload)
        return books

    def _take(
        self,
        c: sa.Connection,
        book: _Book,
        entry: Entry,
        seen: dict[tuple[str, int], tuple[str, bool]],
        progress: list[tuple[str, m.Progressed]],
        now: datetime,
    ) -> None:
        key = (entry.agent, entry.seq)
        if key in seen or entry.seq <= book.cursor:
            _repeated(c, entry, seen.get(key), now)
            return
        seen[key] = (entry.envelope.id, entry.seq == book.cursor + 1)
        body = entry.envelope.body
        if isinstance(body, m.Holdings) and body.unacked_from > book.cursor + 1:
            self._jump(c, book, body.unacked_from - 1, now)
            self._drain(c, book, progress, now)
        if entry.seq != book.cursor + 1:
            book.early[entry.seq] = entry.envelope
            c.execute(sa.insert(t.inbox).values(**_row(entry, now, applied=False), payload=encode(entry.envelope)))
            return
        self._commit(c, book, entry, progress, now)
        self._drain(c, book, progress, now)

    def _drain(self, c: sa.Connection, book: _Book, progress: list[tuple[str, m.Progressed]], now: datetime) -> None:
        """What came early and is due now."""
        while book.cursor + 1 in book.early:
            envelope = book.early.pop(book.cursor + 1)
            where = (t.inbox.c.agent == book.agent, t.inbox.c.seq == book.cursor + 1)
            c.execute(sa.delete(t.inbox).where(*where))
            self._commit(c, book, Entry(book.agent, book.cursor + 1, envelope), progress, now)

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
        body = entry.envelope.body
        refused: str | None = None
        if isinstance(body, m.Progressed):
            progress.append((book.agent, body))
        else:
            _write_progress(c, progress)
            refused = self._guarded(c, book.agent, body, now)
        if refused is not None:
            _log.warning("journal of %s, %d refused: %s", book.agent, entry.seq, refused)
        book.rows.append({**_row(entry, now, applied=True), "payload": None, "refused": refused})
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
                return apply_event(c, self._mover, agent, body, now)
        except (sa.exc.IntegrityError, queries.StaleVersion, LookupError, ValueError) as error:
            _log.exception("journal of %s: an event could not be applied", agent)
            return f"it could not be applied: {str(error).splitlines()[0]}"

    def _close(self, c: sa.Connection, books: dict[str, _Book], now: datetime) -> None:
        rows = [row for book in books.values() for row in book.rows]
        if rows:
            c.execute(sa.insert(t.inbox), rows)
        update = sa.update(t.agents).where(t.agents.c.id == sa.bindparam("who"))
        moved = [{"who": book.agent, "at": now, "to": book.cursor} for book in books.values()]
        if moved:
            c.execute(update.values(cursor=sa.bindparam("to"), heard_at=sa.bindparam("at")), moved)


def read_entry(agent: str, sender: str, payload: bytes) -> Entry:
    """A journal message from the topic of `agent`. Raises RefusedMessage for what does not belong there."""
    envelope = decode(payload)
    if envelope.seq is None or envelope.seq < 1:
        raise RefusedMessage("a journal message must carry its number (seq ≥ 1)")
    if envelope.sender != sender:
        raise RefusedMessage(f"{envelope.sender!r} may not write in the journal of {sender!r}")
    if not isinstance(envelope.body, m.JournalBody):
        raise RefusedMessage(f"{type(envelope.body).__name__} is not a journal event")
    return Entry(agent, envelope.seq, envelope)


def prune(c: sa.Connection) -> None:
    """Forget inbox rows far below the cursors."""
    for agent, cursor in c.execute(sa.select(t.agents.c.id, t.agents.c.cursor)).all():
        c.execute(sa.delete(t.inbox).where(t.inbox.c.agent == agent, t.inbox.c.seq < cursor - KEPT_BELOW_CURSOR))


def _row(entry: Entry, now: datetime, *, applied: bool) -> dict[str, Any]:
    kind = type(entry.envelope.body).__struct_config__.tag
    return {
        "agent": entry.agent,
        "seq": entry.seq,
        "message": entry.envelope.id[:64],
        "kind": kind,
        "received_at": now,
        "applied": applied,
    }


def _seen(c: sa.Connection, by_agent: dict[str, list[Entry]]) -> dict[tuple[str, int], tuple[str, bool]]:
    agents = list(by_agent)
    numbers = sorted({entry.seq for own in by_agent.values() for entry in own})
    columns = (t.inbox.c.agent, t.inbox.c.seq, t.inbox.c.message, t.inbox.c.applied)
    query = sa.select(*columns).where(t.inbox.c.agent.in_(agents), t.inbox.c.seq.in_(numbers))
    return {(agent, seq): (message, applied) for agent, seq, message, applied in c.execute(query)}


def _repeated(c: sa.Connection, entry: Entry, known: tuple[str, bool] | None, now: datetime) -> None:
    if known is not None and known[0] == entry.envelope.id[:64]:
        return
    why = f"number {entry.seq} was used before for another event: the agent's memory is an old copy"
    _log.error("journal of %s: %s", entry.agent, why)
    if known is None:
        row = {**_row(entry, now, applied=True), "payload": None, "refused": why}
        c.execute(sa.insert(t.inbox).values(**row))
    else:
        where = (t.inbox.c.agent == entry.agent, t.inbox.c.seq == entry.seq)
        c.execute(sa.update(t.inbox).where(*where).values(refused=why))


def _write_progress(c: sa.Connection, progress: list[tuple[str, m.Progressed]]) -> None:
    """How far the machines are: no change of state, the newest word of each job in one statement."""
    newest = {event.job: (agent, event) for agent, event in progress}
    progress.clear()
    if not newest:
        return
    jobs = {job.id: job for job in queries.jobs(c, ids=sorted(newest))}
    values = [
        {"who": event.job, "to_line": event.line, "part_done": event.fraction}
        for agent, event in newest.values()
        if event.job in jobs and runs_under(jobs[event.job], agent, event.fence)
    ]
    if values:
        update = sa.update(t.jobs).where(t.jobs.c.id == sa.bindparam("who"))
        c.execute(update.values(line=sa.bindparam("to_line"), progress=sa.bindparam("part_done"), flag=""), values)


def _acknowledgements(c: sa.Connection, books: dict[str, _Book]) -> dict[str, m.JournalAck]:
    """All numbers refused of late are named every time: an acknowledgement may get lost, a refusal must not."""
    query = (
        sa.select(t.inbox.c.agent, t.inbox.c.seq, t.inbox.c.refused)
        .where(t.inbox.c.agent.in_(list(books)), t.inbox.c.refused.is_not(None))
        .order_by(t.inbox.c.seq.desc())
    )
    refused: dict[str, list[m.RefusedEvent]] = {agent: [] for agent in books}
    for agent, seq, why in c.execute(query):
        if len(refused[agent]) < _REFUSED_SAID and seq <= books[agent].cursor:
            refused[agent].append(m.RefusedEvent(seq=seq, why=why[:300]))
    return {
        agent: m.JournalAck(upto=book.cursor, refused=tuple(reversed(refused[agent]))) for agent, book in books.items()
    }
