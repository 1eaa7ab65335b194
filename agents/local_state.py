"""What the local page shows: everything this agent knows of its machines, jobs and offers, as plain JSON values.

In: the running agent. Out: values to encode. Changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agents.agent import Agent
from agents.doubt import doubt_about
from agents.lease import LIVE, LeaseState
from agents.machine import Supervisor
from agents.restart import half_made
from agents.spool import Lease, Spool
from firmware_bridges.manual import ManualBridge, WorkCard

_FINISHED: Final = frozenset({LeaseState.FINISHED})


def shop_state(agent: Agent) -> dict[str, Any]:
    """Everything the local page shows."""
    return {
        "shop": agent.config.shop,
        "agent": agent.config.agent,
        "boot": agent.boot,
        "now": agent.clock.now().isoformat(),
        "broker": None if agent.line is None else {"connected": agent.line.is_up, "mqtt": agent.line.protocol},
        "untold_events": agent.spool.unacknowledged_count(),
        "policy_error": agent.policy_file.error,
        "machines": [_machine_state(agent, supervisor) for supervisor in agent.supervisors.values()],
        "offers": [
            {"offer": row.offer.offer, "expires": row.expires, **msgspec.to_builtins(row.offer.ticket)}
            | {"machine": row.offer.machine, "planned_start": row.offer.planned_start.isoformat()}
            | {"reasons": list(row.offer.reasons), "duration_s": row.offer.toolpath.duration_s}
            | {"expires": None if row.expires is None else row.expires.isoformat()}
            for row in agent.spool.offers_waiting()
        ],
    }


def _machine_state(agent: Agent, supervisor: Supervisor) -> dict[str, Any]:
    status = supervisor.bridge.status()
    told: dict[str, Any] = msgspec.to_builtins(agent.views.report(supervisor.name))
    # To the network, what the owner leaves alone with nobody counts as attended; here it has no work card for that.
    told["description"]["attended"] = supervisor.machine.description.attended
    leases = agent.spool.leases(supervisor.name) + agent.spool.leases(supervisor.name, _FINISHED)[-5:]
    interrupted = half_made(agent.spool.last_run(supervisor.name))
    if interrupted is not None and not agent.spool.flags(supervisor.name).bed_clear:
        leases += (interrupted,)
    card = supervisor.bridge.card() if isinstance(supervisor.bridge, ManualBridge) else None
    return {
        **told,
        "machine": supervisor.name,
        "bridge_state": status.state.value,
        "bed_clear": agent.spool.flags(supervisor.name).bed_clear,
        "disarmed": agent.spool.flags(supervisor.name).disarmed,
        "line": status.line,
        "total_lines": status.total_lines,
        "temperatures_c": [list(reading) for reading in status.temperatures_c],
        "present_s": round(agent.presence.left_s(supervisor.name), 1),
        "trouble": supervisor.trouble,
        "card": None if card is None else _card(card),
        "jobs": [_job(agent.spool, lease) for lease in leases],
    }


def _card(card: WorkCard) -> dict[str, Any]:
    return {"line": card.line, "step": card.step, "total_lines": card.total_lines, "asked": card.asked}


def _job(spool: Spool, lease: Lease) -> dict[str, Any]:
    return {
        "from_line": spool.restart_of(lease.lease),
        "job": lease.job,
        "fence": lease.fence,
        "state": lease.state.value,
        "doubt": doubt_about(spool, lease.lease) if lease.own and lease.state in LIVE else "",
        "own": lease.own,
        "title": lease.ticket.title,
        "pieces": lease.ticket.pieces,
        "contents": [msgspec.to_builtins(line) for line in lease.ticket.contents],
        "work_card": lease.ticket.work_card,
        "card_confirmed": lease.card,
        "last_line": lease.last_line,
        "why": lease.why,
        "material": msgspec.to_builtins(lease.ticket.material),
    }
