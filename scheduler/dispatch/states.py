"""A job's life as a table: `(state, event) → (state, actions)`. What is not in the table cannot happen.

Before LEASED dispatch moves a job. From LEASED on, only what an agent's journal says moves it, with three exceptions
that cannot make anything run: a lease that has not begun lapses or is withdrawn, and a person declares a silent attempt
lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agents.contract.vocabulary import JobState


class JobEvent(StrEnum):
    """All that can happen to a job. The values are stored in `job_events.kind`."""

    OFFERED = "offered"
    DECLINED = "declined"
    OFFER_LAPSED = "offer_lapsed"
    OFFER_WITHDRAWN = "offer_withdrawn"
    CLAIMED = "claimed"
    GRANT_REFUSED = "grant_refused"
    GIVEN_UP = "given_up"
    STARTED_BY_HOME = "started_by_home"
    STAGED = "staged"
    READY = "ready"
    GATES_SHUT = "gates_shut"
    LEASE_LAPSED = "lease_lapsed"
    LEASE_WITHDRAWN = "lease_withdrawn"
    START_INTENDED = "start_intended"
    START_OVERDUE = "start_overdue"
    RUNNING = "running"
    PROGRESSED = "progressed"
    HELD = "held"
    RESUMED = "resumed"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCEL_ASKED = "cancel_asked"
    CANCEL_OVERDUE = "cancel_overdue"
    PAUSE_ASKED = "pause_asked"
    CANCEL_CONFIRMED = "cancel_confirmed"
    STOPPED_BY_SHOP = "stopped_by_shop"
    DECLARED_LOST = "declared_lost"
    RETRIED = "retried"
    INSPECTED = "inspected"


class Action(StrEnum):
    """What goes with a transition, in the same transaction."""

    OPEN_OFFER = "open_offer"
    CLOSE_OFFER = "close_offer"
    WITHDRAW_OFFER = "withdraw_offer"
    REMEMBER_DECLINE = "remember_decline"
    GRANT = "grant"
    ADOPT_LEASE = "adopt_lease"
    END_LEASE = "end_lease"
    WITHDRAW_LEASE = "withdraw_lease"
    ASK_CANCEL = "ask_cancel"
    ASK_PAUSE = "ask_pause"
    EXPECT_FIRST_LINE = "expect_first_line"
    FLAG_OVERDUE = "flag_overdue"
    EXPECT_END = "expect_end"
    FLAG_NO_END = "flag_no_end"
    CLEAR_FLAG = "clear_flag"
    CLEAR_FAULTS = "clear_faults"
    COUNT_FAULT = "count_fault"
    DECIDE_RETRY = "decide_retry"
    COUNT_PIECES = "count_pieces"
    TELL_ORDER = "tell_order"
    BOOK_RUN = "book_run"


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads and what goes with it."""

    to: JobState
    actions: tuple[Action, ...] = ()


_S, _E, _A = JobState, JobEvent, Action
_BACK: Final = Step(_S.WAITING, (_A.END_LEASE,))
_TAKEN_BACK: Final = Step(_S.WAITING, (_A.WITHDRAW_LEASE, _A.END_LEASE))
_FAILED: Final = Step(_S.FAILED, (_A.END_LEASE, _A.BOOK_RUN, _A.COUNT_FAULT, _A.DECIDE_RETRY, _A.TELL_ORDER))
_LOST: Final = Step(_S.FAILED, (_A.ASK_CANCEL, _A.END_LEASE, _A.BOOK_RUN, _A.DECIDE_RETRY, _A.TELL_ORDER))
_GONE: Final = Step(_S.CANCELLED, (_A.END_LEASE, _A.BOOK_RUN, _A.CLEAR_FLAG, _A.TELL_ORDER))

_BY_HOME: Final = Step(_S.STARTING, (_A.ADOPT_LEASE, _A.EXPECT_FIRST_LINE, _A.CLEAR_FLAG, _A.TELL_ORDER))

TRANSITIONS: Final[dict[tuple[JobState, JobEvent], Step]] = {
    # Proposing. Nothing is held yet.
    (_S.WAITING, _E.OFFERED): Step(_S.OFFERED, (_A.OPEN_OFFER,)),
    (_S.OFFERED, _E.DECLINED): Step(_S.WAITING, (_A.CLOSE_OFFER, _A.REMEMBER_DECLINE)),
    (_S.OFFERED, _E.OFFER_LAPSED): Step(_S.WAITING, (_A.CLOSE_OFFER, _A.REMEMBER_DECLINE)),
    (_S.OFFERED, _E.OFFER_WITHDRAWN): Step(_S.WAITING, (_A.WITHDRAW_OFFER, _A.CLOSE_OFFER)),
    (_S.OFFERED, _E.CLAIMED): Step(_S.LEASED, (_A.GRANT, _A.CLOSE_OFFER, _A.TELL_ORDER)),
    (_S.WAITING, _E.CANCELLED): Step(_S.CANCELLED, (_A.TELL_ORDER,)),
    (_S.OFFERED, _E.CANCELLED): Step(_S.CANCELLED, (_A.WITHDRAW_OFFER, _A.CLOSE_OFFER, _A.TELL_ORDER)),
    (_S.FAILED, _E.CANCELLED): Step(_S.CANCELLED, (_A.CLEAR_FLAG, _A.TELL_ORDER)),
    (_S.FAILED, _E.RETRIED): Step(_S.WAITING, (_A.CLEAR_FLAG, _A.TELL_ORDER)),
    # Its home permitted a start while the scheduler was away.
    (_S.WAITING, _E.STARTED_BY_HOME): _BY_HOME,
    (_S.FAILED, _E.STARTED_BY_HOME): _BY_HOME,
    # The holder's binding word that nothing moved, and nothing will under its fence.
    **{(state, _E.GIVEN_UP): _BACK for state in (_S.LEASED, _S.STAGED, _S.READY, _S.STARTING)},
    # Leased and not begun: toolpath, gates. Taking it back is safe, because a start under a dead lease is refused.
    (_S.LEASED, _E.STAGED): Step(_S.STAGED),
    (_S.LEASED, _E.GATES_SHUT): Step(_S.LEASED),
    (_S.STAGED, _E.GATES_SHUT): Step(_S.STAGED),
    (_S.READY, _E.GATES_SHUT): Step(_S.STAGED),
    (_S.STAGED, _E.READY): Step(_S.READY),
    (_S.READY, _E.READY): Step(_S.READY),
    (_S.STAGED, _E.START_INTENDED): Step(_S.STARTING, (_A.EXPECT_FIRST_LINE,)),
    (_S.READY, _E.START_INTENDED): Step(_S.STARTING, (_A.EXPECT_FIRST_LINE,)),
    **{
        (state, event): step
        for state in (_S.LEASED, _S.STAGED, _S.READY)
        for event, step in (
            (_E.GRANT_REFUSED, _BACK),
            (_E.LEASE_LAPSED, _TAKEN_BACK),
            (_E.LEASE_WITHDRAWN, _TAKEN_BACK),
            (_E.FAILED, _FAILED),
            (_E.STOPPED_BY_SHOP, _FAILED),
            (_E.CANCEL_CONFIRMED, _GONE),
            (_E.CANCELLED, Step(_S.CANCELLED, (_A.WITHDRAW_LEASE, _A.END_LEASE, _A.TELL_ORDER))),
        )
    },
    # The machine may be moving: only the journal, or a person's word that the attempt is lost.
    (_S.STARTING, _E.START_OVERDUE): Step(_S.STARTING, (_A.FLAG_OVERDUE,)),
    (_S.STARTING, _E.RUNNING): Step(_S.RUNNING, (_A.CLEAR_FLAG,)),
    (_S.STARTING, _E.HELD): Step(_S.HELD, (_A.CLEAR_FLAG,)),
    (_S.RUNNING, _E.PROGRESSED): Step(_S.RUNNING),
    (_S.HELD, _E.PROGRESSED): Step(_S.HELD),
    (_S.RUNNING, _E.HELD): Step(_S.HELD),
    (_S.HELD, _E.HELD): Step(_S.HELD),
    (_S.HELD, _E.RUNNING): Step(_S.RUNNING),
    (_S.HELD, _E.RESUMED): Step(_S.RUNNING),
    (_S.RUNNING, _E.FINISHED): Step(
        _S.FINISHED, (_A.END_LEASE, _A.BOOK_RUN, _A.CLEAR_FLAG, _A.CLEAR_FAULTS, _A.TELL_ORDER)
    ),
    (_S.FINISHED, _E.INSPECTED): Step(_S.INSPECTED, (_A.COUNT_PIECES, _A.TELL_ORDER)),
    **{
        (state, event): step
        for state in (_S.STARTING, _S.RUNNING, _S.HELD)
        for event, step in (
            (_E.FAILED, _FAILED),
            (_E.STOPPED_BY_SHOP, _FAILED),
            (_E.CANCEL_CONFIRMED, _GONE),
            (_E.CANCEL_ASKED, Step(state, (_A.ASK_CANCEL, _A.EXPECT_END))),
            (_E.CANCEL_OVERDUE, Step(state, (_A.ASK_CANCEL, _A.FLAG_NO_END))),
            (_E.PAUSE_ASKED, Step(state, (_A.ASK_PAUSE,))),
            (_E.DECLARED_LOST, _LOST),
        )
    },
}


class ImpossibleTransition(ValueError):
    """The event cannot happen to a job in this state."""

    def __init__(self, state: JobState, event: JobEvent) -> None:
        self.state, self.event = state, event
        super().__init__(f"a job that is {state} cannot become {event.replace('_', ' ')}")


def step(state: JobState, event: JobEvent) -> Step:
    """Where `event` leads from `state`. Raises ImpossibleTransition for what is not in the table."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise ImpossibleTransition(state, event)
    return found
