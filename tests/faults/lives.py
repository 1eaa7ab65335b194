"""One life: orders go through a whole network step by step; at named steps things break; then it heals, and is made.

Scheduler, agents, bridges and firmware twins are the real ones, in one thread on simulated time; only threads, sockets
and slicers are replaced. Everything follows from one seed.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from agents.contract import messages as m
from agents.contract.vocabulary import JobState, Process
from agents.lease import MOVING
from agents.spool import Lease, SpoolFull
from firmware_bridges.bridge import BridgeState, Event, RunStarted, StateChanged
from firmware_bridges.toolpath_file import ToolpathFile
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.rows import JobRow
from tests.faults.bench import Bench
from tests.faults.faults import FAULTS
from tests.faults.grounds import memory_folder, same_ids
from tests.faults.lent import Lent
from tests.faults.own_jobs import OwnJobs
from tests.faults.people import People
from tests.faults.post import PostOffice, stays_in_order
from tests.faults.rules import BEAM_OFF_WITHIN_S, Books, NotKept
from tests.faults.scheduling import CLIENT, SchedulerSide, kind_of
from tests.faults.shop import Deeds, Killed, Shop, SideClock, World
from tests.faults.shop_rules import is_what_was_offered
from tests.faults.steps import NAMED, Steps, Trap
from tests.scheduler.line import START, order_peg

_FAULTY_TURNS: Final = 60
_MOST_TURNS: Final = 400
_SLICE_S: Final = 0.1


@dataclass
class Due:
    """Something that happens in a later turn."""

    turn: int
    deed: Callable[[], object]


@dataclass
class Lived:
    """What a life was like."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(fault, step at which it struck)."""
    steps: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    runs: int = 0
    decided: int = 0
    excused: bool = False
    pulls: Counter[str] = field(default_factory=Counter)
    """What shows that jobs were made without their scheduler."""


class Life:
    """Two shops with two printers and a laser, up to three jobs, and `faults` faults at named steps."""

    def __init__(self, seed: int, template: Path, *, faults: int = 3, only: str = "") -> None:
        self.chance = random.Random(seed)
        self.lived = Lived(seed)
        self.folder = memory_folder()
        (self.folder / "scheduler").mkdir()
        shutil.copy(template, self.folder / "scheduler" / "workshed.db")
        self.time = World()
        self.steps, self.books = Steps(), Books()
        self.lent = Lent(self.books, self._pulled)
        self.office = PostOffice(self.chance)
        self.office.published = self._published
        self._deeds = Deeds(self._made, self.lent.home_wrote)
        self.heard: list[tuple[str, bytes]] = []
        self.side = SchedulerSide(
            self.folder / "scheduler", self.office, self.steps, SideClock(START, self.time), self.chance
        )
        self.side.committing += [self.books.commit, self.lent.commit]
        self.side.committed += [self.books.committed_now, self.lent.committed_now]
        self.shops = [
            self._shop("mill", seed, m1=Process.FDM, m2=Process.LASER),
            self._shop("barn", seed, m3=Process.FDM),
        ]
        self.people, self.own = People(self), OwnJobs(self, seed)
        self.somebody_there = True
        self.calm = False
        self.turn = 0
        self._dues: list[Due] = []
        self._inside = ""
        self._noted: list[str] = []
        self._absent_since: dict[str, float] = {}
        self._old = False
        """An old database of the scheduler began, and goes on listening."""
        self.side.committing.append(self._who_was_unheard)
        names = [only] if only else list(FAULTS)
        for _ in range(faults):
            self._set_trap(self.chance.choice(names))

    def _shop(self, name: str, seed: int, **machines: Process) -> Shop:
        benches = {machine: Bench(machine, process, seed) for machine, process in machines.items()}
        clock = SideClock(START, self.time)
        shop = Shop(name, self.folder / name, benches, self.office, self.steps, clock, self._served, self._deeds)
        for bench in benches.values():
            self._attach(shop, bench)
        return shop

    def _served(self, url: str) -> bytes | None:
        """What the scheduler, or the shop that a job's mark names, answers for a toolpath."""
        sha256 = url.rpartition("/")[2]
        at_home = [shop for shop in self.shops if url.startswith(f"http://{shop.id}/")]
        return at_home[0].serve(sha256) if at_home else self.side.blob(sha256)

    def _attach(self, shop: Shop, bench: Bench) -> None:
        running: list[tuple[str, int]] = []

        def asked(toolpath: ToolpathFile) -> None:
            assert shop.agent is not None
            found = shop.agent.spool.leases(bench.name, MOVING)
            if not found:
                raise NotKept(f"{bench.name} is called before it is written down that it starts")
            lease = found[0]
            running[:] = [(lease.job, lease.fence)]
            is_what_was_offered(lease, toolpath.path)
            self._about_to_run(shop, bench, lease)
            self.steps.passed("agent: about to call the machine")

        def said(event: Event) -> None:
            self.own.said(bench, event)
            if isinstance(event, RunStarted) and running:
                self.books.first_lines.add(running[0])
                self._noted.append("machine: runs")
            elif isinstance(event, StateChanged) and event.state is BridgeState.HELD:
                self._noted.append("machine: holds")

        bench.run_asked, bench.said = asked, said
        bench.run_taken = lambda: self.steps.passed("machine: was called, and has confirmed nothing")

    def _set_trap(self, fault: str) -> None:
        by_name = self.chance.random() < 0.75
        step = self.chance.choice(NAMED) if by_name else ""
        nth = self.chance.choice([1, 1, 1, 2, 3]) if by_name else self.chance.randint(1, 250)

        def spring(at: str) -> None:
            self.strike(fault, at)

        self.steps.traps.append(Trap(step, nth, spring))

    def strike(self, fault: str, at: str) -> None:
        """Let something break now."""
        self.lived.faults[fault] += 1
        self.lived.hits[fault, at] += 1
        FAULTS[fault](self)

    def close(self) -> None:
        """Leave nothing behind."""
        self.side.kill()
        for shop in self.shops:
            shop.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- one life -----------------------------------------------------------------------------------------------------

    def run(self) -> Lived:
        """Live it. Raises NotKept."""
        with same_ids(self.chance):
            set_traps, self.steps.traps = self.steps.traps, []
            self._begin()  # what was ordered after a backup is lost with it: no copy is made before the orders are in
            self.steps.traps = set_traps
            while self.turn < _FAULTY_TURNS:
                if self._over():
                    if not self._dues:
                        break
                    self.turn = max(self.turn, min(due.turn for due in self._dues) - 1)  # nothing happens until then
                self._turn()
            self._heal()
            pause_s, before = 5.0, ""
            while not self._over():
                if self.turn > _MOST_TURNS:
                    raise NotKept(f"not everything that could be made was made: {self._state()}")
                self._turn(pause_s)
                now = self._state()
                pause_s, before = (min(pause_s * 2, 400.0) if now == before else 5.0), now
        self.side.read(self.lent.known)
        self.lived.steps, self.lived.turns, self.lived.runs = self.steps.passed_by, self.turn, len(self.books.runs)
        self.lived.decided, self.lived.excused = len(self.books.decided), self.books.nobody_knows
        return self.lived

    def _begin(self) -> None:
        self.begin_scheduler()
        for shop in self.shops:
            self.begin_shop(shop)
        for number in range(self.chance.randint(1, 3)):
            process = "laser" if number == 0 and self.chance.random() < 0.6 else "fdm"
            assert self.side.scheduler is not None
            self.books.orders += 1
            order_peg(self.side.scheduler, self.side.clock.now(), 1, process=process)
        self.own.begin()

    def _over(self) -> bool:
        if self.side.scheduler is None or not self.own.over():
            return False
        return all(job.state is JobState.INSPECTED for job in self.jobs())

    def jobs(self) -> list[JobRow]:
        """All jobs, as the scheduler's database has them."""
        assert self.side.scheduler is not None
        with self.side.scheduler.store.read() as c:
            return queries.jobs(c)

    def _state(self) -> str:
        if self.side.scheduler is None:
            return "no scheduler"
        jobs = [f"{job.id} {job.state} {job.attempt}/{job.fence} {job.flag} {job.failure}" for job in self.jobs()]
        spools = [shop.agent.spool.leases() for shop in self.shops if shop.agent is not None]
        leases = [f"{lease.machine} {lease.job} {lease.state} {lease.gates}" for found in spools for lease in found]
        states = [
            f"{b.name} {b.bridge and b.bridge.session.state}" for shop in self.shops for b in shop.benches.values()
        ]
        return "; ".join([*jobs, *leases, *states])

    def _who_was_unheard(self, c: sa.Connection) -> None:
        """Nobody can know what a shop made that an old database waited for in vain."""
        if not self._old:
            return
        newest = c.execute(sa.select(t.schedulers).order_by(t.schedulers.c.term.desc())).first()
        if newest is None or newest.heard_at is None:
            return
        heard = {agent.id for agent in queries.agents(c) if agent.holdings_term == newest.term}
        self._old, self.books.excused = False, self.books.excused or not {shop.id for shop in self.shops} <= heard

    def _turn(self, seconds: float = 0.0) -> None:
        self.turn += 1
        due = [item for item in self._dues if item.turn <= self.turn]
        self._dues = [item for item in self._dues if item.turn > self.turn]
        for item in due:
            item.deed()
        # Words take milliseconds and turns seconds: where seconds count, there is time for several words in one.
        alone = not self.office.sessions[CLIENT].connected
        for _ in range(4 if self._old or alone else 1):
            self._do(CLIENT, self.side.turn)
            for shop in self.shops:
                self._do(shop.id, shop.hear)
                self._do(shop.id, shop.turn)
            self._do(CLIENT, self.side.hear)
        self.people.act()
        self.own.act()
        for shop in self.shops:
            if shop.agent is not None:
                shop.books.check(shop.agent.spool)
        self._pass(seconds or (3.0 if self._busy() else self.chance.choice([2.0, 10.0, 30.0])))
        if self.side.scheduler is not None:
            with self.side.scheduler.store.read() as c:
                self.books.check(c)
                if self.turn % 4 == 0:
                    self.books.conserved(c)

    def _do(self, who: str, deed: Callable[[], None]) -> None:
        """One process's turn; it may be killed in it, and a full disk stops it until later."""
        self._inside = who
        try:
            deed()
        except Killed as killed:
            self._inside = ""
            self._kill(killed.who)
        except (SpoolFull, sa.exc.OperationalError):
            self.lived.faults["(a full disk was met)"] += 1
        finally:
            self._inside = ""

    def _pass(self, seconds: float) -> None:
        """Let time pass, finely where a beam burns."""
        until = self.time.elapsed_s + seconds
        while self.time.elapsed_s < until - 1e-9:
            fine = any(b.process is Process.LASER and b.busy for shop in self.shops for b in shop.benches.values())
            slice_s = min(until - self.time.elapsed_s, _SLICE_S if fine else 1.0 if self._busy() else seconds)
            self.time.elapsed_s += slice_s
            for shop in self.shops:
                for bench in shop.benches.values():
                    bench.pass_(slice_s)
                if fine:
                    shop.watch()
                    self._beam(shop)
        noted, self._noted = self._noted, []
        for step in noted:
            self._do("", lambda step=step: self.steps.passed(step))  # type: ignore[misc]

    def _busy(self) -> bool:
        return any(bench.busy for shop in self.shops for bench in shop.benches.values())

    # --- processes ----------------------------------------------------------------------------------------------------

    def begin_scheduler(self, *, old: bool = False) -> None:
        """Start it, if it is not there."""
        if self.side.scheduler is None:
            self.side.begin()
            if old:
                self.side.read(self.books.put_back)
                self.side.read(self.lent.put_back)
                self._old = True

    def begin_shop(self, shop: Shop) -> None:
        """Start an agent, if it is not there; the service manager tries again when that fails."""
        if shop.agent is None:
            self._do(shop.id, shop.begin)
            if not shop.lives:
                self.later(lambda: self.begin_shop(shop), 1, 3)

    def end(self, who: str) -> None:
        """kill -9 of a process, also in the middle of what it is doing now (raises Killed then)."""
        if self._inside == who:
            raise Killed(who)
        self._kill(who)

    def _kill(self, who: str) -> None:
        if who == CLIENT:
            self.side.kill()
        for shop in self.shops:
            if shop.id == who:
                shop.kill()

    def later(self, deed: Callable[[], object], soonest: int = 1, latest: int = 15) -> None:
        """Do it some turns from now (in the next one, once everything heals)."""
        self._dues.append(Due(self.turn + (1 if self.calm else self.chance.randint(soonest, latest)), deed))

    def a_shop(self) -> Shop:
        """The shop whose code runs now, or one whose machine does, or any."""
        inside = [shop for shop in self.shops if shop.id == self._inside]
        at_work = [shop for shop in self.shops if any(bench.busy for bench in shop.benches.values())]
        return self.chance.choice(inside or at_work or self.shops)

    def a_bench(self) -> Bench:
        """A machine at work, or any."""
        every = [bench for shop in self.shops for bench in shop.benches.values()]
        return self.chance.choice([bench for bench in every if bench.busy] or every)

    def _heal(self) -> None:
        """Nothing breaks any more; what is broken is mended in the next turns."""
        self.calm = True
        self.steps.traps.clear()
        for item in self._dues:
            item.turn = self.turn
        for session in self.office.sessions.values():
            session.held_until = 0.0

    def _published(self, topic: str, payload: bytes) -> None:
        if not stays_in_order(topic):
            self.heard.append((topic, payload))
        self.lent.published(topic, payload)
        self.steps.passed(f"broker: {kind_of(payload)} has come")

    def _pulled(self, what: str) -> None:
        self.lived.pulls[what] += 1

    def _made(self, body: m.Finished) -> None:
        if (body.job, body.fence) in self.lent.permitted:
            self._pulled("made by a home's word")
        self.books.made(body.job)

    # --- rules that need the machines ---------------------------------------------------------------------------------

    def _about_to_run(self, shop: Shop, bench: Bench, lease: Lease) -> None:
        if not lease.own:
            self.own.pool_runs(bench)
            self._about_to_make(bench, lease.job, lease.fence)
        elif not self.own.about_to_run(shop, bench, lease):
            return
        if bench.must_rearm:
            raise NotKept(f"{bench.name} starts before a person re-armed it")
        if bench.occupied:
            raise NotKept(f"{bench.name} starts on a bed that is not clear")
        # What is loaded is not told in the journal: a memory put back with as many events as before goes unnoticed.
        if bench.material_gone and not lease.own and shop.id not in self.books.restored:
            raise NotKept(f"{bench.name} starts and nothing is loaded")
        if bench.process is Process.LASER and self.time.elapsed_s >= bench.present_until:
            raise NotKept(f"{bench.name} starts and nobody is there")

    def _about_to_make(self, bench: Bench, job: str, fence: int) -> None:
        elsewhere = [
            lease.machine
            for other in self.shops
            if other.agent is not None
            for lease in other.agent.spool.leases(None, MOVING)
            if lease.job == job and lease.machine != bench.name
        ]
        self.books.run(job, fence, bench.name, elsewhere)

    def _beam(self, shop: Shop) -> None:
        if shop.agent is None or shop.paused:
            self._absent_since.clear()
            return
        for bench in shop.benches.values():
            if bench.process is not Process.LASER:
                continue
            is_there = self.time.elapsed_s < bench.present_until
            if is_there and shop.agent.presence.present(bench.name):
                self._absent_since.pop(bench.name, None)
                continue
            since = self._absent_since.setdefault(bench.name, self.time.elapsed_s)
            if self.time.elapsed_s - since > BEAM_OFF_WITHIN_S and bench.beam > 0:
                raise NotKept(
                    f"the beam of {bench.name} is on, {self.time.elapsed_s - since:.1f} s after its person left"
                )


def live(seed: int, template: Path, *, faults: int = 3, only: str = "") -> Lived:
    """One life, lived and closed. Raises NotKept with the seed in its text."""
    life = Life(seed, template, faults=faults, only=only)
    try:
        return life.run()
    except NotKept as error:
        struck = ", ".join(f"{fault} at {step!r}" for fault, step in life.lived.hits)
        raise NotKept(f"seed {seed}: {error} [{struck}]") from error
    finally:
        life.close()
