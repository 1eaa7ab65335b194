"""The flexible job shop: jobs as chains of operations, each on one of several machines, the last finish to be earliest.

Here: the instance, a greedy first plan, a bound, and an independent check. The search is in `makespan.py`, the reader
of the public text format in `public_formats.py`. Durations are integers without a unit.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.problem import Longs


@dataclass(frozen=True)
class FlexibleShop:
    """n operations in job order. `before`, `after`: neighbours in the job, -1 at its ends; the rest as in Problem."""

    machines: int
    before: Longs
    after: Longs
    elig_ptr: Longs
    elig_machine: Longs
    elig_time: Longs
    setup: Longs | None = None
    """(machines, n, n) before the column's operation where the row's was before it; None: no setups."""

    @property
    def operations(self) -> int:
        """n"""
        return len(self.before)


@dataclass(frozen=True)
class ShopPlan:
    """Finish of the last operation, per operation machine and start, and all operations in an order of their starts.

    The order tells who comes first where operations of no length start together.
    """

    makespan: int
    machine: Longs
    start: Longs
    order: Longs
    iterations: int
    wall_s: float


def shop_of(machines: int, chains: list[list[list[tuple[int, int]]]], setup: Longs | None = None) -> FlexibleShop:
    """From jobs as lists of operations as lists of (machine from 0, duration).

    Raises:
        ValueError: an operation has no option, one names a machine that does not exist, a number is negative or too
            large to add up, or the setups are not a table per machine.
    """
    before: list[int] = []
    after: list[int] = []
    ptr, machine, duration = [0], [], []
    for chain in chains:
        for i, options in enumerate(chain):
            if not options or any(not 0 <= m < machines for m, _ in options):
                raise ValueError("an operation has no machine, or one that does not exist")
            o = len(before)
            before.append(o - 1 if i else -1)
            after.append(o + 1 if i + 1 < len(chain) else -1)
            # Of two durations on one machine only the shorter can matter.
            for m, d in sorted(dict(sorted(options, reverse=True)).items()):
                machine.append(m)
                duration.append(d)
            ptr.append(len(machine))
    n = len(before)
    if setup is not None and setup.shape != (machines, n, n):
        raise ValueError(f"the setups must be {machines} tables of {n} by {n} operations")
    largest = max(duration, default=0), 0 if setup is None else int(setup.max(initial=0))
    if min(duration, default=0) < 0 or (setup is not None and setup.min(initial=0) < 0) or sum(largest) * n >= 1 << 60:
        raise ValueError("durations and setups must be 0 or more, and small enough to add up")
    chained, able = np.array([before, after], np.int64), np.array([machine, duration], np.int64)
    return FlexibleShop(machines, chained[0], chained[1], np.array(ptr, np.int64), able[0], able[1], setup)


def least_makespan(shop: FlexibleShop) -> int:
    """No plan can be shorter: the longest job at its fastest, and the least work over all machines."""
    fastest = [int(shop.elig_time[shop.elig_ptr[o] : shop.elig_ptr[o + 1]].min()) for o in range(shop.operations)]
    longest, run = 0, 0
    for o in range(shop.operations):
        run = fastest[o] if shop.before[o] < 0 else run + fastest[o]
        longest = max(longest, run)
    return max(longest, -(-sum(fastest) // max(1, shop.machines)))


def shop_violations(shop: FlexibleShop, plan: ShopPlan) -> list[str]:
    """Everything wrong with a plan, read from the numbers alone."""
    out: list[str] = []
    queues: dict[int, list[tuple[int, int, int]]] = {}
    if sorted(plan.order.tolist()) != list(range(shop.operations)) or (np.diff(plan.start[plan.order]) < 0).any():
        out.append("the order is not one of all operations by their starts")
    for o in plan.order.tolist():
        low, high = int(shop.elig_ptr[o]), int(shop.elig_ptr[o + 1])
        times = dict(zip(shop.elig_machine[low:high].tolist(), shop.elig_time[low:high].tolist(), strict=True))
        machine, start = int(plan.machine[o]), int(plan.start[o])
        if machine not in times:
            out.append(f"operation {o} is on machine {machine}, which cannot do it")
            continue
        end = start + times[machine]
        queues.setdefault(machine, []).append((start, end, o))
        if end > plan.makespan:
            out.append(f"operation {o} ends after the makespan")
        after = int(shop.after[o])
        if after >= 0 and plan.start[after] < end:
            out.append(f"operation {after} starts before operation {o} of its job has ended")
    for machine, queue in queues.items():
        for a, b in pairwise(queue):
            x = 0 if shop.setup is None else int(shop.setup[machine, a[2], b[2]])
            if b[0] < a[1] + x:
                out.append(f"machine {machine} does operation {b[2]} too soon after {a[2]}")
    return out


def greedy(shop: FlexibleShop, noise: NDArray[np.float64]) -> tuple[Longs, Longs]:
    """Most work remaining first, each on the machine that ends it first. Start and option of each operation.

    `noise` (n): by which share each operation's remaining work counts for more.
    """
    n = shop.operations
    rest = np.zeros(n)
    for o in range(n - 1, -1, -1):
        mean = float(shop.elig_time[shop.elig_ptr[o] : shop.elig_ptr[o + 1]].mean())
        rest[o] = mean + (rest[shop.after[o]] if shop.after[o] >= 0 else 0.0)
    rest *= 1 + noise
    free, last = [0] * shop.machines, [-1] * shop.machines
    start, end, choice = (np.zeros(n, np.int64) for _ in range(3))
    open_ones = [(-rest[o], o) for o in range(n) if shop.before[o] < 0]
    heapq.heapify(open_ones)
    while open_ones:
        _, o = heapq.heappop(open_ones)
        ready = int(end[shop.before[o]]) if shop.before[o] >= 0 else 0
        ends = []
        for k in range(int(shop.elig_ptr[o]), int(shop.elig_ptr[o + 1])):
            m = int(shop.elig_machine[k])
            x = 0 if shop.setup is None or last[m] < 0 else int(shop.setup[m, last[m], o])
            ends.append((max(ready, free[m] + x) + int(shop.elig_time[k]), k))
        finish, k = min(ends)
        m = int(shop.elig_machine[k])
        start[o], choice[o] = finish - int(shop.elig_time[k]), k
        last[m], free[m], end[o] = o, finish, finish
        if shop.after[o] >= 0:
            heapq.heappush(open_ones, (-rest[shop.after[o]], int(shop.after[o])))
    return start, choice
