"""The compiled core's clockwork: when an operation can start, and re-timing what depends on a change.

All functions work on `Core` and `Schedule` tables and run the same compiled and plain. Times are ticks.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from scheduler.planning.core import (
    AFTER,
    ANCHOR,
    ATTENDED,
    AVAIL,
    BUCKET,
    CHOICE,
    CLEARED,
    COST,
    CURVE,
    DUE,
    EARLIEST,
    END,
    FAMILY,
    FAMILY_ON,
    FENCE,
    FIRST_SETUP,
    FLOW,
    FREE,
    GUIDE_DUE,
    GUIDE_WEIGHT,
    HOME,
    HOME_RUN,
    LATEST,
    LEG_COST,
    LOAD,
    MACHINE,
    MATRIX,
    MOVING,
    OPEN,
    PINNED,
    POS,
    PRED_HIGH,
    PRED_LOW,
    PROMISE,
    PROMISE_WEIGHT,
    RUN,
    SETUP,
    SETUP_COST,
    SHOP,
    SHUT,
    SINCE,
    STAFF,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    TAIL,
    TAIL_TICKS,
    TICKS,
    UNLOAD,
    WEIGHT,
    ZONE,
    Core,
    Schedule,
)
from scheduler.planning.jit import borrowed, compiled, inlined
from scheduler.planning.problem import CARBON_UNIT, NEVER, Ints

#: Windows a start may hop over before the operation counts as impossible there.
HOPS = 400


@inlined
def tail_of(p: Core, k: int) -> int:
    """Ticks from the planned to the safe duration of an alternative."""
    return p.elig_more[k, TAIL_TICKS] if len(p.elig_more) > 0 else 0


@inlined
def cost_of(p: Core, k: int) -> int:
    """Cost of an alternative whatever the time."""
    return p.elig_more[k, COST] if len(p.elig_more) > 0 else 0


@inlined
def next_fit(p: Core, calendar: int, at: int, need: int) -> int:
    """Earliest t ≥ at with [t, t + need] inside one window of the calendar; NEVER where there is none."""
    b = at // p.rates[BUCKET]
    if b >= p.cal_hint.shape[1]:
        return NEVER
    w = p.cal_hint[calendar, b]
    while True:
        t = max(at, p.cal[w, OPEN])
        if t + need <= p.cal[w, SHUT] or t >= NEVER:
            return t
        w += 1


@inlined
def earliest(p: Core, o: int, m: int, k: int, at: int, setup: int, ticks: int, tail: int) -> int:
    """Earliest start of setting up alternative k at or after `at` that the calendars allow; NEVER: there is none."""
    staff = p.mach[m, STAFF]
    run = p.mach[m, HOME_RUN] if p.ops[o, HOME] == p.mach[m, SHOP] else p.mach[m, RUN]
    if len(p.elig_more) > 0:
        at = max(at, p.elig_more[k, AFTER])
    if staff < 0 and run < 0:
        return at
    whole = setup + ticks + tail
    # Who loads it clears it first, in the same attended window.
    present = whole if p.mach[m, ATTENDED] else max(setup, p.mach[m, LOAD]) + p.mach[m, UNLOAD]
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
def freed(p: Core, m: int, end: int) -> int:
    """When the part can leave: an unattended machine waits for a person."""
    if p.mach[m, ATTENDED] or p.mach[m, STAFF] < 0 or end >= NEVER:
        return end
    return next_fit(p, p.mach[m, STAFF], end, 0)


@inlined
def setup_before(p: Core, s: Schedule, m: int, i: int, family: int) -> int:
    """Setup ticks of an operation of `family` at place i of machine m."""
    before = p.ops[s.seq[m, i - 1], FAMILY] if i > 0 else p.mach[m, FAMILY_ON]
    if before < 0:
        return p.rates[FIRST_SETUP]
    return p.setup[p.mach[m, MATRIX], before, family]


@inlined
def parts_ready(p: Core, s: Schedule, o: int, shop: int) -> int:
    """When everything the operation waits for is in the shop; what has no place (while it is moved) is left out."""
    t = max(p.ops[o, EARLIEST], p.rates[FENCE])
    for k in range(p.ops[o, PRED_LOW], p.ops[o, PRED_HIGH]):
        q = p.links[k]
        if s.at[q, MACHINE] >= 0:
            arrival = s.at[q, AVAIL] + p.legs[p.mach[s.at[q, MACHINE], SHOP], shop]
            t = max(t, arrival)
    return t


@inlined
def parts_placed(p: Core, s: Schedule, o: int) -> bool:
    """Whether everything the operation waits for has a place. Nothing may be placed before that is so."""
    placed = True
    for k in range(p.ops[o, PRED_LOW], p.ops[o, PRED_HIGH]):
        if s.at[p.links[k], MACHINE] < 0:
            placed = False
    return placed


@compiled
def time_one(p: Core, s: Schedule, o: int) -> tuple[int, int, int, int]:
    """(start, end, avail, setup) from the machine's predecessor and the parts; avail is NEVER where it cannot be."""
    p, s = borrowed(p), borrowed(s)
    m, i = s.at[o, MACHINE], s.at[o, POS]
    t = p.mach[m, FREE]
    if i > 0:
        t = max(t, s.at[s.seq[m, i - 1], END])
    k = s.at[o, CHOICE]
    if p.ops[o, PINNED] >= 0:
        # A machine that is busy until later holds up what is free to move, not what is there already.
        start = p.ops[o, PINNED]
        if i > 0 and start < s.at[s.seq[m, i - 1], END]:
            return start, start, NEVER, 0
        end = start + s.at[o, SETUP] + s.at[o, TICKS]
        return start, end, max(freed(p, m, end), p.ops[o, CLEARED]), s.at[o, SETUP]
    t = max(t, parts_ready(p, s, o, p.mach[m, SHOP]))
    if t >= NEVER:
        return t, t, NEVER, 0
    x = setup_before(p, s, m, i, p.ops[o, FAMILY])
    start = earliest(p, o, m, k, t, x, s.at[o, TICKS], s.at[o, TAIL])
    if start >= NEVER:
        return start, start, NEVER, x
    end = start + x + s.at[o, TICKS]
    avail = max(freed(p, m, end), p.ops[o, CLEARED])
    return start, end, avail if avail <= p.ops[o, LATEST] else NEVER, x


@inlined
def lateness_cost(p: Core, o: int, shop: int, avail: int) -> int:
    """Cost of tardiness, flow, a broken promise and delivery when the part is free at `avail` in `shop`."""
    cost = 0
    arrival = avail
    if p.ops[o, ZONE] >= 0:
        way = p.delivery[shop, p.ops[o, ZONE]]
        arrival += way
        cost += p.rates[LEG_COST] * way
    late = arrival - p.ops[o, DUE]
    if late > 0:
        cost += p.ops[o, WEIGHT] * late
    if p.ops[o, FLOW] > 0 and arrival > p.ops[o, SINCE]:
        cost += p.ops[o, FLOW] * (arrival - p.ops[o, SINCE])
    broken = arrival - p.ops[o, PROMISE]
    if broken > 0:
        cost += p.ops[o, PROMISE_WEIGHT] * broken
    return cost


@inlined
def energy_cost(p: Core, m: int, run: int, end: int) -> int:
    """Cost of the current that machine m draws from `run` to `end`, by prefix sums over the day; rounded down."""
    if len(p.carbon) == 0 or p.mach[m, CURVE] < 0:
        return 0
    c, day = p.mach[m, CURVE], p.carbon.shape[1] - 1
    whole = (end // day - run // day) * p.carbon[c, day]
    return (whole + p.carbon[c, end % day] - p.carbon[c, run % day]) // CARBON_UNIT


@inlined
def moving_cost(p: Core, s: Schedule, o: int) -> int:
    """The part of a placed operation's cost that changes with time alone."""
    m = s.at[o, MACHINE]
    cost = lateness_cost(p, o, p.mach[m, SHOP], s.at[o, AVAIL]) + p.rates[SETUP_COST] * s.at[o, SETUP]
    return cost + energy_cost(p, m, s.at[o, START] + s.at[o, SETUP], s.at[o, END])


@inlined
def place_cost(p: Core, o: int, k: int) -> int:
    """The part of an alternative's cost that does not change with time."""
    shop = p.mach[p.elig_machine[k], SHOP]
    moved = p.rates[MOVING] if p.ops[o, ANCHOR] >= 0 and p.ops[o, ANCHOR] != shop else 0
    return cost_of(p, k) + p.pressure[shop] * p.elig_ticks[k] + moved


@inlined
def guide_cost(p: Core, s: Schedule, o: int, avail: int) -> int:
    """Steers an operation whose successors are not placed yet: as if the order's lateness were its own."""
    waits = False
    for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
        if s.at[p.links[k], MACHINE] < 0:
            waits = True
    if not waits:
        return 0
    cost = p.ops[o, GUIDE_WEIGHT] * (avail - p.ops[o, SINCE]) // 50
    if avail > p.ops[o, GUIDE_DUE]:
        cost += p.ops[o, GUIDE_WEIGHT] * (avail - p.ops[o, GUIDE_DUE])
    return cost


@inlined
def own_cost(p: Core, s: Schedule, o: int) -> int:
    """All of a placed operation's cost except transport from its predecessors."""
    return moving_cost(p, s, o) + place_cost(p, o, s.at[o, CHOICE])


@inlined
def transport_around(p: Core, s: Schedule, o: int, shop: int) -> int:
    """Cost of the legs from placed predecessors and to placed successors, with the operation in `shop`."""
    ticks = 0
    for k in range(p.ops[o, PRED_LOW], p.ops[o, PRED_HIGH]):
        if s.at[p.links[k], MACHINE] >= 0:
            ticks += p.legs[p.mach[s.at[p.links[k], MACHINE], SHOP], shop]
    for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
        if s.at[p.links[k], MACHINE] >= 0:
            ticks += p.legs[shop, p.mach[s.at[p.links[k], MACHINE], SHOP]]
    return p.rates[LEG_COST] * ticks


@compiled
def total_cost(p: Core, s: Schedule) -> int:
    """The whole objective of what is placed."""
    p, s = borrowed(p), borrowed(s)
    cost = 0
    for o in range(len(p.ops)):
        if s.at[o, MACHINE] < 0:
            continue
        cost += own_cost(p, s, o)
        shop = p.mach[s.at[o, MACHINE], SHOP]
        for k in range(p.ops[o, PRED_LOW], p.ops[o, PRED_HIGH]):
            if s.at[p.links[k], MACHINE] >= 0:
                cost += p.rates[LEG_COST] * p.legs[p.mach[s.at[p.links[k], MACHINE], SHOP], shop]
    return cost


@compiled
def retime_all(p: Core, s: Schedule, queue: Ints, waits: Ints) -> bool:
    """Every time anew from the sequences alone. False where the sequences run in a circle or something cannot be."""
    p, s = borrowed(p), borrowed(s)
    head = tail = placed = 0
    for o in range(len(p.ops)):
        if s.at[o, POS] < 0:
            continue
        placed += 1
        w = 1 if s.at[o, POS] > 0 else 0
        for k in range(p.ops[o, PRED_LOW], p.ops[o, PRED_HIGH]):
            if s.at[p.links[k], POS] >= 0:
                w += 1
        waits[o] = w
        if w == 0:
            queue[tail] = o
            tail += 1
    possible = True
    while head < tail:
        o = queue[head]
        head += 1
        s.at[o, START], s.at[o, END], s.at[o, AVAIL], s.at[o, SETUP] = time_one(p, s, o)
        if s.at[o, AVAIL] >= NEVER:
            possible = False
        m = s.at[o, MACHINE]
        if s.at[o, POS] + 1 < s.length[m]:
            after = s.seq[m, s.at[o, POS] + 1]
            waits[after] -= 1
            if waits[after] == 0:
                queue[tail] = after
                tail += 1
        for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
            after = p.links[k]
            if s.at[after, POS] >= 0:
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
        s.at[s.seq[m, k], POS] = k
    s.length[m] -= 1


@inlined
def choose(p: Core, s: Schedule, o: int, k: int) -> None:
    """Give the operation alternative k."""
    s.at[o, CHOICE] = k
    s.at[o, TICKS] = p.elig_ticks[k]
    s.at[o, TAIL] = tail_of(p, k)


@inlined
def put_in(s: Schedule, m: int, i: int, o: int) -> None:
    """Open a gap at place i of machine m and put the operation there."""
    for k in range(s.length[m], i, -1):
        s.seq[m, k] = s.seq[m, k - 1]
        s.at[s.seq[m, k], POS] = k
    s.seq[m, i] = o
    s.at[o, POS] = i
    s.at[o, MACHINE] = m
    s.length[m] += 1
