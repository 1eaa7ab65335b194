"""Just after a scheduler's start: what it read may be an old copy, until every agent has said what it holds."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from scheduler.dispatch.limits import Limits
from scheduler.store import queries
from scheduler.store import tables as t


def unproven_before(c: sa.Connection, limits: Limits, now: datetime, *, asker: str) -> datetime | None:
    """What was offered or granted up to this moment, to `asker`, may have gone to another shop since; None: nothing.

    So it is from the start of the present term until all others have been heard; one that stays away is not waited for.
    """
    newest = c.execute(sa.select(t.schedulers.c.term, t.schedulers.c.started_at).order_by(t.schedulers.c.term.desc()))
    row = newest.first()
    if row is None or not row.started_at <= now < row.started_at + limits.reconcile:
        return None
    heard = all(agent.holdings_term == row.term for agent in queries.agents(c) if agent.id != asker)
    since: datetime = row.started_at
    return None if heard else since
