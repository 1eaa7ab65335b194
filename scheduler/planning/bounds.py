"""How much better could any plan be? Lower bounds where one is known, and None, said so, where there is none.

For machines that run around the clock without chains: Lagrangian relaxation of the machines' capacity per stretch of
time (see Fisher, Management Science 27, 1981). Whatever the prices, the relaxed optimum is a bound; subgradient steps
with memory (Camerini, Fratta and Maffioli, Mathematical Programming Study 3, 1975) look for good prices, from those of
a transportation problem on.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import time
from collections.abc import Callable
from math import floor

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import make_core
from scheduler.planning.independent import part, parts_of
from scheduler.planning.jit import compiled
from scheduler.planning.problem import Ints, Longs, Problem
from scheduler.planning.transport_prices import first_prices

Reals = NDArray[np.float64]
#: Ticks of one stretch with one price.
STRETCH = 60
#: Stretches after the last release that carry a price.
BEYOND = 14 * 24
#: Shares of the transportation problem's prices that are tried first: it knows nothing of operations that stay whole.
FIRST_SCALES = (0.0, 0.7, 0.85, 0.95, 1.05)
#: Length of steps (1: Polyak's) at the beginning and at the end, the factor between, and how much of the last
#: direction stays in the next.
FIRST_STEP, LAST_STEP, SHORTER, MEMORY = 0.05, 1e-5, 0.85, 0.9
#: Steps without a gain worth this share after which steps become shorter.
PATIENCE, WORTH = 25, 1e-5


@compiled
def paid(price: Reals, total: Reals, m: int, t: float) -> float:
    """Price of machine m's time from 0 to t."""
    b = int(t) // STRETCH
    if b >= price.shape[1]:
        return total[m, price.shape[1]]
    return total[m, b] + price[m, b] * (t - b * STRETCH)


@compiled
def relaxed(
    ptr: Longs,
    em: Ints,
    et: Ints,
    release: Ints,
    due: Longs,
    weight: Longs,
    least_setup: int,
    ways: Ints,
    shop: Ints,
    zone: Ints,
    price: Reals,
    total: Reals,
    use: Reals,
) -> float:
    """Every operation at its cheapest time and machine under the prices; `use` gets the ticks taken per stretch."""
    stretches = price.shape[1]
    cost = 0.0
    for o in range(len(ptr) - 1):
        best, best_m, best_s, best_q = 1e30, -1, 0, 0
        for k in range(ptr[o], ptr[o + 1]):
            m = em[k]
            q = et[k] + least_setup
            late_from = due[o] - ways[shop[m], zone[o]] - q
            s = int(release[o])
            kink_seen = late_from <= s
            while True:
                late = float(weight[o] * max(0, s - late_from))
                if late >= best:
                    break
                value = late + paid(price, total, m, float(s + q)) - paid(price, total, m, float(s))
                if value < best:
                    best, best_m, best_s, best_q = value, m, s, q
                if s >= stretches * STRETCH:
                    break
                # Linear between the points where start or end crosses an edge, or lateness begins.
                following = min((s // STRETCH + 1) * STRETCH, ((s + q) // STRETCH + 1) * STRETCH - q)
                if not kink_seen and following >= late_from:
                    following, kink_seen = late_from, True
                    if following <= s:
                        continue
                s = following
        cost += best
        a, end = best_s, best_s + best_q
        while a < end and a // STRETCH < stretches:
            edge = min(end, (a // STRETCH + 1) * STRETCH)
            use[best_m, a // STRETCH] += edge - a
            a = edge
    return cost


class _Relaxation:
    """The relaxed problem of a network around the clock: its value and the use of machine time under any prices."""

    def __init__(self, p: Problem) -> None:
        self.p, self.stretches = p, int(p.release.max()) // STRETCH + BEYOND
        self.least_setup = min(int(p.setup.min()), p.first_setup)
        self.due, self.weight = p.due.astype(np.int64), p.weight // 100

    def value(self, price: Reals) -> tuple[float, Reals]:
        """A bound, and per machine and stretch the ticks used beyond those there are (its slope)."""
        p = self.p
        total = np.zeros((p.machines, self.stretches + 1))
        np.cumsum(price * STRETCH, axis=1, out=total[:, 1:])
        use = np.zeros_like(price)
        cost = relaxed(
            p.elig_ptr, p.elig_machine, p.elig_ticks, p.release, self.due, self.weight, self.least_setup,
            p.delivery, p.machine_shop, p.zone, price, total, use,
        )  # fmt: skip
        return float(cost) - float((price * STRETCH).sum()), use - STRETCH


class _Ascent:
    """Steps towards better prices of one part."""

    def __init__(self, p: Problem) -> None:
        self._relaxation = _Relaxation(p)
        first = first_prices(p, self._relaxation.least_setup, STRETCH, self._relaxation.stretches)
        tried = ((self._relaxation.value(first * scale)[0], first * scale) for scale in FIRST_SCALES)
        self.best, self._price = max(tried, key=lambda pair: pair[0])
        self.operations = p.operations
        self._best_price, self._step, self._stale = self._price, FIRST_STEP, 0
        self._smooth: Reals | None = None

    def step(self, upper: float) -> bool:
        """One more; `upper` is about what a plan costs. False where nothing is to be gained any more."""
        value, slope = self._relaxation.value(self._price)
        self._stale = 0 if value > self.best * (1 + WORTH) else self._stale + 1
        if value > self.best:
            self.best, self._best_price = value, self._price
        if self._stale >= PATIENCE:
            # Steps too long for what is left to gain: shorter ones from the best prices.
            self._step, self._stale, self._price, self._smooth = self._step * SHORTER, 0, self._best_price, None
            return self._step > LAST_STEP
        self._smooth = slope if self._smooth is None else MEMORY * self._smooth + (1 - MEMORY) * slope
        along = np.where((self._price <= 0) & (self._smooth < 0), 0.0, self._smooth)
        norm = float((along**2).sum())
        if norm < 1e-9:
            return False
        self._price = np.maximum(0.0, self._price + self._step * max(upper - value, 0.01 * upper) / norm * along)
        return True


def weighted_tardiness_bound(
    p: Problem,
    *,
    upper: int,
    budget_s: float = 30.0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[float, int], None] | None = None,
) -> int | None:
    """No plan of this problem has less weighted tardiness (minutes × weight) than this; None where no bound is known.

    Known for machines without calendars and operations without predecessors. `upper`: some plan's value, which scales
    the steps; `budget_s`: seconds, of which the first prices take a few; `progress` is told seconds and the best bound.
    Parts that share no machine have prices and steps of their own, and as much of the time as they have operations.
    """
    chained = len(p.preds) > 0
    calendars = (p.staff_calendar >= 0).any() or (p.run_calendar >= 0).any()
    if chained or calendars or p.operations == 0 or (p.zone < 0).any() or (p.pinned >= 0).any():
        return None
    began = clock()
    ascents = [_Ascent(part(p, members)) for members in parts_of(make_core(p))]
    above = upper / max(1.0, sum(ascent.best for ascent in ascents))
    waiting, told = p.operations, 0
    for ascent in ascents:
        now = clock() - began
        until, aim = now + (budget_s - now) * ascent.operations / waiting, above * max(1.0, ascent.best)
        waiting -= ascent.operations
        while (now := clock() - began) < until and ascent.step(aim):
            best = floor(sum(one.best for one in ascents))
            if progress is not None and best > told:
                progress(now, told := best)
    return max(0, floor(sum(ascent.best for ascent in ascents) + 1e-6))
