"""Dates before a yes: asked for, given with reasons and for a while, and once accepted a promise that is counted.

A quote is what the plan says when the order's jobs are put into it beside all others: half of such orders are made by
the first date, nine tenths by the second, which is the one that is promised.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from scheduler.orders.progress import OrderState, set_order_state
from scheduler.orders.refusal import Refused
from scheduler.store import content_queries, queries
from scheduler.store import content_tables as ct
from scheduler.store import tables as t
from scheduler.store.content_queries import QuoteRow
from scheduler.store.rows import OrderRow

#: A quote stands so long; the queue it was worked out from changes.
VALID: Final = timedelta(hours=4)
#: An order that was asked for longer ago and never accepted gets no further quotes.
ASKED_WITHIN: Final = timedelta(days=7)
#: A date that could not be given is tried again after so long.
TRY_AGAIN: Final = timedelta(minutes=10)
_REASONS: Final = 20


@dataclass(frozen=True, slots=True)
class Dates:
    """When an order would be made: by `p50` half of the time, by `p90` nine times in ten; None: nobody can say."""

    p50: datetime | None
    p90: datetime | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Promises:
    """Orders with a promised date: made by then, made after it, still open though it passed, still to come."""

    kept: int
    broken: int
    overdue: int
    standing: int


def due_for_a_quote(c: sa.Connection, now: datetime) -> list[str]:
    """Orders that wait for a date, or whose date stands no longer."""
    found = []
    for order_id in content_queries.orders_to_quote(c):
        order, last = queries.order(c, order_id), content_queries.last_quote(c, order_id)
        asked = None if order is None else order.quote_asked_at
        if asked is None or now - asked > ASKED_WITHIN:
            continue
        if last is None or last.valid_until <= now:
            found.append(order_id)
    return found


def give(c: sa.Connection, order_id: str, dates: Dates, now: datetime) -> bool:
    """Write a quote, unless the order was decided meanwhile. Returns whether it was written."""
    order = queries.order(c, order_id)
    if order is None or order.state not in (OrderState.REQUESTED, OrderState.QUOTED):
        return False
    dated = dates.p90 is not None
    c.execute(
        sa.insert(ct.quotes).values(
            id=f"q{secrets.token_hex(6)}",
            order=order_id,
            made_at=now,
            valid_until=now + (VALID if dated else TRY_AGAIN),
            finish_p50=dates.p50,
            finish_p90=dates.p90,
            reasons=list(dates.reasons[:_REASONS]),
        )
    )
    state = OrderState.QUOTED if dated else OrderState.REQUESTED
    if order.state != state:
        set_order_state(c, order_id, state, now, {}, "; ".join(dates.reasons[:1]))
    return True


def accept(c: sa.Connection, order: OrderRow, now: datetime) -> datetime | None:
    """The date promised by accepting now; None where none was given. Raises Refused where it stands no longer."""
    if OrderState(order.state) is not OrderState.QUOTED:
        return None
    quote = content_queries.last_quote(c, order.id)
    if quote is None or quote.finish_p90 is None:
        return None
    if quote.valid_until <= now:
        why = f"its quote stood until {quote.valid_until:%d %b %H:%M UTC}"
        hint = "A new one is being worked out: look again in a minute."
        raise Refused("quote_expired", "The order was not accepted", why, hint, status=409)
    c.execute(sa.update(ct.quotes).where(ct.quotes.c.id == quote.id).values(accepted_at=now))
    return quote.finish_p90


def promises(c: sa.Connection, now: datetime) -> Promises:
    """How promises fared. Cancelled orders count nowhere."""
    query = sa.select(t.orders.c.promised, t.orders.c.made_at).where(
        t.orders.c.promised.is_not(None), t.orders.c.state != OrderState.CANCELLED.value
    )
    rows = [(row.promised, row.made_at) for row in c.execute(query)]
    return Promises(
        kept=sum(made is not None and made <= promised for promised, made in rows),
        broken=sum(made is not None and made > promised for promised, made in rows),
        overdue=sum(made is None and now > promised for promised, made in rows),
        standing=sum(made is None and now <= promised for promised, made in rows),
    )


def newest(c: sa.Connection, orders: Sequence[str]) -> dict[str, QuoteRow]:
    """The last quote of each order that has one."""
    found = {order: content_queries.last_quote(c, order) for order in orders}
    return {order: quote for order, quote in found.items() if quote is not None}
