"""The one gate function that every start and every resume goes through, and the watch that holds unattended machines.

A gate is closed unless it is known to be open. `gates` is pure; `Watch` is a thread that touches no disk and no
network, so that a slow card or a dead broker cannot delay it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agents.clock import Clock
from agents.config import InterlockInput, MachineSettings, OnOpen
from agents.contract.messages import GateReport, LoadedMaterial
from agents.contract.vocabulary import Process
from agents.material import missing_of, named
from agents.spool import Lease, MachineFlags
from firmware_bridges.bridge import BUSY_STATES, BridgeState, Status

_log = logging.getLogger(__name__)

#: How often presence and interlocks are looked at; with the bridge's own answer it stays well inside the 1 s rule.
WATCH_EVERY_S: Final = 0.1
#: A hold that the machine has not confirmed by then becomes an emergency stop (beam and spindle off within 1 s).
ESCALATE_AFTER_S: Final = 0.75


class Purpose(StrEnum):
    """What the gates are asked for."""

    START = "start"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a gate may look at, gathered at one moment."""

    machine: MachineSettings
    lease: Lease
    status: Status
    flags: MachineFlags
    materials: tuple[LoadedMaterial, ...]
    present: bool
    interlocks: tuple[tuple[InterlockInput, bool | None], ...] = ()
    power: bool | None = True
    in_hours: bool = True
    """Whether the run's P90 finish lies inside the owner's hours; the owner's own jobs may always run."""
    highest_fence: int = 0
    lapsed: bool = False
    restart: bool = False
    """It goes on with a half-made part, which must still lie on the bed."""
    down: bool = False
    """Whether the owner's maintenance is now; it holds for own jobs too: somebody's hands may be in the machine."""
    beside_person: bool = False
    """Whether the owner lets pool work start only beside somebody, though the machine may run alone."""
    doubt: str = ""
    """Why the job may have been made already; empty where nothing says so."""
    memory_compared: bool = True
    """Whether a scheduler had its chance to say that this agent's memory is an old copy."""


def gates(facts: Facts, purpose: Purpose = Purpose.START) -> tuple[GateReport, ...]:
    """Every gate of this machine and lease, open or shut, with what would lift a shut one."""
    checks = _START_GATES if purpose is Purpose.START else _RESUME_GATES
    reports = [report for check in checks if (report := check(facts)) is not None]
    reports += [_interlock(item, good) for item, good in facts.interlocks]
    return tuple(reports)


def all_open(reports: tuple[GateReport, ...]) -> bool:
    """Whether nothing is shut (and something was asked)."""
    return bool(reports) and all(report.open for report in reports)


def shut(reports: tuple[GateReport, ...]) -> tuple[GateReport, ...]:
    """The gates that are not open."""
    return tuple(report for report in reports if not report.open)


def _gate(name: str, is_open: bool, why: str, lift: str) -> GateReport:
    return GateReport(gate=name, open=True) if is_open else GateReport(gate=name, open=False, why=why, lift=lift)


def _remembered(facts: Facts) -> GateReport | None:
    """Pool work asks its granter instead, unless it was granted in a life that is forgotten here."""
    if not facts.lease.own:
        lift = "wait: the scheduler compares what is held here, takes it back and offers it anew"
        return _gate("remembered", False, facts.doubt, lift) if facts.doubt else None
    if facts.doubt:
        lift = "look whether it was made; then say that it is still wanted, or cancel it"
        return _gate("remembered", False, facts.doubt, lift)
    why = "the scheduler has not yet said whether this agent's memory is an old copy"
    return _gate("remembered", facts.memory_compared, why, "wait; without an answer it goes on after a minute")


def _enabled(facts: Facts) -> GateReport:
    return _gate("enabled", not facts.flags.disabled, f"disabled: {facts.flags.disabled}", "enable the machine")


def _machine(facts: Facts) -> GateReport:
    state = facts.status.state
    return _gate(
        "machine",
        state is BridgeState.IDLE and facts.status.identity is not None,
        f"the machine is {state}" + (f": {facts.status.why}" if facts.status.why else ""),
        "wait until it is idle; look at it and re-arm it if it is blocked",
    )


def _held(facts: Facts) -> GateReport:
    state = facts.status.state
    return _gate("machine", state is BridgeState.HELD, f"the machine is {state}, not held", "wait until it stands")


def _armed(facts: Facts) -> GateReport:
    return _gate("armed", not facts.flags.disarmed, facts.flags.disarmed, "look at the machine, then re-arm it")


def _bed(facts: Facts) -> GateReport:
    if facts.restart:
        why = "the bed was cleared: the half-made part is gone"
        return _gate("part_on_bed", not facts.flags.bed_clear, why, "cancel the job, and start it from the beginning")
    return _gate(
        "bed_clear", facts.flags.bed_clear, "nobody has confirmed that the bed is clear", "clear it and confirm"
    )


def _homed(facts: Facts) -> GateReport | None:
    if not facts.machine.requires_homing:
        return None
    return _gate("homed", facts.status.homed is True, "the machine is not known to be homed", "home it")


def _laser_mode(facts: Facts) -> GateReport | None:
    """Without `$32=1` GRBL keeps the beam on while it stands (grbl doc/markdown/laser_mode.md)."""
    description = facts.machine.description
    if description.process is not Process.LASER or not description.dialect.startswith("grbl"):
        return None
    settings = dict(facts.status.identity.settings) if facts.status.identity else {}
    value = settings.get("$32", settings.get("32", ""))
    return _gate("laser_mode", value in {"1", "1.0"}, "laser mode is not known to be on", "send $32=1 to the machine")


def _toolpath(facts: Facts) -> GateReport:
    problems = facts.lease.problems
    if problems is None:
        return _gate("toolpath", False, "the toolpath has not been surveyed", "wait")
    return _gate("toolpath", not problems, "; ".join(problems), "make the toolpath again for this machine")


def _lease(facts: Facts) -> GateReport:
    newest = facts.lease.own or facts.lease.fence >= facts.highest_fence
    return _gate(
        "lease",
        newest and not facts.lapsed,
        "the lease has lapsed" if newest else f"fence {facts.lease.fence} is below {facts.highest_fence}",
        "wait for a new offer",
    )


def _hours(facts: Facts) -> GateReport | None:
    if facts.lease.own:
        return None
    return _gate(
        "owners_hours", facts.in_hours, "the run may not end inside the owner's hours", "wait for the next window"
    )


def _maintenance(facts: Facts) -> GateReport | None:
    if not facts.down:
        return None
    return _gate("maintenance", False, "the owner's maintenance is now", "wait for its end, or change the policy")


def _power(facts: Facts) -> GateReport | None:
    if facts.machine.power_file is None:
        return None
    return _gate("power", facts.power is True, "power is not permitted now", "wait until the circuit has room")


def _presence(facts: Facts) -> GateReport | None:
    if not facts.machine.description.attended:
        return None
    return _gate("presence", facts.present, "no trained person is present", "stand beside the machine and say so")


def _beside_person(facts: Facts) -> GateReport | None:
    if facts.machine.description.attended or facts.lease.own or not facts.beside_person:
        return None
    why = "the owner lets nothing run unattended, and nobody is present"
    return _gate("beside_person", facts.present, why, "stand beside the machine and say so")


def _work_card(facts: Facts) -> GateReport | None:
    if not facts.machine.description.attended:
        return None
    card = facts.lease.ticket.work_card
    why = "nobody has confirmed that the stock is clamped and extraction runs"
    return _gate("work_card", facts.lease.card, why, f"follow the card, then confirm: {card}" if card else "confirm")


def _material(facts: Facts) -> GateReport:
    need = facts.lease.ticket.material
    if facts.lease.own:
        return GateReport(gate="material", open=True)
    missing = [missing_of(need, loaded) for loaded in facts.materials]
    is_open = any(not lack for lack in missing)
    closest = next((lack for lack in missing if lack), "nothing is loaded")
    return _gate("material", is_open, closest, f"load {named(need)} and confirm it")


def _interlock(item: InterlockInput, good: bool | None) -> GateReport:
    why = f"{item.name} is open" if good is False else f"{item.name} is not known to be closed"
    return _gate(f"interlock_{item.name}", good is True, why, f"close {item.name}, or check its wiring")


_START_GATES: Final = (
    *(_lease, _remembered, _enabled, _machine, _armed, _bed, _toolpath, _material, _homed),
    *(_laser_mode, _hours, _maintenance, _power, _presence, _beside_person, _work_card),
)
_RESUME_GATES: Final = (_held, _armed, _power, _presence)


class Presence:
    """Who said "I am here" until when, by monotonic time: a jump of the wall clock neither grants nor takes presence.

    Kept in memory only: after a restart of the agent nobody is present until somebody says so again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def beat(self, machines: tuple[str, ...], for_s: float) -> None:
        """A trained person is beside these machines for the next `for_s` seconds; 0 says: leaving now."""
        until = self._clock.monotonic() + for_s
        with self._lock:
            self._until.update(dict.fromkeys(machines, until))

    def present(self, machine: str) -> bool:
        """Whether the last heartbeat is still good."""
        return self.left_s(machine) > 0

    def left_s(self, machine: str) -> float:
        """Seconds until the last heartbeat runs out; 0 when it has."""
        with self._lock:
            return max(0.0, self._until.get(machine, 0.0) - self._clock.monotonic())


@dataclass(frozen=True, slots=True)
class Watched:
    """One machine under watch: how to look at it and how to stop it. None of these may touch a disk or the network."""

    machine: MachineSettings
    status: Callable[[], Status]
    interlock: Callable[[InterlockInput], bool | None]
    hold: Callable[[str], None]
    stop: Callable[[str], None]
    presence_lost: Callable[[], None]


class Watch:
    """Holds a busy machine when its person is gone or an interlock opens, and stops it if the hold is not confirmed.

    It never resumes anything.
    """

    def __init__(self, presence: Presence, clock: Clock, machines: tuple[Watched, ...]) -> None:
        self._presence = presence
        self._clock = clock
        self._machines = machines
        self._since: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching; the machines must be idle or closed by then."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    @property
    def alive(self) -> bool:
        """Whether the watch is kept."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._ending.wait(WATCH_EVERY_S):
                self.look()
        finally:
            # Nobody watches any more, whatever the reason: nothing that was watched may go on.
            if not self._ending.is_set():
                self._stop_everything("the watch broke down")

    def _stop_everything(self, why: str) -> None:
        for watched in self._machines:
            if watched.status().state in BUSY_STATES:
                self._stop(watched, why)

    def _stop(self, watched: Watched, why: str) -> None:
        try:
            watched.stop(why)
        except Exception:  # noqa: BLE001 - a machine that cannot be stopped from here keeps no other from being watched
            _log.exception("%s could not be stopped: use its own button NOW", watched.machine.name)

    def look(self) -> None:
        """One look at every machine. One that cannot be looked at is stopped; the others are looked at all the same."""
        for watched in self._machines:
            try:
                self._look_at(watched)
            except Exception as error:  # noqa: BLE001 - see above
                if watched.machine.name not in self._stopped:
                    self._stopped.add(watched.machine.name)
                    self._stop(watched, f"it could not be watched ({type(error).__name__}: {error})")

    def _look_at(self, watched: Watched) -> None:
        name, status = watched.machine.name, watched.status()
        why, urgent = self._wrong(watched) if status.state in BUSY_STATES else ("", False)
        if status.state not in BUSY_STATES or (status.state is BridgeState.HELD and _rests(status, urgent)):
            self._since.pop(name, None)
            self._stopped.discard(name)
            return
        if not why:
            if status.state is not BridgeState.HOLDING:
                self._since.pop(name, None)
            return
        now = self._clock.monotonic()
        first = name not in self._since
        since = self._since.setdefault(name, now)
        if name in self._stopped:
            return
        if urgent or now - since >= ESCALATE_AFTER_S:
            self._stopped.add(name)
            self._stop(watched, why if urgent else f"{why}, and the hold was not confirmed in {ESCALATE_AFTER_S:g} s")
        elif first:
            watched.hold(why)

    def _wrong(self, watched: Watched) -> tuple[str, bool]:
        """Why this busy machine must not go on, and whether at once: the gravest of what is wrong."""
        found = ""
        for item in watched.machine.interlocks:
            if watched.interlock(item) is not True:
                if item.on_open is OnOpen.STOP:
                    return f"interlock {item.name} opened", True
                found = found or f"interlock {item.name} opened"
        if watched.machine.description.attended and not self._presence.present(watched.machine.name):
            watched.presence_lost()
            found = found or "nobody has said to be present"
        return found, False


def _rests(status: Status, urgent: bool) -> bool:
    """Whether a held machine is as safe as a hold makes it.

    One whose spindle turns is not: its controller stops none in a hold, or it is on its way back to work. Nor is a hot
    one where something is wrong that asks for a stop.
    """
    hot = any(target_c > 0 for _, _, target_c in status.temperatures_c)
    return not status.spindle and not (urgent and hot)
