"""Real processes killed with -9, stopped and cut off at named steps of a job.

One network serves all: Mosquitto, `workshed serve`, `workshed-agent serve`, a printer's twin. After every fault the
order must be made, no fence may have started twice, and what failed must have said so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trimesh

from tests.agents import peer
from tests.agents.processes import AgentProcess, Process, Twin, ending, printer, write_shop
from tests.faults.link import Link
from tests.scheduler.process import administrator, begin_scheduler

pytestmark = [pytest.mark.processes, pytest.mark.broker]


class Town:
    """One scheduler, one shop with one printer, and everything between them."""

    def __init__(self, folder: Path, broker: peer.Broker, stack: ExitStack) -> None:
        self.folder, self.broker, self._stack = folder, broker, stack
        self.link = Link(broker.port)
        stack.callback(self.link.close)
        self.http = peer.free_port()
        self.twin = Twin("marlin", folder, "m1", speed=300.0)
        stack.enter_context(ending(self.twin))
        self.config, self.port = write_shop(folder, self.link.port, printer("m1", self.twin.port))
        self.scheduler = self.begin_scheduler()
        self.agent = self.begin_agent()
        self.client = stack.enter_context(administrator(folder, self.http))
        mesh = trimesh.creation.box((12, 12, 0.6)).export(file_type="stl")
        said = {"licence": "CC0-1.0", "material": "PLA"}
        answer = self.client.post("/api/v1/designs", files={"files": ("tile.stl", mesh)}, data=said)
        self.design = answer.json()["design"]

    def begin_scheduler(self) -> Process:
        return begin_scheduler(self.folder, self.http, self.broker.port, self._stack)

    def begin_agent(self) -> AgentProcess:
        agent = AgentProcess(self.config, self.port, self.folder / "agent.log")
        self._stack.enter_context(ending(agent))
        return agent

    # --- faults

    def kill_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler = self.begin_scheduler()

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent = self.begin_agent()

    def kill_broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def cut_link(self) -> None:
        self.link.cut()
        peer.eventually(lambda: self.machine()["stale"], 60, "the scheduler sees that the agent is gone")
        self.link.heal()

    def pause_scheduler(self) -> None:
        """SIGSTOP for two seconds."""
        self._stopped(self.scheduler.pid)

    def pause_agent(self) -> None:
        """SIGSTOP for two seconds: the machine empties its buffers and waits."""
        self._stopped(self.agent.pid)

    def _stopped(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(2.0)  # the length of the fault; nothing waits for it
        os.kill(pid, signal.SIGCONT)

    # --- what people do and see

    def machine(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.client.get("/api/v1/machines").json()
        return found[0] if found else {"stale": True}

    def order(self) -> str:
        body = {"design": self.design, "quantity": 1, "accept": True}
        answer = self.client.post("/api/v1/orders", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobs"][0]["id"])

    def job(self, job: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/jobs/{job}")
        answer.raise_for_status()
        page: dict[str, Any] = answer.json()
        return page

    def kinds(self, job: str) -> list[str]:
        with contextlib.suppress(httpx.HTTPError):
            return [event["kind"] for event in self.job(job)["history"]]
        return []

    def person(self, job: str) -> None:
        """Whoever stands in the shop: re-arms what was disarmed, clears the bed, inspects what is finished."""
        with contextlib.suppress(urllib.error.URLError, OSError, StopIteration):
            if self.agent.machine("m1")["state"] == "alarm":
                self._ask("/api/machines/m1/rearm")
            self._ask("/api/machines/m1/bed-clear")
            self._ask(f"/api/jobs/{job}/inspect", good=1, rejected=0, note="")

    def _ask(self, path: str, **body: Any) -> None:
        with contextlib.suppress(urllib.error.HTTPError):
            self.agent.post(path, **body)

    def until(self, job: str, reached: Callable[[list[str]], bool], what: str, within_s: float = 120.0) -> None:
        def settled() -> bool:
            self.person(job)
            return reached(self.kinds(job))

        try:
            peer.eventually(settled, within_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.kinds(job)}; {self.machine()}") from error


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, real_part: Callable[[str], Path]) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    keep = folder / "broker"
    keep.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(peer.mosquitto(real_part("mosquitto"), keep))
        yield Town(folder, broker, stack)


#: (fault, the step after which it happens). The long form (WORKSHED_LONG=1) takes every pair: 48.
SHORT = [
    ("kill_scheduler", "running"),
    ("kill_agent", "running"),
    ("kill_broker", "claimed"),
    ("cut_link", "running"),
    ("pause_agent", "running"),
]
STEPS = ("created", "offered", "claimed", "staged", "ready", "start_intended", "running", "finished")
FAULTS = ("kill_scheduler", "kill_agent", "kill_broker", "cut_link", "pause_scheduler", "pause_agent")
LONG = [(fault, step) for step in STEPS for fault in FAULTS]
PAIRS = LONG if os.environ.get("WORKSHED_LONG") == "1" else SHORT


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "step"), PAIRS)
def test_an_order_is_made_whatever_dies(town: Town, fault: str, step: str) -> None:
    job = town.order()
    town.until(job, lambda kinds: step in kinds, f"the job is {step}")
    getattr(town, fault)()
    town.until(job, lambda kinds: "inspected" in kinds, "the part is made and inspected")
    history = town.job(job)["history"]
    starts = Counter(event["fence"] for event in history if event["kind"] == "start_intended")
    assert set(starts.values()) == {1}, "one fence started twice"
    assert len([1 for event in history if event["kind"] == "inspected"]) == 1
    failed = [event["body"]["failure"] for event in history if event["kind"] == "failed"]
    if fault == "kill_agent":
        assert failed in (["agent_restarted"], []), failed
    elif step in ("claimed", "staged", "ready", "start_intended", "running", "finished"):
        assert failed == []
        assert max(starts) == 1, "nothing but the agent's own death may cost an attempt"
