"""The agent's half of the lease protocol's model, by the product's own table and refusal of grants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from agents.contract import messages as m
from agents.inbox import Inbox
from agents.lease import LIVE, PUBLIC_STATE, LeaseEvent, LeaseState, step
from tests.faults.worlds import Agent, Event, Lease, put

_NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)


def say(a: Agent, *kinds: str, **more: Any) -> Agent:
    seq = a.last + 1
    return a._replace(journal=(*a.journal, Event(seq, kinds, **more)), last=seq)


def asked(a: Agent, *_: Any) -> Agent:
    held = tuple(
        (
            n,
            lease.fence,
            "starting" if lease.state is LeaseState.INTENDED and lease.permitted else PUBLIC_STATE[lease.state].value,
        )
        for n, lease in enumerate(a.leases)
        if lease is not None and lease.state in LIVE
    )
    return say(a, "holdings", held=held, highest=a.highest)


def withdrawn(a: Agent, job: int, fence: int) -> Agent:
    lease = a.leases[job]
    if lease is None or lease.fence != fence or step(lease.state, LeaseEvent.WITHDRAWN) is None:
        return a
    return a._replace(leases=put(a.leases, job, stepped(lease, LeaseEvent.WITHDRAWN)))


def acknowledged(a: Agent, upto: int, refused: frozenset[int], *, keep: bool) -> Agent:
    """As `Inbox._acknowledged`: what comes after is told again, what came before has its verdict.

    Told entries are forgotten here unless somebody may want them again (`keep`): the real ones are kept long.
    """
    leases = list(a.leases)
    for n, lease in enumerate(leases):
        if lease is None or lease.state is not LeaseState.INTENDED or lease.seq > upto or lease.permitted:
            continue
        verdict = lease.seq in refused
        leases[n] = stepped(lease, LeaseEvent.START_REFUSED) if verdict else lease._replace(permitted=True)
    left = tuple(event for event in a.journal if keep or event.seq > upto)
    return a._replace(leases=tuple(leases), journal=left, gate=0 if upto >= a.gate else a.gate)


def stepped(lease: Lease, event: LeaseEvent) -> Lease:
    """By the product's table."""
    outcome = step(lease.state, event)
    assert outcome is not None, (lease, event)
    return lease._replace(state=outcome[0])


def restarted(a: Agent) -> Agent:
    """kill -9, then what recover and the opening of the teller do."""
    for job, lease in enumerate(a.leases):
        if lease is not None and step(lease.state, LeaseEvent.AGENT_RESTARTED) is not None:
            over = stepped(lease, LeaseEvent.AGENT_RESTARTED)
            a = say(a, "failed", job=job, fence=lease.fence)._replace(leases=put(a.leases, job, over))
    a = asked(a)
    return a._replace(gate=a.last)


def why_not(a: Agent, job: int, fence: int, offer: int) -> str:
    """The product's own refusal of a grant, over what this agent holds."""
    lease = a.leases[job]
    held = None if lease is None else SimpleNamespace(state=lease.state, fence=lease.fence)
    spool = SimpleNamespace(
        lease=lambda name: None, lease_of_job=lambda name: held, flags=lambda name: SimpleNamespace(disabled="")
    )
    ticket = SimpleNamespace(job=str(job))
    decision = "claimed" if a.claimed[job] == offer else "granted"
    row: Any = SimpleNamespace(decision=decision, offer=SimpleNamespace(ticket=ticket, machine="m", attempt=1))
    grant = m.Grant(
        lease="l", offer="o", job=str(job), attempt=1, fence=fence, machine="m", start_by=_NOW + timedelta(hours=1)
    )
    envelope: Any = SimpleNamespace(sent=_NOW, expired=lambda now: False)
    inbox: Any = SimpleNamespace(_spool=spool, _machines=frozenset({"m"}))
    refuse: Callable[..., str] = Inbox._wrong_grant
    return refuse(inbox, grant, row, a.highest[job], envelope, _NOW)
