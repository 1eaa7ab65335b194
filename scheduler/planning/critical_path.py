"""Heads, tails and queues of a flexible shop as linked lists, and what moving one operation would come to.

A head is the earliest start, a tail the longest way from an operation's end to the end of the plan.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Longs


@compiled
def evaluate(jp: Longs, js: Longs, mp: Longs, ms: Longs, dur: Longs, head: Longs, tail: Longs, order: Longs) -> int:
    """Heads, tails and a topological order from the neighbours in job and machine. The makespan; -1 for a circle."""
    n = len(jp)
    first, last = 0, 0
    for o in range(n):
        head[o] = (1 if jp[o] >= 0 else 0) + (1 if mp[o] >= 0 else 0)
        if head[o] == 0:
            order[last] = o
            last += 1
    waits = tail
    for o in range(n):
        waits[o] = head[o]
        head[o] = 0
    makespan = 0
    while first < last:
        o = order[first]
        first += 1
        end = head[o] + dur[o]
        makespan = max(makespan, end)
        for y in (js[o], ms[o]):
            if y >= 0:
                head[y] = max(head[y], end)
                waits[y] -= 1
                if waits[y] == 0:
                    order[last] = y
                    last += 1
    if last < n:
        return -1
    for i in range(n - 1, -1, -1):
        o = order[i]
        t = 0
        if js[o] >= 0:
            t = tail[js[o]] + dur[js[o]]
        if ms[o] >= 0:
            t = max(t, tail[ms[o]] + dur[ms[o]])
        tail[o] = t
    return makespan


@inlined
def unlink(v: int, first: Longs, on: Longs, mp: Longs, ms: Longs) -> None:
    """Take v out of its machine's queue."""
    if mp[v] >= 0:
        ms[mp[v]] = ms[v]
    else:
        first[on[v]] = ms[v]
    if ms[v] >= 0:
        mp[ms[v]] = mp[v]


@inlined
def link(v: int, m: int, u: int, first: Longs, on: Longs, mp: Longs, ms: Longs) -> None:
    """Put v on machine m behind u (-1: first)."""
    on[v] = m
    mp[v] = u
    w = first[m] if u < 0 else ms[u]
    ms[v] = w
    if u < 0:
        first[m] = v
    else:
        ms[u] = v
    if w >= 0:
        mp[w] = v


@compiled
def behind_estimate(
    v: int,
    u: int,
    jp: Longs,
    js: Longs,
    mp: Longs,
    ms: Longs,
    dur: Longs,
    head: Longs,
    tail: Longs,
    hs: Longs,
    qs: Longs,
) -> int:
    """Makespan through the operations moved when v goes behind u, further back on its machine."""
    free = head[mp[v]] + dur[mp[v]] if mp[v] >= 0 else 0
    x = ms[v]
    while True:
        h = free
        if jp[x] >= 0:
            h = max(h, head[jp[x]] + dur[jp[x]])
        hs[x] = h
        free = h + dur[x]
        if x == u:
            break
        x = ms[x]
    h = free
    if jp[v] >= 0:
        h = max(h, head[jp[v]] + dur[jp[v]])
    q = tail[js[v]] + dur[js[v]] if js[v] >= 0 else 0
    if ms[u] >= 0:
        q = max(q, tail[ms[u]] + dur[ms[u]])
    worst = h + dur[v] + q
    rest = q + dur[v]
    x = u
    while x != v:
        q = rest
        if js[x] >= 0:
            q = max(q, tail[js[x]] + dur[js[x]])
        worst = max(worst, hs[x] + dur[x] + q)
        rest = q + dur[x]
        x = mp[x]
    return worst


@compiled
def before_estimate(
    v: int,
    w: int,
    jp: Longs,
    js: Longs,
    mp: Longs,
    ms: Longs,
    dur: Longs,
    head: Longs,
    tail: Longs,
    hs: Longs,
    qs: Longs,
) -> int:
    """Makespan through the operations moved when v goes before w, further ahead on its machine."""
    rest = tail[ms[v]] + dur[ms[v]] if ms[v] >= 0 else 0
    x = mp[v]
    while True:
        q = rest
        if js[x] >= 0:
            q = max(q, tail[js[x]] + dur[js[x]])
        qs[x] = q
        rest = q + dur[x]
        if x == w:
            break
        x = mp[x]
    q = rest
    if js[v] >= 0:
        q = max(q, tail[js[v]] + dur[js[v]])
    h = head[jp[v]] + dur[jp[v]] if jp[v] >= 0 else 0
    if mp[w] >= 0:
        h = max(h, head[mp[w]] + dur[mp[w]])
    worst = h + dur[v] + q
    free = h + dur[v]
    x = w
    while x != v:
        h = free
        if jp[x] >= 0:
            h = max(h, head[jp[x]] + dur[jp[x]])
        worst = max(worst, h + dur[x] + qs[x])
        free = h + dur[x]
        x = ms[x]
    return worst
