"""The instant layer: where does one more operation fit best, exactly.

`insert_best` estimates every machine and every place, then times the best `TOP` of them exactly, pushes of later
operations over closing hours included, and commits the cheapest. Quotes and repairs are insertions and removals.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import NEVER, Flags, Ints, Problem, Schedule, empty_schedule, topological_order
from scheduler.planning.propagation import (
    Journal,
    begin,
    changed_cost,
    new_journal,
    note,
    propagate,
    seed,
    seed_after,
    undo,
)
from scheduler.planning.timing import (
    choose,
    earliest,
    freed,
    guide_cost,
    lateness_cost,
    parts_ready,
    place_cost,
    put_in,
    setup_before,
    take_out,
    total_cost,
    transport_around,
)

#: How many of the estimated places are timed exactly.
TOP = 8
#: Steps of re-timing after which a place is refused.
LIMIT = 20_000
#: No cost.
INFINITE = 1 << 60


@inlined
def push_estimate(p: Problem, s: Schedule, m: int, i: int, shift: int, enough: int) -> int:
    """Cost of pushing the operations from place i on by `shift` ticks, gaps absorbing; calendars are left out."""
    cost = 0
    shop = p.machine_shop[m]
    while shift > 0 and i < s.length[m]:
        o = s.seq[m, i]
        way = p.delivery[shop, p.zone[o]] if p.zone[o] >= 0 else 0
        late = s.avail[o] + way - p.guide_due[o]
        if late > 0:
            cost += p.guide_weight[o] * shift
        elif late + shift > 0:
            cost += p.guide_weight[o] * (late + shift)
        cost += p.flow[o] * shift
        if cost >= enough:
            return cost
        if i + 1 < s.length[m]:
            shift -= s.start[s.seq[m, i + 1]] - s.end[o]
        i += 1
    return cost


@compiled
def insert_best(  # noqa: C901 - one pass over all places, unrolled for the compiler
    p: Problem, s: Schedule, j: Journal, o: int, frozen: int, not_before: int, shut: Flags, commit: bool
) -> int:
    """Cheapest place of an unplaced operation, committed or only found.

    Args:
        frozen: nothing that starts before this tick may be pushed, nor anything be put before it.
        not_before: the operation itself starts no earlier.
        shut: (m) 1 for machines that take nothing new.

    Returns:
        The cost it adds in hundredths of a weight-minute; INFINITE where it fits nowhere. With `commit` it is placed;
        without, `j.seeds[0:2]` hold (k, place) and the start and avail ticks are in `j.seeds[2:4]`.
    """
    values = np.full(TOP, INFINITE, np.int64)
    choices = np.full(TOP, -1, np.int64)
    places = np.full(TOP, -1, np.int64)
    capacity = s.seq.shape[1]
    for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
        m = p.elig_machine[k]
        if shut[m] or s.length[m] >= capacity - 1:
            continue
        shop = p.machine_shop[m]
        ready = max(parts_ready(p, s, o, shop), not_before)
        base = place_cost(p, k) + transport_around(p, s, o, shop)
        ticks, tail = p.elig_ticks[k], p.elig_tail[k]
        i = s.length[m]
        while i >= 0:
            t = p.machine_free[m] if i == 0 else max(p.machine_free[m], s.end[s.seq[m, i - 1]])
            x = setup_before(p, s, m, i, p.family[o])
            start = earliest(p, o, m, k, max(t, ready), x, ticks, tail)
            if start < NEVER:
                end = start + x + ticks
                avail = freed(p, m, end)
                if avail < NEVER:
                    value = base + p.setup_cost * x + lateness_cost(p, o, shop, avail) + guide_cost(p, s, o, avail)
                    if value < values[TOP - 1] and i < s.length[m]:
                        after = s.seq[m, i]
                        y = p.setup[p.machine_matrix[m], p.family[o], p.family[after]]
                        if p.pinned[after] >= 0:
                            if end > p.pinned[after]:
                                value = INFINITE
                        else:
                            value += p.setup_cost * (y - s.setup[after])
                            shift = end + y - (s.start[after] + s.setup[after])
                            value += push_estimate(p, s, m, i, shift, values[TOP - 1] - value)
                    if value < values[TOP - 1]:
                        z = TOP - 1
                        while z > 0 and values[z - 1] > value:
                            values[z], choices[z], places[z] = values[z - 1], choices[z - 1], places[z - 1]
                            z -= 1
                        values[z], choices[z], places[z] = value, k, i
            i -= 1
            if i < 0:
                break
            before = s.seq[m, i]
            # Strict: an operation never goes before one that ends when its own parts arrive (a tie makes a circle).
            if s.start[before] < frozen or p.pinned[before] == 0 or s.end[before] <= ready:
                break
    best = INFINITE
    best_k, best_i, best_start, best_avail = -1, -1, 0, 0
    saved = p.release[o]
    p.release[o] = max(saved, not_before)
    for z in range(TOP):
        if choices[z] < 0:
            break
        value = _try(p, s, j, o, choices[z], places[z])
        if value < best:
            best, best_k, best_i, best_start, best_avail = value, choices[z], places[z], s.start[o], s.avail[o]
        _take_back(s, j, o)
    if best_k >= 0 and commit:
        _try(p, s, j, o, best_k, best_i)
    p.release[o] = saved
    if not commit:
        j.seeds[0], j.seeds[1], j.seeds[2], j.seeds[3] = best_k - p.elig_ptr[o], best_i, best_start, best_avail
    return best


@compiled
def _try(p: Problem, s: Schedule, j: Journal, o: int, k: int, i: int) -> int:
    """Put the operation there and re-time; the cost added, INFINITE where it cannot be."""
    m = p.elig_machine[k]
    begin(j)
    note(p, s, j, o)
    choose(p, s, o, k)
    put_in(s, m, i, o)
    s.end[o] = -1
    s.avail[o] = -1
    seed(j, o)
    if i + 1 < s.length[m]:
        seed(j, s.seq[m, i + 1])
    seed_after(p, s, j, o)
    if not propagate(p, s, j, LIMIT):
        return INFINITE
    shop = p.machine_shop[m]
    return changed_cost(p, s, j) + place_cost(p, k) + transport_around(p, s, o, shop) + guide_cost(p, s, o, s.avail[o])


@compiled
def _take_back(s: Schedule, j: Journal, o: int) -> None:
    undo(s, j)
    take_out(s, s.machine[o], s.pos[o])
    s.machine[o], s.pos[o], s.choice[o] = -1, -1, -1


@compiled
def remove(p: Problem, s: Schedule, j: Journal, o: int) -> None:
    """Take a placed operation out and let those behind it move up."""
    m, i = s.machine[o], s.pos[o]
    begin(j)
    take_out(s, m, i)
    s.machine[o], s.pos[o], s.choice[o] = -1, -1, -1
    if i < s.length[m]:
        seed(j, s.seq[m, i])
    seed_after(p, s, j, o)
    propagate(p, s, j, 50 * LIMIT)


@compiled
def append_all(p: Problem, s: Schedule, order: Ints) -> int:
    """Every operation in the order given, each at the end of the machine where it costs least. Returns how many fit."""
    placed = 0
    for o in order:
        if s.machine[o] >= 0:
            continue
        best, best_k, best_start, best_avail, best_setup = INFINITE, -1, 0, 0, 0
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
            m = p.elig_machine[k]
            shop = p.machine_shop[m]
            i = s.length[m]
            if i >= s.seq.shape[1] - 1:
                continue
            t = p.machine_free[m] if i == 0 else max(p.machine_free[m], s.end[s.seq[m, i - 1]])
            t = max(t, parts_ready(p, s, o, shop))
            x = setup_before(p, s, m, i, p.family[o])
            start = earliest(p, o, m, k, t, x, p.elig_ticks[k], p.elig_tail[k])
            if start >= NEVER:
                continue
            avail = freed(p, m, start + x + p.elig_ticks[k])
            if avail >= NEVER:
                continue
            # Later is dearer even before the due date, and so are machine minutes: both leave room for others.
            way = p.delivery[shop, p.zone[o]] if p.zone[o] >= 0 else 0
            value = 100 * (avail + way) + 25 * (x + p.elig_ticks[k]) + p.setup_cost * x + place_cost(p, k)
            value += transport_around(p, s, o, shop)
            if value < best:
                best, best_k, best_start, best_avail, best_setup = value, k, start, avail, x
        if best_k < 0:
            continue
        m = p.elig_machine[best_k]
        choose(p, s, o, best_k)
        put_in(s, m, s.length[m], o)
        s.start[o], s.avail[o], s.setup[o] = best_start, best_avail, best_setup
        s.end[o] = best_start + best_setup + p.elig_ticks[best_k]
        placed += 1
    return placed


@compiled
def insert_all(p: Problem, s: Schedule, j: Journal, order: Ints, frozen: int, shut: Flags) -> int:
    """Every unplaced operation in the order given by `insert_best`. Returns how many were placed."""
    placed = 0
    for o in order:
        if s.machine[o] < 0 and insert_best(p, s, j, o, frozen, 0, shut, True) < INFINITE:
            placed += 1
    return placed


def priority_orders(p: Problem) -> dict[str, Ints]:
    """Orders worth trying, chains kept: by release, due date, latest start, and latest start shifted by weight."""
    n = p.operations
    typical = np.array(
        [
            np.median(p.elig_ticks[p.elig_ptr[o] : p.elig_ptr[o + 1]]) if p.elig_ptr[o + 1] > p.elig_ptr[o] else 0
            for o in range(n)
        ]
    )
    order = topological_order(p)
    assert order is not None, "a validated problem has no circles"
    rest = typical.copy()
    due = p.due.astype(float)
    weight = p.weight.astype(float)
    for o in order[::-1]:
        after = p.succs[p.succ_ptr[o] : p.succ_ptr[o + 1]]
        if len(after):
            rest[o] += rest[after].max()
            due[o] = min(due[o], float(due[after].min()))
            weight[o] = max(weight[o], float(weight[after].max()))
    rank = np.empty(n)
    rank[order] = np.arange(n)
    latest = due - rest
    lift = np.log2(np.maximum(weight / 100, 1e-3))
    keys = {
        "release": p.release.astype(float),
        "due": due,
        "latest start": latest,
        "weighted 360": latest - 360 * lift,
        "weighted 1440": latest - 1440 * lift,
    }
    return {name: _chained(p, key, rank) for name, key in keys.items()}


def _chained(p: Problem, key: NDArray[np.float64], rank: NDArray[np.float64]) -> Ints:
    """Sorted by the key, an operation never before its predecessors."""
    late_enough = key.copy()
    for o in np.argsort(rank, kind="stable"):
        before = p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]
        if len(before):
            late_enough[o] = max(late_enough[o], late_enough[before].max())
    return np.lexsort((rank, late_enough)).astype(np.int32)


def place_pins(p: Problem, s: Schedule) -> None:
    """Put every pinned operation on its machine, in order of time."""
    for o in sorted(np.flatnonzero(p.pinned >= 0), key=lambda o: int(p.pinned[o])):
        k = int(p.elig_ptr[o])
        m = int(p.elig_machine[k])
        choose(p, s, o, k)
        put_in(s, m, int(s.length[m]), o)
        s.start[o], s.setup[o] = p.pinned[o], 0
        s.end[o] = p.pinned[o] + p.elig_ticks[k]
        s.avail[o] = freed(p, m, int(s.end[o]))


def construct(p: Problem, *, exact_places: bool = True) -> Schedule:
    """A first schedule: pins, then the best of the priority orders. Operations that fit nowhere stay unplaced."""
    best: Schedule | None = None
    best_key = (0, 0)
    shut = np.zeros(max(1, p.machines), np.int8)
    for order in priority_orders(p).values():
        s = _with_pins(p)
        placed = append_all(p, s, order)
        key = (-placed, total_cost(p, s))
        if best is None or key < best_key:
            best, best_key = s, key
    if exact_places:
        for order in priority_orders(p).values():
            s = _with_pins(p)
            placed = insert_all(p, s, new_journal(p.operations), order, 0, shut)
            key = (-placed, total_cost(p, s))
            if best is None or key < best_key:
                best, best_key = s, key
    assert best is not None, "there is always an order to try"
    return best


def _with_pins(p: Problem) -> Schedule:
    s = empty_schedule(p)
    place_pins(p, s)
    return s
