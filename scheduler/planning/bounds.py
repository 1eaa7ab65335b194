"""How much better could any plan be? Lower bounds where one is known, and None, said so, where there is none.

For machines that run around the clock without chains: Lagrangian relaxation of the machines' capacity per stretch of
time (see Fisher, Management Science 27, 1981). Whatever the prices, the relaxed optimum is a bound; subgradient steps
look for good prices.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.jit import compiled
from scheduler.planning.problem import Ints, Longs, Problem

Reals = NDArray[np.float64]
#: Ticks of one stretch with one price.
STRETCH = 60
#: Stretches after the last release that carry a price.
BEYOND = 14 * 24


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


def weighted_tardiness_bound(p: Problem, *, upper: int, budget_s: float = 30.0) -> int | None:
    """No plan of this problem has less weighted tardiness (minutes × weight) than this; None where no bound is known.

    Known for machines without calendars and operations without predecessors. `upper`: some plan's value, which scales
    the steps; `budget_s`: seconds.
    """
    chained = len(p.preds) > 0
    calendars = (p.staff_calendar >= 0).any() or (p.run_calendar >= 0).any()
    if chained or calendars or (p.zone < 0).any() or (p.pinned >= 0).any() or p.operations == 0:
        return None
    began = time.perf_counter()
    stretches = int(p.release.max()) // STRETCH + BEYOND
    groups = _alike(p)
    least = min(int(p.setup.min()), p.first_setup)
    price = np.zeros((p.machines, stretches))
    best, best_price = 0.0, price.copy()
    step, stale, common = 0.3, 0, True
    smooth = np.zeros_like(price)
    while time.perf_counter() - began < budget_s and step > 1e-4:
        total = np.zeros((p.machines, stretches + 1))
        np.cumsum(price * STRETCH, axis=1, out=total[:, 1:])
        use = np.zeros_like(price)
        value = float(
            relaxed(
                p.elig_ptr, p.elig_machine, p.elig_ticks, p.release, p.due.astype(np.int64), p.weight // 100, least,
                p.delivery, p.machine_shop, p.zone, price, total, use,
            )
        ) - float((price * STRETCH).sum())  # fmt: skip
        slope = use - STRETCH
        if common:
            for members in groups:
                slope[members] = slope[members].mean(axis=0)
        if value > best * (1 + 1e-6) + 1e-9:
            best, best_price, stale = value, price.copy(), 0
        else:
            stale += 1
            if stale >= 8:  # too long a step: back to the best prices
                step, stale, price = step * 0.7, 0, best_price.copy()
                smooth[:] = 0.0
                if common and (step < 0.02 or time.perf_counter() - began > 0.4 * budget_s):
                    common, step = False, 0.2
                continue
        smooth = 0.6 * smooth + 0.4 * slope
        slope = np.where((price <= 0) & (smooth < 0), 0.0, smooth)
        norm = float((slope**2).sum())
        if norm < 1e-9:
            break
        price = np.maximum(0.0, price + step * max(upper - value, 0.01 * upper) / norm * slope)
    return int(np.floor(best + 1e-6))


def _alike(p: Problem) -> list[NDArray[np.int64]]:
    """Machines in groups that compete for the same operations."""
    group = np.arange(p.machines)

    def root(m: int) -> int:
        while group[m] != m:
            m = int(group[m])
        return m

    for o in range(p.operations):
        members = p.elig_machine[p.elig_ptr[o] : p.elig_ptr[o + 1]]
        for m in members[1:]:
            group[root(int(m))] = root(int(members[0]))
    roots = np.array([root(m) for m in range(p.machines)])
    return [np.flatnonzero(roots == r) for r in np.unique(roots)]
