"""Machines reserved by people, owners' own jobs, and work that moves on because what runs is late."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from typer.testing import CliRunner

from agents.contract.vocabulary import JobState, MachineState
from scheduler import cli
from scheduler.api.application import create_app
from scheduler.dispatch import reservations
from scheduler.dispatch.reservations import Effect, Wish
from scheduler.orders.recipes import read_body
from scheduler.orders.refusal import Refused
from scheduler.planning import plan
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.store import queries
from scheduler.store import tables as t
from tests.scheduler.line import Agent, Line


def real_plan(snapshot: Snapshot) -> Plan:
    return plan(snapshot, budget_s=0.05)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)), planner=real_plan)
    made.arrive()
    yield made
    made.close()


@pytest.fixture
def agent(line: Line) -> Agent:
    return line.agents["mill.pi"]


def plan_and_talk(line: Line) -> None:
    line.plan()
    line.plan()
    for agent in line.agents.values():
        line.exchange(agent)


def start(line: Line, agent: Agent, job: str) -> None:
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    line.exchange(agent)
    machine = line.job(job).machine
    line.hear(agent.report(machine, line.now, MachineState.RUNNING, job=job))


def wish(line: Line, after_h: float, hours: float, *, who: str = "ada") -> Wish:
    begin = line.now + timedelta(hours=after_h)
    return Wish("mill.pi", "m1", begin, begin + timedelta(hours=hours), who, "workshop evening")


def reserve(line: Line, wanted: Wish, *expected: str) -> tuple[reservations.Reservation, dict[str, Effect]]:
    with line.scheduler.store.write() as c:
        made, displaced = reservations.reserve(c, line.scheduler.mover, wanted, line.now, expected=expected)
    return made, {one.job: one.effect for one in displaced}


def test_no_work_is_offered_into_a_reserved_window(line: Line) -> None:
    reserve(line, wish(line, 0, 3))
    (job,) = line.order()
    plan_and_talk(line)
    row = line.job(job)
    assert row.state is JobState.WAITING
    assert row.placement is not None
    assert row.placement["start"] >= (line.now + timedelta(hours=3)).isoformat()
    line.clock.pass_(hours=3)
    plan_and_talk(line)
    assert line.job(job).state is JobState.LEASED


def test_a_job_that_would_run_into_the_window_waits_until_it_is_over(line: Line) -> None:
    reserve(line, wish(line, 0.25, 1))  # the job takes half an hour
    (job,) = line.order()
    plan_and_talk(line)
    row = line.job(job)
    assert row.state is JobState.WAITING
    assert row.placement is not None
    assert row.placement["start"] >= (line.now + timedelta(hours=1.25)).isoformat()


def test_who_is_displaced_is_told_first_and_only_what_has_not_begun_makes_way(line: Line, agent: Agent) -> None:
    runs, waits, later = line.order(3)
    plan_and_talk(line)
    first = next(job for job in (runs, waits, later) if line.job(job).state is JobState.LEASED)
    start(line, agent, first)
    line.clock.pass_(minutes=20)
    agent.progress(first, line.now, 0.67)
    line.exchange(agent)
    plan_and_talk(line)
    second = next(job for job in (runs, waits, later) if line.job(job).state is JobState.LEASED)
    third = ({runs, waits, later} - {first, second}).pop()
    wanted = wish(line, 0, 4)
    with line.scheduler.store.read() as c:
        told = {one.job: one.effect for one in reservations.displaced_by(c, wanted, line.now)}
    assert told == {first: Effect.STAYS, second: Effect.TAKEN_BACK, third: Effect.PLANNED_AROUND}
    with pytest.raises(Refused, match=second):
        reserve(line, wanted, first, third)
    assert line.job(second).state is JobState.LEASED
    made, effects = reserve(line, wanted, *told)
    assert effects == told
    assert line.job(first).state is JobState.RUNNING
    assert line.job(second).state is JobState.WAITING
    line.exchange(agent)
    assert second not in agent.spool.held
    plan_and_talk(line)
    assert line.job(second).state is JobState.WAITING
    with line.scheduler.store.write() as c:
        reservations.cancel(c, made.id, line.now)
    held = agent.finish(first, line.now)
    line.hear(agent.report(held.machine, line.now))
    line.exchange(agent)
    plan_and_talk(line)
    assert JobState.LEASED in {line.job(second).state, line.job(third).state}


def test_a_plan_made_before_the_reservation_offers_nothing_into_it(tmp_path: Path) -> None:
    booked: list[Wish] = []

    def plan_while_somebody_reserves(snapshot: Snapshot) -> Plan:
        for one in booked:
            reserve(line, one)
        return real_plan(snapshot)

    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), planner=plan_while_somebody_reserves)
    line.arrive()
    (job,) = line.order()
    line.plan()
    booked.append(wish(line, 0.1, 3))
    line.plan()
    row = line.job(job)
    assert row.state is JobState.WAITING
    assert row.placement is not None
    assert "reserved" in row.placement["not_yet"]
    line.close()


def test_what_begins_so_late_that_it_would_run_into_the_window_goes_elsewhere(line: Line, agent: Agent) -> None:
    line.clock.pass_(minutes=1)
    (job,) = line.order()  # half an hour
    plan_and_talk(line)
    assert line.job(job).state is JobState.LEASED
    reserve(line, wish(line, 0.6, 2))
    line.clock.pass_(minutes=14)  # nobody clears the bed; in time still, but for eight minutes
    plan_and_talk(line)
    assert line.job(job).state is JobState.LEASED
    line.clock.pass_(minutes=4)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    assert agent.starts == []
    line.plan()
    row = line.job(job)
    assert row.state is JobState.WAITING
    with line.scheduler.store.read() as c:
        told = [event.body.get("why", "") for event in queries.events(c, job=job)]
    assert any("reserved" in why for why in told)


def test_a_start_just_in_time_for_the_window_is_permitted(line: Line, agent: Agent) -> None:
    line.clock.pass_(minutes=1)
    (job,) = line.order()
    plan_and_talk(line)
    reserve(line, wish(line, 0.6, 2))
    line.clock.pass_(minutes=14)
    start(line, agent, job)
    assert agent.starts == [(job, 1)]


@pytest.mark.parametrize(("after_h", "hours"), [(1, 0), (1, -1), (-3, 2), (1, 24 * 15), (24 * 400, 1)])
def test_windows_that_make_no_sense_are_refused(line: Line, after_h: float, hours: float) -> None:
    with pytest.raises(Refused, match="Nothing was reserved"):
        reserve(line, wish(line, after_h, hours))


def test_one_machine_is_reserved_once_at_a_time(line: Line) -> None:
    reserve(line, wish(line, 1, 2, who="ada"))
    with pytest.raises(Refused, match="ada has it"):
        reserve(line, wish(line, 2, 2, who="grace"))
    reserve(line, wish(line, 3, 1, who="grace"))


def test_over_http(line: Line) -> None:
    app = create_app(line.settings, scheduler=line.scheduler)
    token = (line.settings.data / "admin.token").read_text().strip()
    (job,) = line.order()
    plan_and_talk(line)
    begin, end = line.now, line.now + timedelta(hours=2)
    body = {"start": begin.isoformat(), "end": end.isoformat(), "why": "class"}
    with TestClient(app) as client:
        path = "/api/v1/machines/mill.pi.m1/reservations"
        (told,) = client.post(f"{path}/preview", json=body).json()
        assert (told["job"], told["effect"]) == (job, "taken_back")
        assert client.post(path, json=body).status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        unaware = client.post(path, json=body)
        assert (unaware.status_code, unaware.json()["code"]) == (409, "displaces_others")
        made = client.post(path, json={**body, "displaces": [job]}).json()
        assert [one["job"] for one in made["displaced"]] == [job]
        name = made["reservation"]["id"]
        assert [one["id"] for one in client.get("/api/v1/reservations").json()] == [name]
        (machine,) = client.get("/api/v1/machines").json()
        assert [one["why"] for one in machine["reserved"]] == ["class"]
        assert client.post("/api/v1/machines/none.pi.m9/reservations", json=body).status_code == 404
        again = client.post(f"{path}/preview", json=body)
        assert (again.status_code, again.json()["code"]) == (409, "reserved_already"), "known before anybody says yes"
        assert client.delete(f"/api/v1/reservations/{name}").json()["cancelled_at"]
        assert client.delete("/api/v1/reservations/none").status_code == 404
        assert client.get("/api/v1/reservations").json() == []
    assert line.job(job).state is JobState.WAITING


def test_from_the_command_line(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(line.settings, scheduler=line.scheduler)
    token = (line.settings.data / "admin.token").read_text().strip()
    (job,) = line.order()
    plan_and_talk(line)
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        monkeypatch.setattr(cli, "_client", lambda *_: contextlib.nullcontext(client))
        begin = line.now.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
        end = (line.now + timedelta(hours=2)).astimezone().strftime("%Y-%m-%dT%H:%M:%S")
        words = ["reserve", "mill.pi.m1", begin, end, "--why", "class"]
        asked = CliRunner().invoke(cli.app, words, input="n\n")
        assert (asked.exit_code, line.job(job).state) == (1, JobState.LEASED)
        assert job in asked.output
        assert CliRunner().invoke(cli.app, [*words, "--yes"]).exit_code == 0
        assert line.job(job).state is JobState.WAITING
        shown = json.loads(CliRunner().invoke(cli.app, ["reservations", "--json"]).stdout)
        assert [one["why"] for one in shown] == ["class"]
        assert CliRunner().invoke(cli.app, ["unreserve", shown[0]["id"]]).exit_code == 0
        assert json.loads(CliRunner().invoke(cli.app, ["reservations", "--json"]).stdout) == []


# --- owners' own jobs -------------------------------------------------------------------------------------------------


def own(line: Line, job: str) -> None:
    """Make it the mill's own."""
    row = line.job(job)
    with line.scheduler.store.write() as c:
        c.execute(sa.update(t.jobs).where(t.jobs.c.id == job).values(body={**row.body, "own_shop": "mill"}))
    assert read_body(line.job(job).body).own_shop == "mill"


def test_an_own_job_goes_before_pool_work_that_has_not_begun(line: Line, agent: Agent) -> None:
    (pool,) = line.order()
    plan_and_talk(line)
    assert line.job(pool).state is JobState.LEASED
    (mine,) = line.order()
    own(line, mine)
    plan_and_talk(line)
    assert line.job(pool).state is JobState.WAITING
    plan_and_talk(line)
    assert line.job(mine).state is JobState.LEASED
    assert pool not in agent.spool.held
    with line.scheduler.store.read() as c:
        why = [row.body.get("why") for row in queries.events(c, job=pool) if row.kind == "lease_withdrawn"]
    assert why == ["the owner's own job goes first"]
    for _ in range(4):
        plan_and_talk(line)
    assert line.job(mine).state is JobState.LEASED, "they do not take turns"


def test_an_own_job_waits_for_what_runs(line: Line, agent: Agent) -> None:
    (pool,) = line.order()
    plan_and_talk(line)
    start(line, agent, pool)
    (mine,) = line.order()
    own(line, mine)
    for _ in range(3):
        plan_and_talk(line)
    assert line.job(pool).state is JobState.RUNNING


# --- what moves on ----------------------------------------------------------------------------------------------------


def test_the_next_job_is_staged_while_one_runs(line: Line, agent: Agent) -> None:
    first, second = line.order(2)
    plan_and_talk(line)
    if line.job(second).state is JobState.LEASED:
        first, second = second, first
    start(line, agent, first)
    line.clock.pass_(minutes=20)
    agent.progress(first, line.now, 0.67)
    line.exchange(agent)
    plan_and_talk(line)
    assert line.job(second).state is JobState.LEASED
    agent.stage(second, line.now)
    line.exchange(agent)
    assert (line.job(first).state, line.job(second).state) == (JobState.RUNNING, JobState.STAGED)


def test_a_job_does_not_wait_behind_one_that_drifts(tmp_path: Path) -> None:
    """Leased behind a run that was to end in ten minutes and will take long: it moves to the machine that is free."""
    mill, forge = Agent("mill", "pi", ("m1",)), Agent("forge", "pi", ("f1",))
    line = Line(tmp_path, mill, planner=real_plan)
    line.arrive()
    first, second = line.order(2)
    plan_and_talk(line)
    if line.job(second).state is JobState.LEASED:
        first, second = second, first
    start(line, mill, first)
    line.clock.pass_(minutes=20)
    mill.progress(first, line.now, 0.67)
    line.exchange(mill)
    plan_and_talk(line)
    assert line.job(second).state is JobState.LEASED
    line.agents["forge.pi"] = forge
    line.hear(forge.presence(line.now), forge.report("f1", line.now))
    line.exchange(forge)
    line.clock.pass_(minutes=5)
    mill.progress(first, line.now, 0.7)
    line.exchange(mill)
    plan_and_talk(line)
    assert line.job(second).agent == "mill.pi", "a little late is no reason to move"
    line.clock.pass_(minutes=5)
    mill.progress(first, line.now, 0.1)  # a slow layer, a held job: the estimate was wrong
    line.exchange(mill)
    plan_and_talk(line)
    plan_and_talk(line)
    moved = line.job(second)
    assert (moved.agent, moved.state) == ("forge.pi", JobState.LEASED)
    assert moved.fence == 2
    assert second not in mill.spool.held
    line.close()


def test_an_owner_who_closes_the_shop_gets_no_more_work_that_has_not_begun(line: Line, agent: Agent) -> None:
    (job,) = line.order()
    plan_and_talk(line)
    line.hear(agent.report("m1", line.now, accepts_pool_work=False))
    line.plan()
    assert line.job(job).state is JobState.WAITING
    line.exchange(agent)
    assert job not in agent.spool.held
