"""The soak in short: lives with many faults, each fault alone; and proof that it can fail, by spoiling the product."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import inbox, machine, safety
from agents.contract.envelope import Envelope
from agents.machine import Supervisor
from agents.spool import Spool
from scheduler.dispatch import apply, journal
from tests.faults import spoiling
from tests.faults.faults import FAULTS
from tests.faults.grounds import template_database
from tests.faults.lives import live
from tests.faults.rules import NotKept
from tests.faults.steps import NAMED


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    logging.disable(logging.CRITICAL)
    made = template_database()
    yield made
    logging.disable(logging.NOTSET)
    shutil.rmtree(made.parent, ignore_errors=True)


def test_lives_with_faults_end_with_everything_made_and_nothing_made_twice(template: Path) -> None:
    steps: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    for seed in range(1, 7):
        lived = live(seed, template, faults=4)
        steps.update(lived.steps)
        struck.update(lived.faults)
    assert len(set(NAMED)) >= 25
    assert len(set(NAMED) & set(steps)) >= 45, "nearly every named step is one that jobs pass in so few lives"
    assert len(struck) >= 8


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_survived(template: Path, fault: str) -> None:
    for seed in range(7, 17):
        if live(seed, template, faults=2, only=fault).faults[fault]:
            return
    raise AssertionError("the fault never struck")


def test_the_same_seed_is_the_same_life(template: Path) -> None:
    first, again = (live(11, template, faults=3) for _ in range(2))
    assert (first.steps, first.hits, first.turns) == (again.steps, again.hits, again.turns)


def first_broken(template: Path, only: str, faults: int, upto: int = 60) -> str:
    """The rule that some life breaks."""
    for seed in range(upto):
        try:
            live(seed, template, faults=faults, only=only)
        except NotKept as error:
            return str(error)
    raise AssertionError("no life noticed that the product was spoiled")


def test_starting_without_waiting_for_the_commit_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "verdict", lambda self, seq: (True, None))
    assert "which no scheduler committed" in first_broken(template, "", 0)


def test_a_scheduler_that_commits_a_start_under_any_fence_is_noticed(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_not_its_lease", lambda *_: None)
    monkeypatch.setattr(journal, "_repeated", lambda *_: None)
    monkeypatch.setattr(inbox.Inbox, "_withdrawn", lambda *_: ("withdrawn", ()))
    first_broken(template, "scheduler_clock_forward", 6)


def test_running_on_after_a_restart_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that forgets that its machine was moving when it died, and one that arms itself."""
    monkeypatch.setattr(Supervisor, "recover", lambda self, checkpoint=None: None)
    assert first_broken(template, "kill_agent", 3)


def test_an_agent_that_does_not_ask_for_a_clear_bed_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = tuple(check for check in safety._START_GATES if check is not safety._bed)
    monkeypatch.setattr(safety, "_START_GATES", spoiled)
    assert "bed" in first_broken(template, "", 0, 200)


def test_a_watch_that_does_not_look_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety.Watch, "look", lambda self: None)
    assert "beam" in first_broken(template, "person_leaves", 3)


def test_starting_again_from_an_old_memory_is_noticed(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What once was: an intended start survived a restart, also one from an old copy, and an old copy started it."""
    spoiling.permission_outlives_process(monkeypatch)
    assert "a second time" in first_broken(template, "restore_agent_database", 6, 400)


def test_envelopes_are_what_messages_travel_in() -> None:
    """The steps name messages by their bodies' types; a contract without them would name nothing."""
    assert {"id", "body", "seq"} <= set(Envelope.__struct_fields__)
    assert machine.Supervisor is Supervisor
