"""First prices for machine time: the dual of a transportation problem (solved by HiGHS through SciPy).

Machines that compete for the same operations count as one pool of work per stretch of time; operations may be cut up
over stretches. What a minute more of the pool would save is the price the Lagrangian bound starts from.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.groups import Groups
from scheduler.planning.problem import Problem

Reals = NDArray[np.float64]
#: Ticks of one stretch of the transportation problem, and the most variables it may have for one pool.
COARSE, MOST = 240, 150_000


def alike(p: Problem) -> list[NDArray[np.int64]]:
    """Machines in groups that compete for the same operations."""
    groups = Groups[int]()
    able = (p.elig_machine[low:high].tolist() for low, high in itertools.pairwise(p.elig_ptr.tolist()))
    for members in dict.fromkeys(map(tuple, able)):
        groups.join(*members)
    names = np.array([groups.name(m) for m in range(p.machines)])
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def speeds(p: Problem) -> Reals:
    """How fast each machine is beside the others that could do the same operations; 1 where it can do none."""
    owner = np.repeat(np.arange(p.operations), np.diff(p.elig_ptr))
    ticks = np.maximum(1.0, p.elig_ticks.astype(float))
    mean = np.add.reduceat(ticks, p.elig_ptr[:-1]) / np.diff(p.elig_ptr)
    total, count = np.zeros(p.machines), np.zeros(p.machines)
    np.add.at(total, p.elig_machine, mean[owner] / ticks)
    np.add.at(count, p.elig_machine, 1)
    return np.where(count > 0, total / np.maximum(1, count), 1.0)


def first_prices(p: Problem, least_setup: int, stretch: int, stretches: int) -> Reals:
    """Prices per tick, machine and stretch of `stretch` ticks; zero for pools whose problem is too large to solve."""
    price = np.zeros((p.machines, stretches))
    speed = speeds(p)
    owner = np.repeat(np.arange(p.operations), np.diff(p.elig_ptr))
    work = np.add.reduceat((p.elig_ticks + least_setup) * speed[p.elig_machine], p.elig_ptr[:-1]) / np.diff(p.elig_ptr)
    way = p.delivery[p.machine_shop[p.elig_machine], p.zone[owner]]
    due = p.due.astype(float) - np.minimum.reduceat(way, p.elig_ptr[:-1])
    at = (np.arange(stretches) + 0.5) * stretch
    for members in alike(p):
        mine = np.flatnonzero(np.isin(p.elig_machine[p.elig_ptr[:-1]], members))
        if len(mine) == 0:
            continue
        pool = float(speed[members].sum())
        dual = _dual(work[mine], due[mine], p.weight[mine] / 100, p.release[mine], len(members) / pool, pool, at[-1])
        if dual is not None:
            middle = (np.arange(len(dual)) + 0.5) * COARSE
            price[members] = np.interp(at, middle, dual)[None] * speed[members, None]
    return price


def _dual(
    work: Reals, due: Reals, weight: Reals, release: NDArray[np.int32], per_work: float, pool: float, end: float
) -> Reals | None:
    """What one unit of the pool's work is worth in each coarse stretch; None where the problem is too large."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    coarse = int(end) // COARSE + 1
    since = np.minimum(release // COARSE, coarse - 1)
    # All work is done by then even if nothing starts before the last release.
    until = min(coarse, int(release.max() + 1.5 * work.sum() / pool) // COARSE + 2)
    counts = np.maximum(1, until - since)
    if counts.sum() > MOST:
        return None
    job = np.repeat(np.arange(len(work)), counts)
    when = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(since, counts)
    # An operation's parts lie half its length before its end on average.
    ends = (when + 0.5) * COARSE + work[job] * per_work / 2
    cost = weight[job] * np.maximum(0.0, ends - due[job]) / work[job]
    ones = np.ones(len(job))
    each = csr_array((ones, (job, np.arange(len(job)))), shape=(len(work), len(job)))
    room = csr_array((ones, (when, np.arange(len(job)))), shape=(coarse, len(job)))
    found = linprog(cost, A_ub=room, b_ub=np.full(coarse, pool * COARSE), A_eq=each, b_eq=work, method="highs")
    if not found.success:
        return None
    dual: Reals = np.maximum(0.0, -np.asarray(found.ineqlin.marginals, dtype=float))
    return dual
