"""One life: orders go through a line step by step; after any step something may break; then it heals, and all is made.

A step is named by the state of a job and what was just done about it (`starting/journal flew`). The scheduler and its
store are the real ones; agents keep their half of the contract. Everything follows from one seed.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.vocabulary import CLOSED_STATES, LEASED_STATES, MOTION_STATES, JobState, MachineState
from scheduler.api.views import overview
from scheduler.dispatch import people
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.rows import JobRow
from tests.scheduler.line import Agent, HeldJob, Line

#: Faults by name; each is a method of `Life`.
FAULTS = (
    "kill_scheduler",
    "kill_agent",
    "kill_broker",
    "cut_link",
    "double_messages",
    "reorder_messages",
    "delay_messages",
    "clock_forward",
    "clock_back",
    "fill_disk",
    "restore_database",
    "break_machine",
)
_FAULTY_ROUNDS = 12
_MOST_ROUNDS = 120


class NotKept(AssertionError):
    """A rule was broken; the text names it."""


class Life:
    """Two shops, three machines, up to three jobs, and `faults` faults at random steps."""

    def __init__(self, seed: int, *, faults: int = 3, template: Path | None = None) -> None:
        self.chance = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="life"))
        if template is not None:
            shutil.copy(template, self.folder / "workshed.db")
        self.line = Line(self.folder, Agent("mill", "pi", ("m1", "m2")), Agent("barn", "pi", ("m3",)))
        self.agents = list(self.line.agents.values())
        self.left = faults
        self.counts: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.fences: dict[str, int] = {}
        self.to_inspect: list[tuple[Agent, HeldJob]] = []
        self.finished: Counter[str] = Counter()
        self.looked: set[str] = set()
        """Jobs a person decided about: from then on making one twice is that person's word."""
        self.cut: set[str] = set()
        self.full = False
        self.copies: list[Path] = []
        self._watch_disk()

    def close(self) -> None:
        self.line.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- one life

    def run(self) -> None:
        """Live it. Raises NotKept."""
        self.line.arrive()
        self.line.order(self.chance.randint(1, 3))
        for _ in range(_FAULTY_ROUNDS):
            self._round()
            if self._over() and not self.left:
                break
        self._heal()
        for _ in range(_MOST_ROUNDS):
            self._round()
            if self._over():
                break
        else:
            states = {job.id: (job.state.value, job.flag, job.waiting) for job in self.line.jobs()}
            raise NotKept(f"not everything that could be made was made: {states}")
        for job in self.line.jobs():
            if self.finished[job.id] > 1 and job.id not in self.looked:
                raise NotKept(f"{job.id} was made {self.finished[job.id]} times and nobody had decided so")

    def _over(self) -> bool:
        return all(job.state in CLOSED_STATES for job in self.line.jobs())

    def _round(self) -> None:
        self._do("planned", self.line.plan)
        self._do("outbox emptied", self.line.send)
        for agent in self.agents:
            self._do("inbox heard", lambda agent=agent: self._inbox(agent))
            self._do("agent acted", lambda agent=agent: self._act(agent))
            self._do("journal flew", lambda agent=agent: self._journal(agent))
        self._do("person looked", self._person)
        self._conserved()
        self.line.clock.pass_(seconds=20)

    def _do(self, what: str, deed: Callable[[], None]) -> None:
        with self._disk():
            deed()
        for job in self._check():
            self.steps[f"{job.state}/{what}"] += 1
        if self.left and self.chance.random() < 0.05:
            self.left -= 1
            fault = self.chance.choice(FAULTS)
            self.counts[fault] += 1
            with self._disk():
                getattr(self, fault)()
            self._check()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """What meets a full disk is not done; it is tried again in a later round."""
        try:
            yield
        except sa.exc.OperationalError:
            self.counts["a full disk was met"] += 1

    # --- the agents' side

    def _inbox(self, agent: Agent) -> None:
        if agent.id in self.cut:
            return
        for payload in self.line.office.boxes.pop(agent.inbox_topic(), []):
            body = decode(payload).body
            if isinstance(body, m.Grant) and body.offer not in agent.spool.offers:
                continue  # its offer was lost with the broker: the reconciliation says it again
            agent.hear(payload, self.line.now)

    def _act(self, agent: Agent) -> None:
        for held in list(agent.spool.held.values()):
            busy = any(
                other.machine == held.machine
                and other.state in ("intended", "starting", "running")
                and other is not held
                for other in agent.spool.held.values()
            )
            if held.state == "leased":
                agent.stage(held.job, self.line.now)
            elif held.state == "staged" and not busy:
                agent.ready(held.job, self.line.now)
                agent.intend(held.job, self.line.now)
            elif held.state == "starting":
                agent.run(held.job, self.line.now)
            elif held.state == "running":
                agent.progress(held.job, self.line.now, 0.5)
                if self.chance.random() < 0.5:
                    self.finished[held.job] += 1
                    self.to_inspect.append((agent, agent.finish(held.job, self.line.now)))

    def _journal(self, agent: Agent) -> None:
        if agent.id not in self.cut:
            said = agent.unacked()
            if said:
                self.line.hear(*said)

    def _person(self) -> None:
        """Inspects what is finished; decides where the scheduler asks for a person, after looking at the machines."""
        inspected, self.to_inspect = self.to_inspect, []
        for agent, held in inspected:
            agent.inspect(held, self.line.now, good=1)
        for job in self.line.jobs():
            moving = any(job.id in agent.spool.held for agent in self.agents)
            heard = not self.cut and all(not agent.unacked() for agent in self.agents)
            if not job.flag or moving or not heard or self.left:
                continue
            self.looked.add(job.id)
            self.counts["a person decided"] += 1
            with self.line.scheduler.store.write() as c:
                mover = self.line.scheduler.mover
                if job.state in MOTION_STATES:
                    people.declare_lost(c, mover, job.id, "looked at it", self.line.now)
                elif job.state not in CLOSED_STATES:
                    people.release_job(c, mover, job.id, self.line.now)

    # --- what breaks

    def kill_scheduler(self) -> None:
        """kill -9 between two transactions, and a new one on what was written."""
        self.full = False
        self.line.restart_scheduler()
        self._watch_disk()

    def kill_agent(self) -> None:
        """kill -9 and a new one on its spool."""
        self.chance.choice(self.agents).restart(self.line.now)

    def kill_broker(self) -> None:
        """Everything on its way to agents is lost."""
        self.line.send()
        self.line.office.boxes.clear()
        for agent in self.agents:
            self.line.scheduler.store.read()
            self._comes_back(agent)

    def cut_link(self) -> None:
        """An agent is alone; its will speaks. It may come back later in this life."""
        agent = self.chance.choice(self.agents)
        self.cut.add(agent.id)
        self.line.hear(agent.presence(self.line.now, online=False))

    def double_messages(self) -> None:
        """Everything in flight arrives twice, journals too."""
        for box in self.line.office.boxes.values():
            box.extend(list(box))
        for agent in self.agents:
            if agent.id not in self.cut:
                said = agent.unacked()
                if said:
                    self.line.hear(*said, *said)

    def reorder_messages(self) -> None:
        """Journals arrive one by one, last first."""
        for agent in self.agents:
            if agent.id not in self.cut:
                for message in reversed(agent.unacked()):
                    self.line.hear(message)

    def delay_messages(self) -> None:
        """Nothing moves for an hour."""
        self.line.clock.pass_(hours=1)

    def clock_forward(self) -> None:
        """The scheduler's clock jumps."""
        self.line.clock.pass_(hours=1)
        self.line.plan()

    def clock_back(self) -> None:
        """And back."""
        self.line.clock.pass_(hours=-1)

    def fill_disk(self) -> None:
        """No page more for the database, until it heals or the scheduler is restarted."""
        self.full = True

    def restore_database(self) -> None:
        """An old copy of the scheduler's database is put in place; agents keep the truth."""
        path = self.folder / "workshed.db"
        if not self.copies:
            copy = self.folder / "copy.db"
            with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
                source.backup(target)
            self.copies.append(copy)
            return
        self.full = False
        self.line.scheduler.store.close()
        for leftover in self.folder.glob("workshed.db*"):
            leftover.unlink()
        shutil.copy(self.copies[0], path)
        self.fences.clear()
        self.line.scheduler = self.line._open()
        self._watch_disk()
        for agent in self.agents:
            self._comes_back(agent)

    def break_machine(self) -> None:
        """A machine goes into alarm; whoever runs on it fails."""
        agent = self.chance.choice(self.agents)
        machine = self.chance.choice(agent.machines)
        self.line.hear(agent.report(machine, self.line.now, MachineState.ALARM, why="limit switch"))

    def _comes_back(self, agent: Agent) -> None:
        self.cut.discard(agent.id)
        reports = [agent.report(machine, self.line.now) for machine in agent.machines]
        self.line.hear(agent.presence(self.line.now), *reports)

    def _heal(self) -> None:
        self.full = False
        self.left = 0
        for agent in self.agents:
            agent.restart(self.line.now)
            self._comes_back(agent)

    def _watch_disk(self) -> None:
        """A real full disk for SQLite: it may not grow by one page more while `full`."""

        @sa.event.listens_for(self.line.scheduler.store.engine, "begin")
        def limit(connection: sa.Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if self.full else 1_073_741_823
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    # --- what always holds

    def _conserved(self) -> None:
        with self.line.scheduler.store.read() as c:
            numbers, jobs = overview(c), len(queries.jobs(c))
        total = numbers.done + numbers.running + numbers.waiting + numbers.unmatched + numbers.cancelled
        if not numbers.jobs_in == total == jobs:
            raise NotKept(f"jobs are lost or doubled: {numbers}")

    def _check(self) -> list[JobRow]:
        with self.line.scheduler.store.read() as c:
            jobs = queries.jobs(c)
            live = [lease.job for lease in queries.live_leases(c)]
            query = sa.select(t.events.c.job, t.events.c.fence).where(t.events.c.kind == "start_intended")
            committed = Counter((job, fence) for job, fence in c.execute(query))
        if len(live) != len(set(live)) or set(live) != {job.id for job in jobs if job.state in LEASED_STATES}:
            raise NotKept(f"live leases and leased jobs differ: {live}")
        for job in jobs:
            if job.fence < self.fences.get(job.id, 0):
                raise NotKept(f"the fence of {job.id} fell")
            self.fences[job.id] = job.fence
        if any(count > 1 for count in committed.values()):
            raise NotKept("one fence was committed to start twice")
        starts = [start for agent in self.agents for start in agent.starts]
        if len(starts) != len(set(starts)):
            raise NotKept("one fence started twice")
        if not self.copies and not set(starts) <= set(committed):
            raise NotKept("a start that the scheduler had not committed")
        self._one_machine_a_job(jobs)
        return jobs

    def _one_machine_a_job(self, jobs: list[JobRow]) -> None:
        for job in jobs:
            moving = [
                held
                for agent in self.agents
                for held in agent.spool.held.values()
                if held.job == job.id and held.state in ("starting", "running")
            ]
            if len(moving) > 1 and job.id not in self.looked:
                raise NotKept(f"{job.id} runs on {len(moving)} machines")
            if moving and job.state is JobState.WAITING and not self.copies and job.id not in self.looked:
                raise NotKept(f"{job.id} runs on a machine and waits for one")


def template_database() -> Path:
    """An empty, migrated database to start lives from: migrating is tested elsewhere and takes most of a life."""
    folder = Path(tempfile.mkdtemp(prefix="life"))
    line = Line(folder)
    line.close()
    copy = folder / "template.db"
    with sqlite3.connect(folder / "workshed.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return copy


def live(seed: int, template: Path, *, faults: int = 3) -> Life:
    """One life, lived and closed. Raises NotKept with the seed in its text."""
    life = Life(seed, faults=faults, template=template)
    try:
        life.run()
    except NotKept as error:
        raise NotKept(f"seed {seed}: {error}") from error
    finally:
        life.close()
    return life
