"""Lower bounds: below every plan, near the best, and none where none is known."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.planning.bounds import weighted_tardiness_bound
from scheduler.planning.construction import construct
from scheduler.planning.core import make_core
from scheduler.planning.exact import solve_exactly
from scheduler.planning.heating import Temperatures
from scheduler.planning.improving import improve
from scheduler.planning.independent import part, parts_of
from scheduler.planning.microfab import MicroFab, microfab, weighted_tardiness
from scheduler.planning.transport_prices import first_prices


def overloaded(jobs: int, machines: int, seed: int) -> MicroFab:
    """Around the clock, single operations, more work than a week holds."""
    fab = microfab(jobs, machines, seed=seed, load=1.6, calendars=False, chains=False, setups=False, flow_percent=0)
    # Deliveries cost the same from everywhere, so that the exact layer's objective is weighted tardiness alone.
    return fab.__class__(
        fab.problem._replace(leg_cost=0, setup_cost=0), fab.job, fab.kind, fab.speed, fab.jobs, fab.shops
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bound_is_below_the_proven_optimum_and_above_nothing(seed: int) -> None:
    fab = overloaded(10, 4, seed)
    core = make_core(fab.problem)
    warm = construct(fab.problem, core)
    found = solve_exactly(fab.problem, core, warm, budget_s=20)
    assert found is not None
    assert found.proven
    optimum = weighted_tardiness(fab.problem, found.schedule.avail, found.schedule.machine)
    assert found.cost == 100 * optimum
    bound = weighted_tardiness_bound(fab.problem, upper=optimum, budget_s=1.0)
    assert bound is not None
    assert 0 <= bound <= optimum


def test_the_bound_is_near_a_good_plan_of_an_overloaded_network() -> None:
    fab = overloaded(60, 6, 1)
    core = make_core(fab.problem)
    schedule = construct(fab.problem, core)
    improve(core, schedule, moves=3_000, between=Temperatures(1e6, 3e3))
    value = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
    told: list[int] = []
    bound = weighted_tardiness_bound(
        fab.problem, upper=value, budget_s=4.0, progress=lambda after_s, best: told.append(best)
    )
    assert bound is not None
    assert 0.6 * value < bound <= value
    assert told == sorted(told)


def test_first_prices_are_not_negative_and_some_are_above_nothing() -> None:
    fab = overloaded(60, 6, 1)
    price = first_prices(fab.problem, 5, 60, 400)
    assert price.shape == (6, 400)
    assert (price >= 0).all()
    assert (price.max(axis=1) > 0).any()
    assert np.isfinite(price).all()


def test_no_bound_is_said_where_none_is_known() -> None:
    assert weighted_tardiness_bound(microfab(10, 5).problem, upper=1) is None
    assert weighted_tardiness_bound(microfab(10, 5, chains=False).problem, upper=1) is None


def test_parts_that_share_no_machine_add_up() -> None:
    """The bound of a network is at least that of its parts with no time at all, and at most the plan's value."""
    fab = overloaded(40, 8, 2)
    core = make_core(fab.problem)
    schedule = construct(fab.problem, core)
    value = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
    alone = [weighted_tardiness_bound(part(fab.problem, one), upper=1, budget_s=0.0) for one in parts_of(core)]
    whole = weighted_tardiness_bound(fab.problem, upper=value, budget_s=1.0)
    assert len(alone) > 1
    assert whole is not None
    assert sum(bound or 0 for bound in alone) - len(alone) <= whole <= value
