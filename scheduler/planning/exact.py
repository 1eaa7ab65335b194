"""Small groups solved whole by constraint programming (OR-Tools CP-SAT), with a proof where time allows.

In: a problem of a few dozen operations and a schedule to start from. Out: a schedule and a lower bound on the cost of
any, where the solver found one that holds. The solver runs in a child process that is killed when it overruns its limit
(it once did by 40 s); what it had found by then counts.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import msgspec
import numpy as np

from scheduler.planning.core import NUMBER, Core, Schedule, empty_schedule
from scheduler.planning.exact_child import Done, Message, News, Ready, Task, plain, receive, send
from scheduler.planning.exact_model import Placed
from scheduler.planning.problem import Problem
from scheduler.planning.staggering import NOTHING_SHARED, Shared
from scheduler.planning.timing import choose, retime_all, total_cost

_log: Final = logging.getLogger(__name__)

#: Beyond this the exact layer is the wrong tool (see docs/planning.md).
LARGEST: Final = 40
#: Seconds beyond its budget after which a child is killed, and seconds it may take to load its libraries.
GRACE_S: Final = 5.0
START_S: Final = 30.0
CHILD: Final = (sys.executable, "-c", "from scheduler.planning.exact_child import main; raise SystemExit(main())")


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """A schedule, the bound on the cost of any schedule (None: nothing proven), and whether it is proven best."""

    schedule: Schedule
    cost: int
    bound: int | None
    proven: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """Seconds since the solver began, the cost of a new solution (None: only the bound is new), and the bound."""

    after_s: float
    cost: int | None
    bound: float


class Solver:
    """Asks a child process, started when first needed and again after it was killed. One question at a time."""

    def __init__(self, command: Sequence[str] = CHILD, *, grace_s: float = GRACE_S, start_s: float = START_S) -> None:
        self.command, self.grace_s, self.start_s = tuple(command), grace_s, start_s
        self.child: subprocess.Popen[bytes] | None = None
        self._heard: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()

    def ask(self, task: Task, progress: Callable[[Progress], None] | None = None) -> Done | None:
        """The child's answer; where it overran or died, its last solution, or None."""
        last: News | None = None
        with self._lock:
            try:
                child = self._started()
                assert child.stdin is not None, "the child is started with pipes"
                send(child.stdin, task)
                deadline = time.monotonic() + task.budget_s + self.grace_s
                while isinstance(news := self._next(deadline), News):
                    last = news if news.placed else last
                    if progress is not None:
                        progress(Progress(news.after_s, news.cost, news.bound))
                if isinstance(news, Done):
                    return news
                _log.warning("the exact layer's process did not answer within %.1f s and is killed", task.budget_s)
            except OSError as wrong:
                _log.warning("the exact layer's process is gone: %s", wrong)
            self._killed()
        # A bound told along the way may not be the whole problem's: only the end says so.
        return None if last is None else Done(False, False, None, last.placed)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._killed()

    def _started(self) -> subprocess.Popen[bytes]:
        if self.child is not None and self.child.poll() is None:
            return self.child
        self._killed()
        self._heard = queue.Queue()
        # The child needs no compiled core, and no signal meant for the terminal's foreground.
        self.child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "WORKSHED_PLAIN": "1"},
            start_new_session=True,
        )
        threading.Thread(target=_listen, args=(self.child, self._heard), daemon=True).start()
        if not isinstance(self._next(time.monotonic() + self.start_s), Ready):
            raise OSError(f"no sign of it {self.start_s:.0f} s after its start")
        return self.child

    def _next(self, deadline: float) -> Message | None:
        """The next message; None where the child has ended or none came in time."""
        try:
            return self._heard.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def _killed(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            # Its output is closed by the thread that listens to it.
            with contextlib.suppress(OSError):
                if self.child.stdin is not None:
                    self.child.stdin.close()
            self.child = None


def _listen(child: subprocess.Popen[bytes], heard: queue.Queue[Message | None]) -> None:
    assert child.stdout is not None, "the child is started with pipes"
    try:
        while (content := receive(child.stdout)) is not None:
            heard.put(msgspec.msgpack.decode(content, type=Message))
    except (OSError, ValueError, msgspec.MsgspecError) as wrong:
        _log.warning("the exact layer's process said what nobody understands: %s", wrong)
    child.stdout.close()
    heard.put(None)


@functools.cache
def standing() -> Solver:
    """The one solver of this process; its child ends by itself when idle, and with this process."""
    solver = Solver()
    atexit.register(solver.close)
    return solver


def solve_exactly(
    problem: Problem,
    core: Core,
    warm: Schedule | None,
    *,
    budget_s: float,
    seed: int = 0,
    workers: int = 1,
    shared: Shared = NOTHING_SHARED,
    solver: Solver | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ExactAnswer | None:
    """Every operation of the problem placed at least cost; None where no schedule was found in the budget (seconds).

    `warm` must place every operation, or be None. `solver`: this process's standing one by default.
    """
    told = () if warm is None else tuple(_placed(warm, o) for o in range(problem.operations))
    task = Task(plain(problem), told, budget_s, seed, workers, shared.circuits, shared.power, shared.crews)
    done = (solver or standing()).ask(task, progress)
    if done is None or len(done.placed) < problem.operations:
        return None
    schedule = _schedule(problem, core, done.placed)
    # Delays that something shared or dirty current asks for stand as they were decided.
    if not shared.binds and not len(problem.carbon):
        n = problem.operations
        possible = retime_all(core, schedule, np.empty(n, NUMBER), np.empty(n, NUMBER))
        assert possible, "a schedule of the exact model cannot be timed"
    bound = ceil(done.bound - 1e-6) if done.whole and done.bound is not None else None
    return ExactAnswer(schedule, int(total_cost(core, schedule)), bound, done.proven and done.whole)


def _placed(s: Schedule, o: int) -> Placed:
    numbers = (s.choice[o], s.start[o], s.end[o], s.avail[o], s.setup[o])
    return Placed(o, *(int(number) for number in numbers))


def _schedule(p: Problem, core: Core, placed: tuple[Placed, ...]) -> Schedule:
    out = empty_schedule(core, p.operations + 2)
    for one in sorted(placed, key=lambda one: (one.start, one.end, one.operation)):
        o = one.operation
        choose(core, out, o, one.choice)
        m = int(p.elig_machine[one.choice])
        out.machine[o] = m
        out.start[o], out.end[o], out.avail[o], out.setup[o] = one.start, one.end, one.avail, one.setup
        out.seq[m, out.length[m]], out.pos[o] = o, out.length[m]
        out.length[m] += 1
    return out
