"""Machines and shops as they are shown: what their agents last said, how old that is, and who reserved them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from scheduler.dispatch import reservations
from scheduler.dispatch.picture import SeenMachine, seen_machines
from scheduler.store import queries


@dataclass(frozen=True, slots=True)
class ReservedView:
    """A stretch for which the machine is reserved; no pool work is offered into it."""

    id: str
    start: datetime
    end: datetime
    why: str


@dataclass(frozen=True, slots=True)
class MachineView:
    """One machine live. `stale` when its agent is not online: what is shown is its last word."""

    id: str
    shop: str
    ring: str
    name: str
    process: str
    model: str
    dialect: str
    state: str
    since: datetime
    why: str
    stale: bool
    heard_at: datetime
    job: str | None
    progress: float | None
    accepts_pool_work: bool
    attended: bool
    person_present: bool
    quarantine: str
    envelope_mm: tuple[float, float, float]
    materials: tuple[dict[str, Any], ...]
    shut_gates: tuple[dict[str, Any], ...]
    reserved: tuple[ReservedView, ...]
    maintenance: tuple[tuple[datetime, datetime], ...] = ()
    """When its owner has it down, as far ahead as the shop said."""
    attended_hours: tuple[tuple[datetime, datetime], ...] = ()
    """When somebody is there; empty where nobody said."""
    pool_hours: tuple[tuple[datetime, datetime], ...] = ()
    """When pool work may run; empty means at any time."""
    timezone: str = ""
    """The shop's zone by its IANA name; empty where its agent did not say."""


@dataclass(frozen=True, slots=True)
class ShopView:
    """One shop: its agents and machines."""

    shop: str
    online: bool
    agents: tuple[str, ...]
    machines: tuple[str, ...]
    heard_at: datetime


def machines_live(c: sa.Connection) -> tuple[MachineView, ...]:
    """Every machine as last reported, with how old that is."""
    kept: dict[str, list[ReservedView]] = {}
    for one in reservations.not_cancelled(c):
        kept.setdefault(one.key, []).append(ReservedView(one.id, one.start, one.end, one.why))
    return tuple(_machine_view(machine, tuple(kept.get(key, ()))) for key, machine in seen_machines(c).items())


def _machine_view(machine: SeenMachine, reserved: tuple[ReservedView, ...]) -> MachineView:
    report, description = machine.report, machine.report.description
    return MachineView(
        id=machine.key,
        shop=report.shop,
        ring=report.ring.value,
        name=description.name,
        process=description.process.value,
        model=description.model,
        dialect=description.dialect,
        state=report.state.value,
        since=report.since,
        why=report.why,
        stale=not machine.agent.online,
        heard_at=machine.row.heard_at,
        job=report.job,
        progress=report.progress,
        accepts_pool_work=report.accepts_pool_work,
        attended=description.attended,
        person_present=report.person_present,
        quarantine=machine.row.quarantine_why,
        envelope_mm=description.envelope_mm,
        materials=tuple(msgspec.to_builtins(material) for material in description.materials),
        shut_gates=tuple(msgspec.to_builtins(gate) for gate in report.gates if not gate.open),
        reserved=reserved,
        maintenance=report.maintenance,
        attended_hours=report.attended_windows,
        pool_hours=report.windows,
        timezone=report.timezone,
    )


def shops(c: sa.Connection) -> tuple[ShopView, ...]:
    """Every shop that was ever heard of."""
    agents = queries.agents(c)
    machines = queries.machines(c)
    return tuple(
        ShopView(
            shop=shop,
            online=any(agent.online for agent in agents if agent.shop == shop),
            agents=tuple(agent.agent for agent in agents if agent.shop == shop),
            machines=tuple(machine.key for machine in machines if machine.shop == shop),
            heard_at=max(agent.heard_at for agent in agents if agent.shop == shop),
        )
        for shop in sorted({agent.shop for agent in agents})
    )
