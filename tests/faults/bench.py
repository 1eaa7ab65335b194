"""A real bridge and a twin of its machine on simulated time, with the plug, the power switch and the bed of a real one.

One thread owns everything: the bridge's waits let simulated time pass, its events go straight to the listeners.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from agents.contract.vocabulary import Process
from firmware_bridges.bridge import BUSY_STATES, BridgeState, Event, MachineConfig, PortUnavailable
from firmware_bridges.grbl import GrblBridge
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.faults import FaultyWire
from firmware_bridges.twins.host import Twin
from firmware_bridges.twins.run import TwinOptions, make_twin
from firmware_bridges.wire_bridge import WireBridge
from tests.faults.rules import NotKept
from tests.firmware_bridges.simulated_grbl import OvertakingLink
from tests.firmware_bridges.simulated_line import BYTES_PER_S, STEP_S, TICK_S, OwnClock, WireLink, _no_thread

#: What makes a machine move; anything else may be said to one that nobody has re-armed.
_MOTION: Final = re.compile(rb"^(?:N\d+ ?)?(?:G[0-3]\b|G28\b|\$H|\$J)", re.MULTILINE)
_TWINS: Final = {
    Process.FDM: TwinOptions("marlin"),
    Process.LASER: TwinOptions("grbl", profile="laser", settings=(("$32", "1"), ("$30", "1000"), ("$22", "0"))),
}


class Bench:
    """One machine as it stands in a shop. `clock` is the machine's own time."""

    def __init__(self, name: str, process: Process, seed: int) -> None:
        self.name, self.process = name, process
        self.clock = OwnClock()
        self.twin: Twin = make_twin(_TWINS[process])
        self.wire = FaultyWire(seed)
        self.bridge: WireBridge | None = None
        self.plugged = True
        self.occupied = False
        """What lies on the bed, whoever believes what."""
        self.must_rearm = False
        """The link or the agent went away: nothing may move before a person looked."""
        self.present_until = 0.0
        """World time until which the last heartbeat of whoever stands here is good."""
        self.by_hand = False
        """A person presses something just now."""
        self.material_gone = False
        """Nothing is loaded any more, and somebody said so."""
        self.shelf_empty = False
        """There is nothing to load either."""
        self.run_asked: Callable[[ToolpathFile], None] = lambda toolpath: None
        self.run_taken: Callable[[], None] = lambda: None
        self.said: Callable[[Event], None] = lambda event: None
        self._link: WireLink | None = None
        self._back = bytearray()
        self._tick_at = 0.0
        self.twin.boot(0.0, "power")

    # --- for the agent ------------------------------------------------------------------------------------------------

    def open_bridge(self, config: MachineConfig) -> WireBridge:
        """What an agent gets for a bridge: the real one, on this bench's wire and time."""
        kind = MarlinBridge if self.process is Process.FDM else GrblBridge
        options = (*config.options, ("banner_wait_s", "0.25"))
        bridge: Any = kind(replace(config, options=options), clock=self.clock, spawn=_no_thread)
        link = (OvertakingLink if self.process is Process.LASER else WireLink)()
        link.is_open = False
        write = link.write

        def careful(data: bytes) -> None:
            if self.must_rearm and _MOTION.search(data):
                raise NotKept(f"{self.name} was told {data!r} before a person re-armed it")
            write(data)

        def opened() -> None:
            if not self.plugged:
                raise PortUnavailable(f"{config.port} is not there")
            link.is_open = True
            if self.twin.resets_on_open:
                self.twin.boot(self.clock.now, "reset")

        def emitted(event: Event) -> None:
            self.said(event)
            for listener in bridge.session._listeners:
                listener(event)

        link.write = careful  # type: ignore[method-assign]
        link.open = opened  # type: ignore[attr-defined]
        run, resume = bridge.run, bridge.resume

        def asked(toolpath: Any, from_line: int = 1) -> None:
            is_work = isinstance(toolpath, ToolpathFile)  # and not the three lines that switch off
            if is_work:
                self.run_asked(toolpath)
            run(toolpath, from_line)
            if is_work:
                self.occupied = True
                self.run_taken()

        def resumed() -> None:
            if not self.by_hand:
                raise NotKept(f"{self.name} goes on after a hold, and nobody pressed anything")
            resume()

        bridge.run, bridge.resume = asked, resumed
        bridge.link = link
        bridge.session.emit = emitted
        bridge.session.stop = lambda: None
        bridge.session.wait_until = lambda reached, within_s: self.pass_until(reached, within_s)
        self.bridge, self._link = bridge, link
        return bridge  # type: ignore[no-any-return]

    def abandoned(self) -> None:
        """The agent's process is gone, and with it the open port; the machine does what it has."""
        if self.bridge is not None and self.bridge.session._file is not None:
            self.bridge.session._file.close()  # as the system does
        self.bridge = self._link = None
        self._back.clear()

    # --- the cable and the machine ------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Pull the cable."""
        self.plugged = False
        self.must_rearm = self.must_rearm or self.busy
        self._back.clear()
        if self._link is not None and self._link.is_open:
            self._link.is_open = False
            self._link.out.clear()
            if self.bridge is not None:
                self.bridge.lost("the cable was pulled")

    def plug(self) -> None:
        """Put it back (another name for the same socket: the bridge opened it by its place)."""
        self.plugged = True
        bridge, link = self.bridge, self._link
        if bridge is not None and link is not None and not link.is_open and bridge._connected_once:
            link.is_open = True
            if self.twin.resets_on_open:
                self.twin.boot(self.clock.now, "reset")
            bridge.back()

    def reset(self) -> None:
        """The controller starts anew by itself (its watchdog, its power)."""
        self.must_rearm = self.must_rearm or self.busy
        self.twin.boot(self.clock.now, "watchdog")

    @property
    def busy(self) -> bool:
        """Whether the bridge has a toolpath in the machine."""
        return self.bridge is not None and self.bridge.session.state in BUSY_STATES

    @property
    def beam(self) -> float:
        """What the laser gives now (0 to full)."""
        state = self.twin.state(self.clock.now)
        spindle = state["spindle"]
        return float(spindle["power"]) if isinstance(spindle, dict) else float(spindle)

    # --- time ---------------------------------------------------------------------------------------------------------

    def pass_until(self, reached: Callable[[], bool], within_s: float) -> bool:
        """Let the machine's time pass until `reached`."""
        until = self.clock.now + within_s
        while not reached():
            if self.clock.now >= until:
                return False
            self._step()
        return True

    def pass_(self, seconds: float) -> None:
        """Let time pass; a machine that stands and has nothing to say needs only a moment of it."""
        until = self.clock.now + (seconds if self._alive() else min(seconds, 2 * TICK_S))
        while self.clock.now < until:
            self._step()
            if not self._alive():
                until = min(until, self.clock.now + 2 * TICK_S)

    def _alive(self) -> bool:
        bridge = self.bridge
        if bridge is None or not self.plugged:
            return False
        return self.busy or bridge._dialogue is not None or bridge.session.state is BridgeState.UNIDENTIFIED

    def _step(self) -> None:
        link, bridge, allowed = self._link, self.bridge, int(BYTES_PER_S * STEP_S)
        is_open = link is not None and link.is_open
        busy = bool(self._back or (is_open and link is not None and link.out))
        due = self.twin.wakes_at()
        jump = STEP_S
        if not busy:
            jump = min(self._tick_at, due if due is not None else self._tick_at) - self.clock.now
        self.clock.now = now = self.clock.now + min(TICK_S, max(STEP_S, jump))
        if is_open and link is not None and link.out:
            data = bytes(link.out[:allowed])
            del link.out[:allowed]
            if not self.wire.stalled(now):
                self.twin.receive(self.wire.to_machine(data), now)
        self.twin.advance(now)
        for line in self.wire.lines_out(self.twin.take_output(), now):
            self._back += line
        if not is_open or bridge is None:
            self._back.clear()
            return
        if self._back and not self.wire.stalled(now):
            back = bytes(self._back[:allowed])
            del self._back[:allowed]
            noisy = self.wire.to_host(back)
            if noisy:
                bridge.heard(noisy, now)
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            bridge.tick(now)
