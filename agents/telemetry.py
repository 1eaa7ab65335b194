"""Measured values for those who watch boards: opt-in, at QoS 0, never stored, never waited for.

In: what a bridge knows now. Out: one `Telemetry` message a machine and period. Raw data stays in the shop unless the
owner sets `[telemetry] every_s`. Machines are watched, people are not: no field here says who stands there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from agents.contract.messages import Telemetry
from agents.contract.vocabulary import Process
from firmware_bridges.bridge import BridgeState, Status

#: Nothing measured is known of a machine in these states; what was known before is not repeated as if it were new.
_UNKNOWN: Final = frozenset({BridgeState.OFFLINE, BridgeState.UNIDENTIFIED})


def reading(machine: str, process: Process, status: Status, now: datetime) -> Telemetry | None:
    """What the bridge measured last: °C, mm, mm/min, rpm. None where the machine does not answer.

    `spindle` of a bridge is a speed on routers only; on lasers it is the beam's power and is left out.
    """
    if status.state in _UNKNOWN:
        return None
    at = status.position
    return Telemetry(
        machine=machine,
        at=now,
        temperatures_c={heater: measured for heater, measured, _ in status.temperatures_c},
        targets_c={heater: target for heater, _, target in status.temperatures_c},
        position_mm=() if at is None else (at.x_mm, at.y_mm, at.z_mm),
        feed_mm_min=status.feed_mm_min,
        spindle_rpm=status.spindle if process is Process.CNC else None,
    )


class TelemetryLoop:
    """Publishes every machine's reading once a period on a thread of its own, until `end`."""

    def __init__(
        self, every_s: float, readings: Callable[[], Iterable[Telemetry]], publish: Callable[[Telemetry], object]
    ) -> None:
        """`readings` gives what is known now, `publish` hands one to the broker or drops it."""
        self._every_s, self._readings, self._publish = every_s, readings, publish
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Publish no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            for telemetry in self._readings():
                self._publish(telemetry)
