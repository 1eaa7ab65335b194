"""Just after a scheduler's start: what it read may be an old copy, until every agent has said what it holds.

One that stays away is not waited for longer than `Limits.reconcile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scheduler.dispatch.limits import Limits
from scheduler.store import queries
from scheduler.store import tables as t


@dataclass(frozen=True, slots=True)
class Hearing:
    """A start that not everybody has answered: when it was, and who is silent."""

    since: datetime
    silent: tuple[str, ...]


def hearing(c: sa.Connection, limits: Limits, now: datetime) -> Hearing | None:
    """The present term's hearing while it goes on; None once all were heard or the wait is over."""
    newest = sa.select(t.schedulers.c.term, t.schedulers.c.started_at).order_by(t.schedulers.c.term.desc())
    row = c.execute(newest).first()
    if row is None or not row.started_at <= now < row.started_at + limits.reconcile:
        return None
    silent = tuple(agent.id for agent in queries.agents(c) if agent.holdings_term != row.term)
    return Hearing(row.started_at, silent) if silent else None


def unproven_before(c: sa.Connection, limits: Limits, now: datetime, *, asker: str) -> datetime | None:
    """What was offered or granted up to this moment, to `asker`, may have gone to another shop since; None: nothing."""
    going_on = hearing(c, limits, now)
    return going_on.since if going_on is not None and set(going_on.silent) - {asker} else None


def from_before_this_start(c: sa.Connection, moment: datetime) -> bool:
    """Whether something of `moment` is older than the present term: what is told of it now may be history.

    A lease that still stands is its holder's own, however late: refusing its start by the clock would unmake a run.
    """
    began = c.execute(sa.select(sa.func.max(t.schedulers.c.started_at))).scalar()
    return began is not None and moment <= began
