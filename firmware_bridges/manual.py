"""Machines that people drive: a drill press, a sewing machine, a hand saw. The toolpath is a work card.

Each line of the toolpath is one step in words; blank lines and lines that start with `;` are remarks. A person reads
the step that `card()` shows, does it and confirms it; nothing counts as done before. The bridge moves nothing and stops
nothing: hold, cancel and emergency stop tell the person, who confirms that the machine stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bridges.bridge import (
    BUSY_STATES,
    BridgeState,
    Capability,
    Clock,
    Failure,
    Identified,
    Identity,
    Listener,
    MachineConfig,
    Notice,
    NotNow,
    NotSupported,
    Status,
    Toolpath,
)
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.link import Spawn, SystemClock, spawn_thread
from firmware_bridges.session import Happening, Session

_CAPABILITIES = frozenset({Capability.HUMAN_CONFIRMED, Capability.HOLD, Capability.RESUME, Capability.START_AT_LINE})


@dataclass(frozen=True, slots=True)
class WorkCard:
    """What a person at the machine reads. `line` is the step to do now, 0 where there is none: while held, too."""

    state: BridgeState
    line: int
    step: str
    total_lines: int
    asked: str = ""
    """What the person is asked to confirm besides the step: that the machine stands."""


class ManualBridge:
    """See `bridge.Bridge`; a person confirms with `confirm_step` and `confirm_standing`."""

    def __init__(
        self,
        config: MachineConfig,
        *,
        clock: Clock | None = None,
        spawn: Spawn = spawn_thread,
    ) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        kept = config.option("checkpoint_file")
        self.session = Session(
            clock=self.clock,
            name=config.port or "manual",
            checkpoint_file=CheckpointFile(Path(kept)) if kept else None,
            spawn=spawn,
        )
        self._steps: Iterator[tuple[int, str]] = iter(())
        self._now: tuple[int, str] | None = None
        self._last_line = 0

    # --- the contract -------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Hear every later event."""
        self.session.listen(listener)

    def connect(self) -> Identity:
        """There is no port: the identity is what the owner declared. Raises NotNow when connected already."""
        with self.session.lock:
            if self.session.state is not BridgeState.OFFLINE:
                raise NotNow("This machine's work card is open already.")
            name = self.config.option("model", "a machine driven by people")
            identity = Identity("manual", "none", name, self.config.fingerprint or f"manual:{name}", _CAPABILITIES)
            self.session.identity = identity
            self.session.happen(Happening.OPENED)
            self.session.happen(Happening.IDENTIFIED)
            self.session.emit(Identified(identity))
            return identity

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Put the card up. Raises NotNow, NotSupported, OSError where it cannot be read; then none is up."""
        with self.session.lock:
            if not 1 <= from_line <= max(1, toolpath.total_lines):
                raise NotSupported(f"The work card has {toolpath.total_lines} lines; {from_line} is not one of them.")
            self.session.start_run(toolpath, from_line)
            self._last_line = from_line - 1
            self._now = None
            try:
                self._steps = toolpath.lines(from_line)
                self._next_step()
            except OSError:
                self.session.withdraw()
                raise

    def hold(self) -> None:
        """Ask the person to stop; held once `confirm_standing` was called. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.HOLD_ASKED, "Holding")
            self.session.happen(Happening.HOLD_ASKED, "a person was asked to stop the machine")
            self._ask("Stop the machine, then confirm that it stands.")

    def resume(self) -> None:
        """The step that was under way goes on. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.RESUME_ASKED, "Resuming")
            if self.session.state is BridgeState.HOLDING:
                raise NotNow("Nobody has confirmed yet that the machine stands.")
            self.session.happen(Happening.RESUME_ASKED)
            self._show()

    def cancel(self) -> None:
        """Ask the person to stop for good; cancelled once `confirm_standing` was called. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.CANCEL_ASKED, "Cancelling")
            self.session.happen(Happening.CANCEL_ASKED, "a person was asked to stop the machine for good")
            self._ask("This job is cancelled: stop the machine, then confirm that it stands.")

    def emergency_stop(self) -> None:
        """Tell the person to hit the machine's own button: this program cannot."""
        with self.session.lock:
            self._now = None
            self.session.emit(Notice("alarm", "EMERGENCY STOP: hit the machine's own button now."))
            self.session.fail(
                Failure.EMERGENCY_STOP,
                "Emergency stop was asked for: hit the machine's own button. This program cannot stop it.",
                Happening.BROKEN,
                may_be_moving=True,
            )

    def rearm(self) -> None:
        """A person looked at the machine. Raises NotNow."""
        with self.session.lock:
            if self.session.state is BridgeState.IDLE:
                return
            self.session.require(Happening.REARMED, "Re-arming")
            self.session.happen(Happening.REARMED, "re-armed by a person")

    def home(self) -> None:
        """Raises NotSupported: people know where the machine is."""
        raise NotSupported("A machine driven by people has no homing.")

    def status(self) -> Status:
        """What is known now."""
        run = self.session.run
        return Status(
            state=self.session.state,
            why=self.session.why,
            identity=self.session.identity,
            line=self.session.confirmed_line,
            total_lines=run.total_lines if run is not None else 0,
        )

    def close(self) -> None:
        """Take the card down; a card in work fails as LINK_LOST."""
        with self.session.lock:
            if self.session.busy:
                self.session.fail(
                    Failure.LINK_LOST,
                    "The work card was closed while the job was in work: look what was done.",
                    Happening.CLOSED,
                    may_be_moving=True,
                )
            self.session.happen(Happening.CLOSED)
        self.session.stop()

    # --- the person's side ------------------------------------------------------------------------------------------

    def card(self) -> WorkCard:
        """What to do now."""
        with self.session.lock:
            state, run = self.session.state, self.session.run
            line, step = 0, ""
            if self._now is not None and state in (BridgeState.STARTING, BridgeState.RUNNING):
                line, step = self._now
            asked = ""
            if state in (BridgeState.HOLDING, BridgeState.CANCELLING):
                asked = "Stop the machine, then confirm that it stands."
            return WorkCard(state, line, step, run.total_lines if run is not None else 0, asked)

    def confirm_step(self, line: int) -> None:
        """A person did the step at `line`. Raises NotNow for any other: a card is done in order, each step once."""
        with self.session.lock:
            if self.session.state not in (BridgeState.STARTING, BridgeState.RUNNING) or self._now is None:
                raise NotNow(f"No step can be confirmed while the machine is {self.session.state}.")
            if line != self._now[0]:
                raise NotNow(f"The step to confirm is line {self._now[0]}, not {line}: a card is done in order.")
            self._last_line = line
            self.session.confirm(line, self.clock.monotonic())
            self._next_step()

    def confirm_standing(self) -> None:
        """A person saw that the machine stands and is off. Raises NotNow where nobody asked."""
        with self.session.lock:
            if self.session.state is BridgeState.HOLDING:
                self.session.happen(Happening.STANDS, "a person confirmed that the machine stands")
            elif self.session.state is BridgeState.CANCELLING:
                self._now = None
                self.session.cancelled()
            else:
                raise NotNow("Nobody asked whether the machine stands.")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _next_step(self) -> None:
        for line, text in self._steps:
            if text.strip() and not text.lstrip().startswith(";"):
                self._now = (line, text.strip())
                self._show()
                return
            self._last_line = line
        self._now = None
        if self.session.state in BUSY_STATES:
            self.session.confirm(self._last_line, self.clock.monotonic())
            self.session.finish()

    def _show(self) -> None:
        if self._now is not None:
            self.session.emit(Notice("step", f"Line {self._now[0]}: {self._now[1]}"))

    def _ask(self, text: str) -> None:
        self.session.emit(Notice("ask", text))
