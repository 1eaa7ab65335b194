"""When a network is told of a machine: news at once, progress by the second, what it knows every five minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import structs

from agents.clock import Clock
from agents.contract.messages import MachineReport

_REPORT_EVERY_S: Final = 1.0
#: Said again, though nothing is new: an older report that came late, or twice, would stand until something is.
_REPORT_AGAIN_S: Final = 300.0
_NEVER: Final = datetime.fromtimestamp(0, UTC)


class Reporting:
    """Of one network. Called from any thread."""

    def __init__(
        self,
        machines: Iterable[str],
        read: Callable[[str], MachineReport],
        publish: Callable[[MachineReport], bool],
        clock: Clock,
    ) -> None:
        """`read` gives a machine's report as of now; `publish` hands it to the line, False where that is not up."""
        self._machines, self._read, self._publish, self._clock = tuple(machines), read, publish, clock
        self._told: dict[str, tuple[MachineReport, float]] = {}
        self._lock = threading.Lock()

    def changed(self, machine: str) -> None:
        """Publish the report if it is new, where only progress is at most once a second; else every five minutes."""
        with self._lock:
            fresh, now = self._read(machine), self._clock.monotonic()
            last, at = self._told.get(machine, (None, float("-inf")))
            if last is not None:
                if fresh.state is last.state and fresh.why == last.why:
                    fresh = structs.replace(fresh, since=last.since)
                if fresh == last and now - at < _REPORT_AGAIN_S:
                    return
                if now - at < _REPORT_EVERY_S and _but_progress(fresh) == _but_progress(last):
                    return
            if self._publish(fresh):
                self._told[machine] = (fresh, now)

    def all_new(self) -> None:
        """A new connection: nothing was told yet."""
        with self._lock:
            self._told.clear()
        for machine in self._machines:
            self.changed(machine)


def _but_progress(told: MachineReport) -> MachineReport:
    return structs.replace(told, progress=None, since=_NEVER)
