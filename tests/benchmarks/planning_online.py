"""A week of a made-up network, minute by minute: arrivals, failures, hourly re-planning, fair shares. Figures only."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import SHOP, SINCE, TICKS, empty_schedule, make_core
from scheduler.planning.fairness import LITTLE_MIN, entitlements, prices
from scheduler.planning.live import LivePlan
from scheduler.planning.microfab import DAY, MicroFab, weighted_tardiness
from scheduler.planning.problem import NEVER

FREEZE = 30
PERIOD = 60
#: Cost of moving an operation to another shop when re-planning, in hundredths of a weight-minute.
NERVOUSNESS = 10_500
#: What a re-plan may take.
REPLAN_S = 0.22


class Fairness(Enum):
    """Whether shares are steered in a week."""

    NONE = "none"
    PRICED = "priced"


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
    jain_evenly: float
    """By demand split evenly over able machines, whatever their hours."""
    worst_evenly: float
    moved_between_shops: float
    """Mean share of placed, unstarted operations that a re-plan moved to another shop."""
    moved_inside_freeze: int
    unplaced: int
    wall_s: float


def percentile(values: list[float], q: float) -> float:
    """0 for none."""
    return float(np.percentile(values, q)) if values else 0.0


class _Shares:
    """Each shop's minutes against its entitlement, and the prices that follow from it.

    Entitlements are those of production: the max-min division of the work among machines that can do it, in proportion
    to the hours they offer. They are worked out anew every day from what has arrived by then. Demand split evenly over
    able machines, for comparison, entitles a shop that is open four evenings to as much as one that always is.
    """

    def __init__(self, fab: MicroFab) -> None:
        p = self._p = fab.problem
        slices = [p.elig_machine[low:high].tobytes() for low, high in itertools.pairwise(p.elig_ptr.tolist())]
        numbers: dict[bytes, int] = {}
        self._kind = np.array([numbers.setdefault(one, len(numbers)) for one in slices])
        sizes = np.diff(p.elig_ptr)
        self._minutes = np.add.reduceat(p.elig_ticks.astype(float), p.elig_ptr[:-1]) / sizes
        self._able = np.zeros((len(numbers), len(p.machine_shop)), bool)
        for one, number in numbers.items():
            self._able[number, np.frombuffer(one, p.elig_machine.dtype)] = True
        self._offered = np.array([_offered(fab, m) for m in range(len(p.machine_shop))])
        self._next_day = 0
        self._today = np.zeros(fab.shops)
        self.whole = self.entitled(NEVER)
        self.evenly = np.zeros(fab.shops)
        each = np.repeat(self._minutes / sizes, sizes)
        np.add.at(self.evenly, p.machine_shop[p.elig_machine], each)

    def entitled(self, now: int) -> NDArray[np.float64]:
        """Minutes that each shop is entitled to of all that was ordered by now."""
        there = self._p.release <= now
        work = np.bincount(self._kind[there], self._minutes[there], len(self._able)).astype(float)
        out = np.zeros(len(self._p.pressure))
        np.add.at(out, self._p.machine_shop, entitlements(work, self._able, self._offered))
        return out

    @staticmethod
    def given(live: LivePlan) -> NDArray[np.float64]:
        """Minutes that each shop was given so far, planned ones too."""
        out = np.zeros(len(live.core.pressure))
        placed = live.schedule.machine >= 0
        np.add.at(out, live.core.mach[live.schedule.machine[placed], SHOP], live.schedule.at[placed, TICKS])
        return out

    def apply(self, live: LivePlan, now: int) -> None:
        """Set the cost of a minute in every shop by how much it had."""
        if now >= self._next_day:
            self._today, self._next_day = self.entitled(now), now + DAY
        per_minute = prices(self.given(live), self._today, least=LITTLE_MIN)
        live.core.pressure[:] = np.round(100 * per_minute).astype(np.int64)

    def indices(self, live: LivePlan, entitled: NDArray[np.float64]) -> tuple[float, float]:
        """Jain's index and the worst share, over shops entitled to more than an hour."""
        some = entitled > 60
        share = self.given(live)[some] / entitled[some]
        share = share / share.mean()
        return float(share.sum() ** 2 / len(share) / (share**2).sum()), float(share.min())


def _offered(fab: MicroFab, m: int) -> float:
    """Minutes of its first week in which the machine may run."""
    p = fab.problem
    if not p.attended[m]:
        return 7.0 * DAY
    calendar = p.staff_calendar[m]
    low, high = p.cal_ptr[calendar], p.cal_ptr[calendar + 1]
    first = p.cal_open[low:high] < 7 * DAY
    return float((p.cal_shut[low:high] - p.cal_open[low:high])[first].sum())


def run_week(
    fab: MicroFab,
    *,
    replan_moves: int | None = None,
    failure_rate: float = 0.3,
    fair: Fairness = Fairness.NONE,
    seed: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Week:
    """Every job is placed when it arrives; hourly the search improves what starts after the freeze.

    Args:
        replan_moves: moves of a re-plan instead of `REPLAN_S` seconds.
        failure_rate: failures per machine and week; each takes an hour and an exponential 8 hours more.
        fair: whether machine minutes are priced by shares.
    """
    began = clock()
    core = make_core(fab.problem)
    live = LivePlan(core, empty_schedule(core), freeze=FREEZE, nervousness=NERVOUSNESS)
    shares = _Shares(fab)
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
        if fair is Fairness.PRICED and number % 20 == 0:
            shares.apply(live, now)
        if now >= next_replan:
            before = live.schedule.at.copy()
            t = clock()
            live.improve(moves=replan_moves, budget_s=REPLAN_S, seed=now, clock=clock)
            replans.append(1e3 * (clock() - t))
            share, inside = _moved(live, before)
            moved.append(share)
            frozen_moves += inside
            next_replan = now - now % PERIOD + PERIOD
    jain, worst = shares.indices(live, shares.whole)
    jain_evenly, worst_evenly = shares.indices(live, shares.evenly)
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
        jain_evenly,
        worst_evenly,
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
