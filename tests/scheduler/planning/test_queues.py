"""One machine's queue and unrelated machines: the optimum of tiny instances."""

from __future__ import annotations

import itertools

import numpy as np

from scheduler.planning.tardiness import Queue, cost_of, solve_queue
from scheduler.planning.unrelated import finish_of, made_up, solve_unrelated


def test_queues_reach_the_optimum_of_tiny_instances() -> None:
    draw = np.random.default_rng(3)
    for _ in range(4):
        queue = Queue(draw.integers(1, 20, 6), draw.integers(1, 9, 6), draw.integers(1, 60, 6))
        best = min(cost_of(queue, np.array(order)) for order in itertools.permutations(range(6)))
        found = solve_queue(queue, moves=6_000)
        assert found.cost == best == cost_of(queue, found.order)


def test_unrelated_machines_reach_the_optimum_of_tiny_instances() -> None:
    for seed in range(3):
        problem = made_up(5, 2, seed=seed)
        found = solve_unrelated(problem, budget_s=5, moves=4_000)
        best = min(
            max(finish_of(problem, 0, order[:cut]), finish_of(problem, 1, order[cut:]))
            for order in itertools.permutations(range(5))
            for cut in range(6)
        )
        assert found.makespan == best
