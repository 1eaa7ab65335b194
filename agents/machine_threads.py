"""The threads of a shop's machines: for each, one gives its supervisor its turns and one keeps its bridge connected.

A supervisor that breaks ends what runs on its machine and goes on; the time of its last whole turn tells the system's
watchdog. Here, too, all of them are told at once to start nothing more.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from agents.clock import Clock
from agents.contract import logs
from agents.halting import end_unsupervised
from agents.inputs import Wake
from agents.machine import Supervisor
from firmware_bridges.bridge import BridgeState

_log = logging.getLogger(__name__)

_CONNECT_EVERY_S: Final = 3.0
_TURN_S: Final = 1.0
#: Half a gigabyte, read twice, from the slowest of cards.
_LONGEST_READING_S: Final = 600.0
_STILL: Final = frozenset({BridgeState.IDLE, BridgeState.OFFLINE, BridgeState.UNIDENTIFIED})


class MachineThreads:
    """All of one agent. They end once `ending` is set."""

    def __init__(
        self,
        shop: str,
        supervisors: Mapping[str, Supervisor],
        connect: Callable[[Supervisor], None],
        clock: Clock,
        ending: threading.Event,
    ) -> None:
        """`connect` makes one attempt, and raises whatever kept it from success."""
        self._shop, self._supervisors, self._connect = shop, supervisors, connect
        self._clock, self._ending = clock, ending
        self.beats: dict[str, float] = {}
        """Monotonic time of each supervisor's last turn, for the system's watchdog."""

    def start(self, spawn: Callable[[Callable[[], None], str], None]) -> None:
        """Start them all; `spawn` runs a function on a thread of that name."""
        for supervisor in self._supervisors.values():
            spawn(lambda s=supervisor: self._supervise(s), f"machine {supervisor.name}")  # type: ignore[misc]
            spawn(lambda s=supervisor: self._keep_connected(s), f"connect {supervisor.name}")  # type: ignore[misc]

    def _supervise(self, supervisor: Supervisor) -> None:
        with logs.bound(shop=self._shop, machine=supervisor.name):
            self.beats[supervisor.name] = self._clock.monotonic()
            while not self._ending.is_set():
                try:
                    supervisor.work(_TURN_S)
                    self.beats[supervisor.name] = self._clock.monotonic()
                except Exception as error:  # noqa: BLE001 - a machine whose supervisor died would run on unsupervised
                    if not self._ending.wait(_TURN_S):
                        supervisor.trouble = end_unsupervised(supervisor.bridge, supervisor.name, error)

    def _keep_connected(self, supervisor: Supervisor) -> None:
        """Connect, then leave reconnecting to the bridge; try again while the machine is not there or not ours."""
        told = ""
        while not self._ending.is_set():
            if supervisor.bridge.status().identity is None:
                try:
                    self._connect(supervisor)
                    told = ""
                except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
                    if str(error) != told:
                        told, fields = str(error), {"fields": {"machine": supervisor.name}}
                        _log.warning("not connected: %s (%s)", error, type(error).__name__, extra=fields)
                supervisor.post(Wake())
            self._ending.wait(_CONNECT_EVERY_S)

    def beating(self, longest_s: float) -> bool:
        """Whether every supervisor took a whole turn in the last `longest_s`, or is reading a large program."""
        now = self._clock.monotonic()
        return all(
            now - beat < (_LONGEST_READING_S if self._supervisors[name].reading else longest_s)
            for name, beat in self.beats.items()
        )

    def retire(self) -> bool:
        """Start nothing more, if nothing runs; whether so. No start slips in between."""
        with contextlib.ExitStack() as held:
            for supervisor in self._supervisors.values():
                held.enter_context(supervisor.lock)
            if any(_at_work(supervisor) for supervisor in self._supervisors.values()):
                return False
            for supervisor in self._supervisors.values():
                supervisor.retired = True
        return True


def _at_work(supervisor: Supervisor) -> bool:
    """Whether something runs there, or is read for its start."""
    return supervisor.reading or supervisor.running() is not None or supervisor.bridge.status().state not in _STILL
