"""Mutations that concern jobs pulled from the board and granted by their home, beside those of `spoiling.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from msgspec import structs

from agents import home
from agents.contract import granting
from agents.contract.granting import Hold, HoldEvent, Sight, Standing
from agents.home import Home
from agents.home_book import Granted
from scheduler.dispatch import board, books
from tests.faults.spoiling import Mutation

_AWAY: Final = "scheduler_away"


def _nothing_doubted(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(granting.HOLD_TABLE, (Hold.LENT, HoldEvent.EPOCH_BEGAN), Hold.OWN)


def _book_unread(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "_take_in", lambda *_: None)
    patch.setattr(board, "_doubt_what_is_unexplained", lambda *_: None)


def _unexplained_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(board, "_doubt_what_is_unexplained", lambda *_: None)


def _held_is_granted(patch: pytest.MonkeyPatch) -> None:
    why_not = granting.why_not_grant

    def careless(sight: Sight, mark: Standing, state: Any, patience_s: float, given_up: int = 0) -> str:
        return why_not(sight, replace(mark, held=0), state, patience_s, given_up)

    patch.setattr(home, "why_not_grant", careless)


def _low_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(home, "next_fence", lambda mark, own: own + 1)


def _granted_twice(patch: pytest.MonkeyPatch) -> None:
    why_not = granting.why_not_grant

    def careless(sight: Sight, mark: Standing, state: Any, patience_s: float, given_up: int = 0) -> str:
        return why_not(sight, mark, granting.ChargeState.FREE, patience_s, given_up)

    patch.setattr(home, "why_not_grant", careless)


def _book_closes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Home, "_closed", lambda self, charge: [])
    patch.setattr(Home, "_start", _permitted)


def _permitted(self: Home, charge: Any, granted: Any) -> str:
    lease = granted.lease
    self.book.put_lease(charge.scheduler, Granted(structs.replace(lease, committed=True), granted.claim, heard=True))
    return ""


PULLING: Final = {
    "nothing in doubt": Mutation(
        "what was lent is offered before its home has said what it did", _nothing_doubted, _AWAY
    ),
    "book unread": Mutation("what a home granted does not become the record", _book_unread, _AWAY),
    "unexplained dropped": Mutation(
        "a fence that no book explains is dropped", _unexplained_dropped, "away_and_back_on_an_old_database"
    ),
    "held is granted": Mutation(
        "a home grants what a holder of the scheduler's has not given up", _held_is_granted, _AWAY
    ),
    "low fence": Mutation("a home's fences do not begin above the scheduler's", _low_fence, _AWAY),
    "granted twice": Mutation("a home grants a job that it granted already", _granted_twice, _AWAY),
    "book closes nothing": Mutation("a home permits starts after its book", _book_closes_nothing, "away_and_agent_cut"),
}
