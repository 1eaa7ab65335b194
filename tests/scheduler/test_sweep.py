"""What time alone brings: in short transactions however much of it comes at once, and told while it lasts."""

from __future__ import annotations

from pathlib import Path

from agents.contract.vocabulary import JobState, MachineState
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


def test_a_run_is_flagged_when_its_agent_falls_silent_and_cleared_when_it_speaks(line: Line) -> None:
    """Without a word from the broker either: an agent that hangs has a connection that stands."""
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    line.clock.pass_(seconds=45)
    passes(line)
    assert not line.job(job).flag
    line.clock.pass_(seconds=5)
    passes(line)
    assert line.job(job).flag.startswith("no word from the agent since 08:00:00 UTC")
    line.hear(agent.report("m1", line.now, state=MachineState.RUNNING))
    line.clock.pass_(seconds=5)
    passes(line)
    assert not line.job(job).flag
    line.hear(agent.presence(line.now, online=False))
    line.clock.pass_(seconds=5)
    passes(line)
    assert line.job(job).flag.startswith("no word from the agent since 08:00:55 UTC")
