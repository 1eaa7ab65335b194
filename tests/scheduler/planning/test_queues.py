"""One machine's queue and unrelated machines: the optimum of tiny instances, and bounds below it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.queue_bound import least_last_finish
from scheduler.planning.tardiness import Queue, best_moves, cost_of, descend, solve_queue, timed
from scheduler.planning.unrelated import Queues, Unrelated, finish_of, made_up, solve_unrelated


def test_queues_reach_the_optimum_of_tiny_instances() -> None:
    draw = np.random.default_rng(3)
    for _ in range(4):
        queue = Queue(draw.integers(1, 20, 6), draw.integers(1, 9, 6), draw.integers(1, 60, 6))
        best = min(cost_of(queue, np.array(order)) for order in itertools.permutations(range(6)))
        found = solve_queue(queue, kicks=30)
        assert found.cost == best == cost_of(queue, found.order)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(-5, 60)), min_size=1, max_size=9))
def test_a_descent_ends_where_no_single_move_is_better_and_its_cost_is_the_orders(
    jobs: list[tuple[int, int, int]],
) -> None:
    queue = Queue(*(np.array(column, np.int64) for column in zip(*jobs, strict=True)))
    n = len(jobs)
    seq, end, to, kind = np.arange(n), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    rest, pushed = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    cost = descend(queue.ticks, queue.weight, queue.due, seq, end, rest, pushed, to, kind)
    assert sorted(seq.tolist()) == list(range(n))
    assert cost == cost_of(queue, seq)
    for a, b in itertools.permutations(range(n), 2):
        shifted = seq.tolist()
        shifted.insert(b, shifted.pop(a))
        exchanged = seq.copy()
        exchanged[[a, b]] = seq[[b, a]]
        assert min(cost_of(queue, np.array(shifted)), cost_of(queue, exchanged)) >= cost


def test_moves_that_do_not_overlap_are_made_together() -> None:
    """Two pairs stand the wrong way round: one step of the descent mends both."""
    queue = Queue(np.array([5, 5, 5, 5]), np.array([1, 1, 1, 1]), np.array([10, 5, 20, 15]))
    n, seq = 4, np.arange(4)
    end, to, kind = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    rest, pushed = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    assert timed(queue.ticks, queue.weight, queue.due, seq, end) == 10
    assert best_moves(queue.ticks, queue.weight, queue.due, seq, end, rest, pushed, to, kind) == 0
    assert [to[0], to[2]] == [1, 3]


def optimum(problem: Unrelated) -> int:
    """Of five jobs on two machines, by every order and cut."""
    return min(
        max(finish_of(problem, 0, order[:cut]), finish_of(problem, 1, order[cut:]))
        for order in itertools.permutations(range(5))
        for cut in range(6)
    )


@pytest.mark.parametrize("setup", [(1, 9), (1, 60)])
def test_the_bound_of_unrelated_machines_is_never_above_the_optimum_and_meets_it_here(setup: tuple[int, int]) -> None:
    """Whatever plan it comes from; without time the simple bound is said."""
    for seed in range(3):
        problem = made_up(5, 2, seed=seed, setup=setup)
        best = optimum(problem)
        in_order = ((0, 1, 2, 3, 4), ())
        poor = Queues(in_order, finish_of(problem, 0, in_order[0]), 0)
        simple = least_last_finish(problem, poor, budget_s=0.0)
        bound = least_last_finish(problem, solve_unrelated(problem, budget_s=5, moves=4_000), budget_s=60)
        assert simple <= bound <= best
        assert bound >= best - 1
        assert simple <= least_last_finish(problem, poor, budget_s=60) <= best


def test_unrelated_machines_reach_the_optimum_of_tiny_instances() -> None:
    for seed in range(3):
        problem = made_up(5, 2, seed=seed)
        found = solve_unrelated(problem, budget_s=5, moves=4_000)
        assert found.makespan == optimum(problem)
