"""Offcuts: kept when a sheet job finished, laid under the next job of that shop that fits, marked by people.

Areas are booked for every finished sheet of known size: what came in (a sheet or an offcut) equals pieces, offcuts kept
and waste, to the hundredth of a square millimetre.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from shapely.geometry import Polygon

from agents.contract.messages import MachineReport
from designs.nesting import NestPart
from designs.nesting_remnant import on_remnant
from designs.processes.materials import canonical, density_g_cm3
from designs.processes.model import ProcessKind, Ring, SheetLayout, Stock
from scheduler.orders.cards import read_layout
from scheduler.orders.packing import ALLOWANCE_MM
from scheduler.orders.recipes import JobBody, read_body, stock_for, thick_enough
from scheduler.orders.refusal import Refused
from scheduler.store import content_queries, queries
from scheduler.store import content_tables as ct
from scheduler.store.content_queries import LineRow, RemnantRow
from scheduler.store.record import record
from scheduler.store.rows import JobRow, ToolpathRow


class RemnantState(StrEnum):
    """`in_doubt`: a run on it failed, and a person has to look."""

    AVAILABLE = "available"
    IN_DOUBT = "in_doubt"
    USED_UP = "used_up"
    LOST = "lost"


class StockMove(StrEnum):
    """What a stretch of sheet became; the first two come in (positive), the others go out (negative)."""

    SHEET = "sheet"
    OFFCUT_TAKEN = "offcut_taken"
    PIECES = "pieces"
    OFFCUT_KEPT = "offcut_kept"
    WASTE = "waste"


SHEET_PROCESSES: Final = frozenset({ProcessKind.LASER, ProcessKind.CNC})
#: Offcuts looked at for one job, smallest first.
_TRIED: Final = 4
#: Rounding of one sheet's areas.
_FORGIVEN_MM2: Final = 0.05
#: More pieces than this go on a whole sheet: laying them on a polygon takes too long.
_MOST_PIECES: Final = 12


def stock_of(remnant: RemnantRow) -> Stock:
    """The offcut as stock to make from."""
    rings = tuple(tuple((x, y) for x, y in ring) for ring in remnant.outline_mm)
    _, _, width, height = Polygon(rings[0]).bounds
    return Stock(
        remnant.material, remnant.colour, remnant.thickness_mm, round(width, 2), round(height, 2), rings, remnant.id
    )


def on_hand(c: sa.Connection) -> list[RemnantRow]:
    """Offcuts that nobody holds: not marked, and under no job that is offered or leased. Smallest first."""
    taken = queries.offers(c, [lease.offer for lease in queries.live_leases(c)])
    hashes = {offer.sha256 for offer in (*queries.open_offers(c), *taken.values())}
    layouts = (row.layout for row in queries.toolpaths(c, sorted(hashes)).values())
    held = {read_layout(layout).sheet_label for layout in layouts if layout is not None}
    return [row for row in content_queries.remnants(c, states=[RemnantState.AVAILABLE]) if row.id not in held]


def fitting(
    remnants: Iterable[RemnantRow], shop: str, process: str, body: JobBody, lines: Sequence[LineRow]
) -> RemnantRow | None:
    """The smallest offcut of the shop on which all pieces of the job lie; None where there is none."""
    wanted = _wanted(process, body, lines)
    if process not in SHEET_PROCESSES or wanted is None:
        return None
    area = sum(abs(Polygon(outline).area) * count for outline, count in wanted)
    tried = 0
    for remnant in remnants:
        if remnant.shop != shop or remnant.area_mm2 < area or not _same_stuff(remnant, body):
            continue
        tried += 1
        if tried > _TRIED:
            return None
        if _lies_on(stock_of(remnant).outline_mm, wanted, ALLOWANCE_MM.get(process, 0.0)):
            return remnant
    return None


def _wanted(process: str, body: JobBody, lines: Sequence[LineRow]) -> tuple[tuple[Ring, int], ...] | None:
    """The job's outlines with their numbers; None where one is not known, or there are too many."""
    if not lines or sum(line.pieces for line in lines) > _MOST_PIECES:
        return None
    bodies = [read_body(line.body) for line in lines] if len(lines) > 1 else [body]
    found = [(each.outline_mm, line.pieces) for each, line in zip(bodies, lines, strict=True)]
    known = tuple((outline, count) for outline, count in found if outline is not None)
    return known if len(known) == len(found) else None


@lru_cache(maxsize=2_048)
def _lies_on(offcut: tuple[Ring, ...], wanted: tuple[tuple[Ring, int], ...], allowance_mm: float) -> bool:
    """Kept: the same question comes with every plan."""
    parts = [
        NestPart(str(k), Polygon(outline).buffer(allowance_mm, join_style="mitre"), count)
        for k, (outline, count) in enumerate(wanted)
    ]
    return not on_remnant(parts, Polygon(offcut[0], offcut[1:]), 0.0, 1.0).left_over


def _same_stuff(remnant: RemnantRow, body: JobBody) -> bool:
    colour = not body.colour or not remnant.colour or body.colour.lower() == remnant.colour.lower()
    same = canonical(remnant.material) == canonical(body.material)
    return same and colour and thick_enough(body.thickness_mm, remnant.thickness_mm)


def book_sheet(
    c: sa.Connection, job: JobRow, toolpath: ToolpathRow, machine: MachineReport, now: datetime
) -> list[str]:
    """A sheet job finished: its offcuts are kept, the one it lay on is used up, the areas are booked. New labels."""
    if toolpath.layout is None or job.process not in SHEET_PROCESSES:
        return []
    layout = read_layout(toolpath.layout)
    if not layout.sheet_mm:
        return []
    taken = content_queries.remnant(c, layout.sheet_label) if layout.sheet_label else None
    stuff = _stuff(job, taken, machine)
    kept = _keep_offcuts(c, job, layout, stuff, None if taken is None else taken.id, now)
    whole = round(float(Polygon(layout.sheet_mm[0], layout.sheet_mm[1:]).area), 2)
    if taken is not None:
        values = {"state": RemnantState.USED_UP.value, "used_by": job.id, "changed_at": now}
        content_queries.update_remnant(c, taken.id, values)
    moves: list[tuple[StockMove, float, str | None]] = [
        (StockMove.SHEET if taken is None else StockMove.OFFCUT_TAKEN, whole, None if taken is None else taken.id),
        (StockMove.PIECES, -layout.parts_mm2, None),
        *((StockMove.OFFCUT_KEPT, -area, label) for label, area in kept),
    ]
    moves.append((StockMove.WASTE, -round(sum(area for _, area, _ in moves), 2), None))
    for move in moves:
        _book(c, job, stuff, move, now)
    return [label for label, _ in kept]


def _keep_offcuts(
    c: sa.Connection, job: JobRow, layout: SheetLayout, stuff: dict[str, Any], parent: str | None, now: datetime
) -> list[tuple[str, float]]:
    """(label, area) of each offcut, now on the shelf."""
    kept = []
    for number, rings in enumerate(layout.offcuts_mm):
        outline = Polygon(rings[0], rings[1:])
        label = _label(job, number)
        kept.append((label, round(float(outline.area), 2)))
        c.execute(
            sa.insert(ct.remnants).values(
                **stuff,
                id=label,
                outline_mm=[[list(point) for point in ring] for ring in rings],
                area_mm2=kept[-1][1],
                state=RemnantState.AVAILABLE.value,
                from_job=job.id,
                from_remnant=parent,
                why="",
                created_at=now,
                changed_at=now,
            )
        )
    return kept


def doubt(c: sa.Connection, job: JobRow, toolpath: ToolpathRow, now: datetime) -> None:
    """A run on an offcut ended without parts: nobody knows what is left of it until somebody looked."""
    label = "" if toolpath.layout is None else read_layout(toolpath.layout).sheet_label
    if label and content_queries.remnant(c, label) is not None:
        why = f"a run of job {job.id} on it failed: look at it"
        values = {"state": RemnantState.IN_DOUBT.value, "why": why, "changed_at": now}
        content_queries.update_remnant(c, label, values)


def mark(c: sa.Connection, label: str, state: RemnantState, why: str, now: datetime) -> RemnantRow:
    """A person says what became of an offcut. Raises Refused for one that is not there, or lies under a job now."""
    row = content_queries.remnant(c, label)
    if row is None:
        raise Refused("unknown_remnant", "Nothing was done", f"there is no offcut {label[:64]}", status=404)
    if row.state == RemnantState.AVAILABLE and label not in {each.id for each in on_hand(c)}:
        text = f"offcut {label} lies under a job that is offered or under way"
        raise Refused("remnant_in_use", "Nothing was done", text, "Cancel that job first, or wait for it.", status=409)
    content_queries.update_remnant(c, label, {"state": state.value, "why": why, "changed_at": now})
    record(c, f"remnant_{state.value}", now, body={"remnant": label, "was": row.state, "why": why})
    return content_queries.remnant(c, label) or row


def _stuff(job: JobRow, taken: RemnantRow | None, machine: MachineReport) -> dict[str, Any]:
    if taken is not None:
        return {name: getattr(taken, name) for name in ("shop", "material", "colour", "thickness_mm")}
    stock = stock_for(read_body(job.body), machine.description)
    found = {"material": canonical(stock.material), "colour": stock.colour, "thickness_mm": stock.thickness_mm}
    return {"shop": machine.shop, **found}


def _book(
    c: sa.Connection, job: JobRow, stuff: dict[str, Any], move: tuple[StockMove, float, str | None], now: datetime
) -> None:
    kind, area, remnant = move
    density, thickness = density_g_cm3(stuff["material"]), stuff["thickness_mm"]
    mass = None if density is None or thickness is None else round(area * thickness / 1000.0 * density, 3)
    values = {name: stuff[name] for name in ("shop", "material", "thickness_mm")}
    values |= {"at": now, "kind": kind.value, "area_mm2": area, "mass_g": mass, "job": job.id, "remnant": remnant}
    c.execute(sa.insert(ct.stock_moves).values(**values))


def _label(job: JobRow, number: int) -> str:
    """Short enough to write on the sheet with a pen."""
    return "R-" + hashlib.sha256(f"{job.id}/{job.fence}/{number}".encode()).hexdigest()[:8].upper()


def leaks(c: sa.Connection, shop: str | None = None) -> dict[str, float]:
    """Jobs whose sheet does not add up, and by how many mm² (more came in than went out: positive)."""
    query = sa.select(ct.stock_moves.c.job, sa.func.sum(ct.stock_moves.c.area_mm2)).group_by(ct.stock_moves.c.job)
    if shop is not None:
        query = query.where(ct.stock_moves.c.shop == shop)
    return {job: round(float(area), 2) for job, area in c.execute(query) if abs(area) > _FORGIVEN_MM2}
