"""The owner's own rules, read from a file that nobody else can write, and the pure function that applies them.

`decide(offer, machine, now, policy)` answers Accept, Decline (with reasons, and a time to ask again) or Ask. The file
is read again when it changes; a broken one leaves the last good rules in force and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.contract.messages import MachineDescription, Offer
from agents.contract.vocabulary import NeedClass, Process, Ring
from agents.section import ConfigError, Section, read_toml
from agents.windows import (
    LONGEST_WINDOW,
    Interval,
    Once,
    QuietHours,
    Window,
    allowed,
    common,
    first_fit,
    read_rule,
    stretches,
    without,
)

_log = logging.getLogger(__name__)

_DAYS: Final = ("mo", "tu", "we", "th", "fr", "sa", "su")
#: SPDX identifiers that let anybody make, change and share (Open Source Hardware Definition 1.0, points 4 to 6).
OPEN_LICENCES: Final = (
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CERN-OHL-1.2"),
    *("CERN-OHL-P-2.0", "CERN-OHL-W-2.0", "CERN-OHL-S-2.0", "TAPR-OHL-1.0", "SHL-2.1", "Apache-2.0", "MIT"),
    *("BSD-2-Clause", "BSD-3-Clause", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"),
    *("AGPL-3.0-only", "AGPL-3.0-or-later", "LGPL-3.0-or-later", "MPL-2.0", "Unlicense", "0BSD", "OFL-1.1"),
)


class Accepting(StrEnum):
    """How the owner says yes."""

    AUTO = "auto"
    ASK = "ask"


@dataclass(frozen=True)
class Policy:
    """The rules in force. Empty sets of materials and processes mean: any."""

    accept: Accepting = Accepting.AUTO
    pool: bool = True
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    horizon: timedelta = timedelta(days=7)
    windows: tuple[Window, ...] = ()
    quiet: tuple[QuietHours, ...] = ()
    attended: tuple[Window, ...] = ()
    """When somebody is there to start, clear and unload, and stays beside what may not run alone. A machine that none
    speaks of: nobody said."""
    maintenance: tuple[Window | Once, ...] = ()
    """When a machine is down, whoever's the work."""
    people: int | None = None
    """How many look after the machines in the attended hours; None: nobody said."""
    hours_a_week: float | None = None
    """What each of them gives; None: nobody said."""
    materials: frozenset[str] = frozenset()
    processes: frozenset[Process] = frozenset()
    closed_machines: frozenset[str] = frozenset()
    need_classes: frozenset[NeedClass] = frozenset(NeedClass)
    widest_ring: Ring = Ring.FEDERATION
    licences: frozenset[str] = frozenset(OPEN_LICENCES)
    own_use: bool = True
    """Whether designs without an open licence are taken when marked as somebody's own use."""
    longest_job: timedelta = timedelta(hours=24)
    unattended: bool = True
    """Whether machines that may run alone do so for the pool."""
    change_material: bool = True
    """Whether work in another material than the one loaded is taken (a person will have to load it)."""
    queue_at_most: int = 4


@dataclass(frozen=True, slots=True)
class MachineView:
    """What the policy may know of a machine."""

    description: MachineDescription
    queued: int = 0
    """Leases and open claims that have not begun."""
    disabled: str = ""
    person_present: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    """Claim it."""


@dataclass(frozen=True, slots=True)
class Decline:
    """Say no, and why; `not_before` invites the scheduler to ask again then."""

    reasons: tuple[str, ...]
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """The owner decides by hand until the offer expires."""


Decision = Accept | Decline | Ask


def decide(offer: Offer, machine: MachineView, now: datetime, policy: Policy) -> Decision:
    """Apply the owner's rules to one offer. Every rule that says no gives its reason."""
    reasons = [reason for rule in _RULES if (reason := rule(offer, machine, policy))]
    outside, not_before = _outside_windows(offer, machine.description, now, policy)
    if outside:
        reasons.append(outside)
    if reasons:
        return Decline(tuple(reasons), not_before if outside and len(reasons) == 1 else None)
    return Ask() if policy.accept is Accepting.ASK else Accept()


def p90_length(offer: Offer) -> timedelta:
    """How long the run may well take; never believed to be shorter than the toolpath's own time."""
    return max(offer.finish_p90 - offer.planned_start, timedelta(seconds=offer.toolpath.duration_s))


def may_run(machine: MachineDescription, start: datetime, length: timedelta, policy: Policy) -> bool:
    """Whether a run of `length` from `start` stays inside the owner's hours (the start gate asks this again)."""
    span = Interval(start, start + length)
    return span.length <= timedelta() or span in _hours_for(machine, span, policy)


def open_hours(machine: str, now: datetime, policy: Policy) -> tuple[Interval, ...]:
    """When pool work may run, as far ahead as the horizon; empty with pool work switched off."""
    if not policy.pool or machine in policy.closed_machines:
        return ()
    return _pool_hours(machine, Interval(now, now + policy.horizon), policy)


def attended_hours(machine: str, now: datetime, policy: Policy) -> tuple[Interval, ...] | None:
    """When somebody is there, as far ahead as the horizon; None where nobody said."""
    return stretches(policy.attended, machine, policy.zone, Interval(now, now + policy.horizon))


def maintenance_of(machine: str, now: datetime, policy: Policy) -> tuple[Interval, ...]:
    """When the machine is down, as far ahead as the horizon."""
    return stretches(policy.maintenance, machine, policy.zone, Interval(now, now + policy.horizon)) or ()


def is_down(machine: str, now: datetime, policy: Policy) -> bool:
    """Whether the owner's maintenance is now."""
    return bool(stretches(policy.maintenance, machine, policy.zone, Interval(now, now + timedelta(seconds=1))))


def needs_person(machine: MachineDescription, policy: Policy) -> bool:
    """Whether pool work runs there only beside somebody: by the machine's kind, or by its owner's word."""
    return machine.attended or not policy.unattended


def _pool_hours(machine: str, span: Interval, policy: Policy) -> tuple[Interval, ...]:
    hours = allowed(policy.windows, policy.quiet, machine, policy.zone, span)
    return without(hours, stretches(policy.maintenance, machine, policy.zone, span) or ())


def _hours_for(machine: MachineDescription, span: Interval, policy: Policy) -> tuple[Interval, ...]:
    hours = _pool_hours(machine.machine, span, policy)
    there = stretches(policy.attended, machine.machine, policy.zone, span)
    return hours if there is None or not needs_person(machine, policy) else common(hours, there)


def _outside_windows(
    offer: Offer, machine: MachineDescription, now: datetime, policy: Policy
) -> tuple[str, datetime | None]:
    start, length = max(now, offer.planned_start), p90_length(offer)
    if length > LONGEST_WINDOW:
        return f"the run may take {length.days} days; no window is that long", None
    if may_run(machine, start, length, policy):
        return "", None
    later = first_fit(_hours_for(machine, Interval(now, now + policy.horizon), policy), now, length)
    when = "no window within the horizon is long enough" if later is None else f"it would fit from {later.isoformat()}"
    return f"the run may take until {(start + length).isoformat()}, outside the hours of this machine; {when}", later


def _pool_off(offer: Offer, machine: MachineView, policy: Policy) -> str:
    if not policy.pool:
        return "this shop takes no pool work now"
    if offer.machine in policy.closed_machines:
        return f"machine {offer.machine} takes no pool work"
    return f"machine {offer.machine} is disabled: {machine.disabled}" if machine.disabled else ""


def _wrong_process(offer: Offer, machine: MachineView, policy: Policy) -> str:
    process = offer.ticket.process
    if process is not machine.description.process:
        return f"the job is {process} work, the machine does {machine.description.process}"
    if policy.processes and process not in policy.processes:
        return f"this shop takes no {process} work"
    if offer.toolpath.dialect != machine.description.dialect:
        return f"the toolpath speaks {offer.toolpath.dialect}, the machine {machine.description.dialect}"
    return ""


def _wrong_material(offer: Offer, machine: MachineView, policy: Policy) -> str:
    wanted = offer.ticket.material.material
    if policy.materials and wanted.casefold() not in policy.materials:
        return f"this shop does not work {wanted}"
    loaded = {item.material.casefold() for item in machine.description.materials}
    if not policy.change_material and wanted.casefold() not in loaded:
        return f"{wanted} is not loaded, and the owner changes no material for pool work"
    return ""


def _too_long(offer: Offer, machine: MachineView, policy: Policy) -> str:
    length = p90_length(offer)
    if length > policy.longest_job:
        return f"the run may take {_hours(length)}; the owner's longest is {_hours(policy.longest_job)}"
    return ""


def _wrong_need(offer: Offer, machine: MachineView, policy: Policy) -> str:
    if offer.ticket.need_class not in policy.need_classes:
        return f"this shop takes no {offer.ticket.need_class} work"
    if not policy.widest_ring.contains(offer.ticket.ring):
        return f"the job is for the {offer.ticket.ring}; this shop works for the {policy.widest_ring} at most"
    return ""


def _wrong_licence(offer: Offer, machine: MachineView, policy: Policy) -> str:
    ticket = offer.ticket
    if ticket.own_use and policy.own_use:
        return ""
    words = ticket.licence.replace("(", " ").replace(")", " ").split()
    names = [word for word in words if word not in {"AND", "OR", "WITH"}]
    known = [name in policy.licences for name in names]
    # An OR leaves the choice to us, an AND does not.
    if names and (any(known) if "OR" in words and "AND" not in words else all(known)):
        return ""
    return f"the licence {ticket.licence or '(none)'} is not one that this shop works under"


def _nobody_there(offer: Offer, machine: MachineView, policy: Policy) -> str:
    if policy.unattended or machine.person_present or machine.description.attended:
        return ""
    if any(not window.machines or offer.machine in window.machines for window in policy.attended):
        return ""  # the hours decide
    return "the owner lets no machine run unattended, and nobody is present"


def _queue_full(offer: Offer, machine: MachineView, policy: Policy) -> str:
    if machine.queued >= policy.queue_at_most:
        return f"{machine.queued} jobs wait at this machine already; the owner's limit is {policy.queue_at_most}"
    return ""


_RULES: Final = (
    *(_pool_off, _wrong_process, _wrong_material, _too_long),
    *(_wrong_need, _wrong_licence, _nobody_there, _queue_full),
)


def _hours(length: timedelta) -> str:
    return f"{length.total_seconds() / 3600:.1f} h"


# --- the file ---------------------------------------------------------------------------------------------------------


def read_policy(path: Path, machines: Iterable[str] | None = None) -> Policy:
    """Read and check the owner's file. `machines`: all of the shop, None where nobody knows. Raises ConfigError."""
    known = None if machines is None else frozenset(machines)
    root = read_toml(path)
    default = Policy()
    try:
        zone = ZoneInfo(root.text("timezone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: `Europe` is a folder
        raise root.wrong("timezone", "a zone name such as Europe/Berlin") from None
    policy = Policy(
        accept=root.choice("accept", Accepting, Accepting.AUTO),
        pool=root.flag("pool", True),
        zone=zone,
        horizon=timedelta(days=root.number("horizon_days", 7.0, above=0.0, maxval=60.0)),
        windows=tuple(_window(section, known) for section in root.tables("window")),
        quiet=tuple(_quiet(section, known) for section in root.tables("quiet")),
        attended=tuple(_window(section, known) for section in root.tables("attended")),
        maintenance=tuple(_maintenance(section, known) for section in root.tables("maintenance")),
        people=root.whole("people", 1, minval=0, maxval=10_000) if root.has("people") else None,
        hours_a_week=root.number("hours_a_week", 20.0, minval=0.0, maxval=168.0) if root.has("hours_a_week") else None,
        materials=frozenset(name.casefold() for name in root.texts("materials", ())),
        processes=frozenset(root.choices("processes", Process, ())),
        closed_machines=_machines(root, known, "closed_machines"),
        need_classes=frozenset(root.choices("need_classes", NeedClass, tuple(NeedClass))),
        widest_ring=root.choice("ring", Ring, Ring.FEDERATION),
        licences=frozenset(root.texts("licences", OPEN_LICENCES)),
        own_use=root.flag("own_use", default.own_use),
        longest_job=timedelta(hours=root.number("longest_job_h", 24.0, above=0.0, maxval=31 * 24.0)),
        unattended=root.flag("unattended", default.unattended),
        change_material=root.flag("change_material", default.change_material),
        queue_at_most=root.whole("queue_at_most", default.queue_at_most, minval=1, maxval=100),
    )
    root.done()
    return policy


def _machines(section: Section, known: frozenset[str] | None, key: str = "machines") -> frozenset[str]:
    """Whom a rule is for. A misspelt name would leave the machine that was meant without it, in silence."""
    named = frozenset(section.texts(key, ()))
    if known is not None and not named <= known:
        raise section.wrong(key, f"a list of only machines of this shop ({', '.join(sorted(known))})")
    return named


def _window(section: Section, known: frozenset[str] | None) -> Window:
    try:
        rule = read_rule(section.text("rrule"))
    except ValueError as error:
        raise ConfigError(f"{section.where}: {error}") from error
    hours = section.number("hours", above=0.0, maxval=LONGEST_WINDOW.total_seconds() / 3600)
    window = Window(rule, timedelta(hours=hours), _machines(section, known))
    section.done()
    return window


def _maintenance(section: Section, known: frozenset[str] | None) -> Window | Once:
    """Recurring (`rrule`) or once (`start`, in local time), for so many `hours`."""
    if section.has("rrule"):
        return _window(section, known)
    try:
        wall = datetime.fromisoformat(section.text("start"))
    except ValueError:
        raise section.wrong("start", "a local time such as 2026-05-30T08:00, or an `rrule`") from None
    if wall.tzinfo is not None:
        raise section.wrong("start", "a local time without an offset, as in 2026-05-30T08:00")
    hours = section.number("hours", above=0.0, maxval=LONGEST_WINDOW.total_seconds() / 3600)
    once = Once(wall, timedelta(hours=hours), _machines(section, known))
    section.done()
    return once


def _quiet(section: Section, known: frozenset[str] | None) -> QuietHours:
    days = section.texts("days", _DAYS)
    try:
        weekdays = frozenset(_DAYS.index(day.casefold()) for day in days)
    except ValueError:
        raise section.wrong("days", "a list of " + ", ".join(_DAYS)) from None
    start, end = _clock_time(section, "start"), _clock_time(section, "end")
    quiet = QuietHours(start, end, weekdays, _machines(section, known))
    section.done()
    return quiet


def _clock_time(section: Section, key: str) -> time:
    try:
        return time.fromisoformat(section.text(key))
    except ValueError:
        raise section.wrong(key, "a time such as 22:00") from None


class PolicyFile:
    """The rules of a file, read again whenever it changes. Without a file: the defaults."""

    def __init__(self, path: Path | None, machines: tuple[str, ...]) -> None:
        """`machines`: all of the shop. Raises ConfigError when the file is wrong at the start."""
        self._path, self._machines = path, machines
        self._stamp = self._stat()
        self._policy = Policy() if path is None else read_policy(path, machines)
        self.error = ""
        """Why the file as it stands now is not in force; empty when it is."""

    def current(self) -> Policy:
        """The rules in force now."""
        stamp = self._stat()
        if self._path is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._policy, self.error = read_policy(self._path, self._machines), ""
                _log.info("the owner's policy was read again from %s", self._path)
            except ConfigError as error:
                self.error = str(error)
                _log.error("the owner's policy is wrong, the last good one stays in force: %s", error)
        return self._policy

    def _stat(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)
