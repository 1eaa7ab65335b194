"""A plan that lives through events equals one compiled anew from what the world has become."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract.vocabulary import NeedClass
from scheduler.planning import (
    Circuit,
    Crew,
    Declined,
    DurationOption,
    Fixed,
    Leg,
    Material,
    PlanJob,
    PlanMachine,
    Pressure,
    Snapshot,
)
from scheduler.planning.core import GUIDE_DUE, GUIDE_WEIGHT
from scheduler.planning.engine import Planner
from scheduler.planning.events import (
    Cancelled,
    Changes,
    Down,
    Ended,
    MachineChanged,
    MachineGone,
    Made,
    Ordered,
    Pinned,
    Released,
    Reserved,
    Unpinned,
    applied,
    difference,
)
from scheduler.planning.problem import NEVER
from tests.scheduler.planning.compiled_anew import same_as_compiled_anew
from tests.scheduler.planning.worlds import (
    HOUR,
    NOW,
    busy_snapshots,
    hours,
    jobs,
    machines,
    materials,
    print_job,
    printer,
    windows,
    world,
)
from tests.scheduler.planning.worlds import snapshots as any_snapshots


@st.composite
def happenings(draw: st.DrawFn, planner: Planner) -> Any:
    """Anything that may happen to this plan."""
    names, rows = list(planner.book.view.job), list(planner.book.view.machine)
    kinds = ["order", "clock", "improve", "made", "prices"]
    kinds += ["down", "machine", "altered", "gone", "reserved", "released"] if rows else []
    kinds += ["cancelled", "ended", "again", "job"] if names else []
    kinds += ["pinned", "unpinned"] if names and rows else []
    kind = draw(st.sampled_from(kinds))
    now = planner.snapshot.now
    moment = now + draw(st.integers(0, 30)) * HOUR / 2
    if kind in ("order", "again"):
        number = draw(st.integers(0, 11))
        return Ordered(draw(jobs(number, max(1, len(rows)))))
    if kind == "clock":
        return Changes(now=now + timedelta(seconds=draw(st.integers(0, 1500))))
    if kind == "improve":
        return None
    if kind == "prices":
        shops = draw(st.lists(st.sampled_from(["s0", "s1", "s2"]), max_size=2, unique=True))
        return Changes(pressures=tuple(Pressure(shop, draw(st.sampled_from([-0.4, 0.1]))) for shop in shops))
    if kind == "made":
        made = draw(st.lists(st.sampled_from([f"j{i}" for i in range(9)]), max_size=2, unique=True))
        return Changes(made=tuple(made))
    if kind in ("down", "machine", "altered", "gone", "reserved", "released"):
        name = draw(st.sampled_from(rows))
        window = hours(start := draw(st.integers(0, 40)), start + draw(st.integers(1, 9)))
        return {
            "down": Down(name, moment),
            "machine": MachineChanged(draw(machines(draw(st.integers(0, 4))))),
            "altered": MachineChanged(draw(altered(planner.book.view.machine[name]))),
            "gone": MachineGone(name),
            "reserved": Reserved(name, window),
            "released": Released(name, (planner.book.view.machine[name].reserved or (window,))[0]),
        }[kind]
    name = draw(st.sampled_from(names))
    if kind == "job":
        job = planner.book.view.job[name]
        other = draw(st.sampled_from([None, "m0", "m1", "m9"]))
        return Ordered(replace(job, due=moment, previous_machine=other))
    if kind == "pinned":
        minutes = draw(st.integers(1, 90))
        return Pinned(name, Fixed(draw(st.sampled_from([*rows, "m9"])), moment, moment + timedelta(minutes=minutes)))
    if kind == "ended":
        fixed = planner.book.view.job[name].fixed
        return Made(name) if fixed is None else Ended(name, moment)
    return Cancelled(name) if kind == "cancelled" else Unpinned(name)


@st.composite
def altered(draw: st.DrawFn, machine: PlanMachine) -> PlanMachine:
    """The machine, other in one thing only."""
    other: dict[str, Any] = {
        "shop": draw(st.sampled_from(["s0", "s1", "s2"])),
        "busy_until": NOW + draw(st.integers(0, 30)) * HOUR,
        "pool_windows": draw(windows()),
        "attended_windows": draw(windows()),
        "power_w": draw(st.sampled_from([None, 150.0, 350.0])),
        "circuit": draw(st.sampled_from(["", "c0"])),
        "load_s": draw(st.sampled_from([0.0, 900.0])),
        "unload_s": draw(st.sampled_from([0.0, 1_290.0])),
        "loaded": tuple(map(Material, draw(st.lists(materials, max_size=2, unique=True)))),
    }
    field = draw(st.sampled_from(sorted(other)))
    return replace(machine, **{field: other[field]})


@settings(max_examples=40)
@given(any_snapshots() | busy_snapshots(), st.booleans(), st.data())
def test_any_events_leave_the_state_that_full_recomputation_gives(
    snapshot: Snapshot, circuits: bool, data: st.DataObject
) -> None:
    planner = Planner(snapshot if circuits else replace(snapshot, circuits=()))
    same_as_compiled_anew(planner)
    for _ in range(data.draw(st.integers(1, 6))):
        happened = data.draw(happenings(planner))
        before = planner.snapshot
        if happened is None:
            planner.improve(moves=40)
        elif isinstance(happened, Changes):
            planner.apply(happened)
        else:
            planner.repair(happened)
        same_as_compiled_anew(planner)
        delta = difference(before, planner.snapshot)
        assert applied(before, delta) == planner.snapshot or set(applied(before, delta).jobs) == set(
            planner.snapshot.jobs
        )


def test_a_circle_that_closes_and_opens_takes_its_links_and_guides_with_it() -> None:
    urgent: dict[str, Any] = {"need_class": NeedClass.SURVIVAL, "due": NOW + 5 * HOUR}
    chain = [
        print_job("first"),
        print_job("part", predecessors=("before",), **urgent),
        print_job("whole", predecessors=("first", "part"), **urgent),
    ]
    planner = Planner(world([printer("m")], [print_job("before"), *chain]))
    inherited = guide(planner, "first")
    same_as_compiled_anew(planner)
    # What needs its own part has no place: it neither hurries those before it nor waits for them...
    planner.repair(Ordered(print_job("before", predecessors=("whole",))))
    same_as_compiled_anew(planner)
    assert guide(planner, "first")[0] == NEVER
    planner.repair(Ordered(print_job("first", 61)))
    # ... until the circle opens.
    planner.repair(Ordered(print_job("before")))
    same_as_compiled_anew(planner)
    assert guide(planner, "first") == inherited
    place = {p.job: p for p in planner.current().placements}
    assert place["whole"].start >= max(place["first"].finish, place["part"].finish)
    planner.repair(Pinned("first", Fixed("m", NOW, NOW + 9 * HOUR)))
    same_as_compiled_anew(planner)


def guide(planner: Planner, job: str) -> tuple[int, int]:
    """Due tick and weight that a job has of its own and of those that need its part."""
    row = planner.book.core.ops[planner.book.row[job]]
    return int(row[GUIDE_DUE]), int(row[GUIDE_WEIGHT])


def test_a_machine_that_moves_to_another_shop_takes_the_way_of_its_parts_with_it() -> None:
    part = print_job("part", 60, fixed=Fixed("n", NOW, NOW + HOUR))
    whole = print_job("whole", 60, predecessors=("part",), declined=(Declined("n", None),))
    far = world([printer("m"), printer("n", "s1")], [part, whole], legs=(Leg("s0", "s1", 1800.0),))
    planner = Planner(far)
    assert start_of(planner, "whole") == NOW + 1.5 * HOUR
    planner.repair(MachineChanged(printer("n")))
    assert start_of(planner, "whole") == NOW + HOUR
    same_as_compiled_anew(planner)


def test_the_way_changes_also_where_power_delayed_the_part_and_nothing_else_did() -> None:
    def wired(name: str, shop: str, circuit: str) -> PlanMachine:
        return printer(name, shop, circuit=circuit, power_w=350.0)

    busy = print_job("busy", 150, fixed=Fixed("o", NOW, NOW + 2.5 * HOUR))
    part = print_job("part", 60, options=(DurationOption(3600, 3600, 3600, machine="n"),))
    after = {"predecessors": ("part",), "release": NOW + 3 * HOUR}
    whole = print_job("whole", 60, options=(DurationOption(3600, 3600, 3600, machine="m"),), **after)
    planner = Planner(
        world(
            [wired("m", "s0", "c0"), wired("k", "s0", "c0"), wired("n", "s1", "c1"), wired("o", "s1", "c1")],
            [busy, part, whole],
            circuits=(Circuit("c0", 400.0), Circuit("c1", 400.0)),
            legs=(Leg("s0", "s1", 1800.0),),
        )
    )
    assert start_of(planner, "part") == NOW + 2.5 * HOUR
    ends = NOW + 3.5 * HOUR + timedelta(minutes=5)
    assert start_of(planner, "whole") == ends + HOUR / 2
    planner.repair(MachineChanged(wired("n", "s0", "c1")))
    assert start_of(planner, "whole") == ends
    same_as_compiled_anew(planner)


def test_a_machine_that_comes_to_people_is_said_to_be_cleared_by_them_and_its_shop_to_cost_what_it_does() -> None:
    away = printer("m", "s1")
    planner = Planner(
        world([away], [print_job("a", delivery="home")], crews=(Crew("s0"),), legs=(Leg("s0", "home", 600.0),))
    )
    planner.apply(Changes(pressures=(Pressure("s0", 0.5),)))
    assert planner.current().placements[0].cleared is None
    planner.repair(MachineChanged(replace(away, shop="s0")))
    same_as_compiled_anew(planner)
    placed = planner.current().placements[0]
    assert placed.cleared == placed.finish
    assert {"fair shares", "transport"} <= {term.name for term in placed.terms}


def test_who_waits_for_a_part_waits_on_where_its_machine_fails_with_held_work_behind_it() -> None:
    def only_on(machine: str, minutes: float) -> dict[str, Any]:
        return {"options": (DurationOption(60 * minutes, 60 * minutes, 60 * minutes, machine=machine),)}

    jobs_ = [
        print_job("first", 240, due=NOW, declined=(Declined("o", None),)),
        print_job("part", **only_on("m", 60)),
        print_job("held", 5, fixed=Fixed("m", NOW + 6 * HOUR, NOW + 7 * HOUR, "leased")),
        print_job("whole", predecessors=("part",), **only_on("o", 60)),
    ]
    # Whatever comes before the part there, somebody takes it out at 14:00.
    windows_ = (hours(0, 11), hours(14, 40))
    others = [printer("n", busy_until=NOW + 4 * HOUR), printer("o")]
    planner = Planner(world([printer("m", attended_windows=windows_), *others], jobs_))
    queue = [planner.book.jobs[o].id for o in planner.live.queue(planner.book.able.row_of("m"))]
    assert queue == ["first", "part", "held"]
    # Taking the first out lets its part move up into the failure, and the held work behind it cannot be timed.
    planner.repair(Down("m", NOW + 10 * HOUR))
    same_as_compiled_anew(planner)
    assert start_of(planner, "whole") == NOW + 14 * HOUR


def start_of(planner: Planner, job: str) -> datetime:
    """When it starts in the plan as it stands."""
    placed = planner.current().placement(job)
    assert placed is not None
    return placed.start


def test_a_reservation_is_planned_around_and_says_first_whom_it_would_displace() -> None:
    planner = Planner(world([printer("m"), printer("n")], [print_job(f"j{i}", 60) for i in range(4)]))
    before = planner.current()
    on_m = {p.job for p in before.placements if p.machine == "m"}
    booking = Reserved("m", hours(0, 6))
    displaced = planner.would_displace(booking)
    assert on_m <= set(displaced.moved)
    assert planner.current() == before
    done = planner.repair(booking)
    assert set(done.moved) == set(displaced.moved)
    assert all(p.machine == "n" or p.start >= NOW + 6 * HOUR for p in planner.current().placements)
    planner.repair(Released("m", hours(0, 6)))
    planner.improve(moves=300)
    assert max(p.finish for p in planner.current().placements) <= NOW + 2.5 * HOUR


def test_what_nobody_claimed_in_time_slides_in_front_of_the_clock() -> None:
    planner = Planner(world([printer("m")], [print_job("a", 60), print_job("b", 60)]))
    planner.advance(NOW + timedelta(minutes=20, seconds=10))
    starts = sorted(p.start for p in planner.current().placements)
    assert starts[0] == NOW + timedelta(minutes=21)
    planner.repair(Pinned("a", Fixed("m", NOW, NOW + HOUR)))
    planner.advance(NOW + timedelta(minutes=50))
    place = {p.job: p for p in planner.current().placements}
    assert place["a"].start == NOW
    assert place["b"].start >= NOW + HOUR
    planner.advance(NOW + timedelta(minutes=70))
    assert {p.job: p for p in planner.current().placements}["a"].finish == NOW + timedelta(minutes=71)


def test_the_epoch_moves_with_the_clock_and_the_plan_stays() -> None:
    jobs_ = [print_job(f"j{i}", 240) for i in range(6)]
    planner = Planner(world([printer("m"), printer("n")], jobs_))
    planner.repair(Pinned("j0", Fixed("m", NOW, NOW + 9 * HOUR)))
    queues = [[planner.book.jobs[o].id for o in planner.live.queue(m)] for m in range(2)]
    planner.advance(NOW + 2 * HOUR)
    assert planner.book.view.snapshot.now == NOW + 2 * HOUR
    assert [[planner.book.jobs[o].id for o in planner.live.queue(m)] for m in range(2)] == queues
    same_as_compiled_anew(planner)


def test_a_hundred_orders_and_machines_find_room_in_the_tables() -> None:
    planner = Planner(world([printer("m")], []))
    for i in range(120):
        chain = (f"j{i - 1}",) if i % 3 == 2 else ()
        planner.commit(print_job(f"j{i}", 30, predecessors=chain, delivery=f"home{i % 7}"))
        if i % 20 == 0:
            planner.repair(MachineChanged(printer(f"m{i}", shop=f"s{i}", attended_windows=(hours(0, 400 + i),))))
    same_as_compiled_anew(planner)
    for i in range(0, 120, 2):
        planner.repair(Cancelled(f"j{i}"))
    for i in range(0, 60, 2):
        planner.commit(PlanJob(**{**_fields(print_job(f"k{i}", 30)), "due": NOW + 9 * HOUR}))
    same_as_compiled_anew(planner)


def _fields(job: PlanJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__dataclass_fields__}


def test_prices_may_come_before_any_machine() -> None:
    planner = Planner(world([], [print_job("a")]))
    planner.apply(Changes(pressures=(Pressure("s0", 0.5),)))
    same_as_compiled_anew(planner)


def test_new_prices_are_in_every_term_that_they_change() -> None:
    planner = Planner(world([printer("a", "s0"), printer("b", "s1")], [print_job(f"j{i}", 30 + i) for i in range(8)]))
    planner.current()
    for prices in ((Pressure("s0", 0.5),), (Pressure("s0", 0.5), Pressure("s1", -0.2)), ()):
        planner.apply(Changes(pressures=prices))
        said, anew = planner.current(), planner.copy().current()
        assert {one.job: one for one in said.placements} == {one.job: one for one in anew.placements}
        shops = {"a": "s0", "b": "s1"}
        dear = {one.shop for one in prices}
        for one in said.placements:
            assert ("fair shares" in {term.name for term in one.terms}) == (shops[one.machine] in dear)
