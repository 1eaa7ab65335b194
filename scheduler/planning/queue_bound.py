"""A lower bound for unrelated machines with setups: a makespan T is refuted by duals of covering all jobs by queues.

Price every job; no plan ends by T if the prices of all jobs add up to more than the machines together can collect,
each with one queue that ends by T. Column generation (Gilmore and Gomory, Operations Research 9, 1961) looks for such
prices.
What a machine can collect is counted by dynamic programming over ng-routes (Baldacci, Mingozzi and Roberti, Operations
Research 59, 2011): a queue may come back to a job only after it has met one that does not remember it, so that too
much is collected, never too little. The refutation itself is checked in whole numbers.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.jit import compiled
from scheduler.planning.problem import Flags, Longs
from scheduler.planning.unrelated import Queues, Unrelated

#: Jobs that each job remembers, the price of a job that nobody does, and the most numbers in any of the tables.
REMEMBERED, WHOLE, MOST = 6, 1_000_000, 40_000_000
NOTHING = -1


@compiled
def collect(
    t: Longs, s: Longs, near: Longs, bits: Flags, price: Longs, limit: int, value: Longs, came: Longs, queue: Longs
) -> tuple[int, int]:
    """The most prices that one machine's queue of at most `limit` ticks collects, and that queue's length.

    `t` (n) durations, `s` (n, n) setups, `near` (n, REMEMBERED) whom each job remembers, `bits` (n, n, memories) what
    the column's job remembers of what the row's did. `value` and `came` (limit + 1, n, memories) are work space:
    what was collected when the queue ends exactly then with that job, and from where.
    """
    n, memories = bits.shape[0], bits.shape[2]
    value[:], came[:] = NOTHING, NOTHING
    best, best_at = 0, -1
    for now in range(limit + 1):
        for j in range(n):
            if price[j] > 0 and t[j] == now and value[now, j, 0] < price[j]:
                value[now, j, 0], came[now, j, 0] = price[j], NOTHING
            for memory in range(memories):
                here = value[now, j, memory]
                if here < 0:
                    continue
                at = (now * n + j) * memories + memory
                if here > best:
                    best, best_at = here, at
                for k in range(n):
                    then = now + s[j, k] + t[k]
                    if price[k] <= 0 or k == j or then > limit or then <= now:
                        continue
                    kept = bits[j, k, memory]
                    if kept >= 0 and value[then, k, kept] < here + price[k]:
                        value[then, k, kept], came[then, k, kept] = here + price[k], at
    length = 0
    while best_at >= 0 and length < len(queue):
        queue[length] = (best_at // memories) % n
        length += 1
        best_at = came[best_at // memories // n, (best_at // memories) % n, best_at % memories]
    return best, length


@compiled
def memories(near: Longs) -> Flags:
    """`bits` of `collect`: -1 where the row's job still remembers the column's."""
    n, size = near.shape
    bits = np.zeros((n, n, 1 << size), np.int8)
    for j in range(n):
        for k in range(n):
            for memory in range(1 << size):
                kept = 0
                for i in range(size):
                    # What j's job itself is to k, and what j remembers that k remembers too.
                    if near[k, i] == j:
                        kept |= 1 << i
                    for x in range(size):
                        if memory >> x & 1 and near[j, x] == near[k, i]:
                            kept |= 1 << i
                for x in range(size):
                    if memory >> x & 1 and near[j, x] == k:
                        kept = -1
                bits[j, k, memory] = kept
    return bits


class _Refutation:
    """Prices that show for one makespan after the other that no plan has it."""

    def __init__(self, problem: Unrelated, began: float, budget_s: float, clock: Callable[[], float]) -> None:
        self.ticks, self.setup = problem.ticks, problem.setup
        self.n, self.m = problem.ticks.shape
        self.until, self.clock = began + budget_s, clock
        size = min(REMEMBERED, self.n - 1)
        self.near, self.bits = [], []
        for i in range(self.m):
            way = self.ticks[:, i][None] + np.minimum(self.setup[i], self.setup[i].T) + 0.0
            np.fill_diagonal(way, np.inf)
            self.near.append(np.argsort(way, axis=1, kind="stable")[:, :size].astype(np.int64))
            self.bits.append(memories(self.near[-1]))
        self.columns: list[tuple[int, int, NDArray[np.float64]]] = []

    def add(self, machine: int, queue: list[int]) -> None:
        """One more queue to cover jobs with."""
        length = int(self.ticks[queue, machine].sum() + self.setup[machine, queue[:-1], queue[1:]].sum())
        self.columns.append((machine, length, np.bincount(queue, minlength=self.n).astype(float)))

    def refuted(self, limit: int) -> bool | None:
        """Whether no plan ends by then; None where time is over first."""
        shape = (limit + 1, self.n, self.bits[0].shape[2])
        value, came, queue = np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(limit + 1, np.int64)
        while self.clock() < self.until:
            price, uncovered = self._prices(limit)
            if uncovered < 1e-7:
                return False
            total, found = 0, []
            for i in range(self.m):
                got, length = collect(
                    self.ticks[:, i].copy(), self.setup[i], self.near[i], self.bits[i], price, limit, value, came, queue
                )
                total += int(got)
                found.append((i, queue[:length][::-1].tolist()))
            if int(price.sum()) > total:
                return True
            for i, jobs in found:
                if jobs:
                    self.add(i, jobs)
        return None

    def _prices(self, limit: int) -> tuple[Longs, float]:
        """Prices in WHOLE parts of a job from the covering by the queues known that end by then, and what it misses."""
        from scipy.optimize import linprog

        mine = [(i, row) for i, length, row in self.columns if length <= limit]
        cover = np.zeros((self.n, self.n + len(mine)))
        cover[:, : self.n] = np.eye(self.n)
        each = np.zeros((self.m, self.n + len(mine)))
        for c, (i, row) in enumerate(mine):
            cover[:, self.n + c], each[i, self.n + c] = row, 1
        cost = np.concatenate([np.ones(self.n), np.zeros(len(mine))])
        bounds = np.concatenate([-np.ones(self.n), np.ones(self.m)])
        found = linprog(cost, A_ub=np.vstack([-cover, each]), b_ub=bounds, method="highs")
        dual = np.asarray(found.ineqlin.marginals[: self.n], dtype=float)
        return np.maximum(0, np.rint(-dual * WHOLE)).astype(np.int64), float(found.fun)


def least_last_finish(
    problem: Unrelated, plan: Queues, *, budget_s: float, clock: Callable[[], float] = time.perf_counter
) -> int:
    """No queues of this problem have a smaller makespan than this, which is at most the plan's.

    Without setups to speak of the simple bound is close; this one is meant for a few dozen jobs and short queues, and
    says the simple one where `budget_s` seconds or memory do not suffice. Durations of 0 are counted in the simple one.
    """
    n, m = problem.ticks.shape
    least = max(int(problem.ticks.min(axis=1).max(initial=0)), ceil(int(problem.ticks.min(axis=1).sum()) / max(1, m)))
    tables = max(plan.makespan * n, m * n * n) << min(REMEMBERED, n - 1)
    if n < 2 or problem.ticks.min() < 1 or budget_s <= 0 or tables > MOST:
        return least
    refutation = _Refutation(problem, clock(), budget_s, clock)
    for i, queue in enumerate(plan.queues):
        if queue:
            refutation.add(i, list(queue))
    for limit in range(plan.makespan - 1, least - 1, -1):
        shown = refutation.refuted(limit)
        if shown is None:
            break
        if shown:
            return limit + 1
    return least
