"""An owner's own job goes before pool work that has not begun on the owner's machine; never before work that runs.

Own jobs come in two ways: ordered here for the owner's own machines (`make_way`), or queued in the shop by hand. Of the
latter only this is known: that a machine is used, until when, and how it ended.

The place is given up, not the work: what made way is planned anew, and not asked of that machine again before the own
job is through.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import LEASED_STATES, MOTION_STATES, JobState
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.picture import Picture
from scheduler.dispatch.remaining import Place, held_places
from scheduler.dispatch.states import JobEvent
from scheduler.orders.recipes import read_body
from scheduler.planning.snapshot import Placement, Plan
from scheduler.store import queries
from scheduler.store.record import record
from scheduler.store.rows import JobRow

_WHY = "the owner's own job goes first"


def make_way(c: sa.Connection, mover: Mover, picture: Picture, plan: Plan, now: datetime) -> list[str]:
    """Take back pool work that stands before owners' own jobs in this plan. Returns the jobs taken back."""
    own = [placement for placement in plan.placements if not placement.fixed and _is_own(placement, picture)]
    if not own:
        return []
    waiting: dict[str, list[tuple[JobRow, Place]]] = defaultdict(list)
    not_begun = [JobState.OFFERED, *(LEASED_STATES - MOTION_STATES)]
    places = held_places(c)
    for job in queries.jobs(c, states=not_begun):
        if job.id in places:
            waiting[places[job.id].machine].append((job, places[job.id]))
    taken = []
    for placement in own:
        shop = picture.machines[placement.machine].report.shop
        for job, place in waiting.pop(placement.machine, []):
            if read_body(job.body).own_shop != shop and _before(place, placement):
                _take_back(c, mover, job, place, placement, now)
                taken.append(job.id)
    return taken


def note_own_work(c: sa.Connection, agent: str, event: m.OwnWork, now: datetime) -> None:
    """A step of a run that the owner queued in the shop: a line of the record, and nothing to permit."""
    body = {"run": event.run, "step": event.step.value}
    if event.expected_end is not None:
        body["expected_end"] = event.expected_end.isoformat()
    if event.failure is not None:
        body["failure"] = event.failure.value
    record(c, "own_work", now, agent=agent, machine=event.machine, body=body)


def _is_own(placement: Placement, picture: Picture) -> bool:
    job, machine = picture.jobs.get(placement.job), picture.machines.get(placement.machine)
    if job is None or machine is None or job.state is not JobState.WAITING:
        return False
    return read_body(job.body).own_shop == machine.report.shop


def _before(place: Place, placement: Placement) -> bool:
    return place.offer is None or place.offer.planned_start < placement.start


def _take_back(c: sa.Connection, mover: Mover, job: JobRow, place: Place, own: Placement, now: datetime) -> None:
    event = JobEvent.OFFER_WITHDRAWN if job.state is JobState.OFFERED else JobEvent.LEASE_WITHDRAWN
    mover.move(c, job, Happening(event, now, why=_WHY))
    begins = now if place.offer is None else max(now, place.offer.planned_start)
    through = begins + (own.finish - own.start)
    who = {"job": job.id, "agent": place.agent, "machine": place.machine_name}
    queries.remember_decline(c, **who, until=through, reasons=[_WHY])
