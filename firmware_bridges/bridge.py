"""The contract that every bridge keeps: states, capabilities, events, and the seven things one may ask of a machine.

A bridge owns one port and speaks one firmware's language. It knows nothing of MQTT, jobs, leases or shops. It starts no
motion by itself: not on connect, not on reconnect, not after a reset. What it reports, the machine confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol


class BridgeState(StrEnum):
    """What the bridge knows of its machine."""

    OFFLINE = "offline"
    """No open port."""
    UNIDENTIFIED = "unidentified"
    """The port is open; what answers is not (yet) the firmware that was configured."""
    IDLE = "idle"
    STARTING = "starting"
    """A run was asked for; the machine has not confirmed its first line yet."""
    RUNNING = "running"
    HOLDING = "holding"
    """A hold was asked for; the machine has not confirmed that it stands yet."""
    HELD = "held"
    CANCELLING = "cancelling"
    ALARM = "alarm"
    """The firmware locked itself; a person must look, then clear it."""
    FAULT = "fault"
    """Killed, thermal fault or hung: only a reset with a person present helps."""
    DISARMED = "disarmed"
    """The link was lost or the controller reset: nothing moves until a person re-arms the machine."""


#: A toolpath is in the machine, moving or not.
BUSY_STATES: Final = frozenset(
    {
        BridgeState.STARTING,
        BridgeState.RUNNING,
        BridgeState.HOLDING,
        BridgeState.HELD,
        BridgeState.CANCELLING,
    }
)
#: `run` is accepted.
STARTABLE_STATES: Final = frozenset({BridgeState.IDLE})
#: The port is open and the firmware is the one configured.
IDENTIFIED_STATES: Final = frozenset(BridgeState) - {BridgeState.OFFLINE, BridgeState.UNIDENTIFIED}
#: A person must act before anything moves again.
BLOCKED_STATES: Final = frozenset({BridgeState.ALARM, BridgeState.FAULT, BridgeState.DISARMED})


class Capability(StrEnum):
    """What a machine and its firmware can do, as declared by the bridge after identification."""

    HOLD = "hold"
    RESUME = "resume"
    EMERGENCY_STOP = "emergency_stop"
    START_AT_LINE = "start_at_line"
    HOMING = "homing"
    UNLOCK = "unlock"
    JOG = "jog"
    DRY_RUN = "dry_run"
    CHECKSUMS = "checksums"
    FLOW_BY_CHARACTERS = "flow_by_characters"
    FLOW_BY_ACKNOWLEDGEMENT = "flow_by_acknowledgement"
    ADVANCED_OK = "advanced_ok"
    POSITION_REPORT = "position_report"
    TEMPERATURE_REPORT = "temperature_report"
    AUTO_REPORT = "auto_report"
    HEATERS = "heaters"
    SPINDLE = "spindle"
    LASER = "laser"
    UPLOAD_AND_START = "upload_and_start"
    HUMAN_CONFIRMED = "human_confirmed"


class Failure(StrEnum):
    """Why a run ended early. The values are those of the contract's failure classes that a bridge can tell."""

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


@dataclass(frozen=True, slots=True)
class Identity:
    """What answered on the port: firmware family, version line as received, and a fingerprint for later comparison."""

    dialect: str
    firmware: str
    version: str
    fingerprint: str
    capabilities: frozenset[Capability]
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """Work coordinates in millimetres as the machine reported them."""

    x_mm: float
    y_mm: float
    z_mm: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far the machine confirmed: safe to read after a crash. `line` counts toolpath lines from 1; 0 is none yet."""

    line: int
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of all that the bridge knows."""

    state: BridgeState
    why: str = ""
    identity: Identity | None = None
    line: int = 0
    """Last toolpath line that the machine confirmed; 0 before the first."""
    total_lines: int = 0
    position: Position | None = None
    homed: bool | None = None
    """None where the firmware does not tell."""
    feed_mm_min: float | None = None
    spindle: float | None = None
    """Spindle speed (rpm) or beam power (S) in force, where reported."""
    temperatures_c: tuple[tuple[str, float, float], ...] = ()
    """(heater, measured, target)."""
    planner_free_blocks: int | None = None
    resends: int = 0


# --- events: what the bridge tells, in order, on its own thread -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateChanged:
    """`state` follows `was`; `why` is a sentence for people."""

    state: BridgeState
    was: BridgeState
    why: str = ""


@dataclass(frozen=True, slots=True)
class Identified:
    """The firmware answered and is the one configured."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The machine confirmed the first line of the toolpath."""

    line: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The machine confirmed all lines up to `checkpoint.line`."""

    checkpoint: Checkpoint
    total_lines: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Every line confirmed and the machine stands still; heaters, beam and spindle are as the toolpath left them."""

    lines: int
    position: Position | None


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The run ended early. `may_be_moving`: the machine may still be emptying its own buffer."""

    failure: Failure
    checkpoint: Checkpoint
    why: str
    may_be_moving: bool = False
    position_known: bool = False


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """The run was cancelled; the machine confirmed that it stands and is off."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Temperatures:
    """(heater, measured in °C, target in °C) as reported."""

    readings_c: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the firmware said that a person may want to read: a prompt, a runout, a warning, an unknown line."""

    level: str
    text: str


Event = (
    StateChanged | Identified | RunStarted | Progress | RunFinished | RunFailed | RunCancelled | Temperatures | Notice
)
Listener = Callable[[Event], None]


# --- errors a caller can do something about ---------------------------------------------------------------------------


class BridgeError(Exception):
    """Base of the errors below; the text is for people."""


class NotNow(BridgeError):
    """The machine's state does not allow it; the text names the state and what would."""


class NotSupported(BridgeError):
    """This firmware or machine cannot do it at all."""


class WrongMachine(BridgeError):
    """What answers on the port is not the machine that was configured."""


class PortUnavailable(BridgeError):
    """The port does not exist, is held by another program, or may not be opened."""


# --- the contract ----------------------------------------------------------------------------------------------------


class Toolpath(Protocol):
    """A program for one machine: ASCII lines, readable again from any line, never held in memory as a whole."""

    @property
    def total_lines(self) -> int:
        """Number of lines, counting comments and blank ones, so that line numbers equal those of the file."""

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        """(line number, text without line end), from `from_line` on."""


class Clock(Protocol):
    """Injected time: monotonic seconds. Tests and twins pass their own."""

    def monotonic(self) -> float:
        """Seconds that never go back."""


class Bridge(Protocol):
    """One machine. Methods are safe to call from any thread; events come from the bridge's own thread, in order.

    `run`, `hold`, `resume` and `cancel` return when the request is on its way: the events tell when the machine
    confirmed. `emergency_stop` returns when the stop byte was handed to the port, jumping every queue.
    """

    def listen(self, listener: Listener) -> None:
        """Hear every later event."""

    def connect(self) -> Identity:
        """Open the port and identify the firmware without moving anything.

        Raises PortUnavailable, WrongMachine.
        """

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Stream `toolpath`. From a later line: rebuild modal state, lift, move, spin up, then plunge.

        Raises NotNow unless the state is in STARTABLE_STATES; NotSupported for a start line the bridge cannot rebuild;
        OSError where the toolpath cannot be read. Then nothing runs, and no event tells of an end.
        """

    def hold(self) -> None:
        """Stop motion soon, in a way that can be resumed; beam and spindle off. Raises NotNow, NotSupported."""

    def resume(self) -> None:
        """Go on after a hold: restore spindle before plunge. Raises NotNow, NotSupported."""

    def cancel(self) -> None:
        """End the run: motion stopped, heaters, beam and spindle off, position kept where the firmware can."""

    def emergency_stop(self) -> None:
        """Stop now, whatever it costs. Always allowed, from any thread, in any state."""

    def rearm(self) -> None:
        """A person looked at the machine: clear DISARMED (and unlock ALARM where the firmware can). Moves nothing."""

    def home(self) -> None:
        """Home all axes: an explicit act of a person or of a gate that was told to. Raises NotNow, NotSupported."""

    def status(self) -> Status:
        """What is known now; never waits for the machine."""

    def close(self) -> None:
        """Close the port and end the threads. A running toolpath fails as LINK_LOST first, beam and heaters off."""


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What the owner declared of one machine, as far as its bridge needs it."""

    port: str
    dialect: str
    baud: int = 115200
    fingerprint: str = ""
    """Expected identity; empty accepts the first and reports it."""
    process: str = "fdm"
    envelope_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    options: tuple[tuple[str, str], ...] = field(default=())

    def option(self, name: str, default: str = "") -> str:
        """A dialect's own setting by name."""
        return dict(self.options).get(name, default)
