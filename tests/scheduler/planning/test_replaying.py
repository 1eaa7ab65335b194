"""Decisions made again from what was kept of them; and what was altered in the record is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import Fixed, Snapshot, Term, plan
from scheduler.planning.engine import Planner
from scheduler.planning.events import Cancelled, Changes, Ordered
from scheduler.planning.planfile import dump, load_plan, load_snapshot
from scheduler.planning.replaying import replayed
from tests.scheduler.planning.worlds import HOUR, NOW, busy_snapshots, jobs, print_job, printer, snapshots, world


@settings(max_examples=10)
@given(snapshots() | busy_snapshots())
def test_a_plan_with_counted_moves_is_made_again_whole(snapshot: Snapshot) -> None:
    made = plan(snapshot, seed=5, moves=60)
    kept = load_snapshot(dump(snapshot)), load_plan(dump(made))
    again = replayed(*kept)
    assert again.whole
    assert again.differences == ()


@settings(max_examples=10)
@given(snapshots() | busy_snapshots(), st.sampled_from([0.0005, 0.01, 0.1]))
def test_a_plan_that_time_ended_is_computed_again_however_slow_the_computer_was(snapshot: Snapshot, s: float) -> None:
    """With little time neither the exact layer nor the search may get anywhere, one of them, or both."""
    made = plan(snapshot, budget_s=s)
    again = replayed(load_snapshot(dump(snapshot)), load_plan(dump(made)))
    assert not again.whole
    assert again.differences == ()


@settings(max_examples=10)
@given(snapshots() | busy_snapshots(), st.data())
def test_what_follows_from_a_plan_that_lived_is_computed_again(snapshot: Snapshot, data: st.DataObject) -> None:
    planner = Planner(replace(snapshot, circuits=()))
    for _ in range(data.draw(st.integers(0, 3))):
        names = list(planner.book.view.job)
        kind = data.draw(st.sampled_from(["order", "cancel", "clock", "improve"]))
        if kind == "order":
            planner.repair(Ordered(data.draw(jobs(data.draw(st.integers(0, 11)), 2))))
        elif kind == "cancel" and names:
            planner.repair(Cancelled(data.draw(st.sampled_from(names))))
        elif kind == "clock":
            seconds = data.draw(st.integers(0, 1500))
            planner.apply(Changes(now=planner.snapshot.now + timedelta(seconds=seconds)))
        else:
            planner.improve(moves=40)
    made = planner.current()
    again = replayed(load_snapshot(dump(planner.snapshot)), load_plan(dump(made)))
    assert not again.whole
    assert again.differences == ()


@pytest.mark.parametrize("moves", [50, None])
def test_what_was_altered_in_the_record_is_found(moves: int | None) -> None:
    snapshot = world([printer("m"), printer("n")], [print_job(f"j{i}", 60, due=NOW) for i in range(5)])
    made = plan(snapshot, moves=moves, budget_s=0.2)
    assert replayed(snapshot, made).same
    first = made.placements[0]
    later = replace(first, start=first.start + HOUR, finish=first.finish + HOUR)
    cheaper = replace(first, terms=(*first.terms[:-1], Term(first.terms[-1].name, 1)))
    for forged in (later, cheaper):
        told = replayed(snapshot, replace(made, placements=(forged, *made.placements[1:])))
        assert first.job in " ".join(told.differences)
    running = replace(snapshot, jobs=(replace(snapshot.jobs[0], fixed=Fixed("m", NOW)), *snapshot.jobs[1:]))
    assert not replayed(running, made).same
