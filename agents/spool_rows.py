"""The rows of the spool as values: leases, machine flags, offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from agents.contract.messages import JobTicket, LoadedMaterial, Offer, ToolpathRef
from agents.lease import LeaseState


@dataclass(frozen=True, slots=True)
class Lease:
    """A row of `leases`. Times are UTC; `own` marks the owner's job, which no scheduler granted."""

    lease: str
    job: str
    fence: int
    machine: str
    state: LeaseState
    own: bool
    ticket: JobTicket
    toolpath: ToolpathRef
    start_by: datetime | None
    planned_start: datetime
    p90_s: float
    at: datetime
    start_seq: int | None = None
    card: bool = False
    problems: tuple[str, ...] | None = None
    """What the survey found wrong for this machine; None until surveyed, empty when it is fit to run."""
    gates: str = ""
    last_line: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class MachineFlags:
    """What persists of a machine. A bed never seen by a person is not known to be clear."""

    bed_clear: bool = False
    disarmed: str = ""
    disabled: str = ""
    materials: tuple[LoadedMaterial, ...] | None = None
    """As the operator said; None leaves the configured ones."""


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer with its recorded decision: ask, claimed, declined, withdrawn, lapsed."""

    offer: Offer
    decision: str
    expires: datetime | None
    seq: int | None


def time_of(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


def stamp_of(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def read_lease(row: tuple) -> Lease:  # type: ignore[type-arg]
    (lease, job, fence, machine, state, own, ticket, toolpath, start_by, planned, p90_s, at, *rest) = row
    start_seq, card, problems, gates, last_line, started, ended, why = rest
    return Lease(
        *(lease, job, fence, machine, LeaseState(state), bool(own)),
        ticket=msgspec.json.decode(ticket, type=JobTicket),
        toolpath=msgspec.json.decode(toolpath, type=ToolpathRef),
        start_by=time_of(start_by),
        planned_start=datetime.fromtimestamp(planned, UTC),
        p90_s=p90_s,
        at=datetime.fromtimestamp(at, UTC),
        start_seq=start_seq,
        card=bool(card),
        problems=None if problems is None else msgspec.json.decode(problems, type=tuple[str, ...]),
        gates=gates,
        last_line=last_line,
        started=time_of(started),
        ended=time_of(ended),
        why=why,
    )
