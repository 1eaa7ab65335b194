"""The planner is told all that is known: ages, promises, hours, circuits, distances, shares; and plans by it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agents.contract import decode, encode, wrap
from agents.contract import messages as m
from agents.contract.topics import MACHINE
from agents.contract.vocabulary import MachineState, NeedClass, Process, Ring
from scheduler.dispatch.fairness import HALF_LIFE, pressures
from scheduler.dispatch.picture import seen_machines
from scheduler.dispatch.plan_machines import REQUESTERS, offered
from scheduler.orders import urgency
from scheduler.planning import plan
from scheduler.planning.snapshot import Circuit, Leg, Material, PlanMachine, Snapshot, Window
from scheduler.store import tables as t
from scheduler.store.content_queries import OutcomeRow
from scheduler.store.rows import OrderRow
from tests.scheduler.line import START, Agent, Line
from tests.scheduler.shelf import ask, block


class Telling(Agent):
    """An agent whose shop says all it can."""

    more: dict[str, Any]
    description: dict[str, Any]

    def report(
        self, machine: str, now: datetime, state: MachineState = MachineState.IDLE, **more: Any
    ) -> tuple[str, bytes]:
        description = m.MachineDescription(
            machine=machine,
            name=machine,
            process=Process.FDM,
            dialect="marlin",
            model="plain",
            envelope_mm=(200, 200, 200),
            materials=(m.LoadedMaterial(material="PLA"),),
            **self.description,
        )
        values = {"ring": Ring.BLOCK, **self.more, **more}
        body = m.MachineReport(
            shop=self.shop, agent=self.name, description=description, state=state, since=now, **values
        )
        return MACHINE.of(shop=self.shop, agent=self.name, machine=machine), self._wrap(body, now)


def telling(shop: str, *, description: dict[str, Any] | None = None, **more: Any) -> Telling:
    agent = Telling(shop, "pi", ("m1", "m2"))
    agent.more, agent.description = more, description or {}
    return agent


def snapshot(line: Line) -> Snapshot:
    return line.scheduler.dispatcher.look(line.now).snapshot


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[list[Line]]:
    opened: list[Line] = []
    yield opened
    for line in opened:
        line.close()


def open_line(lines: list[Line], folder: Path, *agents: Agent, **more: Any) -> Line:
    line = Line(folder, *agents, **more)
    lines.append(line)
    line.arrive()
    return line


def test_hours_circuits_stock_and_distance_reach_the_planner(lines: list[Line], tmp_path: Path) -> None:
    day = (START + timedelta(hours=1), START + timedelta(hours=9))
    night = (START + timedelta(hours=12), START + timedelta(hours=13))
    petg = m.LoadedMaterial(material="PETG", colour="black")
    line = open_line(
        lines,
        tmp_path,
        telling(
            "shed",
            description={"circuit": "wall", "circuit_limit_w": 1_500.0, "power_w": 900.0, "loadable": (petg,)},
            attended_windows=(day,),
            maintenance=(night,),
            reserved=(night,),
        ),
    )
    told = snapshot(line)
    machine: PlanMachine = told.machines[0]
    assert machine.attended_windows == (Window(*day),)
    assert machine.maintenance == machine.reserved == (Window(*night),)
    assert machine.loadable == (Material("petg", "black"),)
    assert (machine.circuit, told.circuits) == ("shed/wall", (Circuit("shed/wall", 1_500.0),))
    assert told.legs == (Leg("shed", REQUESTERS, 300.0),)


def test_two_printers_on_one_weak_circuit_take_turns(lines: list[Line], tmp_path: Path) -> None:
    weak = {"circuit": "wall", "circuit_limit_w": 1_000.0, "power_w": 700.0}
    line = open_line(lines, tmp_path, telling("shed", description=weak), planner=plan)
    line.order()
    line.order()
    line.plan()
    first, second = sorted(plan(snapshot(line)).placements, key=lambda placement: placement.start)
    assert second.start >= first.finish - timedelta(minutes=20)
    assert second.start > first.start


def test_nothing_is_planned_into_maintenance(lines: list[Line], tmp_path: Path) -> None:
    soon = (START, START + timedelta(hours=3))
    line = open_line(lines, tmp_path, telling("shed", maintenance=(soon,)), planner=plan)
    line.order()
    line.plan()
    (placement,) = plan(snapshot(line)).placements
    assert placement.start >= soon[1]


def test_material_beside_the_machine_is_as_good_as_loaded_but_for_the_changeover(
    lines: list[Line], tmp_path: Path
) -> None:
    spool = m.LoadedMaterial(material="PETG")
    line = open_line(lines, tmp_path, telling("shed", description={"loadable": (spool,)}), planner=plan)
    ask(line, "clip.stl", block(20, 10, 3), material="PETG")
    line.plan()
    (job,) = snapshot(line).jobs
    assert job.options
    (placement,) = plan(snapshot(line)).placements
    assert placement.setup_s > 0


def test_whoever_waits_long_enough_comes_first_whatever_came_since(lines: list[Line], tmp_path: Path) -> None:
    line = open_line(lines, tmp_path, Agent("shed", "pi", ("m1",)), planner=plan)
    (old,) = line.order()
    with line.scheduler.store.write() as c:
        long_ago = START - timedelta(days=30)
        c.execute(sa.update(t.orders).values(created_at=long_ago, accepted_at=long_ago))
    fresh = [ask(line, f"part{n}.stl", block(150, 150, 5 + n), need_class=NeedClass.SURVIVAL) for n in range(3)]
    line.plan()
    told = snapshot(line)
    placements = sorted(plan(told).placements, key=lambda placement: placement.start)
    assert placements[0].job == old
    assert len(placements) == 1 + len(fresh)


def order(need: NeedClass, since: datetime) -> OrderRow:
    nothing: dict[str, Any] = dict.fromkeys(OrderRow.__dataclass_fields__)
    return OrderRow(**{**nothing, "need_class": need.value, "created_at": since})


@given(st.sampled_from(list(NeedClass)), st.integers(0, 60 * 24 * 60), st.integers(0, 60 * 24 * 60))
def test_weights_never_fall_with_age_and_never_with_need(need: NeedClass, minutes: int, more: int) -> None:
    asked = order(need, START)
    now = START + timedelta(minutes=minutes)
    later = now + timedelta(minutes=more)
    assert urgency.weight(asked, later) >= urgency.weight(asked, now) >= 1
    for other in NeedClass:
        if urgency.need_rank(order(other, START)) < urgency.need_rank(asked):
            assert urgency.weight(order(other, START), now) >= urgency.weight(asked, now)


def outcome(shop: str, minutes: float, at: datetime) -> OutcomeRow:
    return OutcomeRow(
        f"j{shop}{minutes}", 1, at, "d", "fdm", "m", shop, f"{shop}.a.m", 60.0, 60.0, minutes * 60.0, None, 1,
        "finished", None,
    )  # fmt: skip


def test_shops_that_did_more_than_their_share_become_dearer_and_time_heals() -> None:
    willing = {"fdm": {"a": 5_000.0, "b": 5_000.0, "c": 5_000.0}}
    done = [outcome("a", 6_000.0, START), outcome("b", 1_000.0, START)]
    now = {each.shop: each.per_minute for each in pressures(done, willing, START)}
    assert now["c"] < now["b"] < 0 < now["a"]
    assert pressures(done, {"fdm": {"a": 5_000.0}}, START) == ()
    faded = {each.shop: each.per_minute for each in pressures(done, willing, START + 4 * HALF_LIFE)}
    assert now["c"] < faded["c"] < 0 < faded["a"] < now["a"], "long ago there was little work, and little says little"
    assert pressures(done, willing, START + 12 * HALF_LIFE) == ()
    swapped = [outcome("c", 6_000.0, START), outcome("b", 1_000.0, START)]
    mirrored = {each.shop: each.per_minute for each in pressures(swapped, willing, START)}
    assert (mirrored["c"], mirrored["a"], mirrored["b"]) == (now["a"], now["c"], now["b"])


def test_who_offers_more_is_entitled_to_more_in_each_process_alone() -> None:
    done = [outcome("a", 9_000.0, START), outcome("b", 1_000.0, START)]
    fair = pressures(done, {"fdm": {"a": 9_000.0, "b": 1_000.0}, "laser": {"b": 50_000.0, "c": 50_000.0}}, START)
    assert {each.shop: each.per_minute for each in fair} == {"a": 0.0, "b": 0.0}
    none_open = pressures(done, {"fdm": {"a": 9_000.0, "b": 0.0}}, START)
    assert none_open == ()


def test_shops_offer_the_hours_of_machines_that_take_pool_work(lines: list[Line], tmp_path: Path) -> None:
    day = START.replace(hour=0, minute=0, second=0, microsecond=0)
    open_twice = tuple((day + timedelta(days=n, hours=8), day + timedelta(days=n, hours=18)) for n in (0, 1, 30))
    line = open_line(
        lines,
        tmp_path,
        telling("always"),
        telling("twice", windows=(*open_twice, open_twice[0])),
        telling("own", accepts_pool_work=False),
    )
    with line.scheduler.store.read() as c:
        found = offered(seen_machines(c).values(), START)
    assert found == {"fdm": {"always": 2 * 7 * 1440.0, "twice": 2 * 20 * 60.0}}


def test_what_an_agent_may_say_more_travels_and_may_be_left_out() -> None:
    agent = telling("shed", description={"circuit_limit_w": 10.0}, maintenance=((START, START + timedelta(hours=1)),))
    _, payload = agent.report("m1", START)
    body = decode(payload).body
    assert isinstance(body, m.MachineReport)
    assert body.maintenance == ((START, START + timedelta(hours=1)),)
    plain = Agent("shed", "pi", ("m1",)).report("m1", START)[1]
    for word in (b"maintenance", b"attended_windows", b"reserved", b"loadable", b"circuit_limit_w"):
        assert word not in plain
    again = decode(encode(wrap(body, sender="agent/shed/pi", now=START))).body
    assert again == body
