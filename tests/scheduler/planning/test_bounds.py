"""Lower bounds: below every plan, near the best, and none where none is known."""

from __future__ import annotations

from scheduler.planning.bounds import weighted_tardiness_bound
from scheduler.planning.construction import construct
from scheduler.planning.core import make_core
from scheduler.planning.microfab import microfab, weighted_tardiness


def test_the_bound_is_below_every_plan_and_absent_where_none_is_known() -> None:
    fab = microfab(40, 5, seed=2, load=1.6, calendars=False, chains=False, setups=False)
    core = make_core(fab.problem)
    schedule = construct(fab.problem, core)
    value = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
    bound = weighted_tardiness_bound(fab.problem, upper=value, budget_s=1.0)
    assert bound is not None
    assert 0 <= bound <= value
    assert weighted_tardiness_bound(microfab(10, 5).problem, upper=1) is None
