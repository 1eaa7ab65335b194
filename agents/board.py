"""Pulling work: which open jobs of the board this shop's machines ask for, and what it says of leases it held.

Only while a mark's scheduler is away. The owner's policy decides as it does for offers (or asks the owner, and only a
yes claims), the machine must be idle with a clear bed and the right material, and one claim a machine is out at a time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agents.channels import Channel, home_channel, set_origin
from agents.clock import Clock
from agents.config import AgentConfig, MachineSettings
from agents.contract import messages as m
from agents.contract.envelope import encode, wrap
from agents.contract.topics import BOARD_CLAIMS
from agents.doubt import FORGOTTEN, doubt_about, remembered
from agents.home import Deed, Say
from agents.inputs import Asked
from agents.lease import LIVE, WAITING, LeaseEvent, LeaseState
from agents.material import missing_of
from agents.policy import Accept, Decline, MachineView, Policy, decide
from agents.pull import delay_s, draw, evaporated, pressing
from agents.questions import Questions
from agents.sight import BoardSight, ReadMark
from agents.spool import Lease, Spool

_log = logging.getLogger(__name__)

#: A claim that nothing came of by then is forgotten, and the machine may ask for something else.
CLAIM_STANDS_S: Final = 15.0
#: Where its mark is gone already, the grant is on the way, or went to somebody else.
GRANT_FOLLOWS_S: Final = 3.0
#: P90 of a run whose planner is away: its toolpath's own time and a quarter.
_P90: Final = 1.25


@dataclass(frozen=True, slots=True)
class OwnMachine:
    """One of this shop's machines as it is now: what the policy may see, and whether it could begin at once."""

    settings: MachineSettings
    view: MachineView
    free: bool
    """Idle, armed, bed clear, nothing held."""


@dataclass(frozen=True, slots=True)
class _Claim:
    job: str
    claim: str
    at: float


class Puller:
    """Called under the board's lock, by one thread at a time."""

    def __init__(
        self,
        config: AgentConfig,
        spool: Spool,
        sight: BoardSight,
        clock: Clock,
        *,
        machines: Callable[[], tuple[OwnMachine, ...]],
        policy: Callable[[], Policy],
        tell: Callable[[str, Asked], None],
    ) -> None:
        """`tell(machine, asked)` hands something to a machine's supervisor."""
        self._config, self._spool, self._sight, self._clock = config, spool, sight, clock
        self._machines, self._policy, self._tell = machines, policy, tell
        self._due: dict[tuple[str, int, str], float] = {}
        self._out: dict[str, _Claim] = {}
        """The claim that is out, by machine."""
        self._questions = Questions(spool)
        self._up_since: float | None = None

    @property
    def _me(self) -> str:
        return f"{self._config.shop}.{self._config.agent}"

    def tick(self) -> tuple[Deed, ...]:
        """Give up what the scheduler left unbegun, then ask for what is open and due."""
        now = self._clock.monotonic()
        open_marks = []
        for job, read in list(self._sight.marks.items()):
            mark = self._sight.standing(job)
            if mark is None or not mark.home or not self._sight.away(read.mark, now, self._config.board.patience_s):
                continue
            if mark.held is None:
                open_marks.append((read, mark))
            elif mark.held.agent == self._me and mark is read.mark:
                self._leave(mark, mark.held)
        self._withdraw({mark.ticket.job: mark for _, mark in open_marks}, now)
        if self._sees_all(now):
            self._questions.keep_only({mark.ticket.job for _, mark in open_marks}, self._clock.now())
        return self._ask(open_marks, now)

    def _sees_all(self, now: float) -> bool:
        """Whether what is not seen open is not open: after a start or a cut the marks come anew, and schedulers that
        were away long ago seem to have gone just now."""
        if not self._sight.connected:
            self._up_since = None
            return False
        self._up_since = now if self._up_since is None else self._up_since
        back = any(seen.online for seen in self._sight.schedulers.values())
        return back or now - self._up_since >= self._config.board.patience_s + CLAIM_STANDS_S

    def next_due(self) -> float | None:
        """When a claim may be due next (monotonic seconds); None where no open mark is seen."""
        busy = set(self._out)
        return min((due for key, due in self._due.items() if key[2] not in busy), default=None)

    # --- leases of the scheduler that never began -------------------------------------------------------------------

    def _leave(self, mark: m.BoardMark, held: m.HeldLease) -> None:
        """Say bindingly, to the scheduler and to the home, that nothing moved under this fence and nothing will."""
        job, now = mark.ticket.job, self._clock.now()
        row = self._spool.row("SELECT fence FROM disclaimed WHERE job = ?", job)
        if row is not None and int(row[0]) >= held.fence:
            return
        lease = self._spool.lease_of_job(job)
        waits = lease is not None and lease.state in WAITING | {LeaseState.INTENDED}
        if lease is not None and waits and (lease.fence == held.fence or self._claimed_anew(lease, held.fence)):
            why = "the scheduler is away; the job's home grants it"
            self._tell(lease.machine, Asked(LeaseEvent.GIVEN_UP, job, lease.fence, why))
            return
        released, unknown = self._unbegun(lease, job, held.fence)
        if not released and not unknown:
            return
        body = m.GivenUp(job=job, fence=held.fence, machine=held.machine, why="the scheduler is away; nothing moved")
        with self._spool.transaction():
            self._spool.deeds.note()
            self._spool.raise_fence(job, held.fence)
            self._spool.write("INSERT OR REPLACE INTO disclaimed VALUES (?, ?)", job, held.fence)
            if unknown:
                self._spool.journal(body, now)
            Channel(self._spool, home_channel(mark.home)).journal(body, now)

    def _unbegun(self, lease: Lease | None, job: str, fence: int) -> tuple[bool, bool]:
        """Whether what was granted under a fence was taken back here before it began; whether it never came.

        An old copy of this memory tells neither from what it forgot.
        """
        if lease is not None and lease.fence == fence:
            return lease.state is LeaseState.RELEASED and remembered(self._spool, lease.lease), False
        unseen = self._spool.highest_fence(job) < fence and self._claimed(job)
        ended = lease is None or (lease.fence < fence and lease.state not in LIVE)
        return False, unseen and ended and not doubt_about(self._spool, FORGOTTEN)

    def _claimed_anew(self, lease: Lease, fence: int) -> bool:
        """Whether a grant under a newer fence is on its way to who still holds the job under an older one."""
        return lease.fence < fence and self._claimed(lease.job)

    def _claimed(self, job: str) -> bool:
        """Whether a claim made to the scheduler waits for its grant: who does not remember one, forgot it."""
        row = self._spool.row(
            "SELECT 1 FROM offers WHERE job = ? AND decision = 'claimed'"
            " AND offer NOT IN (SELECT claim FROM board_claims)",
            job,
        )
        return row is not None

    # --- open jobs ------------------------------------------------------------------------------------------------

    def _withdraw(self, open_marks: dict[str, m.BoardMark], now: float) -> None:
        """A claim whose mark went is over soon: its grant is on the way, or went to somebody else."""
        for key in [key for key in self._due if key[0] not in open_marks]:
            del self._due[key]
        for machine, claim in list(self._out.items()):
            row = self._spool.offer(claim.claim)
            if row is None or row.decision != "claimed":
                del self._out[machine]
            elif now - claim.at >= (CLAIM_STANDS_S if claim.job in open_marks else GRANT_FOLLOWS_S):
                wall = self._clock.now()
                self._spool.put_offer(row.offer, "withdrawn", expires=row.expires, seq=row.seq, at=wall)
                del self._out[machine]

    def _ask(self, open_marks: list[tuple[ReadMark, m.BoardMark]], now: float) -> tuple[Deed, ...]:
        deeds: list[Deed] = []
        for machine in self._machines():
            name = machine.settings.name
            if not machine.free:
                for key in [key for key in self._due if key[2] == name]:
                    del self._due[key]
            if not machine.free or name in self._out:
                continue
            turns = sorted((self._due_at(mark, name, now), mark.ticket.job) for _, mark in open_marks)
            places = {mark.ticket.job: (read, mark) for read, mark in open_marks}
            offer = self._agreed(machine, {job: mark for job, (_, mark) in places.items()})
            for job in (job for due, job in turns if due <= now):
                if offer is not None:
                    break
                offer = self._wanted(places[job][1], machine)
            if offer is not None:
                deeds.append(self._claim(*places[offer.ticket.job], offer, now))
        return tuple(deeds)

    def _agreed(self, machine: OwnMachine, open_marks: dict[str, m.BoardMark]) -> m.Offer | None:
        """What the owner said yes to, where the mark is still open and the rules still allow it."""
        for offer in self._questions.agreed(machine.settings.name):
            mark = open_marks.get(offer.ticket.job)
            if mark is not None and mark.attempt == offer.attempt and self._fitting(mark, machine) is not None:
                return offer
        return None

    def _wanted(self, mark: m.BoardMark, machine: OwnMachine) -> m.Offer | None:
        """What to claim at once; where the owner wants to be asked first, the question is put."""
        offer = self._fitting(mark, machine)
        if offer is None or isinstance(decide(offer, machine.view, self._clock.now(), self._policy()), Accept):
            return offer
        if self._questions.may_ask(offer):
            self._questions.ask(offer, mark.home, mark.evaporates, self._clock.now())
        return None

    def _due_at(self, mark: m.BoardMark, machine: str, now: float) -> float:
        key = (mark.ticket.job, mark.attempt, machine)
        if key not in self._due:
            number = draw(mark.ticket.job, mark.attempt, f"{self._me}.{machine}")
            self._due[key] = now + delay_s(number, pressing(mark, self._clock.now()))
        return self._due[key]

    def _fitting(self, mark: m.BoardMark, machine: OwnMachine) -> m.Offer | None:
        """The mark as an offer to this machine; None where machine, material or owner say no."""
        description, wall = machine.view.description, self._clock.now()
        toolpath = next((one for one in mark.toolpaths if _made_for(one, description)), None)
        if toolpath is None or evaporated(mark, wall) or mark.ticket.process is not description.process:
            return None
        if all(missing_of(mark.ticket.material, loaded) for loaded in description.materials):
            return None
        offer = offer_of(mark, toolpath, f"{self._me}.{machine.settings.name}", machine.settings.name, wall)
        return None if isinstance(decide(offer, machine.view, wall, self._policy()), Decline) else offer

    def _claim(self, read: ReadMark, mark: m.BoardMark, offer: m.Offer, now: float) -> Deed:
        """The claim is in the spool before it is said: only what was claimed here can be granted here."""
        wall, job = self._clock.now(), mark.ticket.job
        with self._spool.transaction():
            self._spool.put_offer(offer, "claimed", expires=None, seq=None, at=wall)
            set_origin(self._spool, offer.offer, job, home_channel(mark.home))
        self._out[offer.machine] = _Claim(job, offer.offer, now)
        body = m.BoardClaim(
            claim=offer.offer,
            job=job,
            attempt=mark.attempt,
            shop=self._config.shop,
            agent=self._config.agent,
            machine=offer.machine,
            sha256=offer.toolpath.sha256,
        )
        _log.info("asked for", extra={"fields": {"job": job, "machine": offer.machine}})
        return Say(BOARD_CLAIMS.of(**read.place), encode(wrap(body, sender=self._config.sender, now=wall)))


def offer_of(mark: m.BoardMark, toolpath: m.ToolpathRef, key: str, machine: str, now: datetime) -> m.Offer:
    """What the mark offers a machine (`key`: its name in the whole network) if it began now."""
    length = timedelta(seconds=toolpath.duration_s)
    name = hashlib.sha256(f"{mark.ticket.job}/{mark.attempt}/{key}/{now.isoformat()}".encode()).hexdigest()[:16]
    return m.Offer(
        offer=f"b{name}",
        attempt=mark.attempt,
        machine=machine,
        ticket=mark.ticket,
        toolpath=toolpath,
        planned_start=now,
        planned_finish=now + length,
        finish_p90=now + length * _P90,
        reasons=("pulled from the board while the scheduler is away",),
    )


def _made_for(toolpath: m.ToolpathRef, machine: m.MachineDescription) -> bool:
    return toolpath.dialect == machine.dialect and toolpath.model in {"", machine.model}
