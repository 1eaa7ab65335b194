"""A GRBL bridge and a GRBL twin on a wire of bytes and of time that the test owns: no threads, no waiting."""

from __future__ import annotations

import math
from collections.abc import Iterable

from firmware_bridges.bridge import BridgeState, MachineConfig
from firmware_bridges.grbl import GrblBridge
from firmware_bridges.modal import Dialect, Motion, interpreter
from firmware_bridges.twins.grbl import GrblTwin
from tests.firmware_bridges.simulated_line import SimulatedLine, WireLink, _no_thread


class OvertakingLink(WireLink):
    """Real-time bytes overtake what is queued, as on the real link."""

    def interject(self, data: bytes) -> None:
        self.out[:0] = data


class SimulatedGrbl(SimulatedLine):
    """As `SimulatedLine`; `strayed_mm` is how far the tool was ever from the toolpath."""

    bridge: GrblBridge  # type: ignore[assignment]

    def __init__(self, twin: GrblTwin, *, process: str = "cnc", seed: int = 0, **options: str) -> None:
        super().__init__(twin, seed=seed)
        self.grbl = twin
        config = MachineConfig("sim", "grbl", process=process, options=tuple(options.items()))
        self.bridge = GrblBridge(config, clock=self.clock, spawn=_no_thread)
        self.link = OvertakingLink()
        self.bridge.link = self.link  # type: ignore[assignment]
        self.bridge.session.emit = self.events.append  # type: ignore[method-assign]
        self.path: list[Motion] = []
        self.strayed_mm = 0.0
        self._sample_at = 0.0

    def follow(self, lines: Iterable[str]) -> None:
        """From now on measure how far the tool strays from this toolpath."""
        reader = interpreter(Dialect.GRBL)
        self.path = [step for text in lines if isinstance(step := reader.step(text), Motion)]

    def start(self) -> None:
        """Connect; home where the machine wants it."""
        self.connect()
        if self.bridge.session.state is BridgeState.ALARM:
            outcome: list[object] = []
            self.bridge._say(self.bridge._home_script(), outcome.append)
            assert self.run_until(lambda: bool(outcome), 120.0)

    def _step(self) -> None:
        super()._step()
        if self.path and self.clock.now >= self._sample_at:
            self._sample_at = self.clock.now + 0.02
            at = self.grbl.machine_position()
            self.strayed_mm = max(self.strayed_mm, min((m.distance_mm(at) for m in self.path), default=math.inf))

    def until_state(self, state: BridgeState, within_s: float = 60.0) -> bool:
        """Let time pass until the bridge says `state`."""
        return self.run_until(lambda: self.bridge.session.state is state, within_s)
