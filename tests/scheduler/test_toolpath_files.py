"""Toolpaths' files go when nothing needs them any more, and are made again for whoever does; on both databases."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from agents.contract.vocabulary import JobState
from scheduler.api.application import create_app
from scheduler.dispatch import people
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.dispatch_tables import forgotten_toolpaths
from scheduler.store.toolpath_files import KEPT, LOOKED_AT_ONCE, ToolpathFiles, forgotten_at
from tests.scheduler.line import Agent, Line, agent_of, offer, start

LONG = KEPT + timedelta(days=1)


def made(line: Line) -> list[str]:
    """All toolpaths on record."""
    with line.scheduler.store.read() as c:
        return list(c.execute(sa.select(t.toolpaths.c.sha256).order_by(t.toolpaths.c.sha256)).scalars())


def age(line: Line) -> None:
    """Every file on the disk was written long ago."""
    for file in line.scheduler.blobs.folder.glob("*/*"):
        os.utime(file, (0, 0))


def turn(line: Line) -> None:
    """What a process that has just begun does in its hourly turns."""
    files = ToolpathFiles(line.scheduler.blobs)
    for deed in (files.look, files.free):
        more = True
        while more:
            with line.scheduler.store.write() as c:
                more = deed(c, line.now)


def kept(line: Line) -> list[str]:
    return [name for name in made(line) if line.scheduler.blobs.holds(name)]


def make_one(line: Line) -> str:
    """A job that is made, inspected and done with; its toolpath."""
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent = agent_of(line)
    held = agent.finish(job, line.now)
    line.exchange(agent)
    agent.inspect(held, line.now, good=1)
    line.hear(agent.report(held.machine, line.now))
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    return held.sha256


def test_a_toolpath_that_nothing_needs_is_forgotten_says_so_and_is_made_again(line: Line) -> None:
    name = make_one(line)
    before = line.rows()
    files = {file.name for file in line.scheduler.blobs.folder.glob("*/*")}
    line.clock.moment += LONG
    age(line)
    turn(line)
    assert {file.name for file in line.scheduler.blobs.folder.glob("*/*")} == files - {name}, "designs' files stay"
    after = line.rows()
    assert after["recipes"] == before["recipes"] - 1
    assert {table for table in before if after[table] != before[table]} == {"recipes", "forgotten_toolpaths"}
    client = TestClient(create_app(line.settings, scheduler=line.scheduler))
    answer = client.get(f"/api/v1/toolpaths/{name}")
    assert (answer.status_code, answer.json()["code"]) == (410, "forgotten_toolpath")
    assert "not kept since 01 Jun 2026" in answer.json()["detail"]
    assert "order the design again" in answer.json()["hint"]
    turn(line)
    assert line.rows() == {**after, "tokens": 1}, "once is enough"

    agent = agent_of(line)
    line.hear(agent.presence(line.now), *(agent.report(machine, line.now) for machine in agent.machines))
    (job,) = line.order()
    offer(line)
    assert line.job(job).state is JobState.LEASED
    assert agent.spool.held[job].sha256 == name
    assert client.get(f"/api/v1/toolpaths/{name}").status_code == 200
    assert line.rows()["forgotten_toolpaths"] == 0


@pytest.mark.parametrize("state", ["quoted", "waiting", "offered", "leased", "running"])
def test_what_an_open_job_needs_stays_however_long_it_takes(line: Line, state: str) -> None:
    (job,) = line.order(accept=state != "quoted")
    line.plan()
    if state in ("offered", "leased", "running"):
        line.plan()
    if state in ("leased", "running"):
        line.exchange(agent_of(line))
    if state == "running":
        start(line, job)
    there = {"quoted": "waiting"}.get(state, state)
    assert line.job(job).state.value == there
    names = made(line)
    assert names
    line.clock.moment += 3 * LONG
    age(line)
    turn(line)
    assert kept(line) == names


def test_what_ended_lately_and_what_was_offered_lately_stays(line: Line) -> None:
    name = make_one(line)
    line.clock.moment += KEPT - timedelta(days=1)
    age(line)
    turn(line)
    assert kept(line) == [name]
    with line.scheduler.store.write() as c:  # as if its plate had been laid anew meanwhile
        c.execute(sa.delete(t.recipes))
        c.execute(sa.update(t.offers).values(made_at=line.now))
    line.clock.moment += timedelta(days=80)
    turn(line)
    assert kept(line) == [name]
    line.clock.moment += LONG
    turn(line)
    assert kept(line) == []


def test_a_finished_job_that_nobody_looked_at_keeps_nothing_for_ever_and_its_rejects_are_made_again(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent = agent_of(line)
    held = agent.finish(job, line.now)
    line.exchange(agent)
    line.clock.moment += LONG
    age(line)
    turn(line)
    assert kept(line) == []
    line.hear(agent.presence(line.now), *(agent.report(machine, line.now) for machine in agent.machines))
    agent.inspect(held, line.now, good=0, rejected=1)
    line.exchange(agent)
    for _ in range(2):
        line.plan()
    line.exchange(agent)
    (again,) = line.jobs(JobState.LEASED)
    assert again.replaces == job
    assert kept(line) == [held.sha256]


def test_killed_between_the_record_and_the_file_it_goes_on(line: Line) -> None:
    name = make_one(line)
    line.clock.moment += LONG
    age(line)
    with line.scheduler.store.write() as c:
        ToolpathFiles(line.scheduler.blobs).look(c, line.now)
    assert line.scheduler.blobs.holds(name)
    line.restart_scheduler()
    with suppress(KeyboardInterrupt), line.scheduler.store.write() as c:
        ToolpathFiles(line.scheduler.blobs).free(c, line.now)
        raise KeyboardInterrupt  # the file is gone, and that it is was not written down
    assert not line.scheduler.blobs.holds(name)
    turn(line)
    with line.scheduler.store.read() as c:
        (row,) = c.execute(sa.select(forgotten_toolpaths)).all()
    assert (row.sha256, row.freed_at) == (name, line.now)


def test_a_file_that_is_made_again_meanwhile_stays(line: Line) -> None:
    name = make_one(line)
    line.clock.moment += LONG
    age(line)
    with line.scheduler.store.write() as c:
        ToolpathFiles(line.scheduler.blobs).look(c, line.now)
    line.scheduler.blobs.put(line.scheduler.blobs.get(name))  # whoever makes it puts it before it is written down
    turn(line)
    assert line.scheduler.blobs.holds(name), "it is young"
    agent = agent_of(line)
    line.hear(agent.presence(line.now), *(agent.report(machine, line.now) for machine in agent.machines))
    line.order()
    line.plan()
    with line.scheduler.store.read() as c:
        assert forgotten_at(c, name) is None
    age(line)
    turn(line)
    assert kept(line) == [name]


def test_a_file_that_goes_while_it_is_made_again_is_put_back(line: Line) -> None:
    name = make_one(line)
    line.clock.moment += LONG
    age(line)
    turn(line)
    agent = agent_of(line)
    line.hear(agent.presence(line.now), *(agent.report(machine, line.now) for machine in agent.machines))
    line.order()
    gone: list[str] = []

    def take_away(_c: sa.Connection) -> None:
        """In the moment between the maker's file and its record."""
        if line.scheduler.blobs.holds(name) and not gone:
            line.scheduler.blobs.path(name).unlink()
            gone.append(name)

    line.scheduler.store.fence(take_away)
    line.plan()
    assert gone == [name]
    assert line.scheduler.blobs.holds(name)


def test_a_file_that_is_a_designs_own_too_stays(line: Line) -> None:
    name = make_one(line)
    with line.scheduler.store.write() as c:
        design = c.execute(sa.select(t.designs.c.id)).scalar()
        values = {"design": design, "name": "example.gcode", "kind": "other", "size_bytes": 1}
        c.execute(sa.insert(t.design_files).values(sha256=name, **values))
    line.clock.moment += LONG
    age(line)
    turn(line)
    assert kept(line) == [name]
    turn(line)
    assert kept(line) == [name]


def test_an_old_copy_of_the_database_whose_files_are_gone_is_mended(line: Line) -> None:
    name = make_one(line)
    agent = agent_of(line)
    (job,) = line.order()
    line.scheduler.blobs.path(name).unlink()
    with line.scheduler.store.write() as c:
        assert ToolpathFiles(line.scheduler.blobs).mend(c, line.now) == 1
        assert ToolpathFiles(line.scheduler.blobs).mend(c, line.now) == 0
    offer(line)
    assert agent.spool.held[job].sha256 == name
    assert kept(line) == [name]


def test_however_many_there_are_a_turn_is_short(line: Line) -> None:
    row = {"size_bytes": 1, "dialect": "marlin", "made_by": "", "settings": "", "duration_s": 1.0, "lines": 1}
    row |= {"bounds_mm": [], "work_card": "", "findings": [], "created_at": line.now}
    with line.scheduler.store.write() as c:
        rows = [{**row, "sha256": f"{number:064x}"} for number in range(2 * LOOKED_AT_ONCE + 10)]
        c.execute(sa.insert(t.toolpaths), rows)
    line.clock.moment += LONG
    files = ToolpathFiles(line.scheduler.blobs)
    counts = []
    for _ in range(4):
        with line.scheduler.store.write() as c:
            more = files.look(c, line.now)
        counts.append((line.rows()["forgotten_toolpaths"], more))
    assert counts == [(250, True), (500, True), (510, False), (510, False)]
    line.clock.moment += timedelta(hours=2)
    for _ in range(25):
        line.scheduler.dispatcher._forget(line.now)
        line.clock.pass_(seconds=1)
    with line.scheduler.store.read() as c:
        left = sa.select(sa.func.count()).where(forgotten_toolpaths.c.freed_at.is_(None))
        assert c.execute(left).scalar() == 0, "the dispatcher does it by itself"


@pytest.fixture
def walking(tmp_path: Path) -> Iterator[Line]:
    walked = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")))
    walked.arrive()
    yield walked
    walked.close()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_every_offer_and_lease_has_its_file(walking: Line, seed: int) -> None:
    line, chance = walking, random.Random(seed)
    agent = agent_of(line)

    def cancel() -> None:
        for job in line.jobs(JobState.WAITING, JobState.LEASED)[:1]:
            with suppress(Refused), line.scheduler.store.write() as c:
                people.cancel_job(c, line.scheduler.mover, job.id, "no", line.now)
        line.exchange(agent)

    def days() -> None:
        line.clock.moment += timedelta(days=chance.choice([1, 40, 100]))
        line.hear(agent.presence(line.now), *(agent.report(machine, line.now) for machine in agent.machines))

    def work() -> None:
        for job in line.jobs(JobState.LEASED)[:1]:
            start(line, job.id)
            held = agent.finish(job.id, line.now)
            line.exchange(agent)
            agent.inspect(held, line.now, good=chance.randint(0, 1))
            line.exchange(agent)
            line.hear(agent.report(held.machine, line.now))

    deeds = {
        "order": lambda: line.order(accept=chance.random() < 0.8),
        "plan": lambda: offer(line),
        "work": work,
        "cancel": cancel,
        "days": days,
        "age": lambda: age(line),
        "turn": lambda: turn(line),
        "restart": line.restart_scheduler,
    }
    for _ in range(30):
        deeds[chance.choice(list(deeds))]()
        with line.scheduler.store.read() as c:
            given = [*queries.open_offers(c), *queries.offers(c, [x.offer for x in queries.live_leases(c)]).values()]
            for one in given:
                assert line.scheduler.blobs.holds(one.sha256)
                assert forgotten_at(c, one.sha256) is None
            for recipe in c.execute(sa.select(t.recipes.c.sha256).where(t.recipes.c.sha256.is_not(None))).scalars():
                assert line.scheduler.blobs.holds(recipe), "what a new offer would name is here"
