"""First schedules: pinned work, then every operation in a few priority orders, the best of them kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import (
    AVAIL,
    END,
    SETUP,
    START,
    Core,
    Schedule,
    empty_schedule,
)
from scheduler.planning.insertion import append_all, insert_all
from scheduler.planning.problem import Ints, Problem, topological_order
from scheduler.planning.propagation import new_journal
from scheduler.planning.timing import choose, freed, put_in, total_cost

#: Above this many operations the first order, mostly the best, has to do: the plan is wanted now.
MANY = 5_000


def priority_orders(p: Problem) -> dict[str, Ints]:
    """Orders worth trying, chains kept: by release, due date, latest start, and latest start shifted by weight."""
    n = p.operations
    if n == 0:
        return {"release": np.zeros(0, np.int32)}
    order = topological_order(p)
    assert order is not None, "a validated problem has no circles"
    rest = _typical(p)
    due, weight = p.due.astype(float), p.weight.astype(float)
    rank = np.empty(n)
    rank[order] = np.arange(n)
    followed = np.diff(p.succ_ptr) > 0
    for o in order[::-1]:
        if followed[o]:
            after = p.succs[p.succ_ptr[o] : p.succ_ptr[o + 1]]
            rest[o] += rest[after].max()
            due[o] = min(due[o], float(due[after].min()))
            weight[o] = max(weight[o], float(weight[after].max()))
    latest = due - rest
    lift = np.log2(np.maximum(weight / 100, 1e-3))
    keys = {
        "weighted 360": latest - 360 * lift,
        "latest start": latest,
        "weighted 1440": latest - 1440 * lift,
        "due": due,
        "release": p.release.astype(float),
    }
    waits = [o for o in order if p.pred_ptr[o + 1] > p.pred_ptr[o]]
    return {name: _chained(p, key, rank, waits) for name, key in keys.items()}


def _typical(p: Problem) -> NDArray[np.float64]:
    """Mean duration over an operation's alternatives."""
    # An array of sums as long as the alternatives would double the planner's memory for a moment.
    means = np.zeros(p.operations)
    some = np.flatnonzero(np.diff(p.elig_ptr))
    if len(some):
        means[some] = np.add.reduceat(p.elig_ticks, p.elig_ptr[some], dtype=float) / np.diff(p.elig_ptr)[some]
    return means


def _chained(p: Problem, key: NDArray[np.float64], rank: NDArray[np.float64], waits: list[np.int32]) -> Ints:
    """Sorted by the key, an operation never before its predecessors."""
    late_enough = key.copy()
    for o in waits:
        before = p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]
        late_enough[o] = max(late_enough[o], late_enough[before].max())
    return np.lexsort((rank, late_enough)).astype(np.int32)


def place_pins(p: Problem, core: Core, s: Schedule) -> None:
    """Put every pinned operation on its machine, in order of time."""
    for o in sorted((int(o) for o in np.flatnonzero(p.pinned >= 0)), key=lambda o: int(p.pinned[o])):
        k = int(p.elig_ptr[o])
        m = int(p.elig_machine[k])
        choose(core, s, o, k)
        put_in(s, m, int(s.length[m]), o)
        end = int(p.pinned[o]) + int(p.elig_ticks[k])
        s.at[o, START], s.at[o, SETUP], s.at[o, END] = int(p.pinned[o]), 0, end
        s.at[o, AVAIL] = freed(core, m, end)


def append_first(p: Problem, core: Core, orders: dict[str, Ints] | None = None) -> Schedule:
    """The best of the priority orders, every operation put at the end of a queue: the quickest first plan."""
    best: Schedule | None = None
    best_key = (0, 0)
    tried = list((orders if orders is not None else priority_orders(p)).values())
    for order in tried if p.operations <= MANY else tried[:1]:
        s = empty_schedule(core)
        place_pins(p, core, s)
        key = (-int(append_all(core, s, order)), int(total_cost(core, s)))
        if best is None or key < best_key:
            best, best_key = s, key
    assert best is not None, "there is always an order to try"
    return best


def construct(p: Problem, core: Core) -> Schedule:
    """The best of the priority orders by appending and by exact insertion. What fits nowhere stays unplaced."""
    orders = priority_orders(p)
    best = append_first(p, core, orders)
    best_key = (-int((best.machine >= 0).sum()), int(total_cost(core, best)))
    shut = np.zeros(max(1, p.machines), np.int8)
    for order in orders.values():
        s = empty_schedule(core)
        place_pins(p, core, s)
        insert_all(core, s, new_journal(p.operations), order, 0, shut)
        key = (-int((s.machine >= 0).sum()), int(total_cost(core, s)))
        if key < best_key:
            best, best_key = s, key
    return best
