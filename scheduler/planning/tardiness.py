"""One machine, total weighted tardiness: the order in which jobs already at a machine should go.

Annealing over the sequence with exact segment evaluation, restarted from its best.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Longs
from scheduler.planning.search import draw


@dataclass(frozen=True)
class Queue:
    """Durations, weights and due dates of the jobs before one machine."""

    ticks: Longs
    weight: Longs
    due: Longs


@dataclass(frozen=True)
class QueueOrder:
    """The order found and its weighted tardiness."""

    order: Longs
    cost: int
    moves: int


def cost_of(queue: Queue, order: Longs) -> int:
    """Weighted tardiness of an order."""
    late = np.cumsum(queue.ticks[order]) - queue.due[order]
    return int((np.maximum(0, late) * queue.weight[order]).sum())


@inlined
def late_cost(w: Longs, d: Longs, o: int, end: int) -> int:
    """Of one job that ends then."""
    return w[o] * (end - d[o]) if end > d[o] else 0


@compiled
def anneal_queue(  # noqa: C901 - one loop of moves, unrolled for the compiler
    t: Longs, w: Longs, d: Longs, seq: Longs, best_seq: Longs, rng: Longs, moves: int, hot: float, cold: float
) -> int:
    """Moves a job within the sequence or swaps two; the best order is left in `best_seq`. Returns its cost."""
    n = len(seq)
    end = np.empty(n, np.int64)
    now, cost = 0, 0
    for i in range(n):
        now += t[seq[i]]
        end[i] = now
        cost += late_cost(w, d, seq[i], now)
    best = cost
    best_seq[:] = seq
    cooling = math.log(cold / hot)
    temperature = hot
    for move in range(moves):
        if move % 64 == 0:
            temperature = hot * math.exp(cooling * move / moves)
        a = draw(rng, n)
        reach = 8 if draw(rng, 3) else n
        b = a + 1 + draw(rng, reach)
        if b >= n or a == b:
            continue
        kind = draw(rng, 3)
        first, last = seq[a], seq[b]
        clock = end[a] - t[first]
        delta = 0
        if kind == 0:
            clock += t[last]
            delta += late_cost(w, d, last, clock) - late_cost(w, d, first, end[a])
            for i in range(a + 1, b):
                clock += t[seq[i]]
                delta += late_cost(w, d, seq[i], clock) - late_cost(w, d, seq[i], end[i])
            delta += late_cost(w, d, first, end[b]) - late_cost(w, d, last, end[b])
        elif kind == 1:
            for i in range(a + 1, b + 1):
                clock += t[seq[i]]
                delta += late_cost(w, d, seq[i], clock) - late_cost(w, d, seq[i], end[i])
            delta += late_cost(w, d, first, end[b]) - late_cost(w, d, first, end[a])
        else:
            clock += t[last]
            delta += late_cost(w, d, last, clock) - late_cost(w, d, last, end[b])
            for i in range(a, b):
                clock += t[seq[i]]
                delta += late_cost(w, d, seq[i], clock) - late_cost(w, d, seq[i], end[i])
        if delta > 0 and (
            delta > 20 * temperature or draw(rng, 1_000_003) >= 1_000_003 * math.exp(-delta / temperature)
        ):
            continue
        if kind == 0:
            seq[a], seq[b] = last, first
        elif kind == 1:
            for i in range(a, b):
                seq[i] = seq[i + 1]
            seq[b] = first
        else:
            for i in range(b, a, -1):
                seq[i] = seq[i - 1]
            seq[a] = last
        clock = end[a] - t[first]
        for i in range(a, b + 1):
            clock += t[seq[i]]
            end[i] = clock
        cost += delta
        if cost < best:
            best = cost
            best_seq[:] = seq
    return best


def solve_queue(
    queue: Queue,
    *,
    budget_s: float = 1.0,
    seed: int = 0,
    moves: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> QueueOrder:
    """The best order found in `budget_s` seconds, or in so many moves (deterministic)."""
    began = clock()
    n = len(queue.ticks)
    start = np.argsort(queue.due - queue.ticks, kind="stable").astype(np.int64)
    best_order, best = start.copy(), cost_of(queue, start)
    if n < 2:
        return QueueOrder(best_order, best, 0)
    rng = np.array([(seed * 2_654_435_761 + 362_436_069) % 0xFFFFFFFF or 1], np.int64)
    scale = float(queue.ticks.mean() * queue.weight.mean())
    tried, turn = 0, 0
    batch = 20_000
    while best > 0:
        if moves is not None:
            batch = min(200_000, moves - tried)
        elif tried:
            pace = tried / max(1e-6, clock() - began)
            batch = min(400_000, int(0.9 * pace * (budget_s - (clock() - began))))
        if batch < 1_000:
            break
        order, found = best_order.copy(), best_order.copy()
        hot = scale * (2.0 if turn % 2 == 0 else 0.5)
        cost = int(anneal_queue(queue.ticks, queue.weight, queue.due, order, found, rng, batch, hot, scale * 0.01))
        if cost < best:
            best, best_order = cost, found.copy()
        tried, turn = tried + batch, turn + 1
    return QueueOrder(best_order, best, tried)
