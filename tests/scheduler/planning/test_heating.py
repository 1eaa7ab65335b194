"""Temperatures read off a network: nothing is changed by looking, and they go with what things cost."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.planning.construction import append_first
from scheduler.planning.core import (
    FLOW,
    GUIDE_WEIGHT,
    LEG_COST,
    PINNED,
    SETUP_COST,
    START,
    WEIGHT,
    Core,
    Schedule,
    copy_schedule,
    make_core,
)
from scheduler.planning.heating import USUAL_COLD, USUAL_HOT, Temperatures, temperatures
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.microfab import microfab
from scheduler.planning.propagation import new_journal


def started(*, load: float = 1.3, calendars: bool = True, scale: int = 1) -> tuple[Core, Schedule]:
    """A first plan; afterwards every cost is multiplied by `scale`."""
    problem = microfab(40, 8, seed=3, load=load, calendars=calendars).problem
    core = make_core(problem)
    s = append_first(problem, core)
    core.ops[:, [WEIGHT, FLOW, GUIDE_WEIGHT]] *= scale
    core.rates[[SETUP_COST, LEG_COST]] *= scale
    return core, s


def read_off(core: Core, s: Schedule) -> Temperatures:
    """As a search does."""
    return temperatures(core, s, new_journal(len(core.ops)), seed=5, frozen=0, samples=12)


@pytest.mark.parametrize("calendars", [True, False])
def test_looking_changes_nothing(calendars: bool) -> None:
    core, s = started(calendars=calendars)
    before = copy_schedule(s)
    found = read_off(core, s)
    assert found.hot > found.cold >= 1
    used = np.arange(s.seq.shape[1])[None] < s.length[:, None]
    assert np.array_equal(s.at, before.at)
    assert np.array_equal(s.length, before.length)
    assert np.array_equal(s.seq[used], before.seq[used])
    assert times_agree(core, s)


def test_what_costs_ten_times_as_much_is_searched_ten_times_as_hot() -> None:
    assert read_off(*started(scale=10)).hot == pytest.approx(10 * read_off(*started()).hot, rel=1e-9)


@pytest.mark.parametrize("fixed", [True, False])
def test_where_nothing_can_move_a_search_ends_at_once_whatever_its_budget(fixed: bool) -> None:
    """No move takes no time: as many as fit in a second would be too many to count."""
    core, s = started()
    if fixed:
        core.ops[:, PINNED] = s.at[: len(core.ops), START]
    before = copy_schedule(s)
    done = improve(core, s, budget_s=1.0, frozen=0 if fixed else 1 << 29)
    assert (done.moves, done.after) == (0, done.before)
    assert np.array_equal(s.at, before.at)


def test_a_plan_in_which_nothing_can_move_gets_the_usual_temperatures() -> None:
    core, s = started()
    found = temperatures(core, s, new_journal(len(core.ops)), seed=5, frozen=1 << 29, samples=12)
    assert found == Temperatures(USUAL_HOT, USUAL_COLD)


def test_few_moves_begin_colder_but_above_the_end() -> None:
    between = Temperatures(100_000.0, 500.0)
    starts = [between.for_moves(an_alternative).hot for an_alternative in (0, 1, 5, 12, 300)]
    assert starts == sorted(starts)
    assert starts[0] > between.cold
    assert starts[-1] == between.hot


def test_an_overloaded_network_is_searched_better_than_at_a_fixed_heat() -> None:
    cost = []
    for between in (None, Temperatures(12_000.0, 800.0)):
        core, s = started(load=2.0, calendars=False)
        cost.append(
            sum(improve(core, copy_schedule(s), seed=seed, moves=2_500, between=between).after for seed in (1, 2))
        )
    assert cost[0] < cost[1]
