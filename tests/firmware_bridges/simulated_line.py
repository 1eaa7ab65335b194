"""A Marlin bridge and a Marlin twin on a wire of bytes and of time that the test owns: no threads, no waiting.

The bridge is the real one; only its link is replaced by a wire that carries 115200 baud of simulated time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from firmware_bridges.bridge import Event, MachineConfig, RunCancelled, RunFailed, RunFinished
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.session import Happening
from firmware_bridges.twins.faults import FaultyWire
from firmware_bridges.twins.host import Twin

BYTES_PER_S = 11520
STEP_S = 0.002
TICK_S = 0.05


class Lines:
    """A toolpath in memory."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    @property
    def total_lines(self) -> int:
        return len(self._lines)

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        for number in range(from_line, len(self._lines) + 1):
            yield number, self._lines[number - 1]


class OwnClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class WireLink:
    """What the bridge takes for its link."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.is_open = True
        self.unsent = 0
        self.stops: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.out += data

    interject = write

    def emergency(self, data: bytes, *, hush: bool = False) -> bool:
        self.out.clear()
        self.out += data
        self.stops.append(data)
        return True

    def wake(self) -> None: ...
    def speak_again(self) -> None: ...

    def forget_unsent(self) -> None:
        self.out.clear()

    def close(self) -> None:
        self.is_open = False


def _no_thread(target: Callable[[], None], name: str) -> threading.Thread:
    return threading.Thread(target=target, name=name)


class SimulatedLine:
    def __init__(self, twin: Twin, *, dialect: str = "marlin", seed: int = 0, process: str = "fdm") -> None:
        self.clock = OwnClock()
        self.twin = twin
        self.wire = FaultyWire(seed)
        self.link = WireLink()
        self.bridge = MarlinBridge(MachineConfig("sim", dialect, process=process), clock=self.clock, spawn=_no_thread)
        self.bridge.link = self.link  # type: ignore[assignment]
        self.events: list[Event] = []
        self.bridge.session.emit = self.events.append  # type: ignore[method-assign]
        self.sent_bytes = 0
        self._back = bytearray()
        self._tick_at = 0.0

    @property
    def outcome(self) -> RunFinished | RunFailed | RunCancelled | None:
        for event in reversed(self.events):
            if isinstance(event, RunFinished | RunFailed | RunCancelled):
                return event
        return None

    def connect(self) -> None:
        self.twin.boot(0.0, "power")
        self.bridge.session.happen(Happening.OPENED)
        self.bridge._start_identification(again=False)
        assert self.run_until(lambda: self.bridge.session.identity is not None, 60.0)

    def run_until(self, reached: Callable[[], bool], within_s: float) -> bool:
        """Let time pass until `reached`; False when `within_s` simulated seconds were not enough."""
        until = self.clock.now + within_s
        while not reached():
            if self.clock.now >= until:
                return False
            self._step()
        return True

    def _step(self) -> None:
        busy = bool(self.link.out or self._back)
        due = self.twin.wakes_at()
        jump = STEP_S
        if not busy:
            jump = min(self._tick_at, due if due is not None else self._tick_at) - self.clock.now
        self.clock.now = now = self.clock.now + min(TICK_S, max(STEP_S, jump))
        allowed = int(BYTES_PER_S * STEP_S)
        data = bytes(self.link.out[:allowed])
        del self.link.out[:allowed]
        self.sent_bytes += len(data)
        if data and not self.wire.stalled(now):
            self.twin.receive(self.wire.to_machine(data), now)
        self.twin.advance(now)
        for line in self.wire.lines_out(self.twin.take_output(), now):
            self._back += line
        back = bytes(self._back[:allowed])
        del self._back[:allowed]
        if back and not self.wire.stalled(now):
            noisy = self.wire.to_host(back)
            if noisy:
                self.bridge.heard(noisy, now)
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self.bridge.tick(now)
