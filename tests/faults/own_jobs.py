"""Owners who queue jobs of their own, in half of all lives: what they and machines know of them, and what must hold.

An own job is called once at most unless a person who looked said so, never beside another run of its machine, with its
start numbered in the journal first; and pool work asks for no start while own work waits.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Final

from agents.channels import begun, home_channel
from agents.contract import decode
from agents.contract import messages as m
from agents.contract.granting import Begun
from agents.contract.vocabulary import Process
from agents.doubt import doubt_about
from agents.hands import NotPossible, Unknown
from agents.lease import MOVING, WAITING
from agents.spool import Lease, Spool, SpoolFull
from firmware_bridges.bridge import Event, RunFinished
from tests.faults.rules import NotKept
from tests.faults.shop import Killed, back_up

if TYPE_CHECKING:
    from tests.faults.bench import Bench
    from tests.faults.lives import Life
    from tests.faults.shop import Shop

_MOST: Final = 2
#: Whoever clears beds and re-arms machines is often not the owner, who has to be asked.
_ANSWERS: Final = 0.1
_PRINT: Final = b"; own %d\nG21\nG90\nM104 S60\nG28\nG1 X5 Y5 Z0.3 F3000\nG1 X60 Y5\nM104 S0\nM140 S0\nM107\n"
_CUT: Final = b"; own %d\nG21\nG90\nM4 S0\nG0 X2 Y2\nG1 X30 Y2 S500 F1200\nG1 X30 Y20\nM5\n"


class OwnJobs:
    """What is true of own jobs, kept outside of everything that can be killed or restored."""

    def __init__(self, life: Life, seed: int) -> None:
        self._life, self._chance = life, random.Random(f"own {seed}")
        self.called: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.wanted_again: Counter[str] = Counter()
        """How often a person looked and said that a job is still wanted."""
        self.queued: list[str] = []
        self._whole: set[str] = set()
        """Shops whose spool was put back together with its mark."""
        self._running: dict[str, str] = {}
        for shop in life.shops:
            self._listen(shop)

    def _listen(self, shop: Shop) -> None:
        known = shop.books.journalled

        def journalled(body: m.JournalBody) -> None:
            known(body)
            if isinstance(body, m.StartIntended) and shop.agent is not None:
                spool = shop.agent.spool
                own = [lease.job for lease in spool.leases(body.machine, WAITING) if lease.own]
                if any(not doubt_about(spool, job) for job in own):
                    raise NotKept(f"{body.machine} asks for the start of {body.job} while {own} of its owner waits")

        shop.books.journalled = journalled  # type: ignore[method-assign]

    # --- the owner ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Some turns from now an owner queues something; in half of all lives nobody does."""
        if self._chance.random() < 0.5:
            for number in range(self._chance.randint(1, _MOST)):
                shop = self._chance.choice(self._life.shops)
                bench = self._chance.choice(list(shop.benches.values()))
                self._later(shop, bench, number, self._chance.randint(1, 25))

    def _later(self, shop: Shop, bench: Bench, number: int, turns: int) -> None:
        self._life.later(lambda: self._life._do(shop.id, lambda: self._queue(shop, bench, number)), turns, turns)

    def _queue(self, shop: Shop, bench: Bench, number: int) -> None:
        if shop.hands is None or shop.paused:  # the page does not answer
            self._later(shop, bench, number, 2)
            return
        program = (_PRINT if bench.process is Process.FDM else _CUT) % number
        try:
            self.queued.append(shop.hands.queue_own(bench.name, program, "own"))
        except NotPossible:  # there is no room for the file
            self._later(shop, bench, number, 2)
        except Killed:  # no answer came: it is asked for again
            self._later(shop, bench, number, 2)
            raise

    def act(self) -> None:
        """Where the page asks about a job of an old memory, somebody looks whether it was made, and says so."""
        for shop in self._life.shops:
            if shop.agent is None or shop.paused:
                continue
            spool = shop.agent.spool
            for job in [lease.job for lease in spool.leases() if lease.own and doubt_about(spool, lease.lease)]:
                with contextlib.suppress(NotPossible, Unknown, SpoolFull):
                    self._life._do(shop.id, lambda shop=shop, job=job: self._answer(shop, job))  # type: ignore[misc]

    def _answer(self, shop: Shop, job: str) -> None:
        if shop.hands is None or (not self._life.calm and self._chance.random() > _ANSWERS):
            return
        if self.made[job]:
            shop.hands.cancel_job(job)
        else:
            self.wanted_again[job] += 1
            shop.hands.still_wanted(job)

    def over(self) -> bool:
        """Whether no own job waits or runs anywhere."""
        spools = [shop.agent.spool for shop in self._life.shops if shop.agent is not None]
        return len(spools) == len(self._life.shops) and not any(
            lease.own for spool in spools for lease in spool.leases()
        )

    # --- the machines -------------------------------------------------------------------------------------------------

    def about_to_run(self, shop: Shop, bench: Bench, lease: Lease) -> bool:
        """A machine is about to be called for an own job. Whether the rules for every start count: not where nobody
        can know what the machine did."""
        assert shop.agent is not None
        spool = shop.agent.spool
        if not self._is_numbered(shop, lease.job):
            raise NotKept(f"{bench.name} is called for {lease.job}, and no number of the journal says so")
        others = [other.job for other in spool.leases(bench.name, MOVING) if other.lease != lease.lease]
        if others or bench.busy:
            raise NotKept(f"{bench.name} is called for {lease.job} while it makes {others}")
        self._running[bench.name] = lease.job
        self.called[lease.job] += 1
        if shop.id in self._whole and not shop.agent.teller.reconciled:
            bench.must_rearm = bench.occupied = False  # nobody was there to ask
            self._life.books.excused = True
            return False
        if self.called[lease.job] > 1 + self.wanted_again[lease.job] and not self._life.books.excused:
            raise NotKept(
                f"{bench.name} is called for {lease.job} {self.called[lease.job]} times, and nobody decided so"
            )
        return True

    def _is_numbered(self, shop: Shop, job: str) -> bool:
        assert shop.agent is not None
        rows = shop.agent.spool.rows("SELECT body FROM journal ORDER BY seq DESC LIMIT 20")
        bodies = [decode(bytes(row[0])).body for row in rows]
        return any(isinstance(b, m.OwnWork) and (b.run, b.step) == (job, m.OwnStep.INTENDED) for b in bodies)

    def pool_runs(self, bench: Bench) -> None:
        """What the machine makes from now on is not its owner's."""
        self._running.pop(bench.name, None)

    def said(self, bench: Bench, event: Event) -> None:
        """A machine said something."""
        if isinstance(event, RunFinished) and bench.name in self._running:
            self.made[self._running.pop(bench.name)] += 1

    def put_back_whole(self, shop: Shop) -> None:
        """The mark was put back with the spool."""
        self._whole.add(shop.id)


def restore_agent_folder(life: Life) -> None:
    """An old copy of a spool *and of its mark* is put in place: only a scheduler's numbers can tell.

    Not where own work was not told yet, nor a start that this shop, as a home, permitted itself: then nobody could.
    """
    shop = life.a_shop()
    spool, mark = life.folder / f"{shop.name}.folder", life.folder / f"{shop.name}.folder.mark"
    if shop.agent is None:
        return
    back_up(shop.folder / "agent.sqlite", spool)
    shutil.copy(shop.folder / "agent.mark", mark)

    def put_back() -> None:
        if shop.agent is None:
            return
        untold = [decode(payload).body for _, payload in shop.agent.spool.unacknowledged()]
        if any(isinstance(body, m.OwnWork) for body in untold) or _begun_by_its_own_word(shop.agent.spool, untold):
            return
        life.books.unknowable |= {body.job for body in untold if isinstance(body, m.Finished)}
        shop.kill()
        shop.restore(spool)
        shutil.copy(mark, shop.folder / "agent.mark")
        life.books.restore(shop.id)
        life.own.put_back_whole(shop)
        life.begin_shop(shop)

    life.later(put_back, 2, 60)


def _begun_by_its_own_word(spool: Spool, untold: list[m.JournalBody]) -> bool:
    """Whether a start that this shop granted and permitted itself is known to it alone."""
    itself = home_channel(spool.sender.removeprefix("agent/"))
    starts = {(body.job, body.fence) for body in untold if isinstance(body, m.StartIntended)}
    granted = [spool.lease(row[0]) for row in spool.rows("SELECT lease FROM granters WHERE channel = ?", itself)]
    return any(
        begun(spool, lease) is Begun.PERMITTED and (lease.job, lease.fence) in starts
        for lease in granted
        if lease is not None
    )
