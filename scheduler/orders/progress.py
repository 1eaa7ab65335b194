"""An order follows its jobs: making, made; assembly steps open when all their parts are good."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.store import content_queries, queries
from scheduler.store import tables as t
from scheduler.store.record import record


class OrderState(StrEnum):
    """An order's life: moved by the requester until accepted, by its jobs after."""

    REQUESTED = "requested"
    QUOTED = "quoted"
    ACCEPTED = "accepted"
    MAKING = "making"
    MADE = "made"
    HANDED_OVER = "handed_over"
    CANCELLED = "cancelled"


#: Jobs of an order in one of these may be planned and offered.
GOING_STATES: Final = frozenset({OrderState.ACCEPTED, OrderState.MAKING})
#: Nothing more happens to the order.
ENDED_STATES: Final = frozenset({OrderState.HANDED_OVER, OrderState.CANCELLED})


def good_pieces(c: sa.Connection, order_id: str) -> dict[str, int]:
    """Inspected good pieces by part."""
    good: dict[str, int] = defaultdict(int)
    for line in content_queries.lines_of_order(c, order_id):
        good[line.part] += line.good
    return good


def order_follows(c: sa.Connection, order_id: str, now: datetime) -> None:
    """Bring the order's state and its steps up to what its jobs and steps say."""
    order = queries.order(c, order_id)
    if order is None or OrderState(order.state) not in GOING_STATES:
        return
    jobs = queries.jobs(c, order=order_id)
    good = good_pieces(c, order_id)
    parts_made = {row["part"] for row in queries.order_parts(c, order_id) if good[row["part"]] >= row["quantity"]}
    all_parts = len(parts_made) == len(queries.order_parts(c, order_id))
    _open_steps(c, order_id, parts_made, now)
    steps_done = all(step["done_at"] is not None for step in queries.order_steps(c, order_id))
    if all_parts and steps_done:
        late = order.promised is not None and now > order.promised
        why = f"promised by {order.promised:%d %b %H:%M UTC}, which has passed" if late else ""
        set_order_state(c, order_id, OrderState.MADE, now, {"made_at": now}, why)
    elif order.state == OrderState.ACCEPTED and any(
        job.state not in (JobState.WAITING, JobState.OFFERED, JobState.CANCELLED) for job in jobs
    ):
        set_order_state(c, order_id, OrderState.MAKING, now, {})


def _open_steps(c: sa.Connection, order_id: str, parts_made: set[str], now: datetime) -> None:
    done = {step["step"] for step in queries.order_steps(c, order_id) if step["done_at"] is not None}
    for step in queries.order_steps(c, order_id):
        if step["opened_at"] is None and all(need in parts_made or need in done for need in step["needs"]):
            where = (t.order_steps.c.order == order_id, t.order_steps.c.step == step["step"])
            c.execute(sa.update(t.order_steps).where(*where).values(opened_at=now))
            record(c, "step_opened", now, order=order_id, body={"step": step["step"]})


def set_order_state(
    c: sa.Connection, order_id: str, state: OrderState, now: datetime, values: dict[str, Any], why: str = ""
) -> None:
    """Write the order's state and the line that says so."""
    order = queries.order(c, order_id)
    before = None if order is None else order.state
    c.execute(sa.update(t.orders).where(t.orders.c.id == order_id).values(state=state.value, **values))
    body = {"why": why} if why else {}
    record(c, f"order_{state.value}", now, order=order_id, from_state=before, to_state=state.value, body=body)
