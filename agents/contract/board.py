"""The board: open jobs as retained marks, and the claims of agents that would make them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from agents.contract.message import Identifier, Message, Moment, Sha256
from agents.contract.offers import JobTicket, ToolpathRef


class BoardMark(Message, frozen=True, kw_only=True, tag="board_mark"):
    """An open job's mark, retained: what it needs, how badly, and who grants it. An empty payload takes it down."""

    ticket: JobTicket
    toolpaths: tuple[ToolpathRef, ...]
    attempt: Annotated[int, Meta(ge=1)]
    home: str
    """Topic prefix of whoever grants leases for this job."""
    posted: Moment
    reinforced: int = 0


class BoardClaim(Message, frozen=True, kw_only=True, tag="board_claim"):
    """An agent asks the job's home for the lease."""

    job: Identifier
    attempt: Annotated[int, Meta(ge=1)]
    shop: Identifier
    agent: Identifier
    machine: Identifier
    sha256: Sha256
