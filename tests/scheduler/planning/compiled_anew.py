"""Whether a live plan's tables, times and answer are what compiling and timing its snapshot anew give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from scheduler.planning.checker import violations
from scheduler.planning.compiling import Compiled, compile_snapshot
from scheduler.planning.core import (
    AFTER,
    ATTENDED,
    CLEARED,
    COST,
    CURVE,
    DUE,
    EARLIEST,
    ELIG_HIGH,
    ELIG_LOW,
    FAMILY,
    FAMILY_ON,
    FLOW,
    FREE,
    GUIDE_DUE,
    GUIDE_WEIGHT,
    HOME,
    HOME_RUN,
    MACHINE,
    MATRIX,
    PINNED,
    PRED_HIGH,
    PRED_LOW,
    PROMISE,
    PROMISE_WEIGHT,
    RUN,
    SHOP,
    SINCE,
    STAFF,
    SUCC_HIGH,
    SUCC_LOW,
    TAIL_TICKS,
    WEIGHT,
    ZONE,
    Core,
    Schedule,
    copy_schedule,
)
from scheduler.planning.engine import Planner
from scheduler.planning.growing import Growing
from scheduler.planning.problem import NEVER
from scheduler.planning.refusing import CORRECTED
from scheduler.planning.saying import Saying
from scheduler.planning.staggering import stagger
from scheduler.planning.timing import retime_all
from scheduler.planning.waits import part_waits

PLAIN = (EARLIEST, DUE, WEIGHT, FLOW, SINCE, PROMISE, PROMISE_WEIGHT, GUIDE_DUE, GUIDE_WEIGHT, PINNED)


def told(book: Compiled | Growing, rows: dict[str, int]) -> dict[str, Any]:
    """Everything that the tables say about the plannable jobs and the machines, in ids instead of rows."""
    core, registers = book.core, book.registers
    families = {number: key for key, number in registers.families.items()}
    zones = {number: place for place, number in registers.zones.items()}
    there = {machine.shop for machine in book.view.machine.values()}
    shops = {number: shop if shop in there else None for shop, number in registers.shops.items()}
    out: dict[str, Any] = {}
    name = {o: job for job, o in rows.items()}
    for job, o in rows.items():
        op = core.ops[o]
        more = core.elig_more if len(core.elig_more) else np.zeros((len(core.elig_machine), 3), int)
        links = [
            sorted(name[q] for q in core.links[op[low] : op[high]].tolist() if q in name)
            for low, high in ((PRED_LOW, PRED_HIGH), (SUCC_LOW, SUCC_HIGH))
        ]
        choices = range(int(op[ELIG_LOW]), int(op[ELIG_HIGH]))
        rising = [int(core.elig_machine[k]) for k in choices]
        assert rising == sorted(set(rising))
        out[job] = (
            # Starts staggered for power or people are written into EARLIEST.
            [int(op[column]) for column in (PLAIN[1:] if book.circuits or book.crews else PLAIN)],
            families[int(op[FAMILY])],
            shops.get(int(op[HOME])),
            zones.get(int(op[ZONE])),
            links,
            {
                book.machines[core.elig_machine[k]].id: (
                    int(core.elig_ticks[k]),
                    *(int(more[k, column]) for column in (TAIL_TICKS, COST, AFTER)),
                    int(book.moving[k]),
                )
                for k in choices
                if more[k, AFTER] < NEVER
            },
        )
    for machine in book.view.machine.values():
        row = core.mach[book.able.row_of(machine.id)]
        family = None if row[FAMILY_ON] < 0 else families[int(row[FAMILY_ON])]
        plain = [int(row[column]) for column in (FREE, MATRIX, ATTENDED)]
        windows = [calendar(book, int(row[column])) for column in (RUN, HOME_RUN, STAFF)]
        pressure = int(core.pressure[row[SHOP]]), None if row[CURVE] < 0 else core.carbon[row[CURVE]].tolist()
        out[f"machine {machine.id}"] = (plain, family, shops[int(row[SHOP])], windows, pressure)
    for a, i in registers.families.items():
        for b, j in registers.families.items():
            out[f"setup {a} {b}"] = core.setup[:, i, j].tolist()
    for shop in sorted(there):
        row = registers.shops[shop]
        for to in sorted(there):
            out[f"leg {shop} {to}"] = int(core.legs[row, registers.shops[to]])
        for place, z in registers.zones.items():
            out[f"delivery {shop} {place}"] = int(core.delivery[row, z])
    return out


def links_are_mutual(book: Growing) -> None:
    """Whoever waits for a row is known there, and the other way round; also where neither has a place."""
    ops, links = book.core.ops, book.core.links
    waits = {(q, o) for o in book.row.values() for q in links[ops[o, PRED_LOW] : ops[o, PRED_HIGH]].tolist()}
    needed = {(q, o) for q in book.row.values() for o in links[ops[q, SUCC_LOW] : ops[q, SUCC_HIGH]].tolist()}
    assert waits == needed


def calendar(book: Compiled | Growing, number: int) -> list[tuple[int, int]] | None:
    """A packed calendar's windows, found as the core finds them."""
    if number < 0:
        return None
    out = []
    at = int(book.core.cal_hint[number, 0])
    while book.core.cal[at, 0] < NEVER:
        out.append((int(book.core.cal[at, 0]), int(book.core.cal[at, 1])))
        at += 1
    for bucket, first in enumerate(book.core.cal_hint[number].tolist()):
        ended = sum(end <= bucket * int(book.core.rates[3]) - 1 for _, end in out)
        assert first - int(book.core.cal_hint[number, 0]) in {ended, sum(end < bucket * 1440 for _, end in out)}
    return out


def same_as_compiled_anew(planner: Planner) -> None:
    """The tables, the times and the answer are what compiling and timing anew give."""
    book, live = planner.book, planner.live
    anew = compile_snapshot(replace(planner.snapshot, now=book.view.snapshot.now), live.now)
    mine = told(book, {job.id: book.row[job.id] for job in anew.jobs})
    theirs = told(anew, {job.id: o for o, job in enumerate(anew.jobs)})
    assert {key: mine.get(key) for key in theirs} == theirs
    links_are_mutual(book)
    for waiting in anew.waiting:
        assert live.schedule.at[book.row[waiting.job], MACHINE] < 0, waiting
    assert set(book.row) == set(book.view.job)
    fixed = [job for job in book.view.job.values() if job.fixed is not None and job.fixed.machine in book.view.machine]
    assert all(live.schedule.at[book.row[job.id], MACHINE] >= 0 for job in fixed)
    kept = copy_schedule(live.schedule)
    live.retime_whole()
    assert live.schedule.at.tolist() == kept.at.tolist()
    delayed_as_whole(planner)
    made = planner.current()
    assert violations(planner.snapshot, made) == []
    assert CORRECTED not in made.engine
    said = Saying().plan(planner.snapshot, book, planner.live, seed=planner.seed)
    assert {one.job: one for one in made.placements} == {one.job: one for one in said.placements}
    reasons = {waiting.job: waiting for waiting in made.waiting}
    for waiting in anew.waiting:
        assert reasons[waiting.job].why == waiting.why
    assert part_waits(book.view, book.view.job.values(), dict.fromkeys(reasons, None)) == {}


def delayed_as_whole(planner: Planner) -> None:
    """Delays laid group by group are those that staggering the whole undelayed plan gives."""
    book, live = planner.book, planner.live
    assert (planner.delays is not None) == book.binds
    if planner.delays is None:
        return
    core, schedule = live.core._replace(ops=live.core.ops.copy()), copy_schedule(planner.delays.undelayed)
    core.ops[:, EARLIEST], core.ops[:, CLEARED] = core.ops[:, SINCE], 0
    assert retimed(core, schedule).at.tolist() == schedule.at.tolist()
    stagger(core, schedule, book.shared)
    rows = sorted(book.row.values())
    assert schedule.at[rows].tolist() == live.schedule.at[rows].tolist()
    assert core.ops[rows].tolist() == live.core.ops[rows].tolist()
    assert queues(schedule) == queues(live.schedule)


def retimed(core: Core, schedule: Schedule) -> Schedule:
    """A copy, timed anew from its queues."""
    out = copy_schedule(schedule)
    rows = np.empty(len(core.ops), schedule.at.dtype)
    retime_all(core, out, rows, rows.copy())
    return out


def queues(schedule: Schedule) -> list[list[int]]:
    """Rows of every machine in order."""
    return [row[:length].tolist() for row, length in zip(schedule.seq, schedule.length.tolist(), strict=True)]
