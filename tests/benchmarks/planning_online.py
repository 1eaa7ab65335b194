"""A week of a made-up network, minute by minute: arrivals, failures, hourly re-planning, fair shares. Figures only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import SHOP, SINCE, empty_schedule, make_core
from scheduler.planning.live import LivePlan
from scheduler.planning.microfab import MicroFab, weighted_tardiness

FREEZE = 30
PERIOD = 60
#: Cost of moving an operation to another shop when re-planning, in hundredths of a weight-minute.
NERVOUSNESS = 10_500
#: What a re-plan may take.
REPLAN_S = 0.22


@dataclass(frozen=True)
class Week:
    """What a week came to. Times in milliseconds."""

    tardiness: int
    quote_p50_ms: float
    quote_p99_ms: float
    quotes_per_s: float
    replan_p50_ms: float
    replan_p99_ms: float
    repair_p50_ms: float
    repair_p99_ms: float
    failures: int
    jain: float
    worst_share: float
    moved_between_shops: float
    """Mean share of placed, unstarted operations that a re-plan moved to another shop."""
    moved_inside_freeze: int
    unplaced: int
    wall_s: float


def percentile(values: list[float], q: float) -> float:
    """0 for none."""
    return float(np.percentile(values, q)) if values else 0.0


class _Shares:
    """Each shop's minutes against its entitlement: what it could do of all demand, split evenly over able machines."""

    def __init__(self, fab: MicroFab, pressure: float) -> None:
        p = fab.problem
        sizes = np.diff(p.elig_ptr)
        mean = np.add.reduceat(p.elig_ticks.astype(float), p.elig_ptr[:-1]) / sizes
        each = np.repeat(mean / sizes, sizes)
        self.entitled = np.zeros(fab.shops)
        np.add.at(self.entitled, p.machine_shop[p.elig_machine], each)
        self.pressure = pressure

    def of(self, live: LivePlan) -> NDArray[np.float64]:
        """Minutes given over minutes entitled, per shop."""
        given = np.zeros(len(self.entitled))
        placed = live.schedule.machine >= 0
        np.add.at(given, live.core.mach[live.schedule.machine[placed], SHOP], live.schedule.at[placed, 3])
        ratio: NDArray[np.float64] = given / np.maximum(self.entitled, 1.0)
        return ratio

    def apply(self, live: LivePlan) -> None:
        """Set the cost of a minute in every shop by how much it had."""
        ratio = self.of(live)
        mean = float((ratio * self.entitled).sum() / self.entitled.sum())
        if mean > 0:
            live.core.pressure[:] = np.round(100 * self.pressure * np.clip(ratio / mean - 1, -1, 2)).astype(np.int64)

    def indices(self, live: LivePlan) -> tuple[float, float]:
        """Jain's index and the worst share, over shops entitled to more than an hour."""
        share = self.of(live)[self.entitled > 60]
        share = share / share.mean()
        return float(share.sum() ** 2 / len(share) / (share**2).sum()), float(share.min())


def run_week(
    fab: MicroFab,
    *,
    replan_moves: int | None = None,
    failure_rate: float = 0.3,
    pressure: float = 0.0,
    seed: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Week:
    """Every job is placed when it arrives; hourly the search improves what starts after the freeze.

    Args:
        replan_moves: moves of a re-plan instead of `REPLAN_S` seconds.
        failure_rate: failures per machine and week; each takes an hour and an exponential 8 hours more.
        pressure: cost in weight-minutes of a machine minute in a shop that had twice its share; 0 is no fairness.
    """
    began = clock()
    core = make_core(fab.problem)
    live = LivePlan(core, empty_schedule(core), freeze=FREEZE, nervousness=NERVOUSNESS)
    shares = _Shares(fab, pressure)
    draw = np.random.default_rng(seed)
    release = core.ops[:, SINCE]
    horizon, machines = int(release.max()), len(core.mach)
    count = int(failure_rate * machines * horizon / 1440 / 7)
    failures = sorted(draw.uniform(1440, horizon, count).tolist(), reverse=True)
    down = np.zeros(machines, np.int64)
    quotes: list[float] = []
    replans: list[float] = []
    repairs: list[float] = []
    moved: list[float] = []
    frozen_moves, failed, next_replan, unplaced = 0, 0, PERIOD, 0
    starts = np.concatenate([[0], np.flatnonzero(np.diff(fab.job)) + 1, [len(fab.job)]])
    for number in np.argsort(release[starts[:-1]], kind="stable"):
        now = int(release[starts[number]])
        live.clock(now)
        while failures and failures[-1] <= now:
            failures.pop()
            machine, lasts = int(draw.integers(0, machines)), int(draw.exponential(480)) + 60
            if down[machine] > now:
                continue
            down[machine] = now + lasts
            t = clock()
            _, nowhere = live.fail(machine, now + lasts)
            repairs.append(1e3 * (clock() - t))
            failed, unplaced = failed + 1, unplaced + len(nowhere)
        t = clock()
        for o in range(starts[number], starts[number + 1]):
            unplaced += live.insert(o) is None
        quotes.append(1e3 * (clock() - t))
        if pressure and number % 20 == 0:
            shares.apply(live)
        if now >= next_replan:
            before = live.schedule.at.copy()
            t = clock()
            live.improve(moves=replan_moves, budget_s=REPLAN_S, seed=now, clock=clock)
            replans.append(1e3 * (clock() - t))
            share, inside = _moved(live, before)
            moved.append(share)
            frozen_moves += inside
            next_replan = now - now % PERIOD + PERIOD
    jain, worst = shares.indices(live)
    return Week(
        weighted_tardiness(fab.problem, live.schedule.avail, live.schedule.machine),
        percentile(quotes, 50),
        percentile(quotes, 99),
        1e3 / max(1e-9, float(np.mean(quotes))),
        percentile(replans, 50),
        percentile(replans, 99),
        percentile(repairs, 50),
        percentile(repairs, 99),
        failed,
        jain,
        worst,
        float(np.mean(moved)) if moved else 0.0,
        frozen_moves,
        unplaced,
        clock() - began,
    )


def _moved(live: LivePlan, before: NDArray[np.int32]) -> tuple[float, int]:
    """Share of waiting operations that changed shop, and how many behind the fence changed at all."""
    after = live.schedule.at
    queued = (before[:, 1] >= 0) & (after[:, 1] >= 0)
    inside = queued & (before[:, 5] < live.fence)
    touched = int((before[inside] != after[inside]).any(axis=1).sum())
    free = queued & ~inside
    if not free.any():
        return 0.0, touched
    shop = live.core.mach[:, SHOP]
    return float((shop[before[free, 0]] != shop[after[free, 0]]).mean()), touched
