"""Every message of the contract, as typed structs, by one import; each subject has a module of its own.

Messages are tagged unions: the JSON field `type` names the struct. Unknown fields are ignored, so that a newer peer may
say more; an unknown `type` or schema version is refused with a reason (`envelope.decode`). Times are UTC, durations are
seconds, lengths millimetres, masses grams. There is no message that starts, jogs or heats a machine.
"""

from __future__ import annotations

from agents.contract.board import BoardClaim, BoardMark, HeldLease
from agents.contract.journal import (
    CancelConfirmed,
    Claimed,
    Declined,
    Failed,
    Finished,
    GatesShut,
    GivenUp,
    GrantRefused,
    Held,
    Holding,
    Holdings,
    HomeBook,
    HomeLease,
    Inspected,
    Progressed,
    Ready,
    RejectedPieces,
    Resumed,
    Running,
    Staged,
    StartIntended,
)
from agents.contract.message import Fence, Identifier, Message, Moment, Seconds, Sha256, Text
from agents.contract.offers import (
    NUMBER_USED,
    BookRequest,
    CancelRequest,
    Grant,
    JobTicket,
    JournalAck,
    MaterialNeed,
    Offer,
    PauseRequest,
    PieceLine,
    ReconcileRequest,
    Refusal,
    RefusedEvent,
    ToolpathRef,
    Withdrawal,
    refused_event,
    used_number,
)
from agents.contract.own_work import OwnStep, OwnWork
from agents.contract.presence import (
    AgentPresence,
    GateReport,
    LoadedMaterial,
    MachineDescription,
    MachineReport,
    SchedulerPresence,
    Telemetry,
    Tool,
)

InboxMessage = Offer | Grant | Withdrawal | PauseRequest | CancelRequest | JournalAck | ReconcileRequest | BookRequest

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
    | GivenUp
    | HomeBook
    | OwnWork
)

AnyMessage = (
    AgentPresence | MachineReport | Telemetry | InboxMessage | JournalBody | BoardMark | BoardClaim | SchedulerPresence
)

__all__ = [
    "NUMBER_USED",
    "AgentPresence",
    "AnyMessage",
    "BoardClaim",
    "BoardMark",
    "BookRequest",
    "CancelConfirmed",
    "CancelRequest",
    "Claimed",
    "Declined",
    "Failed",
    "Fence",
    "Finished",
    "GateReport",
    "GatesShut",
    "GivenUp",
    "Grant",
    "GrantRefused",
    "Held",
    "HeldLease",
    "Holding",
    "Holdings",
    "HomeBook",
    "HomeLease",
    "Identifier",
    "InboxMessage",
    "Inspected",
    "JobTicket",
    "JournalAck",
    "JournalBody",
    "LoadedMaterial",
    "MachineDescription",
    "MachineReport",
    "MaterialNeed",
    "Message",
    "Moment",
    "Offer",
    "OwnStep",
    "OwnWork",
    "PauseRequest",
    "PieceLine",
    "Progressed",
    "Ready",
    "ReconcileRequest",
    "Refusal",
    "RefusedEvent",
    "RejectedPieces",
    "Resumed",
    "Running",
    "SchedulerPresence",
    "Seconds",
    "Sha256",
    "Staged",
    "StartIntended",
    "Telemetry",
    "Text",
    "Tool",
    "ToolpathRef",
    "Withdrawal",
    "refused_event",
    "used_number",
]
