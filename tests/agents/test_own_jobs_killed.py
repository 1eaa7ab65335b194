"""kill -9 of an agent without a network at every step of an own job: the machine itself says how often it was made.

A real process on a twin that keeps a record of every line it carried out. The person does what the page asks for, and
nothing more: an own job that ended half way is not queued again by anybody.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.agents.peer import eventually
from tests.agents.processes import AgentProcess, Twin, ending, printer, write_shop
from tests.agents.test_agent_process import PRINT
from tests.faults.shop import back_up

pytestmark = pytest.mark.processes


class Shed:
    """A printer, its agent, and whoever stands beside them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder, self.record = folder, folder / "m1.record"
        self.twin = Twin("marlin", folder, "m1", speed=60, more=("--record", str(self.record)))
        stack.enter_context(ending(self.twin))
        self.config, self.port = write_shop(folder, None, printer("m1", self.twin.port))
        self._stack = stack
        self.begin()

    def begin(self) -> None:
        self.agent = AgentProcess(self.config, self.port, self.folder / "agent.log")
        self._stack.enter_context(ending(self.agent))
        eventually(lambda: self.machine["bridge_state"] not in {"offline", "unidentified"}, within_s=30)

    @property
    def machine(self) -> dict[str, object]:
        return self.agent.machine("m1")

    def queue(self) -> str:
        answer = self.agent._call("/api/machines/m1/own-jobs?title=vase", PRINT)
        return str(answer["said"])

    def state(self, job: str) -> str:
        jobs = self.machine["jobs"]
        assert isinstance(jobs, list)
        return next((str(one["state"]) for one in jobs if one["job"] == job), "")

    def kept(self, job: str) -> str:
        """Its state in the spool: once the bed is clear, the page shows nothing of what failed before it moved."""
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "agent.sqlite")) as spool:
            return str(spool.execute("SELECT state FROM leases WHERE job = ?", (job,)).fetchone()[0])

    def until(self, job: str, *states: str) -> None:
        eventually(lambda: self.state(job) in states, 60, lambda: f"{job} is {self.state(job)}, not {states}")

    def clear(self) -> None:
        self.agent.post_when_possible("/api/machines/m1/bed-clear")

    def looked_after(self) -> None:
        """A person does what the page asks for, until nothing is asked."""

        def nothing_left() -> bool:
            machine = self.machine
            with contextlib.suppress(urllib.error.HTTPError):
                if machine["disarmed"] or machine["bridge_state"] in {"fault", "disarmed", "alarm"}:
                    self.agent.post("/api/machines/m1/rearm")
                elif not machine["bed_clear"] and machine["bridge_state"] == "idle":
                    self.agent.post("/api/machines/m1/bed-clear")
            machine = self.machine
            return bool(not machine["disarmed"] and machine["bed_clear"] and machine["bridge_state"] == "idle")

        eventually(nothing_left, 60, lambda: f"nothing is asked of a person any more: {self.machine}")

    def started(self) -> int:
        """How often the machine began the toolpath, by its own record: each run homes once."""
        text = self.record.read_text(errors="replace") if self.record.exists() else ""
        return text.count("G28")

    def kill_at(self, step: str, job: str) -> None:
        if step == "queued":
            self.until(job, "staged")
        else:
            self.clear()
        if step == "intended":
            self.until(job, "intended", "starting", "running")
        elif step == "running":
            self.until(job, "running", "finished")
        elif step in {"finished", "cleared"}:
            self.until(job, "finished")
        if step == "cleared":
            self.clear()
        self.agent.kill()


STEPS = ("queued", "bed clear", "intended", "running", "finished", "cleared")


@pytest.fixture
def shed(tmp_path: Path) -> Iterator[Shed]:
    with ExitStack() as stack:
        yield Shed(stack, tmp_path)


def test_kill_9_at_every_step_of_an_own_job_starts_it_once(shed: Shed) -> None:
    for step in STEPS:
        shed.twin.ask(cmd="speed", speed=6 if step == "running" else 60)
        before, job = shed.started(), shed.queue()
        shed.kill_at(step, job)
        shed.twin.ask(cmd="speed", speed=60)
        shed.begin()
        shed.looked_after()
        if shed.state(job) not in {"", "finished", "failed"}:  # it had not been called
            shed.until(job, "finished")
            shed.clear()
        assert shed.state(job) in {"", "finished", "failed"}, step
        assert shed.started() - before <= 1, f"{step}: it began {shed.started() - before} times"
        if step != "intended" and shed.kept(job) != "failed":  # failed: killed between its turn and the call
            assert shed.started() - before == 1, step
        after = shed.queue()
        shed.until(after, "finished")
        assert shed.started() - before in {1, 2}, f"{step}: and then the next"
        shed.clear()


@pytest.mark.parametrize("folder_too", [False, True], ids=["spool", "spool and mark gone"])
def test_an_old_spool_put_back_asks_before_it_makes_again(shed: Shed, folder_too: bool) -> None:
    job = shed.queue()
    shed.until(job, "staged")
    data = shed.folder / "data"
    back_up(data / "agent.sqlite", shed.folder / "copy")
    shed.clear()
    shed.until(job, "finished")
    shed.clear()
    shed.agent.kill()
    for leftover in data.glob("agent.sqlite*"):
        leftover.unlink()
    shutil.copy(shed.folder / "copy", data / "agent.sqlite")
    if folder_too:
        (data / "agent.mark").unlink()
    shed.begin()
    assert "old copy" in str(shed.machine["disarmed"])
    assert not shed.machine["bed_clear"]
    shed.looked_after()
    eventually(lambda: any(gate["gate"] == "remembered" and not gate["open"] for gate in shed.machine.get("gates", ())))  # type: ignore[attr-defined]
    assert shed.started() == 1
    shed.agent.post(f"/api/jobs/{job}/still-wanted")
    shed.until(job, "finished")
    assert shed.started() == 2


def test_the_record_counts_what_it_should(shed: Shed) -> None:
    """A count of what is never there would let everything pass."""
    shed.clear()
    shed.until(shed.queue(), "finished")
    assert shed.started() == 1
    assert shed.record.stat().st_size > len(PRINT)
