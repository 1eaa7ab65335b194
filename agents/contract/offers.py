"""Offers and leases: what a scheduler, or a job's home, says to an agent. Nothing here starts a machine."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from agents.contract.message import Fence, Identifier, Message, Moment, Seconds, Sha256, Text
from agents.contract.presence import Tool
from agents.contract.vocabulary import NeedClass, Process, Ring


class ToolpathRef(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A toolpath by content: never sent over MQTT, fetched over HTTP by `sha256` and verified before use."""

    sha256: Sha256
    size_bytes: Annotated[int, Meta(ge=1)]
    dialect: str
    urls: tuple[str, ...]
    duration_s: Seconds
    """Expected run time on this machine class (from the toolpath's own time table)."""
    lines: Annotated[int, Meta(ge=1)]
    bounds_mm: tuple[float, float, float, float, float, float]
    """xmin, ymin, zmin, xmax, ymax, zmax of all motion, in work coordinates."""
    model: str = ""
    """The machine class it was made for; empty where the offer names the machine."""


class MaterialNeed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the job eats. `amount_g` for filament and the like; sheets and stocks name a size."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    amount_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


class PieceLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many pieces of one part of one order on a shared plate or sheet. The order of the lines is the numbering on
    its drawing and its work card. No names: orders only."""

    order: Identifier
    part: Text
    pieces: Annotated[int, Meta(ge=1)]
    title: Text = ""


class JobTicket(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an owner's policy may know of a job before saying yes. No price, bid or balance: there is none to know."""

    job: Identifier
    order: Identifier
    title: str
    process: Process
    material: MaterialNeed
    need_class: NeedClass
    ring: Ring
    licence: str
    """SPDX expression of the design."""
    own_use: bool = False
    requester: str = ""
    due: Moment | None = None
    pieces: int = 1
    tools: tuple[Tool, ...] = ()
    tolerance_mm: float | None = None
    work_card: str = ""
    """What the person at the machine must know: stock, clamping, orientation."""
    contents: tuple[PieceLine, ...] = ()
    """Whose pieces it carries, where several orders or parts share it."""


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """The scheduler proposes; nothing is held until the agent claims and is granted a lease."""

    offer: Identifier
    attempt: Annotated[int, Meta(ge=1)]
    machine: Identifier
    ticket: JobTicket
    toolpath: ToolpathRef
    planned_start: Moment
    planned_finish: Moment
    finish_p90: Moment
    reasons: tuple[str, ...] = ()
    """Why this machine, term by term, for people."""


class Grant(Message, frozen=True, kw_only=True, tag="grant"):
    """The answer to a claim: the job is held under `fence`. It starts nothing: the agent's gates and its own recorded
    claim do, and the start itself waits until the granter has committed the agent's `start_intended`.
    """

    lease: Identifier
    offer: Identifier
    job: Identifier
    attempt: Annotated[int, Meta(ge=1)]
    fence: Fence
    machine: Identifier
    start_by: Moment
    """The lease lapses if the start was not recorded by then."""


class Withdrawal(Message, frozen=True, kw_only=True, tag="withdrawal"):
    """An offer or a lease that has not begun is taken back. A running job is never withdrawn: it is asked to cancel."""

    job: Identifier
    offer: Identifier | None = None
    lease: Identifier | None = None
    fence: int | None = None
    why: Text


class PauseRequest(Message, frozen=True, kw_only=True, tag="pause_request"):
    """Please hold this job at the next safe moment. It never resumes by message."""

    job: Identifier
    fence: Fence
    why: Text


class CancelRequest(Message, frozen=True, kw_only=True, tag="cancel_request"):
    """Please end this job: heaters, beam and spindle off."""

    job: Identifier
    fence: Fence
    why: Text


#: How peers that name no kinds say that a number belongs to another event; `why` says it so to them still.
NUMBER_USED: Final = "was used before for another event"


class Refusal(StrEnum):
    """What an agent has to know of a refusal, beside that it was one. Kinds of newer peers are read as `OTHER`."""

    OTHER = "other"
    NUMBER_USED = "number_used"
    """The number belongs to another event, so the agent's memory is an old copy."""

    @classmethod
    def _missing_(cls, value: object) -> Refusal:
        return cls.OTHER


class RefusedEvent(Struct, frozen=True, kw_only=True):
    """A journal event that changed nothing, and why (a stale fence, say). A refused `start_intended` must not start."""

    seq: int
    why: str
    kind: Refusal | None = None
    """None: said by an older peer, in `why` alone."""

    @property
    def number_used(self) -> bool:
        """Whether the number belongs to another event."""
        return NUMBER_USED in self.why if self.kind is None else self.kind is Refusal.NUMBER_USED


def used_number(seq: int) -> str:
    """Why an event is refused whose number belongs to another one; kept as it is by whoever refuses."""
    return f"number {seq} {NUMBER_USED}: the agent's memory is an old copy"


def refused_event(seq: int, why: str) -> RefusedEvent:
    """A refusal as it is told, by what was kept of it."""
    kind = Refusal.NUMBER_USED if why == used_number(seq) else Refusal.OTHER
    return RefusedEvent(seq=seq, why=why[:300], kind=kind)


class JournalAck(Message, frozen=True, kw_only=True, tag="journal_ack"):
    """Every journal event of `boot`-independent sequence up to `upto` is committed, but for the refused ones.

    `last` is the message's id under `upto` (empty: not known any more). Where an agent has another message under that
    number, another process tells the same journal (a copied card, say), and what is committed is not its own.
    """

    upto: Annotated[int, Meta(ge=0)]
    refused: tuple[RefusedEvent, ...] = ()
    last: str = ""


class ReconcileRequest(Message, frozen=True, kw_only=True, tag="reconcile_request"):
    """After a restart: say what you hold. The agent answers with `holdings` in its journal; nothing moves for it."""

    why: Text = ""


class BookRequest(Message, frozen=True, kw_only=True, tag="book_request"):
    """A scheduler is back and asks a home for its book: all that it granted. From this epoch's start the home grants
    nothing that was entrusted to it before. `settled`: the last epoch whose book the scheduler has taken in."""

    scheduler: Identifier
    epoch: Annotated[int, Meta(ge=1)]
    settled: Annotated[int, Meta(ge=0)] = 0
