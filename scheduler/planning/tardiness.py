"""One machine, total weighted tardiness: the order in which jobs already at a machine should go.

Iterated dynasearch (Congram, Potts and van de Velde, INFORMS Journal on Computing 14, 2002) over exchanges and shifts
(Grosso, Della Croce and Tadei, Operations Research Letters 32, 2004): a descent step is the best of all sets of moves
that do not overlap, found by dynamic programming; a few random exchanges lead out of a local optimum.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Longs
from scheduler.planning.search import draw

#: What happens to places k … l of the sequence: nothing, first and last exchange, the first goes last, the last first.
STAYS, EXCHANGED, LATER, EARLIER = 0, 1, 2, 3
#: Random exchanges of one kick (one more at random), and how far apart its places are at most.
EXCHANGES, REACH = 3, 30
#: Kicks after which the search goes back to the best order, and of the first batch, which finds out the pace.
PATIENCE, FIRST_BATCH = 100, 1


@dataclass(frozen=True)
class Queue:
    """Durations, weights and due dates of the jobs before one machine."""

    ticks: Longs
    weight: Longs
    due: Longs


@dataclass(frozen=True)
class QueueOrder:
    """The order found, its weighted tardiness, and how many local optima were left by a kick."""

    order: Longs
    cost: int
    kicks: int


def cost_of(queue: Queue, order: Longs) -> int:
    """Weighted tardiness of an order."""
    late = np.cumsum(queue.ticks[order]) - queue.due[order]
    return int((np.maximum(0, late) * queue.weight[order]).sum())


@inlined
def late_cost(w: Longs, d: Longs, o: int, end: int) -> int:
    """Of one job that ends then."""
    return w[o] * (end - d[o]) if end > d[o] else 0


@compiled
def best_moves(
    t: Longs, w: Longs, d: Longs, seq: Longs, end: Longs, rest: Longs, pushed: Longs, to: Longs, kind: Longs
) -> int:
    """The cost after the best moves that do not overlap: `kind[k]` of place k's, which reaches to place `to[k]`.

    `rest[k]` gets the least cost of places k and after, `pushed` is work space; both have one place more than `seq`.
    """
    n = len(seq)
    rest[n] = 0
    for k in range(n - 1, -1, -1):
        first = seq[k]
        begin = end[k] - t[first]
        least, reach, what = late_cost(w, d, first, end[k]) + rest[k + 1], k, STAYS
        pushed[k] = 0
        # What the places between cost as they are, and when the first one has gone from before them.
        as_is, pulled = 0, 0
        for l in range(k + 1, n):  # noqa: E741 - the usual name beside k
            last = seq[l]
            shift = t[last] - t[first]
            late_first, early_last = late_cost(w, d, first, end[l]), late_cost(w, d, last, begin + t[last])
            ends = late_first + early_last + rest[l + 1]
            if ends + (as_is if shift >= 0 else pulled) < least:
                value = ends
                for i in range(k + 1, l):
                    value += late_cost(w, d, seq[i], end[i] + shift)
                    if value >= least:
                        break
                if value < least:
                    least, reach, what = value, l, EXCHANGED
            as_is += late_cost(w, d, last, end[l])
            pulled += late_cost(w, d, last, end[l] - t[first])
            if pulled + late_first + rest[l + 1] < least:
                least, reach, what = pulled + late_first + rest[l + 1], l, LATER
            pushed[l] += late_cost(w, d, first, end[k] + t[last])
            if pushed[l] + early_last + rest[l + 1] < least:
                least, reach, what = pushed[l] + early_last + rest[l + 1], l, EARLIER
        rest[k], to[k], kind[k] = least, reach, what
    return rest[0]


@inlined
def moved(seq: Longs, k: int, l: int, what: int) -> None:  # noqa: E741
    """Make one move on places k … l."""
    first, last = seq[k], seq[l]
    if what == EXCHANGED:
        seq[k], seq[l] = last, first
    elif what == LATER:
        for i in range(k, l):
            seq[i] = seq[i + 1]
        seq[l] = first
    elif what == EARLIER:
        for i in range(l, k, -1):
            seq[i] = seq[i - 1]
        seq[k] = last


@inlined
def timed(t: Longs, w: Longs, d: Longs, seq: Longs, end: Longs) -> int:
    """Ends of all places; the cost."""
    now, cost = 0, 0
    for i in range(len(seq)):
        now += t[seq[i]]
        end[i] = now
        cost += late_cost(w, d, seq[i], now)
    return cost


@compiled
def descend(
    t: Longs, w: Longs, d: Longs, seq: Longs, end: Longs, rest: Longs, pushed: Longs, to: Longs, kind: Longs
) -> int:
    """Best moves until none is left; the cost of the local optimum."""
    n = len(seq)
    cost = timed(t, w, d, seq, end)
    while cost > 0 and best_moves(t, w, d, seq, end, rest, pushed, to, kind) < cost:
        k = 0
        while k < n:
            moved(seq, k, to[k], kind[k])
            k = to[k] + 1
        cost = timed(t, w, d, seq, end)
    return cost


@compiled
def search_queue(t: Longs, w: Longs, d: Longs, seq: Longs, best_seq: Longs, rng: Longs, kicks: int) -> int:
    """From the local optimum near `seq` so many kicks and descents; the best order is left in `best_seq`; its cost."""
    n = len(seq)
    end, to, kind = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    rest, pushed, current = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64), np.empty(n, np.int64)
    cost = descend(t, w, d, seq, end, rest, pushed, to, kind)
    current[:], best_seq[:] = seq, seq
    best = cost
    for kick in range(kicks):
        if best == 0:
            break
        if (kick + 1) % PATIENCE == 0:
            current[:], cost = best_seq, best
        seq[:] = current
        for _ in range(EXCHANGES + draw(rng, 2)):
            k = draw(rng, n - 1)
            moved(seq, k, min(n - 1, k + 1 + draw(rng, REACH)), EXCHANGED)
        made = descend(t, w, d, seq, end, rest, pushed, to, kind)
        if made <= cost:
            current[:], cost = seq, made
        if made < best:
            best_seq[:], best = seq, made
    return best


def solve_queue(
    queue: Queue,
    *,
    budget_s: float = 1.0,
    seed: int = 0,
    kicks: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> QueueOrder:
    """The best order found in `budget_s` seconds, or with so many kicks (deterministic)."""
    began = clock()
    best_order = np.argsort(queue.due - queue.ticks, kind="stable").astype(np.int64)
    best = cost_of(queue, best_order)
    rng = np.array([(seed * 2_654_435_761 + 362_436_069) % 0xFFFFFFFF or 1], np.int64)
    made, batch = 0, FIRST_BATCH
    while best > 0 and len(best_order) > 1:
        if kicks is not None:
            batch = kicks - made
        elif made:
            spent = clock() - began
            batch = int(min(made, 0.9 * made / max(1e-6, spent) * (budget_s - spent)))
        if batch < 1:
            break
        order, found = best_order.copy(), best_order.copy()
        cost = int(search_queue(queue.ticks, queue.weight, queue.due, order, found, rng, batch))
        if cost < best:
            best, best_order = cost, found
        made += batch
    return QueueOrder(best_order, best, made)
