"""The live plan under events: what is kept in place equals what a full recomputation gives."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.construction import append_first, construct
from scheduler.planning.core import (
    EARLIEST,
    END,
    MACHINE,
    PINNED,
    POS,
    PRED_HIGH,
    PRED_LOW,
    START,
    Core,
    Schedule,
    copy_schedule,
    empty_schedule,
    make_core,
)
from scheduler.planning.heating import Temperatures
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.insertion import INFINITE, insert_best
from scheduler.planning.live import LivePlan
from scheduler.planning.microfab import MicroFab, microfab, weighted_tardiness
from scheduler.planning.problem import NEVER
from scheduler.planning.propagation import begin, new_journal, propagate, seed
from scheduler.planning.timing import choose, put_in, total_cost

FABS = {seed: microfab(24, 8, seed=seed) for seed in range(3)}


def overlaps(core: Core, schedule: Schedule) -> list[tuple[int, int]]:
    """Pairs of operations at once on one machine, retired ones included."""
    out = []
    at = schedule.at
    for m in range(len(core.mach)):
        mine = sorted((o for o in range(len(at)) if at[o, MACHINE] == m), key=lambda o: (at[o, START], at[o, END]))
        out += [(a, b) for a, b in itertools.pairwise(mine) if at[b, START] < at[a, END]]
    return out


events = st.lists(
    st.tuples(st.sampled_from(["clock", "remove", "insert", "fail", "end", "improve"]), st.integers(0, 10_000)),
    max_size=12,
)


@settings(max_examples=40)
@given(st.integers(0, 2), events)
def test_any_events_leave_the_times_that_recomputation_gives(number: int, happened: list[tuple[str, int]]) -> None:
    core = make_core(FABS[number].problem)
    live = LivePlan(core, empty_schedule(core), freeze=30)
    for o in range(len(core.ops)):
        live.insert(o)
    for what, value in happened:
        apply(live, what, value)
        assert times_agree(core, live.schedule), what
        assert overlaps(core, live.schedule) == [], what
        queued = live.schedule.pos >= 0
        free = queued & (core.ops[:, PINNED] < 0)
        assert (live.schedule.start[free] >= live.fence).all(), what
        assert without_their_parts(core, live.schedule) == [], what


def without_their_parts(core: Core, schedule: Schedule) -> list[int]:
    """Operations that have a place while something they wait for has none."""
    out = []
    for o in np.flatnonzero((schedule.machine >= 0) & (core.ops[:, PINNED] < 0)).tolist():
        before = core.links[core.ops[o, PRED_LOW] : core.ops[o, PRED_HIGH]]
        if (schedule.machine[before] < 0).any():
            out.append(o)
    return out


def apply(live: LivePlan, what: str, value: int) -> None:
    """One event."""
    schedule = live.schedule
    queued = np.flatnonzero(schedule.pos >= 0)
    if what == "clock":
        live.clock(live.now + value % 700)
    elif what == "insert":
        for o in np.flatnonzero(schedule.machine < 0):
            live.insert(int(o))
    elif what == "improve":
        before = int(total_cost(live.core, schedule))
        live.improve(moves=60, seed=value)
        assert int(total_cost(live.core, schedule)) <= before
    elif what == "fail":
        live.fail(value % len(live.core.mach), live.now + 60 + value % 900)
    elif len(queued):
        o = int(queued[value % len(queued)])
        if what == "remove":
            live.remove(o)
        elif schedule.at[o, START] <= live.now:
            live.end_of(o, max(live.now, int(schedule.at[o, START])) + value % 300)


def test_when_machines_fail_for_good_every_operation_without_a_place_is_told() -> None:
    for fab in FABS.values():
        core = make_core(fab.problem)
        live = LivePlan(core, empty_schedule(core))
        for o in range(len(core.ops)):
            live.insert(o)
        told = set(np.flatnonzero(live.schedule.machine < 0).tolist())
        for m in range(len(core.mach) - 1):
            told |= set(live.fail(m, NEVER)[1])
            out = set(np.flatnonzero(live.schedule.machine < 0).tolist())
            assert out <= told
            assert without_their_parts(core, live.schedule) == []
            assert times_agree(core, live.schedule)
        assert out


def test_nothing_behind_the_fence_moves_while_searching() -> None:
    core = make_core(FABS[0].problem)
    live = LivePlan(core, empty_schedule(core), freeze=120)
    for o in range(len(core.ops)):
        live.insert(o)
    live.clock(700)
    behind = live.schedule.start < live.fence
    before = live.schedule.at[behind].copy()
    live.improve(moves=3_000, seed=4)
    assert behind.any()
    assert (live.schedule.at[behind] == before).all()


def test_a_quote_changes_nothing_and_is_what_inserting_gives() -> None:
    core = make_core(FABS[1].problem)
    live = LivePlan(core, empty_schedule(core))
    for o in range(1, len(core.ops)):
        if core.ops[o, EARLIEST] >= 0:
            live.insert(o)
    before = copy_schedule(live.schedule)
    quoted = live.quote(0)
    assert quoted is not None
    assert queues(live.schedule) == queues(before)
    assert np.array_equal(live.schedule.at[1:], before.at[1:])
    assert live.schedule.at[0, MACHINE] < 0
    assert live.insert(0) == quoted.cost
    assert live.schedule.at[0, MACHINE] == quoted.machine
    assert live.schedule.at[0, START] == quoted.start


def test_a_circle_of_operations_is_refused_and_taken_back() -> None:
    fab = chain_of_two()
    core = make_core(fab.problem)
    schedule = empty_schedule(core)
    first, second = chained_pair(fab)
    journal = new_journal(len(core.ops))
    m = shared_machine(fab, first, second)
    for place, o in enumerate((second, first)):
        low, high = fab.problem.elig_ptr[o], fab.problem.elig_ptr[o + 1]
        choose(core, schedule, o, int(low + np.searchsorted(fab.problem.elig_machine[low:high], m)))
        put_in(schedule, m, place, o)
    begin(journal)
    seed(journal, first)
    seed(journal, second)
    assert not propagate(core, schedule, journal, 2_000)


def test_an_operation_never_goes_before_its_own_predecessor_on_a_tie() -> None:
    fab = chain_of_two()
    core = make_core(fab.problem)
    first, second = chained_pair(fab)
    live = LivePlan(core, empty_schedule(core))
    for o in (*parts_of(core, first), first, second):
        assert live.insert(o) is not None
    m = live.schedule.at[second, MACHINE]
    assert times_agree(core, live.schedule)
    if m == live.schedule.at[first, MACHINE]:
        assert live.schedule.at[second, POS] > live.schedule.at[first, POS]


def test_exact_insertion_is_better_than_appending() -> None:
    better = 0
    for seed_ in (1, 2, 3, 4):
        fab = microfab(60, 10, seed=seed_)
        core = make_core(fab.problem)
        appended, inserted = append_first(fab.problem, core), construct(fab.problem, core)
        assert total_cost(core, inserted) <= total_cost(core, appended)
        better += bool(total_cost(core, inserted) < total_cost(core, appended))
    assert better >= 3


def test_a_push_past_closing_time_is_counted_exactly() -> None:
    """The cost that inserting says equals the difference of the whole objective, cliffs included."""
    fab = FABS[2]
    core = make_core(fab.problem)
    live = LivePlan(core, empty_schedule(core))
    for o in range(len(core.ops)):
        before = int(total_cost(core, live.schedule))
        cost = live.insert(o)
        if cost is not None and fab.problem.succ_ptr[o] == fab.problem.succ_ptr[o + 1]:
            assert int(total_cost(core, live.schedule)) - before == cost


def test_the_search_returns_its_best_and_not_its_last() -> None:
    fab = microfab(40, 10, seed=2)
    core = make_core(fab.problem)
    schedule = append_first(fab.problem, core)
    start = int(total_cost(core, schedule))
    done = improve(core, schedule, moves=600, seed=1, between=Temperatures(1e9, 1e8))
    assert done.after <= start
    assert int(total_cost(core, schedule)) == done.after
    assert times_agree(core, schedule)


def test_the_search_can_put_things_later() -> None:
    fab = microfab(40, 10, seed=3)
    core = make_core(fab.problem)
    schedule = construct(fab.problem, core)
    before = schedule.start.copy()
    improve(core, schedule, moves=3_000, seed=1)
    assert (schedule.start > before).any()
    assert (schedule.start < before).any()


def test_a_machine_that_is_shut_takes_nothing() -> None:
    fab = FABS[0]
    core = make_core(fab.problem)
    schedule = empty_schedule(core)
    shut = np.ones(len(core.mach), np.int8)
    assert insert_best(core, schedule, new_journal(len(core.ops)), 0, 0, 0, shut, True) >= INFINITE


def test_weighted_tardiness_is_what_the_objective_counts() -> None:
    fab = microfab(40, 10, seed=5, flow_percent=0)
    core = make_core(fab.problem)
    core.rates[1:3] = 0
    schedule = construct(fab.problem, core)
    assert 100 * weighted_tardiness(fab.problem, schedule.avail, schedule.machine) == int(total_cost(core, schedule))


def queues(schedule: Schedule) -> list[list[int]]:
    """Every machine's operations in order."""
    return [row[:length].tolist() for row, length in zip(schedule.seq, schedule.length, strict=True)]


def chain_of_two() -> MicroFab:
    """A fab that has a chain whose operations share a machine."""
    for seed_ in range(1, 60):
        fab = microfab(12, 6, seed=seed_, calendars=False)
        try:
            first, second = chained_pair(fab)
            shared_machine(fab, first, second)
        except StopIteration:
            continue
        return fab
    raise AssertionError("no such fab")


def chained_pair(fab: MicroFab) -> tuple[int, int]:
    """Two operations that follow each other and share a machine."""
    p = fab.problem
    return next(
        (int(p.preds[p.pred_ptr[o]]), o)
        for o in range(p.operations)
        if p.pred_ptr[o + 1] > p.pred_ptr[o] and common(fab, int(p.preds[p.pred_ptr[o]]), o)
    )


def parts_of(core: Core, o: int) -> list[int]:
    """Everything the operation waits for, first things first."""
    out: list[int] = []
    for q in core.links[core.ops[o, PRED_LOW] : core.ops[o, PRED_HIGH]].tolist():
        out += [*parts_of(core, q), q]
    return out


def common(fab: MicroFab, a: int, b: int) -> list[int]:
    """Machines that can do both."""
    p = fab.problem
    one, two = (set(p.elig_machine[p.elig_ptr[o] : p.elig_ptr[o + 1]].tolist()) for o in (a, b))
    return sorted(one & two)


def shared_machine(fab: MicroFab, a: int, b: int) -> int:
    """The first machine that can do both."""
    return next(iter(common(fab, a, b)))
