"""What time alone brings: deadlines that pass, agents that fall silent, leases on machines that broke.

Each becomes an event of the table or a flag for a person; none is ever taken for a success.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import LEASED_STATES, MOTION_STATES, JobState, MachineState
from scheduler.dispatch.batches import in_batches
from scheduler.dispatch.hearing import hearing
from scheduler.dispatch.journal import take_in_what_waited, that_waited
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import SeenMachine, seen_machines
from scheduler.dispatch.remaining import Place, held_places
from scheduler.dispatch.reservations import in_the_way, reserved_windows
from scheduler.dispatch.states import JobEvent
from scheduler.orders.recipes import read_body
from scheduler.store import Store, queries
from scheduler.store.rows import JobRow

#: Jobs moved in one transaction: some 3 ms each, while everybody else waits to write.
MOST_AT_ONCE: Final = 5
#: Agents whose machines are looked at in one read.
_AGENTS_AT_ONCE: Final = 20
_NOT_BEGUN: Final = LEASED_STATES - MOTION_STATES
#: States that time alone ends.
_TIMED: Final = _NOT_BEGUN | MOTION_STATES | {JobState.OFFERED}
_CLOCK_SLACK: Final = timedelta(seconds=5)
_SILENT: Final = "no word from the agent since"


@dataclass(frozen=True, slots=True)
class _Finding:
    """A job that should not stay as it is. `why` it should go elsewhere; empty: its flag is not what it should be."""

    job: JobRow
    machine: SeenMachine
    why: str


def sweep(store: Store, mover: Mover, now: datetime) -> Iterator[int]:
    """Let everything happen that time alone brings: one short read or transaction each turn, which says how many jobs
    it touched. What is due costs transactions; what is merely held is read beside those who write.

    Nothing while a start's hearing goes on: what passed while nobody was here is judged once its agents were heard,
    and what they told and had to wait for others' words is taken in.
    """
    with store.read() as c:
        if hearing(c) is not None:
            return
        waited = that_waited(c)
    if waited:
        with store.write() as c:
            take_in_what_waited(c, mover, waited, now)
        yield len(waited)
    with store.read() as c:
        due, agents = bool(_due(c, mover, now)), queries.agents_at_work(c)
    while due:
        with store.write() as c:
            late = _due(c, mover, now)
            for job in late:
                _deadline(c, mover, job, now)
        due = len(late) >= MOST_AT_ONCE
        yield len(late)
    found: list[_Finding] = []
    for some in in_batches(agents, _AGENTS_AT_ONCE):
        with store.read() as c:
            found += _look(c, mover, some, now)
        yield 0
    for these in in_batches(found, MOST_AT_ONCE):
        with store.write() as c:
            touched = _act(c, mover, these, now)
        yield touched


def _look(c: sa.Connection, mover: Mover, agents: Sequence[str], now: datetime) -> list[_Finding]:
    """What should change on these agents' machines."""
    places, machines = held_places(c, agents), seen_machines(c, agents)
    jobs = {job.id: job for job in queries.jobs(c, ids=sorted(places))}
    running = {places[job.id].machine: places[job.id].finish(job, now) for job in _moving(jobs.values())}
    booked = reserved_windows(c, now)
    found = []
    for job_id, place in places.items():
        job, machine = jobs[job_id], machines.get(place.machine)
        if machine is None:
            continue
        if job.state in MOTION_STATES:
            if _flag_of(job, machine, mover, now) != job.flag:
                found.append(_Finding(job, machine, ""))
            continue
        why = _broken(machine, mover, now) or _closed(machine, job)
        free_at = running.get(place.machine) or machine.report.own_until
        why = why or _late(place, free_at, mover)
        start, finish = place.stretch(free_at or now)
        why = why or in_the_way(booked.get(place.machine, ()), start, finish, mover.limits.drift)
        if why:
            found.append(_Finding(job, machine, why))
    return found


def _act(c: sa.Connection, mover: Mover, found: Sequence[_Finding], now: datetime) -> int:
    """Do what was found, where it is still so: somebody may have spoken since. Returns how many jobs it touched."""
    names = {each.job.id for each in found}
    agents = sorted({each.machine.row.agent for each in found})
    touched = 0
    for each in _look(c, mover, agents, now):
        if each.job.id not in names:
            continue
        if each.job.state in MOTION_STATES:
            touched += _silence(c, mover, each.job, each.machine, now)
        else:
            event = JobEvent.OFFER_WITHDRAWN if each.job.state is JobState.OFFERED else JobEvent.LEASE_WITHDRAWN
            # It is no nervousness to leave a machine that does not keep its word: the old place counts for nothing.
            mover.move(c, each.job, Happening(event, now, why=each.why, values={"placement": None}))
            touched += 1
    return touched


def _moving(jobs: Iterable[JobRow]) -> Iterator[JobRow]:
    return (job for job in jobs if job.state in MOTION_STATES)


def _closed(machine: SeenMachine, job: JobRow) -> str:
    """Why the owner's rules of now send work that has not begun away; the owner's own work stays."""
    report = machine.report
    if report.accepts_pool_work or read_body(job.body).own_shop == report.shop:
        return ""
    return "the owner takes no pool work there now"


def _late(place: Place, free_at: datetime | None, mover: Mover) -> str:
    """Why a job should not wait behind what runs there, its owner's work too; empty while that is about in time."""
    if place.offer is None or free_at is None:
        return ""
    late = free_at - max(place.offer.planned_start, place.offer.made_at)
    if late <= mover.limits.drift:
        return ""
    return f"the work before it on the machine ends {round(late.total_seconds() / 60)} minutes later than planned"


def _due(c: sa.Connection, mover: Mover, now: datetime) -> list[JobRow]:
    """Jobs whose deadline passed; and offers from a clock that was put back since, which nobody should wait out.

    So many as one transaction moves, the oldest first.
    """
    late = queries.jobs_past_deadline(c, now, _TIMED, MOST_AT_ONCE)
    furthest = now + mover.limits.offer + _CLOCK_SLACK
    return [*late, *queries.offered_until_after(c, furthest, MOST_AT_ONCE - len(late))]


def _deadline(c: sa.Connection, mover: Mover, job: JobRow, now: datetime) -> None:
    if job.state is JobState.OFFERED:
        offer = queries.open_offer(c, job.id)
        happening = Happening(
            JobEvent.OFFER_LAPSED,
            now,
            agent=None if offer is None else offer.agent,
            machine=None if offer is None else offer.machine,
            why="the shop did not answer in time",
            not_before=now + mover.limits.unanswered,
        )
    elif job.state in _NOT_BEGUN:
        happening = Happening(JobEvent.LEASE_LAPSED, now, why="it was not begun in time")
    elif job.cancel_why:
        happening = Happening(JobEvent.CANCEL_OVERDUE, now, why=job.cancel_why)
    else:
        happening = Happening(JobEvent.START_OVERDUE, now)
    mover.move(c, job, happening)


def _broken(machine: SeenMachine, mover: Mover, now: datetime) -> str:
    """Why a lease that has not begun should go elsewhere; empty when it should stay."""
    report, silence = machine.report, mover.limits.silence
    if machine.row.quarantined_at is not None:
        return f"the machine is quarantined: {machine.row.quarantine_why}"
    if report.state in (MachineState.ALARM, MachineState.DISABLED):
        return f"the machine is in state {report.state}: {report.why or 'no reason given'}"
    if not machine.agent.online and now - machine.agent.heard_at > silence:
        return f"{_SILENT} {machine.agent.heard_at.strftime('%H:%M:%S UTC')}"
    if report.state is MachineState.OFFLINE and now - report.since > silence:
        return "the machine is offline"
    return ""


def _flag_of(job: JobRow, machine: SeenMachine, mover: Mover, now: datetime) -> str:
    """What the flag of a job that moves should say: other people's flags stand, silence is told while it lasts.

    A connected agent has nothing to say of a held job, and for minutes of one that heats.
    """
    heard_at, held = machine.agent.heard_at, job.state is JobState.HELD
    silent = not machine.agent.online or (not held and now - heard_at > mover.limits.quiet)
    if silent and not job.flag:
        return f"{_SILENT} {heard_at.strftime('%H:%M:%S UTC')}: look at the machine"
    if not silent and job.flag.startswith(_SILENT):
        return ""
    return job.flag


def _silence(c: sa.Connection, mover: Mover, job: JobRow, machine: SeenMachine, now: datetime) -> bool:
    """A job that moves on a silent agent stays as it is, flagged, until the agent speaks or a person decides."""
    flag = _flag_of(job, machine, mover, now)
    if flag == job.flag:
        return False
    queries.update_job(c, job, {"flag": flag})
    return True
