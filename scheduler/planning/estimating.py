"""What a change would cost, read off a machine's queue without touching it.

`walked` times the operations behind a place as if the machine came free at another tick: calendars, setups and pins
as they are, and stopping where nothing changes any more. Only what waits for parts on other machines is estimated. A
search that asks here first re-times exactly, with a journal, what it will mostly keep.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import Final

from scheduler.planning.core import (
    AVAIL,
    CHOICE,
    CLEARED,
    CURVE,
    DUE,
    END,
    FAMILY,
    FAMILY_ON,
    FIRST_SETUP,
    FLOW,
    FREE,
    GUIDE_DUE,
    GUIDE_WEIGHT,
    LATEST,
    MACHINE,
    MATRIX,
    PINNED,
    POS,
    SETUP,
    SETUP_COST,
    SHOP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    TAIL,
    TICKS,
    WEIGHT,
    ZONE,
    Core,
    Schedule,
)
from scheduler.planning.jit import borrowed, compiled, inlined
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import (
    earliest,
    energy_cost,
    freed,
    guide_cost,
    lateness_cost,
    parts_ready,
    tail_of,
)

#: No cost: it cannot be.
INFINITE: Final = 1 << 60


@inlined
def free_before(p: Core, s: Schedule, m: int, i: int) -> int:
    """The tick at which machine m is done with what stands before place i."""
    return p.mach[m, FREE] if i == 0 else max(p.mach[m, FREE], s.at[s.seq[m, i - 1], END])


@inlined
def family_before(p: Core, s: Schedule, m: int, i: int) -> int:
    """What machine m is set up for before place i; -1 unknown."""
    return p.mach[m, FAMILY_ON] if i == 0 else p.ops[s.seq[m, i - 1], FAMILY]


@inlined
def setup_between(p: Core, m: int, before: int, family: int) -> int:
    """Setup ticks on machine m from one family to the other."""
    return p.rates[FIRST_SETUP] if before < 0 else p.setup[p.mach[m, MATRIX], before, family]


@compiled
def follow_change(p: Core, s: Schedule, o: int, shop: int, avail: int) -> int:
    """About what those that wait for o's part would cost more, were it free at `avail` in `shop`."""
    p, s = borrowed(p), borrowed(s)
    cost = 0
    for k in range(p.ops[o, SUCC_LOW], p.ops[o, SUCC_HIGH]):
        y = p.links[k]
        i = s.at[y, POS]
        if i < 0:
            continue
        m = s.at[y, MACHINE]
        there = p.mach[m, SHOP]
        arrival, begins = avail + p.legs[shop, there], s.at[y, START]
        by = arrival - begins
        if by <= 0:
            before = s.at[o, AVAIL] + p.legs[p.mach[s.at[o, MACHINE], SHOP], there]
            # It gains as far as the part, and not its machine, was what it waited for.
            by = max(arrival - before, free_before(p, s, m, i) - begins)
            if by >= 0:
                continue
        cost += lateness_cost(p, y, there, s.at[y, AVAIL] + by) - lateness_cost(p, y, there, s.at[y, AVAIL])
        if p.ops[y, ZONE] < 0:
            late = s.at[y, AVAIL] - p.ops[y, GUIDE_DUE]
            cost += p.ops[y, GUIDE_WEIGHT] * (max(0, late + by) - max(0, late))
    return cost


@inlined
def time_anew(p: Core, s: Schedule, m: int, o: int, free: int, family: int) -> tuple[int, int]:
    """(end, cost change) of o, staying on machine m, were it free at `free` and set up so; end NEVER: it cannot be."""
    shop = p.mach[m, SHOP]
    setup = setup_between(p, m, family, p.ops[o, FAMILY])
    ticks = s.at[o, TICKS]
    at = max(free, parts_ready(p, s, o, shop))
    start = earliest(p, o, m, s.at[o, CHOICE], at, setup, ticks, s.at[o, TAIL])
    end = start + setup + ticks
    avail = max(freed(p, m, end), p.ops[o, CLEARED])
    change = 0
    if start >= NEVER or avail >= NEVER or avail > p.ops[o, LATEST]:
        end = NEVER
    else:
        change = p.rates[SETUP_COST] * (setup - s.at[o, SETUP])
        if len(p.carbon) > 0:
            was = energy_cost(p, m, s.at[o, START] + s.at[o, SETUP], s.at[o, END])
            change += energy_cost(p, m, start + setup, end) - was
        if avail != s.at[o, AVAIL]:
            change += lateness_cost(p, o, shop, avail) - lateness_cost(p, o, shop, s.at[o, AVAIL])
            if p.ops[o, SUCC_LOW] < p.ops[o, SUCC_HIGH]:
                change += follow_change(p, s, o, shop, avail)
    return end, change


@compiled
def walked(p: Core, s: Schedule, m: int, i: int, free: int, family: int, enough: int) -> int:
    """Cost change of the operations from place i on, were machine m free at `free` and set up for `family`.

    INFINITE where something cannot be; at `enough` it stops counting, once all that is left can only be later.
    """
    p, s = borrowed(p), borrowed(s)
    cost = 0
    while i < s.length[m]:
        o = s.seq[m, i]
        if p.ops[o, PINNED] >= 0:
            return INFINITE if free > p.ops[o, PINNED] else cost
        end, change = time_anew(p, s, m, o, free, family)
        if end >= NEVER:
            return INFINITE
        cost += change
        # With a carbon curve later may be cheaper.
        if end == s.at[o, END] or (cost >= enough and end > s.at[o, END] and len(p.carbon) == 0):
            return cost
        free, family = end, p.ops[o, FAMILY]
        i += 1
    return cost


@inlined
def pushed_at_least(p: Core, s: Schedule, m: int, i: int, by: int, enough: int) -> int:
    """Cost of pushing the operations from place i on by `by` ticks, gaps absorbing: what calendars add is left out."""
    cost = 0
    shop = p.mach[m, SHOP]
    while by > 0 and i < s.length[m]:
        o = s.seq[m, i]
        if p.ops[o, ZONE] >= 0:
            late = s.at[o, AVAIL] + p.delivery[shop, p.ops[o, ZONE]] - p.ops[o, DUE]
            if late + by > 0:
                cost += p.ops[o, WEIGHT] * min(by, late + by)
            cost += p.ops[o, FLOW] * by
            if cost >= enough:
                return cost
        if i + 1 < s.length[m]:
            by -= s.at[s.seq[m, i + 1], START] - s.at[o, END]
        i += 1
    return cost


@compiled
def shifted(p: Core, s: Schedule, m: int, i: int, to: int, enough: int) -> int:
    """Cost change of moving the operation at place i of machine m in front of the one at place `to`."""
    p, s = borrowed(p), borrowed(s)
    first, last = (to, i) if to < i else (i, to - 1)
    free, family = free_before(p, s, m, first), family_before(p, s, m, first)
    cost = 0
    for place in range(first, last + 1):
        if to < i:
            o = s.seq[m, i] if place == first else s.seq[m, place - 1]
        else:
            o = s.seq[m, i] if place == last else s.seq[m, place + 1]
        if p.ops[o, PINNED] >= 0:
            return INFINITE
        end, change = time_anew(p, s, m, o, free, family)
        if end >= NEVER:
            return INFINITE
        cost += change
        free, family = end, p.ops[o, FAMILY]
    return cost + walked(p, s, m, last + 1, free, family, enough - cost)


@inlined
def cost_at(p: Core, s: Schedule, o: int, k: int, i: int, ready: int, base: int, enough: int) -> int:
    """Cost of alternative k of o at place i of its machine, what it pushes included; `enough` or more: about that much.

    The operation itself is on another machine, or on none. `base`: the part of the cost that is the same at every place
    of the machine.
    """
    m = p.elig_machine[k]
    shop, ticks = p.mach[m, SHOP], p.elig_ticks[k]
    cost = base
    at = max(free_before(p, s, m, i), ready)
    x = setup_between(p, m, family_before(p, s, m, i), p.ops[o, FAMILY])
    cost += p.rates[SETUP_COST] * x
    # With a carbon curve what is pushed may become cheaper by more than this costs.
    final = len(p.carbon) == 0 or p.mach[m, CURVE] < 0 or i >= s.length[m]
    if final and cost + lateness_cost(p, o, shop, at + x + ticks) >= enough:
        return INFINITE
    start = earliest(p, o, m, k, at, x, ticks, tail_of(p, k))
    if start >= NEVER:
        return INFINITE
    end = start + x + ticks
    avail = freed(p, m, end)
    if avail >= NEVER:
        return INFINITE
    cost += lateness_cost(p, o, shop, avail) + energy_cost(p, m, start + x, end)
    if p.ops[o, SUCC_LOW] < p.ops[o, SUCC_HIGH]:
        cost += guide_cost(p, s, o, avail) if s.at[o, MACHINE] < 0 else follow_change(p, s, o, shop, avail)
    if i >= s.length[m] or (final and cost >= enough):
        return cost
    after = s.seq[m, i]
    if p.ops[after, PINNED] < 0:
        y = setup_between(p, m, p.ops[o, FAMILY], p.ops[after, FAMILY])
        by = end + y - s.at[after, START] - s.at[after, SETUP]
        least = p.rates[SETUP_COST] * (y - s.at[after, SETUP]) + pushed_at_least(p, s, m, i, by, enough - cost)
        if final and cost + least >= enough:
            return INFINITE
    return cost + walked(p, s, m, i, end, p.ops[o, FAMILY], enough - cost)
