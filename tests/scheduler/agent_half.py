"""The agent's half of the contract as it is stated, without machines: what survives a death is in its spool."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agents.contract import decode, encode, wrap
from agents.contract import messages as m
from agents.contract.topics import INBOX, JOURNAL, MACHINE, PRESENCE
from agents.contract.vocabulary import FailureClass, MachineState, Process, Ring


@dataclass
class HeldJob:
    """What an agent knows of one lease."""

    job: str
    lease: str
    fence: int
    machine: str
    sha256: str
    state: str = "leased"
    intent_seq: int = 0
    pieces: int = 1


@dataclass
class Spool:
    """What survives an agent's death."""

    seq: int = 0
    acked: int = 0
    journal: list[tuple[int, bytes]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    offers: dict[str, m.Offer] = field(default_factory=dict)
    held: dict[str, HeldJob] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


class Agent:
    """The agent's half of the protocol, without machines: what it would do to one is written in `started`."""

    def __init__(self, shop: str, name: str, machines: tuple[str, ...], process: Process = Process.FDM) -> None:
        self.shop, self.name, self.machines, self.process = shop, name, machines, process
        self.id = f"{shop}.{name}"
        self.spool = Spool()
        self.boot = uuid.uuid4().hex
        self.starts: list[tuple[str, int]] = []
        """(job, fence) of every start that was permitted."""
        self.declines: str = ""

    def journal_topic(self) -> str:
        return JOURNAL.of(shop=self.shop, agent=self.name)

    def inbox_topic(self) -> str:
        return INBOX.of(shop=self.shop, agent=self.name)

    def presence(self, now: datetime, *, online: bool = True) -> tuple[str, bytes]:
        body = m.AgentPresence(shop=self.shop, agent=self.name, online=online, boot=self.boot)
        return PRESENCE.of(shop=self.shop, agent=self.name), self._wrap(body, now)

    def report(
        self, machine: str, now: datetime, state: MachineState = MachineState.IDLE, **more: Any
    ) -> tuple[str, bytes]:
        material = m.LoadedMaterial(material="PLA") if self.process is Process.FDM else m.LoadedMaterial(material="MDF")
        body = m.MachineReport(
            shop=self.shop,
            agent=self.name,
            ring=Ring.NEIGHBOURHOOD,
            description=m.MachineDescription(
                machine=machine,
                name=machine,
                process=self.process,
                dialect="marlin" if self.process is Process.FDM else "grbl",
                model="plain",
                envelope_mm=(200, 200, 200),
                materials=(material,),
            ),
            state=state,
            since=now,
            **more,
        )
        return MACHINE.of(shop=self.shop, agent=self.name, machine=machine), self._wrap(body, now)

    def say(self, body: Any, now: datetime) -> int:
        """Write in the journal; it is sent when somebody asks for `unacked`."""
        self.spool.seq += 1
        self.spool.journal.append((self.spool.seq, self._wrap(body, now, self.spool.seq)))
        return self.spool.seq

    def unacked(self) -> list[tuple[str, bytes]]:
        return [(self.journal_topic(), payload) for seq, payload in self.spool.journal if seq > self.spool.acked]

    def restart(self, now: datetime) -> None:
        """Die and come back: what was moving has failed; say so, then say what is held."""
        self.boot = uuid.uuid4().hex
        for held in list(self.spool.held.values()):
            if held.state in ("starting", "running"):
                self.fail(held.job, now, FailureClass.AGENT_RESTARTED)
        self.holdings(now)

    def holdings(self, now: datetime) -> None:
        jobs = tuple(
            m.Holding(job=held.job, fence=held.fence, machine=held.machine, state=held.state, lease=held.lease)
            for held in self.spool.held.values()
        )
        unacked = min((seq for seq, _ in self.spool.journal if seq > self.spool.acked), default=self.spool.seq + 1)
        self.say(
            m.Holdings(boot=self.boot, jobs=jobs, highest_fences=dict(self.spool.fences), unacked_from=unacked), now
        )

    def hear(self, payload: bytes, now: datetime) -> None:
        """One message from the inbox; each id once, expired ones never."""
        envelope = decode(payload)
        if not isinstance(envelope.body, m.JournalAck) and (envelope.id in self.spool.seen or envelope.expired(now)):
            return
        self.spool.seen.add(envelope.id)
        handler = getattr(self, f"_on_{type(envelope.body).__name__.lower()}")
        handler(envelope.body, now)

    def _on_offer(self, offer: m.Offer, now: datetime) -> None:
        self.spool.offers[offer.offer] = offer
        if self.declines:
            self.say(
                m.Declined(offer=offer.offer, job=offer.ticket.job, machine=offer.machine, reasons=(self.declines,)),
                now,
            )
        else:
            self.say(m.Claimed(offer=offer.offer, job=offer.ticket.job, machine=offer.machine), now)

    def _on_grant(self, grant: m.Grant, now: datetime) -> None:
        if grant.fence <= self.spool.fences.get(grant.job, 0):
            same = self.spool.held.get(grant.job)
            if same is None or same.fence != grant.fence:
                why = "a higher fence was seen"
                self.say(m.GrantRefused(job=grant.job, lease=grant.lease, fence=grant.fence, why=why), now)
            return
        self.spool.fences[grant.job] = grant.fence
        offer = self.spool.offers[grant.offer]
        sha256 = offer.toolpath.sha256
        held = HeldJob(grant.job, grant.lease, grant.fence, grant.machine, sha256, pieces=offer.ticket.pieces)
        self.spool.held[grant.job] = held

    def _on_withdrawal(self, withdrawal: m.Withdrawal, now: datetime) -> None:
        held = self.spool.held.get(withdrawal.job)
        if held is not None and held.fence == withdrawal.fence and held.state not in ("starting", "running"):
            del self.spool.held[withdrawal.job]

    def _on_cancelrequest(self, request: m.CancelRequest, now: datetime) -> None:
        held = self.spool.held.get(request.job)
        if held is not None and held.fence == request.fence:
            del self.spool.held[request.job]
            body = m.CancelConfirmed(job=held.job, fence=held.fence, machine=held.machine, last_line=1, why=request.why)
            self.say(body, now)

    def _on_pauserequest(self, request: m.PauseRequest, now: datetime) -> None:
        """Holding is the machine's business."""

    def _on_reconcilerequest(self, request: m.ReconcileRequest, now: datetime) -> None:
        self.holdings(now)

    def _on_journalack(self, ack: m.JournalAck, now: datetime) -> None:
        self.spool.acked = max(self.spool.acked, ack.upto)
        self.spool.seq = max(self.spool.seq, ack.upto)
        self.spool.refused |= {event.seq: event.why for event in ack.refused}
        for held in list(self.spool.held.values()):
            if held.state != "intended" or held.intent_seq > ack.upto:
                continue
            if held.intent_seq in self.spool.refused:
                del self.spool.held[held.job]
            else:
                held.state = "starting"
                self.starts.append((held.job, held.fence))

    def stage(self, job: str, now: datetime) -> None:
        held = self.spool.held[job]
        held.state = "staged"
        self.say(m.Staged(job=job, fence=held.fence, machine=held.machine, sha256=held.sha256), now)

    def ready(self, job: str, now: datetime) -> None:
        held = self.spool.held[job]
        held.state = "ready"
        gates = (m.GateReport(gate="bed_clear", open=True),)
        self.say(m.Ready(job=job, fence=held.fence, machine=held.machine, gates=gates), now)

    def intend(self, job: str, now: datetime) -> None:
        held = self.spool.held[job]
        held.state = "intended"
        held.intent_seq = self.say(m.StartIntended(job=job, fence=held.fence, machine=held.machine), now)

    def run(self, job: str, now: datetime) -> None:
        held = self.spool.held[job]
        held.state = "running"
        self.say(m.Running(job=job, fence=held.fence, machine=held.machine, started=now), now)

    def progress(self, job: str, now: datetime, fraction: float) -> None:
        held = self.spool.held[job]
        self.say(m.Progressed(job=job, fence=held.fence, machine=held.machine, line=2, fraction=fraction), now)

    def finish(self, job: str, now: datetime) -> HeldJob:
        held = self.spool.held.pop(job)
        body = m.Finished(
            job=job,
            fence=held.fence,
            machine=held.machine,
            started=now - timedelta(minutes=30),
            finished=now,
            lines=4,
            machine_s=1800.0,
        )
        self.say(body, now)
        return held

    def fail(self, job: str, now: datetime, failure: FailureClass) -> None:
        held = self.spool.held.pop(job)
        body = m.Failed(
            job=job, fence=held.fence, machine=held.machine, failure=failure, last_line=2, why=f"test: {failure}"
        )
        self.say(body, now)

    def inspect(
        self,
        held: HeldJob,
        now: datetime,
        *,
        good: int,
        rejected: int = 0,
        rejected_of: tuple[m.RejectedPieces, ...] = (),
    ) -> None:
        body = m.Inspected(
            job=held.job,
            fence=held.fence,
            machine=held.machine,
            good=good,
            rejected=rejected,
            rejected_of=rejected_of,
        )
        self.say(body, now)

    def _wrap(self, body: Any, now: datetime, seq: int | None = None) -> bytes:
        return encode(wrap(body, sender=f"agent/{self.shop}/{self.name}", now=now, seq=seq))
