"""The scheduler of `tests.benchmarks.dispatch`, a process of its own: nothing it measures shares its interpreter.

`python -m tests.benchmarks.dispatch_scheduler FOLDER DATABASE BROKER_PORT N` starts with N jobs under way, one each on
N agents. One word a line on standard input: `order` places an order of one piece; `counts` tells what is committed.
Each is answered by one line of JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.dispatch.backlog import Inbound
from scheduler.mqtt import Broker
from scheduler.orders.composer import ComposerHere
from scheduler.store import tables as t
from tests.scheduler.line import Agent, AtOnce, Line, first_fit, tiny_toolpath


def agent_of(number: int) -> Agent:
    """One of the crowd."""
    return Agent(f"shop{number}", "pi", ("m1",))


class Child:
    """One scheduler and what it answers."""

    def __init__(self, folder: str, database: str, port: str) -> None:
        settings = Settings(data=Path(folder), broker=Broker("127.0.0.1", int(port)), database=database)
        self.scheduler = Scheduler(
            settings, Parts(planner=first_fit, composer=ComposerHere(), maker=tiny_toolpath, executor=AtOnce())
        )
        self.line: Any = Line.__new__(Line)
        self.line.scheduler, self.line.clock = self.scheduler, self.scheduler.clock

    def busy(self, agents: int) -> list[str]:
        """Every agent of the crowd is known, and one job of its own runs on its machine. Returns the jobs."""
        crowd = [agent_of(number) for number in range(agents)]
        now = self.scheduler.clock.now()
        said = [message for agent in crowd for message in (agent.presence(now), agent.report("m1", now))]
        self.scheduler.ingest.commit([Inbound(topic, payload, lambda: None) for topic, payload in said])
        jobs = self.line.order(len(crowd))
        with self.scheduler.store.write() as c:
            for job, agent in zip(jobs, crowd, strict=True):
                values = {"state": "running", "fence": 1, "agent": agent.id, "machine": "m1", "started_at": now}
                c.execute(sa.update(t.jobs).where(t.jobs.c.id == job).values(**values))
        return list(jobs)

    def order(self) -> dict[str, Any]:
        """One more job, and when it was there."""
        (job,) = self.line.order()
        at = time.monotonic()
        self.scheduler.bell.news()
        return {"job": job, "at": at}

    def counts(self) -> dict[str, Any]:
        """Events committed, progress written, refused messages, processor seconds so far, and how many have started."""
        with self.scheduler.store.read() as c:
            committed = int(c.execute(sa.select(sa.func.sum(t.agents.c.cursor))).scalar() or 0)
            told = c.execute(sa.select(sa.func.count()).where(t.jobs.c.line > 0)).scalar()
            started = c.execute(sa.select(sa.func.count()).where(t.events.c.kind == "start_intended")).scalar()
        refused, cpu = self.scheduler.ingest.refused, time.process_time()
        return {"committed": committed, "told": told, "started": started, "refused": refused, "cpu_s": cpu}


def main() -> None:
    """Serve until standard input ends."""
    logging.disable(logging.CRITICAL)
    child = Child(*sys.argv[1:4])
    jobs = child.busy(int(sys.argv[4]))
    child.scheduler.start()
    print(json.dumps({"jobs": jobs}), flush=True)
    deeds = {"order": child.order, "counts": child.counts}
    for line in sys.stdin:
        print(json.dumps(deeds[line.strip()]()), flush=True)
    child.scheduler.stop()


if __name__ == "__main__":
    main()
