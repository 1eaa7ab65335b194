"""The compiled core's clockwork: when an operation can start, and re-timing what depends on a change.

All functions work on `Problem` and `Schedule` arrays and run the same compiled and plain. Times are ticks.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import NEVER, Ints, Problem, Schedule

#: Windows a start may hop over before the operation counts as impossible there.
HOPS = 400


@inlined
def next_fit(p: Problem, calendar: int, at: int, need: int) -> int:
    """Earliest t ≥ at with [t, t + need] inside one window of the calendar; NEVER where there is none."""
    b = at // p.bucket
    if b >= p.cal_hint.shape[1]:
        return NEVER
    w = p.cal_hint[calendar, b]
    last = p.cal_ptr[calendar + 1]
    while w < last:
        t = max(at, p.cal_open[w])
        if t + need <= p.cal_shut[w]:
            return t
        w += 1
    return NEVER


@inlined
def earliest(p: Problem, o: int, m: int, k: int, at: int, setup: int, ticks: int, tail: int) -> int:
    """Earliest start of setting up alternative k at or after `at` that the calendars allow; NEVER: there is none."""
    staff = p.staff_calendar[m]
    run = p.home_calendar[m] if p.home[o] == p.machine_shop[m] else p.run_calendar[m]
    if len(p.elig_after) > 0:
        at = max(at, p.elig_after[k])
    if staff < 0 and run < 0:
        return at
    whole = setup + ticks + tail
    present = whole if p.attended[m] else setup
    t = at
    for _ in range(HOPS):
        if staff >= 0:
            t = next_fit(p, staff, t, present)
            if t >= NEVER or run < 0:
                return t
        later = next_fit(p, run, t, whole)
        if later == t or later >= NEVER or staff < 0:
            return later
        t = later
    return NEVER


@inlined
def freed(p: Problem, m: int, end: int) -> int:
    """When the part can leave: an unattended machine waits for a person."""
    if p.attended[m] or p.staff_calendar[m] < 0 or end >= NEVER:
        return end
    return next_fit(p, p.staff_calendar[m], end, 0)


@inlined
def setup_before(p: Problem, s: Schedule, m: int, i: int, family: int) -> int:
    """Setup ticks of an operation of `family` at place i of machine m."""
    before = p.family[s.seq[m, i - 1]] if i > 0 else p.machine_family[m]
    if before < 0:
        return p.first_setup
    return p.setup[p.machine_matrix[m], before, family]


@inlined
def parts_ready(p: Problem, s: Schedule, o: int, shop: int) -> int:
    """When everything the operation waits for is in the shop."""
    t = p.release[o]
    for k in range(p.pred_ptr[o], p.pred_ptr[o + 1]):
        q = p.preds[k]
        if s.machine[q] >= 0:
            arrival = s.avail[q] + p.legs[p.machine_shop[s.machine[q]], shop]
            t = max(t, arrival)
    return t


@compiled
def time_one(p: Problem, s: Schedule, o: int) -> tuple[int, int, int, int]:
    """(start, end, avail, setup) from the machine's predecessor and the parts; avail is NEVER where it cannot be."""
    m, i = s.machine[o], s.pos[o]
    t = p.machine_free[m]
    if i > 0:
        t = max(t, s.end[s.seq[m, i - 1]])
    k = s.choice[o]
    if p.pinned[o] >= 0:
        start = p.pinned[o]
        if start < t and i > 0:
            return start, start, NEVER, 0
        end = start + s.ticks[o]
        return start, end, freed(p, m, end), 0
    t = max(t, parts_ready(p, s, o, p.machine_shop[m]))
    if t >= NEVER:
        return t, t, NEVER, 0
    x = setup_before(p, s, m, i, p.family[o])
    start = earliest(p, o, m, k, t, x, s.ticks[o], s.tail[o])
    if start >= NEVER:
        return start, start, NEVER, x
    end = start + x + s.ticks[o]
    return start, end, freed(p, m, end), x


@inlined
def lateness_cost(p: Problem, o: int, shop: int, avail: int) -> int:
    """Cost of tardiness, flow, a broken promise and delivery when the part is free at `avail` in `shop`."""
    cost = 0
    arrival = avail
    if p.zone[o] >= 0:
        way = p.delivery[shop, p.zone[o]]
        arrival += way
        cost += p.leg_cost * way
    late = arrival - p.due[o]
    if late > 0:
        cost += p.weight[o] * late
    if p.flow[o] > 0 and arrival > p.release[o]:
        cost += p.flow[o] * (arrival - p.release[o])
    broken = arrival - p.promise[o]
    if broken > 0:
        cost += p.promise_weight[o] * broken
    return cost


@inlined
def moving_cost(p: Problem, o: int, shop: int, avail: int, setup: int) -> int:
    """The part of an operation's cost that changes with time alone."""
    return lateness_cost(p, o, shop, avail) + p.setup_cost * setup


@inlined
def place_cost(p: Problem, k: int) -> int:
    """The part of an alternative's cost that does not change with time."""
    return p.elig_cost[k] + p.pressure[p.machine_shop[p.elig_machine[k]]] * p.elig_ticks[k]


@inlined
def guide_cost(p: Problem, s: Schedule, o: int, avail: int) -> int:
    """Steers an operation whose successors are not placed yet: as if the order's lateness were its own."""
    waits = False
    for k in range(p.succ_ptr[o], p.succ_ptr[o + 1]):
        if s.machine[p.succs[k]] < 0:
            waits = True
    if not waits:
        return 0
    cost = p.guide_weight[o] * (avail - p.release[o]) // 50
    if avail > p.guide_due[o]:
        cost += p.guide_weight[o] * (avail - p.guide_due[o])
    return cost


@inlined
def own_cost(p: Problem, o: int, k: int, avail: int, setup: int) -> int:
    """All of an operation's cost except transport from its predecessors."""
    return moving_cost(p, o, p.machine_shop[p.elig_machine[k]], avail, setup) + place_cost(p, k)


@inlined
def transport_around(p: Problem, s: Schedule, o: int, shop: int) -> int:
    """Cost of the legs from placed predecessors and to placed successors, with the operation in `shop`."""
    ticks = 0
    for k in range(p.pred_ptr[o], p.pred_ptr[o + 1]):
        if s.machine[p.preds[k]] >= 0:
            ticks += p.legs[p.machine_shop[s.machine[p.preds[k]]], shop]
    for k in range(p.succ_ptr[o], p.succ_ptr[o + 1]):
        if s.machine[p.succs[k]] >= 0:
            ticks += p.legs[shop, p.machine_shop[s.machine[p.succs[k]]]]
    return p.leg_cost * ticks


@compiled
def total_cost(p: Problem, s: Schedule) -> int:
    """The whole objective of what is placed."""
    cost = 0
    for o in range(len(p.family)):
        if s.machine[o] < 0:
            continue
        cost += own_cost(p, o, s.choice[o], s.avail[o], s.setup[o])
        shop = p.machine_shop[s.machine[o]]
        for k in range(p.pred_ptr[o], p.pred_ptr[o + 1]):
            if s.machine[p.preds[k]] >= 0:
                cost += p.leg_cost * p.legs[p.machine_shop[s.machine[p.preds[k]]], shop]
    return cost


@compiled
def retime_all(p: Problem, s: Schedule, queue: Ints, waits: Ints) -> bool:
    """Every time anew from the sequences alone. False where the sequences run in a circle or something cannot be."""
    head = tail = placed = 0
    for o in range(len(p.family)):
        if s.machine[o] < 0:
            continue
        placed += 1
        w = 1 if s.pos[o] > 0 else 0
        for k in range(p.pred_ptr[o], p.pred_ptr[o + 1]):
            if s.machine[p.preds[k]] >= 0:
                w += 1
        waits[o] = w
        if w == 0:
            queue[tail] = o
            tail += 1
    possible = True
    while head < tail:
        o = queue[head]
        head += 1
        s.start[o], s.end[o], s.avail[o], s.setup[o] = time_one(p, s, o)
        if s.avail[o] >= NEVER:
            possible = False
        m = s.machine[o]
        if s.pos[o] + 1 < s.length[m]:
            after = s.seq[m, s.pos[o] + 1]
            waits[after] -= 1
            if waits[after] == 0:
                queue[tail] = after
                tail += 1
        for k in range(p.succ_ptr[o], p.succ_ptr[o + 1]):
            after = p.succs[k]
            if s.machine[after] >= 0:
                waits[after] -= 1
                if waits[after] == 0:
                    queue[tail] = after
                    tail += 1
    return possible and tail == placed


@inlined
def take_out(s: Schedule, m: int, i: int) -> None:
    """Close the gap at place i of machine m."""
    for k in range(i, s.length[m] - 1):
        s.seq[m, k] = s.seq[m, k + 1]
        s.pos[s.seq[m, k]] = k
    s.length[m] -= 1


@inlined
def choose(p: Problem, s: Schedule, o: int, k: int) -> None:
    """Give the operation alternative k."""
    s.choice[o] = k
    s.ticks[o] = p.elig_ticks[k]
    s.tail[o] = p.elig_tail[k]


@inlined
def put_in(s: Schedule, m: int, i: int, o: int) -> None:
    """Open a gap at place i of machine m and put the operation there."""
    for k in range(s.length[m], i, -1):
        s.seq[m, k] = s.seq[m, k - 1]
        s.pos[s.seq[m, k]] = k
    s.seq[m, i] = o
    s.pos[o] = i
    s.machine[o] = m
    s.length[m] += 1
