"""Who may grant a job, as tables and pure functions, used by the scheduler and by a job's home alike.

At every instant the right to grant one job lies with one party. The scheduler has it while it is connected. By posting
a mark under an *epoch* (one connection of one start of a scheduler) it lends the right to the job's home for the time
in which the broker announces that epoch as over. A scheduler whose connection ended, for however short a time, begins
a new epoch: for every job that it had lent it neither offers nor sends grants before the home has handed in its book,
or a person has declared the home lost. A start is permitted by whoever granted the lease, once, and only the holder of
a fence can begin under it: a holder that gives a lease up, in writing, ends it whatever its granter knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Connections that one start of a scheduler may have before its epochs would meet those of the next start.
CONNECTIONS_A_START: Final = 2**20
#: The scheduler may have given one fence above the floor that the home sees: the mark that says so had not gone out.
HOME_FENCE_STEP: Final = 2


def epoch_of(start: int, connection: int) -> int:
    """The epoch of a scheduler's `start` (its term) and the `connection` within it, both from 1. Rises with either.

    Raises ValueError when a start had too many connections: it must start anew.
    """
    if not 0 <= connection < CONNECTIONS_A_START:
        raise ValueError(f"connection {connection} of one start: restart the scheduler")
    return start * CONNECTIONS_A_START + connection


# --- the scheduler's side -------------------------------------------------------------------------------------------


class Hold(StrEnum):
    """Where the right to grant a job lies, as far as the scheduler can know."""

    OWN = "own"
    """With the scheduler alone: it has no home, or its home has handed in its book."""
    LENT = "lent"
    """With the scheduler in this epoch; with the home once the broker announces this epoch as over."""
    DOUBTED = "doubted"
    """It was lent in an earlier epoch, and the home has not said what it did."""


class HoldEvent(StrEnum):
    """What moves the right."""

    POSTED = "posted"
    EPOCH_BEGAN = "epoch_began"
    BOOK_CAME = "book_came"
    HOME_DECLARED_LOST = "home_declared_lost"


HOLD_TABLE: Final[dict[tuple[Hold, HoldEvent], Hold]] = {
    (Hold.OWN, HoldEvent.POSTED): Hold.LENT,
    (Hold.LENT, HoldEvent.POSTED): Hold.LENT,
    (Hold.OWN, HoldEvent.EPOCH_BEGAN): Hold.OWN,
    (Hold.LENT, HoldEvent.EPOCH_BEGAN): Hold.DOUBTED,
    (Hold.DOUBTED, HoldEvent.EPOCH_BEGAN): Hold.DOUBTED,
    (Hold.DOUBTED, HoldEvent.BOOK_CAME): Hold.OWN,
    (Hold.DOUBTED, HoldEvent.HOME_DECLARED_LOST): Hold.OWN,
}


def hold_after(hold: Hold, event: HoldEvent) -> Hold:
    """The table's next hold; an event that means nothing leaves it (a book that comes twice)."""
    return HOLD_TABLE.get((hold, event), hold)


def may_offer(hold: Hold) -> bool:
    """Whether the scheduler may offer the job, take a claim on it, or send a grant that it has written."""
    return hold is not Hold.DOUBTED


def may_post(hold: Hold) -> bool:
    """Whether the scheduler may post a mark: not before it knows what the home did with the last one."""
    return hold is not Hold.DOUBTED


# --- the home's side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sight:
    """What a home sees of the scheduler that entrusted a job, and what it owes it. Times in seconds."""

    connected: bool
    """Whether the home's own connection stands."""
    epoch: int
    """Of the scheduler's presence as last seen on this connection; 0 for none."""
    online: bool
    offline_s: float = 0.0
    """How long the home has seen it offline without a break."""
    returned: int = 0
    """The epoch of the last book it handed in: all that was lent before is the scheduler's again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A mark as the home read it."""

    epoch: int
    floor: int
    """The highest fence that the scheduler had given when it posted the mark."""
    attempt: int
    held: int = 0
    """Fence of a lease that the scheduler had given and that was not known to have begun; 0 for none."""
    read_after_offline: bool = False
    """Read from the broker after it had announced the epoch's end: no later word of that epoch can exist."""


class ChargeState(StrEnum):
    """Where a job in a home's care stands."""

    FREE = "free"
    GRANTED = "granted"
    """A lease was given; its start is not permitted yet."""
    COMMITTED = "committed"
    """Its start was permitted: only its holder, or a person, ends it."""
    MADE = "made"
    OVER = "over"
    """Cancelled, or given up after too many attempts: the scheduler or a person decides."""


class ChargeEvent(StrEnum):
    """What happens to a job in a home's care."""

    GRANTED = "granted"
    START_ASKED = "start_asked"
    GIVEN_UP = "given_up"
    LAPSED = "lapsed"
    FAILED = "failed"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    BOOK_ASKED = "book_asked"


_S, _E = ChargeState, ChargeEvent
CHARGE_TABLE: Final[dict[tuple[ChargeState, ChargeEvent], ChargeState]] = {
    (_S.FREE, _E.GRANTED): _S.GRANTED,
    (_S.GRANTED, _E.START_ASKED): _S.COMMITTED,
    (_S.COMMITTED, _E.START_ASKED): _S.COMMITTED,
    # Not begun: taking it back is safe, for its start will be refused from now on.
    (_S.GRANTED, _E.GIVEN_UP): _S.FREE,
    (_S.GRANTED, _E.LAPSED): _S.FREE,
    (_S.GRANTED, _E.FAILED): _S.FREE,
    (_S.GRANTED, _E.CANCELLED): _S.OVER,
    (_S.GRANTED, _E.BOOK_ASKED): _S.FREE,
    # Permitted: only the holder's own word.
    (_S.COMMITTED, _E.GIVEN_UP): _S.FREE,
    (_S.COMMITTED, _E.FAILED): _S.FREE,
    (_S.COMMITTED, _E.CANCELLED): _S.OVER,
    (_S.COMMITTED, _E.FINISHED): _S.MADE,
}


def charge_after(state: ChargeState, event: ChargeEvent) -> ChargeState | None:
    """The table's next state; None where the event means nothing."""
    return CHARGE_TABLE.get((state, event))


def why_not_grant(sight: Sight, mark: Standing, state: ChargeState, patience_s: float, given_up: int = 0) -> str:
    """Why a home must not grant now; empty when it may. `given_up`: the highest fence whose holder gave it up."""
    if not sight.connected:
        return "this home has no connection: it cannot know who else grants"
    if sight.online:
        return "the scheduler is there: it grants"
    if sight.epoch != mark.epoch:
        return f"the mark is of epoch {mark.epoch}, the scheduler was last seen in {sight.epoch}"
    if sight.returned > mark.epoch:
        return f"the book was handed in for epoch {sight.returned}: the scheduler grants"
    if sight.offline_s < patience_s:
        return f"the scheduler has been away for {sight.offline_s:.0f} s; it is given {patience_s:.0f} s to come back"
    if not mark.read_after_offline:
        return "the mark was read before the scheduler went: it may have changed since"
    if state is not ChargeState.FREE:
        return f"the job is {state} already"
    if mark.held > given_up:
        return f"a lease under fence {mark.held} was given before: its holder has not given it up"
    return ""


def next_fence(mark: Standing, own_highest: int) -> int:
    """The fence of the home's next grant: above all that the scheduler can have given, and above its own."""
    return max(mark.floor + HOME_FENCE_STEP, own_highest + 1)


def why_no_start(state: ChargeState, newest_fence: int, fence: int) -> str:
    """Why a home refuses a start under `fence`; empty when it permits it, for the first time or again."""
    if fence != newest_fence:
        return f"fence {fence} is not {newest_fence}, the newest that this home gave"
    if charge_after(state, ChargeEvent.START_ASKED) is None:
        return f"the lease under fence {fence} is over: it lapsed, was given up, or the scheduler is back"
    return ""


# --- the holder's side ----------------------------------------------------------------------------------------------


class Begun(StrEnum):
    """What the holder of a lease can say of its own start."""

    NOT_ASKED = "not_asked"
    ASKED = "asked"
    """It asked for permission and has no answer."""
    PERMITTED = "permitted"
    """It has the permission: it may be moving, or may have moved."""


def may_give_up(begun: Begun) -> bool:
    """Whether a holder may still say, bindingly, that nothing moved and nothing will under this fence."""
    return begun is not Begun.PERMITTED
