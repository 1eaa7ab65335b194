"""Heads, tails and queues of a flexible shop: what changes when one operation goes elsewhere, and what that would cost.

A head is the earliest start of an operation, a tail the longest way from its end to the end of the plan. A topological
order is kept through all moves, so that only what lies behind a change (heads) or before it (tails) is computed again.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Longs

#: Columns of an operation's row: neighbours in its job and on its machine (-1: none), machine, duration, head, tail.
BEFORE, AFTER, AHEAD, BEHIND, ON, TICKS, HEAD, TAIL = range(8)
COLUMNS = 8


@compiled
def gap(setup: Longs | None, m: int, a: int, b: int) -> int:
    """Setup on machine m between two operations in a row. Without setups this compiles to nothing."""
    if setup is None:
        return 0
    return setup[m, a, b]


@inlined
def released(ops: Longs, v: int) -> int:
    """When v's job lets it start."""
    b = ops[v, BEFORE]
    return ops[b, HEAD] + ops[b, TICKS] if b >= 0 else 0


@inlined
def remaining(ops: Longs, v: int) -> int:
    """The longest way from v's end through its job."""
    a = ops[v, AFTER]
    return ops[a, TAIL] + ops[a, TICKS] if a >= 0 else 0


@inlined
def unlink(ops: Longs, first: Longs, v: int) -> None:
    """Take v out of its machine's queue."""
    a, b = ops[v, AHEAD], ops[v, BEHIND]
    if a >= 0:
        ops[a, BEHIND] = b
    else:
        first[ops[v, ON]] = b
    if b >= 0:
        ops[b, AHEAD] = a


@inlined
def link(ops: Longs, first: Longs, v: int, m: int, u: int) -> None:
    """Put v on machine m behind u (-1: first)."""
    w = first[m] if u < 0 else ops[u, BEHIND]
    ops[v, ON], ops[v, AHEAD], ops[v, BEHIND] = m, u, w
    if u < 0:
        first[m] = v
    else:
        ops[u, BEHIND] = v
    if w >= 0:
        ops[w, AHEAD] = v


@compiled
def retime(ops: Longs, order: Longs, setup: Longs | None, low: int, high: int) -> int:
    """Heads from place `low` of the order on, tails from place `high` down. The makespan."""
    n = len(order)
    for i in range(low, n):
        o = order[i]
        h = released(ops, o)
        a = ops[o, AHEAD]
        if a >= 0:
            h = max(h, ops[a, HEAD] + ops[a, TICKS] + gap(setup, ops[o, ON], a, o))
        ops[o, HEAD] = h
    makespan = 0
    for i in range(high, -1, -1):
        o = order[i]
        t = remaining(ops, o)
        b = ops[o, BEHIND]
        if b >= 0:
            t = max(t, ops[b, TAIL] + ops[b, TICKS] + gap(setup, ops[o, ON], o, b))
        ops[o, TAIL] = t
    for o in range(n):
        if ops[o, AFTER] < 0:
            makespan = max(makespan, ops[o, HEAD] + ops[o, TICKS])
    return makespan


@compiled
def resort(ops: Longs, order: Longs, place: Longs, spare: Longs, v: int) -> int:
    """Mend the order after v was linked elsewhere (Pearce and Kelly, Journal of Experimental Algorithmics 11, 2006).

    Returns the lowest place that changed (v's, where none did), or -1 where v now waits for itself; then nothing has
    changed. `spare`: 2 n numbers; the highest place that changed is left in the first.
    """
    n = len(order)
    u, w = ops[v, AHEAD], ops[v, BEHIND]
    here = place[v]
    if u >= 0 and place[u] > here:
        low, high = here, place[u]
        # What v leads to goes behind u; what else lies between keeps its order before that.
        for i in range(low, high + 1):
            x = order[i]
            a, b = ops[x, BEFORE], ops[x, AHEAD]
            led = x == v
            led = led or (a >= 0 and low <= place[a] < i and spare[n + a] == 1)
            led = led or (b >= 0 and low <= place[b] < i and spare[n + b] == 1)
            spare[n + x] = 1 if led else 0
        if spare[n + u] == 1:
            return -1
        ahead = 0
    elif w >= 0 and place[w] < here:
        low, high = place[w], here
        for i in range(high, low - 1, -1):
            x = order[i]
            a, b = ops[x, AFTER], ops[x, BEHIND]
            leads = x == v
            leads = leads or (a >= 0 and i < place[a] <= high and spare[n + a] == 1)
            leads = leads or (b >= 0 and i < place[b] <= high and spare[n + b] == 1)
            spare[n + x] = 1 if leads else 0
        if spare[n + w] == 1:
            return -1
        ahead = 1
    else:
        spare[0] = here
        return here
    count = 0
    for mark in (ahead, 1 - ahead):
        for i in range(low, high + 1):
            if spare[n + order[i]] == mark:
                spare[count] = order[i]
                count += 1
    for i in range(count):
        order[low + i] = spare[i]
        place[spare[i]] = low + i
    spare[0] = high
    return low


@compiled
def between_estimate(ops: Longs, setup: Longs | None, v: int, m: int, d: int, u: int, w: int) -> int:
    """The longest way through v when it goes to another machine m, for d, between u and w (-1: the queue's end)."""
    h, t = released(ops, v), remaining(ops, v)
    if u >= 0:
        h = max(h, ops[u, HEAD] + ops[u, TICKS] + gap(setup, m, u, v))
    if w >= 0:
        t = max(t, ops[w, TAIL] + ops[w, TICKS] + gap(setup, m, v, w))
    return h + d + t


@compiled
def row_estimate(ops: Longs, setup: Longs | None, row: Longs, count: int, u: int, w: int, heads: Longs) -> int:
    """The longest way through operations of one machine when they follow each other as in `row`, between u and w.

    After Balas and Vazacopoulos (Management Science 44, 1998), for any order of the row.
    """
    m = ops[row[0], ON]
    before = u
    free = ops[u, HEAD] + ops[u, TICKS] if u >= 0 else 0
    for i in range(count):
        x = row[i]
        if before >= 0:
            free += gap(setup, m, before, x)
        heads[i] = max(free, released(ops, x))
        free = heads[i] + ops[x, TICKS]
        before = x
    behind, worst = w, 0
    rest = ops[w, TAIL] + ops[w, TICKS] if w >= 0 else 0
    for i in range(count - 1, -1, -1):
        x = row[i]
        if behind >= 0:
            rest += gap(setup, m, x, behind)
        rest = max(rest, remaining(ops, x)) + ops[x, TICKS]
        worst = max(worst, heads[i] + rest)
        behind = x
    return worst
