"""The instant layer: where does one more operation fit best, exactly.

`insert_best` reads off every machine's queue what each place would cost, pushes of later operations over closing hours
included, then times the best `TOP` of them exactly with all that waits for parts elsewhere, and commits the cheapest.
Quotes and repairs are insertions and removals.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import numpy as np

from scheduler.planning.core import (
    AVAIL,
    CHOICE,
    CURVE,
    EARLIEST,
    ELIG_HIGH,
    ELIG_LOW,
    END,
    FAMILY,
    FREE,
    MACHINE,
    PINNED,
    POS,
    SETUP,
    SETUP_COST,
    SHOP,
    START,
    ZONE,
    Core,
    Schedule,
)
from scheduler.planning.estimating import INFINITE, cost_at
from scheduler.planning.jit import borrowed, compiled
from scheduler.planning.problem import NEVER, Flags, Ints, Longs
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
    guide_cost,
    lateness_cost,
    parts_placed,
    parts_ready,
    place_cost,
    put_in,
    setup_before,
    tail_of,
    take_out,
    transport_around,
)

#: How many of the estimated places may be timed exactly.
TOP = 4
#: Steps of re-timing after which a place is refused.
LIMIT = 20_000


@compiled
def _likely_places(
    p: Core, s: Schedule, o: int, frozen: int, not_before: int, shut: Flags, inside: int, found: Longs
) -> None:
    """Keep the `TOP` cheapest estimates in `found`: rows of cost, alternative and place, cheapest first.

    Args:
        inside: 0 looks at the ends of queues, 1 at places in front of others.
    """
    p, s = borrowed(p), borrowed(s)
    for k in range(p.ops[o, ELIG_LOW], p.ops[o, ELIG_HIGH]):
        m = p.elig_machine[k]
        if shut[m] or s.length[m] >= s.seq.shape[1] - 1:
            continue
        shop = p.mach[m, SHOP]
        ready = max(parts_ready(p, s, o, shop), not_before)
        base = place_cost(p, o, k) + transport_around(p, s, o, shop)
        # Inside a queue with a carbon curve, what is pushed may become cheaper.
        final = not inside or len(p.carbon) == 0 or p.mach[m, CURVE] < 0
        if final and base + lateness_cost(p, o, shop, ready + p.elig_ticks[k]) >= found[TOP - 1, 0]:
            continue
        i = s.length[m] - inside
        while i >= 0:
            if inside:
                before = s.seq[m, i]
                # Strict: never before one that ends when its own parts arrive (a tie makes a circle).
                if s.at[before, START] < frozen or p.ops[before, PINNED] == 0 or s.at[before, END] <= ready:
                    break
            value = cost_at(p, s, o, k, i, ready, base, found[TOP - 1, 0])
            if value < found[TOP - 1, 0]:
                z = TOP - 1
                while z > 0 and found[z - 1, 0] > value:
                    found[z, 0], found[z, 1], found[z, 2] = found[z - 1, 0], found[z - 1, 1], found[z - 1, 2]
                    z -= 1
                found[z, 0], found[z, 1], found[z, 2] = value, k, i
            if not inside:
                break
            i -= 1


@compiled
def insert_best(
    p: Core, s: Schedule, j: Journal, o: int, frozen: int, not_before: int, shut: Flags, commit: bool
) -> int:
    """Cheapest place of an unplaced operation, committed or only found.

    Args:
        frozen: nothing that starts before this tick may be pushed, nor anything be put before it.
        not_before: the operation itself starts no earlier.
        shut: (m) 1 for machines that take nothing new.

    Returns:
        The cost it adds in hundredths of a weight-minute; INFINITE where it fits nowhere, and where something that it
        waits for has no place itself. With `commit` it is placed;
        without, `j.seeds[0:2]` hold (k, place) and the start and avail ticks are in `j.seeds[2:4]`.
    """
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    if not parts_placed(p, s, o):
        return INFINITE
    found = np.full((TOP, 3), -1, np.int64)
    found[:, 0] = INFINITE
    # The ends of the queues first: they take little time, and what is dearer need not be looked at any more.
    for inside in range(2):
        _likely_places(p, s, o, frozen, not_before, shut, inside, found)
    best, best_k, best_i, best_start, best_avail = INFINITE, -1, -1, 0, 0
    stays = False
    saved = p.ops[o, EARLIEST]
    p.ops[o, EARLIEST] = max(saved, not_before)
    for z in range(TOP):
        # Estimates are mostly exact: what costs no more than the next estimate is the best place.
        if found[z, 1] < 0 or best <= found[z, 0]:
            break
        if stays:
            _take_back(s, j, o)
        value = _try(p, s, j, o, found[z, 1], found[z, 2])
        stays = value < best
        if stays:
            best, best_k, best_i = value, found[z, 1], found[z, 2]
            best_start, best_avail = s.at[o, START], s.at[o, AVAIL]
        else:
            _take_back(s, j, o)
    if stays and not commit:
        _take_back(s, j, o)
    elif commit and best_k >= 0 and not stays:
        _try(p, s, j, o, best_k, best_i)
    p.ops[o, EARLIEST] = saved
    if not commit:
        j.seeds[0], j.seeds[1], j.seeds[2], j.seeds[3] = best_k - p.ops[o, ELIG_LOW], best_i, best_start, best_avail
    return best


@compiled
def _try(p: Core, s: Schedule, j: Journal, o: int, k: int, i: int) -> int:
    """Put the operation there and re-time; the cost added, INFINITE where it cannot be."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m = p.elig_machine[k]
    begin(j)
    note(p, s, j, o)
    choose(p, s, o, k)
    put_in(s, m, i, o)
    s.at[o, END] = -1
    s.at[o, AVAIL] = -1
    seed(j, o)
    if i + 1 < s.length[m]:
        seed(j, s.seq[m, i + 1])
    seed_after(p, s, j, o)
    if not propagate(p, s, j, LIMIT):
        return INFINITE
    shop = p.mach[m, SHOP]
    return (
        changed_cost(p, s, j)
        + place_cost(p, o, k)
        + transport_around(p, s, o, shop)
        + guide_cost(p, s, o, s.at[o, AVAIL])
    )


@compiled
def _take_back(s: Schedule, j: Journal, o: int) -> None:
    s, j = borrowed(s), borrowed(j)
    undo(s, j)
    take_out(s, s.at[o, MACHINE], s.at[o, POS])
    s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE] = -1, -1, -1


@compiled
def remove(p: Core, s: Schedule, j: Journal, o: int) -> bool:
    """Take a placed operation out and let those behind it move up. False: not all of them could be timed."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    m, i = s.at[o, MACHINE], s.at[o, POS]
    begin(j)
    take_out(s, m, i)
    s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE] = -1, -1, -1
    if i < s.length[m]:
        seed(j, s.seq[m, i])
    seed_after(p, s, j, o)
    return propagate(p, s, j, 50 * LIMIT)


@compiled
def append_all(p: Core, s: Schedule, order: Ints) -> int:
    """Every operation in the order given, each at the end of the machine where it costs least. Returns how many fit."""
    p, s = borrowed(p), borrowed(s)
    placed = 0
    for o in order:
        if s.at[o, MACHINE] >= 0 or not parts_placed(p, s, o):
            continue
        best, best_k, best_start, best_avail, best_setup = INFINITE, -1, 0, 0, 0
        for k in range(p.ops[o, ELIG_LOW], p.ops[o, ELIG_HIGH]):
            m = p.elig_machine[k]
            shop = p.mach[m, SHOP]
            i = s.length[m]
            if i >= s.seq.shape[1] - 1:
                continue
            t = p.mach[m, FREE] if i == 0 else max(p.mach[m, FREE], s.at[s.seq[m, i - 1], END])
            t = max(t, parts_ready(p, s, o, shop))
            x = setup_before(p, s, m, i, p.ops[o, FAMILY])
            start = earliest(p, o, m, k, t, x, p.elig_ticks[k], tail_of(p, k))
            if start >= NEVER:
                continue
            avail = freed(p, m, start + x + p.elig_ticks[k])
            if avail >= NEVER:
                continue
            # Later is dearer even before the due date, and so are machine minutes: both leave room for others.
            way = p.delivery[shop, p.ops[o, ZONE]] if p.ops[o, ZONE] >= 0 else 0
            value = 100 * (avail + way) + 25 * (x + p.elig_ticks[k]) + p.rates[SETUP_COST] * x + place_cost(p, o, k)
            value += transport_around(p, s, o, shop) + energy_cost(p, m, start + x, start + x + p.elig_ticks[k])
            if value < best:
                best, best_k, best_start, best_avail, best_setup = value, k, start, avail, x
        if best_k < 0:
            continue
        m = p.elig_machine[best_k]
        choose(p, s, o, best_k)
        put_in(s, m, s.length[m], o)
        s.at[o, START], s.at[o, AVAIL], s.at[o, SETUP] = best_start, best_avail, best_setup
        s.at[o, END] = best_start + best_setup + p.elig_ticks[best_k]
        placed += 1
    return placed


@compiled
def insert_all(p: Core, s: Schedule, j: Journal, order: Ints, frozen: int, shut: Flags) -> int:
    """Every unplaced operation in the order given by `insert_best`. Returns how many were placed."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    placed = 0
    for o in order:
        if s.at[o, MACHINE] < 0 and insert_best(p, s, j, o, frozen, 0, shut, True) < INFINITE:
            placed += 1
    return placed
