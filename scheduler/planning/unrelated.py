"""Unrelated machines with setups that depend on machine and sequence, the last finish to be earliest (R | s | Cmax).

Annealing over machine queues: an operation goes to its best place on another machine, or two change places. Durations
are integers.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scheduler.planning.jit import compiled, inlined
from scheduler.planning.problem import Longs
from scheduler.planning.search import draw

FAR = 1 << 40
#: Of ten picks so many come from a machine past the aim. Share of all work in the cost, beside what is past the aim.
LATE_PICKS, WORK = 3, 0.1
#: Temperatures where the mean duration is 1, and the longest run of moves between two looks at the clock.
HOT, COLD, LONGEST_BATCH = 0.04, 0.005, 3_000_000


@dataclass(frozen=True)
class Unrelated:
    """`ticks` (n, m) duration of job on machine; `setup` (m, n, n) before the column's job behind the row's."""

    ticks: Longs
    setup: Longs


@dataclass(frozen=True)
class Queues:
    """Each machine's jobs in order, the makespan, and how many moves were tried."""

    queues: tuple[tuple[int, ...], ...]
    makespan: int
    moves: int


def made_up(jobs: int, machines: int, *, seed: int, setup: tuple[int, int] = (1, 9)) -> Unrelated:
    """The public class of Vallada and Ruiz (European Journal of Operational Research 211, 2011): U(1,99), U(setup)."""
    draw_from = np.random.default_rng(seed)
    ticks = draw_from.integers(1, 100, (jobs, machines))
    return Unrelated(ticks, draw_from.integers(setup[0], setup[1] + 1, (machines, jobs, jobs)))


def finish_of(problem: Unrelated, m: int, queue: tuple[int, ...]) -> int:
    """When machine m has done its queue."""
    run = sum(int(problem.ticks[j, m]) for j in queue)
    return run + sum(int(problem.setup[m, a, b]) for a, b in pairwise(queue))


@inlined
def gap(s: Longs, m: int, a: int, b: int) -> int:
    """Setup between two neighbours, -1 being the queue's ends."""
    return s[m, a, b] if a >= 0 and b >= 0 else 0


@inlined
def over(end: int, aim: int, work: float) -> float:
    """What a machine that ends then costs: how far it is past the aim, and a little of its work."""
    return (end - aim if end > aim else 0) + work * end


@compiled
def anneal_queues(  # noqa: C901 - one loop of moves, unrolled for the compiler
    t: Longs,
    s: Longs,
    seq: Longs,
    length: Longs,
    best_seq: Longs,
    best_length: Longs,
    rng: Longs,
    moves: int,
    hot: float,
    cold: float,
    best: int,
) -> int:
    """So many moves; the best queues are kept apart. Returns the best makespan.

    The cost is how far all machines together are past an aim one below the best, not the makespan itself: that lies
    on a plateau wherever two machines end last.
    """
    m = t.shape[1]
    end = np.zeros(m, np.int64)
    for k in range(m):
        for i in range(length[k]):
            end[k] += t[seq[k, i], k]
            if i > 0:
                end[k] += s[k, seq[k, i - 1], seq[k, i]]
    aim = best - 1
    cooling = math.log(cold / hot)
    temperature = hot
    for move in range(moves):
        if move % 64 == 0:
            temperature = hot * math.exp(cooling * move / moves)
        k1 = draw(rng, m)
        if draw(rng, 10) < LATE_PICKS:
            late = 0
            for k in range(m):
                if end[k] > aim:
                    late += 1
                    if draw(rng, late) == 0:
                        k1 = k
        if length[k1] == 0:
            continue
        i1 = draw(rng, length[k1])
        j = seq[k1, i1]
        a = seq[k1, i1 - 1] if i1 > 0 else -1
        b = seq[k1, i1 + 1] if i1 + 1 < length[k1] else -1
        k2 = draw(rng, m)
        swap = k2 != k1 and length[k2] > 0 and draw(rng, 3) == 0
        less = t[j, k1] + gap(s, k1, a, j) + gap(s, k1, j, b) - gap(s, k1, a, b)
        if swap:
            i2 = draw(rng, length[k2])
            y = seq[k2, i2]
            c = seq[k2, i2 - 1] if i2 > 0 else -1
            e = seq[k2, i2 + 1] if i2 + 1 < length[k2] else -1
            one = end[k1] - t[j, k1] - gap(s, k1, a, j) - gap(s, k1, j, b)
            one += t[y, k1] + gap(s, k1, a, y) + gap(s, k1, y, b)
            two = end[k2] - t[y, k2] - gap(s, k2, c, y) - gap(s, k2, y, e)
            two += t[j, k2] + gap(s, k2, c, j) + gap(s, k2, j, e)
        else:
            more, i2, ties = FAR, 0, 1
            for i in range(length[k2] + 1):
                if k2 == k1 and (i == i1 or i == i1 + 1):
                    continue
                c = seq[k2, i - 1] if i > 0 else -1
                e = seq[k2, i] if i < length[k2] else -1
                extra = gap(s, k2, c, j) + gap(s, k2, j, e) - gap(s, k2, c, e)
                if extra < more:
                    more, i2, ties = extra, i, 1
                elif extra == more:
                    ties += 1
                    if draw(rng, ties) == 0:
                        i2 = i
            if more == FAR:
                continue
            one = end[k1] - less
            two = end[k2] + more + t[j, k2]
            if k2 == k1:
                one = end[k1] - less + more + t[j, k1]
                two = one
        delta = over(one, aim, WORK) - over(end[k1], aim, WORK)
        if k2 != k1:
            delta += over(two, aim, WORK) - over(end[k2], aim, WORK)
        if delta > 0 and draw(rng, 1_000_003) >= 1_000_003 * math.exp(-delta / temperature):
            continue
        end[k1], end[k2] = one, two
        if swap:
            seq[k1, i1], seq[k2, i2] = y, j
        else:
            for i in range(i1, length[k1] - 1):
                seq[k1, i] = seq[k1, i + 1]
            length[k1] -= 1
            if k2 == k1 and i2 > i1:
                i2 -= 1
            for i in range(length[k2], i2, -1):
                seq[k2, i] = seq[k2, i - 1]
            seq[k2, i2] = j
            length[k2] += 1
        made = end.max()
        if made < best:
            best, aim = made, made - 1
            best_seq[:] = seq
            best_length[:] = length
    return best


def solve_unrelated(
    problem: Unrelated,
    *,
    budget_s: float,
    seed: int = 0,
    moves: int | None = None,
    goal: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Queues:
    """The best queues found in `budget_s` seconds, or in so many moves (deterministic); stops at `goal`."""
    began = clock()
    n, m = problem.ticks.shape
    seq, length = np.full((m, n + 1), -1, np.int64), np.zeros(m, np.int64)
    for j in np.argsort(-problem.ticks.min(axis=1), kind="stable"):
        ends = [finish_of(problem, k, (*seq[k, : length[k]].tolist(), int(j))) for k in range(m)]
        k = int(np.argmin(ends))
        seq[k, length[k]] = j
        length[k] += 1
    best_seq, best_length = seq.copy(), length.copy()
    best = max(finish_of(problem, k, tuple(seq[k, : length[k]].tolist())) for k in range(m))
    rng = np.array([(seed * 2_654_435_761 + 521_288_629) % 0xFFFFFFFF or 1], np.int64)
    mean = max(1.0, float(problem.ticks.mean()))
    tried, turn, batch = 0, 0, 20_000
    while best > goal:
        if moves is not None:
            batch = min(LONGEST_BATCH, moves - tried)
        elif tried:
            pace = tried / max(1e-6, clock() - began)
            batch = min(LONGEST_BATCH, int(0.9 * pace * (budget_s - (clock() - began))))
        if batch < 1_000:
            break
        if turn % 4 == 3:
            seq[:], length[:] = best_seq, best_length
        kept = (seq, length, best_seq, best_length)
        best = int(anneal_queues(problem.ticks, problem.setup, *kept, rng, batch, HOT * mean, COLD * mean, best))
        tried, turn = tried + batch, turn + 1
    queues = tuple(tuple(best_seq[k, : best_length[k]].tolist()) for k in range(m))
    assert max(finish_of(problem, k, queue) for k, queue in enumerate(queues)) == best, "queues and makespan disagree"
    return Queues(queues, best, tried)
