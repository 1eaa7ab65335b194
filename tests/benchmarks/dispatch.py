"""How fast the scheduler takes words in and gets a granted job to its start.

`python -m tests.benchmarks.dispatch [--agents 500] [--rate 6] [--seconds 8]`: a fleet of agents on a real Mosquitto;
every message counted at its commit; then the way from an order to a committed start, over the same broker.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any

import paho.mqtt.client as paho
import sqlalchemy as sa
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agents.contract import messages as m
from agents.contract.vocabulary import JobState
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.mqtt import Broker
from scheduler.store import queries
from scheduler.store import tables as t
from tests.agents import peer
from tests.benchmarks.report import Bar, write
from tests.scheduler.line import Agent, AtOnce, Line, first_fit, tiny_toolpath

_CONNECTIONS = 4


def _broker(program: str, folder: Path) -> peer.Broker:
    """Mosquitto that drops nothing: by default it throws QoS 1 messages away beyond 1,000 for one client."""
    port = peer.free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n",
        encoding="ascii",
    )
    return peer.Broker([program, "-c", str(config)], port)


def _client(port: int, name: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    peer.eventually(client.is_connected, 10)
    return client


def _scheduler(folder: Path, port: int) -> Scheduler:
    settings = Settings(data=folder, broker=Broker("127.0.0.1", port))
    return Scheduler(settings, Parts(planner=first_fit, maker=tiny_toolpath, executor=AtOnce()))


def fleet(port: int, folder: Path, *, agents: int, rate: float, seconds: float) -> list[Bar]:
    """Agents that each say `rate` journal events a second; how many of them were committed, and how late the last."""
    scheduler = _scheduler(folder, port)
    scheduler.start()
    clients = [_client(port, f"fleet-{number}") for number in range(_CONNECTIONS)]
    crowd = [Agent(f"shop{number}", "pi", ()) for number in range(agents)]
    began_cpu, began = time.process_time(), time.monotonic()
    sent = 0
    pause = threading.Event()
    for tick in range(int(seconds * rate)):
        for number, agent in enumerate(crowd):
            event = m.Progressed(job="none", fence=1, machine="m1", line=tick + 1, fraction=0.5)
            agent.say(event, scheduler.clock.now())
            topic, payload = agent.journal_topic(), agent.spool.journal[-1][1]
            clients[number % _CONNECTIONS].publish(topic, payload, qos=1)
            sent += 1
        pause.wait(max(0.0, began + (tick + 1) / rate - time.monotonic()))
    offered_s = time.monotonic() - began
    committed = _committed(scheduler, sent, within_s=120)
    took = time.monotonic() - began
    cpu_us = 1e6 * (time.process_time() - began_cpu) / max(1, sent)
    for client in clients:
        client.disconnect()
        client.loop_stop()
    scheduler.stop()
    return [
        Bar("D1 messages lost", sent - committed, "of " + str(sent), "0", committed == sent),
        Bar(
            "D1 messages offered",
            sent / offered_s,
            "per s",
            f"{agents * rate:.0f}",
            sent / offered_s > 0.9 * agents * rate,
        ),
        Bar(
            "D1 messages committed",
            committed / took,
            "per s",
            f"{agents * rate:.0f}",
            committed / took > 0.8 * agents * rate,
        ),
        Bar("D1 lag of the last", took - offered_s, "s", "2", took - offered_s <= 2),
        Bar("D1 processor, both sides", cpu_us, "us a message", "600", cpu_us <= 600),
    ]


def _committed(scheduler: Scheduler, wanted: int, *, within_s: float) -> int:
    until = time.monotonic() + within_s
    pause, count = threading.Event(), 0
    while time.monotonic() < until:
        with scheduler.store.read() as c:
            count = c.execute(sa.select(sa.func.sum(t.agents.c.cursor))).scalar() or 0
        if count >= wanted:
            break
        pause.wait(0.1)
    return count


def starts(port: int, folder: Path, *, jobs: int) -> list[Bar]:
    """From a committed claim to a committed start, with an agent that answers at once; and from order to grant."""
    scheduler = _scheduler(folder, port)
    scheduler.start()
    machines = tuple(f"m{number}" for number in range(jobs))
    agent = Agent("mill", "pi", machines)
    heard: list[bytes] = []
    ready = threading.Event()
    client = _client(port, "mill-pi")
    client.on_message = lambda _c, _d, message: (heard.append(bytes(message.payload)), ready.set())
    client.subscribe(agent.inbox_topic(), 1)

    def say(*messages: tuple[str, bytes]) -> None:
        for topic, payload in messages:
            client.publish(topic, payload, qos=1)

    now = scheduler.clock.now()
    say(agent.presence(now), *(agent.report(machine, now) for machine in machines))
    line: Any = Line.__new__(Line)
    line.scheduler, line.clock = scheduler, scheduler.clock
    placed: dict[str, float] = {}
    granted: dict[str, float] = {}
    intended: dict[str, float] = {}
    latency: list[float] = []
    told = 0
    for _ in range(jobs):
        (job,) = line.order()
        placed[job] = time.monotonic()
        scheduler.bell.news()
        until = time.monotonic() + 20
        while job not in intended or len(latency) < len(intended):
            if not ready.wait(0.5) and time.monotonic() > until:
                break
            ready.clear()
            while heard:
                agent.hear(heard.pop(0), scheduler.clock.now())
            for held in agent.spool.held.values():
                if held.state == "leased":
                    granted[held.job] = time.monotonic()
                    agent.stage(held.job, scheduler.clock.now())
                    agent.intend(held.job, scheduler.clock.now())
                    intended[held.job] = time.monotonic()
                elif held.state == "starting":
                    latency.append(time.monotonic() - intended[held.job])
                    agent.run(held.job, scheduler.clock.now())
            new = [entry for entry in agent.spool.journal if entry[0] > told]
            say(*((agent.journal_topic(), payload) for _, payload in new))
            told = agent.spool.seq
    with scheduler.store.read() as c:
        running = len(queries.jobs(c, states=[JobState.STARTING, JobState.RUNNING]))
    client.disconnect()
    client.loop_stop()
    scheduler.stop()
    to_grant = [granted[job] - placed[job] for job in granted]
    return [
        Bar("D2 jobs started", running, "of " + str(jobs), str(jobs), running == jobs),
        Bar(
            "D2 order to grant, p50", 1000 * statistics.median(to_grant), "ms", "1000", statistics.median(to_grant) < 1
        ),
        Bar(
            "D2 intent to permission, p50",
            1000 * statistics.median(latency),
            "ms",
            "50",
            statistics.median(latency) < 0.05,
        ),
        Bar("D2 intent to permission, p99", 1000 * _p99(latency), "ms", "250", _p99(latency) < 0.25),
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
    asked = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    program = which("mosquitto") or which("mosquitto", path="/usr/sbin")
    if program is None:
        print("mosquitto is not installed: nothing was measured (make system-deps installs it)")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        folder.chmod(0o755)
        broker = _broker(program, folder)
        broker.start()
        try:
            bars = fleet(broker.port, folder / "fleet", agents=asked.agents, rate=asked.rate, seconds=asked.seconds)
            bars += starts(broker.port, folder / "starts", jobs=asked.jobs)
        finally:
            broker.kill()
    write("dispatch", bars)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
