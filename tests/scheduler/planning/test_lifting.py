"""The cheapest change for a job that waits, with the start it would give."""

from __future__ import annotations

from scheduler.planning import Declined, MaterialNeed, PlanTool
from scheduler.planning.engine import Planner
from scheduler.planning.lifting import lifts
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, world


def test_loading_a_spool_here_or_mounting_a_nozzle_there_each_with_its_start() -> None:
    plants = [
        printer("m1", tools=(PlanTool("nozzle", 0.4),), busy_until=NOW + 6 * HOUR),
        printer("m2", tools=(PlanTool("nozzle", 0.6),), accepts_pool=False),
        printer("m3", tools=(PlanTool("nozzle", 0.4),), pool_windows=(hours(2, 9),)),
    ]
    wanted = print_job("j", 60, need=MaterialNeed("PETG"), tools=(PlanTool("nozzle", 0.4),), due=NOW)
    planner = Planner(world(plants, [wanted]))
    before = planner.current()
    assert before.placements == ()
    first, second = lifts(planner, "j")
    assert (first.machine, first.checker, first.start) == ("m3", "material", NOW + 2 * HOUR)
    assert first.text == "load PETG on it (m3): starts 23 Nov 10:00 UTC"
    assert (second.machine, second.start) == ("m1", NOW + 6 * HOUR)
    assert first.cost < second.cost
    assert planner.current() == before


def test_an_owner_may_be_asked_again_and_hours_be_lengthened() -> None:
    plants = [printer("m1"), printer("m2", pool_windows=(hours(0, 0.5),))]
    planner = Planner(world(plants, [print_job("j", 60, declined=(Declined("m1"),))]))
    told = {lift.machine: lift for lift in lifts(planner, "j")}
    assert told["m1"].change == "ask the owner again"
    assert told["m2"].checker == "hours"


def test_what_has_nothing_to_lift_gets_no_promise() -> None:
    planner = Planner(world([printer("m")], [print_job("j", 60, bounds_mm=(900, 9, 9))]))
    assert lifts(planner, "j") == ()
