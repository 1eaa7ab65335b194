"""What a bridge knows of its machine: the state table, the run's line counts, the events and who hears them.

`TRANSITIONS` is the state machine of every bridge: (state, happening) → state. A request that is not in the table for
the present state is refused with `NotNow`; a report of the machine that is not in the table changes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from firmware_bridges.bridge import (
    BUSY_STATES,
    IDENTIFIED_STATES,
    BridgeState,
    Checkpoint,
    Clock,
    Event,
    Failure,
    Identity,
    Listener,
    NotNow,
    Position,
    Progress,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    StateChanged,
    Toolpath,
)
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.link import Spawn, spawn_thread

_log: Final = logging.getLogger(__name__)
PROGRESS_EVERY_S: Final = 0.25


class Happening(StrEnum):
    """What moves a bridge from one state to another: requests of people and programs, and reports of the machine."""

    OPENED = "opened"
    IDENTIFIED = "identified"
    IDENTIFIED_AGAIN = "identified_again"
    """After a lost link: nothing may move before a person re-armed."""
    RUN_ASKED = "run_asked"
    FIRST_LINE = "first_line"
    HOLD_ASKED = "hold_asked"
    STANDS = "stands"
    RESUME_ASKED = "resume_asked"
    MOVES = "moves"
    CANCEL_ASKED = "cancel_asked"
    ENDED = "ended"
    """The run is over and the machine is idle: finished, cancelled, or failed with nothing wrong with the machine."""
    LOCKED = "locked"
    """The firmware raised an alarm that a person can clear."""
    BROKEN = "broken"
    """Killed, thermal fault, hung."""
    RESET = "reset"
    """The controller started anew by itself."""
    LINK_LOST = "link_lost"
    REARMED = "rearmed"
    REARMED_LOCKED = "rearmed_locked"
    """A person re-armed, but the firmware is still locked."""
    CLOSED = "closed"


_S, _H = BridgeState, Happening


def _table() -> dict[tuple[BridgeState, Happening], BridgeState]:
    table: dict[tuple[BridgeState, Happening], BridgeState] = {
        (_S.OFFLINE, _H.OPENED): _S.UNIDENTIFIED,
        (_S.UNIDENTIFIED, _H.IDENTIFIED): _S.IDLE,
        (_S.UNIDENTIFIED, _H.IDENTIFIED_AGAIN): _S.DISARMED,
        (_S.IDLE, _H.RUN_ASKED): _S.STARTING,
        (_S.STARTING, _H.FIRST_LINE): _S.RUNNING,
        (_S.STARTING, _H.HOLD_ASKED): _S.HOLDING,
        (_S.RUNNING, _H.HOLD_ASKED): _S.HOLDING,
        (_S.RUNNING, _H.STANDS): _S.HELD,  # a person pressed the machine's own button
        (_S.HOLDING, _H.STANDS): _S.HELD,
        (_S.HOLDING, _H.RESUME_ASKED): _S.RUNNING,
        (_S.HELD, _H.RESUME_ASKED): _S.RUNNING,
        (_S.HELD, _H.MOVES): _S.RUNNING,
        (_S.DISARMED, _H.REARMED): _S.IDLE,
        (_S.DISARMED, _H.REARMED_LOCKED): _S.ALARM,
        (_S.ALARM, _H.REARMED): _S.IDLE,
        (_S.FAULT, _H.REARMED): _S.IDLE,
        (_S.FAULT, _H.REARMED_LOCKED): _S.ALARM,
    }
    for state in BUSY_STATES:
        table[state, _H.CANCEL_ASKED] = _S.CANCELLING
        table[state, _H.ENDED] = _S.IDLE
    for state in IDENTIFIED_STATES:
        table[state, _H.BROKEN] = _S.FAULT
        if state is not _S.FAULT:
            table[state, _H.RESET] = _S.DISARMED
            table[state, _H.LOCKED] = _S.ALARM
    for state in BridgeState:
        if state is not _S.OFFLINE:
            table[state, _H.LINK_LOST] = _S.OFFLINE
            table[state, _H.CLOSED] = _S.OFFLINE
    # A controller that says hello after an alarm or a fault is no more trusted for it.
    table[_S.FAULT, _H.RESET] = _S.FAULT
    return table


#: The whole state machine.
TRANSITIONS: Final = _table()

#: Sentences for `NotNow`: what would help in each state.
_WHAT_HELPS: Final = {
    _S.OFFLINE: "The machine is not connected: check its power and cable.",
    _S.UNIDENTIFIED: "What answers on the port has not been identified yet: wait, or check the configured dialect.",
    _S.IDLE: "The machine is idle.",
    _S.STARTING: "A toolpath is about to start.",
    _S.RUNNING: "A toolpath is running: hold or cancel it first.",
    _S.HOLDING: "The machine is coming to a stop: wait until it stands.",
    _S.HELD: "A toolpath is held: resume or cancel it first.",
    _S.CANCELLING: "A toolpath is being cancelled: wait until the machine confirmed it.",
    _S.ALARM: "The firmware has locked itself: look at the machine, then clear the alarm.",
    _S.FAULT: "The machine has a fault: look at it, reset it, then re-arm it.",
    _S.DISARMED: "The link was lost or the controller reset: look at the machine, then re-arm it.",
}


@dataclass(frozen=True, slots=True)
class Run:
    """The toolpath in the machine."""

    toolpath: Toolpath
    from_line: int
    total_lines: int
    started: bool = False


class Session:
    """State, run and events of one machine. `lock` guards it all; events leave through one thread, in order."""

    def __init__(
        self,
        *,
        clock: Clock,
        name: str,
        checkpoint_file: CheckpointFile | None = None,
        spawn: Spawn = spawn_thread,
    ) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._clock = clock
        self._name = name
        self._spawn = spawn
        self._file = checkpoint_file
        self._listeners: list[Listener] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._state = BridgeState.OFFLINE
        self._why = ""
        self._progress_due = 0.0
        self._unsaved = False
        self.run: Run | None = None
        self.runs = 0
        """Runs that were asked for: the number of the newest. Whoever works for one on a thread of its own asks by it
        whether that one is still meant."""
        self.confirmed_line = 0
        self.identity: Identity | None = None
        self.position: Position | None = None

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> BridgeState:
        """The state now."""
        return self._state

    @property
    def why(self) -> str:
        """The sentence that came with the last change of state."""
        return self._why

    @property
    def busy(self) -> bool:
        """Whether a toolpath is in the machine."""
        return self._state in BUSY_STATES

    def allows(self, happening: Happening) -> bool:
        """Whether the table knows `happening` in this state."""
        return (self._state, happening) in TRANSITIONS

    def require(self, happening: Happening, what: str) -> None:
        """Refuse a request that the table does not know. Raises NotNow."""
        if not self.allows(happening):
            raise NotNow(f"{what} is not possible while the machine is {self._state}. {_WHAT_HELPS[self._state]}")

    def happen(self, happening: Happening, why: str = "") -> bool:
        """Follow the table. Returns whether it knew this happening in this state."""
        with self.changed:
            was = self._state
            state = TRANSITIONS.get((was, happening))
            if state is None:
                return False
            self._state = state
            self._why = why
            if state is not was:
                self.emit(StateChanged(state, was, why))
            self.changed.notify_all()
            return True

    # --- the run ------------------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint:
        """Last confirmed line and position."""
        return Checkpoint(self.confirmed_line, self.position)

    def start_run(self, toolpath: Toolpath, from_line: int) -> None:
        """A run was asked for. Raises NotNow, and OSError where the file would still tell of an earlier run."""
        with self.lock:
            self.require(Happening.RUN_ASKED, "Starting a toolpath")
            self.confirmed_line = from_line - 1
            self._progress_due = 0.0
            if self._file is not None:
                self._file.write(self.checkpoint, sync=True)
            self.run = Run(toolpath, from_line, toolpath.total_lines)
            self.runs += 1
            self.happen(Happening.RUN_ASKED)

    def withdraw(self) -> None:
        """The run just asked for could not be begun. It is refused to who asked: no event tells of an end, which could
        be taken for the next run's."""
        with self.lock:
            self.run = None
            self.happen(Happening.ENDED)

    def confirm(self, line: int, now: float) -> None:
        """The machine confirmed every toolpath line up to `line`; the first one starts the run."""
        run = self.run
        if run is None or line <= self.confirmed_line:
            return
        self.confirmed_line = line
        if not run.started:
            self.run = replace(run, started=True)
            self.emit(RunStarted(line))
            self.happen(Happening.FIRST_LINE)
        if now >= self._progress_due:
            self._progress_due = now + PROGRESS_EVERY_S
            self._save()
            self.emit(Progress(self.checkpoint, run.total_lines))

    def finish(self) -> None:
        """Every line is confirmed and the machine stands."""
        with self.lock:
            run, self.run = self.run, None
            if run is None:
                return
            if not run.started:
                self.emit(RunStarted(self.confirmed_line))
            self._save(force=True)
            self.emit(Progress(self.checkpoint, run.total_lines))
            self.happen(Happening.ENDED)
            self.emit(RunFinished(self.confirmed_line, self.position))

    def cancelled(self) -> None:
        """The machine confirmed that it stands and is off."""
        with self.lock:
            run, self.run = self.run, None
            self._save(force=True)
            self.happen(Happening.ENDED)
            if run is not None:
                self.emit(RunCancelled(self.checkpoint))

    def fail(
        self,
        failure: Failure,
        why: str,
        into: Happening,
        *,
        may_be_moving: bool = False,
        position_known: bool = False,
    ) -> None:
        """The machine's state follows `into`; a run that was in the machine ends as failed."""
        with self.lock:
            run, self.run = self.run, None
            self._save(force=True)
            self.happen(into, why)
            if run is not None:
                self.emit(RunFailed(failure, self.checkpoint, why, may_be_moving, position_known))

    def _save(self, *, force: bool = False) -> None:
        """Write down how far it came.

        An older line in the file costs a restart some lines; a full disk may neither stop a machine nor hide how its
        run ended.
        """
        if self._file is None:
            return
        try:
            self._file.write(self.checkpoint, sync=force)
            self._unsaved = False
        except OSError as error:
            if not self._unsaved:
                _log.warning("checkpoints of %s are not written: %s. Free space on the disk", self._name, error)
            self._unsaved = True

    # --- events -------------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Hear every later event."""
        with self.lock:
            self._listeners = [*self._listeners, listener]
            if self._thread is None:
                self._thread = self._spawn(self._dispatch, f"events {self._name}")

    def emit(self, event: Event) -> None:
        """Queue an event for the listeners."""
        if self._thread is not None:
            self._events.put(event)

    def wait_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition that a state change can bring. Never call it from the link's thread."""
        with self.changed:
            return self.changed.wait_for(reached, timeout_s)

    def stop(self) -> None:
        """Deliver what is queued, then end the events' thread."""
        thread = self._thread
        if thread is None:
            return
        self._events.put(None)
        if thread is not threading.current_thread():
            thread.join(timeout=5.0)
        self._thread = None

    def _dispatch(self) -> None:
        while (event := self._events.get()) is not None:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - one deaf listener must not silence the machine for the others
                    _log.exception("a listener of %s failed on %s", self._name, type(event).__name__)
