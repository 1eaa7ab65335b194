"""A team of processes that search one plan together, shard by shard, round by round.

Who plans holds a `Team`, loads a problem into it once, and lets it cool the plan: the borders are drawn, every worker
anneals its shard, and the answers are merged exactly (`sharding.py`). The same seed, moves and number of workers give
the same plan, whatever order they answer in. A worker that dies or hangs costs its shard's round, no more: the shard
keeps its sequences, another process takes its place, and without any the caller searches alone.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import Core, Schedule, copy_schedule, restore_schedule
from scheduler.planning.jit import HAS_COMPILER
from scheduler.planning.search import MASK
from scheduler.planning.shard_messages import (
    Attach,
    Order,
    Ready,
    Report,
    Search,
    Searched,
    laid_out,
    schedule_in,
    tables_in,
)
from scheduler.planning.sharding import Answer, cut, deal, dealt_moves, kinds, movable, take_in

_log: Final = logging.getLogger(__name__)

#: Seconds a worker has from its start to saying that it is there. Where nothing is cached it compiles first.
START_S: Final = 180.0
#: A worker counts as hung after so many seconds, and ten times as many as its moves take at the best rate so far.
GRACE_S: Final = 10.0
#: Moves a second before any were counted: what plain Python does at least.
SLOWEST: Final = 200.0
#: Lost workers that are replaced, for one team.
REPLACED: Final = 3


@dataclass(frozen=True, slots=True)
class Heat:
    """How to anneal: temperatures at both ends, the freeze fence, and places sampled a move."""

    hot: float
    cold: float
    frozen: int
    samples: int


@dataclass(frozen=True, slots=True)
class Cooled:
    """What a round did: cost change, moves tried and accepted."""

    delta: int
    moves: int
    accepted: int


class _Worker:
    """One process and the line to it."""

    def __init__(self, memory: int) -> None:
        self.line, theirs = Pipe()
        # The same core on both sides: it decides how wide numbers are.
        core = {"WORKSHED_COMPILE": "1"} if HAS_COMPILER else {"WORKSHED_PLAIN": "1"}
        plain = {
            name: value for name, value in os.environ.items() if name not in ("WORKSHED_COMPILE", "WORKSHED_PLAIN")
        }
        self.process = subprocess.Popen(
            (sys.executable, "-m", "scheduler.planning.shard_worker", str(theirs.fileno()), str(memory)),
            stdin=subprocess.DEVNULL,
            env=plain | core,
            pass_fds=(theirs.fileno(), memory),
            start_new_session=True,
        )
        theirs.close()
        self.ready = False
        self.lost = False

    def tell(self, order: Order) -> None:
        """Send, or find out that nobody is there."""
        try:
            self.line.send_bytes(msgspec.msgpack.encode(order))
        except OSError:
            self.lost = True

    def hear(self) -> Report | None:
        """What it says; None where it is gone."""
        try:
            report: Report = msgspec.msgpack.decode(self.line.recv_bytes(), type=Report)
        except (EOFError, OSError, msgspec.MsgspecError):
            self.lost = True
            return None
        return report

    def end(self) -> None:
        """Kill it, whatever it is at."""
        self.lost = True
        self.line.close()
        self.process.kill()
        self.process.wait()


class Team:
    """Workers and the memory shared with them. Start it early: the processes load while a first plan is made."""

    def __init__(self, workers: int, seed: int = 0, *, grace_s: float = GRACE_S) -> None:
        assert workers >= 2, "one worker is no team"
        self.workers, self.rounds = workers, 0
        self.lost = self.left_out = 0
        """Workers lost so far, and answers that did not fit together with the others."""
        self.waited_s = 0.0
        """Seconds of processor of each round's slowest worker, summed: what the search took had nothing else run."""
        self._seed, self._rate, self._grace_s = seed, SLOWEST, grace_s
        self._memory = _memory()
        self._shared: dict[str, NDArray[Any]] = {}
        self._attach: Attach | None = None
        self._crew = [_Worker(self._memory) for _ in range(workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes that are there."""
        return tuple(worker.process.pid for worker in self._crew if not worker.lost)

    def clock(self, own: Callable[[], float] = time.process_time) -> Callable[[], float]:
        """A clock that counts the processor's seconds: the caller's own and, round by round, the slowest worker's."""
        return lambda: own() + self.waited_s

    def load(self, core: Core, s: Schedule) -> None:
        """Hand over the problem, once; schedules that are cooled have the shape of `s`. Waits for the workers."""
        arrays: dict[str, NDArray[Any]] = {f"core.{name}": table for name, table in core._asdict().items()}
        for whose in ("plan", *map(str, range(self.workers))):
            arrays |= {f"{whose}.{name}": table for name, table in s._asdict().items()}
        arrays["cut.shard"] = np.zeros(len(core.mach), np.int32)
        arrays["cut.latest"] = np.zeros(len(core.ops), core.ops.dtype)
        tables, size = laid_out(arrays)
        os.ftruncate(self._memory, size)
        self._attach = Attach(tables, size)
        self._shared = tables_in(mmap.mmap(self._memory, size), tables)
        for name in arrays:
            if name.startswith("core."):
                self._shared[name][...] = arrays[name]
        self._core, self._kinds, self.rounds = core, kinds(core), 0
        self._welcome(START_S)
        for worker in self._crew:
            worker.tell(self._attach)

    def cool(self, s: Schedule, cost: int, moves: int, heat: Heat) -> Cooled | None:
        """One round: about so many moves in all shards together, `s` (which costs `cost`) changed in place.

        None where no worker is left: nothing was done.
        """
        number, self.rounds = self.rounds, self.rounds + 1
        self._replace_lost()
        hands = [worker for worker in self._crew if worker.ready and not worker.lost]
        if not hands:
            return None
        shard = deal(self._core, self._kinds, self.workers, self._seed, number)
        borders = cut(self._core, s, shard, number)
        restore_schedule(schedule_in(self._shared, "plan"), s)
        self._shared["cut.shard"][...], self._shared["cut.latest"][...] = borders
        shares = dealt_moves(moves, movable(self._core, s, shard, self.workers))
        orders = [
            Search(i, shares[i], heat.hot, heat.cold, heat.frozen, heat.samples, self._random(number, i))
            for i in range(self.workers)
        ]
        # With a hand short, another shard is left each round.
        first = number % self.workers
        given = dict(zip(hands, [*orders[first:], *orders[:first]], strict=False))
        reports = self._answers(given, max(shares))
        self.waited_s += max((report.own_s for report in reports), default=0.0)
        answers = {
            report.shard: Answer(copy_schedule(schedule_in(self._shared, str(report.shard))), report.delta)
            for report in reports
        }
        # Dearer by less than one step up at this heat is no reason to throw a round's work away.
        now, taken = take_in(self._core, s, cost, shard, answers, int(heat.cold))
        self.left_out += len(answers) - len(taken)
        accepted = sum(report.accepted for report in reports if report.shard in taken)
        return Cooled(now - cost, sum(shares[i] for i in answers), accepted)

    def close(self) -> None:
        """End the workers; the memory goes with the last of them."""
        for worker in self._crew:
            worker.end()
        self._crew, self._shared = [], {}
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _answers(self, given: dict[_Worker, Search], moves: int) -> list[Searched]:
        """What the workers found; those that die or hang are lost."""
        began = time.monotonic()
        for worker, order in given.items():
            worker.tell(order)
        out: list[Searched] = []
        waiting = {worker.line: worker for worker in given if not worker.lost}
        deadline = began + self._grace_s + 10 * moves / self._rate
        while waiting:
            heard = wait(list(waiting), max(0.0, deadline - time.monotonic()))
            for line in heard:
                worker = waiting.pop(line)  # type: ignore[call-overload]
                report = worker.hear()
                if isinstance(report, Searched):
                    out.append(report)
            if not heard:
                for worker in waiting.values():
                    worker.lost = True
                break
        took = time.monotonic() - began
        if out and moves > 0 and took > 0:
            self._rate = max(self._rate, moves / took)
        return sorted(out, key=lambda report: report.shard)

    def _welcome(self, patience_s: float) -> None:
        """Wait until everybody has said that they are there; who has not is lost."""
        deadline = time.monotonic() + patience_s
        for worker in self._crew:
            if not worker.ready and not worker.lost:
                there = worker.line.poll(max(0.0, deadline - time.monotonic()))
                worker.ready = there and isinstance(worker.hear(), Ready)
                worker.lost |= not worker.ready

    def _replace_lost(self) -> None:
        """Others for those that are gone, as long as not too many were; they join when they are there."""
        assert self._attach is not None, "a problem is loaded before it is searched"
        for i, worker in enumerate(self._crew):
            if worker.lost and not worker.line.closed:
                worker.end()
                self.lost += 1
                _log.error("a process of the sharded search was lost; its shard keeps its order this round")
            if worker.lost and self.lost <= REPLACED:
                self._crew[i] = _Worker(self._memory)
            elif not worker.ready and not worker.lost and worker.line.poll(0):
                worker.ready = isinstance(worker.hear(), Ready)
                worker.tell(self._attach)

    def _random(self, number: int, shard: int) -> int:
        """Where the random numbers of a shard's round begin."""
        return int(np.random.default_rng((self._seed, number, shard)).integers(1, MASK))


def _memory() -> int:
    """A file without a name, in memory where the system can: it is gone when nobody holds it, however they end."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("workshed-shards")
    with contextlib.closing(tempfile.TemporaryFile()) as file:
        return os.dup(file.fileno())
