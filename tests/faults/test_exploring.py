"""The lease protocol explored to its end for small sizes, and what happens when one of its guards is taken away."""

from __future__ import annotations

import pytest

from agents.inbox import Inbox
from agents.lease import TABLE, LeaseEvent, LeaseState
from scheduler.dispatch import apply
from tests.faults.exploring import SIZES, explore
from tests.faults.worlds import Bounds, Broken, Guards

QUIET = Bounds(fences=1, offers=2, deaths=0, fails=False, loses=False)


@pytest.mark.parametrize("size", SIZES)
def test_every_world_keeps_the_rules_and_can_come_to_an_end(size: str) -> None:
    found = explore(SIZES[size])
    assert found.ended
    assert found.worlds > 500


def test_a_start_without_permission_is_noticed() -> None:
    with pytest.raises(Broken, match="which was not committed"):
        explore(QUIET, Guards(permission=False))


def test_a_commit_without_looking_at_holder_and_fence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_not_its_lease", lambda *_: None)
    with pytest.raises(Broken, match=r"was committed while|the job is"):
        explore(Bounds(deaths=0, fails=False, loses=False))


def test_the_agents_own_look_at_the_fence_is_a_second_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that takes any grant again does no harm while the scheduler compares; without both, it is noticed."""
    refuse = Inbox._wrong_grant

    def careless(*values: object) -> str:
        why = str(refuse(*values))  # type: ignore[arg-type]
        return "" if "is not above" in why or "not claimed" in why else why

    monkeypatch.setattr(Inbox, "_wrong_grant", careless)
    assert explore(Bounds(fences=1, offers=2, deaths=0)).ended
    monkeypatch.setattr(apply, "_not_its_lease", lambda *_: None)
    with pytest.raises(Broken):
        explore(Bounds(deaths=0, fails=False, loses=False))


def test_journal_numbers_applied_twice_are_noticed() -> None:
    with pytest.raises(Broken):
        explore(QUIET, Guards(numbers=False))


def test_messages_heard_twice_are_noticed() -> None:
    with pytest.raises(Broken, match="repeated"):
        explore(Bounds(fences=1, offers=2, deaths=0, fails=False), Guards(message_ids=False))


def test_offering_before_everybody_was_heard_is_noticed() -> None:
    bounds = Bounds(fences=1, offers=1, deaths=0, restores=True, fails=False, loses=False)
    with pytest.raises(Broken, match=r"two machines|a second time|made twice"):
        explore(bounds, Guards(reconcile_first=False))


def test_a_permission_that_outlives_its_process_only_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no memory is ever put back, keeping the permission over a restart would be safe: the table is stricter."""
    monkeypatch.delitem(TABLE, (LeaseState.INTENDED, LeaseEvent.AGENT_RESTARTED))
    assert explore(SIZES["one job, deaths"]).ended
