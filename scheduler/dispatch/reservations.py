"""Machines reserved by people for a stretch of time: who would be displaced is known before anybody says yes.

Work that runs is never displaced: it is named with its expected end. Work that was offered or leased and has not begun
goes elsewhere; planned work is planned around.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from agents.contract.vocabulary import LEASED_STATES, MOTION_STATES, JobState
from scheduler.dispatch.moves import Happening, Mover
from scheduler.dispatch.remaining import held_places
from scheduler.dispatch.states import JobEvent
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.store.dispatch_tables import reservations as table
from scheduler.store.record import record
from scheduler.store.rows import JobRow, MachineRow

#: Longer than any single job that makes sense in a shared shop; a machine away for weeks is switched off instead.
LONGEST: Final = timedelta(days=14)
FURTHEST: Final = timedelta(days=366)


class Effect(StrEnum):
    """What a reservation does to a job."""

    STAYS = "stays"
    """It runs already, and may run into the window."""
    TAKEN_BACK = "taken_back"
    """It was offered to the machine, or waits there, and goes elsewhere."""
    PLANNED_AROUND = "planned_around"
    """It had a place in the plan there, and gets another one."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """One job that the window touches: where it stood, and what becomes of it."""

    job: str
    order: str
    state: str
    effect: Effect
    start: datetime
    finish: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """One machine kept for `who` from `start` to `end`."""

    id: str
    agent: str
    machine: str
    start: datetime
    end: datetime
    who: str
    why: str
    made_at: datetime
    cancelled_at: datetime | None

    @property
    def key(self) -> str:
        """The machine's name in the whole network."""
        return f"{self.agent}.{self.machine}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to reserve."""

    agent: str
    machine: str
    start: datetime
    end: datetime
    who: str
    why: str = ""


def standing(c: sa.Connection, now: datetime) -> list[Reservation]:
    """Reservations that are not over and not cancelled, by start."""
    return _read(c, table.c.end > now, table.c.cancelled_at.is_(None))


def not_cancelled(c: sa.Connection, most: int = 1_000) -> list[Reservation]:
    """The newest reservations that were not cancelled, over or not, by start."""
    return _read(c, table.c.cancelled_at.is_(None), most=most)


def _read(c: sa.Connection, *where: sa.ColumnElement[bool], most: int | None = None) -> list[Reservation]:
    query = sa.select(table).where(*where).order_by(table.c.end.desc()).limit(most)
    found = [Reservation(**row) for row in c.execute(query).mappings()]
    return sorted(found, key=lambda one: (one.start, one.id))


def reserved_windows(c: sa.Connection, now: datetime) -> dict[str, tuple[tuple[datetime, datetime], ...]]:
    """(start, end) of what is reserved, by machine key: what no work is planned into."""
    found: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for reservation in standing(c, now):
        found[reservation.key].append((reservation.start, reservation.end))
    return {key: tuple(windows) for key, windows in found.items()}


def in_the_way(
    windows: Iterable[tuple[datetime, datetime]],
    start: datetime,
    finish: datetime,
    slack: timedelta = timedelta(),
) -> str:
    """Why a run should not begin at `start`; empty when no reservation forbids it.

    `slack`: so far into a window a run that begins before it may reach; estimates are no more exact than that.
    """
    for begin, end in windows:
        if start < end and (start >= begin or finish - slack > begin):
            return f"the machine is reserved from {begin:%d %b %H:%M UTC}"
    return ""


def displaced_by(c: sa.Connection, wish: Wish, now: datetime) -> tuple[Displaced, ...]:
    """Every job that stands in the window, in the order in which it would have been there."""
    machine = f"{wish.agent}.{wish.machine}"
    found = [*_held(c, machine, now), *_planned(c, machine)]
    touched = (one for one in found if one.start < wish.end and one.finish > wish.start)
    return tuple(sorted(touched, key=lambda one: (one.start, one.job)))


def reserve(
    c: sa.Connection, mover: Mover, wish: Wish, now: datetime, *, expected: Iterable[str] | None
) -> tuple[Reservation, tuple[Displaced, ...]]:
    """Reserve, and send away what has not begun. Raises Refused.

    `expected` names the jobs that the person was told would be touched; should others be touched meanwhile, nothing is
    done and the new list is told. None takes whatever comes.
    """
    check(c, wish, now)
    displaced = displaced_by(c, wish, now)
    fresh = {one.job for one in displaced} - set(expected) if expected is not None else set()
    if fresh:
        why = f"it would touch {', '.join(sorted(fresh))} as well, which was not known when you were asked"
        hint = "Look at the list of displaced jobs again, and confirm that one."
        raise Refused("displaces_others", "Nothing was reserved", why, hint, status=409)
    made = Reservation(
        f"r{secrets.token_hex(8)}", wish.agent, wish.machine, wish.start, wish.end, wish.who, wish.why, now, None
    )
    c.execute(sa.insert(table).values(**_values(made)))
    body = {"reservation": made.id, "start": made.start.isoformat(), "end": made.end.isoformat()}
    names = [one.job for one in displaced]
    record(c, "machine_reserved", now, agent=wish.agent, machine=wish.machine, body={**body, "displaced": names})
    for one in displaced:
        if one.effect is Effect.TAKEN_BACK:
            _take_back(c, mover, one.job, now, f"the machine is reserved from {wish.start:%d %b %H:%M UTC}")
    return made, displaced


def cancel(c: sa.Connection, reservation: str, now: datetime) -> Reservation:
    """Give the window back. Cancelling twice is once. Raises Refused (404)."""
    row = c.execute(sa.select(table).where(table.c.id == reservation)).mappings().first()
    if row is None:
        why = f"there is no reservation {reservation[:64]}"
        raise Refused("unknown_reservation", "Nothing was done", why, status=404)
    if row["cancelled_at"] is None:
        c.execute(sa.update(table).where(table.c.id == reservation).values(cancelled_at=now))
        body = {"reservation": reservation}
        record(c, "reservation_cancelled", now, agent=row["agent"], machine=row["machine"], body=body)
        return Reservation(**{**row, "cancelled_at": now})
    return Reservation(**row)


def the_machine(c: sa.Connection, agent: str, machine: str) -> MachineRow:
    """The machine. Raises Refused (404)."""
    row = queries.machine(c, agent, machine)
    if row is None:
        why = f"there is no machine {agent}.{machine}"[:300]
        raise Refused("unknown_machine", "Nothing was done", why, status=404)
    return row


def check(c: sa.Connection, wish: Wish, now: datetime) -> None:
    """Whether it could be reserved, whomever it displaces. Raises Refused."""
    the_machine(c, wish.agent, wish.machine)
    what = "Nothing was reserved"
    if wish.end <= wish.start or wish.end <= now:
        why = f"the window from {wish.start.isoformat()} to {wish.end.isoformat()} is empty or over"
        raise Refused("bad_window", what, why, "Give an end after the start, in the future.")
    if wish.end - wish.start > LONGEST or wish.start - now > FURTHEST:
        why = f"a machine can be reserved for {LONGEST.days} days at most, and {FURTHEST.days} days ahead"
        raise Refused("bad_window", what, why, "Reserve a shorter window, or switch the machine off for the pool.")
    for other in standing(c, now):
        if (other.agent, other.machine) == (wish.agent, wish.machine) and _meet(other, wish):
            why = f"{other.who or 'somebody'} has it from {other.start:%d %b %H:%M} to {other.end:%d %b %H:%M UTC}"
            raise Refused("reserved_already", what, why, "Take another window, or ask them.", status=409)


def _meet(one: Reservation, other: Wish) -> bool:
    return one.start < other.end and other.start < one.end


def _held(c: sa.Connection, machine: str, now: datetime) -> list[Displaced]:
    """Jobs offered to the machine, leased or running there."""
    jobs = {job.id: job for job in queries.jobs(c, states=[JobState.OFFERED, *LEASED_STATES])}
    found = []
    for job_id, place in held_places(c).items():
        job = jobs.get(job_id)
        if job is None or place.machine != machine:
            continue
        if job.state in MOTION_STATES:
            start, finish, effect = job.started_at or job.since, place.finish(job, now), Effect.STAYS
        else:
            start = max(now, place.offer.planned_start if place.offer else now)
            length = timedelta(seconds=place.toolpath.duration_s if place.toolpath else 1.0)
            finish, effect = start + length, Effect.TAKEN_BACK
        found.append(Displaced(job.id, job.order, job.state.value, effect, start, finish))
    return found


def _planned(c: sa.Connection, machine: str) -> list[Displaced]:
    """Waiting jobs that the newest plan places there."""
    return [
        Displaced(job.id, job.order, job.state.value, Effect.PLANNED_AROUND, *stretch)
        for job in queries.jobs(c, states=[JobState.WAITING])
        if job.placement is not None and job.placement["machine"] == machine
        for stretch in [_stretch(job)]
    ]


def _stretch(job: JobRow) -> tuple[datetime, datetime]:
    placement: dict[str, Any] = job.placement or {}
    return datetime.fromisoformat(placement["start"]), datetime.fromisoformat(placement["finish"])


def _take_back(c: sa.Connection, mover: Mover, job_id: str, now: datetime, why: str) -> None:
    job = queries.job(c, job_id)
    if job is not None:
        event = JobEvent.OFFER_WITHDRAWN if job.state is JobState.OFFERED else JobEvent.LEASE_WITHDRAWN
        mover.move(c, job, Happening(event, now, why=why))


def _values(made: Reservation) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Reservation.__dataclass_fields__}
