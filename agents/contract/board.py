"""The board: open jobs as retained marks, and the claims of agents that would make them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from agents.contract.message import Fence, Identifier, Message, Moment, Sha256
from agents.contract.offers import JobTicket, ToolpathRef


class HeldLease(Struct, frozen=True, kw_only=True):
    """A lease that the scheduler gave and that has not begun as far as it knows."""

    agent: str
    """`{shop}.{agent}` of the holder."""
    machine: Identifier
    fence: Fence


class BoardMark(Message, frozen=True, kw_only=True, tag="board_mark"):
    """An open job's mark, retained: what it needs, how badly, and who grants it. An empty payload takes it down."""

    ticket: JobTicket
    toolpaths: tuple[ToolpathRef, ...]
    """One for each class of machines that may make it (`model`)."""
    attempt: Annotated[int, Meta(ge=1)]
    home: str
    """`{shop}/{agent}` of whoever grants leases for this job while the scheduler is away; empty for nobody: then the
    job waits for the scheduler."""
    posted: Moment
    reinforced: int = 0
    """How often somebody said that it is still wanted."""
    scheduler: str = ""
    epoch: Annotated[int, Meta(ge=0)] = 0
    """The connection of the scheduler under which the job is entrusted to its home."""
    floor: Annotated[int, Meta(ge=0)] = 0
    """The highest fence given so far."""
    held: HeldLease | None = None
    evaporates: Moment | None = None
    """Nobody reads it after that: a network that died leaves no work behind."""


class BoardClaim(Message, frozen=True, kw_only=True, tag="board_claim"):
    """An agent asks the job's home for the lease; the grant names `claim` as its offer."""

    claim: Identifier
    job: Identifier
    attempt: Annotated[int, Meta(ge=1)]
    shop: Identifier
    agent: Identifier
    machine: Identifier
    sha256: Sha256
