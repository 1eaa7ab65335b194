"""A shop as the home of jobs: while their scheduler is away it grants them, and it alone.

The rules are those of `contract.granting`; here they meet the board, the spool and the messages. Every decision is in
the spool before anything is said. Everything said is said again until it is known to have been heard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from msgspec import structs

from agents.clock import Clock
from agents.contract import messages as m
from agents.contract.envelope import Envelope, encode, wrap
from agents.contract.granting import (
    ChargeEvent,
    ChargeState,
    Standing,
    charge_after,
    next_fence,
    why_no_start,
    why_not_grant,
)
from agents.contract.topics import BOARD_CLAIMS, GRANTS
from agents.contract.vocabulary import MAYBE_MADE
from agents.home_book import Charge, Granted, HomeBook
from agents.sight import BoardSight, ReadMark, overlay_topic
from agents.spool import Spool

_log = logging.getLogger(__name__)

#: A lease of a home not begun by then lapses, and the job is open again.
START_WITHIN: Final = timedelta(minutes=30)
#: Attempts that a home makes before it leaves a job to the scheduler.
MOST_ATTEMPTS: Final = 3
#: A grant that nothing was heard of is said again so often.
_AGAIN_S: Final = 5.0
#: A holder whose journal begins beyond what is known here, though it was answered so, is believed after so much.
_BEGINS_TIMES: Final = 3
_BEGINS_S: Final = 30.0
#: Leases in one message of a book: it stays far below the largest payload.
_LEASES_A_PART: Final = 200


@dataclass(frozen=True, slots=True)
class Say:
    """Something to publish."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """Topics to subscribe to, or to subscribe to once more so that the broker says again what it keeps."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BookWritten:
    """The journal to the scheduler grew by a book."""


Deed = Say | Listen | BookWritten

_ENDINGS: Final[dict[type[object], ChargeEvent]] = {
    m.GrantRefused: ChargeEvent.GIVEN_UP,
    m.GivenUp: ChargeEvent.GIVEN_UP,
    m.Failed: ChargeEvent.FAILED,
    m.Finished: ChargeEvent.FINISHED,
    m.CancelConfirmed: ChargeEvent.CANCELLED,
}

#: What a holder says of a run that its machine confirmed.
_AT_WORK: Final = (m.Running, m.Held, m.Resumed, m.Finished)


@dataclass(slots=True)
class _Beginning:
    """The first number that a holder tells, how often it came, and since when."""

    seq: int
    times: int
    since_s: float


class Home:
    """Called under the board's lock, by one thread at a time."""

    def __init__(
        self, me: str, spool: Spool, sight: BoardSight, clock: Clock, *, patience_s: float, tell: Callable[..., int]
    ) -> None:
        """`me`: `{shop}/{agent}`. `tell(body, now)` writes in the journal to the scheduler."""
        self.me, self._spool, self._sight, self._clock = me, spool, sight, clock
        self._patience_s, self._tell = patience_s, tell
        self.book = HomeBook(spool)
        self._said_at: dict[str, float] = {}
        """When a grant was said last, by lease."""
        self._given: set[str] = set()
        """Leases that this process granted. Of an older one an old copy of the memory may have forgotten the start."""
        self._beginnings: dict[str, _Beginning] = {}
        self._forgotten: set[str] = set()
        """Holders of whose journals something is forgotten both here and there."""

    # --- the board ----------------------------------------------------------------------------------------------------

    def mine(self) -> tuple[ReadMark, ...]:
        """The marks that name this home."""
        return tuple(read for read in self._sight.marks.values() if read.mark.home == self.me)

    def saw_mark(self, read: ReadMark) -> tuple[Deed, ...]:
        """A mark of the board: where it names this home, claims on it are listened for."""
        if read.mark.home != self.me:
            return ()
        return (Listen((BOARD_CLAIMS.of(**read.place),)),)

    def _charge_of(self, mark: m.BoardMark) -> Charge:
        """What stands of a job, in the lending that its mark belongs to."""
        kept = self.book.charge(mark.ticket.job)
        if kept is not None and (kept.scheduler, kept.epoch) == (mark.scheduler, mark.epoch):
            return kept
        return Charge(mark.ticket.job, mark.scheduler, mark.epoch, ChargeState.FREE, 0, mark)

    def claimed(self, claim: m.BoardClaim) -> tuple[Deed, ...]:
        """An agent asks for a job: the first whose claim may be granted gets it; the others see the mark change."""
        read = self._sight.marks.get(claim.job)
        if read is None or read.mark.home != self.me:
            return ()
        charge = self._charge_of(read.mark)
        why = self._why_not(read, charge) or self._forgot(read.mark) or _wrong_claim(claim, charge)
        if why:
            _log.info("not granted to %s/%s: %s", claim.shop, claim.agent, why, extra={"fields": {"job": claim.job}})
            return ()
        now = self._clock.now()
        newest = self.book.newest(claim.job)
        fence = next_fence(_standing(read, charge), 0 if newest is None else newest.lease.fence)
        lease = m.HomeLease(
            job=claim.job,
            attempt=charge.mark.attempt,
            lease=f"h{claim.job}-{fence}"[:64],
            fence=fence,
            epoch=charge.epoch,
            agent=f"{claim.shop}.{claim.agent}",
            machine=claim.machine,
            sha256=claim.sha256,
            granted=now,
            start_by=now + START_WITHIN,
        )
        granted = Granted(lease, claim.claim)
        held = m.HeldLease(agent=lease.agent, machine=lease.machine, fence=fence)
        taken = replace(charge, state=ChargeState.GRANTED, mark=structs.replace(charge.mark, held=held, floor=fence))
        with self._spool.transaction():
            self.book.put_lease(charge.scheduler, granted)
            self.book.put_charge(taken)
        self._given.add(lease.lease)
        _log.info("granted to %s under fence %d", lease.agent, fence, extra={"fields": {"job": claim.job}})
        return (self._post(read, taken), self._grant(granted))

    def _why_not(self, read: ReadMark, charge: Charge) -> str:
        returned = self.book.handed_in(charge.scheduler)
        sight = self._sight.of_scheduler(charge.scheduler, self._clock.monotonic(), returned)
        return why_not_grant(sight, _standing(read, charge), charge.state, self._patience_s, charge.given_up)

    def _forgot(self, mark: m.BoardMark) -> str:
        """Why nothing is granted by an old copy of this home's memory; empty where it knows all that it said.

        Each grant is on the board, in this home's own words, before it is sent.
        """
        said, newest = self._sight.said_by_home(mark), self.book.newest(mark.ticket.job)
        if said is None or said.floor <= max(mark.floor, 0 if newest is None else newest.lease.fence):
            return ""
        return f"this home granted fence {said.floor}, and its memory, put back to an old copy, does not know of it"

    def _post(self, read: ReadMark, charge: Charge) -> Say:
        return Say(overlay_topic(self.me, read.place), self._wrapped(charge.mark), retain=True)

    def _grant(self, granted: Granted) -> Say:
        lease = granted.lease
        self._said_at[lease.lease] = self._clock.monotonic()
        body = m.Grant(
            lease=lease.lease,
            offer=granted.claim,
            job=lease.job,
            attempt=lease.attempt,
            fence=lease.fence,
            machine=lease.machine,
            start_by=lease.start_by,
        )
        return Say(self._to(lease.agent), self._wrapped(body, message_id=f"grant-{lease.lease}-{lease.fence}"))

    def _to(self, agent: str) -> str:
        shop, _, name = agent.partition(".")
        own_shop, _, own = self.me.partition("/")
        return GRANTS.of(shop=own_shop, agent=own, to_shop=shop, to_agent=name)

    def _wrapped(self, body: m.AnyMessage, *, message_id: str | None = None) -> bytes:
        return encode(wrap(body, sender=f"agent/{self.me}", now=self._clock.now(), message_id=message_id))

    # --- what holders say ---------------------------------------------------------------------------------------------

    def told(self, agent: str, envelope: Envelope) -> tuple[Deed, ...]:
        """One event of a holder's journal to this home: applied once, in order, and acknowledged after the commit."""
        seq = envelope.seq or 0
        done: tuple[Deed, ...] = ()
        with self._spool.transaction():
            last = self.book.heard_upto(agent)
            if seq <= last:
                if self.book.heard_id(agent, seq) != envelope.id:
                    self.book.note_heard(agent, seq, envelope.id, m.used_number(seq))
            elif seq == last + 1 or last == 0 or self._begins_with(agent, seq):
                self._beginnings.pop(agent, None)
                refused, done = self._event(agent, envelope.body)
                self.book.note_heard(agent, seq, envelope.id, refused)
            refusals = tuple(m.refused_event(at, why) for at, why in self.book.refused(agent))
            ack = m.JournalAck(upto=self.book.heard_upto(agent), refused=refusals)
        return (*done, Say(self._to(agent), self._wrapped(ack)))

    def _begins_with(self, agent: str, seq: int) -> bool:
        """Whether a holder has nothing between what is known here and this number: answered what is known, it begins
        with this one time and again. Both memories are old copies then."""
        now = self._clock.monotonic()
        beginning = self._beginnings.get(agent)
        if beginning is None or seq < beginning.seq:
            beginning = self._beginnings[agent] = _Beginning(seq, 0, now)
        if seq > beginning.seq:
            return False
        beginning.times += 1
        if beginning.times < _BEGINS_TIMES or now - beginning.since_s < _BEGINS_S:
            return False
        _log.warning("the journal of %s begins with %d: both memories are old copies", agent, seq)
        self._forgotten.add(agent)
        return True

    def _event(self, agent: str, body: object) -> tuple[str, tuple[Deed, ...]]:
        """Why the event is refused (or empty), and what follows from it."""
        job, fence = getattr(body, "job", ""), getattr(body, "fence", 0)
        charge, granted = self.book.charge(job), self.book.under(job, fence)
        if isinstance(body, m.GivenUp) and granted is None:
            return "", self._given_up(agent, body)
        if granted is None or granted.lease.agent != agent or charge is None:
            return f"this home gave {agent} no lease on {job} under fence {fence}", ()
        if isinstance(body, m.StartIntended):
            return self._start(charge, granted), ()
        lease = granted.lease
        if isinstance(body, _AT_WORK) and not lease.committed:  # permitted, and forgotten here with an old copy
            lease = structs.replace(lease, committed=True)
            charge = replace(charge, state=charge_after(charge.state, ChargeEvent.START_ASKED) or charge.state)
            self.book.put_charge(charge)
        if isinstance(body, m.Finished | m.Failed | m.CancelConfirmed | m.GivenUp):
            lease = structs.replace(lease, ended=body)
        self.book.put_lease(charge.scheduler, Granted(lease, granted.claim, heard=True))
        ending = _ENDINGS.get(type(body))
        if isinstance(body, m.GrantRefused) and lease.committed:
            return "", ()  # its start was permitted: this is the word of a memory that was put back
        if isinstance(body, m.Failed) and body.failure in MAYBE_MADE:
            ending = ChargeEvent.CANCELLED  # it is over here: a person looks before anybody makes it again
        newest = self.book.newest(job)
        if ending is None or newest is None or newest.lease.fence != fence:
            return "", ()
        return "", self._moved(charge, ending)

    def _start(self, charge: Charge, granted: Granted) -> str:
        newest = self.book.newest(charge.job)
        lease = granted.lease
        seen = self._sight.schedulers.get(charge.scheduler)
        why = why_no_start(charge.state, 0 if newest is None else newest.lease.fence, lease.fence)
        if not why and lease.committed:  # a repetition of the same word is answered from `home_heard`
            why = f"the start under fence {lease.fence} was permitted before: the agent's memory is an old copy"
        elif not why and lease.agent in self._forgotten and lease.lease not in self._given:
            why = "this home's memory is an old copy, as the holder's is: the start may have been permitted before"
        elif not why and (seen is None or seen.epoch > charge.epoch):
            why = "the scheduler has been back since: it may have had this home's book, and grants"
        elif not why and self._clock.now() > lease.start_by:
            why = f"the lease lapsed at {lease.start_by.isoformat(timespec='seconds')}"
        if not why:
            after = charge_after(charge.state, ChargeEvent.START_ASKED)
            self.book.put_charge(replace(charge, state=after or charge.state))
            committed = structs.replace(lease, committed=True)
            self.book.put_lease(charge.scheduler, Granted(committed, granted.claim, heard=True))
        return why

    def _given_up(self, agent: str, body: m.GivenUp) -> tuple[Deed, ...]:
        """The holder of a lease of the scheduler's says that nothing moved and nothing will: the job is open again."""
        read = self._sight.marks.get(body.job)
        if read is None or read.mark.home != self.me or read.mark.held is None:
            return ()
        held = read.mark.held
        if (held.agent, held.fence) != (agent, body.fence):
            return ()
        charge = self._charge_of(read.mark)
        if charge.given_up >= held.fence:
            return ()
        free = replace(charge, given_up=held.fence, mark=structs.replace(charge.mark, held=None))
        self.book.put_charge(free)
        return (self._post(read, free),)

    def _moved(self, charge: Charge, event: ChargeEvent) -> tuple[Deed, ...]:
        """One step of the table; an attempt that ended without a part opens the job again, for the next attempt."""
        state = charge_after(charge.state, event)
        if state is None:
            return ()
        mark = charge.mark
        if state is ChargeState.FREE:
            mark = structs.replace(mark, held=None)
            if event is ChargeEvent.FAILED:
                mark = structs.replace(mark, attempt=mark.attempt + 1)
                if mark.attempt > MOST_ATTEMPTS:
                    state = ChargeState.OVER
        after = replace(charge, state=state, mark=mark)
        self.book.put_charge(after)
        read = self._sight.marks.get(charge.job)
        return () if read is None or state is not ChargeState.FREE else (self._post(read, after),)

    # --- the scheduler comes back -------------------------------------------------------------------------------------

    def book_asked(self, asked: m.BookRequest) -> tuple[Deed, ...]:
        """Hand in the book: what was not begun never will be; nothing of earlier epochs is granted from here on."""
        deeds: list[Deed] = []
        with self._spool.transaction():
            epoch = max(asked.epoch, self.book.handed_in(asked.scheduler))
            self.book.settled(asked.scheduler, asked.settled)
            given_up: dict[str, int] = {}
            for charge in self.book.charges():
                if charge.scheduler != asked.scheduler:
                    continue
                if charge.given_up:
                    given_up[charge.job] = charge.given_up
                deeds += self._closed(charge)
            self.book.hand_in(asked.scheduler, epoch)
            leases = tuple(granted.lease for granted in self.book.leases_of(asked.scheduler))
            parts = [leases[at : at + _LEASES_A_PART] for at in range(0, len(leases), _LEASES_A_PART)] or [()]
            for number, part in enumerate(parts, 1):
                last = number == len(parts)
                book = m.HomeBook(
                    scheduler=asked.scheduler,
                    epoch=epoch,
                    leases=part,
                    given_up=given_up if last else {},
                    last=last,
                )
                self._tell(book, self._clock.now())
            self.book.told_in(asked.scheduler, epoch)
        _log.info("handed in the book to %s: %d leases", asked.scheduler, len(leases))
        return (BookWritten(), *deeds)

    def _closed(self, charge: Charge) -> list[Deed]:
        """A charge at the end of its lending: a lease not begun is taken back, and what this home posted comes down."""
        deeds: list[Deed] = []
        granted = self.book.newest(charge.job)
        after = charge_after(charge.state, ChargeEvent.BOOK_ASKED)
        if after is not None and granted is not None:
            self.book.put_charge(replace(charge, state=after))
            lease = granted.lease
            taken = m.Withdrawal(job=lease.job, lease=lease.lease, fence=lease.fence, why="the scheduler is back")
            deeds.append(Say(self._to(lease.agent), self._wrapped(taken)))
        ticket = charge.mark.ticket
        place = {"ring": ticket.ring.value, "process": ticket.process.value, "job": charge.job}
        deeds.append(Say(overlay_topic(self.me, place), b"", retain=True))
        return deeds

    # --- time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> tuple[Deed, ...]:
        """What time alone brings: marks to read anew, grants to say again, leases that lapse."""
        now = self._clock.monotonic()
        again = self._sight.to_read_anew(self.me, now, self._patience_s)
        deeds: list[Deed] = [Listen(again)] if again else []
        for charge in self.book.charges():
            read = self._sight.marks.get(charge.job)
            granted = self.book.newest(charge.job)
            if charge.state is not ChargeState.GRANTED or read is None or granted is None:
                continue
            if self._clock.now() > granted.lease.start_by and granted.lease.lease in self._given:
                _log.warning("the lease of %s lapsed", granted.lease.agent, extra={"fields": {"job": charge.job}})
                with self._spool.transaction():
                    deeds += self._moved(charge, ChargeEvent.LAPSED)
            elif not granted.heard and now - self._said_at.get(granted.lease.lease, 0.0) >= _AGAIN_S:
                deeds.append(self._grant(granted))
        return tuple(deeds)


def _standing(read: ReadMark, charge: Charge) -> Standing:
    held = 0 if read.mark.held is None else read.mark.held.fence
    return Standing(charge.epoch, read.mark.floor, charge.mark.attempt, held, read.fresh)


def _wrong_claim(claim: m.BoardClaim, charge: Charge) -> str:
    if claim.attempt != charge.mark.attempt:
        return f"the claim is for attempt {claim.attempt}; it is attempt {charge.mark.attempt} now"
    if all(toolpath.sha256 != claim.sha256 for toolpath in charge.mark.toolpaths):
        return "the claim names a toolpath that the mark does not"
    return ""
