"""Machines that the shop's file names no more. Their leases end at the agent's start, and the broker's kept reports of
them are taken back: the network would hold jobs for machines, and offer them more, that nobody can ask any more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from agents.channels import tell_granters
from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass
from agents.journal import Detail, told
from agents.lease import WAITING, Action, LeaseEvent, step
from agents.own_jobs import told_own
from agents.spool import Lease, Spool

_WHY: Final = "the machine was taken out of its shop's file"


def close_leases(spool: Spool, machines: Collection[str], now: datetime) -> None:
    """End what is held on machines other than `machines`: given up where nothing began, failed where something may
    have. Should such a machine come back, a person looks at it first."""
    with spool.transaction():
        for lease in spool.leases():
            if lease.machine not in machines:
                _close(spool, lease, now)


def _close(spool: Spool, lease: Lease, now: datetime) -> None:
    event = LeaseEvent.GIVEN_UP if lease.state in WAITING else LeaseEvent.AGENT_RESTARTED
    outcome = step(lease.state, event)
    if outcome is None:
        return
    state, actions = outcome
    detail = Detail(why=_WHY, failure=FailureClass.AGENT_RESTARTED)
    for action in actions:
        if action is Action.DISARM:
            spool.put_flags(lease.machine, replace(spool.flags(lease.machine), bed_clear=False, disarmed=_WHY))
        body: m.JournalBody | None
        body = told_own(action, lease, detail.failure, now) if lease.own else told(action, lease, detail, now)
        if body is not None:
            tell_granters(spool, lease, body, now)
    spool.put_lease(replace(lease, state=state, why=_WHY, ended=now))


def note_machines(spool: Spool, machines: Collection[str]) -> tuple[str, ...]:
    """Remember that these were here; names of those that were here before, and are no more."""
    known = {str(row[0]) for row in spool.rows("SELECT machine FROM machines")}
    with spool.transaction():
        for fresh in sorted(set(machines) - known):
            spool.put_flags(fresh, spool.flags(fresh))
    return tuple(sorted(known - set(machines)))
