"""The improve layer: simulated annealing over machine sequences, anytime, with exact re-timing and taking back.

A move relocates an operation, exchanges two between machines, or shifts one inside its sequence; half of the picks are
late operations. How much dearer a move may be is drawn before its cost is known, so that looking at a place ends where
it cannot pay any more; the most promising of the sampled places is timed exactly. Nothing that starts before the freeze
fence moves. The same seed and number of moves give the same schedule, compiled or plain.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import math

from scheduler.planning.core import (
    ANCHOR,
    AVAIL,
    CHOICE,
    DUE,
    ELIG_HIGH,
    ELIG_LOW,
    END,
    FAMILY,
    GUIDE_DUE,
    MACHINE,
    MOVING,
    PINNED,
    POS,
    SETUP,
    SETUP_COST,
    SHOP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    ZONE,
    Core,
    Schedule,
)
from scheduler.planning.estimating import (
    INFINITE,
    cost_at,
    family_before,
    follow_change,
    free_before,
    setup_between,
    shifted,
    walked,
)
from scheduler.planning.jit import borrowed, compiled, inlined
from scheduler.planning.problem import NEVER, Ints, Longs
from scheduler.planning.propagation import (
    Journal,
    begin,
    changed_cost,
    note,
    propagate,
    seed,
    seed_after,
    undo,
)
from scheduler.planning.timing import (
    choose,
    earliest,
    energy_cost,
    freed,
    lateness_cost,
    moving_cost,
    parts_ready,
    place_cost,
    put_in,
    tail_of,
    take_out,
    transport_around,
)

#: Steps of re-timing after which a move is refused.
LIMIT = 2_000
MASK = 0xFFFFFFFF
#: Share of moves (percent) that relocate, and that relocate or exchange.
RELOCATE, EXCHANGE = 62, 84
#: Every so many moves the list of late operations is made anew.
REFRESH = 4_096
#: Places sampled for an operation that had better stay in its shop.
NEAR = 4


@inlined
def draw(rng: Longs, below: int) -> int:
    """A number in 0 … below-1 (Marsaglia's xorshift32, Journal of Statistical Software 8 (14), 2003)."""
    x = rng[0]
    x ^= (x << 13) & MASK
    x ^= x >> 17
    x ^= (x << 5) & MASK
    rng[0] = x
    return (x * below) >> 32


@inlined
def place_after(s: Schedule, m: int, t: int) -> int:
    """First place on the machine whose operation ends after t."""
    low, high = 0, s.length[m]
    while low < high:
        middle = (low + high) // 2
        if s.at[s.seq[m, middle], END] <= t:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def alternative_on(p: Core, o: int, m: int) -> int:
    """The operation's alternative on the machine, -1 where there is none."""
    p = borrowed(p)
    low, high = p.ops[o, ELIG_LOW], p.ops[o, ELIG_HIGH] - 1
    while low <= high:
        middle = (low + high) // 2
        here = p.elig_machine[middle]
        if here == m:
            return middle
        if here < m:
            low = middle + 1
        else:
            high = middle - 1
    return -1


@inlined
def affordable(rng: Longs, temperature: float) -> int:
    """The cost change that Metropolis' rule accepts this time, drawn before the change is known."""
    return int(-temperature * math.log((draw(rng, 1 << 30) + 1) / (1 << 30)))


@inlined
def leaving_gains(p: Core, s: Schedule, o: int) -> int:
    """What taking o out of its queue saves: its own cost, and what those behind it save by moving up."""
    m, i, k = s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE]
    shop = p.mach[m, SHOP]
    own = moving_cost(p, s, o)
    behind = walked(p, s, m, i + 1, free_before(p, s, m, i), family_before(p, s, m, i), INFINITE)
    return own + place_cost(p, o, k) + transport_around(p, s, o, shop) - behind


@compiled
def relocate(p: Core, s: Schedule, j: Journal, rng: Longs, o: int, most: int, frozen: int, samples: int) -> int:
    """Try the best of `samples` sampled places of o, if it costs `most` more or less. The cost change; 0: refused."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m1, i1, k1 = s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE]
    gains = leaving_gains(p, s, o)
    way = p.delivery[p.mach[m1, SHOP], p.ops[o, ZONE]] if p.ops[o, ZONE] >= 0 else 0
    late = s.at[o, AVAIL] + way > p.ops[o, GUIDE_DUE]
    best, k2, i2 = gains + most + 1, -1, -1
    low, count = p.ops[o, ELIG_LOW], p.ops[o, ELIG_HIGH] - p.ops[o, ELIG_LOW]
    # What saves less than another shop costs stays in its shop.
    stays = p.ops[o, ANCHOR] >= 0 and best <= p.rates[MOVING]
    for _ in range(min(samples, NEAR) if stays else samples):
        if stays or draw(rng, 3) == 0:
            # Neighbours in the list are mostly machines of the same shop: the cheap moves.
            k = min(max(low, k1 + draw(rng, 9) - 4), low + count - 1)
        else:
            k = low + draw(rng, count)
        m = p.elig_machine[k]
        if s.length[m] >= s.seq.shape[1] - 1:
            continue
        shop = p.mach[m, SHOP]
        base = place_cost(p, o, k) + transport_around(p, s, o, shop)
        ready = max(parts_ready(p, s, o, shop), frozen)
        if base + lateness_cost(p, o, shop, ready + p.elig_ticks[k]) >= best:
            continue
        # What is late goes earlier; the rest sometimes later, all of it sometimes anywhere in the queue: searches that
        # only go earlier get trapped.
        if draw(rng, 4) == 0 and s.length[m] > 0 and s.at[s.seq[m, s.length[m] - 1], END] > ready:
            t = ready + draw(rng, s.at[s.seq[m, s.length[m] - 1], END] - ready + 60)
        else:
            span = max(0, s.at[o, START] - ready)
            t = ready + draw(rng, span + 60 if late else (span * 13) // 10 + 720)
        i = place_after(s, m, t)
        if i < s.length[m] and s.at[s.seq[m, i], START] < frozen:
            continue
        if m != m1:
            value = cost_at(p, s, o, k, i, ready, base, best)
        elif i != i1 and i != i1 + 1:
            value = gains + shifted(p, s, m, i1, i, best - gains)
        else:
            continue
        if value < best:
            best, k2, i2 = value, k, i
    return move(p, s, j, o, k2, i2, most) if k2 >= 0 else 0


@compiled
def shift(p: Core, s: Schedule, j: Journal, rng: Longs, o: int, most: int, frozen: int) -> int:
    """Try o one to four places earlier on its machine. The cost change; 0 where it is more than `most`."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m, i = s.at[o, MACHINE], s.at[o, POS]
    to = i - (1 if draw(rng, 2) == 0 else 1 + draw(rng, 4))
    if to < 0 or s.at[s.seq[m, to], START] < frozen or shifted(p, s, m, i, to, most) > most:
        return 0
    return move(p, s, j, o, s.at[o, CHOICE], to, most)


@compiled
def move(p: Core, s: Schedule, j: Journal, o: int, k2: int, i2: int, most: int) -> int:
    """Move o to alternative k2, in front of place i2, timed exactly. The cost change; 0: over `most`, taken back."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m1, i1, k1 = s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE]
    m2 = p.elig_machine[k2]
    shop1, shop2 = p.mach[m1, SHOP], p.mach[m2, SHOP]
    old = place_cost(p, o, k1) + transport_around(p, s, o, shop1)
    begin(j)
    note(p, s, j, o)
    behind = s.seq[m1, i1 + 1] if i1 + 1 < s.length[m1] else -1
    take_out(s, m1, i1)
    if m2 == m1 and i2 > i1:
        i2 -= 1
    put_in(s, m2, i2, o)
    choose(p, s, o, k2)
    s.at[o, END], s.at[o, AVAIL] = -1, -1
    seed(j, o)
    if behind >= 0:
        seed(j, behind)
    if i2 + 1 < s.length[m2]:
        seed(j, s.seq[m2, i2 + 1])
    seed_after(p, s, j, o)
    if propagate(p, s, j, LIMIT):
        delta = changed_cost(p, s, j) + place_cost(p, o, k2) + transport_around(p, s, o, shop2) - old
        if delta <= most:
            return delta
    undo(s, j)
    take_out(s, m2, s.at[o, POS])
    put_in(s, m1, i1, o)
    choose(p, s, o, k1)
    return 0


@inlined
def instead(p: Core, s: Schedule, o: int, k: int, y: int, enough: int) -> int:
    """Cost change of o in y's place by alternative k, without what o and y leave behind elsewhere."""
    m, i = s.at[y, MACHINE], s.at[y, POS]
    shop, ticks = p.mach[m, SHOP], p.elig_ticks[k]
    x = setup_between(p, m, family_before(p, s, m, i), p.ops[o, FAMILY])
    at = max(free_before(p, s, m, i), parts_ready(p, s, o, shop))
    start = earliest(p, o, m, k, at, x, ticks, tail_of(p, k))
    end = start + x + ticks
    avail = freed(p, m, end) if start < NEVER else NEVER
    if avail >= NEVER:
        return INFINITE
    was = p.mach[s.at[o, MACHINE], SHOP]
    cost = place_cost(p, o, k) - place_cost(p, o, s.at[o, CHOICE]) + p.rates[SETUP_COST] * (x - s.at[o, SETUP])
    cost += lateness_cost(p, o, shop, avail) - lateness_cost(p, o, was, s.at[o, AVAIL])
    if len(p.carbon) > 0:
        cost += energy_cost(p, m, start + x, end)
        cost -= energy_cost(p, s.at[o, MACHINE], s.at[o, START] + s.at[o, SETUP], s.at[o, END])
    cost += transport_around(p, s, o, shop) - transport_around(p, s, o, was)
    if p.ops[o, SUCC_LOW] < p.ops[o, SUCC_HIGH]:
        cost += follow_change(p, s, o, shop, avail)
    return cost + walked(p, s, m, i + 1, end, p.ops[o, FAMILY], enough - cost)


@compiled
def exchange(p: Core, s: Schedule, j: Journal, rng: Longs, o: int, most: int, frozen: int) -> int:
    """Try to exchange o with an operation on another machine at a similar time. The change; 0: more than `most`."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m1, i1, k1 = s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE]
    k = p.ops[o, ELIG_LOW] + draw(rng, p.ops[o, ELIG_HIGH] - p.ops[o, ELIG_LOW])
    m2 = p.elig_machine[k]
    if m2 == m1 or s.length[m2] == 0:
        return 0
    i2 = min(place_after(s, m2, s.at[o, START] + draw(rng, 1440) - 864), s.length[m2] - 1)
    y = s.seq[m2, i2]
    if s.at[y, START] < frozen or p.ops[y, PINNED] >= 0:
        return 0
    ky = alternative_on(p, y, m1)
    if ky < 0:
        return 0
    about = instead(p, s, o, k, y, INFINITE)
    if about < INFINITE:
        about += instead(p, s, y, ky, o, most - about)
    if about > most:
        return 0
    k2 = s.at[y, CHOICE]
    shop1, shop2 = p.mach[m1, SHOP], p.mach[m2, SHOP]
    old = (
        place_cost(p, o, k1)
        + place_cost(p, y, k2)
        + transport_around(p, s, o, shop1)
        + transport_around(p, s, y, shop2)
    )
    begin(j)
    note(p, s, j, o)
    note(p, s, j, y)
    s.seq[m1, i1], s.at[y, POS], s.at[y, MACHINE] = y, i1, m1
    s.seq[m2, i2], s.at[o, POS], s.at[o, MACHINE] = o, i2, m2
    choose(p, s, o, k)
    choose(p, s, y, ky)
    s.at[o, END], s.at[o, AVAIL], s.at[y, END], s.at[y, AVAIL] = -1, -1, -1, -1
    seed(j, o)
    seed(j, y)
    if i1 + 1 < s.length[m1]:
        seed(j, s.seq[m1, i1 + 1])
    if i2 + 1 < s.length[m2]:
        seed(j, s.seq[m2, i2 + 1])
    seed_after(p, s, j, o)
    seed_after(p, s, j, y)
    if propagate(p, s, j, LIMIT):
        new = (
            place_cost(p, o, k)
            + place_cost(p, y, ky)
            + transport_around(p, s, o, shop2)
            + transport_around(p, s, y, shop1)
        )
        delta = changed_cost(p, s, j) + new - old
        if s.at[y, START] >= frozen and s.at[o, START] >= frozen and delta <= most:
            return delta
    undo(s, j)
    s.seq[m1, i1], s.at[o, POS], s.at[o, MACHINE] = o, i1, m1
    s.seq[m2, i2], s.at[y, POS], s.at[y, MACHINE] = y, i2, m2
    choose(p, s, o, k1)
    choose(p, s, y, k2)
    return 0


@compiled
def late_ones(p: Core, s: Schedule, frozen: int, late: Ints, movable: Ints) -> tuple[int, int]:
    """Fill `late` with the movable operations that are late or hold up a late one, `movable` with all; both counts."""
    p, s = borrowed(p), borrowed(s)
    few, many = 0, 0
    for o in range(len(p.ops)):
        if s.at[o, POS] < 0 or s.at[o, START] < frozen or p.ops[o, PINNED] >= 0:
            continue
        movable[many] = o
        many += 1
        k = o
        while p.ops[k, SUCC_HIGH] > p.ops[k, SUCC_LOW] and s.at[p.links[p.ops[k, SUCC_LOW]], MACHINE] >= 0:
            k = p.links[p.ops[k, SUCC_LOW]]
        way = p.delivery[p.mach[s.at[k, MACHINE], SHOP], p.ops[k, ZONE]] if p.ops[k, ZONE] >= 0 else 0
        if s.at[k, AVAIL] + way > p.ops[k, DUE]:
            late[few] = o
            few += 1
    return few, many


@compiled
def anneal(
    p: Core,
    s: Schedule,
    j: Journal,
    rng: Longs,
    moves: int,
    hot: float,
    cold: float,
    frozen: int,
    samples: int,
    late: Ints,
    movable: Ints,
) -> tuple[int, int]:
    """`moves` moves, cooling from `hot` to `cold` (costs). Returns the sum of cost changes and the accepted count."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    delta, taken = 0, 0
    few, many = 0, 0
    cooling = math.log(cold / hot)
    temperature = hot
    for move in range(moves):
        if move % REFRESH == 0:
            few, many = late_ones(p, s, frozen, late, movable)
            if many == 0:
                return delta, taken
        if move % 64 == 0:
            temperature = hot * math.exp(cooling * move / moves)
        o = late[draw(rng, few)] if few > 0 and draw(rng, 2) == 0 else movable[draw(rng, many)]
        if s.at[o, START] < frozen:
            continue
        kind = draw(rng, 100)
        most = affordable(rng, temperature)
        if kind < RELOCATE:
            change = relocate(p, s, j, rng, o, most, frozen, samples)
        elif kind < EXCHANGE:
            change = exchange(p, s, j, rng, o, most, frozen)
        else:
            change = shift(p, s, j, rng, o, most, frozen)
        delta += change
        if change != 0:
            taken += 1
    return delta, taken
