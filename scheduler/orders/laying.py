"""The composer's table: waiting pieces that may still be moved, what they cover, and the machines that could take them.

All of it is plain values, so that composing can be done by another process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agents.contract.vocabulary import JobState, MachineState
from designs.processes.materials import canonical
from designs.processes.model import GeometryKind, ProcessKind, Ring
from scheduler.dispatch.picture import BEING_MADE, Picture, SeenMachine, orders_of
from scheduler.orders import contents, urgency
from scheduler.orders.packing import Room, fits_together, outlines_fit_together
from scheduler.orders.recipes import JobBody, fits, matching_material, read_body
from scheduler.planning.batch import BatchPolicy, Capacity, Load, Pieces, compose
from scheduler.store.content_queries import LineRow
from scheduler.store.rows import JobRow

#: A job planned to start within this is as good as frozen.
NEARLY_FROZEN: Final = timedelta(minutes=20)
#: Between two runs somebody clears, loads or clamps for about so long.
HANDLING_MIN: Final[dict[str, float]] = {ProcessKind.FDM: 15.0, ProcessKind.LASER: 10.0, ProcessKind.CNC: 20.0}
_SOLID: Final = frozenset({GeometryKind.STL, GeometryKind.THREE_MF, GeometryKind.OBJ, GeometryKind.STEP})
_FLAT: Final = frozenset({GeometryKind.SVG, GeometryKind.DXF})
#: Questions about true outlines answered for one table: some seconds of a processor at most.
MOST_OUTLINES: Final = 200
_UNKNOWN_S: Final = 1_800.0
_FLOW: Final = 0.02
_RESTING: Final = frozenset(
    {MachineState.ALARM, MachineState.DISABLED, MachineState.OFFLINE, MachineState.UNIDENTIFIED}
)


@dataclass(slots=True)
class Table:
    """Loads of pieces by key, and by kind the room and the machines they have."""

    loads: list[Load] = field(default_factory=list)
    pieces: dict[str, Pieces] = field(default_factory=dict)
    outlines: dict[str, Ring] = field(default_factory=dict)
    capacity: dict[str, Capacity] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)


def worth_composing(table: Table) -> bool:
    """Whether anything could lie otherwise: pieces of several jobs of a kind, or several pieces of one."""
    kinds = [load.kind for load in table.loads]
    return len(set(kinds)) < len(kinds) or any(sum(count for _, count in load.pieces) > 1 for load in table.loads)


def compose_table(table: Table, rules: BatchPolicy | None = None) -> tuple[Load, ...]:
    """The same pieces on cheaper loads; what cannot be bettered lies as it lay. Takes seconds for hundreds of jobs."""
    outlines_left = iter(range(MOST_OUTLINES))

    def pack(kind: str, counts: Mapping[str, int]) -> bool:
        room = table.rooms[kind]
        if fits_together(room, table.outlines, counts):
            return True
        return next(outlines_left, None) is not None and outlines_fit_together(room, table.outlines, counts)

    return compose(table.loads, table.pieces, table.capacity, pack, rules)


def key_of(line: LineRow) -> str:
    """Names equal pieces: those of one part of one order."""
    return f"{line.order}/{line.part}"


def lay_table(picture: Picture) -> Table:
    """What the picture's waiting jobs put on the table."""
    table = Table()
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
        table.loads.append(Load(job.id, kind, tuple((key_of(line), line.pieces) for line in lines)))
        table.rooms[kind] = room
        table.capacity[kind] = _capacity(job.process, machines, picture)
        for line in lines:
            table.pieces[key_of(line)] = _pieces(line, kind, job, lines, picture)
            table.outlines[key_of(line)] = _outline(read_body(line.body))
    return table


def _movable(job: JobRow, lines: Sequence[LineRow], picture: Picture, now: datetime) -> bool:
    planned = (job.placement or {}).get("start")
    near = planned is not None and datetime.fromisoformat(planned) <= now + NEARLY_FROZEN
    ready = bool(picture.toolpaths(job.id))
    if job.state is not JobState.WAITING or job.flag or not lines or (near and ready):
        return False
    if job.not_before is not None and job.not_before > now:
        return False
    bodies = [read_body(line.body) for line in lines]
    kinds = {body.pieces[0].kind for body in bodies}
    whole = all(not body.alone and (body.outline_mm or body.dims_mm) for body in bodies)
    going = picture.held_back.get(job.id, "") in ("", BEING_MADE)
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
        key=key_of(line),
        kind=kind,
        minutes=_piece_s(line, job, lines, picture) / 60.0,
        area_mm2=(max(x) - min(x)) * (max(y) - min(y)),
        weight=float(urgency.weight(order, now)),
        need=urgency.need_rank(order),
        due=None if date is None else (date - now).total_seconds() / 60.0,
    )


def _piece_s(line: LineRow, job: JobRow, lines: Sequence[LineRow], picture: Picture) -> float:
    """One piece's share of the job's toolpath where there is one, else the rough word of its file."""
    rough = {key_of(each): read_body(each.body).piece_s or _UNKNOWN_S for each in lines}
    known = [row.duration_s for row in picture.toolpaths(job.id).values()]
    if not known:
        return rough[key_of(line)]
    whole = sum(rough[key_of(each)] * each.pieces for each in lines)
    return sorted(known)[len(known) // 2] * rough[key_of(line)] / whole


def _outline(body: JobBody) -> Ring:
    if body.outline_mm:
        return body.outline_mm
    width, depth, _ = body.dims_mm or (1.0, 1.0, 1.0)
    return ((0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth))
