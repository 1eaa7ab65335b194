"""People as a resource: nobody is at two machines at once, weeks end, and long prints start before closing time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agents.contract.vocabulary import Process
from scheduler.planning import BadSnapshot, Crew, Fixed, Plan, PlanJob, PlanMachine, PlanPolicy, Snapshot, plan
from scheduler.planning.checker import faults, violations
from scheduler.planning.engine import Planner
from scheduler.planning.events import Ordered, difference
from scheduler.planning.feasibility import View, first_shut
from scheduler.planning.replaying import replayed
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, world

MINUTE = timedelta(minutes=1)
#: Eight in the morning to six in the evening, for two weeks.
DAYS = tuple(hours(24 * day, 24 * day + 10) for day in range(14))


def shop(count: int, **changes: object) -> list[PlanMachine]:
    """Printers in one shop that take ten minutes to load and five to unload."""
    plain = {"attended_windows": DAYS, "load_s": 600.0, "unload_s": 300.0}
    return [printer(f"p{i}", **{**plain, **changes}) for i in range(count)]


def laser(number: int) -> PlanMachine:
    """A laser that takes somebody from start to end, with wood in it."""
    return PlanMachine(f"l{number}", "s0", Process.LASER, attended=True, attended_windows=DAYS)


def cut(name: str, minutes: float) -> PlanJob:
    """A laser job without a date."""
    return replace(print_job(name, minutes), process=Process.LASER, need=None)


def both(snapshot: Snapshot) -> list[Plan]:
    """The exact layer's plan and the search's, both accepted by the checker."""
    found = [plan(snapshot, budget_s=4), plan(snapshot, moves=500)]
    for made in found:
        assert violations(snapshot, made) == []
        assert "corrected" not in made.engine
    return found


def starts(made: Plan) -> list[datetime]:
    """When jobs start, in order."""
    return sorted(placement.start for placement in made.placements)


def test_one_person_starts_one_machine_after_the_other_and_two_start_two() -> None:
    jobs = [print_job(f"j{i}", 120) for i in range(4)]
    for made in both(world(shop(4), jobs, crews=(Crew("s0", 1),))):
        assert starts(made) == [NOW + i * 10 * MINUTE for i in range(4)]
    for made in both(world(shop(4), jobs, crews=(Crew("s0", 2),))):
        assert starts(made) == [NOW, NOW, NOW + 10 * MINUTE, NOW + 10 * MINUTE]
    for made in both(world(shop(4), jobs)):
        assert starts(made) == [NOW] * 4


def test_a_finished_plate_blocks_its_machine_until_somebody_has_cleared_it() -> None:
    jobs = [print_job("first", 60), print_job("second", 60)]
    for made in both(world(shop(1), jobs, crews=(Crew("s0"),))):
        one, other = sorted(made.placements, key=lambda p: p.start)
        assert one.cleared == one.finish + 5 * MINUTE
        assert other.start == one.cleared


def test_parts_that_wait_overnight_are_taken_out_one_by_one_in_the_morning() -> None:
    jobs = [print_job(f"j{i}", 11 * 60) for i in range(3)]
    for made in both(world(shop(3), jobs, crews=(Crew("s0"),))):
        morning = NOW + 24 * HOUR
        assert sorted(p.cleared for p in made.placements if p.cleared) == [morning + i * 5 * MINUTE for i in (1, 2, 3)]


def test_long_prints_go_before_closing_time_and_short_ones_wait_for_the_morning() -> None:
    """At five in the afternoon one printer has a long and a short print: the long one runs through the night."""
    late = NOW + 9 * HOUR
    jobs = [print_job("long", 14 * 60), print_job("short", 35)]
    machines = shop(1, busy_until=late)
    for made in both(world(machines, jobs, crews=(Crew("s0"),))):
        short, long = made.placement("short"), made.placement("long")
        assert short is not None
        assert long is not None
        assert (short.start, long.start) == (late, short.cleared)
        assert long.start + 10 * MINUTE <= NOW + 10 * HOUR
    no_time_for_both = shop(1, busy_until=NOW + 9.25 * HOUR)
    for made in both(world(no_time_for_both, jobs, crews=(Crew("s0"),))):
        short, long = made.placement("short"), made.placement("long")
        assert long is not None
        assert short is not None
        assert long.start < NOW + 10 * HOUR
        assert short.start >= NOW + 24 * HOUR


def test_before_closing_time_one_person_starts_all_three_long_prints_earlier() -> None:
    """They could all start at once, were there three people; a fifth finds nobody left to start it before six."""
    jobs = [print_job(f"j{i}", 13 * 60, due=NOW + 24 * HOUR) for i in range(3)]
    machines = shop(3, busy_until=NOW + 9.25 * HOUR)
    made = plan(world(machines, jobs, crews=(Crew("s0"),)), budget_s=4)
    assert starts(made) == [NOW + 9.25 * HOUR + i * 10 * MINUTE for i in range(3)]
    more = [*jobs, print_job("j3", 13 * 60), print_job("j4", 13 * 60)]
    five = plan(world(shop(5, busy_until=NOW + 9.25 * HOUR), more, crews=(Crew("s0"),)))
    assert starts(five)[3] < NOW + 10 * HOUR
    assert starts(five)[4] >= NOW + 24 * HOUR


def test_of_130_hours_asked_of_five_people_100_are_planned_and_30_shown_as_the_gap() -> None:
    week = PlanPolicy(horizon_s=7 * 86_400 - 8 * 3_600, setup_s=0)
    jobs = [cut(f"j{i}", 120) for i in range(65)]
    snapshot = world([laser(i) for i in range(5)], jobs, policy=week, crews=(Crew("s0", 5),))
    made = plan(snapshot, moves=300)
    assert violations(snapshot, made) == []
    (weeks,) = made.hours
    assert (weeks.given_s / 3600, weeks.planned_s / 3600, weeks.asked_s / 3600) == (100, 100, 130)
    assert weeks.week == NOW.replace(hour=0)
    assert len(made.waiting) == 15
    (why, *_) = made.waiting[0].machines
    assert why.checker == "people"
    assert "give 100.0 h in the week of 23 Nov, 100.0 h are spent or planned, and it needs 2.0 h" in why.text
    assert "another person" in why.lift


def test_what_a_week_has_no_hours_for_is_planned_in_the_next_and_spent_hours_count() -> None:
    jobs = [cut("today", 120), cut("also today", 120), cut("next week", 120)]
    weeks = PlanPolicy(horizon_s=14 * 86_400, setup_s=0)
    snapshot = world([laser(0)], jobs, policy=weeks, crews=(Crew("s0", 1, 5.0, spent_s=3_600.0),))
    for made in both(snapshot):
        this, after = made.hours
        assert (this.planned_s, this.asked_s, after.planned_s) == (5 * 3_600, 7 * 3_600, 2 * 3_600)
        assert starts(made)[-1] == NOW + 7 * 24 * HOUR


@pytest.mark.parametrize(
    ("crew", "says"),
    [(Crew("s0", 0), "give 0.0 h a week"), (Crew("s0", 1, 1.5), "needs one of them for 2.4 h in one piece")],
)
def test_what_a_shop_has_no_people_for_is_said_with_the_numbers(crew: Crew, says: str) -> None:
    job = cut("j", 120)
    snapshot = world([laser(0)], [replace(job, options=(replace(job.options[0], p90_s=8_400.0),))], crews=(crew,))
    shut = first_shut(View(snapshot), snapshot.jobs[0], snapshot.machines[0])
    assert shut is not None
    assert (shut.checker, says in shut.text) == ("hours", True)
    (waiting,) = plan(snapshot, budget_s=0.2).waiting
    assert waiting.machines == (shut,)


def test_offered_work_keeps_its_person_and_the_rest_goes_around_it() -> None:
    offered = print_job("offered", 60, fixed=Fixed("p0", NOW + 5 * MINUTE, NOW + 65 * MINUTE, "offered"))
    snapshot = world(shop(2), [offered, print_job("free", 60)], crews=(Crew("s0"),))
    for made in both(snapshot):
        free = made.placement("free")
        assert free is not None
        assert free.start == NOW + 15 * MINUTE


def test_the_checker_sees_who_would_be_at_two_machines_who_gives_too_much_and_what_nobody_clears() -> None:
    jobs = [print_job("a", 60), print_job("b", 60)]
    alone = world(shop(2), jobs)
    crewed = replace(alone, crews=(Crew("s0"),))
    made = plan(alone, moves=50)
    texts = violations(crewed, made)
    assert any("never taken out" in text for text in texts)
    assert any("2 machines in s0 want somebody at 2026-11-23 08:00; its people are 1" in text for text in texts)
    good = plan(crewed, moves=50)
    early = [replace(p, cleared=p.finish) for p in good.placements]
    assert any("before it is done" in text for text in violations(crewed, replace(good, placements=tuple(early))))
    night = [replace(p, cleared=NOW + 12 * HOUR) for p in good.placements]
    assert any("while nobody is there" in text for text in violations(crewed, replace(good, placements=tuple(night))))
    short = replace(alone, crews=(Crew("s0", 1, 0.3),))
    assert {fault.job for fault in faults(short, good)} <= {"a", "b"}
    assert any("would give 0.5 h in the week of 2026-11-23 and have 0.3 h" in text for text in violations(short, good))


def test_a_live_plan_keeps_to_peoples_hours_through_events_and_searching() -> None:
    jobs = [print_job(f"j{i}", 50 + 7 * i, due=NOW + 6 * HOUR) for i in range(20)]
    snapshot = world(shop(4), jobs, crews=(Crew("s0"),))
    planner = Planner(snapshot)
    assert violations(planner.snapshot, planner.current()) == []
    before = planner.current().cost
    gained = sum(planner.improve(moves=300) for _ in range(6))
    assert violations(planner.snapshot, planner.current()) == []
    assert planner.current().cost == before - gained
    planner.repair(Ordered(print_job("new", 30)))
    made = planner.current()
    assert violations(planner.snapshot, made) == []
    assert made.hours
    assert replayed(planner.snapshot, made).same


def test_a_plan_with_people_replays_whether_its_moves_or_its_time_ended_it() -> None:
    jobs = [print_job(f"j{i}", 90 + 13 * i, due=NOW + 5 * HOUR) for i in range(7)]
    snapshot = world(shop(3), jobs, crews=(Crew("s0"),))
    for made in both(snapshot):
        assert replayed(snapshot, made).differences == ()


@pytest.mark.parametrize("spent_s", [20 * 3600.0, 1e18, 1e300])
def test_whoever_is_said_to_have_given_far_too_much_gives_nothing_more_this_week(spent_s: float) -> None:
    for made in both(world(shop(1), [print_job("a", 60)], crews=(Crew("s0", 1, 20.0, spent_s),))):
        assert starts(made) == [NOW + 7 * 24 * HOUR]


def test_other_people_are_other_rules() -> None:
    one = world(shop(1), [], crews=(Crew("s0"),))
    changes = difference(one, replace(one, crews=(Crew("s0", 2),)))
    assert changes.whole
    assert changes.crews == (Crew("s0", 2),)


@pytest.mark.parametrize(
    "crews",
    [
        (Crew("s0", -1),),
        (Crew("s0", 10**30),),
        (Crew("s0", 1, 200.0),),
        (Crew("s0", 1, 20.0, -5.0),),
        (Crew("s0"), Crew("s0")),
    ],
)
def test_people_who_cannot_be_counted_are_refused_with_a_sentence(crews: tuple[Crew, ...]) -> None:
    with pytest.raises(BadSnapshot, match="s0"):
        plan(world(shop(1), [], crews=crews))
