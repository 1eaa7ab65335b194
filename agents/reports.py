"""A machine's report for the network, built from what the bridge confirmed and what the spool keeps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import structs

from agents.config import MachineSettings
from agents.contract.messages import GateReport, LoadedMaterial, MachineDescription, MachineReport
from agents.contract.vocabulary import MachineState, Ring
from agents.spool import Lease, MachineFlags
from agents.windows import Interval
from firmware_bridges.bridge import BridgeState, Status

#: Settings that a toolpath's time and power depend on (grbl doc/markdown/settings.md; Marlin M201, M203, M204, M205).
_LIMITS: Final = frozenset(
    {"$11", "$12", "$30", *(f"$1{group}{axis}" for group in (1, 2) for axis in range(3))}
    | {"M201", "M203", "M204", "M205"}
)
_STATES: Final = {
    BridgeState.OFFLINE: MachineState.OFFLINE,
    BridgeState.UNIDENTIFIED: MachineState.UNIDENTIFIED,
    BridgeState.STARTING: MachineState.RUNNING,
    BridgeState.RUNNING: MachineState.RUNNING,
    BridgeState.HOLDING: MachineState.RUNNING,
    BridgeState.CANCELLING: MachineState.RUNNING,
    BridgeState.HELD: MachineState.HELD,
    BridgeState.ALARM: MachineState.ALARM,
    BridgeState.FAULT: MachineState.ALARM,
    BridgeState.DISARMED: MachineState.ALARM,
}


@dataclass(frozen=True, slots=True)
class Home:
    """Where the machine stands."""

    shop: str
    agent: str
    ring: Ring


@dataclass(frozen=True, slots=True)
class Hours:
    """When a machine is there for the network. None: always (`pool`), or that nobody said (`attended`)."""

    pool: tuple[Interval, ...] | None = None
    attended: tuple[Interval, ...] | None = None
    maintenance: tuple[Interval, ...] = ()
    people: int | None = None
    """How many look after it then, and what each gives a week; None: nobody said."""
    hours_a_week: float | None = None
    zone: str = ""
    """By whose clock the owner wrote them; IANA name."""

    @property
    def any_left(self) -> bool:
        """Whether pool work can begin at all: an empty list would read as always."""
        return self.pool != () and self.attended != ()


def machine_state(status: Status, flags: MachineFlags) -> tuple[MachineState, str]:
    """The state to report, and why it is so where that needs saying. A hold counts once the machine confirmed it."""
    state = _STATES.get(status.state, MachineState.IDLE)
    if state is not MachineState.IDLE:
        return state, status.why
    if flags.disabled:
        return MachineState.DISABLED, flags.disabled
    if flags.disarmed:
        return MachineState.ALARM, flags.disarmed
    if not flags.bed_clear:
        return MachineState.OCCUPIED, "nobody has confirmed that the bed is clear"
    return MachineState.IDLE, ""


def described(machine: MachineSettings, materials: tuple[LoadedMaterial, ...], status: Status) -> MachineDescription:
    """The declared machine with what is loaded now and the firmware that answered."""
    identity = status.identity
    firmware = "" if identity is None else f"{identity.firmware} {identity.version}".strip()
    limits = () if identity is None else tuple(pair for pair in identity.settings if pair[0] in _LIMITS)
    return structs.replace(machine.description, materials=materials, firmware=firmware, limits=limits)


def report(
    home: Home,
    description: MachineDescription,
    status: Status,
    flags: MachineFlags,
    *,
    running: Lease | None,
    since: datetime,
    accepts_pool_work: bool,
    present: bool,
    gates: tuple[GateReport, ...],
    hours: Hours,
    own_until: datetime | None = None,
) -> MachineReport:
    """The retained report. The owner's own jobs are not named to the network: the machine is simply running, until
    about `own_until` where that is known."""
    state, why = machine_state(status, flags)
    progress = None
    if running is not None and status.total_lines:
        progress = round(min(1.0, status.line / status.total_lines), 3)
    return MachineReport(
        shop=home.shop,
        agent=home.agent,
        ring=home.ring,
        description=description,
        state=state,
        since=since,
        why=why[:2000],
        job=None if running is None or running.own else running.job,
        progress=progress,
        accepts_pool_work=accepts_pool_work,
        person_present=present,
        gates=gates,
        windows=_pairs(hours.pool or ()),
        attended_windows=_pairs(hours.attended or ()),
        maintenance=_pairs(hours.maintenance),
        own_until=own_until,
        people=hours.people,
        hours_a_week=hours.hours_a_week,
        timezone=hours.zone,
    )


def _pairs(stretches: tuple[Interval, ...]) -> tuple[tuple[datetime, datetime], ...]:
    return tuple((stretch.start, stretch.end) for stretch in stretches)
