"""The compiled pass that delays starts until circuits and people's time hold: one operation after the other settles.

What is busy when is written down tick by tick, so that a look-up costs the ticks it asks for, however much is booked.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import Final, NamedTuple

from scheduler.planning.core import (
    ATTENDED,
    AVAIL,
    CLEARED,
    EARLIEST,
    END,
    FENCE,
    LOAD,
    MACHINE,
    PINNED,
    POS,
    SETUP,
    SINCE,
    STAFF,
    START,
    UNLOAD,
    Core,
    Schedule,
)
from scheduler.planning.jit import borrowed, compiled, inlined
from scheduler.planning.problem import NEVER, Ints, Longs
from scheduler.planning.timing import next_fit, parts_placed, put_in, take_out, time_one

# Columns of `Resources.people`.
PEOPLE, GIVEN, SPENT, SINCE_MONDAY, WEEK = range(5)
#: In `Booked.first`: not timed at all (it has no place, or its parts have none), or put behind fixed work.
NOT_TIMED: Final = -1
ELSEWHERE: Final = -2


class Resources(NamedTuple):
    """What machines share, by rows."""

    crew: Longs
    """(m) row of `people`; -1: nobody counts them."""
    circuit: Longs
    """(m) row of `limit`; -1: none that can bind."""
    power: Longs
    """(m) milliwatts."""
    people: Longs
    """(crews, 5): people, ticks given a week, spent of the epoch's week, since its Monday, in a week."""
    limit: Longs
    """(circuits) milliwatts."""
    horizon: Longs
    """(1) nobody starts or takes out anything after this tick."""


class Booked(NamedTuple):
    """What is taken while operations settle. Only rows that settle in one pass have a line here."""

    crew_line: Longs
    """(crews) line of `busy` and `used`."""
    circuit_line: Longs
    """(circuits) line of `drawn`."""
    busy: Ints
    """(lines, ticks) people at work."""
    used: Longs
    """(lines, weeks + 1) ticks of people's time; the last column is for whatever is later."""
    drawn: Longs
    """(lines, ticks) milliwatts."""
    settled: Ints
    """(n) 1 for what has settled."""
    first: Longs
    """(n) where the operation would start were nothing shared but what it waits for delayed; or one of the above."""


@inlined
def book(r: Resources, b: Booked, c: int, start: int, ticks: int, people: int) -> None:
    """So many people of a crew come (or with -1 do not come after all)."""
    if ticks > 0:
        line = b.crew_line[c]
        for t in range(max(0, start), min(start + ticks, b.busy.shape[1])):
            b.busy[line, t] += people
        week = (start + r.people[c, SINCE_MONDAY]) // r.people[c, WEEK]
        b.used[line, min(week, b.used.shape[1] - 1)] += people * ticks


@inlined
def somebody(p: Core, r: Resources, b: Booked, m: int, at: int, ticks: int) -> int:
    """The earliest t ≥ at from which somebody is in and free for so many ticks; NEVER where nobody ever is."""
    c, staff = r.crew[m], p.mach[m, STAFF]
    line, horizon = b.crew_line[c], r.horizon[0]
    while at <= horizon:
        if staff >= 0:
            at = next_fit(p, staff, at, ticks)
        if ticks == 0 or at > horizon:
            break
        if r.people[c, PEOPLE] <= 0:
            return NEVER
        week = (at + r.people[c, SINCE_MONDAY]) // r.people[c, WEEK]
        left = r.people[c, GIVEN] - (r.people[c, SPENT] if week == 0 else 0)
        if b.used[line, week] + ticks > left:
            at = (week + 1) * r.people[c, WEEK] - r.people[c, SINCE_MONDAY]
            continue
        t = min(at + ticks, b.busy.shape[1]) - 1
        while t >= at and b.busy[line, t] < r.people[c, PEOPLE]:
            t -= 1
        if t < at:
            return at
        at = t + 1
    return at if at <= horizon else NEVER


@inlined
def carried_from(s: Schedule, r: Resources, b: Booked, o: int) -> int:
    """When its circuit may carry it; NEVER where that is beyond what is written down."""
    m, start, end = s.at[o, MACHINE], s.at[o, START], s.at[o, END]
    c = r.circuit[m]
    if c < 0:
        return start
    if end > b.drawn.shape[1]:
        return NEVER
    line, room = b.circuit_line[c], r.limit[c] - r.power[m]
    t = end - 1
    while t >= start and b.drawn[line, t] <= room:
        t -= 1
    return start if t < start else t + 1


@inlined
def draw(s: Schedule, r: Resources, b: Booked, o: int) -> None:
    """It draws its power from its circuit."""
    m = s.at[o, MACHINE]
    c = r.circuit[m]
    if c >= 0:
        for t in range(max(0, s.at[o, START]), min(s.at[o, END], b.drawn.shape[1])):
            b.drawn[b.circuit_line[c], t] += r.power[m]


@inlined
def arrives(p: Core, s: Schedule, o: int) -> tuple[int, int]:
    """From when and for how many ticks somebody loads it, or stays with it; see `people.arrival`."""
    m, start = s.at[o, MACHINE], s.at[o, START]
    fixed = p.ops[o, PINNED] >= 0
    if p.mach[m, ATTENDED]:
        if fixed:
            start = max(start, p.rates[FENCE])
        return start, max(0, s.at[o, END] + p.mach[m, UNLOAD] - start)
    if fixed and start <= p.rates[FENCE]:
        return start, 0
    return start, max(s.at[o, SETUP], p.mach[m, LOAD])


@inlined
def helped_from(p: Core, s: Schedule, r: Resources, b: Booked, o: int) -> int:
    """When somebody has cleared the machine and is free to load it, or to stay with it."""
    m, before = s.at[o, MACHINE], s.at[o, POS] - 1
    if r.crew[m] < 0:
        return 0
    start, ticks = arrives(p, s, o)
    if before >= 0:
        start = max(start, s.at[s.seq[m, before], AVAIL])
    return somebody(p, r, b, m, start, ticks)


@inlined
def take(p: Core, s: Schedule, r: Resources, b: Booked, o: int) -> bool:
    """Somebody starts it, and takes the part out as soon as one of them is in and free. False: nobody ever is."""
    m, end = s.at[o, MACHINE], s.at[o, END]
    if r.crew[m] < 0:
        return True
    unload = p.mach[m, UNLOAD]
    start, ticks = arrives(p, s, o)
    book(r, b, r.crew[m], start, ticks, 1)
    cleared = end + unload
    if not p.mach[m, ATTENDED]:
        out = somebody(p, r, b, m, max(end, p.rates[FENCE]), unload)
        if out >= NEVER:
            if p.ops[o, PINNED] < 0:
                book(r, b, r.crew[m], start, ticks, -1)
            return False
        book(r, b, r.crew[m], out, unload, 1)
        cleared = out + unload
    p.ops[o, CLEARED] = cleared
    s.at[o, AVAIL] = cleared
    return True


@inlined
def give_back(p: Core, s: Schedule, r: Resources, b: Booked, o: int) -> None:
    """Nobody comes after all."""
    m = s.at[o, MACHINE]
    if r.crew[m] >= 0:
        start, ticks = arrives(p, s, o)
        book(r, b, r.crew[m], start, ticks, -1)
        if not p.mach[m, ATTENDED]:
            book(r, b, r.crew[m], s.at[o, AVAIL] - p.mach[m, UNLOAD], p.mach[m, UNLOAD], -1)


@inlined
def next_pin(p: Core, s: Schedule, o: int) -> int:
    """The next fixed operation behind it in its queue; -1 for none."""
    m = s.at[o, MACHINE]
    for i in range(s.at[o, POS] + 1, s.length[m]):
        if p.ops[s.seq[m, i], PINNED] >= 0:
            return s.seq[m, i]
    return -1


@inlined
def put_behind(p: Core, s: Schedule, b: Booked, o: int, pin: int) -> None:
    """Behind fixed work, and behind whatever settled there before."""
    m = s.at[o, MACHINE]
    take_out(s, m, s.at[o, POS])
    place = s.at[pin, POS] + 1
    for i in range(place, s.length[m]):
        if b.settled[s.seq[m, i]] and p.ops[s.seq[m, i], PINNED] < 0:
            place = i + 1
    put_in(s, m, place, o)


@compiled
def settle(p: Core, s: Schedule, r: Resources, b: Booked, o: int) -> bool:
    """The first start from which everything shared carries it and it ends before fixed work; False: none."""
    p, s, r, b = borrowed(p), borrowed(s), borrowed(r), borrowed(b)
    m = s.at[o, MACHINE]
    while True:
        p.ops[o, CLEARED] = 0
        s.at[o, START], s.at[o, END], s.at[o, AVAIL], s.at[o, SETUP] = time_one(p, s, o)
        if s.at[o, AVAIL] >= NEVER:
            return False
        if b.first[o] == NOT_TIMED:
            b.first[o] = s.at[o, START]
        later = max(carried_from(s, r, b, o), helped_from(p, s, r, b, o))
        if later >= NEVER:
            return False
        if later > s.at[o, START]:
            p.ops[o, EARLIEST] = later
            continue
        if not take(p, s, r, b, o):
            return False
        pin = next_pin(p, s, o)
        ends = s.at[o, AVAIL] if r.crew[m] >= 0 else s.at[o, END]
        if pin < 0 or ends <= p.ops[pin, PINNED]:
            draw(s, r, b, o)
            return True
        give_back(p, s, r, b, o)
        b.first[o] = ELSEWHERE
        put_behind(p, s, b, o, pin)


@compiled
def settle_all(p: Core, s: Schedule, r: Resources, b: Booked, order: Longs) -> int:
    """Settle these rows one after the other; what fits nowhere goes out. Returns how many start later than before."""
    p, s, r, b = borrowed(p), borrowed(s), borrowed(r), borrowed(b)
    delayed = 0
    for o in order:
        b.first[o] = NOT_TIMED
        if p.ops[o, PINNED] >= 0:
            take(p, s, r, b, o)
            draw(s, r, b, o)
            b.settled[o] = 1
            continue
        before, earliest = s.at[o, START], p.ops[o, EARLIEST]
        if parts_placed(p, s, o) and settle(p, s, r, b, o):
            b.settled[o] = 1
            delayed += s.at[o, START] > before
            continue
        take_out(s, s.at[o, MACHINE], s.at[o, POS])
        s.at[o, MACHINE], s.at[o, POS] = -1, -1
        p.ops[o, EARLIEST], p.ops[o, CLEARED] = earliest, 0
    return delayed


@compiled
def starts_otherwise(p: Core, s: Schedule, o: int, first: int) -> bool:
    """Whether an operation that settled would begin to look for its start elsewhere than `first`, or not at all."""
    p, s = borrowed(p), borrowed(s)
    if first < 0 or s.at[o, MACHINE] < 0 or not parts_placed(p, s, o):
        return True
    earliest, cleared = p.ops[o, EARLIEST], p.ops[o, CLEARED]
    p.ops[o, EARLIEST], p.ops[o, CLEARED] = p.ops[o, SINCE], 0
    start, _, avail, _ = time_one(p, s, o)
    p.ops[o, EARLIEST], p.ops[o, CLEARED] = earliest, cleared
    return start != first or avail >= NEVER
