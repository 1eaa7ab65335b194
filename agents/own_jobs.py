"""The owner's own jobs: made from a file, told as `OwnWork`, and how long they keep a machine. Pure.

They need nobody's permission but go through every gate, before pool work. What is told of them names no title, file or
hash: that a machine is used, until when, and how it ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

import msgspec

from agents.contract.messages import JobTicket, MachineDescription, MaterialNeed, OwnStep, OwnWork, ToolpathRef
from agents.contract.vocabulary import FailureClass, NeedClass, Ring
from agents.lease import MOVING, Action, LeaseState
from agents.spool import Lease, Spool
from agents.toolpaths import HandedIn

#: No own run is taken for longer where nothing says how long it is.
_RUN_S: Final = timedelta(days=1).total_seconds()
#: Ends are told in steps of this, so that an estimate that breathes makes no talk.
_TOLD_IN_S: Final = 300
#: So much of a run says how fast the rest of it goes.
_ENOUGH_SEEN: Final = 0.05
#: Cura writes `;TIME:` in seconds, PrusaSlicer `; estimated printing time (normal mode) =` (libslic3r GCode.cpp),
#: Orca and Bambu Studio `total estimated time:`.
_SECONDS: Final = re.compile(rb"^;TIME:(\d{1,7})(?:\.\d+)?\s*$", re.MULTILINE)
_WORDS: Final = re.compile(
    rb"^;.*?(?:estimated printing time \(normal mode\) =|total estimated time:)([ \ddhms]+)", re.MULTILINE
)
_UNIT: Final = re.compile(rb"(\d{1,5})([dhms])")
_UNIT_S: Final = {b"d": 86_400, b"h": 3_600, b"m": 60, b"s": 1}
#: Marlin `M73 R`: minutes left, https://marlinfw.org/docs/gcode/M073.html. The first is for the whole.
_MINUTES_LEFT: Final = re.compile(rb"^M73\b[^;\n]*?\bR(\d{1,5})", re.MULTILINE)
_STEPS: Final = {
    Action.JOURNAL_START_INTENDED: OwnStep.INTENDED,
    Action.JOURNAL_RUNNING: OwnStep.RUNNING,
    Action.JOURNAL_FINISHED: OwnStep.FINISHED,
    Action.JOURNAL_FAILED: OwnStep.FAILED,
    Action.JOURNAL_CANCELLED: OwnStep.CANCELLED,
}


def own_lease(job: str, description: MachineDescription, program: HandedIn, title: str, now: datetime) -> Lease:
    """What is written down for a file that the owner queued for a machine."""
    ticket = JobTicket(
        job=job,
        order="own",
        title=title[:200],
        process=description.process,
        material=MaterialNeed(material="any"),
        need_class=NeedClass.PERSONAL,
        ring=Ring.HOUSEHOLD,
        licence="",
        own_use=True,
    )
    toolpath = ToolpathRef(
        sha256=program.sha256,
        size_bytes=program.size_bytes,
        dialect=description.dialect,
        urls=(),
        duration_s=stated_duration_s(program.ends),
        lines=program.lines,
        bounds_mm=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    )
    return Lease(job, job, 0, description.machine, LeaseState.LEASED, True, ticket, toolpath, None, now, _RUN_S, now)


def again(before: Lease, job: str, now: datetime) -> Lease:
    """The same program as a new own job."""
    fresh = replace(before, lease=job, job=job, state=LeaseState.LEASED, planned_start=now, at=now, card=False)
    fresh = replace(fresh, ticket=msgspec.structs.replace(before.ticket, job=job), problems=None, gates="", why="")
    return replace(fresh, start_seq=None, last_line=0, started=None, ended=None)


def stated_duration_s(ends: bytes) -> float:
    """What the slicer says near one end of a program that it takes, in seconds; 0 where that is nothing known here."""
    if found := _SECONDS.search(ends):
        return float(found[1])
    if found := _WORDS.search(ends):
        return float(sum(int(count) * _UNIT_S[unit] for count, unit in _UNIT.findall(found[1])))
    if found := _MINUTES_LEFT.search(ends):
        return 60.0 * int(found[1])
    return 0.0


def told_own(action: Action, lease: Lease, failure: FailureClass, now: datetime) -> OwnWork | None:
    """The message for an action on an own lease. None for what the network has no business with: all before a start."""
    step = _STEPS.get(action)
    if step is None or (step is not OwnStep.INTENDED and lease.start_seq is None):
        return None
    begins = step in {OwnStep.INTENDED, OwnStep.RUNNING}
    return OwnWork(
        machine=lease.machine,
        run=lease.job,
        step=step,
        expected_end=_rounded(now + timedelta(seconds=lease.toolpath.duration_s))
        if begins and lease.toolpath.duration_s
        else None,
        failure=failure if step is OwnStep.FAILED else None,
    )


def tell_bed_cleared(spool: Spool, machine: str, now: datetime) -> None:
    """Journal that the bed is free after an own run, where the last run on the machine was one."""
    row = spool.row(
        "SELECT job, own FROM leases WHERE machine = ? AND ended IS NOT NULL AND start_seq IS NOT NULL"
        " ORDER BY ended DESC, rowid DESC LIMIT 1",
        machine,
    )
    if row is not None and row[1]:
        spool.journal(OwnWork(machine=machine, run=row[0], step=OwnStep.BED_CLEARED), now)


def own_until(own: Iterable[Lease], fraction: float, now: datetime) -> datetime | None:
    """Until when these own jobs should keep their machine; None where there are none, or nobody can say.

    `fraction`: how much of the one that runs is done, 0 to 1.
    """
    left_s = 0.0
    for lease in own:
        if lease.state in MOVING:
            remaining = _remaining_s(lease, fraction, now)
            if remaining is None:
                return None
            left_s += remaining
        else:
            left_s += lease.toolpath.duration_s
    return _rounded(now + timedelta(seconds=left_s)) if left_s > 0 else None


def _remaining_s(lease: Lease, fraction: float, now: datetime) -> float | None:
    if lease.toolpath.duration_s:
        return lease.toolpath.duration_s * (1.0 - fraction)
    if lease.started is None or fraction < _ENOUGH_SEEN:
        return None
    return (now - lease.started).total_seconds() * (1.0 - fraction) / fraction


def _rounded(moment: datetime) -> datetime:
    return datetime.fromtimestamp(ceil(moment.timestamp() / _TOLD_IN_S) * _TOLD_IN_S, UTC)
