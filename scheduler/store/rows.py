"""Rows as typed values: what queries hand out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.contract.vocabulary import JobState


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as stored. `fence` is the highest ever given; `body` is what `orders.model.JobBody` wrote."""

    id: str
    order: str
    part: str
    pieces: int
    process: str
    state: JobState
    version: int
    fence: int
    attempt: int
    file_key: str
    body: dict[str, Any]
    deadline: datetime | None
    not_before: datetime | None
    created_at: datetime
    since: datetime
    started_at: datetime | None
    finished_at: datetime | None
    machine_s: float
    agent: str | None
    machine: str | None
    line: int
    progress: float
    good: int
    rejected: int
    replaces: str | None
    flag: str
    cancel_why: str
    failure: str | None
    placement: dict[str, Any] | None
    waiting: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class OfferRow:
    """One offer; `outcome` is `open` until it is closed."""

    id: str
    job: str
    attempt: int
    agent: str
    machine: str
    sha256: str
    planned_start: datetime
    planned_finish: datetime
    made_at: datetime
    term: int
    closed_at: datetime | None
    outcome: str


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """One lease; live while `ended_at` is None."""

    id: str
    job: str
    fence: int
    attempt: int
    offer: str
    agent: str
    machine: str
    granted_at: datetime
    term: int
    start_by: datetime
    ended_at: datetime | None
    ended_why: str


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent. `id` is `{shop}.{agent}`; `cursor` the highest journal number committed with none missing below."""

    id: str
    shop: str
    agent: str
    online: bool
    boot: str
    program: str
    http: str
    heard_at: datetime
    cursor: int
    holdings_at: datetime | None
    holdings_term: int


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One machine as last reported. `report` is the contract's MachineReport as plain values."""

    agent: str
    machine: str
    shop: str
    process: str
    model: str
    state: str
    heard_at: datetime
    changed_at: datetime
    report: dict[str, Any]
    faults_in_a_row: int
    quarantined_at: datetime | None
    quarantine_why: str

    @property
    def key(self) -> str:
        """The machine's name in the whole network: `{shop}.{agent}.{machine}`."""
        return f"{self.agent}.{self.machine}"


@dataclass(frozen=True, slots=True)
class ToolpathRow:
    """One toolpath's record; its bytes are in the blobs under `sha256`."""

    sha256: str
    size_bytes: int
    dialect: str
    made_by: str
    settings: str
    duration_s: float
    lines: int
    bounds_mm: list[float]
    material_g: float | None
    stock_used_mm: list[float] | None
    work_card: str
    findings: list[dict[str, Any]]
    layout: dict[str, Any] | None
    """Where each piece lies on a sheet and what is left of it, as plain values; None where nobody said."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RecipeRow:
    """One toolpath to make or made: status `making`, `made` or `impossible`."""

    key: str
    file_key: str
    model: str
    status: str
    sha256: str | None
    why: str
    asked_at: datetime
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as stored."""

    id: str
    design: str
    title: str
    state: str
    quantity: int
    need_class: str
    ring: str
    own_use: bool
    requester: str
    delivery: str
    note: str
    due: datetime | None
    created_at: datetime
    accepted_at: datetime | None
    made_at: datetime | None
    handed_over_at: datetime | None
    quote_asked_at: datetime | None
    promised: datetime | None
    """The date given on the quote that was accepted."""
    idempotency_key: str | None
    request_sha256: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the record; never changed, never removed."""

    id: int
    at: datetime
    kind: str
    order: str | None
    job: str | None
    machine: str | None
    agent: str | None
    fence: int | None
    from_state: str | None
    to_state: str | None
    body: dict[str, Any]
