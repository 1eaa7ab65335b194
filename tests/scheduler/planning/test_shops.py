"""Flexible shops: every plan is possible, the kept heads and tails are those of recomputation, tiny ones are solved."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.critical_path import AFTER, AHEAD, BEFORE, BEHIND, HEAD, ON, TAIL, TICKS
from scheduler.planning.flexible_shop import FlexibleShop, shop_of, shop_violations
from scheduler.planning.makespan import Search, solve_shop
from scheduler.planning.problem import Longs
from scheduler.planning.tabu import go

Chains = list[list[list[tuple[int, int]]]]


@st.composite
def shops(draw: st.DrawFn) -> FlexibleShop:
    """Up to six jobs of up to four operations on up to four machines, half of them with setups; durations may be 0."""
    machines = draw(st.integers(1, 4))
    option = st.tuples(st.integers(0, machines - 1), st.integers(0, 9))
    options = st.lists(option, min_size=1, max_size=machines, unique_by=lambda pair: pair[0])
    chains = draw(st.lists(st.lists(options, min_size=1, max_size=4), min_size=1, max_size=6))
    if not draw(st.booleans()):
        return shop_of(machines, chains)
    n = sum(len(chain) for chain in chains)
    setup = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, (machines, n, n))
    return shop_of(machines, chains, setup)


@given(shops(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_any_shop_gets_a_possible_plan_that_repeats(shop: FlexibleShop, seed: int) -> None:
    made = solve_shop(shop, budget_s=60, iterations=200, seed=seed)
    assert shop_violations(shop, made) == []
    again = solve_shop(shop, budget_s=60, iterations=200, seed=seed)
    assert again.makespan == made.makespan
    assert again.start.tolist() == made.start.tolist()


@given(shops(), st.lists(st.tuples(*[st.integers(0, 99)] * 3), max_size=30))
@settings(max_examples=100, deadline=None)
def test_moves_leave_the_heads_and_tails_that_recomputation_gives(
    shop: FlexibleShop, moves: list[tuple[int, int, int]]
) -> None:
    """Any move to any place: either a circle, refused with nothing changed, or exact heads and tails."""
    n = shop.operations
    start = Search(shop, 1, 0).start()
    ops, first, order = start.ops, start.first, start.order
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    for a, b, c in moves:
        v = a % n
        k = int(shop.elig_ptr[v]) + b % int(shop.elig_ptr[v + 1] - shop.elig_ptr[v])
        m, d = int(shop.elig_machine[k]), int(shop.elig_time[k])
        places = [-1, *(o for o in range(n) if ops[o, ON] == m and o != v)]
        before = ops.copy()
        made = go(ops, first, order, place, shop.setup, np.empty(2 * n, np.int64), v, m, places[c % len(places)], d)
        if made < 0:
            assert (ops == before).all()
        else:
            assert made == longest_path(shop, ops)
        assert sorted(order.tolist()) == list(range(n))
        assert (place[order] == np.arange(n)).all()


def longest_path(shop: FlexibleShop, ops: Longs) -> int:
    """Heads and tails by repeated relaxation from nothing, compared with those kept; the makespan."""
    n = shop.operations
    head, tail = [0] * n, [0] * n
    for _ in range(n):
        for o in range(n):
            before, ahead = ops[o, BEFORE], ops[o, AHEAD]
            for p, x in ((before, 0), (ahead, setup_of(shop, ops[o, ON], ahead, o))):
                if p >= 0:
                    head[o] = max(head[o], head[p] + ops[p, TICKS] + x)
            after, behind = ops[o, AFTER], ops[o, BEHIND]
            for s, x in ((after, 0), (behind, setup_of(shop, ops[o, ON], o, behind))):
                if s >= 0:
                    tail[o] = max(tail[o], tail[s] + ops[s, TICKS] + x)
    assert ops[:, HEAD].tolist() == head
    assert ops[:, TAIL].tolist() == tail
    return max(h + int(d) for h, d in zip(head, ops[:, TICKS], strict=True))


def setup_of(shop: FlexibleShop, m: int, a: int, b: int) -> int:
    """0 where there is none."""
    return 0 if shop.setup is None or a < 0 or b < 0 else int(shop.setup[m, a, b])


@pytest.mark.parametrize("setups", [False, True])
def test_tiny_shops_reach_the_optimum(setups: bool) -> None:
    draw = random.Random(1)
    for number in range(4):
        chains = [[[(m, draw.randint(1, 9)) for m in range(2)] for _ in range(2)] for _ in range(3)]
        setup = np.random.default_rng(number).integers(0, 5, (2, 6, 6)) if setups else None
        shop = shop_of(2, chains, setup)
        made = solve_shop(shop, budget_s=60, iterations=3_000, seed=2)
        assert shop_violations(shop, made) == []
        assert made.makespan == least_makespan_by_enumeration(chains, shop)


def least_makespan_by_enumeration(chains: Chains, shop: FlexibleShop) -> int:
    """Every order in which operations can be put down, on every machine: the least finish."""
    best = 10**9
    starts = np.cumsum([0, *(len(chain) for chain in chains)]).tolist()

    def go_on(done: tuple[int, ...], free: tuple[int, ...], last: tuple[int, ...], ends: tuple[int, ...]) -> None:
        nonlocal best
        if max(ends) >= best:
            return
        if all(done[j] == len(chain) for j, chain in enumerate(chains)):
            best = max(ends)
            return
        for j, chain in enumerate(chains):
            if done[j] < len(chain):
                o = starts[j] + done[j]
                for m, d in chain[done[j]]:
                    end = max(free[m] + setup_of(shop, m, last[m], o), ends[j]) + d
                    go_on(
                        tuple(x + (i == j) for i, x in enumerate(done)),
                        tuple(end if i == m else x for i, x in enumerate(free)),
                        tuple(o if i == m else x for i, x in enumerate(last)),
                        tuple(end if i == j else x for i, x in enumerate(ends)),
                    )

    go_on((0,) * len(chains), (0, 0), (-1, -1), (0,) * len(chains))
    return best


def test_a_goal_ends_the_search_and_progress_is_told() -> None:
    draw = random.Random(3)
    shop = shop_of(3, [[[(m, draw.randint(1, 9)) for m in range(3)] for _ in range(4)] for _ in range(8)])
    told: list[int] = []
    made = solve_shop(shop, budget_s=60, goal=10**6, progress=lambda share, best: told.append(best))
    assert made.iterations == 0
    made = solve_shop(shop, budget_s=60, iterations=500, progress=lambda share, best: told.append(best))
    assert told[-1] == made.makespan


SOLVED = """
import numpy as np
from scheduler.planning.flexible_shop import shop_of
from scheduler.planning.jit import HAS_COMPILER
from scheduler.planning.makespan import solve_shop
draw = np.random.default_rng(4)
chains = [[[(m, int(draw.integers(1, 30))) for m in range(3)] for _ in range(4)] for _ in range(6)]
answers = []
for setup in (None, draw.integers(0, 9, (3, 24, 24))):
    made = solve_shop(shop_of(3, chains, setup), budget_s=600, iterations=900, seed=5)
    answers.append((made.makespan, made.machine.tolist(), made.start.tolist()))
print(HAS_COMPILER, answers)
"""


@pytest.mark.timeout(600)
def test_the_compiled_and_the_plain_search_agree() -> None:
    """Where nothing is compiled yet this compiles the search."""
    answers = []
    for switch in ("WORKSHED_PLAIN", "WORKSHED_COMPILE"):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKSHED_")} | {switch: "1"}
        run = subprocess.run(
            [sys.executable, "-c", SOLVED], env=environment, capture_output=True, text=True, check=True, timeout=280
        )
        answers.append(run.stdout.partition(" "))
    assert [answer[0] for answer in answers] == ["False", "True"]
    assert answers[0][2] == answers[1][2]
