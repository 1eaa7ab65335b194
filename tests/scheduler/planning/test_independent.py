"""Parts of a network that compete for nothing: told apart, solved apart, put together again."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.planning.construction import append_first
from scheduler.planning.core import copy_schedule, make_core
from scheduler.planning.exact import solve_exactly
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.independent import BestOfParts, part, parts_of
from scheduler.planning.microfab import microfab
from scheduler.planning.problem import validate
from scheduler.planning.timing import total_cost
from tests.benchmarks import planning_optima


@pytest.mark.parametrize("chains", [False, True])
def test_parts_share_no_machine_and_no_chain(chains: bool) -> None:
    problem = microfab(24, 8, seed=2, load=1.4, calendars=chains, chains=chains).problem
    parts = parts_of(make_core(problem))
    assert sorted(np.concatenate(parts).tolist()) == list(range(problem.operations))
    alone = [validate(part(problem, members)) for members in parts]
    machines = [set(one.elig_machine.tolist()) for one in alone]
    assert sum(map(len, machines)) == len(set.union(*machines))
    assert sum(len(one.preds) for one in alone) == len(problem.preds)


def test_the_best_of_each_part_is_kept_from_whichever_schedule_it_comes() -> None:
    problem = microfab(24, 8, seed=2, load=1.4, calendars=False, chains=False).problem
    core = make_core(problem)
    first = append_first(problem, core)
    best = BestOfParts(core, first)
    costs = [int(total_cost(core, first))]
    for seed in (1, 2, 3):
        other = copy_schedule(first)
        improve(core, other, seed=seed, moves=400)
        costs.append(int(total_cost(core, other)))
        best.meet(other)
        assert best.cost == int(total_cost(core, best.kept)) <= min(costs)
        assert times_agree(core, best.kept)
    best.meet(first)
    assert best.cost <= min(costs)


@pytest.mark.parametrize("changeovers", [False, True])
def test_optima_by_sets_are_those_of_the_exact_layer(changeovers: bool) -> None:
    problem = microfab(9, 5, seed=4, load=1.6, calendars=False, chains=False, setups=changeovers).problem
    core = make_core(problem)
    schedule = append_first(problem, core)
    found = solve_exactly(problem, core, schedule, budget_s=30)
    assert found is not None
    assert found.proven
    upper = int(total_cost(core, schedule))
    by_sets = [planning_optima.optimum(part(problem, members), upper) for members in parts_of(core)]
    assert sum(by_sets) == found.cost


def test_every_network_of_the_benchmark_has_a_frozen_optimum() -> None:
    frozen = [planning_optima.optimum_of(planning_optima.network_of(*network)) for network in planning_optima.NETWORKS]
    assert None not in frozen
    assert planning_optima.optimum_of(planning_optima.network_of(20, 4, False, 2)) is None
