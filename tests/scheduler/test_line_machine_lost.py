"""What has not begun goes elsewhere when its machine is taken away, whatever takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.contract.vocabulary import JobState, MachineState
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.store import queries
from tests.scheduler.line import Agent, Line, first_fit


def _open_ones(snapshot: Snapshot) -> Plan:
    """First fit on machines whose owners take pool work."""
    return first_fit(replace(snapshot, machines=tuple(each for each in snapshot.machines if each.accepts_pool)))


def _gone(line: Line, agent: Agent) -> None:
    line.hear(agent.presence(line.now, online=False))
    line.clock.pass_(seconds=50)


def _state(state: MachineState) -> Callable[[Line, Agent], None]:
    def say(line: Line, agent: Agent) -> None:
        line.hear(agent.report("m1", line.now, state, why="something is wrong"))
        line.clock.pass_(seconds=50)

    return say


def _quarantined(line: Line, agent: Agent) -> None:
    with line.scheduler.store.write() as c:
        queries.update_machine(c, agent.id, "m1", {"quarantined_at": line.now, "quarantine_why": "two faults"})


def _closed(line: Line, agent: Agent) -> None:
    line.hear(agent.report("m1", line.now, accepts_pool_work=False))


@pytest.mark.parametrize("held", [JobState.OFFERED, JobState.LEASED, JobState.STAGED, JobState.READY])
@pytest.mark.parametrize(
    "befalls",
    [
        _gone,
        _state(MachineState.OFFLINE),
        _state(MachineState.ALARM),
        _state(MachineState.DISABLED),
        _quarantined,
        _closed,
    ],
    ids=["agent gone", "offline", "alarm", "disabled", "quarantined", "closed"],
)
def test_what_has_not_begun_goes_elsewhere_whatever_takes_its_machine_away(
    tmp_path: Path, befalls: Callable[[Line, Agent], None], held: JobState
) -> None:
    first, second = Agent("aa", "pi", ("m1",)), Agent("bb", "pi", ("m1",))
    line = Line(tmp_path, first, second, planner=_open_ones)
    line.arrive()
    (job,) = line.order()
    line.plan()
    line.plan()
    if held is not JobState.OFFERED:
        line.exchange(first)
    if held in (JobState.STAGED, JobState.READY):
        first.stage(job, line.now)
    if held is JobState.READY:
        first.ready(job, line.now)
    line.hear(*first.unacked())
    assert (line.job(job).state, line.job(job).agent) == (held, None if held is JobState.OFFERED else "aa.pi")
    befalls(line, first)
    line.plan()
    line.plan()
    line.exchange(second)
    assert (line.job(job).state, line.job(job).agent) == (JobState.LEASED, "bb.pi")
    if held is JobState.STAGED or held is JobState.READY:
        first.intend(job, line.now)
        line.exchange(first)
        assert not first.starts, "a start under the lease that was taken back"
    assert line.job(job).agent == "bb.pi"
    line.close()
