"""The planner in a process of its own: deltas in, plan deltas out, improving in between, and a wait that is bounded.

Who plans holds a `PlannerProcess` and calls it with a snapshot, as it would call `plan`. Only what is other than at the
last call is handed over, and only what the plan has changed comes back. A child that dies or does not answer in time is
killed and started again with the whole snapshot. `PlannerHere` is the same without a process, for tests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from scheduler.planning.child import Child, ChildLost
from scheduler.planning.compiling import refuse_doubles
from scheduler.planning.differing import NO_PLAN, PlanChange, changed, plan_change
from scheduler.planning.events import Changes, difference
from scheduler.planning.serving import Measures, Quotation, Serving
from scheduler.planning.snapshot import Plan, PlanJob, Snapshot

_log: Final = logging.getLogger(__name__)

#: Seconds beyond its budget after which a child counts as lost. A first plan compiles a whole network.
PATIENCE_S: Final = 60.0
#: Times a lost child is replaced for one plan.
ATTEMPTS: Final = 2


class PlannerLost(RuntimeError):
    """The planning process died or did not answer in time, twice; the next call starts another."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: a whole world, or what is other than in the last one; None: nothing."""

    world: Snapshot | Changes | None
    budget_s: float
    quote: tuple[PlanJob, ...] = ()
    """Only where these would go is asked, not for the plan."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What has changed in the plan, and what making it took."""

    change: PlanChange
    measures: Measures


class PlannerHere:
    """Plans in the caller's process and thread, kept from call to call; improves only while it is asked."""

    def __init__(self, budget_s: float, seed: int = 0) -> None:
        self._budget_s, self._serving = budget_s, Serving(seed)
        self._world: Snapshot | None = None
        self.measures = Measures()

    def __call__(self, snapshot: Snapshot) -> Plan:
        """The plan for this snapshot."""
        self._serving.take(snapshot if self._world is None else difference(self._world, snapshot))
        self._world = snapshot
        made = self._serving.answer(self._budget_s)
        self.measures = self._serving.measures
        return made

    def quote(self, snapshot: Snapshot, jobs: Sequence[PlanJob]) -> Quotation:
        """Where new jobs would be made together in this snapshot's plan, which stays as it is."""
        if snapshot is not self._world:
            self._serving.take(snapshot if self._world is None else difference(self._world, snapshot))
            self._world = snapshot
        return self._serving.quote(jobs, self._budget_s)

    def close(self) -> None:
        """Nothing is held."""


class PlannerProcess:
    """The same in a child. Calls wait for the answer and exclude each other: keep them off the thread that serves."""

    def __init__(self, budget_s: float, seed: int = 0, *, patience_s: float = PATIENCE_S) -> None:
        self._budget_s, self._patience_s = budget_s, patience_s
        self._lock = threading.Lock()
        self._child = Child("planner", serve, seed)
        self._world: Snapshot | None = None
        self._plan = NO_PLAN
        self._closing = False
        self.measures = Measures()
        """Of the newest answer."""
        self.restarts = 0
        """Children that were lost."""

    @property
    def pid(self) -> int | None:
        """The child's process id; None where there is none."""
        return self._child.pid

    def __call__(self, snapshot: Snapshot) -> Plan:
        """The plan for this snapshot. Raises PlannerLost."""
        with self._lock:
            began = time.perf_counter()
            answer = self._surely(snapshot)
            assert isinstance(answer, Answered), "the child answers with nothing else"
            self._plan = changed(self._plan, answer.change)
            self.measures = answer.measures.with_latency(time.perf_counter() - began)
            return self._plan

    def quote(self, snapshot: Snapshot, jobs: Sequence[PlanJob]) -> Quotation:
        """Where new jobs would be made together in this snapshot's plan, which stays as it is. Raises PlannerLost."""
        with self._lock:
            answer = self._surely(snapshot, tuple(jobs))
            assert isinstance(answer, Quotation), "the child answers with nothing else"
            return answer

    def close(self) -> None:
        """End the child at once, and with it a plan that is being made; afterwards nothing is planned any more."""
        self._closing = True
        self._child.kill()
        with self._lock:
            self._child.end()

    def _surely(self, snapshot: Snapshot, quote: tuple[PlanJob, ...] = ()) -> Answered | Quotation:
        """The child's answer, or that of the one after it. Raises PlannerLost."""
        for _ in range(ATTEMPTS):
            if self._closing:
                raise PlannerLost("planning has ended: the scheduler stops or hands its term over")
            answer = self._ask(snapshot, quote)
            if answer is not None:
                return answer
            self.restarts += 1
        raise PlannerLost(
            f"the planning process was lost {ATTEMPTS} times over one plan; the next round starts another. "
            "If this repeats, see its log for the reason"
        )

    def _ask(self, snapshot: Snapshot, quote: tuple[PlanJob, ...]) -> Answered | Quotation | None:
        """The child's answer; None where it is lost."""
        world = self._news(snapshot)
        self._world = snapshot
        try:
            answer = self._child.ask(Asked(world, self._budget_s, quote), self._budget_s + self._patience_s)
        except ChildLost as lost:
            _log.error("%s", lost)
            self._world, self._plan = None, NO_PLAN
            return None
        if isinstance(answer, Exception):
            # What cannot be planned is the caller's news; the child stays, without a world or a plan.
            self._world, self._plan = None, NO_PLAN
            raise answer
        assert isinstance(answer, Answered | Quotation), "the child answers with nothing else"
        return answer

    def _news(self, snapshot: Snapshot) -> Snapshot | Changes | None:
        """What the child does not know yet. Raises BadSnapshot."""
        if snapshot is self._world:
            return None
        refuse_doubles(snapshot)
        return snapshot if self._world is None else difference(self._world, snapshot)


def serve(line: Connection, seed: int) -> None:
    """The child's life: answer, improve until somebody asks, end when nobody holds the line any more."""
    serving, before = Serving(seed), NO_PLAN
    while True:
        try:
            while not line.poll(0 if serving.improvable else None):
                serving.improve_a_little()
            asked = line.recv()
            try:
                if asked.world is not None:
                    serving.take(asked.world)
                if asked.quote:
                    line.send(serving.quote(asked.quote, asked.budget_s))
                    continue
                plan = serving.answer(asked.budget_s)
            except (ValueError, KeyError) as error:
                serving, before = Serving(seed), NO_PLAN
                line.send(error)
                continue
            line.send(Answered(plan_change(before, plan), serving.measures))
            before = plan
        except (EOFError, OSError, KeyboardInterrupt):
            return
