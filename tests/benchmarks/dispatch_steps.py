"""How long the dispatcher's steps take in a busy network: nothing it does may hold up what agents say.

`python -m tests.benchmarks.dispatch_steps [--jobs 500] [--seconds 45]`: a scheduler that runs as it does for people,
with its planner's and its composer's processes; 40 machines of 20 shops, so many jobs that wait, a quarter of them
small pieces that may share a sheet; agents that decline, and work that ends. Every step is timed by the scheduler's own
histogram. A second thread writes as the agents' messages do, and is timed from asking to having the database.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agents.contract.vocabulary import Process
from scheduler.app import Parts, Scheduler
from scheduler.clock import SystemClock
from scheduler.collector import settle
from scheduler.config import Settings
from scheduler.dispatch.backlog import Inbound
from scheduler.dispatch.timings import HOLDING, Step, Timed
from scheduler.orders.intake import BareFile, CheckedDesign, check_design, keep_design
from scheduler.orders.requests import OrderRequest, place_order
from scheduler.store import tables as t
from tests.benchmarks.report import Bar, write
from tests.scheduler.line import Agent, AtOnce, tiny_toolpath
from tests.scheduler.shelf import block, drawing

#: The longest that a step may hold the dispatcher's thread, or the database's writer.
_LONGEST_S = 0.05


class Box:
    """Takes what the scheduler sends, for nobody."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Kept nowhere."""

    def hears(self) -> bool:
        """Nobody speaks."""
        return True

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        """All of it."""
        return len(messages)


class Writer:
    """Writes a little again and again, and keeps how long it waited for its turn."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.waited: list[float] = []
        self._scheduler, self._over = scheduler, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            began = time.perf_counter()
            with self._scheduler.store.write():
                self.waited.append(time.perf_counter() - began)


def designs() -> list[CheckedDesign]:
    """Two that fill a plate or sheet, and one that shares it."""
    bare = {"stl": BareFile(licence="CC0-1.0", material="PLA"), "svg": BareFile(licence="CC0-1.0", material="MDF")}
    files = {"brick.stl": block(150, 150, 20), "panel.svg": drawing(160, 180), "tag.svg": drawing(30, 50)}
    return [check_design({name: data}, bare[name[-3:]]) for name, data in files.items()]


def fill(scheduler: Scheduler, agents: Sequence[Agent], jobs: int) -> None:
    """Agents come, and so many jobs are ordered: half prints, a quarter each large and small sheets."""
    now = scheduler.clock.now()
    said = [
        words for agent in agents for words in (agent.presence(now), *(agent.report(x, now) for x in agent.machines))
    ]
    for agent in agents:
        agent.holdings(now)
        said += agent.unacked()
    scheduler.ingest.commit([Inbound(topic, payload, lambda: None) for topic, payload in said])
    brick, panel, tag = designs()
    chosen = (brick, panel, brick, tag)
    for number in range(jobs):
        with scheduler.store.write() as c:
            due = now + timedelta(hours=6 + number % 96)
            keep_design(c, scheduler.blobs, chosen[number % 4], now)
            asked = OrderRequest(chosen[number % 4].address, 1 + number % 4 // 3, accept=True, due=due)
            place_order(c, scheduler.blobs, asked, now)


def run(folder: Path, jobs: int, seconds: float) -> tuple[Mapping[Step, Timed], list[float], int]:
    """Steps as they were timed, what the writer waited, and how many jobs wait at the end."""
    agents = [Agent(f"shop{k}", "pi", ("a", "b"), Process.FDM if k % 2 else Process.LASER) for k in range(20)]
    parts = Parts(maker=tiny_toolpath, executor=AtOnce(), wire=Box(), courier=Box())
    scheduler = Scheduler(Settings(data=folder, broker=None), parts)
    fill(scheduler, agents, jobs)
    settle()
    scheduler.start()
    try:
        with Writer(scheduler) as writer:
            until = time.monotonic() + seconds
            number = 0
            while time.monotonic() < until:
                time.sleep(0.5)
                agent = agents[number % len(agents)]
                number += 1
                topic, words = agent.report(agent.machines[number % 2], SystemClock().now())
                scheduler.ingest.take(Inbound(topic, words, lambda: None))
        with scheduler.store.read() as c:
            waiting = c.execute(sa.select(sa.func.count()).where(t.jobs.c.state == "waiting")).scalar() or 0
        return scheduler.dispatcher.timings.seen(), writer.waited, waiting
    finally:
        scheduler.stop()


def bars(steps: Mapping[Step, Timed], waited: Sequence[float], waiting: int, jobs: int) -> list[Bar]:
    """The bars, the slowest step first."""
    found = [Bar("S0 load of the machine before", os.getloadavg()[0], "of 2 cores", "1", os.getloadavg()[0] <= 1)]
    found.append(Bar("S1 jobs that wait at the end", waiting, f"of {jobs}", "most", waiting > jobs / 2))
    held = sorted(HOLDING, key=lambda step: -steps[step].longest_s)
    for step in held:
        timed = steps[step]
        name = f"S2 {step}, longest of {sum(timed.counts)}"
        found.append(Bar(name, 1000 * timed.longest_s, "ms", "50", timed.longest_s <= _LONGEST_S))
        cpu_s = timed.longest_cpu_s
        found.append(Bar(f"S2 {step}, its processor time", 1000 * cpu_s, "ms", "50", cpu_s <= _LONGEST_S))
    for step in sorted(set(Step) - HOLDING):
        timed = steps[step]
        name = f"S3 {step} (beside), of {sum(timed.counts)}"
        found.append(Bar(name, 1000 * timed.longest_s, "ms", "nobody waits", holds=True))
        found.append(
            Bar(f"S3 {step}, its processor time", 1000 * timed.longest_cpu_s, "ms", "nobody waits", holds=True)
        )
    slow = sorted(waited)
    p99 = slow[int(0.99 * (len(slow) - 1))]
    found.append(Bar("S4 a writer waits, p99", 1000 * p99, "ms", "50", p99 <= _LONGEST_S))
    found.append(Bar("S4 a writer waits, longest", 1000 * slow[-1], "ms", "100", slow[-1] <= 2 * _LONGEST_S))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked: Any = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="wss") as folder:
        steps, waited, waiting = run(Path(folder), asked.jobs, asked.seconds)
    write("dispatch_steps", bars(steps, waited, waiting, asked.jobs), asked.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
