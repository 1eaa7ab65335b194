"""Shortest plans of flexible job shops: tabu search from an elite of plans and from plans between two of them.

After the path relinking of Peng, Lü and Cheng (Computers and Operations Research 53, 2015) for the job shop. A plan
between two others takes each operation's machine from one of them and its rank from a weighted mean of its heads in
both, so that what both agree on stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.critical_path import (
    AFTER,
    AHEAD,
    BEFORE,
    BEHIND,
    COLUMNS,
    HEAD,
    ON,
    TICKS,
    retime,
)
from scheduler.planning.flexible_shop import FlexibleShop, ShopPlan, greedy, least_makespan
from scheduler.planning.problem import Longs
from scheduler.planning.tabu import tabu

#: Plans kept, and iterations without a new best after which a search from one of them ends.
ELITE, PATIENCE = 12, 2_000
#: Share of operations with one machine and predecessor from which two plans count as one.
ALIKE = 0.95
#: Iterations of the first call, which finds out how fast the computer is, and of the longest one.
FIRST_BATCH, LONGEST_BATCH = 500, 20_000


@dataclass(frozen=True)
class Kept:
    """A plan: its makespan, queues and topological order."""

    makespan: int
    ops: Longs
    first: Longs
    order: Longs


class Search:
    """What all turns of one search share."""

    def __init__(self, shop: FlexibleShop, seed: int, goal: int) -> None:
        self.shop, self.goal = shop, goal
        self.options = np.column_stack([shop.elig_machine, shop.elig_time])
        self.rng = np.array([(seed * 2_654_435_761 + 123_456_789) % 0xFFFFFFFF or 1], np.int64)
        self.draw = np.random.default_rng(seed)
        self.elite: list[Kept] = []
        self.iterations, self.begun = 0, 0

    def queued(self, key: NDArray[np.float64], choice: Longs) -> Kept:
        """The plan whose machines take their operations in the order of `key`, which must rise along each job."""
        shop, n = self.shop, self.shop.operations
        ops = np.full((n, COLUMNS), -1, np.int64)
        first, last = np.full(shop.machines, -1, np.int64), np.full(shop.machines, -1, np.int64)
        ops[:, BEFORE], ops[:, AFTER] = shop.before, shop.after
        ops[:, ON], ops[:, TICKS] = self.options[choice, 0], self.options[choice, 1]
        order = np.lexsort((np.arange(n), key)).astype(np.int64)
        for o in order.tolist():
            m = ops[o, ON]
            ops[o, AHEAD] = last[m]
            if last[m] < 0:
                first[m] = o
            else:
                ops[last[m], BEHIND] = o
            last[m] = o
        made = int(retime(ops, order, shop.setup, 0, n - 1))
        return Kept(made, ops, first, order)

    def searched(self, start: Kept, iterations: int) -> Kept:
        """The best plan of a tabu search from there."""
        shop = self.shop
        place = np.empty_like(start.order)
        place[start.order] = np.arange(len(place))
        kept = (np.empty_like(start.ops), np.empty_like(start.first), np.empty_like(start.order))
        best, made = tabu(
            start.ops.copy(), start.first.copy(), start.order.copy(), place, shop.elig_ptr, self.options, shop.setup,
            *kept, self.rng, iterations, PATIENCE, self.goal,
        )  # fmt: skip
        self.iterations += int(made)
        return Kept(int(best), *kept)

    def between(self, a: Kept, b: Kept) -> Kept:
        """A plan on the way from a to b."""
        share = 0.3 + 0.4 * self.draw.random()
        key = (1 - share) * a.ops[:, HEAD] / max(1, a.makespan) + share * b.ops[:, HEAD] / max(1, b.makespan)
        machine = np.where(self.draw.random(len(key)) < share, b.ops[:, ON], a.ops[:, ON])
        return self.queued(key, self.choices(machine))

    def choices(self, machine: Longs) -> Longs:
        """The option of each operation on that machine."""
        ptr = self.shop.elig_ptr
        owner = np.repeat(np.arange(self.shop.operations), np.diff(ptr))
        chosen = np.flatnonzero(self.options[:, 0] == machine[owner])
        out = np.empty(self.shop.operations, np.int64)
        out[owner[chosen]] = chosen
        return out

    def start(self) -> Kept:
        """A greedy plan; every one after the first with other priorities."""
        noise = np.zeros(self.shop.operations) if not self.elite else self.draw.normal(0, 0.3, self.shop.operations)
        start, choice = greedy(self.shop, noise)
        return self.queued(start.astype(float), choice)

    def admit(self, made: Kept) -> None:
        """Into the elite, unless it is there or worse than all; the worst leaves."""
        for i, other in enumerate(self.elite):
            if self.alike(other, made):
                if made.makespan < other.makespan:
                    self.elite[i] = made
                return
        self.elite.append(made)
        self.elite.sort(key=lambda kept: kept.makespan)
        del self.elite[ELITE:]

    def alike(self, a: Kept, b: Kept) -> bool:
        """Whether nearly all operations have the same machine and machine predecessor."""
        same = (a.ops[:, ON] == b.ops[:, ON]) & (a.ops[:, AHEAD] == b.ops[:, AHEAD])
        return bool(same.mean() > ALIKE)

    def turn(self, iterations: int) -> None:
        """One more plan: greedy ones until the elite is full, then between two of its plans."""
        if len(self.elite) < ELITE and self.begun < ELITE:
            self.begun += 1
            made = self.start()
        elif len(self.elite) > 1:
            a, b = self.draw.choice(len(self.elite), 2, replace=False)
            made = self.between(self.elite[a], self.elite[b])
        else:
            made = self.between(self.elite[0], self.start())
        self.admit(self.searched(made, iterations))


def solve_shop(
    shop: FlexibleShop,
    *,
    budget_s: float,
    seed: int = 0,
    goal: int = 0,
    iterations: int | None = None,
    progress: Callable[[float, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> ShopPlan:
    """The best plan found in `budget_s` seconds (or in `iterations`, deterministic); stops at a makespan of `goal`."""
    began = clock()
    if shop.operations == 0:
        return ShopPlan(0, shop.before, shop.before, shop.before, 0, 0.0)
    search = Search(shop, seed, max(goal, least_makespan(shop)))
    best = search.start()
    pace = 0.0
    while best.makespan > search.goal:
        if iterations is not None:
            batch = min(LONGEST_BATCH, iterations - search.iterations)
        else:
            batch = int(min(LONGEST_BATCH, pace * (budget_s - (clock() - began)))) if pace else FIRST_BATCH
        if batch < 1 or (pace and iterations is None and batch < 20):
            break
        search.turn(batch)
        pace = 0.9 * search.iterations / max(1e-6, clock() - began)
        if search.elite[0].makespan < best.makespan:
            best = search.elite[0]
        if progress is not None:
            progress(min(1.0, (clock() - began) / budget_s), best.makespan)
    machine, start = best.ops[:, ON].copy(), best.ops[:, HEAD].copy()
    # A topological order sorted by start stays topological: the sort is stable.
    order = best.order[np.argsort(start[best.order], kind="stable")]
    return ShopPlan(best.makespan, machine, start, order, search.iterations, clock() - began)
