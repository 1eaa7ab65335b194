"""Whatever the world looks like: a plan that the independent checker accepts, the same for the same input."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import Snapshot, plan, snapshot
from scheduler.planning.checker import violations
from scheduler.planning.engine import Planner
from tests.scheduler.planning.worlds import snapshots


@settings(max_examples=40)
@given(snapshots())
def test_any_snapshot_gives_a_possible_plan(world: Snapshot) -> None:
    made = plan(world, moves=200)
    assert violations(world, made) == []
    assert {p.job for p in made.placements} | {w.job for w in made.waiting} == {job.id for job in world.jobs}
    assert all(waiting.why for waiting in made.waiting)


@settings(max_examples=12)
@given(snapshots(most_jobs=5))
def test_the_exact_layer_gives_a_possible_plan_and_a_true_bound(world: Snapshot) -> None:
    made = plan(world, budget_s=1.0)
    assert violations(world, made) == []
    if made.bound is not None and not world.circuits:
        assert made.bound <= made.cost


@settings(max_examples=15)
@given(snapshots())
def test_the_same_snapshot_and_seed_give_the_same_plan(world: Snapshot) -> None:
    first, again = plan(world, seed=3, moves=150), plan(world, seed=3, moves=150)
    assert replace(first, wall_s=0) == replace(again, wall_s=0)


@settings(max_examples=15)
@given(snapshots(), st.randoms(use_true_random=False))
def test_relabelling_relabels_the_plan_and_changes_nothing_else(world: Snapshot, random: object) -> None:
    names = [f"m{i}" for i in range(6)], [f"j{i}" for i in range(9)], [f"s{i}" for i in range(3)]
    new = {}
    for group in names:
        shuffled = [f"x{len(new)}-{i}" for i in range(len(group))]
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        new.update(zip(group, shuffled, strict=True))
    other = Snapshot(
        world.now,
        tuple(replace(m, id=new[m.id], shop=new[m.shop]) for m in world.machines),
        tuple(_relabelled(j, new) for j in world.jobs),
        world.policy,
        tuple(replace(leg, start=new[leg.start], to=new.get(leg.to, leg.to)) for leg in world.legs),
        world.circuits,
    )
    mine, theirs = plan(world, moves=150), plan(other, moves=150)
    assert [(new[p.job], new[p.machine], p.start, p.finish, p.terms) for p in mine.placements] == [
        (p.job, p.machine, p.start, p.finish, p.terms) for p in theirs.placements
    ]


def _relabelled(job: snapshot.PlanJob, new: dict[str, str]) -> snapshot.PlanJob:
    return replace(
        job,
        id=new[job.id],
        order="other",
        predecessors=tuple(new[b] for b in job.predecessors),
        fixed=None if job.fixed is None else replace(job.fixed, machine=new[job.fixed.machine]),
        declined=tuple(replace(d, machine=new[d.machine]) for d in job.declined),
        own_shop=None if job.own_shop is None else new[job.own_shop],
    )


def test_no_type_of_the_planner_can_carry_money_or_names() -> None:
    forbidden = ("price", "bid", "balance", "credit", "donation", "revenue", "fee", "pay", "member", "person", "name")
    allowed = {("Term", "name")}  # of a term of the objective
    for name in dir(snapshot):
        kind = getattr(snapshot, name)
        if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
            for field in fields(kind):
                if (name, field.name) not in allowed:
                    assert not any(word in field.name for word in forbidden), f"{name}.{field.name}"


@pytest.mark.parametrize("seed", [0, 7])
@settings(max_examples=10)
@given(world=snapshots())
def test_a_decision_replays_to_the_same_answer(seed: int, world: Snapshot) -> None:
    decision = Planner(world, seed).decide(moves=100)
    assert Planner.replay(decision)
