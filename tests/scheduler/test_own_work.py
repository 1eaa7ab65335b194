"""What a shop tells of its owner's own work: planned around, written in the record, and nothing to permit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract import messages as m
from agents.contract.vocabulary import JobState, MachineState
from scheduler.planning import plan
from scheduler.store import tables as t
from tests.scheduler.line import START, Agent, Line

OVER = START + timedelta(hours=3)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)), planner=plan)
    made.arrive()
    yield made
    made.close()


def mill(line: Line) -> Agent:
    return next(iter(line.agents.values()))


def soonest(line: Line) -> timedelta:
    """From now to the planned start of the one job."""
    (placement,) = plan(line.scheduler.dispatcher.look(line.now).snapshot).placements
    return placement.start - line.now


def test_nothing_is_planned_into_own_work_and_the_clearing_after_it(line: Line) -> None:
    line.order()
    line.plan()
    assert soonest(line) < timedelta(minutes=1)
    line.hear(mill(line).report("m1", line.now, MachineState.RUNNING, own_until=OVER))
    assert soonest(line) >= OVER - START
    line.hear(mill(line).report("m1", line.now, MachineState.IDLE, own_until=OVER))
    assert soonest(line) >= OVER - START, "own work that waits goes first, too"
    line.hear(mill(line).report("m1", line.now))
    assert soonest(line) < timedelta(minutes=1)


@pytest.mark.parametrize("until", [None, START - timedelta(hours=1)])
def test_a_machine_at_own_work_of_unknown_length_is_not_taken_for_free(line: Line, until: object) -> None:
    line.order()
    line.plan()
    line.hear(mill(line).report("m1", line.now, MachineState.HELD, own_until=until))
    assert timedelta(minutes=1) < soonest(line) < timedelta(hours=1)


def test_own_work_is_a_line_of_the_record_and_its_number_counts(line: Line) -> None:
    agent = mill(line)
    own = m.OwnWork(machine="m1", run="own-1", step=m.OwnStep.INTENDED, expected_end=OVER)
    seq = agent.say(own, line.now)
    line.exchange(agent)
    assert agent.spool.acked == seq
    assert agent.spool.refused == {}
    with line.scheduler.store.read() as c:
        (row,) = c.execute(t.events.select().where(t.events.c.kind == "own_work")).mappings()
    assert (row["agent"], row["machine"], row["job"]) == ("mill.pi", "m1", None)
    assert row["body"] == {"run": "own-1", "step": "intended", "expected_end": OVER.isoformat()}


def test_an_old_memory_that_lacks_own_work_alone_uses_a_used_number(line: Line) -> None:
    """The journal of the copy ends before an own run began: its next word has that run's number."""
    agent = mill(line)
    before, kept = agent.spool.seq, list(agent.spool.journal)
    agent.say(m.OwnWork(machine="m1", run="own-1", step=m.OwnStep.INTENDED), line.now)
    line.exchange(agent)
    agent.spool.seq, agent.spool.journal = before, kept
    agent.holdings(line.now)
    line.hear(*agent.unacked(), (agent.journal_topic(), agent.spool.journal[-1][1]))
    line.exchange(agent)
    assert m.NUMBER_USED in agent.spool.refused[agent.spool.seq]


def test_pool_work_that_has_not_begun_outlives_own_work_and_starts_after_it(line: Line) -> None:
    agent, (job,) = mill(line), line.order()
    line.plan()
    line.plan()
    line.exchange(agent)
    assert line.job(job).state is JobState.LEASED
    agent.say(m.OwnWork(machine="m1", run="own-1", step=m.OwnStep.INTENDED), line.now)
    line.hear(agent.report("m1", line.now, MachineState.RUNNING))
    line.exchange(agent)
    line.clock.pass_(hours=9)
    for _ in range(3):
        line.hear(agent.presence(line.now), agent.report("m1", line.now))
        line.plan()
        line.exchange(agent)
    assert line.job(job).state is JobState.LEASED


def test_a_job_does_not_wait_behind_own_work_that_ends_late(tmp_path: Path) -> None:
    first, second = Agent("aa", "pi", ("m1",)), Agent("bb", "pi", ("m1",))
    line = Line(tmp_path, first, second, planner=plan)
    line.arrive()
    (job,) = line.order()
    line.plan()
    line.plan()
    for agent in (first, second):
        line.exchange(agent)
    holder, other = sorted((first, second), key=lambda agent: agent.id != line.job(job).agent)
    assert line.job(job).state is JobState.LEASED
    line.hear(holder.report("m1", line.now, MachineState.RUNNING, own_until=line.now + timedelta(minutes=5)))
    line.plan()
    assert line.job(job).agent == holder.id, "it is about in time"
    line.hear(holder.report("m1", line.now, MachineState.RUNNING, own_until=OVER))
    for _ in range(3):
        line.plan()
        line.exchange(other)
    assert (line.job(job).state, line.job(job).agent) == (JobState.LEASED, other.id)
    line.close()
