"""A plan that lives through events equals one compiled anew from what the world has become."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract.vocabulary import NeedClass
from scheduler.planning import Fixed, PlanJob, Pressure, Snapshot
from scheduler.planning.checker import violations
from scheduler.planning.compiling import Compiled, compile_snapshot
from scheduler.planning.core import (
    AFTER,
    ATTENDED,
    CLEARED,
    COST,
    CURVE,
    DUE,
    EARLIEST,
    ELIG_HIGH,
    ELIG_LOW,
    FAMILY,
    FAMILY_ON,
    FLOW,
    FREE,
    GUIDE_DUE,
    GUIDE_WEIGHT,
    HOME,
    HOME_RUN,
    MACHINE,
    MATRIX,
    PINNED,
    PRED_HIGH,
    PRED_LOW,
    PROMISE,
    PROMISE_WEIGHT,
    RUN,
    SHOP,
    SINCE,
    STAFF,
    SUCC_HIGH,
    SUCC_LOW,
    TAIL_TICKS,
    WEIGHT,
    ZONE,
    Core,
    Schedule,
    copy_schedule,
)
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
from scheduler.planning.growing import Growing
from scheduler.planning.problem import NEVER
from scheduler.planning.refusing import CORRECTED
from scheduler.planning.staggering import stagger
from scheduler.planning.timing import retime_all
from scheduler.planning.waits import part_waits
from tests.scheduler.planning.worlds import HOUR, NOW, busy_snapshots, hours, jobs, machines, print_job, printer, world
from tests.scheduler.planning.worlds import snapshots as any_snapshots

PLAIN = (EARLIEST, DUE, WEIGHT, FLOW, SINCE, PROMISE, PROMISE_WEIGHT, GUIDE_DUE, GUIDE_WEIGHT, PINNED)


def told(book: Compiled | Growing, rows: dict[str, int]) -> dict[str, Any]:
    """Everything that the tables say about the plannable jobs and the machines, in ids instead of rows."""
    core, registers = book.core, book.registers
    families = {number: key for key, number in registers.families.items()}
    zones = {number: place for place, number in registers.zones.items()}
    there = {machine.shop for machine in book.view.machine.values()}
    shops = {number: shop if shop in there else None for shop, number in registers.shops.items()}
    out: dict[str, Any] = {}
    name = {o: job for job, o in rows.items()}
    for job, o in rows.items():
        op = core.ops[o]
        more = core.elig_more if len(core.elig_more) else np.zeros((len(core.elig_machine), 3), int)
        links = [
            sorted(name[q] for q in core.links[op[low] : op[high]].tolist() if q in name)
            for low, high in ((PRED_LOW, PRED_HIGH), (SUCC_LOW, SUCC_HIGH))
        ]
        choices = range(int(op[ELIG_LOW]), int(op[ELIG_HIGH]))
        rising = [int(core.elig_machine[k]) for k in choices]
        assert rising == sorted(set(rising))
        out[job] = (
            # Starts staggered for power or people are written into EARLIEST.
            [int(op[column]) for column in (PLAIN[1:] if book.circuits or book.crews else PLAIN)],
            families[int(op[FAMILY])],
            shops.get(int(op[HOME])),
            zones.get(int(op[ZONE])),
            links,
            {
                book.machines[core.elig_machine[k]].id: (
                    int(core.elig_ticks[k]),
                    *(int(more[k, column]) for column in (TAIL_TICKS, COST, AFTER)),
                    int(book.moving[k]),
                )
                for k in choices
                if more[k, AFTER] < NEVER
            },
        )
    for machine in book.view.machine.values():
        row = core.mach[book.able.row_of(machine.id)]
        family = None if row[FAMILY_ON] < 0 else families[int(row[FAMILY_ON])]
        plain = [int(row[column]) for column in (FREE, MATRIX, ATTENDED)]
        windows = [calendar(book, int(row[column])) for column in (RUN, HOME_RUN, STAFF)]
        pressure = int(core.pressure[row[SHOP]]), None if row[CURVE] < 0 else core.carbon[row[CURVE]].tolist()
        out[f"machine {machine.id}"] = (plain, family, shops[int(row[SHOP])], windows, pressure)
    for a, i in registers.families.items():
        for b, j in registers.families.items():
            out[f"setup {a} {b}"] = core.setup[:, i, j].tolist()
    for shop in sorted(there):
        row = registers.shops[shop]
        for to in sorted(there):
            out[f"leg {shop} {to}"] = int(core.legs[row, registers.shops[to]])
        for place, z in registers.zones.items():
            out[f"delivery {shop} {place}"] = int(core.delivery[row, z])
    return out


def links_are_mutual(book: Growing) -> None:
    """Whoever waits for a row is known there, and the other way round; also where neither has a place."""
    ops, links = book.core.ops, book.core.links
    waits = {(q, o) for o in book.row.values() for q in links[ops[o, PRED_LOW] : ops[o, PRED_HIGH]].tolist()}
    needed = {(q, o) for q in book.row.values() for o in links[ops[q, SUCC_LOW] : ops[q, SUCC_HIGH]].tolist()}
    assert waits == needed


def calendar(book: Compiled | Growing, number: int) -> list[tuple[int, int]] | None:
    """A packed calendar's windows, found as the core finds them."""
    if number < 0:
        return None
    out = []
    at = int(book.core.cal_hint[number, 0])
    while book.core.cal[at, 0] < NEVER:
        out.append((int(book.core.cal[at, 0]), int(book.core.cal[at, 1])))
        at += 1
    for bucket, first in enumerate(book.core.cal_hint[number].tolist()):
        ended = sum(end <= bucket * int(book.core.rates[3]) - 1 for _, end in out)
        assert first - int(book.core.cal_hint[number, 0]) in {ended, sum(end < bucket * 1440 for _, end in out)}
    return out


def same_as_compiled_anew(planner: Planner) -> None:
    """The tables, the times and the answer are what compiling and timing anew give."""
    book, live = planner.book, planner.live
    anew = compile_snapshot(replace(planner.snapshot, now=book.view.snapshot.now), live.now)
    mine = told(book, {job.id: book.row[job.id] for job in anew.jobs})
    theirs = told(anew, {job.id: o for o, job in enumerate(anew.jobs)})
    assert {key: mine.get(key) for key in theirs} == theirs
    links_are_mutual(book)
    for waiting in anew.waiting:
        assert live.schedule.at[book.row[waiting.job], MACHINE] < 0, waiting
    assert set(book.row) == set(book.view.job)
    fixed = [job for job in book.view.job.values() if job.fixed is not None and job.fixed.machine in book.view.machine]
    assert all(live.schedule.at[book.row[job.id], MACHINE] >= 0 for job in fixed)
    kept = copy_schedule(live.schedule)
    live.retime_whole()
    assert live.schedule.at.tolist() == kept.at.tolist()
    delayed_as_whole(planner)
    made = planner.current()
    assert violations(planner.snapshot, made) == []
    assert CORRECTED not in made.engine
    reasons = {waiting.job: waiting for waiting in made.waiting}
    for waiting in anew.waiting:
        assert reasons[waiting.job].why == waiting.why
    assert part_waits(book.view, book.view.job.values(), dict.fromkeys(reasons, None)) == {}


def delayed_as_whole(planner: Planner) -> None:
    """Delays laid group by group are those that staggering the whole undelayed plan gives."""
    book, live = planner.book, planner.live
    assert (planner.delays is not None) == book.binds
    if planner.delays is None:
        return
    core, schedule = live.core._replace(ops=live.core.ops.copy()), copy_schedule(planner.delays.undelayed)
    core.ops[:, EARLIEST], core.ops[:, CLEARED] = core.ops[:, SINCE], 0
    assert retimed(core, schedule).at.tolist() == schedule.at.tolist()
    stagger(core, schedule, book.shared)
    rows = sorted(book.row.values())
    assert schedule.at[rows].tolist() == live.schedule.at[rows].tolist()
    assert core.ops[rows].tolist() == live.core.ops[rows].tolist()
    assert queues(schedule) == queues(live.schedule)


def retimed(core: Core, schedule: Schedule) -> Schedule:
    """A copy, timed anew from its queues."""
    out = copy_schedule(schedule)
    rows = np.empty(len(core.ops), schedule.at.dtype)
    retime_all(core, out, rows, rows.copy())
    return out


def queues(schedule: Schedule) -> list[list[int]]:
    """Rows of every machine in order."""
    return [row[:length].tolist() for row, length in zip(schedule.seq, schedule.length.tolist(), strict=True)]


@st.composite
def happenings(draw: st.DrawFn, planner: Planner) -> Any:
    """Anything that may happen to this plan."""
    names, rows = list(planner.book.view.job), list(planner.book.view.machine)
    kinds = ["order", "clock", "improve", "made"]
    kinds += ["down", "machine", "gone", "reserved", "released"] if rows else []
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
    if kind == "made":
        made = draw(st.lists(st.sampled_from([f"j{i}" for i in range(9)]), max_size=2, unique=True))
        return Changes(made=tuple(made))
    if kind in ("down", "machine", "gone", "reserved", "released"):
        name = draw(st.sampled_from(rows))
        window = hours(start := draw(st.integers(0, 40)), start + draw(st.integers(1, 9)))
        return {
            "down": Down(name, moment),
            "machine": MachineChanged(draw(machines(draw(st.integers(0, 4))))),
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
