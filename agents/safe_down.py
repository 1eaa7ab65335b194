"""Heaters, beam and spindle off: after a run whose host died, as the first thing said to a machine that was left alone,
and at the agent's end, on all machines at once.

No motion. A printer gets the three off commands through its ordinary flow; a laser or router is reset, which kills
beam, spindle and steppers in the firmware's interrupt (grbl/motion_control.c `mc_reset`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from agents.contract.vocabulary import Process
from firmware_bridges.bridge import Bridge, BridgeError, BridgeState

_log = logging.getLogger(__name__)

#: Marlin's and its relatives' words for hot end, bed and fan off (marlinfw.org/docs/gcode/M104, M140, M107).
_PRINTER_OFF: Final = ("M104 S0", "M140 S0", "M107")
#: A port that hangs may take long to close (tty drain, up to 30 s); the service manager waits 20 s for the whole end.
_CLOSED_WITHIN_S: Final = 8.0


class _Off:
    """The three lines as a toolpath."""

    total_lines = len(_PRINTER_OFF)

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        """The lines from one on."""
        return ((number, text) for number, text in enumerate(_PRINTER_OFF, 1) if number >= from_line)


def safe_down(bridge: Bridge, process: Process) -> None:
    """Switch everything off. Raises nothing: what cannot be said is logged, and the machine stays disarmed anyway."""
    try:
        if process in {Process.LASER, Process.CNC}:
            bridge.emergency_stop()
        elif process is Process.FDM and bridge.status().state is BridgeState.IDLE:
            try:
                bridge.run(_Off())
            except OSError as error:  # a full disk lets no run begin, not even this one; and hot it may not stay
                _log.error("the machine is stopped, for it cannot be switched off in order: %s", error)
                bridge.emergency_stop()
    except BridgeError as error:
        _log.error("the machine could not be told to switch off: %s. Look at it now.", error)


def close_all(bridges: Sequence[Bridge], within_s: float = _CLOSED_WITHIN_S) -> None:
    """Close them side by side, each leaving its machine off: one that hangs keeps no other's heater or beam on."""
    closing = [threading.Thread(target=bridge.close, name="close", daemon=True) for bridge in bridges]
    for thread in closing:
        thread.start()
    until = time.monotonic() + within_s
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            _log.error("a port did not close within %g s; ending without it", within_s)
