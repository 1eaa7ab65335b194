"""A town of real processes: Mosquitto, `workshed serve`, `workshed-agent serve`, a printer's and a laser's twin.

Between them are relays that watch and can be cut; the agent has a network and a disk of its own where that can be. The
controller (`strikes.py`, `scenarios.py`) breaks it; the people of the town are here too, because a town needs people.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

from scheduler.store import Blobs
from tests.agents import peer
from tests.agents.processes import AgentProcess, Process, Twin, ending, laser, printer, write_shop
from tests.faults import walls, watching
from tests.faults.relays import Delivery, MqttRelay
from tests.faults.townspeople import People
from tests.scheduler.process import administrator, begin_scheduler

#: How fast the twins' clocks run: a tile takes some seconds, most of it warming up.
PRINTER_SPEED: Final = 150.0
LASER_SPEED: Final = 3.0
_KEEPALIVE_S: Final = 5
#: The first toolpaths, and the first plan of a scheduler: on a busy computer they take minutes.
_FIRST_S: Final = 400.0


class Town:
    """One scheduler, one shop with a printer and a laser, and everything between them."""

    def __init__(self, folder: Path, mosquitto: Path, stack: ExitStack, *, seed: int = 0) -> None:
        self.folder, self._stack = folder, stack
        for name in ("broker", "shop", "by-path"):
            (folder / name).mkdir(parents=True)
        self.watch = watching.Watch()
        self.network = stack.enter_context(walls.own_network())
        self.disks = {name: walls.Disk(place) for name, place in self._disk_places().items()}
        for disk in self.disks.values():
            stack.callback(disk.close)
        self.clock_bender = bender = walls.wrong_clock(folder)
        self.clocks = {name: walls.WallClock(folder / f"{name}.clock", bender) for name in self.disks}
        self.broker = stack.enter_context(peer.mosquitto(mosquitto, folder / "broker"))
        self.http = peer.free_port()
        self._relays(seed)
        self._machines()
        self.scheduler = self.begin_scheduler()
        self.agent = self.begin_agent()
        self.client = stack.enter_context(administrator(folder, self.http))
        self.people = People(self)
        self._designs: dict[str, str] = {}
        self._made_designs = 0
        self._programs: dict[str, watching.Program] = {}
        self.ordered_at: dict[str, float] = {}
        self.process_of: dict[str, str] = {}
        self._make_one_of_each()

    def _make_one_of_each(self) -> None:
        """Before anything is broken: the way is open, the planner is loaded, two designs have toolpaths."""
        self.people.beside_the_laser = True
        for job in [self.order(process, fresh=False) for process in ("fdm", "laser")]:
            until(self, job, lambda job=job: self.job_state(job)[0] == "inspected", "the first parts", _FIRST_S)  # type: ignore[misc]
            self.watch.over.add(job)

    def _disk_places(self) -> dict[str, Path]:
        return {"scheduler": self.folder / "scheduler", "shop": self.folder / "shop" / "data"}

    def _relays(self, seed: int) -> None:
        outside = self.network.outside if self.network is not None else "127.0.0.1"
        self.agent_line = MqttRelay(self.broker.port, self.watch.letter("agent"), outside, seed)
        self.scheduler_line = MqttRelay(self.broker.port, self.watch.letter("scheduler"), seed=seed)
        self.files = watching.FileRelay(self.http, self.watch, outside)
        for relay in (self.agent_line, self.scheduler_line, self.files):
            self._stack.callback(relay.close)

    def _machines(self) -> None:
        self.records, self.twins = {}, {}
        for name, kind, speed in (("m1", "marlin", PRINTER_SPEED), ("l1", "grbl", LASER_SPEED)):
            record = self.folder / f"{name}.record"
            more: tuple[str, ...] = ("--record", str(record))
            more += ("--profile", "laser", "--setting", "$32=1") if kind == "grbl" else ()
            twin = Twin(kind, self.folder / "by-path", name, speed=speed, more=more)
            self._stack.enter_context(ending(twin))
            self.twins[name], self.records[name] = twin, watching.MachineRecord(record)
        machines = printer("m1", self.twins["m1"].port) + laser("l1", self.twins["l1"].port)
        near = self.network
        self.inside, self.outside = ("127.0.0.1",) * 2 if near is None else (near.inside, near.outside)
        port, shop = self.agent_line.port, self.folder / "shop"
        self.config, self.port = write_shop(shop, port, machines, broker=self.outside, listen=self.inside)
        text = self.config.read_text().replace("reconnect_s = 0.5", f"reconnect_s = 0.5\nkeepalive_s = {_KEEPALIVE_S}")
        self.config.write_text(text)

    # --- processes

    def begin_scheduler(self) -> Process:
        """Start it, and wait until it serves."""
        more = ("--public-url", f"http://{self.outside}:{self.files.port}")
        env = self.clocks["scheduler"].env
        return begin_scheduler(self.folder, self.http, self.scheduler_line.port, self._stack, more=more, env=env)

    def begin_agent(self) -> AgentProcess:
        """Start it, and wait until it serves."""
        before = self.network.enter if self.network is not None else ()
        log, env = self.folder / "agent.log", self.clocks["shop"].env
        agent = AgentProcess(self.config, self.port, log, host=self.inside, before=before, env=env)
        self._stack.enter_context(ending(agent))
        return agent

    def stop(self, process: Process) -> None:
        """SIGSTOP."""
        os.kill(process.pid, signal.SIGSTOP)

    def go_on(self, process: Process) -> None:
        """SIGCONT."""
        os.kill(process.pid, signal.SIGCONT)

    def pull_network(self) -> None:
        """No packet passes between the shop and the rest; nobody is told."""
        if self.network is not None:
            self.network.pull()
        else:
            self.agent_line.mute()
            self.files.mute()

    def put_in_network(self) -> None:
        """Packets pass again."""
        if self.network is not None:
            self.network.put_in()
        self.agent_line.heal()
        self.files.heal()

    def deliver(self, how: Delivery) -> None:
        """How messages are delivered from now on, on both lines."""
        self.agent_line.delivery = self.scheduler_line.delivery = how

    # --- what is written

    @property
    def spool(self) -> Path:
        return self.disks["shop"].folder / "agent.sqlite"

    @property
    def books(self) -> Path:
        return self.disks["scheduler"].folder / "workshed.db"

    def events(self, job: str) -> list[tuple[str, int | None]]:
        """(kind, fence) of what the scheduler wrote about a job."""
        question = "SELECT kind, fence FROM job_events WHERE job = ? ORDER BY id"
        return [(str(kind), fence) for kind, fence in watching.rows(self.books, question, job)]

    def job_state(self, job: str) -> tuple[str, int]:
        """State and fence in the scheduler's books; ("", 0) while they cannot be read."""
        found = watching.rows(self.books, "SELECT state, fence FROM jobs WHERE id = ?", job)
        return (str(found[0][0]), int(found[0][1])) if found else ("", 0)

    def lease_states(self, job: str) -> list[tuple[str, int]]:
        """(state, fence) of the agent's leases on a job."""
        found = watching.rows(self.spool, "SELECT state, fence FROM leases WHERE job = ? ORDER BY fence", job)
        return [(str(state), int(fence)) for state, fence in found]

    # --- orders

    def design(self, process: str, *, fresh: bool) -> str:
        """A design to order; a fresh one has no toolpath anywhere."""
        if not fresh and process in self._designs:
            return self._designs[process]
        size = 12 + self._made_designs
        self._made_designs += 1
        if process == "fdm":
            files = {"files": ("tile.stl", _tile(size, 12.0, 0.4))}
            said = {"licence": "CC0-1.0", "material": "PLA"}
        else:
            files = {"files": ("tag.svg", _tag(size, 12.0))}
            said = {"licence": "CC0-1.0", "material": "plywood", "thickness_mm": "3"}
        answer = self.client.post("/api/v1/designs", files=files, data=said)
        assert answer.status_code == 201, answer.text
        return self._designs.setdefault(process, str(answer.json()["design"])) if not fresh else answer.json()["design"]

    def order(self, process: str, *, fresh: bool) -> str:
        """Order one piece; the job."""
        body = {"design": self.design(process, fresh=fresh), "quantity": 1, "accept": True}
        began = watching.now()
        answer = self.client.post("/api/v1/orders", json=body)
        assert answer.status_code == 201, answer.text
        job = str(answer.json()["jobs"][0]["id"])
        self.ordered_at[job], self.process_of[job] = began, process
        return job

    def page(self, job: str) -> dict[str, Any]:
        """The job's page; empty while the scheduler is away."""
        with contextlib.suppress(httpx.HTTPError):
            answer = self.client.get(f"/api/v1/jobs/{job}")
            if answer.status_code == 200:
                page: dict[str, Any] = answer.json()
                return page
        return {}

    def program(self, job: str) -> watching.Program:
        """The job's toolpath."""
        if job not in self._programs:
            question = "SELECT sha256 FROM offers WHERE job = ? LIMIT 1"
            sha256 = next(str(sha) for (sha,) in watching.rows(self.books, question, job))
            path = Blobs(self.disks["scheduler"].folder / "blobs").path(sha256)
            self._programs[job] = watching.Program.of(path.read_text(encoding="utf-8"))
        return self._programs[job]

    def toolpath_made(self, job: str) -> bool:
        """Whether the toolpath of a job was made, or the job got beyond that."""
        question = "SELECT 1 FROM recipes JOIN jobs USING (file_key) WHERE jobs.id = ? AND recipes.status = 'made'"
        return bool(watching.rows(self.books, question, job))

    def machine_of(self, job: str) -> str:
        """The machine that can make it: there is one of each kind."""
        return {"fdm": "m1", "laser": "l1"}[self.process_of[job]]

    def beam(self) -> float:
        """The power of the laser now, by its twin's word."""
        return float(self.twins["l1"].state()["spindle"]["power"])


def _tile(*size_mm: float) -> bytes:
    """A box as binary STL: two triangles a face, seen from outside counter-clockwise."""
    x, y, z = size_mm
    corners = [(i * x, j * y, k * z) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    faces = ((0, 2, 6, 4), (1, 5, 7, 3), (0, 4, 5, 1), (2, 3, 7, 6), (0, 1, 3, 2), (4, 6, 7, 5))
    triangles = [corner for a, b, c, d in faces for corner in ((a, b, c), (a, c, d))]
    rows = (struct.pack("<12fH", 0, 0, 0, *(at for one in three for at in corners[one]), 0) for three in triangles)
    return bytes(80) + struct.pack("<I", len(triangles)) + b"".join(rows)


def _tag(width_mm: float, height_mm: float) -> bytes:
    """A rectangle to be cut out."""
    size = f'width="{width_mm}mm" height="{height_mm}mm" viewBox="0 0 {width_mm} {height_mm}"'
    rectangle = f'<rect x="0" y="0" width="{width_mm}" height="{height_mm}" fill="none" stroke="red"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{rectangle}</svg>'.encode()


def until(town: Town, job: str, reached: Callable[[], Any], what: str, within_s: float) -> Any:
    """The first true answer, while the people of the shop do what there is to do."""

    def turn() -> Any:
        found = reached()
        if not found:
            town.people.act(job)
            found = reached()
        return found

    return peer.eventually(
        turn, within_s, lambda: f"{what}; {town.events(job)}; the agent has {town.lease_states(job)}"
    )
