"""Whose pieces lie where, and which date was given, for pages and programs. Orders are named, people never."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from scheduler.orders.recipes import read_body
from scheduler.store import content_queries
from scheduler.store.content_queries import LineRow


@dataclass(frozen=True, slots=True)
class PieceView:
    """So many pieces of one part of one order on one job."""

    job: str
    order: str
    part: str
    title: str
    pieces: int
    good: int
    rejected: int
    wanted: bool
    """False once its order was cancelled after the plate was frozen."""
    orders_on_job: int
    """How many orders share the job."""


@dataclass(frozen=True, slots=True)
class QuoteView:
    """The last date given for an order; `finish_p90` is what a yes before `valid_until` makes a promise of."""

    made_at: datetime
    valid_until: datetime
    finish_p50: datetime | None
    finish_p90: datetime | None
    reasons: tuple[str, ...]


def quote_of(c: sa.Connection, order: str) -> QuoteView | None:
    """The order's newest quote; None where none was asked for, or it is still being worked out."""
    found = content_queries.last_quote(c, order)
    if found is None:
        return None
    return QuoteView(found.made_at, found.valid_until, found.finish_p50, found.finish_p90, tuple(found.reasons))


def pieces_on(c: sa.Connection, job: str) -> tuple[PieceView, ...]:
    """What lies on a job, numbered on its work card in this order."""
    lines = content_queries.lines(c, job)
    return tuple(_view(line, lines) for line in lines)


def pieces_of(c: sa.Connection, order: str) -> tuple[PieceView, ...]:
    """Where an order's pieces lie."""
    own = content_queries.lines_of_order(c, order)
    beside = content_queries.lines_of_jobs(c, {line.job for line in own})
    return tuple(_view(line, beside[line.job]) for line in own)


def _view(line: LineRow, lines: list[LineRow]) -> PieceView:
    return PieceView(
        job=line.job,
        order=line.order,
        part=line.part,
        title=read_body(line.body).title,
        pieces=line.pieces,
        good=line.good,
        rejected=line.rejected,
        wanted=line.unwanted_at is None,
        orders_on_job=len({each.order for each in lines}),
    )
