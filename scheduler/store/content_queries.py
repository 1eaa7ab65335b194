"""Questions about contents, remnants, outcomes and quotes, by name. Each takes the connection of a read or a write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from scheduler.store import content_tables as ct
from scheduler.store import tables as t
from scheduler.store.given import Given, names_of
from scheduler.store.queries import typed_rows


@dataclass(frozen=True, slots=True)
class LineRow:
    """So many pieces of one part of one order on one job. `body` is the `JobBody` of that part alone."""

    job: str
    order: str
    part: str
    pieces: int
    good: int
    rejected: int
    body: dict[str, Any]
    unwanted_at: datetime | None
    """When its order was cancelled after the job was frozen: it is made all the same, for nobody."""


@dataclass(frozen=True, slots=True)
class RemnantRow:
    """One offcut in one shop. `outline_mm`: rings of points, the first outside, the others holes."""

    id: str
    shop: str
    material: str
    colour: str
    thickness_mm: float | None
    outline_mm: list[list[list[float]]]
    area_mm2: float
    state: str
    from_job: str | None
    from_remnant: str | None
    used_by: str | None
    why: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One ended attempt: what was estimated (by the toolpath), expected (after learning) and measured, in seconds."""

    job: str
    attempt: int
    at: datetime
    design: str
    process: str
    model: str
    shop: str
    machine: str
    estimated_s: float | None
    expected_s: float | None
    measured_s: float
    material_g: float | None
    pieces: int
    outcome: str
    failure: str | None


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """One date that was given: half and nine tenths of such orders are made by then."""

    id: str
    order: str
    made_at: datetime
    valid_until: datetime
    finish_p50: datetime | None
    finish_p90: datetime | None
    reasons: list[str]
    accepted_at: datetime | None


# --- contents ---------------------------------------------------------------------------------------------------------


def lines(c: sa.Connection, job_id: str) -> list[LineRow]:
    """What lies on a job, by order and part."""
    query = sa.select(ct.job_pieces).where(ct.job_pieces.c.job == job_id)
    return typed_rows(LineRow, c.execute(query.order_by(ct.job_pieces.c.order, ct.job_pieces.c.part)))


def lines_of_jobs(c: sa.Connection, jobs: Iterable[str]) -> dict[str, list[LineRow]]:
    """What lies on each of these jobs; a job without lines is left out."""
    found: dict[str, list[LineRow]] = {}
    query = sa.select(ct.job_pieces).where(ct.job_pieces.c.job.in_(Given().names))
    in_order = query.order_by(ct.job_pieces.c.order, ct.job_pieces.c.part)
    for row in typed_rows(LineRow, c.execute(in_order, names_of(jobs))):
        found.setdefault(row.job, []).append(row)
    return found


def lines_of_order(c: sa.Connection, order_id: str) -> list[LineRow]:
    """Where the pieces of an order lie."""
    query = sa.select(ct.job_pieces).where(ct.job_pieces.c.order == order_id)
    return typed_rows(LineRow, c.execute(query.order_by(ct.job_pieces.c.job, ct.job_pieces.c.part)))


def put_line(c: sa.Connection, row: LineRow) -> None:
    """Put pieces on a job, beside those of the same order and part that lie there already."""
    where = _key(row.job, row.order, row.part)
    there = c.execute(sa.select(ct.job_pieces.c.pieces).where(*where)).scalar()
    if there is not None:
        c.execute(sa.update(ct.job_pieces).where(*where).values(pieces=there + row.pieces))
        return
    names = LineRow.__dataclass_fields__
    c.execute(sa.insert(ct.job_pieces).values(**{name: getattr(row, name) for name in names}))


def take_line(c: sa.Connection, row: LineRow, pieces: int) -> None:
    """Take pieces off a job. Raises ValueError for more than lie there."""
    if not 0 < pieces <= row.pieces:
        raise ValueError(f"{pieces} of {row.pieces} pieces of {row.order} cannot be taken off job {row.job}")
    where = _key(row.job, row.order, row.part)
    if pieces == row.pieces:
        c.execute(sa.delete(ct.job_pieces).where(*where))
    else:
        c.execute(sa.update(ct.job_pieces).where(*where).values(pieces=row.pieces - pieces))


def update_line(c: sa.Connection, row: LineRow, values: Mapping[str, Any]) -> None:
    """Change what is kept of a line beside its number of pieces."""
    c.execute(sa.update(ct.job_pieces).where(*_key(row.job, row.order, row.part)).values(**values))


def _key(job: str, order: str, part: str) -> tuple[sa.ColumnElement[bool], ...]:
    table = ct.job_pieces.c
    return table.job == job, table.order == order, table.part == part


# --- remnants ---------------------------------------------------------------------------------------------------------


def remnants(
    c: sa.Connection, *, shop: str | None = None, states: Sequence[str] | None = None, ids: Sequence[str] | None = None
) -> list[RemnantRow]:
    """Offcuts, smallest first."""
    query = sa.select(ct.remnants).order_by(ct.remnants.c.area_mm2, ct.remnants.c.id)
    if shop is not None:
        query = query.where(ct.remnants.c.shop == shop)
    if states is not None:
        query = query.where(ct.remnants.c.state.in_(list(states)))
    if ids is not None:
        query = query.where(ct.remnants.c.id.in_(list(ids)))
    return typed_rows(RemnantRow, c.execute(query))


def remnant(c: sa.Connection, remnant_id: str) -> RemnantRow | None:
    """One offcut."""
    return next(iter(remnants(c, ids=[remnant_id])), None)


def update_remnant(c: sa.Connection, remnant_id: str, values: Mapping[str, Any]) -> None:
    """Change an offcut's state."""
    c.execute(sa.update(ct.remnants).where(ct.remnants.c.id == remnant_id).values(**values))


# --- outcomes ---------------------------------------------------------------------------------------------------------


def outcomes(
    c: sa.Connection, *, since: datetime | None = None, model: str | None = None, limit: int = 4_000
) -> list[OutcomeRow]:
    """Ended attempts, oldest first; the newest `limit` of them."""
    query = sa.select(ct.outcomes).order_by(ct.outcomes.c.at.desc(), ct.outcomes.c.job, ct.outcomes.c.attempt)
    if since is not None:
        query = query.where(ct.outcomes.c.at >= since)
    if model is not None:
        query = query.where(ct.outcomes.c.model == model)
    return typed_rows(OutcomeRow, c.execute(query.limit(limit)))[::-1]


# --- quotes -----------------------------------------------------------------------------------------------------------


def last_quote(c: sa.Connection, order_id: str) -> QuoteRow | None:
    """The newest date given for an order."""
    query = sa.select(ct.quotes).where(ct.quotes.c.order == order_id)
    rows = typed_rows(QuoteRow, c.execute(query.order_by(ct.quotes.c.made_at.desc(), ct.quotes.c.id.desc()).limit(1)))
    return rows[0] if rows else None


def orders_to_quote(c: sa.Connection) -> list[str]:
    """Orders that asked for a date and have not said yes or no."""
    query = sa.select(t.orders.c.id).where(
        t.orders.c.quote_asked_at.is_not(None), t.orders.c.state.in_(["requested", "quoted"])
    )
    return [row[0] for row in c.execute(query.order_by(t.orders.c.created_at, t.orders.c.id))]
