"""The short form of the soak: lives that between them meet many faults, each fault alone; and proof it can fail."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.dispatch.states import TRANSITIONS, JobEvent, JobState
from tests.faults.lives import FAULTS, Life, NotKept, live, template_database


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    made = template_database()
    yield made
    shutil.rmtree(made.parent, ignore_errors=True)


def test_lives_with_faults_end_with_everything_made_and_nothing_made_twice(template: Path) -> None:
    faults: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for seed in range(1, 6):
        lived = live(seed, template, faults=4)
        faults.update(lived.counts)
        steps.update(lived.steps)
    assert len(steps) >= 25
    assert len(set(faults) & set(FAULTS)) >= 6


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_survived(template: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.lives.FAULTS", (fault,))
    lived = live(7, template, faults=2)
    assert lived.counts[fault] == 2


def test_a_broken_rule_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite can fail: a scheduler that commits a start under any fence, even twice, is caught."""
    monkeypatch.setattr("scheduler.dispatch.apply._not_its_lease", lambda *_: None)
    monkeypatch.setitem(
        TRANSITIONS, (JobState.STARTING, JobEvent.START_INTENDED), TRANSITIONS[JobState.READY, JobEvent.START_INTENDED]
    )
    life = Life(3, faults=0, template=template)
    try:
        life.line.arrive()
        (job, *_) = life.line.order(1)
        life.line.plan()
        life.line.plan()
        for each in life.agents:
            life.line.exchange(each)
        agent = next(agent for agent in life.agents if agent.spool.held)
        agent.stage(job, life.line.now)
        agent.intend(job, life.line.now)
        agent.intend(job, life.line.now)
        life.line.exchange(agent)
        with pytest.raises(NotKept, match="committed to start twice"):
            life._check()
    finally:
        life.close()
