"""What time alone brings: deadlines that pass, agents that fall silent, leases on machines that broke.

Each becomes an event of the table or a flag for a person; none is ever taken for a success.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import LEASED_STATES, MOTION_STATES, JobState, MachineState
from scheduler.dispatch.hearing import hearing
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import SeenMachine, seen_machines
from scheduler.dispatch.remaining import Place, held_places
from scheduler.dispatch.states import JobEvent
from scheduler.orders.recipes import read_body
from scheduler.store import queries
from scheduler.store.rows import JobRow

#: Jobs touched in one transaction.
MOST_AT_ONCE: Final = 10
_NOT_BEGUN: Final = LEASED_STATES - MOTION_STATES
_CLOCK_SLACK: Final = timedelta(seconds=5)
_SILENT: Final = "no word from the agent since"


def sweep(c: sa.Connection, mover: Mover, now: datetime) -> int:
    """Let happen what time alone brings, to some jobs. Returns how many it touched: `MOST_AT_ONCE`, and there is more.

    Nothing while a start's hearing goes on: what passed while nobody was here is judged once its agents were heard.
    """
    if hearing(c, mover.limits, now) is not None:
        return 0
    touched = sum(_deadline(c, mover, job, now) for job in _due(c, mover, now)[:MOST_AT_ONCE])
    places = held_places(c)
    machines = seen_machines(c, agents_of=[place.agent for place in places.values()])
    jobs = {job.id: job for job in queries.jobs(c, ids=sorted(places))}
    running = {places[job.id].machine: places[job.id].finish(job, now) for job in _moving(jobs.values())}
    for job_id, place in places.items():
        if touched >= MOST_AT_ONCE:
            break
        job, machine = jobs[job_id], machines.get(place.machine)
        if machine is None:
            continue
        if job.state in MOTION_STATES:
            touched += _silence(c, mover, job, machine, now)
            continue
        why = _broken(machine, mover, now) or _closed(machine, job)
        why = why or _late(place, running.get(place.machine), mover)
        if why:
            event = JobEvent.OFFER_WITHDRAWN if job.state is JobState.OFFERED else JobEvent.LEASE_WITHDRAWN
            # It is no nervousness to leave a machine that does not keep its word: the old place counts for nothing.
            mover.move(c, job, Happening(event, now, why=why, values={"placement": None}))
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
    """Why a job should not wait behind the one that runs; empty while that one is about in time."""
    if place.offer is None or free_at is None:
        return ""
    late = free_at - max(place.offer.planned_start, place.offer.made_at)
    if late <= mover.limits.drift:
        return ""
    return f"the job before it on the machine ends {round(late.total_seconds() / 60)} minutes later than planned"


def _due(c: sa.Connection, mover: Mover, now: datetime) -> list[JobRow]:
    """Jobs whose deadline passed; and offers from a clock that was put back since, which nobody should wait out."""
    late = queries.jobs_past_deadline(c, now)
    furthest = now + mover.limits.offer + _CLOCK_SLACK
    offered = queries.jobs(c, states=[JobState.OFFERED])
    return [*late, *(job for job in offered if job.deadline is not None and job.deadline > furthest)]


def _deadline(c: sa.Connection, mover: Mover, job: JobRow, now: datetime) -> bool:
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
    elif job.state is JobState.STARTING:
        happening = Happening(JobEvent.START_OVERDUE, now)
    else:
        return False
    mover.move(c, job, happening)
    return True


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


def _silence(c: sa.Connection, mover: Mover, job: JobRow, machine: SeenMachine, now: datetime) -> bool:
    """A job that moves on a silent agent stays as it is, flagged, until the agent speaks or a person decides."""
    silent = not machine.agent.online or now - machine.agent.heard_at > mover.limits.silence
    if silent and not job.flag:
        since = machine.agent.heard_at.strftime("%H:%M:%S UTC")
        queries.update_job(c, job, {"flag": f"{_SILENT} {since}: look at the machine"})
        return True
    if not silent and job.flag.startswith(_SILENT):
        queries.update_job(c, job, {"flag": ""})
        return True
    return False
