"""What is forgotten, and when: rows that nothing can ask for any more, a few at a time.

Orders, jobs, leases, offers, their history and the books of stock are the record and stay. What is here is either said
again by whoever needs it, or has no meaning after its time. None of it decides whether something may start: fences,
journal cursors and epochs are never forgotten, so a restored copy of either side is met as on its first day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from scheduler.store import content_tables as ct
from scheduler.store import dispatch_tables as dt
from scheduler.store import tables as t

#: Rows of one table deleted in one transaction.
MOST_AT_ONCE: Final = 250
#: Lines of the record that name no step of a job or order: words refused, comparisons, toolpaths made, own work.
CHATTER: Final = frozenset(
    {
        "refused_word",
        "late_word",
        "toolpath_made",
        "toolpath_impossible",
        "scheduler_started",
        "reconciled_grant_again",
        "reconciled_take_back",
        "reconciled_ask_cancel",
        "book_came",
        "own_work",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of `table` that `old` selects are forgotten once their time is further back than `kept`."""

    name: str
    kept: timedelta
    table: sa.Table
    old: Callable[[datetime], sa.ColumnElement[bool]]


def _superseded(before: datetime) -> sa.ColumnElement[bool]:
    """Quotes that were not accepted and have a younger one; the newest of an order stays."""
    younger = ct.quotes.alias()
    newer = sa.exists().where(younger.c.order == ct.quotes.c.order, younger.c.made_at > ct.quotes.c.made_at)
    return sa.and_(ct.quotes.c.valid_until < before, ct.quotes.c.accepted_at.is_(None), newer)


def _gone(before: datetime) -> sa.ColumnElement[bool]:
    """Machines whose agent is silent since, that hold nothing, are not quarantined and not reserved."""
    machines, agents = t.machines.c, t.agents.c
    silent = sa.exists().where(agents.id == machines.agent, agents.online.is_(False), agents.heard_at < before)
    held = [
        sa.exists().where(rows.c.agent == machines.agent, rows.c.machine == machines.machine, still)
        for rows, still in (
            (t.leases, t.leases.c.ended_at.is_(None)),
            (t.offers, t.offers.c.closed_at.is_(None)),
            (dt.reservations, sa.true()),
        )
    ]
    return sa.and_(silent, machines.quarantined_at.is_(None), *(sa.not_(each) for each in held))


_DAY: Final = timedelta(days=1)
RULES: Final = (
    Rule("messages that were sent", _DAY, t.outbox, lambda before: t.outbox.c.sent_at < before),
    Rule("declines that ended", _DAY, t.declines, lambda before: t.declines.c.until < before),
    Rule("quotes nobody accepted", 14 * _DAY, ct.quotes, _superseded),
    Rule(
        "chatter of the record",
        90 * _DAY,
        t.events,
        lambda before: sa.and_(t.events.c.at < before, t.events.c.kind.in_(sorted(CHATTER))),
    ),
    Rule("faults of files that were forgiven", 90 * _DAY, t.file_faults, lambda b: t.file_faults.c.forgiven_at < b),
    Rule("reservations that are over", 90 * _DAY, dt.reservations, lambda before: dt.reservations.c.end < before),
    Rule("machines that are gone", 90 * _DAY, t.machines, _gone),
)


def forget_some(c: sa.Connection, now: datetime) -> bool:
    """Forget some of what is old (inside a write). Whether there may be more."""
    more = False
    for rule in RULES:
        key = sa.tuple_(*rule.table.primary_key.columns)
        old = sa.select(*rule.table.primary_key.columns).where(rule.old(now - rule.kept)).limit(MOST_AT_ONCE)
        forgotten = c.execute(sa.delete(rule.table).where(key.in_(old))).rowcount
        more = more or forgotten == MOST_AT_ONCE
    return more
