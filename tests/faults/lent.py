"""Who may grant a job while its scheduler is away or back, known from the broker and from what was written down.

Kept outside of everything that can be killed or put back, as `rules.Books` is; what is excused there is excused here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import decode
from agents.contract import messages as m
from agents.home_book import Granted
from tests.faults.rules import Books, NotKept

_READ: Final = (
    "SELECT id, kind, job, fence, agent FROM job_events WHERE id > ? AND kind IN"
    " ('offered', 'claimed', 'granted_by_home', 'book_came', 'home_declared_lost') ORDER BY id"
)


@dataclass
class Lent:
    """`count` is told of everything that shows that jobs were really pulled."""

    books: Books
    count: Callable[[str], None]
    over: set[int] = field(default_factory=set)
    """Epochs that the broker announced as over."""
    homes: dict[tuple[str, int], str] = field(default_factory=dict)
    """The home of each job, by the epoch of a mark that reached the broker."""
    lent_in: dict[str, int] = field(default_factory=dict)
    """The epoch of the mark that the broker keeps of a job."""
    settled: dict[str, int] = field(default_factory=dict)
    """The epoch in which a scheduler last took in a home's book."""
    holders: dict[tuple[str, int], str] = field(default_factory=dict)
    """Who got each fence that a home gave, by (job, fence)."""
    permitted: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """(home, holder) of every start that a home permitted."""
    _asked: dict[tuple[str, int], str] = field(default_factory=dict)
    _epoch: int = 0
    _read_upto: int = 0
    _read: list[Any] = field(default_factory=list)

    # --- what reaches the broker --------------------------------------------------------------------------------------

    def published(self, topic: str, payload: bytes) -> None:
        """A message reached the broker."""
        if not payload:
            if topic.startswith("workshed/v1/board/"):
                self.lent_in.pop(topic.rpartition("/")[2], None)
            return
        body = decode(payload).body
        if isinstance(body, m.SchedulerPresence) and not body.online:
            self.over.add(body.epoch)
        elif isinstance(body, m.BoardMark) and topic.startswith("workshed/v1/board/"):
            job = body.ticket.job
            self.homes[job, body.epoch] = body.home.replace("/", ".")
            self.lent_in[job] = body.epoch
        elif isinstance(body, m.BoardClaim):
            self.count("asked for")
            first = self._asked.setdefault((body.job, body.attempt), body.shop)
            if first != body.shop:
                self.count("asked for by another shop, too")

    # --- what homes write down ----------------------------------------------------------------------------------------

    def home_wrote(self, home: str, granted: Granted) -> None:
        """A home's own lease is on its disk, as it is now."""
        lease = granted.lease
        key = (lease.job, lease.fence)
        if key not in self.holders:
            self._home_grants(home, lease)
        elif self.holders[key] != lease.agent and not self.books.nobody_knows:
            raise NotKept(
                f"{home} gives fence {lease.fence} of {lease.job} to {lease.agent}, and {self.holders[key]} has it"
            )
        if lease.committed and key not in self.permitted:
            self.permitted[key] = (home, lease.agent)
            self.count("begun by a home's word")
            self.books.committed[key] += 1
            if self.settled.get(home, 0) > lease.epoch:
                raise NotKept(f"{home} permits a start of {lease.job}, after its book was taken in")

    def _home_grants(self, home: str, lease: m.HomeLease) -> None:
        self.holders[lease.job, lease.fence] = lease.agent
        self.count("granted by a home")
        if self.homes.get((lease.job, lease.epoch)) != home:
            raise NotKept(f"{home} grants {lease.job}, which was never lent to it in epoch {lease.epoch}")
        if lease.epoch not in self.over:
            raise NotKept(f"{home} grants {lease.job} while the scheduler of epoch {lease.epoch} is there")
        if self.settled.get(home, 0) > lease.epoch:
            raise NotKept(f"{home} grants {lease.job} after its book was taken in")
        if lease.fence <= self.books.fences.get(lease.job, 0) and not self.books.nobody_knows:
            raise NotKept(f"{home} gives fence {lease.fence} of {lease.job}, which was given out before")

    # --- what schedulers write down -----------------------------------------------------------------------------------

    def commit(self, c: sa.Connection) -> None:
        """Read what this transaction is about to commit."""
        self._epoch = c.exec_driver_sql("SELECT coalesce(max(epoch), 0) FROM epochs").scalar() or 0
        self._read = list(c.exec_driver_sql(_READ, (self._read_upto,)))

    def committed_now(self) -> None:
        """What `commit` read is on the disk."""
        read, self._read = self._read, []
        for number, kind, job, fence, agent in read:
            self._read_upto = number
            if kind in ("book_came", "home_declared_lost"):
                self.settled[agent] = self._epoch
                self.count("books taken in")
            elif kind == "granted_by_home":
                self.count("leases of homes in books")
            elif "scheduler" not in self.books.restored:
                self._not_in_doubt(kind, job)
                if kind == "claimed" and (job, fence) in self.holders:
                    raise NotKept(f"the scheduler gives fence {fence} of {job}, which its home gave out before")

    def _not_in_doubt(self, kind: str, job: str) -> None:
        """Nothing is offered or granted between the end of an epoch and the book of the job's home."""
        lent = self.lent_in.get(job)
        if lent is None or lent >= self._epoch:
            return
        home = self.homes[job, lent]
        if self.settled.get(home, 0) <= lent:
            raise NotKept(f"{job} is {kind}, and {home}, which it was lent to, has not said what it did")

    def put_back(self, c: sa.Connection) -> None:
        """The scheduler's database is an older one now."""
        self._read_upto = c.exec_driver_sql("SELECT coalesce(max(id), 0) FROM job_events").scalar() or 0

    def known(self, c: sa.Connection) -> None:
        """In the end the record has every run that a home permitted, where somebody was left who knew."""
        if self.books.nobody_knows or "scheduler" in self.books.restored:
            return
        rows = c.exec_driver_sql("SELECT job, fence FROM leases")
        recorded = {(job, fence) for job, fence in rows}
        for key, who in self.permitted.items():
            if key in self.books.first_lines and key not in recorded and not self.books.restored & set(who):
                raise NotKept(f"{key[0]} ran under fence {key[1]} by {who[0]}'s word, and the record does not say so")


def pulls(counted: Counter[str]) -> int:
    """How many jobs were granted by their home."""
    return counted["granted by a home"]
