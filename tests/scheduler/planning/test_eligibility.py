"""All machines asked at once say what the checkers say one by one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract.vocabulary import Process
from scheduler.planning import Declined, DurationOption, PlanTool, Snapshot
from scheduler.planning.eligibility import Eligibility
from scheduler.planning.feasibility import View, duration_of, first_shut
from tests.scheduler.planning.worlds import HOUR, NOW, busy_snapshots, machines, print_job, printer, snapshots, world


@settings(max_examples=150)
@given(snapshots() | busy_snapshots())
def test_all_at_once_is_what_the_checkers_say_one_by_one(snapshot: Snapshot) -> None:
    view = View(snapshot)
    able = Eligibility(view, snapshot.machines)
    for job in snapshot.jobs:
        found = able.alternatives(job)
        assert found.machine.tolist() == [
            row for row, machine in enumerate(snapshot.machines) if first_shut(view, job, machine) is None
        ]
        for row, ticks, tail in zip(found.machine, found.ticks, found.tail, strict=True):
            duration = duration_of(job, snapshot.machines[row])
            assert duration is not None
            assert ticks == max(1, view.ticks(duration.p80_s))
            assert tail == max(0, view.ticks(duration.p90_s) - ticks)


def test_a_duration_of_one_machine_goes_before_its_models_and_that_before_anybodys() -> None:
    plants = [printer("a", model="x"), printer("b", model="x"), printer("c"), printer("d", tools=(PlanTool("n", 0.4),))]
    options = (DurationOption(600, 600, 600, machine="b"), DurationOption(1200, 1200, 1200, model="x"))
    job = replace(print_job("j"), options=(*options, DurationOption(1800, 1800, 1800)))
    found = Eligibility(View(world(plants, [job])), plants).alternatives(job)
    assert found.ticks.tolist() == [20, 10, 30, 30]
    needs = replace(job, tools=(PlanTool("n", 0.4),), declined=(Declined("d", NOW + HOUR),))
    found = Eligibility(View(world(plants, [needs])), plants).alternatives(needs)
    assert (found.machine.tolist(), found.after.tolist()) == ([3], [60])


@settings(max_examples=40)
@given(snapshots(), st.data())
def test_an_exchanged_machine_answers_for_itself_at_once(snapshot: Snapshot, data: st.DataObject) -> None:
    view = View(snapshot)
    able = Eligibility(view, snapshot.machines)
    for job in snapshot.jobs:
        able.alternatives(job)
    row = data.draw(st.integers(0, len(snapshot.machines)))
    machine = data.draw(machines(row))
    view.put_machine(machine)
    able.put(row, machine)
    others = [m for m in able.machines if m is not None]
    for job in snapshot.jobs:
        assert able.alternatives(job).machine.tolist() == [
            i for i, m in enumerate(others) if first_shut(view, job, m) is None
        ]


def test_what_has_gone_makes_nothing() -> None:
    plants = [printer("a"), printer("b", process=Process.LASER)]
    able = Eligibility(View(world(plants, [])), plants)
    able.put(0, None)
    assert able.alternatives(print_job("j")).machine.tolist() == []
