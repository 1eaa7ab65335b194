"""Presence and machine reports: the newest word of each, and a line in the record when a state changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import MachineState
from scheduler.dispatch.lending import note_home
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import record

REMOVED: Final = "its shop's file names it no more"


def know_agents(c: sa.Connection, agents: set[str], now: datetime) -> None:
    """Make sure there is a row for every agent that spoke, and note that it did."""
    known = {agent for (agent,) in c.execute(sa.select(t.agents.c.id).where(t.agents.c.id.in_(sorted(agents))))}
    fresh = [_new_agent(agent, now) for agent in sorted(agents - known)]
    if fresh:
        c.execute(sa.insert(t.agents), fresh)
    if known:
        c.execute(sa.update(t.agents).where(t.agents.c.id.in_(sorted(known))).values(heard_at=now))


class Arrival(Enum):
    """What an agent's presence says that was not known."""

    NOTHING = "nothing"
    CAME = "came"
    """Or came back, as a new process."""
    WENT = "went"


def presence(c: sa.Connection, agent_id: str, said: m.AgentPresence, now: datetime) -> Arrival:
    """Take an agent's presence (or its will's).

    The end of a process that another one has followed is history: its will may come late, or a second time.
    """
    before = queries.agent(c, agent_id)
    if not said.online and before is not None and before.online and before.boot != said.boot:
        return Arrival.NOTHING
    values: dict[str, Any] = {"online": said.online}
    if said.online:
        values |= {"boot": said.boot, "program": said.version, "http": said.http}
    c.execute(sa.update(t.agents).where(t.agents.c.id == agent_id).values(**values))
    note_home(c, agent_id, said)
    if before is not None and before.online == said.online and (not said.online or before.boot == said.boot):
        return Arrival.NOTHING
    record(c, "agent_online" if said.online else "agent_offline", now, agent=agent_id, body={"boot": said.boot})
    return Arrival.CAME if said.online else Arrival.WENT


def machine_reports(c: sa.Connection, reports: Mapping[tuple[str, str], m.MachineReport], now: datetime) -> bool:
    """Take the newest report of each machine. Returns whether any state, description or permission changed."""
    if not reports:
        return False
    agents = sorted({agent for agent, _ in reports})
    columns = (t.machines.c.agent, t.machines.c.machine, t.machines.c.state, t.machines.c.report)
    known = {
        (agent, machine): (state, body)
        for agent, machine, state, body in c.execute(sa.select(*columns).where(t.machines.c.agent.in_(agents)))
    }
    new_rows, updates, changed = [], [], False
    for (agent, machine), report in reports.items():
        before = known.get((agent, machine))
        report = _remembering(report, None if before is None else before[1])
        values = _machine_values(agent, machine, report, now)
        differs = before is None or _matters(before[1]) != _matters(values["report"])
        changed = changed or differs
        if before is None:
            new_rows.append({**values, "faults_in_a_row": 0, "quarantine_why": "", "changed_at": now})
        else:
            updates.append({f"new_{key}": value for key, value in values.items()})
        if before is None or before[0] != report.state:
            body = {"state": report.state.value, "why": report.why, "from": None if before is None else before[0]}
            record(c, "machine_state", now, agent=agent, machine=machine, job=report.job, body=body)
    if new_rows:
        c.execute(sa.insert(t.machines), new_rows)
    if updates:
        c.execute(_UPDATE, updates)
    return changed


def machines_removed(c: sa.Connection, removed: Collection[tuple[str, str]], now: datetime) -> bool:
    """Their shops have these machines no more: they are offline until they are reported again. Whether that is news."""
    found = [queries.machine(c, agent, machine) for agent, machine in sorted(removed)]
    told = [(row.agent, row.machine, msgspec.convert(row.report, m.MachineReport)) for row in found if row is not None]
    gone = {
        (agent, machine): msgspec.structs.replace(
            report, state=MachineState.OFFLINE, why=REMOVED, since=now, accepts_pool_work=False, job=None, progress=None
        )
        for agent, machine, report in told
        if report.why != REMOVED
    }
    return machine_reports(c, gone, now)


def _remembering(report: m.MachineReport, before: dict[str, Any] | None) -> m.MachineReport:
    """A machine that has not answered since its agent's start keeps the limits that it told before.

    Without them every toolpath would be made anew, for limits nobody believes.
    """
    if report.description.limits or before is None:
        return report
    known = msgspec.convert(before["description"].get("limits", []), tuple[tuple[str, str], ...])
    return msgspec.structs.replace(report, description=msgspec.structs.replace(report.description, limits=known))


def _machine_values(agent: str, machine: str, report: m.MachineReport, now: datetime) -> dict[str, Any]:
    return {
        "agent": agent,
        "machine": machine,
        "shop": report.shop,
        "process": report.description.process.value,
        "model": report.description.model,
        "state": report.state.value,
        "heard_at": now,
        "report": msgspec.to_builtins(report),
    }


_UPDATE = (
    sa.update(t.machines)
    .where(t.machines.c.agent == sa.bindparam("new_agent"), t.machines.c.machine == sa.bindparam("new_machine"))
    .values(
        {
            column: sa.bindparam(f"new_{column.name}")
            for column in t.machines.c
            if column.name in {"shop", "process", "model", "state", "heard_at", "report"}
        }
    )
)


def _matters(report: dict[str, Any]) -> dict[str, Any]:
    """What a plan depends on; progress and times do not make a new plan."""
    return {key: value for key, value in report.items() if key not in {"progress", "since", "gates", "why"}}


def _new_agent(agent: str, now: datetime) -> dict[str, Any]:
    shop, _, name = agent.partition(".")
    return {
        "id": agent,
        "shop": shop,
        "agent": name,
        "online": False,
        "boot": "",
        "program": "",
        "http": "",
        "heard_at": now,
        "cursor": 0,
        "holdings_term": 0,
    }
