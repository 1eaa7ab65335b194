"""Plates and sheets shared by orders: what the composer proposes for waiting jobs becomes jobs whose pieces keep
their owners.

Nothing frozen is touched: a job that is offered, or whose turn comes within minutes, keeps its contents. A job that
loses all its pieces to another is cancelled with a reason, so that jobs are conserved as well as pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import JobState, MachineState
from designs.processes.materials import canonical
from designs.processes.model import GeometryKind, ProcessKind, Ring
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import Picture, SeenMachine, orders_of
from scheduler.dispatch.states import JobEvent
from scheduler.orders import contents, urgency
from scheduler.orders.packing import Room, fits_together
from scheduler.orders.recipes import JobBody, fits, matching_material, read_body
from scheduler.planning.batch import BatchPolicy, Capacity, Load, Pieces, compose
from scheduler.store import content_queries, queries
from scheduler.store.content_queries import LineRow
from scheduler.store.record import record
from scheduler.store.rows import JobRow

#: A job planned to start within this is as good as frozen.
NEARLY_FROZEN: Final = timedelta(minutes=20)
#: Between two runs somebody clears, loads or clamps for about so long.
HANDLING_MIN: Final[dict[str, float]] = {ProcessKind.FDM: 15.0, ProcessKind.LASER: 10.0, ProcessKind.CNC: 20.0}
_SOLID: Final = frozenset({GeometryKind.STL, GeometryKind.THREE_MF, GeometryKind.OBJ, GeometryKind.STEP})
_FLAT: Final = frozenset({GeometryKind.SVG, GeometryKind.DXF})
_UNKNOWN_S: Final = 1_800.0
_LOOKED_AGAIN_S: Final = 600
_FLOW: Final = 0.02
_RESTING: Final = frozenset(
    {MachineState.ALARM, MachineState.DISABLED, MachineState.OFFLINE, MachineState.UNIDENTIFIED}
)


@dataclass(frozen=True, slots=True)
class Change:
    """New contents for waiting jobs of one kind. `seen`: the version of each job the change was worked out from."""

    kind: str
    loads: tuple[Load, ...]
    seen: dict[str, int]


@dataclass(slots=True)
class _Table:
    """What lies on the composer's table."""

    loads: list[Load] = field(default_factory=list)
    pieces: dict[str, Pieces] = field(default_factory=dict)
    outlines: dict[str, Ring] = field(default_factory=dict)
    capacity: dict[str, Capacity] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)


def propose(picture: Picture, rules: BatchPolicy | None = None) -> list[Change]:
    """Better contents for the picture's waiting jobs; empty where all lie well. Changes nothing."""
    table = _lay_table(picture)
    packed = compose(
        table.loads,
        table.pieces,
        table.capacity,
        lambda kind, counts: fits_together(table.rooms[kind], table.outlines, counts),
        rules,
    )
    changes = []
    for kind in sorted({load.kind for load in table.loads}):
        before = {load.job: dict(load.pieces) for load in table.loads if load.kind == kind}
        after = tuple(load for load in packed if load.kind == kind)
        if {load.job: dict(load.pieces) for load in after} != before or len(after) != len(before):
            changes.append(Change(kind, after, {job: picture.jobs[job].version for job in before}))
    return changes


def fingerprint(picture: Picture) -> tuple[object, ...]:
    """Equal while there is nothing new to compose: the same pieces wait, for the same machines, within ten minutes."""
    waiting = [job.id for job in picture.jobs.values() if job.state is JobState.WAITING]
    made = {place[0] for place in picture.toolpaths}
    lying = tuple((job, job in made, tuple((_key(x), x.pieces) for x in picture.lines.get(job, ()))) for job in waiting)
    machines = tuple((key, m.agent.online, m.report.state, m.row.quarantine_why) for key, m in picture.machines.items())
    return lying, machines, int(picture.snapshot.now.timestamp() // _LOOKED_AGAIN_S), len(picture.held_back)


def misfits(picture: Picture) -> dict[str, str]:
    """Waiting jobs of several pieces that no machine's toolpath could be made for together, and what was said."""
    found = {}
    for job in picture.jobs.values():
        if job.state is not JobState.WAITING or job.pieces < 2 or job.flag:
            continue
        said = {place[1]: why for place, why in picture.shut.items() if place[0] == job.id}
        made = any(place[0] == job.id for place in picture.toolpaths)
        refused = [why for why in said.values() if "fit" in why and "being made" not in why]
        if refused and not made and len(refused) == len(said):
            found[job.id] = refused[0]
    return found


def carry_out(c: sa.Connection, mover: Mover, changes: Sequence[Change], now: datetime) -> list[str]:
    """Write proposed contents. A kind of which any job moved since is left alone. Returns the jobs changed."""
    touched: list[str] = []
    for change in changes:
        jobs = {row.id: row for row in queries.jobs(c, ids=sorted(change.seen))}
        if all(row.state is JobState.WAITING and row.version == change.seen[row.id] for row in jobs.values()):
            touched += _rearrange(c, mover, change, jobs, now)
    return touched


def separate(c: sa.Connection, picture: Picture, refused: dict[str, str], now: datetime) -> list[str]:
    """Divide jobs that do not fit on any plate: order by order, then in halves. Returns the new jobs."""
    made: list[str] = []
    for job_id, why in refused.items():
        job = queries.job(c, job_id)
        if job is None or job.state is not JobState.WAITING or job.version != picture.jobs[job_id].version:
            continue
        found = content_queries.lines(c, job_id)
        if len({line.order for line in found}) > 1:
            made += contents.part_ways(c, job, now, why, alone=f"together they found no plate: {why}"[:300])
            continue
        large = max(found, key=lambda line: (line.pieces, line.part))
        half = large.pieces // 2 if len(found) == 1 else large.pieces
        made.append(contents.divide(c, job, large, half, now, why))
        contents.settle(c, job)
    return made


def _rearrange(c: sa.Connection, mover: Mover, change: Change, jobs: dict[str, JobRow], now: datetime) -> list[str]:
    lying = content_queries.lines_of_jobs(c, jobs)
    sample = {_key(line): line for lines in lying.values() for line in lines}
    before = {job: {_key(line): line.pieces for line in lines} for job, lines in lying.items()}
    after = {load.job: dict(load.pieces) for load in change.loads if load.job}
    for job, lines in lying.items():
        if after.get(job) != before[job]:
            for line in lines:
                content_queries.take_line(c, line, line.pieces)
    touched = []
    for load in change.loads:
        if load.job and after[load.job] == before[load.job]:
            continue
        touched.append(_fill(c, load, jobs, sample, before, now))
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
) -> str:
    """Put the load's pieces on its job, or on a new one. Returns the job."""
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
    body = {"pieces": dict(load.pieces)}
    record(c, "composed", now, order=row.order, job=name, body=body)
    return name


def _absorbed(c: sa.Connection, mover: Mover, job: JobRow, change: Change, had: dict[str, int], now: datetime) -> None:
    """All its pieces lie elsewhere now: the job itself is over."""
    hosts = [load.job for load in change.loads if load.job and set(dict(load.pieces)) & set(had)]
    for host in hosts:
        contents.copy_declines(c, job.id, host)
    why = f"its pieces lie on {', '.join(hosts) or 'another job'} now, together with others"
    mover.move(c, job, Happening(JobEvent.CANCELLED, now, why=why, values={"cancel_why": why}))


def _key(line: LineRow) -> str:
    return f"{line.order}/{line.part}"


def _lay_table(picture: Picture) -> _Table:
    table = _Table()
    now = picture.snapshot.now
    waiting = {job.id for job in picture.snapshot.jobs if job.fixed is None} | set(picture.held_back)
    for job in sorted(picture.jobs.values(), key=lambda job: (job.created_at, job.id)):
        lines = picture.lines.get(job.id, [])
        if job.id not in waiting or not _movable(job, lines, picture, now):
            continue
        machines = _machines(job, read_body(job.body), picture)
        if not machines:
            continue
        room = _room(job.process, machines)
        kind = f"{_kind(job, lines, picture)}|{room.width_mm:g}x{room.depth_mm:g}"
        table.loads.append(Load(job.id, kind, tuple((_key(line), line.pieces) for line in lines)))
        table.rooms[kind] = room
        table.capacity[kind] = _capacity(job.process, machines, picture)
        for line in lines:
            table.pieces[_key(line)] = _pieces(line, kind, job, lines, picture)
            table.outlines[_key(line)] = _outline(read_body(line.body))
    return table


def _movable(job: JobRow, lines: Sequence[LineRow], picture: Picture, now: datetime) -> bool:
    planned = (job.placement or {}).get("start")
    near = planned is not None and datetime.fromisoformat(planned) <= now + NEARLY_FROZEN
    ready = any(place[0] == job.id for place in picture.toolpaths)
    if job.state is not JobState.WAITING or job.flag or not lines or (near and ready):
        return False
    if job.not_before is not None and job.not_before > now:
        return False
    bodies = [read_body(line.body) for line in lines]
    kinds = {body.pieces[0].kind for body in bodies}
    whole = all(not body.alone and (body.outline_mm or body.dims_mm) for body in bodies)
    going = picture.held_back.get(job.id, "") in ("", "its toolpaths are being made")
    return going and whole and (kinds <= _SOLID or kinds <= _FLAT) and job.process in HANDLING_MIN


def _kind(job: JobRow, lines: Sequence[LineRow], picture: Picture) -> str:
    """All that must agree for pieces to share a plate or sheet."""
    body = read_body(lines[0].body)
    solid = body.pieces[0].kind in _SOLID
    orders = orders_of(picture, job)
    thickness = "" if body.thickness_mm is None else f"{body.thickness_mm:.2f}"
    pool = f"own {body.own_shop}" if body.own_shop else "pool"
    form = "solid" if solid else "flat"
    words = (job.process, form, canonical(body.material), body.colour.lower(), thickness, pool)
    return "|".join((*words, urgency.narrowest(orders).value))


def _machines(job: JobRow, body: JobBody, picture: Picture) -> list[SeenMachine]:
    """Machines that could take the job as it is, whatever they are doing."""
    ring = urgency.narrowest(orders_of(picture, job))
    return [
        machine
        for machine in picture.machines.values()
        if machine.row.process == job.process
        and machine.agent.online
        and machine.report.state not in _RESTING
        and not machine.row.quarantine_why
        and (body.own_shop is None or machine.report.shop == body.own_shop)
        and ring.contains(machine.report.ring)
        and fits(body.dims_mm, machine.report.description.envelope_mm, job.process)
        and matching_material(body, machine.report.description) is not None
    ]


def _room(process: str, machines: Sequence[SeenMachine]) -> Room:
    sides = []
    for machine in machines:
        width, depth, _ = machine.report.description.envelope_mm
        for loaded in machine.report.description.materials:
            width, depth = min(width, loaded.width_mm or width), min(depth, loaded.height_mm or depth)
        sides.append((width, depth))
    return Room(process, min(w for w, _ in sides), min(d for _, d in sides))


def _capacity(process: str, machines: Sequence[SeenMachine], picture: Picture) -> Capacity:
    now = picture.snapshot.now
    free = {machine.key: 0.0 for machine in machines}
    others = 0.0
    for job in picture.snapshot.jobs:
        if job.fixed is not None and job.fixed.machine in free and job.fixed.finish is not None:
            minutes = (job.fixed.finish - now).total_seconds() / 60.0
            free[job.fixed.machine] = max(free[job.fixed.machine], minutes)
        elif job.fixed is None and job.process.value == process:
            others += job.weight or 1
    pressure = _FLOW * others / len(machines)
    return Capacity(tuple(sorted(free.values())), HANDLING_MIN[process], contents.MOST_PIECES[process], pressure)


def _pieces(line: LineRow, kind: str, job: JobRow, lines: Sequence[LineRow], picture: Picture) -> Pieces:
    now, order = picture.snapshot.now, picture.orders[line.order]
    date = urgency.earliest((order.promised, order.due))
    x, y = zip(*_outline(read_body(line.body)), strict=True)
    return Pieces(
        key=_key(line),
        kind=kind,
        minutes=_piece_s(line, job, lines, picture) / 60.0,
        area_mm2=(max(x) - min(x)) * (max(y) - min(y)),
        weight=float(urgency.weight(order, now)),
        need=urgency.need_rank(order),
        due=None if date is None else (date - now).total_seconds() / 60.0,
    )


def _piece_s(line: LineRow, job: JobRow, lines: Sequence[LineRow], picture: Picture) -> float:
    """One piece's share of the job's toolpath where there is one, else the rough word of its file."""
    rough = {_key(each): read_body(each.body).piece_s or _UNKNOWN_S for each in lines}
    known = [row.duration_s for place, row in picture.toolpaths.items() if place[0] == job.id]
    if not known:
        return rough[_key(line)]
    whole = sum(rough[_key(each)] * each.pieces for each in lines)
    return sorted(known)[len(known) // 2] * rough[_key(line)] / whole


def _outline(body: JobBody) -> Ring:
    if body.outline_mm:
        return body.outline_mm
    width, depth, _ = body.dims_mm or (1.0, 1.0, 1.0)
    return ((0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth))
