"""What time alone brings: in short transactions however much of it comes at once, and told while it lasts."""

from __future__ import annotations

from pathlib import Path

from agents.contract import messages as m
from agents.contract.vocabulary import JobState
from scheduler.dispatch.sweep import MOST_AT_ONCE, sweep
from tests.scheduler.line import Agent, Line, agent_of, offer, start


def passes(line: Line) -> list[int]:
    """Let time alone act; how many jobs each transaction touched."""
    return list(sweep(line.scheduler.store, line.scheduler.mover, line.now))


def test_many_offers_that_lapse_at_once_are_written_in_short_transactions(tmp_path: Path) -> None:
    agents = [Agent(f"shop{number}", "pi", ("m1",)) for number in range(3 * MOST_AT_ONCE + 1)]
    line = Line(tmp_path, *agents)
    line.arrive()
    jobs = line.order(len(agents))
    line.plan()
    line.plan()
    assert {line.job(job).state for job in jobs} == {JobState.OFFERED}
    line.clock.pass_(seconds=61)
    touched = passes(line)
    assert max(touched) <= MOST_AT_ONCE
    assert sum(touched) == len(jobs)
    assert {line.job(job).state for job in jobs} == {JobState.WAITING}
    assert not any(passes(line))
    line.close()


def test_many_machines_that_fall_silent_give_their_leases_back_in_short_transactions(tmp_path: Path) -> None:
    agents = [Agent(f"shop{number}", "pi", ("m1",)) for number in range(2 * MOST_AT_ONCE + 1)]
    line = Line(tmp_path, *agents)
    line.arrive()
    jobs = line.order(len(agents))
    line.plan()
    line.plan()
    for agent in agents:
        line.exchange(agent)
        line.hear(agent.presence(line.now, online=False))
    assert {line.job(job).state for job in jobs} == {JobState.LEASED}
    line.clock.pass_(seconds=46)
    line.hear(agents[0].presence(line.now))
    touched = passes(line)
    assert max(touched) <= MOST_AT_ONCE
    held = [row for row in line.jobs() if row.state is JobState.LEASED]
    assert [row.agent for row in held] == [agents[0].id], "who spoke keeps the lease"
    line.close()


def test_a_run_is_flagged_when_its_agent_is_gone_and_cleared_when_it_speaks(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    line.clock.pass_(seconds=30)
    line.hear(agent.presence(line.now, online=False))
    passes(line)
    assert line.job(job).flag.startswith("no word from the agent since 08:00:30 UTC")
    line.clock.pass_(seconds=5)
    line.hear(agent.presence(line.now))
    passes(line)
    assert not line.job(job).flag


def test_a_connected_agent_whose_machine_heats_for_minutes_is_not_taken_for_dead(line: Line) -> None:
    """Agents speak by exception: no line is confirmed while a bed heats. A will that got lost is missed later."""
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    line.clock.pass_(minutes=9)
    passes(line)
    assert not line.job(job).flag
    line.clock.pass_(minutes=2)
    passes(line)
    assert line.job(job).flag.startswith("no word from the agent since 08:00:00 UTC")
    agent.progress(job, line.now, 0.1)
    line.exchange(agent)
    passes(line)
    assert not line.job(job).flag


def test_a_held_job_of_a_connected_agent_waits_for_its_person_as_long_as_it_takes(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent.say(m.Held(job=job, fence=1, machine=line.job(job).machine, line=1, why="a person paused it"), line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.HELD
    line.clock.pass_(hours=3)
    passes(line)
    assert not line.job(job).flag
    line.hear(agent.presence(line.now, online=False))
    passes(line)
    assert line.job(job).flag
