"""How long each step of dispatch takes: a histogram a step, filled from any thread, read by the metrics."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

#: Upper edges in seconds. A step of the dispatcher's own thread should stay below 0.05.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Step(StrEnum):
    """What dispatch does. The first three in its own thread; the others beside it, where nothing waits for them."""

    SWEEP = "sweep"
    FORGET = "forget"
    CARRY_OUT = "carry_out"
    """One slice of a plan on its way into the database."""
    LOOK = "look"
    COMPOSE = "compose"
    """Waiting for the composer's process."""
    REARRANGE = "rearrange"
    """One transaction that puts pieces on other jobs."""
    WANT = "want"
    """One transaction that asks for toolpaths."""
    PLAN = "plan"


#: Steps that hold the dispatcher's thread, or the database's only writer, while they last.
HOLDING: Final = frozenset({Step.SWEEP, Step.FORGET, Step.CARRY_OUT, Step.REARRANGE, Step.WANT})


@dataclass(slots=True)
class Timed:
    """What is known of one step: counts by bucket (not added up), all seconds, and the longest one."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0
    longest_s: float = 0.0
    longest_cpu_s: float = 0.0
    """Of its own thread: what the longest would take on a computer with nothing else to do."""

    def take(self, seconds: float, cpu_s: float) -> None:
        """One more."""
        where = next((k for k, edge in enumerate(BUCKETS_S) if seconds <= edge), len(BUCKETS_S))
        self.counts[where] += 1
        self.total_s += seconds
        self.longest_s = max(self.longest_s, seconds)
        self.longest_cpu_s = max(self.longest_cpu_s, cpu_s)


class Timings:
    """Measures steps with a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._steps = {step: Timed() for step in Step}

    @contextlib.contextmanager
    def of(self, step: Step) -> Iterator[None]:
        """Measure what is done inside, also where it fails."""
        began, began_cpu = self._seconds(), time.thread_time()
        try:
            yield
        finally:
            took, took_cpu = self._seconds() - began, time.thread_time() - began_cpu
            with self._lock:
                self._steps[step].take(took, took_cpu)

    def seen(self) -> Mapping[Step, Timed]:
        """All steps as they stand, a copy."""
        with self._lock:
            return {step: replace(timed, counts=list(timed.counts)) for step, timed in self._steps.items()}
