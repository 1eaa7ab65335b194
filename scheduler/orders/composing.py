"""Plates and sheets shared by orders: what the composer proposes for waiting jobs becomes jobs whose pieces keep
their owners.

Nothing frozen is touched: a job that is offered, or whose turn comes within minutes, keeps its contents. A job that
loses all its pieces to another is cancelled with a reason, so that jobs are conserved as well as pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import Picture
from scheduler.dispatch.states import JobEvent
from scheduler.orders import contents
from scheduler.orders.laying import Table, key_of
from scheduler.planning.batch import Load, why
from scheduler.planning.groups import Groups
from scheduler.store import content_queries, queries
from scheduler.store.content_queries import LineRow
from scheduler.store.record import record
from scheduler.store.rows import JobRow

_LOOKED_AGAIN_S: Final = 600


@dataclass(frozen=True, slots=True)
class Change:
    """New contents for waiting jobs that swap pieces with each other, and with nobody else.

    `lay`: what lay on each of them, pieces by key, when the change was worked out.
    """

    kind: str
    loads: tuple[Load, ...]
    lay: dict[str, dict[str, int]]
    why: str = ""
    """What it gains, with the numbers."""


def changes(table: Table, packed: Sequence[Load]) -> list[Change]:
    """What `packed` puts elsewhere than it lies on the table: the smallest groups of jobs that must change together."""
    found: list[Change] = []
    for kind in sorted({load.kind for load in table.loads}):
        before = [load for load in table.loads if load.kind == kind]
        for group in _groups([*before, *(load for load in packed if load.kind == kind)], len(before)):
            lay = {load.job: dict(load.pieces) for load in group[0]}
            lies = {load.job: dict(load.pieces) for load in group[1]}
            if lies != lay or len(group[1]) != len(lay):
                room = table.capacity.get(kind)
                said = "" if room is None else why(group[0], group[1], table.pieces, room)
                found.append(Change(kind, tuple(group[1]), lay, said))
    return found


def _groups(loads: Sequence[Load], before: int) -> list[tuple[list[Load], list[Load]]]:
    """Loads as they lay and as they shall lie (`loads[before:]`), those together that share a job or equal pieces."""
    together = Groups[str]()
    for load in loads:
        together.join(*(f"piece {key}" for key, _ in load.pieces), *([f"job {load.job}"] if load.job else []))
    groups: dict[str, tuple[list[Load], list[Load]]] = {}
    for number, load in enumerate(loads):
        group = groups.setdefault(together.name(f"piece {load.pieces[0][0]}"), ([], []))
        group[number >= before].append(load)
    return list(groups.values())


def fingerprint(picture: Picture) -> tuple[object, ...]:
    """Equal while there is nothing new to compose: the same pieces wait, for the same machines, within ten minutes."""
    waiting = [job.id for job in picture.jobs.values() if job.state is JobState.WAITING]
    lying = tuple(
        (job, bool(picture.toolpaths(job)), tuple((key_of(x), x.pieces) for x in picture.lines.get(job, ())))
        for job in waiting
    )
    machines = tuple((key, m.agent.online, m.report.state, m.row.quarantine_why) for key, m in picture.machines.items())
    return lying, machines, int(picture.snapshot.now.timestamp() // _LOOKED_AGAIN_S), len(picture.held_back)


def misfits(picture: Picture) -> dict[str, str]:
    """Waiting jobs of several pieces that no machine's toolpath could be made for together, and what was said."""
    found = {}
    for job in picture.jobs.values():
        if job.state is not JobState.WAITING or job.pieces < 2 or job.flag:
            continue
        said = picture.shut(job.id)
        refused = [why for why in said.values() if "fit" in why and "being made" not in why]
        if refused and not picture.toolpaths(job.id) and len(refused) == len(said):
            found[job.id] = refused[0]
    return found


def carry_out(c: sa.Connection, mover: Mover, change: Change, now: datetime) -> list[str]:
    """Write proposed contents, unless any of the jobs moved or holds something else now. Returns the jobs changed."""
    jobs = {row.id: row for row in queries.jobs(c, ids=sorted(change.lay))}
    lying = content_queries.lines_of_jobs(c, jobs)
    for job, lay in change.lay.items():
        still = {key_of(line): line.pieces for line in lying.get(job, []) if line.unwanted_at is None}
        if job not in jobs or jobs[job].state is not JobState.WAITING or jobs[job].flag or still != lay:
            return []
    return _rearrange(c, mover, change, jobs, now)


def separate(c: sa.Connection, picture: Picture, job_id: str, why: str, now: datetime) -> list[str]:
    """Divide a job that fits on no plate: order by order, then in halves. Returns the new jobs."""
    job = queries.job(c, job_id)
    if job is None or job.state is not JobState.WAITING or job.version != picture.jobs[job_id].version:
        return []
    found = content_queries.lines(c, job_id)
    if len({line.order for line in found}) > 1:
        return contents.part_ways(c, job, now, why, alone=f"together they found no plate: {why}"[:300])
    large = max(found, key=lambda line: (line.pieces, line.part))
    half = large.pieces // 2 if len(found) == 1 else large.pieces
    made = contents.divide(c, job, large, half, now, why)
    contents.settle(c, job)
    return [made]


def _rearrange(c: sa.Connection, mover: Mover, change: Change, jobs: dict[str, JobRow], now: datetime) -> list[str]:
    lying = content_queries.lines_of_jobs(c, jobs)
    sample = {key_of(line): line for lines in lying.values() for line in lines}
    before = {job: {key_of(line): line.pieces for line in lines} for job, lines in lying.items()}
    after = {load.job: dict(load.pieces) for load in change.loads if load.job}
    for job, lines in lying.items():
        if after.get(job) != before[job]:
            for line in lines:
                content_queries.take_line(c, line, line.pieces)
    touched = []
    for load in change.loads:
        if load.job and after[load.job] == before[load.job]:
            continue
        touched.append(_fill(c, load, jobs, sample, before, now, change.why))
    for job in sorted(set(jobs) - set(after)):
        _absorbed(c, mover, jobs[job], change, before[job], now)
    return touched


def _fill(
    c: sa.Connection,
    load: Load,
    jobs: dict[str, JobRow],
    sample: dict[str, LineRow],
    had: dict[str, dict[str, int]],
    now: datetime,
    said: str,
) -> str:
    """Put the load's pieces on its job, or on a new one, and keep why. Returns the job."""
    lines = [replace(sample[key], job=load.job, pieces=count, good=0, rejected=0) for key, count in load.pieces]
    if not load.job:
        first = lines[0]
        like = jobs[first.job] if first.job in jobs else next(iter(jobs.values()))
        name = contents.fresh_id(c, first.order)
        contents.new_job(
            c, job_id=name, order=first.order, part=first.part, pieces=first.pieces, process=like.process,
            body=first.body, now=now, values={"created_at": like.created_at},
        )  # fmt: skip
        for line in lines[1:]:
            content_queries.put_line(c, replace(line, job=name))
    else:
        name = load.job
        for line in lines:
            content_queries.put_line(c, line)
    row = queries.job(c, name)
    if row is None:
        raise LookupError(f"job {name} vanished while it was filled")
    donors = [jobs[job].attempt for job, lines in had.items() if set(lines) & set(dict(load.pieces))]
    contents.settle(c, row, {"attempt": max([row.attempt, *donors])})
    body = {"pieces": dict(load.pieces), "why": said}
    record(c, "composed", now, order=row.order, job=name, body=body)
    return name


def _absorbed(c: sa.Connection, mover: Mover, job: JobRow, change: Change, had: dict[str, int], now: datetime) -> None:
    """All its pieces lie elsewhere now: the job itself is over."""
    hosts = [load.job for load in change.loads if load.job and set(dict(load.pieces)) & set(had)]
    for host in hosts:
        contents.copy_declines(c, job.id, host)
    why = f"its pieces lie on {', '.join(hosts) or 'another job'} now, together with others"
    mover.move(c, job, Happening(JobEvent.CANCELLED, now, why=why, values={"cancel_why": why}))
