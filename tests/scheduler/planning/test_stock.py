"""Jobs on one machine eat from the same spool: together never more than is on it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import Fixed, Material, MaterialNeed, PlanJob, plan
from scheduler.planning.checker import violations
from scheduler.planning.engine import Planner
from scheduler.planning.refusing import CORRECTED
from tests.scheduler.planning.worlds import HOUR, NOW, print_job, printer, world


def hungry(name: str, grams: float, **changes: object) -> PlanJob:
    """A print that eats so much."""
    return print_job(name, 60, need=MaterialNeed("PLA", amount_g=grams), **changes)


def spool(grams: float) -> tuple[Material, ...]:
    """One weighed spool of PLA."""
    return (Material("PLA", remaining_g=grams),)


def test_three_times_400_g_are_not_planned_from_a_spool_of_a_kilogram() -> None:
    snapshot = world([printer("m", loaded=spool(1000))], [hungry(f"j{i}", 400) for i in range(3)])
    for made in (plan(snapshot), plan(snapshot, moves=100), Planner(snapshot).current()):
        assert len(made.placements) == 2
        (waiting,) = made.waiting
        assert waiting.machines[0].checker == "material"
        assert "1000 g of PLA are there, 800 g of them are planned" in waiting.machines[0].text
        assert waiting.machines[0].lift == "load another spool of PLA"
        assert CORRECTED not in made.engine
        assert violations(snapshot, made) == []


def test_what_a_spool_is_too_small_for_goes_where_there_is_enough() -> None:
    plants = [printer("m", loaded=spool(500)), printer("n", loaded=spool(500), busy_until=NOW + 40 * HOUR)]
    snapshot = world(plants, [hungry("a", 300), hungry("b", 300), hungry("next", 300, predecessors=("b",))])
    made = plan(snapshot, moves=100)
    assert {p.machine for p in made.placements} == {"m", "n"}
    assert len(made.placements) == 2
    assert CORRECTED not in made.engine


def test_a_spool_in_the_shop_counts_once_for_all_its_machines() -> None:
    plants = [printer(f"m{i}", loaded=(), loadable=spool(500)) for i in range(2)]
    made = plan(world(plants, [hungry("a", 300), hungry("b", 300)]), moves=100)
    assert len(made.placements) == 1
    two = [replace(plant, loadable=spool(500) * 2) for plant in plants]
    assert len(plan(world(two, [hungry("a", 300), hungry("b", 300)]), moves=100).placements) == 1
    unweighed = [replace(plant, loadable=(Material("PLA"),)) for plant in plants]
    assert len(plan(world(unweighed, [hungry("a", 300), hungry("b", 300)]), moves=100).placements) == 2


def test_the_checker_finds_a_plan_that_overdraws() -> None:
    jobs = [hungry("a", 400), hungry("b", 400, fixed=Fixed("m", NOW + 5 * HOUR))]
    rich, poor = world([printer("m", loaded=spool(1000))], jobs), world([printer("m", loaded=spool(600))], jobs)
    made = plan(rich, moves=50)
    assert violations(rich, made) == []
    assert any("800 g are planned on m from a spool of 600 g" in wrong for wrong in violations(poor, made))
    assert [p.job for p in plan(poor, moves=50).placements] == ["b"]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(50, 600), st.booleans()), max_size=7),
    st.lists(st.integers(0, 1200), min_size=1, max_size=3),
)
def test_whatever_is_eaten_no_plan_overdraws(jobs: list[tuple[int, bool]], spools: list[int]) -> None:
    plants = [printer(f"m{i}", loaded=spool(float(g)), loadable=spool(300.0)) for i, g in enumerate(spools)]
    wanted = [
        hungry(f"j{i}", grams, predecessors=(f"j{i - 1}",) if chained and i else ())
        for i, (grams, chained) in enumerate(jobs)
    ]
    snapshot = world(plants, wanted)
    for made in (plan(snapshot, moves=40), Planner(snapshot).current()):
        assert violations(snapshot, made) == []
        assert CORRECTED not in made.engine
