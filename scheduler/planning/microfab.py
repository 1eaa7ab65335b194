"""MicroFab: made-up networks of garage shops to measure planners on, from a seed. A tick is a minute; 0 is Monday.

Shops lie in clusters, machines are printers, resin printers, routers and lasers with materials, bed sizes and speeds;
jobs have one to three operations, log-normal durations, due dates with an exponential slack; durations are scaled so
that demand is `load` times capacity for every kind of machine. The draws follow one fixed order, so a seed names one
instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.calendars import Ticks, pack
from scheduler.planning.compiling import guides
from scheduler.planning.problem import NEVER, Problem, validate

DAY: Final = 1440
PRINTER, RESIN, ROUTER, LASER = range(4)
KIND_SHARE: Final = (0.55, 0.1, 0.2, 0.15)
MATERIAL_SHARE: Final = (0.3, 0.25, 0.15, 0.12, 0.1, 0.08)
MATERIALS: Final = 6
COLOURS: Final = 4
MEDIAN_MINUTES: Final = {PRINTER: 180, RESIN: 150, ROUTER: 60, LASER: 25}
SAME, OTHER_COLOUR, OTHER_MATERIAL = 5, 15, 40
ZONES: Final = 50

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class MicroFab:
    """An instance, with what benchmarks ask beside the problem itself."""

    problem: Problem
    job: Numbers
    """(n) the job of each operation."""
    kind: Numbers
    """(n) kind of machine wanted."""
    speed: NDArray[np.float64]
    """(m)"""
    jobs: int
    shops: int


@dataclass
class _Fleet:
    shop: Numbers
    kind: Numbers
    size: Numbers
    speed: NDArray[np.float64]
    materials: NDArray[np.bool_]
    opens: Numbers
    shuts: Numbers
    days: Numbers
    alone: NDArray[np.bool_]
    """May run without a person."""


def microfab(
    jobs: int,
    machines: int,
    *,
    seed: int = 1,
    load: float = 0.9,
    days: int = 7,
    calendars: bool = True,
    chains: bool = True,
    setups: bool = True,
    flow_percent: int = 2,
    horizon_days: int = 140,
) -> MicroFab:
    """One instance. `load`: demand over capacity in `days`; `setups=False` makes every changeover equal."""
    draw = np.random.default_rng(seed)
    shops = max(1, machines // 5)
    shop = np.sort(np.arange(machines) % shops)
    clusters = max(1, shops // 25)
    centre = draw.uniform(0, 200, (clusters, 2))
    place = centre[draw.integers(0, clusters, shops)] + draw.normal(0, 12, (shops, 2))
    fleet = _fleet(draw, machines, shops, shop, calendars)
    zone_place = centre[draw.integers(0, clusters, ZONES)] + draw.normal(0, 25, (ZONES, 2))
    legs = (30 + 1.2 * _distances(place, place)).astype(np.int32)
    np.fill_diagonal(legs, 0)
    delivery = (30 + 1.2 * _distances(place, zone_place)).astype(np.int32)
    zone = draw.integers(0, ZONES, jobs)
    weight = draw.choice([1, 2, 4, 8], jobs, p=[0.45, 0.3, 0.17, 0.08])
    job, kind, family, size, minutes, before = _operations(draw, jobs, chains)
    _scale_to_load(fleet, kind, minutes, load, days, calendars)
    ptr, machine, ticks = _alternatives(fleet, kind, family, size, minutes, calendars)
    release = np.sort(draw.integers(0, days * DAY * 2 // 3, jobs)).astype(np.int64)
    release[: jobs // 4] = 0
    per_job = np.zeros(jobs)
    np.add.at(per_job, job, minutes + 30)
    due = (release + per_job * 1.1 + 60 + draw.exponential(1.5 * DAY, jobs)).astype(np.int64)
    last = np.ones(len(job), bool)
    last[before[before >= 0]] = False
    problem = _problem(
        fleet, legs, delivery, setups, ptr, machine, ticks, family, before, last,
        np.where(last, zone[job], -1), release[job], np.where(last, due[job], NEVER), 100 * weight[job], flow_percent,
        calendars, horizon_days,
    )  # fmt: skip
    return MicroFab(problem, job, kind, fleet.speed, jobs, shops)


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])


def _fleet(draw: np.random.Generator, machines: int, shops: int, shop: Numbers, calendars: bool) -> _Fleet:
    kind = draw.choice(4, machines, p=KIND_SHARE)
    for one in range(4):
        if not (kind == one).any():
            kind[draw.integers(0, machines)] = one
    if machines < 12:
        kind[:4] = [PRINTER, ROUTER, LASER, RESIN][:machines]
    size = draw.choice(3, machines, p=[0.35, 0.45, 0.2])
    speed = draw.uniform(0.75, 1.35, machines)
    materials = np.zeros((machines, MATERIALS), bool)
    for m in range(machines):
        count = draw.integers(2, 5)
        materials[m, draw.choice(MATERIALS, count, replace=False, p=np.array(MATERIAL_SHARE))] = True
    if not calendars:
        always = np.zeros(shops, np.int64)
        return _Fleet(shop, kind, size, speed, materials, always, always + DAY, always + 127, np.ones(machines, bool))
    opens = draw.choice([6, 7, 8, 9, 16, 17], shops, p=[0.1, 0.15, 0.3, 0.2, 0.15, 0.1]) * 60
    evening, daytime = draw.choice([4, 5], shops), draw.choice([8, 9, 10], shops)
    shuts = opens + np.where(opens >= 16 * 60, evening * 60, daytime * 60)
    every_day = draw.random(shops) < 0.45
    days = np.where(every_day, 127, np.where(draw.random(shops) < 0.6, 31, 63))
    alone = (kind == PRINTER) | (kind == RESIN)
    return _Fleet(shop, kind, size, speed, materials, opens, shuts, days, alone)


def _operations(
    draw: np.random.Generator, jobs: int, chains: bool
) -> tuple[Numbers, Numbers, Numbers, Numbers, NDArray[np.float64], Numbers]:
    """Per operation: job, kind, family, size class, minutes at speed 1, the operation before it (or -1)."""
    job: list[int] = []
    kind: list[int] = []
    family: list[int] = []
    size: list[int] = []
    minutes: list[int] = []
    before: list[int] = []
    for number in range(jobs):
        count = draw.choice([1, 2, 3], p=[0.7, 0.22, 0.08]) if chains else 1
        kinds = [int(draw.choice(4, p=KIND_SHARE))]
        while len(kinds) < count:
            kinds.append(int(draw.choice([ROUTER, LASER, PRINTER], p=[0.4, 0.45, 0.15])))
        for i, one in enumerate(kinds):
            before.append(len(job) - 1 if i else -1)
            job.append(number)
            kind.append(one)
            material = draw.choice(MATERIALS, p=MATERIAL_SHARE)
            family.append(int(material) * COLOURS + int(draw.choice(COLOURS, p=[0.4, 0.3, 0.2, 0.1])))
            size.append(int(draw.choice(3, p=[0.6, 0.3, 0.1])))
            most = 420 if one >= ROUTER else 1800
            minutes.append(int(np.clip(MEDIAN_MINUTES[one] * draw.lognormal(0, 0.7), 8, most)))
    whole = [np.array(column, np.int64) for column in (job, kind, family, size, before)]
    return whole[0], whole[1], whole[2], whole[3], np.array(minutes, float), whole[4]


def _scale_to_load(
    fleet: _Fleet, kind: Numbers, minutes: NDArray[np.float64], load: float, days: int, calendars: bool
) -> None:
    for one in range(4):
        capacity = 0.0
        for m in np.flatnonzero(fleet.kind == one):
            s = fleet.shop[m]
            share = int(fleet.days[s]).bit_count() / 7
            daily = DAY if fleet.alone[m] else (fleet.shuts[s] - fleet.opens[s]) * share
            # A printer that waits for a person at night does not reach all of its day.
            capacity += fleet.speed[m] * daily * days * (0.75 if calendars and fleet.alone[m] else 1)
        demand = (minutes[kind == one] + 8).sum()
        if demand > 0:
            most = 400 if (one >= ROUTER and calendars) else 4000
            minutes[kind == one] = np.clip(minutes[kind == one] * (load * capacity / demand), 5, most)


def _alternatives(
    fleet: _Fleet, kind: Numbers, family: Numbers, size: Numbers, minutes: NDArray[np.float64], calendars: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Machines of the kind with the material and a large enough bed, and a long enough day where a person must stay."""
    open_for = (fleet.shuts - fleet.opens)[fleet.shop]
    fitting: dict[tuple[int, int, int], Numbers] = {}
    for one in range(4):
        for material in range(MATERIALS):
            for least in range(3):
                right = (fleet.kind == one) & fleet.materials[:, material] & (fleet.size >= least)
                fitting[one, material, least] = np.flatnonzero(right)
    ptr, machine, ticks = [0], [], []
    for o in range(len(kind)):
        one, material, needs_day = int(kind[o]), int(family[o]) // COLOURS, calendars and kind[o] >= ROUTER
        found = fitting[one, material, int(size[o])]
        if needs_day:
            found = found[minutes[o] / fleet.speed[found] + OTHER_MATERIAL <= open_for[found]]
        if len(found) == 0:
            found = fitting[one, material, 0]
        if len(found) == 0:
            found = np.flatnonzero(fleet.kind == one)
        if needs_day:
            minutes[o] = min(minutes[o], (open_for[found].max() - 41) * fleet.speed[found].min())
            long_enough = found[minutes[o] / fleet.speed[found] + OTHER_MATERIAL <= open_for[found]]
            found = long_enough if len(long_enough) else found
        machine.append(found.astype(np.int32))
        ticks.append(np.maximum(1, np.ceil(minutes[o] / fleet.speed[found])).astype(np.int32))
        ptr.append(ptr[-1] + len(found))
    return np.array(ptr, np.int64), np.concatenate(machine), np.concatenate(ticks)


def _problem(
    fleet: _Fleet,
    legs: NDArray[np.int32],
    delivery: NDArray[np.int32],
    setups: bool,
    ptr: NDArray[np.int64],
    machine: NDArray[np.int32],
    ticks: NDArray[np.int32],
    family: Numbers,
    before: Numbers,
    last: NDArray[np.bool_],
    zone: Numbers,
    release: Numbers,
    due: Numbers,
    weight: Numbers,
    flow_percent: int,
    calendars: bool,
    horizon_days: int,
) -> Problem:
    n, m = len(family), len(fleet.shop)
    families = MATERIALS * COLOURS
    material = np.arange(families) // COLOURS
    changed = np.where(material[:, None] == material[None], OTHER_COLOUR, OTHER_MATERIAL)
    setup = np.where(np.eye(families, dtype=bool), SAME, changed if setups else SAME).astype(np.int32)
    staffed = [_windows(fleet, s, horizon_days) for s in range(len(fleet.opens))] if calendars else []
    packed = pack(staffed)
    after = np.full(n, -1, np.int64)
    after[before[before >= 0]] = np.flatnonzero(before >= 0)
    preds = [[int(q)] if q >= 0 else [] for q in before]
    mine = np.where(last, weight, 0)
    guide_due, guide_weight = guides(due.astype(np.int32), weight, preds, ptr, ticks)
    zeros, never = np.zeros(n, np.int32), np.full(n, NEVER, np.int32)
    return validate(
        Problem(
            elig_ptr=ptr,
            elig_machine=machine,
            elig_ticks=ticks,
            elig_tail=np.broadcast_to(np.int32(0), ticks.shape),
            elig_cost=np.broadcast_to(np.int32(0), ticks.shape),
            elig_after=np.zeros(0, np.int32),
            family=family.astype(np.int32),
            home=zeros - 1,
            release=release.astype(np.int32),
            due=due.astype(np.int32),
            weight=mine,
            flow=mine * flow_percent // 100,
            promise=never,
            promise_weight=np.zeros(n, np.int64),
            guide_due=guide_due,
            guide_weight=guide_weight,
            zone=zone.astype(np.int32),
            pinned=zeros - 1,
            pred_ptr=np.concatenate([[0], np.cumsum(before >= 0)]).astype(np.int64),
            preds=before[before >= 0].astype(np.int32),
            succ_ptr=np.concatenate([[0], np.cumsum(after >= 0)]).astype(np.int64),
            succs=after[after >= 0].astype(np.int32),
            machine_shop=fleet.shop.astype(np.int32),
            machine_free=np.zeros(m, np.int32),
            machine_family=np.full(m, -1, np.int32),
            machine_matrix=np.zeros(m, np.int32),
            attended=np.zeros(m, np.int8) if not calendars else (~fleet.alone).astype(np.int8),
            run_calendar=np.full(m, -1, np.int32),
            home_calendar=np.full(m, -1, np.int32),
            staff_calendar=fleet.shop.astype(np.int32) if calendars else np.full(m, -1, np.int32),
            setup=setup[None],
            first_setup=SAME,
            setup_cost=100,
            leg_cost=5,
            legs=legs,
            delivery=delivery,
            pressure=np.zeros(len(fleet.opens), np.int64),
            cal_ptr=packed.ptr,
            cal_open=packed.open,
            cal_shut=packed.shut,
            cal_hint=packed.hint,
            bucket=packed.bucket,
        )
    )


def _windows(fleet: _Fleet, shop: int, days: int) -> Ticks:
    opens, shuts, weekdays = int(fleet.opens[shop]), int(fleet.shuts[shop]), int(fleet.days[shop])
    return tuple((day * DAY + opens, day * DAY + shuts) for day in range(days) if weekdays >> (day % 7) & 1)


def weighted_tardiness(problem: Problem, avail: NDArray[np.int32], machine: NDArray[np.int32]) -> int:
    """Minutes late times weight, summed (the figure the bars are in)."""
    last = (problem.zone >= 0) & (machine >= 0)
    shop = problem.machine_shop[machine[last]]
    late = avail[last] + problem.delivery[shop, problem.zone[last]].astype(np.int64) - problem.due[last]
    return int((np.maximum(0, late) * (problem.weight[last] // 100)).sum())
