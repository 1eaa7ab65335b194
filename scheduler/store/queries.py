"""Every question the scheduler asks its database, by name. Each takes the connection of a read or of a write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from agents.contract.vocabulary import CLOSED_STATES, MOTION_STATES, JobState
from scheduler.store import tables as t
from scheduler.store.content_tables import job_pieces
from scheduler.store.rows import (
    AgentRow,
    EventRow,
    JobRow,
    LeaseRow,
    MachineRow,
    OfferRow,
    OrderRow,
    RecipeRow,
    ToolpathRow,
)

_Row = TypeVar("_Row")


class StaleVersion(RuntimeError):
    """The row changed since it was read: somebody else writes to this database."""


def _one(kind: type[_Row], result: sa.CursorResult[Any]) -> _Row | None:
    return next(iter(typed_rows(kind, result)), None)


def typed_rows(kind: type[_Row], result: sa.CursorResult[Any]) -> list[_Row]:
    """All rows of a result; its columns are named as the fields are. The names are looked up once, not for each row."""
    names = tuple(result.keys())
    return [kind(**dict(zip(names, row, strict=True))) for row in result]


def _jobs(result: sa.CursorResult[Any]) -> list[JobRow]:
    names = tuple(result.keys())
    found = []
    for row in result:
        values = dict(zip(names, row, strict=True))
        values["state"] = JobState(values["state"])
        found.append(JobRow(**values))
    return found


# The questions asked most are made once: to make a statement anew at every call costs as much as to run it.
_JOB: Final = sa.select(t.jobs).where(t.jobs.c.id == sa.bindparam("which"))
_UPDATE_JOB: Final = sa.update(t.jobs).where(
    t.jobs.c.id == sa.bindparam("which"), t.jobs.c.version == sa.bindparam("as_read")
)
_OPEN_OFFER: Final = sa.select(t.offers).where(t.offers.c.job == sa.bindparam("which"), t.offers.c.closed_at.is_(None))
_LIVE_LEASE: Final = sa.select(t.leases).where(t.leases.c.job == sa.bindparam("which"), t.leases.c.ended_at.is_(None))
_PAST_DEADLINE: Final = sa.select(t.jobs.c.id).where(t.jobs.c.deadline <= sa.bindparam("now")).limit(1)


# --- jobs -------------------------------------------------------------------------------------------------------------


def job(c: sa.Connection, job_id: str) -> JobRow | None:
    """One job."""
    return next(iter(_jobs(c.execute(_JOB, {"which": job_id}))), None)


def jobs(
    c: sa.Connection,
    *,
    states: Iterable[JobState] | None = None,
    order: str | None = None,
    ids: Sequence[str] | None = None,
) -> list[JobRow]:
    """Jobs, oldest first; with `order` those on which pieces of it lie."""
    query = sa.select(t.jobs).order_by(t.jobs.c.created_at, t.jobs.c.id)
    if states is not None:
        query = query.where(t.jobs.c.state.in_([state.value for state in states]))
    if order is not None:
        lying = sa.select(job_pieces.c.job).where(job_pieces.c.order == order)
        query = query.where(t.jobs.c.id.in_(lying))
    if ids is not None:
        query = query.where(t.jobs.c.id.in_(ids))
    return _jobs(c.execute(query))


def open_jobs(c: sa.Connection) -> list[JobRow]:
    """Jobs that may still need something from anybody."""
    return jobs(c, states=[state for state in JobState if state not in CLOSED_STATES])


def jobs_past_deadline(c: sa.Connection, now: datetime, states: Iterable[JobState], most: int) -> list[JobRow]:
    """Jobs in one of these transitional states for too long, the longest first; `most` of them."""
    held = t.jobs.c.state.in_([state.value for state in states])
    query = sa.select(t.jobs).where(t.jobs.c.deadline <= now, held).order_by(t.jobs.c.deadline).limit(most)
    return _jobs(c.execute(query))


def offered_until_after(c: sa.Connection, moment: datetime, most: int) -> list[JobRow]:
    """Offered jobs whose offer stands for longer than to this moment; `most` of them."""
    where = (t.jobs.c.state == JobState.OFFERED.value, t.jobs.c.deadline > moment)
    return _jobs(c.execute(sa.select(t.jobs).where(*where).limit(most)))


def any_past_deadline(c: sa.Connection, now: datetime) -> bool:
    """Whether any job is in a transitional state for too long."""
    return c.execute(_PAST_DEADLINE, {"now": now}).first() is not None


def next_deadline(c: sa.Connection) -> datetime | None:
    """When the next deadline or wait ends."""
    moments = [
        c.execute(sa.select(sa.func.min(column)).where(t.jobs.c.state.in_(states))).scalar()
        for column, states in (
            (t.jobs.c.deadline, [state.value for state in JobState if state not in CLOSED_STATES]),
            (t.jobs.c.not_before, [JobState.WAITING.value]),
        )
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def update_job(c: sa.Connection, row: JobRow, values: Mapping[str, Any]) -> None:
    """Compare-and-set: raises StaleVersion unless the job is as `row` says. Job state is written through here only."""
    own = {"which": row.id, "as_read": row.version}
    result = c.execute(_UPDATE_JOB, {**values, "version": row.version + 1, **own})
    if result.rowcount != 1:
        raise StaleVersion(f"job {row.id} is no longer at version {row.version}")


def raise_fence(c: sa.Connection, row: JobRow, fence: int, why: str) -> None:
    """Somebody has seen a higher fence than we gave: never give that one again, and flag the job for a person."""
    update_job(c, row, {"fence": max(row.fence, fence), "flag": why})


def failures_of(c: sa.Connection, job_id: str, failure: str) -> int:
    """How many attempts of the job ended by this failure class."""
    rows = c.execute(sa.select(t.events.c.body).where(t.events.c.job == job_id, t.events.c.to_state == "failed"))
    return sum(1 for (body,) in rows if body.get("failure") == failure)


def count_jobs(c: sa.Connection) -> dict[str, int]:
    """How many jobs are in each state."""
    query = sa.select(t.jobs.c.state, sa.func.count()).group_by(t.jobs.c.state)
    return {row.state: row[1] for row in c.execute(query)}


# --- offers, leases, declines -----------------------------------------------------------------------------------------


def open_offer(c: sa.Connection, job_id: str) -> OfferRow | None:
    """The job's open offer."""
    return _one(OfferRow, c.execute(_OPEN_OFFER, {"which": job_id}))


def offer(c: sa.Connection, offer_id: str) -> OfferRow | None:
    """One offer, open or closed."""
    return _one(OfferRow, c.execute(sa.select(t.offers).where(t.offers.c.id == offer_id)))


def offers(c: sa.Connection, ids: Sequence[str]) -> dict[str, OfferRow]:
    """Offers by id, open or closed."""
    query = sa.select(t.offers).where(t.offers.c.id.in_(ids))
    return {row.id: row for row in typed_rows(OfferRow, c.execute(query))}


def open_offers(c: sa.Connection, agents: Iterable[str] | None = None) -> list[OfferRow]:
    """All open offers, or those to some agents."""
    query = sa.select(t.offers).where(t.offers.c.closed_at.is_(None))
    return typed_rows(OfferRow, c.execute(query if agents is None else query.where(t.offers.c.agent.in_(list(agents)))))


def agents_at_work(c: sa.Connection) -> list[str]:
    """Agents that have an open offer or a live lease, by name."""
    held = sa.select(t.leases.c.agent).where(t.leases.c.ended_at.is_(None))
    asked = sa.select(t.offers.c.agent).where(t.offers.c.closed_at.is_(None))
    return sorted(agent for (agent,) in c.execute(held.union(asked)))


def _not_begun() -> sa.Select[str, str, int]:
    begun = [state.value for state in MOTION_STATES]
    held = sa.select(t.leases.c.agent, t.leases.c.machine).join(t.jobs, t.jobs.c.id == t.leases.c.job)
    rows = sa.union_all(
        held.where(t.leases.c.ended_at.is_(None), t.jobs.c.state.not_in(begun)),
        sa.select(t.offers.c.agent, t.offers.c.machine).where(t.offers.c.closed_at.is_(None)),
    ).subquery()
    return sa.select(rows.c.agent, rows.c.machine, sa.func.count()).group_by(rows.c.agent, rows.c.machine)


_NOT_BEGUN: Final = _not_begun()


def not_begun(c: sa.Connection) -> dict[str, int]:
    """Offers that stand and leases whose job has not begun, counted by machine key."""
    return {f"{agent}.{machine}": number for agent, machine, number in c.execute(_NOT_BEGUN)}


def present_term() -> sa.ScalarSelect[int | None]:
    """The newest term, as part of a statement."""
    return sa.select(sa.func.max(t.schedulers.c.term)).scalar_subquery()


def live_lease(c: sa.Connection, job_id: str) -> LeaseRow | None:
    """The job's live lease: at most one, by index."""
    return _one(LeaseRow, c.execute(_LIVE_LEASE, {"which": job_id}))


def live_leases(c: sa.Connection, agents: Iterable[str] | None = None) -> list[LeaseRow]:
    """All live leases, or those of some agents."""
    query = sa.select(t.leases).where(t.leases.c.ended_at.is_(None))
    return typed_rows(LeaseRow, c.execute(query if agents is None else query.where(t.leases.c.agent.in_(list(agents)))))


def lease(c: sa.Connection, lease_id: str) -> LeaseRow | None:
    """One lease, live or ended."""
    return _one(LeaseRow, c.execute(sa.select(t.leases).where(t.leases.c.id == lease_id)))


def lease_under(c: sa.Connection, job_id: str, fence: int) -> LeaseRow | None:
    """The lease a job had under a fence."""
    return _one(LeaseRow, c.execute(sa.select(t.leases).where(t.leases.c.job == job_id, t.leases.c.fence == fence)))


def declines_in_force(c: sa.Connection, now: datetime) -> list[tuple[str, str, datetime, list[str]]]:
    """(job, machine key, until, reasons) of declines still standing."""
    query = sa.select(t.declines).where(t.declines.c.until > now)
    return [
        (row["job"], f"{row['agent']}.{row['machine']}", row["until"], row["reasons"])
        for row in c.execute(query).mappings()
    ]


def remember_decline(
    c: sa.Connection, *, job: str, agent: str, machine: str, until: datetime, reasons: Sequence[str]
) -> None:
    """Not to ask this machine for this job again before `until`."""
    key = (t.declines.c.job == job, t.declines.c.agent == agent, t.declines.c.machine == machine)
    c.execute(sa.delete(t.declines).where(*key))
    c.execute(sa.insert(t.declines).values(job=job, agent=agent, machine=machine, until=until, reasons=list(reasons)))


# --- agents and machines ----------------------------------------------------------------------------------------------


def agent(c: sa.Connection, agent_id: str) -> AgentRow | None:
    """One agent."""
    return _one(AgentRow, c.execute(sa.select(t.agents).where(t.agents.c.id == agent_id)))


def agents(c: sa.Connection, ids: Iterable[str] | None = None) -> list[AgentRow]:
    """All agents ever heard of, or those named."""
    query = sa.select(t.agents).order_by(t.agents.c.id)
    return typed_rows(AgentRow, c.execute(query if ids is None else query.where(t.agents.c.id.in_(list(ids)))))


def machine(c: sa.Connection, agent_id: str, machine_id: str) -> MachineRow | None:
    """One machine."""
    query = sa.select(t.machines).where(t.machines.c.agent == agent_id, t.machines.c.machine == machine_id)
    return _one(MachineRow, c.execute(query))


def machines(c: sa.Connection, *, agents: Iterable[str] | None = None) -> list[MachineRow]:
    """All machines ever reported, or those of some agents."""
    query = sa.select(t.machines).order_by(t.machines.c.agent, t.machines.c.machine)
    if agents is not None:
        query = query.where(t.machines.c.agent.in_(sorted(set(agents))))
    return typed_rows(MachineRow, c.execute(query))


def update_machine(c: sa.Connection, agent_id: str, machine_id: str, values: Mapping[str, Any]) -> None:
    """Change what we keep about a machine beside its own report."""
    where = (t.machines.c.agent == agent_id, t.machines.c.machine == machine_id)
    c.execute(sa.update(t.machines).where(*where).values(**values))


# --- toolpaths --------------------------------------------------------------------------------------------------------


def toolpath(c: sa.Connection, sha256: str) -> ToolpathRow | None:
    """One toolpath's record."""
    return _one(ToolpathRow, c.execute(sa.select(t.toolpaths).where(t.toolpaths.c.sha256 == sha256)))


def recipe(c: sa.Connection, key: str) -> RecipeRow | None:
    """One recipe."""
    return _one(RecipeRow, c.execute(sa.select(t.recipes).where(t.recipes.c.key == key)))


def recipes(c: sa.Connection, keys: Sequence[str]) -> dict[str, RecipeRow]:
    """Recipes by key."""
    return {
        row.key: row for row in typed_rows(RecipeRow, c.execute(sa.select(t.recipes).where(t.recipes.c.key.in_(keys))))
    }


def toolpaths(c: sa.Connection, hashes: Sequence[str]) -> dict[str, ToolpathRow]:
    """Toolpath records by hash."""
    query = sa.select(t.toolpaths).where(t.toolpaths.c.sha256.in_(hashes))
    return {row.sha256: row for row in typed_rows(ToolpathRow, c.execute(query))}


def quarantined_files(c: sa.Connection, threshold: int) -> set[str]:
    """File keys that failed on at least `threshold` distinct machines and were not forgiven since."""
    query = (
        sa.select(t.file_faults.c.file_key)
        .where(t.file_faults.c.forgiven_at.is_(None))
        .group_by(t.file_faults.c.file_key)
        .having(sa.func.count() >= threshold)
    )
    return {key for (key,) in c.execute(query)}


# --- orders -----------------------------------------------------------------------------------------------------------


def order(c: sa.Connection, order_id: str) -> OrderRow | None:
    """One order."""
    return _one(OrderRow, c.execute(sa.select(t.orders).where(t.orders.c.id == order_id)))


def order_by_key(c: sa.Connection, key: str) -> OrderRow | None:
    """The order an idempotency key made."""
    return _one(OrderRow, c.execute(sa.select(t.orders).where(t.orders.c.idempotency_key == key)))


def orders(c: sa.Connection, *, states: Iterable[str] | None = None, limit: int | None = None) -> list[OrderRow]:
    """Orders, newest first."""
    query = sa.select(t.orders).order_by(t.orders.c.created_at.desc(), t.orders.c.id)
    if states is not None:
        query = query.where(t.orders.c.state.in_(list(states)))
    return typed_rows(OrderRow, c.execute(query if limit is None else query.limit(limit)))


def order_parts(c: sa.Connection, order_id: str) -> list[dict[str, Any]]:
    """The order's parts as plain values."""
    query = sa.select(t.order_parts).where(t.order_parts.c.order == order_id).order_by(t.order_parts.c.part)
    return [dict(row) for row in c.execute(query).mappings()]


def order_steps(c: sa.Connection, order_id: str) -> list[dict[str, Any]]:
    """The order's assembly steps, in order."""
    query = sa.select(t.order_steps).where(t.order_steps.c.order == order_id).order_by(t.order_steps.c.position)
    return [dict(row) for row in c.execute(query).mappings()]


# --- the record -------------------------------------------------------------------------------------------------------


def events(
    c: sa.Connection, *, after: int = 0, job: str | None = None, order: str | None = None, limit: int = 500
) -> list[EventRow]:
    """Lines of the record after one, oldest first."""
    query = sa.select(t.events).where(t.events.c.id > after).order_by(t.events.c.id).limit(limit)
    if job is not None:
        query = query.where(t.events.c.job == job)
    if order is not None:
        query = query.where(t.events.c.order == order)
    return typed_rows(EventRow, c.execute(query))


def last_event(c: sa.Connection) -> int:
    """The newest line's id; 0 for an empty record."""
    return c.execute(sa.select(sa.func.max(t.events.c.id))).scalar() or 0


def last_plan(c: sa.Connection) -> tuple[datetime, dict[str, Any]] | None:
    """When the newest plan was made, and the plan."""
    row = c.execute(sa.select(t.plans.c.at, t.plans.c.body).order_by(t.plans.c.id.desc()).limit(1)).first()
    return None if row is None else (row[0], row[1])
