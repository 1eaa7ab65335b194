"""Every message of the contract, as typed structs.

Messages are tagged unions: the JSON field `type` names the struct. Unknown fields are ignored, so that a newer peer may
say more; an unknown `type` or schema version is refused with a reason (`envelope.decode`). Times are UTC, durations are
seconds, lengths millimetres, masses grams. There is no message that starts, jogs or heats a machine.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from agents.contract.vocabulary import FailureClass, MachineState, NeedClass, Process, Ring

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Identifier = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Fence = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=2000)]
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its zone; one without is refused."""


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=True, omit_defaults=True):
    """What every message is: immutable, tagged with its own name in the field `type`."""


# --- what a shop says of itself -----------------------------------------------------------------------------------


class AgentPresence(Message, frozen=True, kw_only=True, tag="agent_presence"):
    """Retained; the agent's will says `online: false`. `boot` changes whenever the agent starts anew."""

    shop: Identifier
    agent: Identifier
    online: bool
    boot: str = ""
    version: str = ""
    http: str = ""
    """Base URL of the agent's local page, as reachable inside the shop; empty when it should not be known."""


class LoadedMaterial(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is on the machine now, as its operator said: a spool, a sheet or a stock."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    remaining_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


class Tool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A nozzle, a bit or a beam: its number in the machine, its kind and its diameter."""

    number: int
    kind: str
    diameter_mm: float


class MachineDescription(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine as its shop declares it. `model` names the machine class: learning and toolpath profiles go by it."""

    machine: Identifier
    name: str
    process: Process
    dialect: str
    model: str
    envelope_mm: tuple[float, float, float]
    """Travel in x, y, z from the work origin."""
    materials: tuple[LoadedMaterial, ...] = ()
    tools: tuple[Tool, ...] = ()
    attended: bool = False
    """A trained person must be present from start to end (always so for lasers and routers)."""
    max_feed_mm_min: float | None = None
    accel_mm_s2: float | None = None
    spindle_max_rpm: float | None = None
    laser_power_w: float | None = None
    power_w: float | None = None
    circuit: str = ""
    firmware: str = ""


class GateReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One start gate and whether it is open; `lift` says what a person can do to open it."""

    gate: str
    open: bool
    why: str = ""
    lift: str = ""


class MachineReport(Message, frozen=True, kw_only=True, tag="machine_report"):
    """Retained, by exception: what the machine is and what it is doing, as its bridge confirmed."""

    shop: Identifier
    agent: Identifier
    ring: Ring
    description: MachineDescription
    state: MachineState
    since: Moment
    why: str = ""
    job: Identifier | None = None
    progress: float | None = None
    """0 to 1 of the running toolpath's time."""
    accepts_pool_work: bool = True
    """Whether the owner's policy takes pool work on it at all, now."""
    person_present: bool = False
    gates: tuple[GateReport, ...] = ()
    windows: tuple[tuple[Moment, Moment], ...] = ()
    """When pool work may run, as far ahead as the policy's horizon; empty means always."""


class Telemetry(Message, frozen=True, kw_only=True, tag="telemetry"):
    """QoS 0 and opt-in: measured values. Raw data stays in the shop unless the owner says otherwise."""

    machine: Identifier
    at: Moment
    temperatures_c: dict[str, float] = {}
    targets_c: dict[str, float] = {}
    position_mm: tuple[float, ...] = ()
    feed_mm_min: float | None = None
    spindle_rpm: float | None = None


# --- offers and leases: scheduler (or the job's home) to agent -----------------------------------------------------


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


class MaterialNeed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the job eats. `amount_g` for filament and the like; sheets and stocks name a size."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    amount_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


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


class RefusedEvent(Struct, frozen=True, kw_only=True):
    """A journal event that changed nothing, and why (a stale fence, say). A refused `start_intended` must not start."""

    seq: int
    why: str


class JournalAck(Message, frozen=True, kw_only=True, tag="journal_ack"):
    """Every journal event of `boot`-independent sequence up to `upto` is committed, but for the refused ones."""

    upto: Annotated[int, Meta(ge=0)]
    refused: tuple[RefusedEvent, ...] = ()


class ReconcileRequest(Message, frozen=True, kw_only=True, tag="reconcile_request"):
    """After a restart: say what you hold. The agent answers with `holdings` in its journal; nothing moves for it."""

    why: Text = ""


InboxMessage = Offer | Grant | Withdrawal | PauseRequest | CancelRequest | JournalAck | ReconcileRequest


# --- the journal: agent to scheduler, ordered, acknowledged, applied once --------------------------------------------


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


class Inspected(Message, frozen=True, kw_only=True, tag="inspected"):
    """A person looked at the parts: how many are good, how many not."""

    job: Identifier
    fence: Fence
    machine: Identifier
    good: Annotated[int, Meta(ge=0)]
    rejected: Annotated[int, Meta(ge=0)]
    note: Text = ""


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
    highest_fences: dict[str, int] = {}
    unacked_from: Annotated[int, Meta(ge=0)] = 0
    """Lowest journal number the agent still keeps: all below was acknowledged to it. 0 where it does not say. A granter
    that knows less than that was restored from an old copy, and must ask people instead of guessing."""


JournalBody = (
    Claimed
    | Declined
    | GrantRefused
    | Staged
    | Ready
    | GatesShut
    | StartIntended
    | Running
    | Progressed
    | Held
    | Resumed
    | Finished
    | Failed
    | CancelConfirmed
    | Inspected
    | Holdings
)


# --- the board, and the scheduler's own presence ---------------------------------------------------------------------


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


class SchedulerPresence(Message, frozen=True, kw_only=True, tag="scheduler_presence"):
    """Retained; the will says `online: false`. `term` rises with every start."""

    scheduler: Identifier
    online: bool
    term: int = 0
    http: str = ""


AnyMessage = (
    AgentPresence | MachineReport | Telemetry | InboxMessage | JournalBody | BoardMark | BoardClaim | SchedulerPresence
)
