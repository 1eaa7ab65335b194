"""Which of several scheduler processes dispatches: one row, one term, and no write under an older one.

Safety does not hang on time: every write compares the term inside its own transaction, so a process that slept through
its succession writes nothing when it wakes. Time only decides when a successor comes, and each one measures it with its
own clock: it follows when the holder's beat stood still for as long as the lease is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from scheduler.clock import Clock
from scheduler.store import SteppedDown, Store
from scheduler.store import tables as t
from scheduler.store.dispatch_tables import leadership as lead
from scheduler.store.record import record

_log: Final = logging.getLogger(__name__)
#: One database, one dispatcher. Regions get scopes of their own when work is split by region.
_SCOPE: Final = "all"
_BEATS_A_LEASE: Final = 4


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the leadership, as the row says."""

    name: str
    url: str
    term: int
    beat: int


class Leadership:
    """One process's part in it. `term` is the one it holds, 0 while it stands by."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        instance: str,
        url: str,
        lease: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock, self._name, self._url = store, clock, instance, url
        self._lease_s, self._monotonic = lease.total_seconds(), monotonic
        self.term = 0
        self._seen: Holder | None = None
        self._seen_at = monotonic()
        self._news = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether this process dispatches, as far as it knows; the database decides at each write."""
        return self.term > 0

    def guard(self, c: sa.Connection) -> None:
        """Inside a write: raises SteppedDown unless this process holds the newest term.

        The row is share-locked where the database knows that: nobody can take the term before this write is over.
        """
        columns = (lead.c.term, lead.c.holder, lead.c.url)
        row = c.execute(sa.select(*columns).where(lead.c.scope == _SCOPE).with_for_update(read=True)).first()
        if row is None or row.term != self.term or not self.held:
            self.term = 0
            self._news.set()
            raise SteppedDown("" if row is None else row.holder, "" if row is None else row.url)

    def take(self) -> bool:
        """Take the next term if nobody has it: it is free, was this scheduler's own, or stood still for a lease."""
        try:
            with self._store.write_unfenced() as c:
                now_held = _holder(c)
                if not self._may_take(now_held):
                    return False
                self.term = self._write_term(c, now_held)
        except sa.exc.IntegrityError:  # another took the first term ever in the same moment
            return False
        _log.info("scheduler %s dispatches, term %d", self._name, self.term)
        return True

    def _may_take(self, holder: Holder | None) -> bool:
        if holder is None or not holder.name:
            return True
        if self._seen is None and holder.name == self._name:
            return True  # its process before this one; should that still live, the new term fences it off
        if holder != self._seen:
            self._seen, self._seen_at = holder, self._monotonic()
        return self._monotonic() - self._seen_at >= self._lease_s

    def _write_term(self, c: sa.Connection, before: Holder | None) -> int:
        now = self._clock.now()
        known = (before.term if before is not None else 0, *_terms_before_leadership(c))
        term = max(known) + 1
        values = {"holder": self._name, "url": self._url, "term": term, "taken_at": now, "beaten_at": now}
        if before is None:
            c.execute(sa.insert(lead).values(scope=_SCOPE, beat=0, **values))
        else:
            c.execute(sa.update(lead).where(lead.c.scope == _SCOPE).values(beat=before.beat + 1, **values))
        c.execute(sa.delete(t.schedulers).where(t.schedulers.c.id == self._name))
        c.execute(sa.insert(t.schedulers).values(id=self._name, term=term, started_at=now))
        body = {"scheduler": self._name, "term": term, "after": "" if before is None else before.name}
        record(c, "scheduler_started", now, body=body)
        return term

    def beat(self) -> bool:
        """Say that it is still there. False, and nothing held any more, where another holds a newer term."""
        own = (lead.c.scope == _SCOPE, lead.c.term == self.term, lead.c.holder == self._name)
        with self._store.write_unfenced() as c:
            beaten = c.execute(
                sa.update(lead).where(*own).values(beat=lead.c.beat + 1, beaten_at=self._clock.now())
            ).rowcount
        if beaten != 1:
            self.term = 0
        return self.held

    def release(self) -> None:
        """Give it up, so that one who stands by follows at once."""
        own = (lead.c.scope == _SCOPE, lead.c.term == self.term, lead.c.holder == self._name)
        with self._store.write_unfenced() as c:
            c.execute(sa.update(lead).where(*own).values(holder="", beat=lead.c.beat + 1))
        self.term = 0

    def watch(self, gained: Callable[[], object], lost: Callable[[], object]) -> None:
        """Keep it, or wait for it, in a thread of its own; `gained` and `lost` are called there, one after another."""
        self._thread = threading.Thread(target=self._watch, args=(gained, lost), name="leadership", daemon=True)
        self._thread.start()

    def _watch(self, gained: Callable[[], object], lost: Callable[[], object]) -> None:
        dispatching = self.held
        while self._goes_on():
            try:
                now_held = self.beat() if dispatching else self.take()
            except sa.exc.DBAPIError as error:
                _log.error("whether this scheduler may dispatch is not known: %s", error.orig)
                continue
            if dispatching and not now_held:
                _log.warning("scheduler %s stepped down: another one dispatches", self._name)
                lost()
                self._see_who_holds_it()
            elif now_held and not dispatching:
                gained()
                now_held = self.held
            dispatching = now_held

    def _goes_on(self) -> bool:
        """Wait for the next beat, or for a reason to look earlier; False at the end."""
        self._news.wait(self._lease_s / _BEATS_A_LEASE)
        self._news.clear()
        return not self._ending

    def _see_who_holds_it(self) -> None:
        """Whoever holds it now, also under this same name, holds it for a lease at least."""
        with self._store.read() as c:
            self._seen, self._seen_at = _holder(c), self._monotonic()

    def look(self) -> None:
        """Something went wrong that a successor may be the reason of: look now, not at the next beat."""
        self._news.set()

    def stop(self) -> None:
        """End the thread and give up what is held."""
        self._ending = True
        self._news.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)


def _holder(c: sa.Connection) -> Holder | None:
    query = sa.select(lead.c.holder, lead.c.url, lead.c.term, lead.c.beat).where(lead.c.scope == _SCOPE)
    row = c.execute(query.with_for_update()).first()
    return None if row is None else Holder(row.holder, row.url, row.term, row.beat)


def _terms_before_leadership(c: sa.Connection) -> tuple[int, ...]:
    """Terms that agents may have heard of before there was one row for all."""
    highest = [sa.func.max(t.schedulers.c.term), sa.func.max(t.agents.c.holdings_term)]
    return tuple(c.execute(sa.select(column)).scalar() or 0 for column in highest)
