"""Tabu search for the shortest plan of a flexible shop, compiled: one operation of a critical path goes elsewhere.

On its own machine an operation goes to the ends of its critical block, and the ends go inside (the neighbourhood N6 of
Balas and Vazacopoulos, Management Science 44, 1998); to another machine it goes between those that would be delayed
anyway, where Mastrolilli and Gambardella (Journal of Scheduling 3, 2000) show that a best place lies.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import numpy as np

from scheduler.planning.critical_path import (
    AFTER,
    AHEAD,
    BEFORE,
    BEHIND,
    HEAD,
    ON,
    TAIL,
    TICKS,
    between_estimate,
    gap,
    link,
    released,
    remaining,
    resort,
    retime,
    row_estimate,
    unlink,
)
from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Ints, Longs
from scheduler.planning.search import draw

#: Later than any head, longer than any plan.
FAR = 1 << 60
#: What a scan of the neighbours has found: the least estimate, how many share it, the move (operation, machine,
#: behind whom, duration), and the same move for a random forbidden one.
VALUE, EQUALS, MOVED, TO, BEHIND_WHOM, LASTS, SPARES, SPARE = 0, 1, 2, 3, 4, 5, 6, 7
FOUND = 11
#: Least iterations for which an undone order is forbidden.
TENURE = 10
#: Most pairs remembered as forbidden (64 MB).
MOST_FORBIDDEN = 1 << 24


@inlined
def offer(found: Longs, rng: Longs, estimate: int, forbidden: int, v: int, m: int, u: int, d: int) -> None:
    """Keep a move if none seen is better; forbidden ones are kept apart."""
    at = -1
    if forbidden == 1:
        found[SPARES] += 1
        if draw(rng, found[SPARES]) == 0:
            at = SPARE
    elif estimate < found[VALUE]:
        found[VALUE], found[EQUALS], at = estimate, 1, MOVED
    elif estimate == found[VALUE]:
        found[EQUALS] += 1
        if draw(rng, found[EQUALS]) == 0:
            at = MOVED
    if at >= 0:
        found[at], found[at + 1], found[at + 2], found[at + 3] = v, m, u, d


@compiled
def critical(ops: Longs, setup: Longs | None, makespan: int, path: Longs, rng: Longs) -> int:
    """A random longest path, from its last operation in the plan to its first: `path` gets it backwards; its length."""
    o, seen = -1, 0
    for x in range(len(ops)):
        if ops[x, AFTER] < 0 and ops[x, HEAD] + ops[x, TICKS] == makespan:
            seen += 1
            if draw(rng, seen) == 0:
                o = x
    length = 0
    while o >= 0:
        path[length] = o
        length += 1
        h, a, b = ops[o, HEAD], ops[o, BEFORE], ops[o, AHEAD]
        by_job = a >= 0 and ops[a, HEAD] + ops[a, TICKS] == h
        by_machine = b >= 0 and ops[b, HEAD] + ops[b, TICKS] + gap(setup, ops[o, ON], b, o) == h
        over_job = by_job and (not by_machine or draw(rng, 2) == 0)
        o = a if over_job else (b if by_machine else -1)
    return length


@compiled
def scan_other_machines(
    ops: Longs, first: Longs, ptr: Longs, options: Longs, setup: Longs | None, v: int,
    forbidden: Ints, now: int, best: int, found: Longs, rng: Longs,
) -> None:  # fmt: skip
    """Offer v's possibly best places on every other machine that can do it."""
    n = len(ops)
    after, before = ops[v, AFTER], ops[v, BEFORE]
    due = ops[after, HEAD] + ops[after, TICKS] if after >= 0 else FAR
    rest = remaining(ops, v)
    # Behind those that end before v is ready; with setups wherever no path leads from w to v's job predecessor.
    since = released(ops, v)
    if setup is not None:
        since = ops[before, HEAD] if before >= 0 else -1
    for k in range(ptr[v], ptr[v + 1]):
        m, d = options[k, 0], options[k, 1]
        if m == ops[v, ON]:
            continue
        tabu = forbidden[key(n, v, n + m, forbidden)] > now
        u, w = -1, first[m]
        # No path may lead from v's job successor to u.
        while u < 0 or ops[u, HEAD] < due:
            if w < 0 or ops[w, HEAD] + ops[w, TICKS] > since:
                estimate = between_estimate(ops, setup, v, m, d, u, w)
                offer(found, rng, estimate, 1 if tabu and estimate >= best else 0, v, m, u, d)
                # Before those with less behind them than v has.
                if w < 0 or (setup is None and ops[w, TAIL] + ops[w, TICKS] <= rest):
                    break
            u, w = w, ops[w, BEHIND]


@inlined
def key(n: int, a: int, b: int, forbidden: Ints) -> int:
    """Where it stands until when operation a may not come before b, or (b ≥ n) may not go to machine b - n."""
    return (a * 2 * n + b) & (len(forbidden) - 1)


@inlined
def ordered(n: int, forbidden: Ints, row: Longs, count: int, now: int, at: int) -> int:
    """1 where the row, whose operation `at` an end moved, brings back an order that is still forbidden."""
    v = row[at]
    for i in range(count):
        if i < at and forbidden[key(n, row[i], v, forbidden)] > now:
            return 1
        if i > at and forbidden[key(n, v, row[i], forbidden)] > now:
            return 1
    return 0


@compiled
def scan_block(
    ops: Longs, path: Longs, low: int, high: int, setup: Longs | None,
    forbidden: Ints, now: int, best: int, row: Longs, heads: Longs, found: Longs, rng: Longs,
) -> None:  # fmt: skip
    """Offer the moves within one critical block, path[high] … path[low] in time (the path is backwards)."""
    size = high - low + 1
    for x in range(size):
        v = path[high - x]
        after, before = ops[v, AFTER], ops[v, BEFORE]
        due = ops[after, HEAD] + ops[after, TICKS] if after >= 0 else FAR
        start = ops[before, HEAD] if before >= 0 else -1
        # Behind a later one: the first of the block behind any, the others behind the last that is possible.
        for y in range(size - 1, x, -1):
            u = path[high - y]
            if ops[u, HEAD] >= due:
                continue
            for i in range(x + 1, y + 1):
                row[i - x - 1] = path[high - i]
            row[y - x] = v
            estimate = row_estimate(ops, setup, row, y - x + 1, ops[v, AHEAD], ops[u, BEHIND], heads)
            tabu = 1 if estimate >= best and ordered(len(ops), forbidden, row, y - x + 1, now, y - x) == 1 else 0
            offer(found, rng, estimate, tabu, v, ops[v, ON], u, ops[v, TICKS])
            if x > 0 and setup is None:
                break
        # And before an earlier one.
        for y in range(x):
            w = path[high - y]
            if y == x - 1 and x == size - 1 and size == 2:
                break  # the only two have changed places above
            if ops[w, HEAD] + ops[w, TICKS] <= start:
                continue
            row[0] = v
            for i in range(y, x):
                row[i - y + 1] = path[high - i]
            estimate = row_estimate(ops, setup, row, x - y + 1, ops[w, AHEAD], ops[v, BEHIND], heads)
            tabu = 1 if estimate >= best and ordered(len(ops), forbidden, row, x - y + 1, now, 0) == 1 else 0
            offer(found, rng, estimate, tabu, v, ops[v, ON], ops[w, AHEAD], ops[v, TICKS])
            if x < size - 1 and setup is None:
                break


@compiled
def scan(
    ops: Longs, first: Longs, ptr: Longs, options: Longs, setup: Longs | None, path: Longs, length: int,
    forbidden: Ints, now: int, best: int, row: Longs, heads: Longs, found: Longs, rng: Longs,
) -> None:  # fmt: skip
    """Offer every neighbour that a longest path has."""
    found[VALUE], found[EQUALS], found[SPARES] = FAR, 0, 0
    found[MOVED], found[SPARE] = -1, -1
    high = length - 1
    while high >= 0:
        low = high
        while low > 0 and ops[path[low], BEHIND] == path[low - 1]:
            low -= 1
        if high > low:
            scan_block(ops, path, low, high, setup, forbidden, now, best, row, heads, found, rng)
        high = low - 1
    for i in range(length):
        scan_other_machines(ops, first, ptr, options, setup, path[i], forbidden, now, best, found, rng)


@compiled
def forbid(ops: Longs, place: Longs, forbidden: Ints, v: int, m: int, u: int, until: int) -> None:
    """What the move of v to machine m behind u undoes may not come back for a while."""
    n = len(ops)
    if m != ops[v, ON]:
        forbidden[key(n, v, n + ops[v, ON], forbidden)] = until
        return
    later = u >= 0 and place[u] > place[v]
    x = ops[v, BEHIND] if later else ops[v, AHEAD]
    while x >= 0 and (later or x != u):
        if later:
            forbidden[key(n, v, x, forbidden)] = until
        else:
            forbidden[key(n, x, v, forbidden)] = until
        if later and x == u:
            break
        x = ops[x, BEHIND] if later else ops[x, AHEAD]


@compiled
def go(
    ops: Longs, first: Longs, order: Longs, place: Longs, setup: Longs | None, spare: Longs,
    v: int, m: int, u: int, d: int,
) -> int:  # fmt: skip
    """Make the move; the new makespan, or -1 and nothing changed where v would wait for itself."""
    was_on, was_behind, was_d = ops[v, ON], ops[v, AHEAD], ops[v, TICKS]
    unlink(ops, first, v)
    link(ops, first, v, m, u)
    ops[v, TICKS] = d
    low = resort(ops, order, place, spare, v)
    if low < 0:
        unlink(ops, first, v)
        link(ops, first, v, was_on, was_behind)
        ops[v, TICKS] = was_d
        return -1
    return retime(ops, order, setup, low, spare[0])


@compiled
def tabu(
    ops: Longs, first: Longs, order: Longs, place: Longs, ptr: Longs, options: Longs, setup: Longs | None,
    kept_ops: Longs, kept_first: Longs, kept_order: Longs, rng: Longs, iterations: int, patience: int, goal: int,
) -> tuple[int, int]:  # fmt: skip
    """Until `iterations`, `patience` of them without a new best, or a makespan of `goal`.

    The best queues are left in `kept_…`. Returns their makespan and the iterations made.
    """
    n = len(ops)
    # A power of two, so that a mask finds the place; above the cap pairs share places, which forbids a little more.
    size = 1
    while size < n * (2 * n + len(first)) and size < MOST_FORBIDDEN:
        size *= 2
    forbidden = np.zeros(size, np.int32)
    spare, row, heads, path = (
        np.empty(2 * n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
    )
    found = np.empty(FOUND, np.int64)
    current = retime(ops, order, setup, 0, n - 1)
    best, since, now = current, 0, 0
    kept_ops[:], kept_first[:], kept_order[:] = ops, first, order
    while now < iterations and now - since < patience and best > goal:
        now += 1
        length = critical(ops, setup, current, path, rng)
        scan(ops, first, ptr, options, setup, path, length, forbidden, now, best, row, heads, found, rng)
        at = MOVED if found[MOVED] >= 0 else SPARE
        v, m, u, d = found[at], found[at + 1], found[at + 2], found[at + 3]
        if v < 0:
            break
        until = now + TENURE + draw(rng, TENURE) + n // 25
        forbid(ops, place, forbidden, v, m, u, until)
        made = go(ops, first, order, place, setup, spare, v, m, u, d)
        if made < 0:
            forbidden[key(n, v, n + m, forbidden)] = until
            continue
        current = made
        if current < best:
            best, since = current, now
            kept_ops[:], kept_first[:], kept_order[:] = ops, first, order
    return best, now
