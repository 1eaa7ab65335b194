"""The scheduler is killed at half time: real broker, real agents, twins. Nothing runs twice, and everything is made.

`workshed serve` slices and plans; three shops with a printer each, one of them the home of all jobs. After `kill -9`
the jobs not begun are given up, pulled from the board and granted by their home, which also serves the toolpaths.
Then the scheduler comes back, and its books become true.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import urllib.error
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trimesh

from tests.agents import peer
from tests.agents.processes import AgentProcess, Process, Twin, ending, printer, write_shop
from tests.scheduler.process import administrator, begin_scheduler

pytestmark = [pytest.mark.processes, pytest.mark.broker, pytest.mark.timeout(300)]

JOBS = 7
SHOPS = ("alder", "birch", "cedar")
#: Two do not lie on one plate of these printers.
_TILE_MM = (120.0, 120.0, 0.4)


class Shop:
    """One agent with its twin, and the person who clears its bed."""

    def __init__(self, folder: Path, name: str, broker_port: int, stack: ExitStack) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir()
        twin = Twin("marlin", self.folder, "m1", speed=240.0)
        stack.enter_context(ending(twin))
        volunteers = "true" if name == SHOPS[0] else "false"
        more = f"[board]\nvolunteers = {volunteers}\npatience_s = 2.0\n"
        config, self.port = write_shop(self.folder, broker_port, printer("m1", twin.port), more)
        own = config.read_text().replace('shop = "alder"', f'shop = "{name}"')
        url = f'token_file = "token"\npublic_url = "http://127.0.0.1:{self.port}"'
        config.write_text(own.replace('token_file = "token"', url))
        self.agent = AgentProcess(config, self.port, self.folder / "agent.log")
        stack.enter_context(ending(self.agent))

    def clear(self) -> None:
        """The person clears the bed and looks at the parts, whenever that is possible."""
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            state = self.agent.machine("m1")
            if not state["bed_clear"] and state["state"] == "occupied":
                self.agent.post("/api/machines/m1/bed-clear")
            for job in state["jobs"]:
                if job["state"] == "finished":
                    self.agent.post(f"/api/jobs/{job['job']}/inspect", good=job["pieces"], rejected=0)

    def rows(self, question: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/data/agent.sqlite?mode=ro", uri=True)) as db:
            return db.execute(question).fetchall()

    def runs(self) -> list[str]:
        """Jobs whose run the machine confirmed, once for each run."""
        return [job for (job,) in self.rows("SELECT job FROM leases WHERE started IS NOT NULL")]

    def made(self) -> list[str]:
        return [job for (job,) in self.rows("SELECT job FROM leases WHERE state IN ('finished', 'inspected')")]


class Network:
    """One scheduler as a process, three shops."""

    def __init__(self, folder: Path, broker: peer.Broker, stack: ExitStack) -> None:
        self.folder, self.broker, self._stack = folder, broker, stack
        self.http = peer.free_port()
        self.scheduler = self.begin()
        self.shops = [Shop(folder, name, broker.port, stack) for name in SHOPS]
        self.client = stack.enter_context(administrator(folder, self.http))

    def begin(self) -> Process:
        return begin_scheduler(self.folder, self.http, self.broker.port, self._stack)

    def order(self) -> str:
        mesh = trimesh.creation.box(_TILE_MM).export(file_type="stl")
        said = {"licence": "CC0-1.0", "material": "PLA"}
        design = self.client.post("/api/v1/designs", files={"files": ("tile.stl", mesh)}, data=said).json()["design"]
        request = {"design": design, "quantity": JOBS, "accept": True}
        answer = self.client.post("/api/v1/orders", json=request)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def made(self) -> list[str]:
        return [job for shop in self.shops for job in shop.made()]

    def work_until(self, reached: Callable[[], Any], within_s: float, what: str) -> None:
        """People clear beds and look at parts until something is so."""

        def turn() -> Any:
            for shop in self.shops:
                shop.clear()
            return reached()

        peer.eventually(turn, within_s, lambda: f"{what}: {self.told()}")

    def told(self) -> str:
        lines = [f"{shop.name}: {shop.rows('SELECT job, fence, state, why FROM leases')}" for shop in self.shops]
        return "\n".join([*lines, *(shop.agent.said()[-1500:] for shop in self.shops)])


@pytest.fixture
def network(real_part: Callable[[str], Path], tmp_path: Path) -> Any:
    folder = tmp_path / "broker"
    folder.mkdir()
    with peer.mosquitto(real_part("mosquitto"), folder) as broker, ExitStack() as stack:
        yield Network(tmp_path, broker, stack)


def test_a_scheduler_killed_at_half_time_costs_nothing(network: Network) -> None:
    order = network.order()
    network.work_until(lambda: len(network.made()) >= JOBS // 2, 120, "half of it is made")
    os.kill(network.scheduler.pid, signal.SIGKILL)
    network.scheduler.process.wait()
    before = len(network.made())
    network.work_until(lambda: len(set(network.made())) == JOBS, 120, "all is made without the scheduler")
    by_home = sum(len(shop.rows("SELECT 1 FROM granters")) for shop in network.shops)
    assert by_home >= JOBS - before - len(SHOPS), "the home granted what was open"

    network.scheduler = network.begin()
    network.work_until(
        lambda: network.client.get(f"/api/v1/orders/{order}").json()["state"] == "made", 60, "the books become true"
    )
    runs = Counter(job for shop in network.shops for job in shop.runs())
    assert set(runs.values()) == {1}, f"each job ran once: {runs}"
    assert len(runs) == JOBS
