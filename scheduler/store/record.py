"""Writing the two append-only tables: what happened, and what is to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import encode, wrap
from agents.contract.messages import AnyMessage
from agents.contract.topics import INBOX
from scheduler.store import tables as t

# Statements are made once: to make one anew at every call costs as much as to run it.
_RECORD: Final = sa.insert(t.events)
_POST: Final = sa.insert(t.outbox)
_UNSENT: Final = (
    sa.select(t.outbox.c.id, t.outbox.c.topic, t.outbox.c.payload, t.outbox.c.retained, t.outbox.c.expires_at)
    .where(t.outbox.c.sent_at.is_(None))
    .order_by(t.outbox.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def record(
    c: sa.Connection,
    kind: str,
    now: datetime,
    *,
    order: str | None = None,
    job: str | None = None,
    machine: str | None = None,
    agent: str | None = None,
    fence: int | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    body: Mapping[str, Any] | None = None,
) -> None:
    """Add one line to the record."""
    line = {"kind": kind, "at": now, "order": order, "job": job, "machine": machine, "agent": agent, "fence": fence}
    c.execute(_RECORD, {**line, "from_state": from_state, "to_state": to_state, "body": dict(body or {})})


def post(
    c: sa.Connection, agent: str, message: AnyMessage, now: datetime, *, sender: str, valid_for: timedelta | None = None
) -> str:
    """Queue a message for an agent (`{shop}.{agent}`) in the transaction of the state it speaks of; returns its id."""
    shop, _, name = agent.partition(".")
    envelope = wrap(message, sender=sender, now=now, valid_for=valid_for)
    times = {"created_at": now, "expires_at": envelope.expires}
    topic = INBOX.of(shop=shop, agent=name)
    c.execute(_POST, {"topic": topic, "payload": encode(envelope), "retained": False, **times})
    return envelope.id


def unsent(c: sa.Connection, limit: int = 200) -> list[tuple[int, str, bytes, bool, datetime | None]]:
    """(id, topic, payload, retained, expires) of messages not yet confirmed by the broker, in order."""
    return [tuple(row) for row in c.execute(_UNSENT, {"most": limit})]


def mark_sent(c: sa.Connection, ids: Sequence[int], now: datetime) -> None:
    """The broker confirmed these, or they expired unsent."""
    c.execute(sa.update(t.outbox).where(t.outbox.c.id.in_(ids)).values(sent_at=now))
