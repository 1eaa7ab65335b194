"""The words both sides share: states, failure classes, need classes, rings.

Every enum here is part of the wire contract: renaming a value is a new schema version.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Process(StrEnum):
    """How a part is made."""

    FDM = "fdm"
    LASER = "laser"
    CNC = "cnc"
    MANUAL = "manual"


class Ring(StrEnum):
    """How far away: each ring contains the ones before it."""

    HOUSEHOLD = "household"
    BLOCK = "block"
    NEIGHBOURHOOD = "neighbourhood"
    CITY = "city"
    FEDERATION = "federation"

    @property
    def width(self) -> int:
        """0 for the smallest ring, rising outward."""
        return _RING_ORDER.index(self)

    def contains(self, other: Ring) -> bool:
        """Whether work meant for `other` stays inside this ring."""
        return other.width <= self.width


_RING_ORDER: Final = tuple(Ring)


class NeedClass(StrEnum):
    """Why an order is wanted, most pressing first. Need ranks work; money never does."""

    SURVIVAL = "survival"
    COMMONS = "commons"
    PERSONAL = "personal"
    OUTSIDE = "outside"


class JobState(StrEnum):
    """A job's life. Before `LEASED` dispatch moves it; after it only what an agent saw its machine confirm."""

    WAITING = "waiting"
    OFFERED = "offered"
    LEASED = "leased"
    STAGED = "staged"
    READY = "ready"
    STARTING = "starting"
    RUNNING = "running"
    HELD = "held"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INSPECTED = "inspected"


#: An agent holds a live lease on a job in one of these states.
LEASED_STATES: Final = frozenset(
    {JobState.LEASED, JobState.STAGED, JobState.READY, JobState.STARTING, JobState.RUNNING, JobState.HELD}
)
#: The machine may be moving, or may have moved, for a job in one of these states.
MOTION_STATES: Final = frozenset({JobState.STARTING, JobState.RUNNING, JobState.HELD})
#: No deadline passes silently in these: each must be left within its limit or an alarm says so.
TRANSITIONAL_STATES: Final = frozenset(
    {JobState.OFFERED, JobState.LEASED, JobState.STAGED, JobState.READY, JobState.STARTING}
)
#: Nothing more will happen to the job itself.
CLOSED_STATES: Final = frozenset({JobState.INSPECTED, JobState.CANCELLED})


class MachineState(StrEnum):
    """What the machine and the person in front of it say. `OCCUPIED`: a finished part is still on the bed."""

    OFFLINE = "offline"
    UNIDENTIFIED = "unidentified"
    IDLE = "idle"
    OCCUPIED = "occupied"
    RUNNING = "running"
    HELD = "held"
    ALARM = "alarm"
    DISABLED = "disabled"


class FailureClass(StrEnum):
    """Why an attempt ended without a part. The class decides who is retried, and who is quarantined."""

    LINK_LOST = "link_lost"
    CONTROLLER_RESET = "controller_reset"
    MACHINE_ALARM = "machine_alarm"
    THERMAL = "thermal"
    FIRMWARE_KILLED = "firmware_killed"
    MACHINE_HUNG = "machine_hung"
    COMMUNICATION = "communication"
    POSITION_MISMATCH = "position_mismatch"
    LINE_REJECTED = "line_rejected"
    MATERIAL_RUNOUT = "material_runout"
    EMERGENCY_STOP = "emergency_stop"
    PRESENCE_LOST = "presence_lost"
    GATE_CLOSED = "gate_closed"
    TOOLPATH_UNAVAILABLE = "toolpath_unavailable"
    TOOLPATH_UNSAFE = "toolpath_unsafe"
    AGENT_RESTARTED = "agent_restarted"
    MEMORY_PUT_BACK = "memory_put_back"
    """The agent works on an old copy of its memory: the run may have gone on to its end."""
    INSPECTION_REJECTED = "inspection_rejected"
    CANCELLED_BY_OPERATOR = "cancelled_by_operator"
    OTHER = "other"


#: The machine is to blame: two of these in a row quarantine it.
MACHINE_FAULTS: Final = frozenset(
    {
        FailureClass.LINK_LOST,
        FailureClass.CONTROLLER_RESET,
        FailureClass.MACHINE_ALARM,
        FailureClass.THERMAL,
        FailureClass.FIRMWARE_KILLED,
        FailureClass.MACHINE_HUNG,
        FailureClass.COMMUNICATION,
        FailureClass.POSITION_MISMATCH,
    }
)
#: The part may be there all the same: a person looks before it is made again.
MAYBE_MADE: Final = frozenset({FailureClass.MEMORY_PUT_BACK})
#: The file may be to blame: failing so on two machines quarantines it.
FILE_FAULTS: Final = frozenset(
    {FailureClass.LINE_REJECTED, FailureClass.TOOLPATH_UNSAFE, FailureClass.INSPECTION_REJECTED}
)
