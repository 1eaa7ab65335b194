"""Why a machine may not, why a job waits, and what bad input is answered with: sentences, never a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from agents.contract.vocabulary import Process, Ring
from scheduler.planning import (
    BadSnapshot,
    Circuit,
    Declined,
    DurationOption,
    Fixed,
    Material,
    MaterialNeed,
    PlanJob,
    PlanMachine,
    PlanPolicy,
    PlanTool,
    Waiting,
    Window,
    plan,
)
from scheduler.planning.checker import violations
from scheduler.planning.core import Core, Schedule
from scheduler.planning.engine import Planner
from scheduler.planning.events import Cancelled, Down, Ended, MachineChanged, Pinned
from scheduler.planning.exact import ExactAnswer
from scheduler.planning.feasibility import CHECKERS, View, first_shut
from scheduler.planning.planfile import load_snapshot
from scheduler.planning.problem import Problem
from scheduler.planning.refusing import CORRECTED, only_possible
from scheduler.planning.timing import total_cost
from tests.scheduler.planning.test_files_and_learning import EXAMPLE
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, world

ABLE = printer("m", model="a", tools=(PlanTool("nozzle", 0.4),))
WANTED = print_job("j", 60, tools=(PlanTool("nozzle", 0.4),), bounds_mm=(100, 100, 100))
SHUT: dict[str, tuple[PlanMachine, PlanJob]] = {
    "process": (replace(ABLE, process=Process.LASER), WANTED),
    "machine": (replace(ABLE, quarantined="two thermal faults"), WANTED),
    "calendar": (replace(ABLE, pool_windows=(Window(NOW + HOUR, NOW),)), WANTED),
    "ring": (replace(ABLE, ring=Ring.CITY), replace(WANTED, ring=Ring.BLOCK)),
    "pool": (replace(ABLE, accepts_pool=False), WANTED),
    "declined": (ABLE, replace(WANTED, declined=(Declined("m", reasons=("too loud at night",)),))),
    "toolpath": (ABLE, replace(WANTED, options=(DurationOption(60, model="b"),))),
    "envelope": (ABLE, replace(WANTED, bounds_mm=(100, 250, 10))),
    "tools": (ABLE, replace(WANTED, tools=(PlanTool("nozzle", 0.8),))),
    "material": (ABLE, replace(WANTED, need=MaterialNeed("PETG"))),
    "power": (replace(ABLE, power_w=900, circuit="c"), WANTED),
    "hours": (replace(ABLE, pool_windows=(hours(1, 1.5),)), WANTED),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_each_checker_says_no_with_numbers_and_a_lift(checker: str) -> None:
    machine, job = SHUT[checker]
    circuits = (Circuit("c", 500),)
    assert first_shut(View(world([ABLE], [WANTED], circuits=circuits)), WANTED, ABLE) is None
    shut = first_shut(View(world([machine], [job], circuits=circuits)), job, machine)
    assert shut is not None
    assert shut.checker == checker
    assert shut.text
    assert shut.lift or checker == "process"
    made = plan(world([machine], [job], circuits=circuits))
    assert made.placements == ()
    assert made.waiting[0].machines == (shut,)


def test_a_missing_material_is_named_rather_than_the_toolpath_that_was_not_made_for_want_of_it() -> None:
    machine, job = SHUT["material"]
    for_others = replace(job, options=(DurationOption(60, model="b"),))
    shut = first_shut(View(world([machine], [for_others])), for_others, machine)
    assert shut is not None
    assert (shut.checker, shut.lift) == ("material", "load PETG on it")


def test_reasons_carry_the_numbers() -> None:
    machine, job = SHUT["envelope"]
    shut = first_shut(View(world([machine], [job])), job, machine)
    assert shut is not None
    assert "250.0 mm in y" in shut.text
    short = replace(ABLE, loaded=(Material("PLA", remaining_g=20),))
    need = replace(WANTED, need=MaterialNeed("PLA", amount_g=55))
    shut = first_shut(View(world([short], [need])), need, short)
    assert shut is not None
    assert "20 g" in shut.text
    assert "55 g" in shut.text


def test_no_machines_at_all() -> None:
    made = plan(world([], [print_job("a")]))
    assert made.waiting[0].why == "there are no machines yet: connect an agent"


def test_nothing_to_do() -> None:
    made = plan(world([ABLE], []))
    assert made.placements == ()
    assert made.waiting == ()
    assert made.cost == 0


def test_jobs_that_wait_for_each_other_wait_with_the_circle() -> None:
    jobs = [print_job(a, predecessors=(b,)) for a, b in (("a", "c"), ("b", "a"), ("c", "b"))]
    made = plan(world([ABLE], [*jobs, print_job("d", predecessors=("a",)), print_job("free")]))
    reasons = {waiting.job: waiting.why for waiting in made.waiting}
    assert set(reasons) == {"a", "b", "c", "d"}
    assert "its own part" in reasons["a"]
    assert "waits itself" in reasons["d"]
    assert [placement.job for placement in made.placements] == ["free"]


def test_a_part_that_nobody_makes_and_one_that_is_made() -> None:
    job = print_job("a", predecessors=("gone",))
    assert "gone" in plan(world([ABLE], [job])).waiting[0].why
    assert plan(world([ABLE], [job], made=("gone",))).waiting == ()


def test_a_million_minutes() -> None:
    made = plan(world([ABLE], [print_job("a", 1_000_000)]))
    assert made.waiting[0].machines[0].checker == "hours"


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("nan"), float("inf")])
def test_durations_that_are_none(seconds: float) -> None:
    made = plan(world([ABLE], [replace(WANTED, options=(DurationOption(seconds),))]))
    assert made.waiting[0].machines[0].checker in {"toolpath", "hours"}


def test_two_of_a_name_are_refused_with_a_sentence() -> None:
    with pytest.raises(BadSnapshot, match="two jobs are called a"):
        plan(world([ABLE], [print_job("a"), print_job("a")]))
    with pytest.raises(BadSnapshot, match="no time zone"):
        plan(replace(world([ABLE], []), now=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is what is tested


def test_more_work_than_room_waits_with_a_reason() -> None:
    policy = PlanPolicy(horizon_s=6 * 3600)
    made = plan(world([ABLE], [print_job(str(i), 110) for i in range(5)], policy=policy))
    assert len(made.placements) == 3
    assert {waiting.machines[0].checker for waiting in made.waiting} == {"room"}


def test_declined_for_now_is_asked_again_then() -> None:
    job = print_job("a", declined=(Declined("m", NOW + 5 * HOUR),))
    made = plan(world([ABLE], [job]))
    assert made.placements[0].start >= NOW + 5 * HOUR


def test_running_and_leased_work_stays_and_the_rest_goes_around_it() -> None:
    jobs = [
        print_job("running", fixed=Fixed("m", NOW - HOUR, NOW + HOUR)),
        print_job("leased", fixed=Fixed("m", NOW + 3 * HOUR, NOW + 4 * HOUR)),
        print_job("short", 60),
        print_job("long", 200),
    ]
    made = plan(world([ABLE], jobs))
    place = {placement.job: placement for placement in made.placements}
    assert (place["running"].start, place["running"].finish) == (NOW - HOUR, NOW + HOUR)
    assert place["leased"].start == NOW + 3 * HOUR
    assert place["short"].start >= NOW + HOUR
    assert place["short"].finish <= NOW + 3 * HOUR
    assert place["long"].start >= NOW + 4 * HOUR


def test_an_unattended_printer_starts_and_is_cleared_only_while_somebody_is_there() -> None:
    machine = printer("m", attended_windows=(hours(0, 9), hours(24, 33)))
    made = plan(world([machine], [print_job("a", 480), print_job("b", 480, due=NOW + 20 * HOUR)]))
    starts = sorted(placement.start for placement in made.placements)
    assert starts[0] == NOW
    assert starts[1] >= NOW + 8 * HOUR
    assert starts[1] <= NOW + 9 * HOUR


def test_long_prints_go_before_closing_time() -> None:
    """Both fit today; the long one runs into the night, the short ones need the person in between."""
    machine = printer("m", attended_windows=(hours(0, 6), hours(24, 30)))
    short = [print_job(f"s{i}", 60, due=NOW + 6 * HOUR) for i in range(4)]
    jobs = [print_job("long", 700, due=NOW + 30 * HOUR), *short]
    place = {p.job: p for p in plan(world([machine], jobs)).placements}
    assert place["long"].start == max(p.start for p in place.values())
    assert place["long"].start < NOW + 6 * HOUR


def test_a_laser_job_fits_in_one_attended_window() -> None:
    laser = PlanMachine("l", "s", Process.LASER, attended=True, attended_windows=(hours(0, 1), hours(5, 9)))
    job = PlanJob("a", "o", Process.LASER, (DurationOption(5_000, 5_000, 6_000),))
    placement = plan(world([laser], [job])).placements[0]
    assert placement.start >= NOW + 5 * HOUR
    assert placement.finish_p90 <= NOW + 9 * HOUR


def test_pool_work_ends_safely_inside_the_pool_hours_and_own_work_need_not() -> None:
    machine = printer("m", pool_windows=(hours(2, 4),))
    assert plan(world([machine], [print_job("a", 90)])).placements[0].start >= NOW + 2 * HOUR
    assert plan(world([machine], [print_job("a", 90, own_shop="s0")])).placements[0].start == NOW
    risky = print_job("a", 90, options=(DurationOption(5_400, 5_400, 9_000),))
    assert plan(world([machine], [risky])).waiting[0].machines[0].checker == "hours"


def test_one_circuit_carries_one_heater_at_a_time() -> None:
    machines = [printer(f"m{i}", power_w=300, circuit="c") for i in range(3)]
    snapshot = world(machines, [print_job(f"j{i}", 60) for i in range(3)], circuits=(Circuit("c", 650),))
    for made in (plan(snapshot), plan(snapshot, moves=300)):
        starts = sorted(placement.start for placement in made.placements)
        assert len(starts) == 3
        assert starts[1] == NOW
        assert starts[2] >= NOW + HOUR


def test_what_the_exact_layer_cannot_prove_is_searched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(problem: Problem, core: Core, warm: Schedule, **_: object) -> ExactAnswer:
        return ExactAnswer(warm, int(total_cost(core, warm)), 1, False)

    monkeypatch.setattr("scheduler.planning.planner.solve_exactly", at_once)
    snapshot = load_snapshot(EXAMPLE.read_text())
    first, searched = plan(snapshot, budget_s=0), plan(snapshot, budget_s=6)
    assert searched.cost < first.cost
    assert searched.bound == 1


def test_the_live_plan_keeps_the_circuit_too() -> None:
    machines = [printer(f"m{i}", power_w=300.4, circuit="c") for i in range(3)]
    circuit = Circuit("c", 601)
    planner = Planner(world(machines, [print_job(f"j{i}", 60) for i in range(3)], circuits=(circuit,)))
    first = sorted((p.start, p.finish) for p in planner.current().placements)
    assert [start for start, _ in first] == [NOW, NOW, first[0][1]]
    quoted = planner.quote(print_job("q", 60))
    assert planner.commit(print_job("q", 60)) == quoted
    assert [p.start for p in planner.current().placements] == [NOW, NOW, first[0][1], first[0][1]]
    assert CORRECTED not in planner.current().engine


def test_what_a_circuit_leaves_no_power_for_waits_and_so_does_what_needs_its_part() -> None:
    machines = [printer(f"m{i}", power_w=300, circuit="c") for i in range(2)]
    held = print_job("held", 60, fixed=Fixed("m0", NOW, NOW + 6 * HOUR))
    wanted = print_job("a", 60), print_job("b", 60, predecessors=("a",))
    policy = PlanPolicy(horizon_s=6 * 3600)
    snapshot = world(machines, [held, *wanted], circuits=(Circuit("c", 400),), policy=policy)
    snapshot = replace(snapshot, machines=tuple(replace(m, pool_windows=(hours(0, 6),)) for m in machines))
    for made in (plan(snapshot), plan(snapshot, moves=50), Planner(snapshot).current()):
        assert [placement.job for placement in made.placements] == ["held"]
        waiting = {one.job: one for one in made.waiting}
        assert "its circuit" in waiting["a"].machines[0].text
        assert waiting["b"].why == "it needs the part of job a, which waits itself"
        assert CORRECTED not in made.engine


def test_what_is_delayed_for_power_does_not_run_into_pinned_work() -> None:
    machines = [printer("m0", power_w=350, circuit="c"), printer("m1", power_w=100, circuit="c")]
    jobs = [
        print_job("now", 60, fixed=Fixed("m0", NOW, NOW + HOUR)),
        print_job("leased", 60, fixed=Fixed("m1", NOW + 2 * HOUR, NOW + 3 * HOUR)),
        print_job("free", 100, declined=(Declined("m0"),)),
    ]
    snapshot = world(machines, jobs, circuits=(Circuit("c", 400),))
    for made in (plan(snapshot, moves=50), Planner(snapshot).current()):
        place = made.placement("free")
        assert place is not None
        assert place.start == NOW + 3 * HOUR
        assert CORRECTED not in made.engine


def test_nothing_has_a_place_while_what_it_waits_for_has_none() -> None:
    """Pool hours and somebody to set up never meet for `part`; `whole` is the shop's own and could start any time."""
    machine = printer("m", pool_windows=(hours(0, 1),), attended_windows=(hours(1, 2),))
    jobs = [print_job("part", 1), print_job("whole", 1, predecessors=("part",), own_shop="s0"), print_job("own", 1)]
    snapshot = world([machine], [*jobs[:2], replace(jobs[2], own_shop="s0")])
    for made in (plan(snapshot), plan(snapshot, moves=50), Planner(snapshot).current()):
        assert [placement.job for placement in made.placements] == ["own"]
        reasons = {waiting.job: waiting.why for waiting in made.waiting}
        assert reasons["whole"] == "it needs the part of job part, which waits itself"
        assert "no machine" in reasons["part"]
    planner = Planner(replace(snapshot, jobs=snapshot.jobs[1:]))
    told = planner.commit(snapshot.jobs[0])
    assert isinstance(told, Waiting)
    assert planner.explain("whole").placement is None


def test_fixed_work_that_waits_for_each_other_in_a_circle_stays_where_it_is() -> None:
    jobs = [print_job(a, fixed=Fixed("m", NOW), predecessors=(b,)) for a, b in (("a", "b"), ("b", "a"))]
    assert len(plan(world([ABLE], jobs)).placements) == 2


def test_what_the_checker_refuses_waits_and_the_rest_of_the_plan_goes_out(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [print_job("a"), print_job("b", predecessors=("a",)), print_job("c"), print_job("d", fixed=Fixed("n", NOW))]
    snapshot = world([ABLE, printer("n")], jobs)
    made = plan(snapshot)
    assert only_possible(snapshot, made) is made
    spoilt = tuple(replace(p, start=NOW - HOUR) if p.job == "a" else p for p in made.placements)
    left = only_possible(snapshot, replace(made, placements=spoilt))
    assert violations(snapshot, left) == []
    assert {placement.job for placement in left.placements} == {"c", "d"}
    reasons = {waiting.job: waiting.why for waiting in left.waiting}
    assert "refused by the planner's own check: a on" in reasons["a"]
    assert reasons["b"] == "it needs the part of job a, which waits itself"
    assert left.engine.endswith(CORRECTED)
    assert left.cost == sum(placement.cost for placement in left.placements)
    assert "impossible plan" in caplog.text
    doubled = only_possible(snapshot, replace(made, placements=(*made.placements, made.placements[0])))
    assert violations(snapshot, doubled) == []
    assert [placement.job for placement in doubled.placements] == ["d"]


def test_changeovers_are_grouped_and_the_other_family_still_starts() -> None:
    """Eight half-hour jobs in two materials, an hour to change: first-come takes 660 minutes, grouped 300."""
    policy = PlanPolicy(setup_s=0, setup_colour_s=3_600, setup_material_s=3_600)
    machine = printer("m", loaded=(Material("PLA"),), loadable=(Material("PETG"),))
    jobs = [print_job(f"j{i}", 30, need=MaterialNeed("PLA" if i % 2 == 0 else "PETG")) for i in range(8)]
    made = plan(world([machine], jobs, policy=policy), budget_s=5)
    assert max(placement.finish for placement in made.placements) == NOW + 5 * HOUR


def test_the_terms_add_up_and_the_best_other_place_is_named() -> None:
    made = plan(world([printer("m"), printer("n", shop="s1")], [print_job("a", due=NOW), print_job("b", due=NOW)]))
    assert made.cost == sum(placement.cost for placement in made.placements)
    assert all(placement.best_rejected is not None for placement in made.placements)
    assert all(p.best_rejected.cost >= p.cost for p in made.placements if p.best_rejected)


def test_the_checker_catches_what_it_should() -> None:
    snapshot = world([ABLE, printer("n", attended_windows=(hours(5, 9),))], [print_job("a"), print_job("b")])
    made = plan(snapshot)
    a, b = made.placements
    wrong = {
        "both on": (replace(a, machine="m", start=b.start, finish=b.finish), replace(b, machine="m")),
        "less time": (replace(a, finish=a.start), b),
        "before": (replace(a, start=NOW - HOUR, finish=NOW), b),
        "nobody is there": (replace(a, machine="n"), b),
        "neither placed nor waiting": (a,),
        "does not have both": (replace(a, machine="x"), b),
    }
    assert violations(snapshot, made) == []
    for words, placements in wrong.items():
        assert any(words in found for found in violations(snapshot, replace(made, placements=placements))), words


def test_events_bring_the_plan_up_to_date() -> None:
    planner = Planner(world([printer("m"), printer("n")], [print_job(f"j{i}", 60) for i in range(4)]))
    assert len(planner.current().placements) == 4
    planner.repair(Pinned("j0", Fixed("m", NOW, NOW + HOUR)))
    planner.repair(Down("m", NOW + 10 * HOUR))
    assert {p.machine for p in planner.current().placements if p.start < NOW + 10 * HOUR} == {"n"}
    planner.repair(MachineChanged(printer("new")))
    planner.repair(Cancelled("j1"))
    assert planner.current().placement("j1") is None
    quoted = planner.quote(print_job("q"))
    assert planner.current().placement("q") is None
    assert planner.commit(print_job("q")) == quoted
    planner.repair(Pinned("q", Fixed("new", NOW, NOW + HOUR)))
    planner.repair(Ended("q", NOW + 2 * HOUR))
    told = planner.explain("q")
    assert told.placement is not None
    assert told.placement.finish == NOW + 2 * HOUR
    planner.improve(moves=100)
    planner.advance(NOW + HOUR)
    assert planner.current().placements
