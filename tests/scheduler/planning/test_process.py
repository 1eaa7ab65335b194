"""The planner as a process: the same answers as beside it, deltas that add up, a child that may be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import BadSnapshot, Fixed, Plan, Snapshot, plan
from scheduler.planning.checker import violations
from scheduler.planning.differing import NO_PLAN, changed, plan_change
from scheduler.planning.process import PlannerHere, PlannerLost, PlannerProcess
from scheduler.planning.serving import SMALL
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, snapshots, world


@pytest.fixture
def child() -> Iterator[PlannerProcess]:
    planner = PlannerProcess(0.05)
    yield planner
    planner.close()


def fleet(jobs: int) -> Snapshot:
    """More jobs than are planned whole."""
    plants = [printer(f"m{i}", shop=f"s{i % 3}", attended_windows=(hours(0, 10), hours(24, 34))) for i in range(6)]
    return world(plants, [print_job(f"j{i}", 20 + i % 50, due=NOW + (i % 9) * HOUR) for i in range(jobs)])


def complete(snapshot: Snapshot, made: Plan) -> bool:
    """Every job is answered, and nothing is impossible."""
    answered = {one.job for one in made.placements} | {one.job for one in made.waiting}
    return answered == {job.id for job in snapshot.jobs} and violations(snapshot, made) == []


def test_a_small_network_gets_from_the_child_what_planning_gives(child: PlannerProcess) -> None:
    snapshot = fleet(6)
    assert replace(child(snapshot), wall_s=0.0).cost == replace(plan(snapshot), wall_s=0.0).cost
    assert child.measures.rounds == 1
    assert child.measures.latency_s >= child.measures.solve_s > 0


def test_a_large_network_is_carried_from_question_to_question(child: PlannerProcess) -> None:
    here = PlannerHere(0.0)
    snapshot = fleet(SMALL + 20)
    for round_ in range(5):
        assert complete(snapshot, child(snapshot))
        first = here(snapshot)
        assert complete(snapshot, first)
        soon = [p for p in first.placements if not p.fixed and p.start - snapshot.now <= HOUR]
        assert all(p.best_rejected is not None for p in soon)
        start = snapshot.now + timedelta(minutes=10)
        begun = soon[0]
        jobs = [
            replace(j, fixed=Fixed(begun.machine, begun.start)) if j.id == begun.job else j for j in snapshot.jobs[1:]
        ]
        snapshot = replace(snapshot, now=start, jobs=(*jobs, print_job(f"new{round_}", 45)))
    assert child.restarts == 0


def test_a_child_that_is_killed_is_replaced_within_the_same_question(child: PlannerProcess) -> None:
    snapshot = fleet(SMALL + 5)
    before = child(snapshot)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    snapshot = replace(snapshot, jobs=(*snapshot.jobs, print_job("late", 30)))
    after = child(snapshot)
    assert complete(snapshot, after)
    assert child.restarts == 1
    assert len(after.placements) == len(before.placements) + 1


def test_the_wait_for_a_child_is_bounded() -> None:
    planner = PlannerProcess(0.0)
    try:
        planner(fleet(4))
        assert planner.pid is not None
        os.kill(planner.pid, signal.SIGSTOP)
        # More than a pipe holds: also handing it over must not wait for ever.
        snapshot = fleet(600)
        planner._patience_s = 0.2
        with pytest.raises(PlannerLost, match="starts another"):
            planner(snapshot)
        planner._patience_s = 60.0
        small = fleet(5)
        assert complete(small, planner(small))
    finally:
        planner.close()


def test_what_cannot_be_planned_is_told_and_the_next_question_is_answered(child: PlannerProcess) -> None:
    good = fleet(4)
    child(good)
    with pytest.raises(BadSnapshot, match="two jobs are called j0"):
        child(replace(good, jobs=(*good.jobs, good.jobs[0], good.jobs[0]), policy=replace(good.policy, version="2")))
    assert complete(good, child(good))
    assert child.restarts == 0


def test_jobs_that_left_while_nothing_could_be_planned_have_left(child: PlannerProcess) -> None:
    good = fleet(4)
    child(good)
    with pytest.raises(BadSnapshot):
        child(replace(good, jobs=(*good.jobs, good.jobs[0])))
    with pytest.raises(BadSnapshot):
        child.quote(good, [good.jobs[0]])
    fewer = replace(good, jobs=good.jobs[1:])
    assert complete(fewer, child(fewer))


@pytest.mark.parametrize("size", [6, SMALL + 20])
def test_a_quote_is_where_the_jobs_go_once_they_are_ordered_and_changes_nothing(size: int) -> None:
    here, snapshot = PlannerHere(0.0), fleet(size)
    made = here(snapshot)
    asked = (print_job("first", 45), print_job("second", 30, predecessors=("first",)), print_job("no", options=()))
    told = here.quote(snapshot, asked)
    assert [wait.job for wait in told.waiting] == ["no"]
    assert replace(here(snapshot), wall_s=0.0) == replace(made, wall_s=0.0)
    ordered = here(replace(snapshot, jobs=(*snapshot.jobs, *asked)))
    places = {one.job: replace(one, best_rejected=None) for one in ordered.placements}
    assert {one.job: replace(one, best_rejected=None) for one in told.placements} == {
        job: places[job] for job in ("first", "second")
    }


def test_a_quote_from_the_child_neither_changes_its_plan_nor_needs_one(child: PlannerProcess) -> None:
    snapshot, asked = fleet(SMALL + 20), [print_job("asked", 45)]
    assert [one.job for one in child.quote(snapshot, asked).placements] == ["asked"]
    assert complete(snapshot, child(snapshot))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    assert [one.job for one in child.quote(snapshot, asked).placements] == ["asked"]
    assert complete(snapshot, child(snapshot))
    assert child.restarts == 1


@settings(max_examples=30)
@given(st.lists(snapshots(), min_size=1, max_size=3))
def test_plan_deltas_add_up(worlds: list[Snapshot]) -> None:
    before, kept = NO_PLAN, NO_PLAN
    for snapshot in worlds:
        after = plan(snapshot, moves=20)
        kept = changed(kept, plan_change(before, after))
        before = after
        assert {p.job: p for p in kept.placements} == {p.job: p for p in after.placements}
        assert {w.job: w for w in kept.waiting} == {w.job: w for w in after.waiting}
        assert replace(kept, placements=(), waiting=()) == replace(after, placements=(), waiting=())
