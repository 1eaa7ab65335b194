"""The exact layer against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scheduler.planning.construction import construct
from scheduler.planning.core import Core, Schedule, empty_schedule, make_core
from scheduler.planning.exact import solve_exactly
from scheduler.planning.microfab import microfab
from scheduler.planning.problem import Problem
from scheduler.planning.timing import choose, put_in, retime_all, total_cost


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_exact_layer_reaches_the_optimum_of_tiny_instances(seed: int) -> None:
    problem = microfab(4, 4, seed=seed, load=1.2, horizon_days=20).problem
    core = make_core(problem)
    warm = construct(problem, core)
    found = solve_exactly(problem, core, warm, budget_s=20)
    assert found is not None
    assert found.proven
    assert found.cost == found.bound or found.cost == best_by_enumeration(problem, core)
    assert found.cost == best_by_enumeration(problem, core)


def best_by_enumeration(problem: Problem, core: Core) -> int:
    """Every machine and every sequence: the least cost."""
    n = problem.operations
    best = 1 << 60
    choices = [range(int(problem.elig_ptr[o]), int(problem.elig_ptr[o + 1])) for o in range(n)]
    for chosen in itertools.product(*choices):
        seen: set[tuple[tuple[int, ...], ...]] = set()
        for order in itertools.permutations(range(n)):
            queues = tuple(
                tuple(o for o in order if problem.elig_machine[chosen[o]] == m) for m in range(problem.machines)
            )
            if queues in seen:
                continue
            seen.add(queues)
            schedule = scheduled(core, queues, chosen)
            if retime_all(core, schedule, np.empty(n, core.ops.dtype), np.empty(n, core.ops.dtype)):
                best = min(best, int(total_cost(core, schedule)))
    return best


def scheduled(core: Core, queues: tuple[tuple[int, ...], ...], chosen: tuple[int, ...]) -> Schedule:
    """A schedule with these sequences, not timed yet."""
    schedule = empty_schedule(core)
    for m, queue in enumerate(queues):
        for i, o in enumerate(queue):
            choose(core, schedule, o, chosen[o])
            put_in(schedule, m, i, o)
    return schedule
