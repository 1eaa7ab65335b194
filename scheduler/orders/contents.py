"""What lies on a job and whose it is. While nothing is frozen, pieces may move between jobs; none is lost or doubled.

Every job has lines, one for each part of each order on it. A job whose lines all went elsewhere is cancelled by whoever
moved them, so that jobs are conserved as well as pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from agents.contract.vocabulary import JobState, NeedClass
from designs.processes.model import ProcessKind
from scheduler.orders.progress import ENDED_STATES, OrderState
from scheduler.orders.recipes import JobBody, PieceSpec, read_body
from scheduler.store import content_queries, queries
from scheduler.store import tables as t
from scheduler.store.content_queries import LineRow
from scheduler.store.record import record
from scheduler.store.rows import JobRow, OrderRow

_Row = TypeVar("_Row")
_NEEDS: Final = tuple(NeedClass)
#: Pieces on one plate or sheet at most: a failed run costs them all.
MOST_PIECES: Final[dict[str, int]] = {ProcessKind.FDM: 8, ProcessKind.LASER: 60, ProcessKind.CNC: 30}
#: Columns of a job that nothing has happened to.
_NEW: Final[dict[str, Any]] = {
    "version": 1,
    "fence": 0,
    "attempt": 1,
    "machine_s": 0.0,
    "line": 0,
    "progress": 0.0,
    "good": 0,
    "rejected": 0,
    "flag": "",
    "cancel_why": "",
}
_LONGEST_TITLE: Final = 120
WHOSE: Final = "{rejected} of {pieces} pieces were rejected and nobody said whose: say it on the job's page"


def press(order: OrderRow) -> tuple[int, bool, str, str]:
    """Sorts orders, the most pressing first: need class, then date, then age."""
    due = order.promised or order.due
    return _NEEDS.index(NeedClass(order.need_class)), due is None, str(due or order.created_at), order.id


def orders_on(c: sa.Connection, job: JobRow) -> list[str]:
    """The orders that have pieces on the job and still want them; its own order where nobody does."""
    wanted = [line.order for line in content_queries.lines(c, job.id) if line.unwanted_at is None]
    return sorted(set(wanted)) or [job.order]


def body_of(lines: Sequence[LineRow]) -> JobBody:
    """The body of a job with these lines, in their order: piece `k` of the body is line `k`."""
    bodies = [read_body(line.body) for line in lines]
    first = bodies[0]
    if len(lines) == 1:
        return first
    titles = sorted({body.title for body in bodies})
    owners = len({line.order for line in lines})
    sides = [[*sorted(body.dims_mm[:2]), body.dims_mm[2]] for body in bodies if body.dims_mm is not None]
    return JobBody(
        title=f"{', '.join(titles)[:_LONGEST_TITLE]} ({owners} order{'s' if owners > 1 else ''})",
        pieces=tuple(_spec(body, line) for body, line in zip(bodies, lines, strict=True)),
        material=first.material,
        colour=first.colour,
        thickness_mm=first.thickness_mm,
        dims_mm=(max(s[1] for s in sides), max(s[0] for s in sides), max(s[2] for s in sides)) if sides else None,
        licence=" AND ".join(sorted({body.licence for body in bodies if body.licence})),
        own_shop=first.own_shop,
    )


def _spec(body: JobBody, line: LineRow) -> PieceSpec:
    return replace(body.pieces[0], quantity=line.pieces)


def new_job(
    c: sa.Connection,
    *,
    job_id: str,
    order: str,
    part: str,
    pieces: int,
    process: str,
    body: dict[str, Any],
    now: datetime,
    replaces: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """A job is born waiting, with fence 0 (no lease was ever given) and one line. `values`: columns set otherwise."""
    c.execute(
        sa.insert(t.jobs).values(
            **{"created_at": now, **_NEW, **(values or {})},
            since=now,
            id=job_id,
            order=order,
            part=part,
            pieces=pieces,
            process=process,
            state=JobState.WAITING.value,
            file_key=read_body(body).file_key,
            body=body,
            replaces=replaces,
        )
    )
    content_queries.put_line(c, LineRow(job_id, order, part, pieces, 0, 0, body, None))
    kind_body = {"pieces": pieces, "part": part, **({"replaces": replaces} if replaces else {})}
    record(c, "created", now, order=order, job=job_id, to_state=JobState.WAITING.value, body=kind_body)


def fresh_id(c: sa.Connection, order: str) -> str:
    """A job id of this order that was never used."""
    start = f"{order}-"
    used = {row[0] for row in c.execute(sa.select(t.jobs.c.id).where(t.jobs.c.id.startswith(start, autoescape=True)))}
    return next(name for name in (f"{start}{n}" for n in range(len(used) + 1, 2 * len(used) + 2)) if name not in used)


def settle(c: sa.Connection, job: JobRow, more: Mapping[str, Any] | None = None) -> JobRow:
    """Bring the job's own columns up to its lines; `more` are set beside. Raises ValueError for a job without any."""
    found = content_queries.lines(c, job.id)
    if not found:
        raise ValueError(f"job {job.id} has nothing on it")
    wanted = [line for line in found if line.unwanted_at is None] or found
    orders = {line.order: queries.order(c, line.order) for line in wanted}
    first = min(wanted, key=lambda line: (*press(_there(orders[line.order])), line.part))
    body = body_of(found)
    values = {
        "order": first.order,
        "part": first.part,
        "pieces": sum(line.pieces for line in found),
        "body": msgspec.to_builtins(body),
        "file_key": body.file_key,
        "placement": None,
        "waiting": None,
        **(more or {}),
    }
    queries.update_job(c, job, values)
    return _there(queries.job(c, job.id))


def part_ways(c: sa.Connection, job: JobRow, now: datetime, why: str, *, alone: str = "") -> list[str]:
    """Give every order but the job's own a waiting job of its own for its pieces. Returns the new jobs.

    The job must be waiting. Attempt, wait and declines go with the pieces; `alone` says why they should not share a
    plate again (a file among them may be to blame), empty where they may.
    """
    mixed = content_queries.lines(c, job.id)
    if len({line.order for line in mixed}) < 2:
        return []
    made = [split_off(c, job, order, now, why) for order in sorted({line.order for line in mixed} - {job.order})]
    settle(c, _there(queries.job(c, job.id)))
    if alone:
        for name in (job.id, *made):
            _keep_alone(c, name, alone)
    return made


def split_off(c: sa.Connection, job: JobRow, order: str, now: datetime, why: str) -> str:
    """Put all pieces of one order of a waiting job on a new job. The caller settles the old one."""
    name = ""
    for line in (line for line in content_queries.lines(c, job.id) if line.order == order):
        content_queries.take_line(c, line, line.pieces)
        if not name:
            name = _beside(c, job, line, line.pieces, now, why)
        else:
            content_queries.put_line(c, replace(line, job=name))
    settle(c, _there(queries.job(c, name)))
    return name


def divide(c: sa.Connection, job: JobRow, line: LineRow, pieces: int, now: datetime, why: str) -> str:
    """Put some pieces of a line of a waiting job on a new job of their own. The caller settles the old one."""
    content_queries.take_line(c, line, pieces)
    return _beside(c, job, line, pieces, now, why)


def _beside(c: sa.Connection, job: JobRow, line: LineRow, pieces: int, now: datetime, why: str) -> str:
    name = fresh_id(c, line.order)
    values = {"attempt": job.attempt, "not_before": job.not_before, "created_at": job.created_at}
    new_job(
        c,
        job_id=name,
        order=line.order,
        part=line.part,
        pieces=pieces,
        process=job.process,
        body=line.body,
        now=now,
        values=values,
    )
    copy_declines(c, job.id, name)
    record(c, "parted", now, order=line.order, job=name, body={"from": job.id, "pieces": pieces, "why": why})
    return name


def count_inspected(c: sa.Connection, job: JobRow, said: Mapping[tuple[str, str], int]) -> list[LineRow]:
    """Write on each line how many of its pieces are good. `said`: rejected pieces by (order, part).

    Returns the lines as they stand; empty where pieces were rejected and it is not known whose (nothing is written).
    """
    found = content_queries.lines(c, job.id)
    rejected = _rejected(found, job, said)
    if rejected is None:
        return []
    for line in found:
        bad = rejected.get((line.order, line.part), 0)
        content_queries.update_line(c, line, {"good": line.pieces - bad, "rejected": bad})
    return content_queries.lines(c, job.id)


def _rejected(
    found: Sequence[LineRow], job: JobRow, said: Mapping[tuple[str, str], int]
) -> Mapping[tuple[str, str], int] | None:
    if sum(said.values()) == job.rejected and all(0 <= said.get((x.order, x.part), 0) <= x.pieces for x in found):
        return said if job.rejected else {}
    if len(found) == 1 or job.rejected == job.pieces:
        return {(line.order, line.part): line.pieces if len(found) > 1 else job.rejected for line in found}
    return None


def replace_rejected(c: sa.Connection, job: JobRow, now: datetime) -> None:
    """Rejected pieces become new jobs, order by order, at the priority of each; those nobody wants any more do not."""
    found = content_queries.lines(c, job.id)
    for line in found:
        others = content_queries.lines_of_order(c, line.order)
        rows = {row.id: row for row in queries.jobs(c, ids=sorted({other.job for other in others}))}
        again = any(rows[o.job].replaces == job.id and (o.order, o.part) == (line.order, line.part) for o in others)
        if not line.rejected or line.unwanted_at is not None or again or is_over(c, line.order):
            continue
        new_job(
            c,
            job_id=f"{job.id}-r"[:64] if len(found) == 1 else fresh_id(c, line.order),
            order=line.order,
            part=line.part,
            pieces=line.rejected,
            process=job.process,
            body=line.body,
            now=now,
            replaces=job.id,
        )


def is_over(c: sa.Connection, order: str) -> bool:
    """Whether nothing is made for the order any more: it was cancelled, or handed over."""
    return OrderState(_there(queries.order(c, order)).state) in ENDED_STATES


def copy_declines(c: sa.Connection, old: str, new: str) -> None:
    """Whoever said no to the one job is not asked for the other before the same time."""
    standing = list(c.execute(sa.select(t.declines).where(t.declines.c.job == old)).mappings())
    known = {
        (row.agent, row.machine)
        for row in c.execute(sa.select(t.declines.c.agent, t.declines.c.machine).where(t.declines.c.job == new))
    }
    for row in standing:
        if (row["agent"], row["machine"]) not in known:
            c.execute(sa.insert(t.declines).values(**{**row, "job": new}))


def _keep_alone(c: sa.Connection, job_id: str, why: str) -> None:
    for line in content_queries.lines(c, job_id):
        content_queries.update_line(c, line, {"body": {**line.body, "alone": why}})
    settle(c, _there(queries.job(c, job_id)))


def _there(row: _Row | None) -> _Row:
    if row is None:
        raise LookupError("a job or order that was read before vanished: rows are never removed")
    return row
