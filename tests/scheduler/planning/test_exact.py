"""The exact layer against enumeration, and when its process hangs, dies or talks nonsense."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time

import numpy as np
import pytest

from scheduler.planning.construction import construct
from scheduler.planning.core import Core, Schedule, empty_schedule, make_core
from scheduler.planning.exact import Progress, Solver, solve_exactly
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


SLEEPS = "import sys, time; sys.stdout.buffer.write({first}); sys.stdout.flush(); time.sleep(600)"
READY = "(12).to_bytes(4, 'big') + b'\\x81\\xa4type\\xa5ready'"


def asked(solver: Solver, seed: int = 1, progress: list[Progress] | None = None) -> tuple[int, object]:
    """A small problem's warm cost and answer."""
    problem = microfab(12, 4, seed=seed, load=1.6, calendars=False).problem
    core = make_core(problem)
    warm = construct(problem, core)
    tell = progress.append if progress is not None else None
    answer = solve_exactly(problem, core, warm, budget_s=0.5, solver=solver, progress=tell)
    return int(total_cost(core, warm)), answer


@pytest.mark.parametrize(
    ("program", "start_s"),
    [
        pytest.param(SLEEPS.format(first="b''"), 0.5, id="never says that it is there"),
        pytest.param(SLEEPS.format(first=READY), 20.0, id="never answers"),
        pytest.param(SLEEPS.format(first=READY + "+ b'\\x00\\x00\\x00\\x02\\xc1\\xc1'"), 20.0, id="talks nonsense"),
        pytest.param("import sys; sys.exit(3)", 20.0, id="dies at once"),
    ],
)
def test_a_child_that_hangs_or_dies_is_killed_and_no_answer_is_given(program: str, start_s: float) -> None:
    solver = Solver((sys.executable, "-c", program), grace_s=0.3, start_s=start_s)
    began = time.monotonic()
    _, answer = asked(solver)
    assert answer is None
    assert time.monotonic() - began < 30
    assert solver.child is None


def test_what_a_child_found_before_it_hung_counts_and_the_next_question_gets_a_new_child() -> None:
    """The real child is stopped by a signal as soon as it has told its first solution."""
    solver = Solver(grace_s=0.5)
    problem = microfab(30, 4, seed=3, load=1.6, calendars=False).problem
    core = make_core(problem)
    stopped: list[int] = []

    def stop(news: Progress) -> None:
        if news.cost is not None and not stopped and solver.child is not None:
            stopped.append(solver.child.pid)
            os.kill(solver.child.pid, signal.SIGSTOP)

    began = time.monotonic()
    found = solve_exactly(problem, core, None, budget_s=3, solver=solver, progress=stop)
    assert found is not None, "its first solution was told before it hung"
    assert (found.proven, found.bound) == (False, None)
    assert (found.schedule.machine >= 0).all()
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(stopped[0], 0)
    _, again = asked(solver)
    assert again is not None
    solver.close()


def test_progress_tells_falling_costs_above_rising_bounds() -> None:
    solver = Solver()
    told: list[Progress] = []
    warm, _ = asked(solver, progress=told)
    solver.close()
    costs = [news.cost for news in told if news.cost is not None]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] <= warm
    assert max(news.bound for news in told) <= costs[-1]
