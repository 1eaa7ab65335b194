"""What events cost the living planner of 10,000 jobs on 1,000 machines, and quotes through its process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from agents.contract.vocabulary import Process
from scheduler.planning.engine import Planner
from scheduler.planning.events import (
    Cancelled,
    Changes,
    Down,
    Ended,
    MachineChanged,
    Pinned,
    Released,
    Reserved,
    Unpinned,
)
from scheduler.planning.process import PlannerProcess
from scheduler.planning.snapshot import (
    DurationOption,
    Fixed,
    Material,
    MaterialNeed,
    PlanJob,
    PlanMachine,
    Pressure,
    Snapshot,
    Window,
)
from tests.benchmarks.planning_bars import Settings
from tests.benchmarks.report import Bar

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
MATERIALS = ("PLA", "PETG", "ASA", "TPU", "ply")
#: How often each event happens, on other jobs and machines each time.
TIMES = 7
#: What an event may take: between two of them the search has room.
LIMIT_MS = 50.0


def network(jobs: int, machines: int, seed: int) -> Snapshot:
    """A week's work for shops of five machines, open by day; an eighth of the jobs needs the part of the one before."""
    draw = np.random.default_rng(seed)
    days = tuple(
        Window(NOW + timedelta(days=day), NOW + timedelta(days=day) + int(draw.integers(8, 13)) * HOUR)
        for day in range(60)
    )
    plants = tuple(_machine(f"m{i}", f"s{i // 5}", days, draw) for i in range(machines))
    return Snapshot(NOW, plants, tuple(_job(i, draw) for i in range(jobs)))


def _machine(name: str, shop: str, days: tuple[Window, ...], draw: np.random.Generator) -> PlanMachine:
    laser = draw.random() < 0.3
    two = draw.choice(4, 2, replace=False)
    return PlanMachine(
        name,
        shop,
        Process.LASER if laser else Process.FDM,
        envelope_mm=(float(draw.choice([200, 300])),) * 3,
        loaded=(Material("ply" if laser else MATERIALS[two[0]]),),
        loadable=() if laser else (Material(MATERIALS[two[1]]),),
        attended=bool(laser),
        attended_windows=days,
    )


def _job(number: int, draw: np.random.Generator) -> PlanJob:
    laser = number % 10 < 3
    p50 = float(draw.lognormal(3.2 if laser else 5.2, 0.6)) * 60
    p50 = min(p50, 4 * 3600.0 if laser else 24 * 3600.0)
    size = float(draw.choice([100, 250], p=[0.8, 0.2]))
    return PlanJob(
        f"j{number}",
        f"o{number}",
        Process.LASER if laser else Process.FDM,
        (DurationOption(p50, 1.15 * p50, 1.3 * p50),),
        MaterialNeed("ply" if laser else MATERIALS[int(draw.integers(0, 4))]),
        bounds_mm=(size, size, 20.0),
        due=NOW + float(draw.exponential(60)) * HOUR + 6 * HOUR,
        predecessors=(f"j{number - 1}",) if number % 8 == 7 else (),
    )


def events(s: Settings) -> list[Bar]:
    """Every event of a live network, and its quotes, in milliseconds: the median of some and the worst of them."""
    jobs, machines = (1_000, 100) if s.quick else (10_000, 1_000)
    _measured(Planner(network(60, 12, 1), s.seed), s, np.random.default_rng(1))  # loads the compiled code
    t = s.clock()
    planner = Planner(network(jobs, machines, s.seed), s.seed)
    bars = [Bar("events: first plan from a snapshot", s.clock() - t, "s", "-", True)]
    planner.improve(moves=20_000)
    for name, took in _measured(planner, s, np.random.default_rng(s.seed)).items():
        middle = statistics.median(took)
        bars.append(Bar(f"event: {name}", middle, "ms", f"≤ {LIMIT_MS:g}", middle <= LIMIT_MS))
        bars.append(Bar(f"event: {name}, worst", max(took), "ms", "-", True))
    for size in ((1_000, 100), (jobs, machines)):
        bars += _through_the_process(s, *size)
    return bars


def _measured(planner: Planner, s: Settings, draw: np.random.Generator) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(TIMES):
        for name, happen in _happenings(planner, draw):
            t = s.clock()
            happen()
            found.setdefault(name, []).append(1e3 * (s.clock() - t))
    return found


def _happenings(planner: Planner, draw: np.random.Generator) -> Iterator[tuple[str, Callable[[], object]]]:
    """One of each. What they are about is looked up before they are measured."""
    number = f"new{draw.integers(1 << 40)}"
    new = replace(_job(0, draw), id=number, order=number)
    yield "quote", lambda: planner.quote(new)
    yield "order", lambda: planner.commit(new)
    yield "cancel", lambda: planner.repair(Cancelled(number))
    now = planner.snapshot.now
    places = [one for one in planner.current().placements if not one.fixed]
    soon = places[int(draw.integers(0, max(1, len(places) // 20)))]
    yield "pin", lambda: planner.repair(Pinned(soon.job, Fixed(soon.machine, soon.start, soon.finish)))
    yield "finish late", lambda: planner.repair(Ended(soon.job, soon.finish + HOUR))
    yield "finish early", lambda: planner.repair(Ended(soon.job, max(now, soon.start) + HOUR / 60))
    yield "unpin", lambda: planner.repair(Unpinned(soon.job))
    machines = planner.snapshot.machines
    machine = machines[int(draw.integers(0, len(machines)))]
    window = Window(now + 2 * HOUR, now + 6 * HOUR)
    yield "reservation", lambda: planner.repair(Reserved(machine.id, window))
    yield "reservation given back", lambda: planner.repair(Released(machine.id, window))
    yield "failure", lambda: planner.repair(Down(machine.id, now + 9 * HOUR))
    shorter = replace(machine, attended_windows=tuple((machine.attended_windows or ())[1:]))
    yield "calendar change", lambda: planner.repair(MachineChanged(shorter))
    yield "new machine", lambda: planner.repair(MachineChanged(replace(machine, id=f"{machine.id}-{number}")))
    yield "clock", lambda: planner.advance(now + timedelta(minutes=1))
    yield "plan said after these", planner.current
    dear = tuple(Pressure(shop, float(draw.normal(0, 0.2))) for shop in sorted({one.shop for one in machines}))
    yield "new prices in every shop", lambda: planner.apply(Changes(pressures=dear))
    yield "plan said after new prices in every shop", planner.current


def _through_the_process(s: Settings, jobs: int, machines: int) -> list[Bar]:
    """Wall seconds, whatever clock counts the others: the child's own are not this process's."""
    world, draw = network(jobs, machines, s.seed), np.random.default_rng(s.seed)
    process = PlannerProcess(0.0, s.seed, patience_s=600.0)
    try:
        process(world)
        took = []
        for i in range(10 * TIMES):
            new = replace(_job(0, draw), id=f"asked{i}")
            t = time.perf_counter()
            process.quote(world, [new])
            took.append(1e3 * (time.perf_counter() - t))
    finally:
        process.close()
    name = f"quote through the process, {jobs:,}×{machines:,}"
    return [
        Bar(name, statistics.median(took), "ms wall", "-", True),
        Bar(f"{name}, p99", float(np.percentile(took, 99)), "ms wall", "-", True),
    ]
