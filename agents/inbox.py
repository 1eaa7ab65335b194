"""What the agent does about a message: read it, decide under the owner's policy, write it down, say what follows.

One spool transaction a message: its id, the decision, the lease and the journal event stand or fall together. Nothing
here touches a machine; no message can. The worst that a hostile sender gets is a refusal in the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import replace
from datetime import datetime
from typing import Final

from agents.channels import (
    Channel,
    book_of,
    granter,
    home_channel,
    network_channel,
    of_network,
    origin_of,
    set_granter,
    set_origin,
    start_verdict,
)
from agents.clock import Clock
from agents.config import AgentConfig, NetworkSettings
from agents.contract import messages as m
from agents.contract.envelope import Envelope, RefusedMessage, decode
from agents.contract.vocabulary import JobState
from agents.doubt import FORGOTTEN, FORGOTTEN_OFFER, put_in_doubt, remembered
from agents.effects import Acknowledged, BookAsked, Effect, JournalGrew, Look, Repeat, Restored, Tell
from agents.inputs import Asked, PauseAsked
from agents.lease import LIVE, PUBLIC_STATE, WAITING, LeaseEvent, LeaseState
from agents.policy import Accept, Ask, Decline, MachineView, Policy, decide, p90_length
from agents.spool import Lease, OfferRow, Spool

_log = logging.getLogger(__name__)

#: Beyond this a number is nonsense, and not exact in JSON of other languages.
_LARGEST: Final = 2**53
#: No backup is so old that more events than this came after it.
_WIDEST_JUMP: Final = 10**8
#: Words of a forgotten life that are still on their way use a new number or two. Whose numbers are used so often shares
#: its name with a process that lives.
_MOST_OPENINGS: Final = 20


class Inbox:
    """Called by one thread at a time (the spool's lock sees to it)."""

    def __init__(
        self,
        config: AgentConfig,
        spool: Spool,
        *,
        policy: Callable[[], Policy],
        view: Callable[[str], MachineView],
        told: Callable[[], int],
        clock: Clock,
        boot: str,
        network: NetworkSettings | None = None,
    ) -> None:
        """`network`: the further network whose scheduler speaks here; None for the first."""
        self._config, self._spool, self._clock, self._boot = config, spool, clock, boot
        self._policy, self._view, self._told = policy, view, told
        self._machines = frozenset(machine.name for machine in config.machines)
        self._network = network
        self._channel = "" if network is None else network_channel(network.name)
        self._book = book_of(spool, self._channel)
        self._first = self._book.last_seq + 1
        self._opening: int | None = None
        """The number of the holdings that this start, or its last renumbering, opened with. From `_first` up to it
        whatever is refused as used belonged to another event of a life forgotten here."""
        self._reopened = 0
        """How often that was noticed, or that more is committed than was told."""

    def receive(self, payload: bytes) -> tuple[Effect, ...]:
        """Take in one payload. Raises RefusedMessage (it changed nothing) and SpoolFull (ask again later)."""
        envelope = decode(payload)
        self._check_sender(envelope)
        try:
            with self._spool.transaction():
                return self._receive(envelope)
        except OverflowError as error:
            raise RefusedMessage(f"a number or time in it is out of all bounds: {error}") from error

    def _check_sender(self, envelope: Envelope) -> None:
        kind, _, name = envelope.sender.partition("/")
        schedulers = self._config.schedulers if self._network is None else self._network.schedulers
        if schedulers and not (kind == "scheduler" and name in schedulers):
            raise RefusedMessage(f"{envelope.sender!r} is not one of the schedulers this shop listens to")

    def _receive(self, envelope: Envelope) -> tuple[Effect, ...]:
        now, body = self._clock.now(), envelope.body
        if isinstance(body, m.JournalAck):
            return self._acknowledged(body, now)
        recorded = self._spool.seen(envelope.id)
        if recorded is not None:
            return self._again(body)
        expired = envelope.expired(now)
        match body:
            case m.Offer():
                decision, effects = self._offered(body, envelope, now)
            case m.Grant():
                decision, effects = self._granted(body, envelope, now, self._channel)
            case m.Withdrawal():
                decision, effects = self._withdrawn(body, now)
            case m.PauseRequest() if not expired:
                asked = PauseAsked(body.job, body.fence, body.why)
                decision, effects = "passed on", self._for_holder(body.job, body.fence, asked)
            case m.CancelRequest() if not expired:
                cancel = Asked(LeaseEvent.CANCEL_ASKED, body.job, body.fence, body.why)
                decision, effects = "passed on", self._for_holder(body.job, body.fence, cancel)
            case m.ReconcileRequest():
                self.say_holdings(now)
                decision, effects = "answered", (JournalGrew(),)
            case m.PauseRequest() | m.CancelRequest():
                decision, effects = "expired", ()
            case m.BookRequest() if not self._channel and envelope.sender == f"scheduler/{body.scheduler}":
                decision, effects = "passed on", (BookAsked(body),)
            case _:
                raise RefusedMessage(f"{type(body).__name__} does not belong in an agent's inbox")
        self._spool.record_seen(envelope.id, type(body).__name__, decision, now)
        if decision == "expired":
            _log.warning("%s came too late, or one of the clocks is wrong; it does nothing", type(body).__name__)
        return effects

    def _again(self, body: object) -> tuple[Effect, ...]:
        """A repeated message gets the recorded answer: the same event, under its old number."""
        if isinstance(body, m.Offer):
            row = self._spool.offer(body.offer)
            if row is not None and row.seq is not None:
                return (Repeat(row.seq),)
        return ()

    # --- offers --------------------------------------------------------------------------------------------------

    def _offered(self, offer: m.Offer, envelope: Envelope, now: datetime) -> tuple[str, tuple[Effect, ...]]:
        row = self._spool.offer(offer.offer)
        if row is not None:
            return row.decision, () if row.seq is None else (Repeat(row.seq),)
        no = _too_late(envelope, now) or self._cannot(offer)
        decision = Decline((no,)) if no else decide(offer, self._view(offer.machine), now, self._policy())
        if isinstance(decision, Ask):
            self._note_origin(offer)
            self._spool.put_offer(offer, "ask", expires=envelope.expires, seq=None, at=now)
            return "ask", (Look(offer.machine),)
        self._note_origin(offer)
        word = self.answer(offer, decision, now, expires=envelope.expires)
        return word, (JournalGrew(),)

    def _note_origin(self, offer: m.Offer) -> None:
        if self._channel:
            set_origin(self._spool, offer.offer, offer.ticket.job, self._channel)

    def _mine(self, lease: Lease) -> bool:
        """Whether the scheduler that speaks here has a say in a lease: not in another scheduler's."""
        channel = granter(self._spool, lease.lease)
        return channel == self._channel if self._channel else not of_network(channel)

    def _cannot(self, offer: m.Offer) -> str:
        """Why this agent cannot take the offer, whatever the owner's rules say."""
        if offer.machine not in self._machines:
            return f"there is no machine {offer.machine} in this shop"
        held = self._spool.lease_of_job(offer.ticket.job)
        if held is not None and held.state in LIVE - WAITING:
            return f"this agent holds the job already ({held.state}, fence {held.fence})"
        return ""

    def answer(
        self, offer: m.Offer, decision: Accept | Decline, now: datetime, *, expires: datetime | None = None
    ) -> str:
        """Journal and record a yes or no, by policy or by the owner's hand."""
        job, machine = offer.ticket.job, offer.machine
        if isinstance(decision, Accept):
            body: m.Claimed | m.Declined = m.Claimed(offer=offer.offer, job=job, machine=machine)
            word = "claimed"
        else:
            reasons = tuple(reason[:2000] for reason in decision.reasons)
            word = "declined"
            body = m.Declined(
                offer=offer.offer, job=job, machine=machine, reasons=reasons, not_before=decision.not_before
            )
        with self._spool.transaction():
            seq = book_of(self._spool, origin_of(self._spool, offer.offer)).journal(body, now)
            self._spool.put_offer(offer, word, expires=expires, seq=seq, at=now)
        _log.info("%s", word, extra={"fields": {"job": job, "machine": machine, "order": offer.ticket.order}})
        return word

    # --- leases --------------------------------------------------------------------------------------------------

    def receive_from_home(self, home: str, payload: bytes) -> tuple[Effect, ...]:
        """Take in what a home (`{shop}/{agent}`, as its topic says) sends to a claimant. Raises as `receive`."""
        envelope = decode(payload)
        if envelope.sender != f"agent/{home}":
            raise RefusedMessage(f"{envelope.sender!r} speaks on the topic of {home!r}")
        body, now = envelope.body, self._clock.now()
        try:
            with self._spool.transaction():
                if isinstance(body, m.JournalAck):
                    return self._acknowledged_by_home(home, body)
                if self._spool.seen(envelope.id) is not None:
                    return ()
                if isinstance(body, m.Grant):
                    decision, effects = self._granted(body, envelope, now, home_channel(home))
                elif isinstance(body, m.Withdrawal):
                    decision, effects = self._withdrawn_by_home(home, body)
                else:
                    raise RefusedMessage(f"{type(body).__name__} is nothing that a home says")
                self._spool.record_seen(envelope.id, type(body).__name__, decision, now)
                return effects
        except OverflowError as error:
            raise RefusedMessage(f"a number or time in it is out of all bounds: {error}") from error

    def _acknowledged_by_home(self, home: str, body: m.JournalAck) -> tuple[Effect, ...]:
        channel = Channel(self._spool, home_channel(home))
        last = channel.last_seq
        refused = {event.seq: event.why for event in body.refused if event.seq <= body.upto}
        used = {event.seq: event.why for event in body.refused if event.number_used and event.seq in refused}
        used = {seq: why for seq, why in used.items() if channel.event(seq) and channel.verdict(seq)[1] is None}
        looks = tuple(Look(machine) for machine in sorted(self._machines))
        if used or 0 < last < body.upto <= last + _WIDEST_JUMP:
            _log.warning("%s knows events up to %d, the last told to it is %d: an old spool", home, body.upto, last)
            put_in_doubt(self._spool, self._machines)
            channel.renumber_from(max(body.upto, channel.acknowledged_upto) + 1, self._clock.now())
            channel.note_used(used)  # it is named in every acknowledgement from here on, and news only once
            return looks
        if body.upto > last:
            raise RefusedMessage(f"event {body.upto} is acknowledged; the last told to {home} is {last}")
        channel.unacknowledge_after(body.upto)
        channel.acknowledge(body.upto, refused)
        return looks

    def _withdrawn_by_home(self, home: str, body: m.Withdrawal) -> tuple[str, tuple[Effect, ...]]:
        effects = [
            Tell(lease.machine, Asked(LeaseEvent.WITHDRAWN, lease.job, lease.fence, body.why))
            for lease in self._spool.leases()
            if lease.lease == body.lease and granter(self._spool, lease.lease) == home_channel(home)
        ]
        return "withdrawn", tuple(effects)

    def _granted(
        self, grant: m.Grant, envelope: Envelope, now: datetime, channel: str
    ) -> tuple[str, tuple[Effect, ...]]:
        row = self._spool.offer(grant.offer)
        if row is not None and row.decision == FORGOTTEN_OFFER:
            _log.warning("grant %s may have been used before this memory was put back: it is left alone", grant.lease)
            return "forgotten", ()
        highest = self._spool.highest_fence(grant.job)
        why = self._wrong_grant(grant, row, highest, envelope, now)
        if not why and origin_of(self._spool, grant.offer) != channel:
            why = "the grant comes from somebody else than the one who was asked"
        if why or row is None:
            if grant.fence < _LARGEST:
                refusal = m.GrantRefused(job=grant.job, lease=grant.lease, fence=grant.fence, why=why)
                book_of(self._spool, channel).journal(refusal, now)
            _log.warning("grant refused: %s", why, extra={"fields": {"job": grant.job, "lease": grant.lease}})
            return "refused", (JournalGrew(),)
        for older in self._spool.leases(states=WAITING):
            if older.job == grant.job and self._mine(older):
                self._spool.put_lease(_released(older, f"fence {grant.fence} came", now))
        offer = row.offer
        # The time left is counted from the granter's own clock, so that a wrong clock here shortens nothing.
        lease = Lease(
            lease=grant.lease,
            job=grant.job,
            fence=grant.fence,
            machine=grant.machine,
            state=LeaseState.LEASED,
            own=False,
            ticket=offer.ticket,
            toolpath=offer.toolpath,
            start_by=now + (grant.start_by - envelope.sent),
            planned_start=offer.planned_start,
            p90_s=p90_length(offer).total_seconds(),
            at=now,
        )
        self._spool.put_lease(lease)
        if channel:
            set_granter(self._spool, lease.lease, channel)
        self._spool.raise_fence(grant.job, grant.fence)
        self._spool.put_offer(offer, "granted", expires=row.expires, seq=row.seq, at=now)
        return "held", (Look(grant.machine),)

    def _wrong_grant(
        self, grant: m.Grant, row: OfferRow | None, highest: int, envelope: Envelope, now: datetime
    ) -> str:
        """Why a grant cannot be taken; empty when it can."""
        if grant.fence >= _LARGEST:
            return "the fence is out of all bounds"
        if row is None:
            return "this agent knows no such offer"
        if row.decision != "claimed":
            return f"the offer was not claimed here; it is {row.decision}"
        offer = row.offer
        if (grant.job, grant.machine, grant.attempt) != (offer.ticket.job, offer.machine, offer.attempt):
            return "the grant names another job, machine or attempt than the offer that was claimed"
        if grant.fence <= highest:
            return f"fence {grant.fence} is not above {highest}, the highest seen for this job"
        if self._spool.lease(grant.lease) is not None:
            return "a lease of that name was held before"
        if grant.start_by <= envelope.sent or envelope.expired(now):
            return "the grant came after the time by which the job had to start"
        held = self._spool.lease_of_job(grant.job)
        if held is not None and held.state in LIVE - WAITING:
            return f"this agent holds the job already ({held.state}, fence {held.fence})"
        if grant.machine not in self._machines or self._spool.flags(grant.machine).disabled:
            return "the machine is no longer at work"
        return ""

    def _withdrawn(self, body: m.Withdrawal, now: datetime) -> tuple[str, tuple[Effect, ...]]:
        if body.offer is not None:
            row = self._spool.offer(body.offer)
            ours = origin_of(self._spool, body.offer) == self._channel
            if row is not None and ours and row.offer.ticket.job == body.job and row.decision in {"ask", "claimed"}:
                self._spool.put_offer(row.offer, "withdrawn", expires=row.expires, seq=row.seq, at=now)
        effects = []
        for lease in self._spool.leases():
            named = body.lease == lease.lease or (body.lease is None and body.fence == lease.fence)
            if lease.job == body.job and named and not lease.own and self._mine(lease):
                # A start that a home was asked for: the scheduler is here, so the home's answer may never come.
                asked_home = lease.state is LeaseState.INTENDED and granter(self._spool, lease.lease) != self._channel
                event = LeaseEvent.GIVEN_UP if asked_home else LeaseEvent.WITHDRAWN
                effects.append(Tell(lease.machine, Asked(event, lease.job, lease.fence, body.why)))
        return "withdrawn", tuple(effects)

    def _for_holder(self, job: str, fence: int, item: Asked | PauseAsked) -> tuple[Effect, ...]:
        return tuple(
            Tell(lease.machine, item)
            for lease in self._spool.leases()
            if (lease.job, lease.fence, lease.own) == (job, fence, False) and self._mine(lease)
        )

    # --- the journal ---------------------------------------------------------------------------------------------

    def _acknowledged(self, body: m.JournalAck, now: datetime) -> tuple[Effect, ...]:
        last = self._told()
        if body.upto > last + _WIDEST_JUMP:
            raise RefusedMessage(f"event {body.upto} is acknowledged; the last told from here is {last}")
        refused = {event.seq: event.why for event in body.refused if 0 < event.seq <= body.upto}
        if body.upto > last or self._opens_with_used_numbers(body, refused):
            _log.warning(
                "events up to %d are committed, the last told from here is %d: an old spool was restored",
                body.upto,
                last,
            )
            return (self._remember_too_little(body.upto, now),)
        for seq, why in refused.items():
            _log.warning("event %d was refused: %s", seq, why)
        looks = tuple(Look(machine) for machine in sorted(self._machines))
        if self._is_of_another(body):
            self._book.acknowledge(0, refused)
            return looks
        forgotten = self._book.unacknowledge_after(body.upto)
        self._book.acknowledge(body.upto, refused)
        return (Acknowledged(body.upto), *((Repeat(body.upto + 1),) if forgotten else ()), *looks)

    def _is_of_another(self, ack: m.JournalAck) -> bool:
        """Whether what is acknowledged is not this journal: then nothing is committed but what it names as refused."""
        told = self._book.event(ack.upto)
        # The scheduler keeps so much of an id.
        if not ack.last or told is None or decode(told).id[:64] == ack.last:
            return False
        _log.error(
            "number %d is another message's: a second agent called %s, or an old copy of this one, tells its journal."
            " Stop it, or give it a name of its own",
            *(ack.upto, self._spool.sender),
        )
        return True

    def _opens_with_used_numbers(self, body: m.JournalAck, refused: Container[int]) -> bool:
        """Whether a number of this opening was another event's in a life forgotten here: up to its holdings, or any
        where this memory is known as an old copy, for that life's later words may be on their way still."""
        if self._opening is None or self._reopened >= _MOST_OPENINGS:
            return False
        used = (event.seq for event in body.refused if event.number_used and event.seq in refused)
        upto = self._opening if remembered(self._spool, FORGOTTEN) else _LARGEST
        return (self._opening in refused and not self._reopened) or any(self._first <= seq <= upto for seq in used)

    def _remember_too_little(self, upto: int, now: datetime) -> Restored:
        """The spool is an old copy: what happened to the machines since is not known here.

        Old words that are still on their way may use the new numbers, too: then these are given up as well, each time.
        """
        with self._spool.transaction():  # all of it, or nothing is known of it: a full disk is met again later
            if not self._reopened or upto > self._told():
                put_in_doubt(self._spool, self._machines)
            first = max(upto, self._book.last_seq) + 1
            self._book.renumber_from(first, now)
            opening = self.say_holdings(now)
        self._first, self._opening = first, opening
        self._reopened += 1
        return Restored(opening)

    def _public_state(self, lease: Lease) -> JobState:
        """As the table says; but who has the permission to start may call the machine at any moment."""
        permitted = lease.state is LeaseState.INTENDED and start_verdict(self._spool, lease) == (True, None)
        return JobState.STARTING if permitted else PUBLIC_STATE[lease.state]

    def say_holdings(self, now: datetime) -> int:
        """Journal all that is held; its number."""
        jobs = tuple(
            m.Holding(
                job=lease.job,
                fence=lease.fence,
                machine=lease.machine,
                state=self._public_state(lease).value,
                lease=lease.lease,
                last_line=lease.last_line,
            )
            for lease in self._spool.leases()
            if not lease.own and self._mine(lease)
        )
        fences = {job.job: job.fence for job in jobs} if self._channel else self._spool.highest_fences()
        body = m.Holdings(boot=self._boot, jobs=jobs, highest_fences=fences, unacked_from=self._book.first_kept)
        seq = self._book.journal(body, now)
        self._opening = seq if self._opening is None else self._opening
        return seq


def _too_late(envelope: Envelope, now: datetime) -> str:
    """Why an offer is over already. It is said: else a shop with a fast clock is silent, and nobody knows why."""
    if envelope.expires is None or not envelope.expired(now):
        return ""
    late = round((now - envelope.expires).total_seconds())
    return f"by this shop's clock the offer came {late} s after its end: it was held up, or one of the clocks is wrong"


def _released(lease: Lease, why: str, now: datetime) -> Lease:
    return replace(lease, state=LeaseState.RELEASED, why=why, ended=now)
