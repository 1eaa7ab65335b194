"""Stopping a run so that the position survives: hold, wait until the machine reports that it stands, reset, greet, off.

A reset in motion loses steps (ALARM:3, grbl/motion_control.c mc_reset); after Hold:0 it does not. The hold itself
switches a beam off in laser mode; the reset switches beam and spindle off in any mode and empties every buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from firmware_bridges.bridge import Failure
from firmware_bridges.grbl_lines import Report

STAND_WITHIN_S: Final = 5.0
GREET_WITHIN_S: Final = 3.0
#: A hold asked for while nothing moves may leave the state Idle: after two such reports it stands.
_IDLE_REPORTS: Final = 2


class Stopping:
    """One stop in progress. `done(True)` once the controller greeted after the reset and reports that it is not moving.

    Call `reported` for each status report and `passed` for each tick; set `greeted` when its greeting came.
    """

    def __init__(
        self,
        interject: Callable[[bytes], None],
        emergency: Callable[[bytes], bool],
        done: Callable[[bool], None],
        now: float,
        *,
        failure: Failure | None,
        why: str,
    ) -> None:
        self._emergency = emergency
        self._done = done
        self._until = now + STAND_WITHIN_S
        self._reset_at: float | None = None
        self._idle = 0
        self._now = now
        self.failure = failure
        self.why = why
        self.greeted = False
        interject(b"!")

    @property
    def expects_greeting(self) -> bool:
        """Whether the reset was sent: a greeting is then no surprise."""
        return self._reset_at is not None

    def reported(self, report: Report) -> None:
        """A status report came."""
        if self._reset_at is not None:
            if self.greeted and report.state in ("Idle", "Alarm") and not report.spindle:
                self._done(True)
            return
        self._idle = self._idle + 1 if report.state == "Idle" else 0
        stands = (report.state in ("Hold", "Door") and report.substate == 0) or report.state in (
            "Alarm",
            "Check",
            "Sleep",
        )
        if stands or self._idle >= _IDLE_REPORTS:
            self._reset()

    def passed(self, now: float) -> None:
        """Time passed."""
        self._now = now
        if now < self._until:
            return
        if self._reset_at is None:
            self._reset()
        else:
            self._done(False)

    def _reset(self) -> None:
        self._reset_at = self._now
        self._until = self._now + GREET_WITHIN_S
        self._emergency(b"\x18")
