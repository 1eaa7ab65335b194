"""The journal: what an agent tells, in order and numbered, until whoever granted the lease has committed it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from agents.contract.message import Fence, Identifier, Message, Moment, Seconds, Sha256, Text
from agents.contract.presence import GateReport
from agents.contract.vocabulary import FailureClass


class Claimed(Message, frozen=True, kw_only=True, tag="claimed"):
    """The owner's policy (or the owner) said yes to the offer."""

    offer: Identifier
    job: Identifier
    machine: Identifier


class Declined(Message, frozen=True, kw_only=True, tag="declined"):
    """No, and why. Declining is free. `not_before` is a counter-offer: ask again then."""

    offer: Identifier
    job: Identifier
    machine: Identifier
    reasons: tuple[str, ...]
    not_before: Moment | None = None


class GrantRefused(Message, frozen=True, kw_only=True, tag="grant_refused"):
    """The agent would not take the lease: its fence is not above the highest seen, or the machine changed since."""

    job: Identifier
    lease: Identifier
    fence: int
    why: Text


class Staged(Message, frozen=True, kw_only=True, tag="staged"):
    """The toolpath is in the shop and its hash and bounds were verified."""

    job: Identifier
    fence: Fence
    machine: Identifier
    sha256: Sha256


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """Every start gate is open."""

    job: Identifier
    fence: Fence
    machine: Identifier
    gates: tuple[GateReport, ...]


class GatesShut(Message, frozen=True, kw_only=True, tag="gates_shut"):
    """The job waits at the machine, and for what. Also says when a job that was ready no longer is."""

    job: Identifier
    fence: Fence
    machine: Identifier
    gates: tuple[GateReport, ...]


class StartIntended(Message, frozen=True, kw_only=True, tag="start_intended"):
    """The agent is about to start. It moves nothing until this event is acknowledged and not refused."""

    job: Identifier
    fence: Fence
    machine: Identifier


class Running(Message, frozen=True, kw_only=True, tag="running"):
    """The machine confirmed its first line of the toolpath."""

    job: Identifier
    fence: Fence
    machine: Identifier
    started: Moment
    from_line: int = 1


class Progressed(Message, frozen=True, kw_only=True, tag="progressed"):
    """How far the machine has confirmed."""

    job: Identifier
    fence: Fence
    machine: Identifier
    line: int
    fraction: Annotated[float, Meta(ge=0, le=1)]
    remaining_s: Seconds | None = None


class Held(Message, frozen=True, kw_only=True, tag="held"):
    """The machine confirmed the hold; beam and spindle are off."""

    job: Identifier
    fence: Fence
    machine: Identifier
    line: int
    why: Text


class Resumed(Message, frozen=True, kw_only=True, tag="resumed"):
    """A person resumed it and the machine moves again."""

    job: Identifier
    fence: Fence
    machine: Identifier


class Finished(Message, frozen=True, kw_only=True, tag="finished"):
    """The machine confirmed the last line and stands still. The part is on the bed: the machine is occupied."""

    job: Identifier
    fence: Fence
    machine: Identifier
    started: Moment
    finished: Moment
    lines: int
    machine_s: Seconds
    position_mm: tuple[float, ...] = ()


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The attempt ended without a part. `last_line` is the last line that the machine confirmed."""

    job: Identifier
    fence: Fence
    machine: Identifier
    failure: FailureClass
    last_line: int
    why: Text
    may_be_moving: bool = False
    position_known: bool = False
    machine_s: Seconds = 0.0


class CancelConfirmed(Message, frozen=True, kw_only=True, tag="cancel_confirmed"):
    """The job was cancelled and the machine confirmed that it stands, off."""

    job: Identifier
    fence: Fence
    machine: Identifier
    last_line: int
    why: Text
    machine_s: Seconds = 0.0


class RejectedPieces(Struct, frozen=True, kw_only=True):
    """So many pieces of one part of one order were bad."""

    order: Identifier
    part: Text
    rejected: Annotated[int, Meta(ge=1)]


class Inspected(Message, frozen=True, kw_only=True, tag="inspected"):
    """A person looked at the parts: how many are good, how many not."""

    job: Identifier
    fence: Fence
    machine: Identifier
    good: Annotated[int, Meta(ge=0)]
    rejected: Annotated[int, Meta(ge=0)]
    note: Text = ""
    rejected_of: tuple[RejectedPieces, ...] = ()
    """Whose the rejected ones are, where the job carries several orders' pieces and the person said so."""


class Holding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job that the agent holds."""

    job: Identifier
    fence: Fence
    machine: Identifier
    state: str
    lease: Identifier | None = None
    last_line: int = 0


class Holdings(Message, frozen=True, kw_only=True, tag="holdings"):
    """All that the agent holds: the answer to a reconcile request, and said after every start of the agent."""

    boot: str
    jobs: tuple[Holding, ...]
    highest_fences: dict[str, int] = field(default_factory=dict)
    unacked_from: Annotated[int, Meta(ge=0)] = 0
    """Lowest journal number the agent still keeps: all below was acknowledged to it. 0 where it does not say. A granter
    that knows less than that was restored from an old copy, and must ask people instead of guessing."""


class GivenUp(Message, frozen=True, kw_only=True, tag="given_up"):
    """The lease under this fence is given up: nothing moved for it, and nothing ever will. It binds the agent, whatever
    the granter has committed meanwhile."""

    job: Identifier
    fence: Fence
    machine: Identifier
    why: Text = ""


class HomeLease(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One lease that a home granted while the scheduler was away."""

    job: Identifier
    attempt: Annotated[int, Meta(ge=1)]
    lease: Identifier
    fence: Fence
    epoch: Annotated[int, Meta(ge=0)]
    """Of the mark under which it was granted."""
    agent: str
    """`{shop}.{agent}` of the holder."""
    machine: Identifier
    sha256: Sha256
    granted: Moment
    start_by: Moment
    committed: bool = False
    """Its start was permitted: it may have moved. One that was not never will."""
    ended: Finished | Failed | CancelConfirmed | GivenUp | None = None
    """How its holder said that it ended, as far as the home heard."""


class HomeBook(Message, frozen=True, kw_only=True, tag="home_book"):
    """A home hands in its book: from here on it grants nothing that was entrusted to it before `epoch`. A long book
    comes in several parts; the right goes back with the last."""

    scheduler: Identifier
    epoch: Annotated[int, Meta(ge=0)]
    leases: tuple[HomeLease, ...] = ()
    given_up: dict[str, int] = field(default_factory=dict)
    """The highest fence of the scheduler's own leases that a holder gave up, by job."""
    last: bool = True
