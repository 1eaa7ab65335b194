"""The right to grant: its tables, and every state of one job, one home, one scheduler and two agents."""

from __future__ import annotations

import pytest

from agents.contract import granting as g
from agents.contract.granting import Begun, ChargeState, Hold, HoldEvent, Sight, Standing
from tests.contract.granting_model import Message, Rules, explore


class Small(Rules):
    """One grant a side and one lost connection: some 37,000 states."""

    most_epochs, most_grants, most_home_grants = 2, 1, 1


def test_no_order_of_things_starts_one_attempt_twice() -> None:
    states, way = explore(Small())
    assert way is None
    assert states > 30_000, "the model moves"


class OffersInDoubt(Small):
    def may_offer(self, hold: Hold) -> bool:
        return True


class SendsOldGrants(Small):
    def may_send_grant(self, hold: Hold) -> bool:
        return True


class TakesAnyEpoch(Small):
    def why_not_grant(self, sight: Sight, mark: Standing, state: ChargeState, given_up: int) -> str:
        seen = Sight(sight.connected, mark.epoch, sight.online, 0.0, sight.returned)
        return g.why_not_grant(seen, mark, state, 0.0, given_up)


class ForgetsItsBook(Small):
    def why_not_grant(self, sight: Sight, mark: Standing, state: ChargeState, given_up: int) -> str:
        return g.why_not_grant(Sight(sight.connected, sight.epoch, sight.online), mark, state, 0.0, given_up)


class TrustsWhatItReadBefore(Small):
    def reads_anew(self) -> bool:
        return False


class GrantsBesideTheScheduler(Small):
    def why_not_grant(self, sight: Sight, mark: Standing, state: ChargeState, given_up: int) -> str:
        seen = Sight(True, sight.epoch, False, 0.0, sight.returned)
        read = Standing(mark.epoch, mark.floor, mark.attempt, mark.held, read_after_offline=True)
        return g.why_not_grant(seen, read, state, 0.0, given_up)


class GrantsWhatIsHeld(Small):
    def why_not_grant(self, sight: Sight, mark: Standing, state: ChargeState, given_up: int) -> str:
        return g.why_not_grant(sight, mark, state, 0.0, given_up=mark.held)


class KeepsLeasesAfterTheBook(Small):
    def after_book_asked(self, state: ChargeState) -> ChargeState:
        return state


class PermitsOldFences(Small):
    most_home_grants = 2

    def why_no_start(self, state: ChargeState, newest: int, fence: int) -> str:
        return ""


class GivesUpWhatItMayRun(Small):
    def may_give_up(self, begun: Begun) -> bool:
        return True


class RunsWhatItGaveUp(Small):
    def ends_what_was_given_up(self) -> bool:
        return False


class GrantsBeforeTheMark(Small):
    def with_grant(self, mark: Message, grant: Message) -> tuple[Message, ...]:
        return (grant, mark)


@pytest.mark.parametrize(
    "broken",
    [
        OffersInDoubt,
        SendsOldGrants,
        TakesAnyEpoch,
        ForgetsItsBook,
        TrustsWhatItReadBefore,
        GrantsBesideTheScheduler,
        GrantsWhatIsHeld,
        KeepsLeasesAfterTheBook,
        PermitsOldFences,
        GivesUpWhatItMayRun,
        RunsWhatItGaveUp,
        GrantsBeforeTheMark,
    ],
)
def test_every_rule_is_needed(broken: type[Rules]) -> None:
    _, way = explore(broken())
    assert way is not None, "without this rule one attempt starts twice, and the explorer must find the way to it"


def test_epochs_rise_with_starts_and_connections() -> None:
    epochs = [g.epoch_of(start, connection) for start in (1, 2, 3) for connection in (1, 2, g.CONNECTIONS_A_START - 1)]
    assert epochs == sorted(set(epochs))
    with pytest.raises(ValueError, match="restart"):
        g.epoch_of(1, g.CONNECTIONS_A_START)


def test_the_right_leaves_doubt_only_by_a_book_or_a_person() -> None:
    out = {event for (hold, event), to in g.HOLD_TABLE.items() if hold is Hold.DOUBTED and to is not Hold.DOUBTED}
    assert out == {HoldEvent.BOOK_CAME, HoldEvent.HOME_DECLARED_LOST}
    assert not g.may_offer(Hold.DOUBTED)
    assert not g.may_post(Hold.DOUBTED)


def test_a_home_says_why_it_waits() -> None:
    mark = Standing(epoch=7, floor=2, attempt=1, read_after_offline=True)
    gone = Sight(connected=True, epoch=7, online=False, offline_s=31.0)
    assert g.why_not_grant(gone, mark, ChargeState.FREE, 30.0) == ""
    assert g.next_fence(mark, 0) == 4
    early = Sight(connected=True, epoch=7, online=False, offline_s=5.0)
    assert "30 s to come back" in g.why_not_grant(early, mark, ChargeState.FREE, 30.0)
    alone = Sight(connected=False, epoch=7, online=False, offline_s=31.0)
    assert "no connection" in g.why_not_grant(alone, mark, ChargeState.FREE, 30.0)
