"""Shortest plans of flexible job shops: annealing finds the valley, tabu search over critical operations its floor.

Tabu search with heads and tails: the insertion neighbourhood of Mastrolilli and Gambardella (Journal of Scheduling 3,
2000), moves on the same machine estimated as by Balas and Vazacopoulos (Management Science 44, 1998).
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from scheduler.planning.critical_path import before_estimate, behind_estimate, evaluate, link, unlink
from scheduler.planning.flexible_shop import FlexibleShop, ShopPlan, greedy_queues, least_makespan
from scheduler.planning.jit import compiled
from scheduler.planning.problem import Ints, Longs
from scheduler.planning.search import draw

FAR = 1 << 40
#: Iterations without a new best after which the search returns to the best and shakes it.
PATIENCE = 4_000
#: Moves of the first turn of either search, and how many more every later turn has.
FIRST_BATCH, ANNEALED, SEARCHED = 5_000, 200_000, 60_000


@compiled
def tabu(  # noqa: C901 - one pass over the neighbourhood, unrolled for the compiler
    jp: Longs,
    js: Longs,
    ptr: Longs,
    em: Longs,
    et: Longs,
    machines: int,
    first: Longs,
    on: Longs,
    mp: Longs,
    ms: Longs,
    dur: Longs,
    best_first: Longs,
    best_on: Longs,
    best_mp: Longs,
    best_ms: Longs,
    best_dur: Longs,
    forbidden: Ints,
    rng: Longs,
    clock: Longs,
    iterations: int,
    best: int,
    goal: int,
) -> int:
    """So many iterations from the current queues; the best queues are kept apart. `clock`: iteration, last new best."""
    n = len(jp)
    head, tail, order = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    hs, qs = np.empty(n, np.int64), np.empty(n, np.int64)
    current = evaluate(jp, js, mp, ms, dur, head, tail, order)
    for _ in range(iterations):
        if best <= goal:
            break
        clock[0] += 1
        now = clock[0]
        value, count = FAR, 0
        mv, mm, mu, mt = -1, -1, -1, 0
        spare, sv, sm, su, st = 0, -1, -1, -1, 0
        for v in range(n):
            if head[v] + dur[v] + tail[v] != current:
                continue
            released = head[jp[v]] if jp[v] >= 0 else -1
            due = head[js[v]] + dur[js[v]] if js[v] >= 0 else FAR
            ready = head[jp[v]] + dur[jp[v]] if jp[v] >= 0 else 0
            rest = tail[js[v]] + dur[js[v]] if js[v] >= 0 else 0
            for k in range(ptr[v], ptr[v + 1]):
                m, d = em[k], et[k]
                same = m == on[v]
                if same:
                    # Behind later ones, as far as no path leads from v's job successor to them.
                    u = ms[v]
                    while u >= 0 and head[u] < due:
                        estimate = behind_estimate(v, u, jp, js, mp, ms, dur, head, tail, hs, qs)
                        banned = forbidden[u, v] > now and estimate >= best
                        if banned:
                            spare += 1
                            if draw(rng, spare) == 0:
                                sv, sm, su, st = v, m, u, d
                        elif estimate < value or (estimate == value and draw(rng, count + 1) == 0):
                            count = count + 1 if estimate == value else 1
                            value, mv, mm, mu, mt = estimate, v, m, u, d
                        u = ms[u]
                    w = mp[v]
                    while w >= 0 and head[w] + dur[w] > released:
                        estimate = before_estimate(v, w, jp, js, mp, ms, dur, head, tail, hs, qs)
                        banned = forbidden[v, w] > now and estimate >= best
                        if banned:
                            spare += 1
                            if draw(rng, spare) == 0:
                                sv, sm, su, st = v, m, mp[w], d
                        elif estimate < value or (estimate == value and draw(rng, count + 1) == 0):
                            count = count + 1 if estimate == value else 1
                            value, mv, mm, mu, mt = estimate, v, m, mp[w], d
                        w = mp[w]
                    continue
                u, w = -1, first[m]
                while True:
                    # Between u and w: no path may lead from w to v's job predecessor, nor from its successor to u.
                    if u >= 0 and head[u] >= due:
                        break
                    if w < 0 or head[w] + dur[w] > released:
                        begin = max(ready, head[u] + dur[u]) if u >= 0 else ready
                        end = max(rest, tail[w] + dur[w]) if w >= 0 else rest
                        estimate = begin + d + end
                        banned = forbidden[v, n + m] > now and estimate >= best
                        if banned:
                            spare += 1
                            if draw(rng, spare) == 0:
                                sv, sm, su, st = v, m, u, d
                        elif estimate < value or (estimate == value and draw(rng, count + 1) == 0):
                            count = count + 1 if estimate == value else 1
                            value, mv, mm, mu, mt = estimate, v, m, u, d
                    if w < 0:
                        break
                    u, w = w, ms[w]
        if mv < 0:
            if sv < 0:
                break
            mv, mm, mu, mt = sv, sm, su, st
        tenure = 8 + draw(rng, 10) + n // 25
        if mm == on[mv]:
            # The orders that existed may not come back for a while.
            x = ms[mv]
            if mu >= 0 and head[mu] > head[mv]:
                while True:
                    forbidden[mv, x] = now + tenure
                    if x == mu:
                        break
                    x = ms[x]
            else:
                x = mp[mv]
                while x >= 0 and x != mu:
                    forbidden[x, mv] = now + tenure
                    x = mp[x]
        else:
            forbidden[mv, n + on[mv]] = now + tenure
        unlink(mv, first, on, mp, ms)
        link(mv, mm, mu, first, on, mp, ms)
        dur[mv] = mt
        current = evaluate(jp, js, mp, ms, dur, head, tail, order)
        stuck = now - clock[1] > PATIENCE
        if current >= 0 and current < best:
            best = current
            clock[1] = now
            best_first[:], best_on[:], best_mp[:], best_ms[:], best_dur[:] = first, on, mp, ms, dur
        elif current < 0 or stuck:
            first[:], on[:], mp[:], ms[:], dur[:] = best_first, best_on, best_mp, best_ms, best_dur
            clock[1] = now
            current = evaluate(jp, js, mp, ms, dur, head, tail, order)
            for _ in range(4 + draw(rng, 12) if stuck else 0):
                current = shake(jp, js, ptr, em, et, first, on, mp, ms, dur, head, tail, order, rng)
    return best


@compiled
def shake(
    jp: Longs,
    js: Longs,
    ptr: Longs,
    em: Longs,
    et: Longs,
    first: Longs,
    on: Longs,
    mp: Longs,
    ms: Longs,
    dur: Longs,
    head: Longs,
    tail: Longs,
    order: Longs,
    rng: Longs,
) -> int:
    """Move a random operation to a random possible place. The new makespan."""
    v = draw(rng, len(jp))
    k = ptr[v] + draw(rng, ptr[v + 1] - ptr[v])
    released = head[jp[v]] if jp[v] >= 0 else -1
    due = head[js[v]] + dur[js[v]] if js[v] >= 0 else FAR
    chosen, count = -2, 0
    u, w = -1, first[em[k]]
    while True:
        if w == v:
            w = ms[w]
        if u >= 0 and head[u] >= due:
            break
        if w < 0 or head[w] + dur[w] > released:
            count += 1
            if draw(rng, count) == 0:
                chosen = u
        if w < 0:
            break
        u, w = w, ms[w]
    if chosen > -2:
        unlink(v, first, on, mp, ms)
        link(v, em[k], chosen, first, on, mp, ms)
        dur[v] = et[k]
    return evaluate(jp, js, mp, ms, dur, head, tail, order)


@compiled
def cool(  # noqa: C901 - one loop of moves, unrolled for the compiler
    jp: Longs,
    js: Longs,
    ptr: Longs,
    em: Longs,
    et: Longs,
    first: Longs,
    on: Longs,
    mp: Longs,
    ms: Longs,
    dur: Longs,
    best_first: Longs,
    best_on: Longs,
    best_mp: Longs,
    best_ms: Longs,
    best_dur: Longs,
    rng: Longs,
    moves: int,
    hot: float,
    cold: float,
    best: int,
    goal: int,
) -> int:
    """Annealing over the same places from the current queues: a critical operation to a random possible place."""
    n = len(jp)
    head, tail, order = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    critical = np.empty(n, np.int64)
    places = np.empty(n + 1, np.int64)
    current = evaluate(jp, js, mp, ms, dur, head, tail, order)
    few = 0
    stale = True
    temperature = hot
    for move in range(moves):
        if best <= goal:
            break
        if move % 32 == 0:
            temperature = hot * (cold / hot) ** (move / moves)
        if stale:
            few = 0
            for o in range(n):
                if head[o] + dur[o] + tail[o] == current:
                    critical[few] = o
                    few += 1
            stale = False
        v = critical[draw(rng, few)] if draw(rng, 10) > 0 else draw(rng, n)
        k = ptr[v] + draw(rng, ptr[v + 1] - ptr[v])
        m = em[k]
        released = head[jp[v]] if jp[v] >= 0 else -1
        due = head[js[v]] + dur[js[v]] if js[v] >= 0 else FAR
        count = 0
        u, w = -1, first[m]
        if w == v:
            w = ms[w]
        while True:
            if u >= 0 and head[u] >= due:
                break
            if (w < 0 or head[w] + dur[w] > released) and not (m == on[v] and u == mp[v]):
                places[count] = u
                count += 1
            if w < 0:
                break
            u, w = w, ms[w]
            if w == v:
                w = ms[w]
        if count == 0:
            continue
        u = places[draw(rng, count)]
        old_u, old_m, old_d = mp[v], on[v], dur[v]
        unlink(v, first, on, mp, ms)
        link(v, m, u, first, on, mp, ms)
        dur[v] = et[k]
        made = evaluate(jp, js, mp, ms, dur, head, tail, order)
        if made >= 0 and (
            made <= current or draw(rng, 1_000_003) < 1_000_003 * math.exp((current - made) / temperature)
        ):
            current = made
            stale = True
            if made < best:
                best = made
                best_first[:], best_on[:], best_mp[:], best_ms[:], best_dur[:] = first, on, mp, ms, dur
        else:
            unlink(v, first, on, mp, ms)
            link(v, old_m, old_u, first, on, mp, ms)
            dur[v] = old_d
            evaluate(jp, js, mp, ms, dur, head, tail, order)
    return best


def solve_shop(
    shop: FlexibleShop,
    *,
    budget_s: float,
    seed: int = 0,
    goal: int = 0,
    iterations: int | None = None,
    progress: Callable[[float, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> ShopPlan:
    """The best plan found in `budget_s` seconds (or in `iterations`, deterministic); stops at a makespan of `goal`."""
    began = clock()
    n = shop.operations
    goal = max(goal, least_makespan(shop))
    first, on, mp, ms, dur = greedy_queues(shop)
    kept = [array.copy() for array in (first, on, mp, ms, dur)]
    head, tail, order = (np.empty(n, np.int64) for _ in range(3))
    best = int(evaluate(shop.before, shop.after, mp, ms, dur, head, tail, order))
    forbidden = np.zeros((n, n + shop.machines), np.int32)
    rng = np.array([(seed * 2_654_435_761 + 123_456_789) % 0xFFFFFFFF or 1], np.int64)
    turns = np.zeros(2, np.int64)
    queues = (first, on, mp, ms, dur)
    fixed = (shop.before, shop.after, shop.elig_ptr, shop.elig_machine, shop.elig_time)
    mean = float(shop.elig_time.mean()) if len(shop.elig_time) else 1.0
    moves, pace = 0, 100_000.0

    def allowed(wanted: int) -> int:
        """As many of the wanted moves as the budget leaves time for."""
        if iterations is not None:
            return min(wanted, iterations - moves)
        return min(wanted, int(pace * (budget_s - (clock() - began))))

    # Annealing finds the valley, tabu search its floor; turn about, each a little longer than before.
    turn = 0
    while best > goal:
        if turn % 2 == 0:
            batch = allowed(FIRST_BATCH if turn == 0 else ANNEALED * (turn // 2 + 1))
            if batch < 50:
                break
            hot = mean * (0.25 if turn % 4 == 0 else 0.1)
            if turn % 6 == 4:
                _copy(queues, kept)
            best = int(cool(*fixed, *queues, *kept, rng, batch, hot, mean * 0.02, best, goal))  # type: ignore[call-arg]
        else:
            batch = allowed(FIRST_BATCH if turn == 1 else SEARCHED * (turn // 2 + 1))
            if batch < 50:
                break
            _copy(queues, kept)
            best = int(tabu(*fixed, shop.machines, *queues, *kept, forbidden, rng, turns, batch, best, goal))  # type: ignore[call-arg]
            turns[1] = turns[0]
        moves += batch
        turn += 1
        pace = 0.8 * moves / max(1e-6, clock() - began)
        if progress is not None:
            progress(min(1.0, (clock() - began) / budget_s), best)
    makespan = int(evaluate(shop.before, shop.after, kept[2], kept[3], kept[4], head, tail, order))
    assert makespan == best, "the kept queues do not give the makespan that was said"
    return ShopPlan(best, kept[1].copy(), head.copy(), moves, clock() - began)


def _copy(into: tuple[Longs, ...], out: list[Longs]) -> None:
    for a, b in zip(into, out, strict=True):
        a[:] = b
