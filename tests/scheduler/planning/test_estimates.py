"""What is read off a queue is what re-timing then gives, and the best of it is the best place there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.construction import append_first
from scheduler.planning.core import (
    FENCE,
    MACHINE,
    START,
    Core,
    Schedule,
    copy_schedule,
    make_core,
)
from scheduler.planning.estimating import INFINITE
from scheduler.planning.improving import times_agree
from scheduler.planning.insertion import insert_best, remove
from scheduler.planning.live import LivePlan
from scheduler.planning.microfab import microfab
from scheduler.planning.propagation import new_journal
from scheduler.planning.timing import total_cost
from tests.scheduler.planning.exactly import (
    assert_moving_and_leaving_cost_what_is_said,
    assert_no_place_is_cheaper_than_insertions,
)

#: Without chains nothing waits for parts elsewhere: estimates have to be exact.
FABS = [
    microfab(30, 6, seed=seed, chains=False, calendars=calendars) for seed in (1, 2, 3) for calendars in (True, False)
]


def planned(number: int) -> tuple[Core, Schedule]:
    """A first plan of one of the fabs."""
    problem = FABS[number].problem
    core = make_core(problem)
    return core, append_first(problem, core)


@settings(max_examples=60)
@given(st.integers(0, len(FABS) - 1), st.integers(0, 10_000), st.integers(0, 10_000))
def test_leaving_a_queue_and_moving_inside_it_cost_what_they_are_said_to(number: int, which: int, to: int) -> None:
    core, schedule = planned(number)
    assert_moving_and_leaving_cost_what_is_said(core, schedule, which, to)


@settings(max_examples=30)
@given(st.integers(0, len(FABS) - 1), st.integers(0, 10_000))
def test_no_place_is_cheaper_than_the_one_that_insertion_finds(number: int, which: int) -> None:
    core, schedule = planned(number)
    o = which % len(core.ops)
    remove(core, schedule, new_journal(len(core.ops)), o)
    assert_no_place_is_cheaper_than_insertions(core, schedule, o)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_work_that_a_failure_displaced_could_not_be_placed_better_one_by_one(seed: int) -> None:
    fab = microfab(40, 8, seed=seed)
    core = make_core(fab.problem)
    live = LivePlan(core, append_first(fab.problem, core))
    live.clock(200)
    m = int(np.argmax(live.schedule.length))
    moved, nowhere = live.fail(m, 2_000)
    assert moved
    assert not set(moved) & set(nowhere)
    assert (live.schedule.at[moved, MACHINE] >= 0).all()
    assert (live.schedule.at[nowhere, MACHINE] < 0).all()
    on_it = live.schedule.machine == m
    assert (live.schedule.at[on_it & (live.schedule.pos >= 0), START] >= 2_000).all()
    assert times_agree(core, live.schedule)
    before = int(total_cost(core, live.schedule))
    last = next(o for o in reversed(moved) if not waited_for(live, o))
    live.remove(last)
    live.insert(last)
    assert int(total_cost(core, live.schedule)) <= before


def waited_for(live: LivePlan, o: int) -> bool:
    """Whether something placed needs the operation's part."""
    return bool(live._waiting_for(o))


def test_the_fence_holds_for_places_read_off_a_queue() -> None:
    core, schedule = planned(0)
    remove(core, schedule, new_journal(len(core.ops)), 0)
    core.rates[FENCE] = 900
    before = copy_schedule(schedule)
    assert insert_best(core, schedule, new_journal(len(core.ops)), 0, 900, 0, np.zeros(6, np.int8), True) < INFINITE
    behind = before.start < 900
    behind[0] = False
    assert schedule.at[0, START] >= 900
    assert np.array_equal(schedule.at[behind, START], before.at[behind, START])
