"""The life of a lease on this agent, as a table: `(state, event) → (state, actions)`.

Pure. The supervisor (machine.py) feeds events and carries out actions; the spool keeps the state. The one road to a
moving machine is INTENDED → STARTING, taken only when the granter committed `start_intended` (or the owner's own hand
queued the job) and every gate is open at that moment.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agents.contract.vocabulary import JobState


class LeaseState(StrEnum):
    """Where a lease stands."""

    LEASED = "leased"
    """Held; the toolpath is being fetched."""
    STAGED = "staged"
    """The toolpath is here and verified; gates are watched."""
    READY = "ready"
    """Every gate is open."""
    INTENDED = "intended"
    """`start_intended` is in the journal; nothing moves until it is acknowledged as committed."""
    STARTING = "starting"
    """The bridge was told to run; the machine has not confirmed its first line."""
    RUNNING = "running"
    HELD = "held"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """Given back before anything moved: withdrawn, lapsed, or the start was refused."""
    INSPECTED = "inspected"


#: The machine may be moving, or may have moved.
MOVING: Final = frozenset({LeaseState.STARTING, LeaseState.RUNNING, LeaseState.HELD})
#: Not begun: may be withdrawn, may lapse, may be pre-empted by the owner.
WAITING: Final = frozenset({LeaseState.LEASED, LeaseState.STAGED, LeaseState.READY})
#: Held by this agent now.
LIVE: Final = WAITING | MOVING | {LeaseState.INTENDED}
#: Over, one way or another.
OVER: Final = frozenset(LeaseState) - LIVE


class LeaseEvent(StrEnum):
    """What can happen to a lease."""

    TOOLPATH_STAGED = "toolpath_staged"
    TOOLPATH_REFUSED = "toolpath_refused"
    GATES_OPEN = "gates_open"
    GATES_SHUT = "gates_shut"
    TURN_COME = "turn_come"
    START_REFUSED = "start_refused"
    GATES_STAYED_SHUT = "gates_stayed_shut"
    RUN_ASKED = "run_asked"
    RUN_DENIED = "run_denied"
    RUN_STARTED = "run_started"
    HELD = "held"
    RESUMED = "resumed"
    RUN_FINISHED = "run_finished"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    GIVEN_UP = "given_up"
    """The scheduler is away: the job's home will grant it, here or elsewhere."""
    CANCEL_ASKED = "cancel_asked"
    PREEMPTED = "preempted"
    AGENT_RESTARTED = "agent_restarted"
    INSPECTED = "inspected"


class Action(StrEnum):
    """What the supervisor does for an event, in this order, in one spool transaction with the new state."""

    JOURNAL_STAGED = "journal_staged"
    JOURNAL_READY = "journal_ready"
    JOURNAL_GATES_SHUT = "journal_gates_shut"
    JOURNAL_START_INTENDED = "journal_start_intended"
    JOURNAL_RUNNING = "journal_running"
    JOURNAL_HELD = "journal_held"
    JOURNAL_RESUMED = "journal_resumed"
    JOURNAL_FINISHED = "journal_finished"
    JOURNAL_FAILED = "journal_failed"
    JOURNAL_CANCELLED = "journal_cancelled"
    JOURNAL_INSPECTED = "journal_inspected"
    JOURNAL_GIVEN_UP = "journal_given_up"
    OCCUPY = "occupy"
    """The bed is not clear until a person says so."""
    DISARM = "disarm"
    """Nothing moves until a person re-arms the machine."""
    USE_UP_CARD = "use_up_card"
    """The person's confirmation of clamping and extraction counts for one start."""
    CANCEL_MACHINE = "cancel_machine"
    """Ask the bridge to end the run; its answer is the event that ends the lease."""


Step = tuple[LeaseState, tuple[Action, ...]]
_S, _E, _A = LeaseState, LeaseEvent, Action

_FAILED_STILL: Final[Step] = (_S.FAILED, (_A.JOURNAL_FAILED,))
_FAILED_MOVED: Final[Step] = (_S.FAILED, (_A.OCCUPY, _A.JOURNAL_FAILED))
_UNKNOWN: Final[Step] = (_S.FAILED, (_A.OCCUPY, _A.DISARM, _A.JOURNAL_FAILED))
_CANCELLED_STILL: Final[Step] = (_S.CANCELLED, (_A.JOURNAL_CANCELLED,))
_RELEASED: Final[Step] = (_S.RELEASED, ())
_GIVEN_UP: Final[Step] = (_S.RELEASED, (_A.JOURNAL_GIVEN_UP,))


def _moving(state: LeaseState) -> dict[tuple[LeaseState, LeaseEvent], Step]:
    """What every state in MOVING has in common."""
    return {
        (state, _E.RUN_FINISHED): (_S.FINISHED, (_A.OCCUPY, _A.JOURNAL_FINISHED)),
        (state, _E.RUN_FAILED): _FAILED_MOVED,
        (state, _E.RUN_CANCELLED): (_S.CANCELLED, (_A.OCCUPY, _A.JOURNAL_CANCELLED)),
        (state, _E.CANCEL_ASKED): (state, (_A.CANCEL_MACHINE,)),
        (state, _E.AGENT_RESTARTED): _UNKNOWN,
    }


def _waiting(state: LeaseState) -> dict[tuple[LeaseState, LeaseEvent], Step]:
    """What every state in WAITING has in common."""
    return {
        (state, _E.WITHDRAWN): _RELEASED,
        # By this agent's clock, which may be wrong: its granter hears of it instead of waiting for its own.
        (state, _E.LAPSED): _GIVEN_UP,
        (state, _E.GIVEN_UP): _GIVEN_UP,
        (state, _E.CANCEL_ASKED): _CANCELLED_STILL,
        (state, _E.TOOLPATH_REFUSED): _FAILED_STILL,
    }


TABLE: Final[dict[tuple[LeaseState, LeaseEvent], Step]] = {
    **_waiting(_S.LEASED),
    **_waiting(_S.STAGED),
    **_waiting(_S.READY),
    **_moving(_S.STARTING),
    **_moving(_S.RUNNING),
    **_moving(_S.HELD),
    (_S.LEASED, _E.TOOLPATH_STAGED): (_S.STAGED, (_A.JOURNAL_STAGED,)),
    (_S.STAGED, _E.GATES_OPEN): (_S.READY, (_A.JOURNAL_READY,)),
    (_S.STAGED, _E.GATES_SHUT): (_S.STAGED, (_A.JOURNAL_GATES_SHUT,)),
    (_S.READY, _E.GATES_SHUT): (_S.STAGED, (_A.JOURNAL_GATES_SHUT,)),
    (_S.READY, _E.TURN_COME): (_S.INTENDED, (_A.JOURNAL_START_INTENDED,)),
    # The granter may have committed the start already: only its answer, a person or a pre-empting owner ends this wait.
    (_S.INTENDED, _E.WITHDRAWN): (_S.INTENDED, ()),
    (_S.INTENDED, _E.GATES_SHUT): (_S.INTENDED, (_A.JOURNAL_GATES_SHUT,)),
    (_S.INTENDED, _E.START_REFUSED): _RELEASED,
    (_S.INTENDED, _E.GIVEN_UP): _GIVEN_UP,
    (_S.INTENDED, _E.GATES_STAYED_SHUT): _FAILED_STILL,
    (_S.INTENDED, _E.PREEMPTED): _FAILED_STILL,
    (_S.INTENDED, _E.TOOLPATH_REFUSED): _FAILED_STILL,
    (_S.INTENDED, _E.CANCEL_ASKED): _CANCELLED_STILL,
    # A memory put back to an old copy may not know that this very start was used up: the call is no event that others
    # could miss, so only a person sees whether something moved.
    (_S.INTENDED, _E.AGENT_RESTARTED): _UNKNOWN,
    (_S.INTENDED, _E.RUN_ASKED): (_S.STARTING, (_A.USE_UP_CARD,)),
    (_S.STARTING, _E.RUN_DENIED): _FAILED_STILL,
    (_S.STARTING, _E.RUN_STARTED): (_S.RUNNING, (_A.JOURNAL_RUNNING,)),
    (_S.RUNNING, _E.HELD): (_S.HELD, (_A.JOURNAL_HELD,)),
    (_S.HELD, _E.RESUMED): (_S.RUNNING, (_A.JOURNAL_RESUMED,)),
    (_S.FINISHED, _E.INSPECTED): (_S.INSPECTED, (_A.JOURNAL_INSPECTED,)),
}


def step(state: LeaseState, event: LeaseEvent) -> Step | None:
    """The next state and what to do; None when the event means nothing in this state (a late or repeated one)."""
    return TABLE.get((state, event))


#: How a held lease is named to the network (`Holding.state`).
PUBLIC_STATE: Final[dict[LeaseState, JobState]] = {
    _S.LEASED: JobState.LEASED,
    _S.STAGED: JobState.STAGED,
    _S.READY: JobState.READY,
    # Nothing moves yet; and the network would take "starting" for a machine that was called.
    _S.INTENDED: JobState.READY,
    _S.STARTING: JobState.STARTING,
    _S.RUNNING: JobState.RUNNING,
    _S.HELD: JobState.HELD,
}
