"""What an hour's current costs the climate: the same number from the core, the exact model and by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import BadSnapshot, Carbon, Declined, Fixed, PlanPolicy, Snapshot, Term, plan
from scheduler.planning.checker import violations
from scheduler.planning.compiling import compile_snapshot
from scheduler.planning.construction import append_first
from scheduler.planning.core import Core, Schedule, empty_schedule
from scheduler.planning.engine import Planner
from scheduler.planning.estimating import INFINITE
from scheduler.planning.events import MachineChanged
from scheduler.planning.exact import solve_exactly
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.insertion import insert_best
from scheduler.planning.planfile import dump, load_snapshot
from scheduler.planning.propagation import new_journal
from scheduler.planning.replaying import replayed
from scheduler.planning.timing import total_cost
from tests.scheduler.planning.exactly import (
    assert_moving_and_leaving_cost_what_is_said,
    assert_no_place_is_cheaper_than_insertions,
    everywhere,
)
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, world

#: So dear is carbon that a print waits for the sun.
EAGER = PlanPolicy(carbon_minutes=100)
#: Dirty until noon, clean in the early afternoon, dirty again (UTC).
SUNNY = (600.0,) * 12 + (100.0,) * 4 + (600.0,) * 8


def fab(number: int, jobs: int = 14) -> Snapshot:
    """Printers of two powers in two shops, one of them with a curve."""
    machines = [printer(f"p{i}", f"s{i % 2}", power_w=(90.0, 310.0, 700.0)[(i + number) % 3]) for i in range(4)]
    machines = [replace(m, attended_windows=tuple(hours(24 * d, 24 * d + 11) for d in range(6))) for m in machines]
    wanted = [print_job(f"j{i}", 40 + (37 * i * (number + 1)) % 300, due=NOW + (i % 5) * 4 * HOUR) for i in range(jobs)]
    curves = Carbon("s0", SUNNY), Carbon("s1", (350.0,) * 24)
    return world(machines, wanted, carbon=curves, policy=PlanPolicy(carbon_minutes=200))


def energy(made: tuple[Term, ...]) -> int:
    """The energy term."""
    return sum(term.value for term in made if term.name == "energy")


def test_a_print_waits_for_clean_hours_where_nobody_waits_for_it_and_not_where_somebody_does() -> None:
    job = print_job("j", 175, due=NOW + 30 * HOUR)
    patient = world([printer("p", power_w=500.0)], [job], carbon=(Carbon("s0", SUNNY),), policy=EAGER)
    urgent = replace(patient, jobs=(replace(job, due=NOW),))
    for moves, budget_s in ((300, 0.0), (None, 6.0)):
        made = plan(patient, moves=moves, budget_s=budget_s)
        assert violations(patient, made) == []
        (placed,) = made.placements
        assert NOW + 4 * HOUR <= placed.start + timedelta(minutes=5) <= NOW + 5 * HOUR
        assert energy(placed.terms) <= 1_500
        assert replayed(patient, made).differences == ()
        assert plan(urgent, moves=moves, budget_s=budget_s).placements[0].start == NOW
    blocked = replace(
        patient, jobs=(job, print_job("k", 60, fixed=Fixed("p", NOW + 4 * HOUR, NOW + 23 * HOUR, "offered")))
    )
    made = plan(blocked, moves=300)
    assert violations(blocked, made) == []


def test_the_cleaner_shop_gets_the_job() -> None:
    machines = [printer("dirty", "s0", power_w=300.0), printer("clean", "s1", power_w=300.0)]
    curves = (Carbon("s0", (700.0,) * 24), Carbon("s1", (50.0,) * 24))
    snapshot = world(machines, [print_job("j", 295)], carbon=curves)
    for made in (plan(snapshot, budget_s=2), plan(snapshot, moves=100)):
        (placed,) = made.placements
        assert placed.machine == "clean"
        # 295 min of 300 W are 1.475 kWh, at 50 g 73.75 g, at 10 weight-minutes a kilogram 0.7375 of one.
        assert energy(placed.terms) == 73
        assert placed.best_rejected is not None
        assert energy(placed.best_rejected.terms) == 1_032


def test_nothing_is_counted_where_no_curve_is_known_or_no_power() -> None:
    job = print_job("j", 100)
    for snapshot in (
        world([printer("p", power_w=300.0)], [job]),
        world([printer("p")], [job], carbon=(Carbon("s0", SUNNY),)),
        world([printer("p", "s1", power_w=300.0)], [job], carbon=(Carbon("s0", SUNNY),)),
        world([printer("p", power_w=300.0)], [job], carbon=(Carbon("s0", SUNNY),), policy=PlanPolicy(carbon_minutes=0)),
    ):
        made = plan(snapshot, moves=20)
        assert energy(made.terms) == 0
        assert violations(snapshot, made) == []


def test_the_prefix_sums_begin_at_the_time_of_day_of_the_epoch() -> None:
    later = timedelta(hours=3, minutes=41, seconds=17)
    machine, job = printer("p", power_w=1_000.0), print_job("j", 60)
    snapshot = replace(world([machine], [job], carbon=(Carbon("s0", SUNNY),)), now=NOW + later)
    made = plan(snapshot, moves=20)
    # It prints from 11:46:17 to 12:46:17: fourteen minutes begin before noon, forty-six after.
    grams = 14 / 60 * 600 + 46 / 60 * 100
    assert energy(made.terms) == int(grams)
    assert violations(snapshot, made) == []


@settings(max_examples=40)
@given(st.integers(0, 2), st.integers(0, 1_000), st.integers(0, 1_000))
def test_estimates_count_energy_exactly(number: int, which: int, to: int) -> None:
    core, schedule = planned(number)
    o = assert_moving_and_leaving_cost_what_is_said(core, schedule, which, to)
    assert_no_place_is_cheaper_than_insertions(core, schedule, o)


def test_a_push_into_clean_hours_is_seen_though_the_place_itself_is_dear() -> None:
    """Four other machines are cheaper for the job alone; in front it sends the longer job to tomorrow's clean hours."""
    dirty = printer("m", power_w=6_000.0, pool_windows=(hours(0, 3), hours(28, 34)))
    others = [printer(f"n{i}", "s1", busy_until=NOW + (20 + i) * HOUR) for i in range(4)]
    only_there = tuple(Declined(other.id, None) for other in others)
    jobs_ = [print_job("long", 120, declined=only_there), print_job("short", 90)]
    curve = Carbon("s0", tuple(5_000.0 if 8 <= hour < 11 else 0.0 for hour in range(24)))
    compiled = compile_snapshot(world([dirty, *others], jobs_, carbon=(curve,)))
    core = compiled.core
    schedule, journal = empty_schedule(core), new_journal(len(core.ops))
    shut = np.zeros(len(core.mach), np.int8)
    rows = {job.id: o for o, job in enumerate(compiled.jobs)}
    assert int(insert_best(core, schedule, journal, rows["long"], 0, 0, shut, True)) < INFINITE
    before = int(total_cost(core, schedule))
    least = min(cost for cost in everywhere(core, schedule, rows["short"]) if cost is not None) - before
    assert least < 0
    assert int(insert_best(core, schedule, journal, rows["short"], 0, 0, shut, True)) == least


def planned(number: int) -> tuple[Core, Schedule]:
    """A first plan."""
    compiled = compile_snapshot(fab(number))
    assert len(compiled.core.carbon)
    return compiled.core, append_first(compiled.problem, compiled.core)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_search_keeps_the_same_sum_that_is_computed_anew(number: int) -> None:
    core, schedule = planned(number)
    done = improve(core, schedule, seed=number, moves=4_000)
    assert done.after == int(total_cost(core, schedule))
    assert times_agree(core, schedule)
    assert done.after < done.before


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_exact_layer_counts_the_same_energy_and_says_a_true_bound(number: int) -> None:
    snapshot = fab(number, jobs=3)
    compiled = compile_snapshot(snapshot)
    warm = append_first(compiled.problem, compiled.core)
    searched = plan(snapshot, moves=4_000)
    found = solve_exactly(compiled.problem, compiled.core, warm, budget_s=8, shared=compiled.shared)
    assert found is not None
    assert found.cost == int(total_cost(compiled.core, found.schedule)) <= int(total_cost(compiled.core, warm))
    assert found.bound is not None
    assert found.bound <= min(found.cost, searched.cost)
    if found.proven:
        assert found.cost == found.bound
    assert energy(searched.terms) > 0


def test_the_checker_finds_current_that_was_not_counted() -> None:
    snapshot = fab(0)
    made = plan(snapshot, moves=100)
    first = next(p for p in made.placements if energy(p.terms))
    wrong = replace(first, terms=tuple(t for t in first.terms if t.name != "energy"))
    others = tuple(p for p in made.placements if p is not first)
    (said,) = violations(snapshot, replace(made, placements=(wrong, *others)))
    assert "its current costs" in said


def test_a_machine_with_another_power_costs_otherwise_in_a_live_plan() -> None:
    snapshot = world([printer("p", power_w=100.0)], [print_job("j", 175)], carbon=(Carbon("s0", SUNNY),))
    planner = Planner(snapshot)
    before = energy(planner.current().terms)
    planner.repair(MachineChanged(printer("p", power_w=900.0)))
    made = planner.current()
    assert abs(energy(made.terms) - 9 * before) <= 9
    assert violations(planner.snapshot, made) == []


def test_curves_and_people_go_through_plan_files() -> None:
    snapshot = fab(1)
    assert load_snapshot(dump(snapshot)) == snapshot


@pytest.mark.parametrize("grams", [(400.0,) * 23, (-1.0,) * 24, (float("nan"),) * 24, (1e9,) * 24])
def test_curves_that_mean_nothing_are_refused_with_a_sentence(grams: tuple[float, ...]) -> None:
    with pytest.raises(BadSnapshot, match="s0 is not 24 numbers"):
        plan(world([printer("p", power_w=100.0)], [], carbon=(Carbon("s0", grams),)))
