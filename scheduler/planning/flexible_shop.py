"""The flexible job shop: jobs as chains of operations, each on one of several machines, the last finish to be earliest.

Here: the instance, the reader of the public text format, a greedy first plan, a bound, and an independent check. The
search is in `makespan.py`. Durations are integers without a unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

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

    @property
    def operations(self) -> int:
        """n"""
        return len(self.before)


@dataclass(frozen=True)
class ShopPlan:
    """Finish of the last operation, and per operation machine and start."""

    makespan: int
    machine: Longs
    start: Longs
    iterations: int
    wall_s: float


def read_shop(text: str) -> FlexibleShop:
    """The public format: `#jobs #machines …`, a line a job: `#ops (#options (machine duration)*)*`, machines from 1.

    Raises:
        ValueError: the numbers end early or name a machine that does not exist.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or len(lines[0]) < 2:
        raise ValueError("the file does not start with the number of jobs and of machines")
    jobs, machines = int(float(lines[0][0])), int(float(lines[0][1]))
    if len(lines) < jobs + 1:
        raise ValueError(f"the file announces {jobs} jobs and has {len(lines) - 1}")
    chains = []
    for number, line in enumerate(lines[1 : jobs + 1], 1):
        numbers = iter(int(float(word)) for word in line)
        try:
            chains.append(
                [[(next(numbers), next(numbers)) for _ in range(next(numbers))] for _ in range(next(numbers))]
            )
        except (StopIteration, RuntimeError):
            raise ValueError(f"the line of job {number} ends early") from None
    return shop_of(machines, [[[(m - 1, d) for m, d in options] for options in chain] for chain in chains])


def read_shop_file(path: Path) -> FlexibleShop:
    """`read_shop` of a file."""
    return read_shop(path.read_text())


def shop_of(machines: int, chains: list[list[list[tuple[int, int]]]]) -> FlexibleShop:
    """From jobs as lists of operations as lists of (machine from 0, duration).

    Raises:
        ValueError: an operation has no option, or an option names a machine that does not exist.
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
            for m, d in sorted(options):
                machine.append(m)
                duration.append(d)
            ptr.append(len(machine))
    columns = [np.array(column, np.int64) for column in (before, after, ptr, machine, duration)]
    return FlexibleShop(machines, *columns)


def least_makespan(shop: FlexibleShop) -> int:
    """No plan can be shorter: the longest job at its fastest, and the least work over all machines."""
    fastest = [int(shop.elig_time[shop.elig_ptr[o] : shop.elig_ptr[o + 1]].min()) for o in range(shop.operations)]
    longest, run = 0, 0
    for o in range(shop.operations):
        run = fastest[o] if shop.before[o] < 0 else run + fastest[o]
        longest = max(longest, run)
    return max(longest, -(-sum(fastest) // shop.machines))


def shop_violations(shop: FlexibleShop, plan: ShopPlan) -> list[str]:
    """Everything wrong with a plan, read from the numbers alone."""
    out: list[str] = []
    queues: dict[int, list[tuple[int, int, int]]] = {}
    for o in range(shop.operations):
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
        queue.sort()
        out += [f"machine {machine} does two operations at once" for a, b in pairwise(queue) if b[0] < a[1]]
    return out


def greedy_queues(shop: FlexibleShop) -> tuple[Longs, Longs, Longs, Longs, Longs]:
    """Most work remaining first, each on the machine that ends it first; queues as linked lists."""
    n = shop.operations
    rest = np.zeros(n)
    for o in range(n - 1, -1, -1):
        mean = float(shop.elig_time[shop.elig_ptr[o] : shop.elig_ptr[o + 1]].mean())
        rest[o] = mean + (rest[shop.after[o]] if shop.after[o] >= 0 else 0.0)
    first, last = np.full(shop.machines, -1, np.int64), np.full(shop.machines, -1, np.int64)
    on, mp, ms, dur = (np.full(n, -1, np.int64) for _ in range(4))
    free, end = np.zeros(shop.machines, np.int64), np.zeros(n, np.int64)
    open_ones = [o for o in range(n) if shop.before[o] < 0]
    while open_ones:
        o = max(open_ones, key=lambda o: (rest[o], -o))
        open_ones.remove(o)
        ready = int(end[shop.before[o]]) if shop.before[o] >= 0 else 0
        ends = [
            (max(ready, int(free[shop.elig_machine[k]])) + int(shop.elig_time[k]), k)
            for k in range(int(shop.elig_ptr[o]), int(shop.elig_ptr[o + 1]))
        ]
        finish, k = min(ends)
        m = int(shop.elig_machine[k])
        on[o], dur[o], mp[o] = m, shop.elig_time[k], last[m]
        if last[m] >= 0:
            ms[last[m]] = o
        else:
            first[m] = o
        last[m], free[m], end[o] = o, finish, finish
        if shop.after[o] >= 0:
            open_ones.append(int(shop.after[o]))
    return first, on, mp, ms, dur
