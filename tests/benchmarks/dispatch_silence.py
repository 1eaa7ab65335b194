"""How soon a run whose agent falls silent is flagged for a person, and how soon the flag goes when it speaks again.

`python -m tests.benchmarks.dispatch_silence`: `workshed serve`, `workshed-agent serve`, Mosquitto and a twin, each a
process of its own. While a job runs, its agent is stopped (SIGSTOP: its connection stands, nobody speaks), let go on,
and killed (SIGKILL: the broker publishes its will at once). Each is timed from the signal to what the API says.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import trimesh

from tests.agents import peer
from tests.agents.processes import AgentProcess, Twin, ending, printer, write_shop
from tests.benchmarks.report import Bar, write
from tests.scheduler.process import administrator, begin_scheduler

#: The agent's keepalive; a broker waits half as long again (MQTT 3.1.1, 3.1.2.10), then publishes the will.
_KEEPALIVE_S = 15.0
#: Between two looks of the scheduler where nothing else wakes it (`scheduler.dispatch.loop`).
_SWEEP_S = 5.0
_LOOK_S = 0.05
#: The first slicing compiles what it needs.
_BEGUN_WITHIN_S = 240.0


def running(client: httpx.Client, agent: AgentProcess) -> str:
    """Order a block that takes hours, and clear the bed; the job, once its machine confirmed that it moves."""
    mesh = trimesh.creation.box((90.0, 90.0, 90.0)).export(file_type="stl")
    said = {"licence": "CC0-1.0", "material": "PLA"}
    design = client.post("/api/v1/designs", files={"files": ("block.stl", mesh)}, data=said).json()["design"]
    order = client.post("/api/v1/orders", json={"design": design, "quantity": 1, "accept": True}).json()["id"]
    agent.post_when_possible("/api/machines/m1/bed-clear")

    def moves() -> str:
        jobs = client.get(f"/api/v1/orders/{order}").json()["jobs"]
        return next((job["id"] for job in jobs if job["state"] == "running" and job["line"] > 0), "")

    return str(peer.eventually(moves, _BEGUN_WITHIN_S, agent.said))


def after_s(began: float, reached: Callable[[], Any], within_s: float) -> float:
    """Seconds from `began` until it is so; infinity where it is not in time."""
    pause = threading.Event()
    while time.monotonic() - began < within_s:
        if reached():
            return time.monotonic() - began
        pause.wait(_LOOK_S)
    return float("inf")


def measure(folder: Path, program: Path) -> list[Bar]:
    """Stopped, let go on, killed."""
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        (folder / "broker").mkdir()
        broker = stack.enter_context(peer.mosquitto(program, folder / "broker"))
        twin = Twin("marlin", folder, "m1", speed=20.0)
        stack.enter_context(ending(twin))
        http = peer.free_port()
        begin_scheduler(folder, http, broker.port, stack)
        client = stack.enter_context(administrator(folder, http))
        config, port = write_shop(folder, broker.port, printer("m1", twin.port))
        agent = AgentProcess(config, port, folder / "agent.log")
        stack.enter_context(ending(agent))
        job = running(client, agent)

        def flag() -> str:
            return str(client.get(f"/api/v1/jobs/{job}").json()["job"]["flag"])

        os.kill(agent.pid, signal.SIGSTOP)
        stopped = after_s(time.monotonic(), flag, 120)
        os.kill(agent.pid, signal.SIGCONT)
        heard = after_s(time.monotonic(), lambda: not flag(), 60)
        began = time.monotonic()
        agent.kill()
        killed = after_s(began, flag, 120)
        state = client.get(f"/api/v1/jobs/{job}").json()["job"]["state"]
    silent_s = 1.5 * _KEEPALIVE_S + _SWEEP_S + 2
    return [
        Bar("load of the machine before", load, "of 2 cores", "1", load <= 1),
        Bar("agent stopped, run flagged", stopped, "s", f"<= {silent_s:g}", stopped <= silent_s),
        Bar("agent goes on, flag gone", heard, "s", f"<= {_SWEEP_S + 5:g}", heard <= _SWEEP_S + 5),
        Bar("agent killed, run flagged", killed, "s", f"<= {_SWEEP_S + 1:g}", killed <= _SWEEP_S + 1),
        Bar("the run is still a run", float(state == "running"), "of 1", "1", state == "running"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked = parser.parse_args(argv)
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        print("mosquitto is not installed: `make system-deps`", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="wsq") as folder:
        bars = measure(Path(folder), Path(program))
    write("dispatch_silence", bars, asked.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
