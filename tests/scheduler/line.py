"""A whole line in one thread: the real scheduler, agents that keep the protocol, and a post office between.

Nothing here waits: time is a clock one sets, messages lie in boxes until they are delivered, and every part can be
killed and started again on what it had written. The agents are the other half of the contract as it is stated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from designs.okh import licence_verdict, read_manifest
from designs.processes.model import GeometryKind, MadeToolpath
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.dispatch.backlog import Inbound
from scheduler.dispatch.hearing import ask
from scheduler.dispatch.limits import Limits
from scheduler.orders.composer import Composer, ComposerHere
from scheduler.orders.intake import CheckedDesign, CheckedFile, keep_design
from scheduler.orders.recipes import Recipe
from scheduler.orders.requests import OrderRequest, place_order
from scheduler.planning.snapshot import Placement, Plan, Shut, Snapshot, Waiting
from scheduler.store import queries
from scheduler.store import tables as t
from tests.scheduler.agent_half import Agent, HeldJob

__all__ = [
    "Agent",
    "AtOnce",
    "HeldJob",
    "Line",
    "SetClock",
    "agent_of",
    "first_fit",
    "offer",
    "order_peg",
    "start",
    "tiny_toolpath",
]

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def pass_(self, **by: float) -> None:
        self.moment += timedelta(**by)


class AtOnce(Executor):
    """Runs what it is given in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (an executor hands every error to the future)
            future.set_exception(error)
        return future


def tiny_toolpath(recipe: Recipe, blobs: str) -> MadeToolpath:
    """A toolpath that names its recipe; half an hour long."""
    program = f"; {recipe.key}\nG21\nG0 X1 Y1\nG0 X2 Y2\n".encode()
    return MadeToolpath(
        gcode=program,
        dialect=recipe.profile.dialect,
        made_by="tests 1",
        settings="plain",
        duration_s=1800.0,
        lines=4,
        bounds_mm=(1, 1, 0, 2, 2, 0),
        material_g=5.0 if recipe.profile.process == "fdm" else None,
        pieces=recipe.pieces[0].quantity,
    )


def first_fit(snapshot: Snapshot) -> Plan:
    """Every job on the machine of its kind that is free first; enough of a plan to dispatch by."""
    free = {
        machine.id: snapshot.now for machine in snapshot.machines if not machine.offline and not machine.quarantined
    }
    placements, waiting = [], []
    for job in sorted(snapshot.jobs, key=lambda job: (job.fixed is None, job.id)):
        if job.fixed is not None:
            end = job.fixed.finish or job.fixed.start
            placements.append(Placement(job.id, job.fixed.machine, job.fixed.start, end, end, fixed=True))
            free[job.fixed.machine] = max(free.get(job.fixed.machine, snapshot.now), end)
            continue
        declined = {declined.machine for declined in job.declined}
        options = [o for o in job.options if o.machine in free and o.machine not in declined]
        if not options or (job.release is not None and job.release > snapshot.now):
            shut = tuple(Shut(machine.id, "test", "not now") for machine in snapshot.machines)
            waiting.append(Waiting(job.id, "no machine can take it now", shut))
            continue
        best = min(options, key=lambda option: (free[str(option.machine)], str(option.machine)))
        machine = str(best.machine)
        start = free[machine]
        end = free[machine] = start + timedelta(seconds=best.p50_s)
        placements.append(Placement(job.id, machine, start, end, end))
    return Plan(tuple(placements), tuple(waiting), (), None, "first fit", 0, 0.0)


@dataclass
class PostOffice:
    """Keeps what the scheduler published until somebody delivers it."""

    boxes: dict[str, list[bytes]] = field(default_factory=dict)
    open: bool = True

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.boxes.setdefault(topic, []).append(payload)

    def hears(self) -> bool:
        return self.open

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        if not self.open:
            return 0
        for topic, payload, retain in messages:
            self.publish(topic, payload, retain=retain)
        return len(messages)


class Line:
    """One scheduler, some agents, one clock."""

    def __init__(
        self,
        folder: Path,
        *agents: Agent,
        database: str = "",
        planner: Callable[[Snapshot], Plan] = first_fit,
        limits: Limits | None = None,
        composer: Composer | None = None,
    ) -> None:
        self.clock = SetClock()
        self.office = PostOffice()
        self.agents = {agent.id: agent for agent in agents}
        self._planner, self._composer = planner, composer or ComposerHere()
        self.settings = Settings(data=folder, broker=None, database=database, limits=limits or Limits())
        self.scheduler = self._open()

    def _open(self) -> Scheduler:
        parts = Parts(
            clock=self.clock,
            planner=self._planner,
            composer=self._composer,
            maker=tiny_toolpath,
            wire=self.office,
            courier=self.office,
            executor=AtOnce(),
        )
        scheduler = Scheduler(self.settings, parts)
        with scheduler.store.write() as c:
            ask(c, (agent.id for agent in queries.agents(c)), scheduler.sender, self.clock.now())
        return scheduler

    def close(self) -> None:
        self.scheduler.store.close()

    def restart_scheduler(self) -> None:
        """Kill it between two transactions, and start it on what is written."""
        self.scheduler.store.close()
        self.scheduler = self._open()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def hear(self, *messages: tuple[str, bytes]) -> None:
        """Give the scheduler messages as one batch."""
        self.scheduler.ingest.commit([Inbound(topic, payload, lambda: None) for topic, payload in messages])

    def listen(self, seconds: int) -> None:
        """Let a scheduler that came just now listen for so long, second by second."""
        for _ in range(seconds):
            self.clock.pass_(seconds=1)
            self.scheduler.dispatcher.listen()

    def plan(self) -> None:
        self.scheduler.dispatcher.plan_now()

    def send(self) -> None:
        """Empty the outbox into the boxes."""
        while self.scheduler.outgoing.send_some():
            pass

    def deliver(self, agent: Agent) -> None:
        """Give an agent all that lies in its box."""
        self.send()
        for payload in self.office.boxes.pop(agent.inbox_topic(), []):
            agent.hear(payload, self.now)

    def exchange(self, agent: Agent, rounds: int = 3) -> None:
        """Both sides say all they have, until they have nothing."""
        for _ in range(rounds):
            self.deliver(agent)
            unacked = agent.unacked()
            if unacked:
                self.hear(*unacked)

    def arrive(self) -> None:
        """All agents come, say what they are, and are reconciled."""
        for agent in self.agents.values():
            self.hear(agent.presence(self.now), *(agent.report(machine, self.now) for machine in agent.machines))
            self.exchange(agent)

    def job(self, job_id: str) -> Any:
        with self.scheduler.store.read() as c:
            found = queries.job(c, job_id)
        assert found is not None
        return found

    def jobs(self, *states: JobState) -> list[Any]:
        with self.scheduler.store.read() as c:
            return queries.jobs(c, states=states or None)

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        with self.scheduler.store.read() as c:
            return {
                table.name: c.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0
                for table in t.metadata.sorted_tables
            }

    def order(self, quantity: int = 1, *, accept: bool = True, process: str = "fdm") -> list[str]:
        """A design with one part, ordered; returns its jobs (of one piece each)."""
        return order_peg(self.scheduler, self.now, quantity, accept=accept, process=process)


def order_peg(
    scheduler: Scheduler, now: datetime, quantity: int = 1, *, accept: bool = True, process: str = "fdm"
) -> list[str]:
    """Order a design with one part of one piece; returns the jobs."""
    code, material = {"fdm": ("3DP", "PLA"), "laser": ("LAS", "MDF")}[process]
    manifest = (
        'okhv = "2.4"\nname = "peg"\nrepo = "https://example.org"\nversion = "1"\nlicense = "CC0-1.0"\n'
        'licensor = "us"\nfunction = "a peg"\n[[part]]\nname = "peg"\nexport = ["peg.stl"]\n'
        f'tsdc = ["{code}"]\nmaterial = "{material}"\n' + ('printing-process = "FDM"\n' if code == "3DP" else "")
    ).encode()
    mesh = b"solid peg"
    sha256 = hashlib.sha256(mesh).hexdigest()
    file = CheckedFile("peg.stl", GeometryKind.STL, sha256, len(mesh), {"dims_mm": [150, 150, 10]})
    design = CheckedDesign(
        hashlib.sha256(manifest).hexdigest(),
        read_manifest(manifest),
        manifest,
        licence_verdict("CC0-1.0"),
        (file,),
        {"okh.toml": manifest, "peg.stl": mesh},
    )
    with scheduler.store.write() as c:
        keep_design(c, scheduler.blobs, design, now)
        request = OrderRequest(design.address, quantity, accept=accept)
        order, _ = place_order(c, scheduler.blobs, request, now)
        return [job.id for job in queries.jobs(c, order=order.id)]


def agent_of(line: Line) -> Agent:
    """The only agent of a line, or its first."""
    return next(iter(line.agents.values()))


def offer(line: Line) -> None:
    """Make the toolpaths, plan on them, offer, claim, grant."""
    line.plan()
    line.plan()
    line.exchange(agent_of(line))


def start(line: Line, job: str) -> None:
    """From the lease to the first confirmed line."""
    agent = agent_of(line)
    agent.stage(job, line.now)
    agent.ready(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    line.exchange(agent)
