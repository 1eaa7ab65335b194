"""The part of the contract that is the same for every firmware on a wire: opening, identifying, losing, coming back.

A dialect gives: its identification script, what to do with each received line and tick, and the scripts for rearm and
home. Everything here runs under `session.lock`; scripts and lines run in the link's thread.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Capability,
    Clock,
    Event,
    Failure,
    Identified,
    Identity,
    Listener,
    MachineConfig,
    NotNow,
    NotSupported,
    PortUnavailable,
    Status,
    Toolpath,
    WrongMachine,
)
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.dialogue import Dialogue, Script
from firmware_bridges.link import Link, Opener, PortSettings, Spawn, SystemClock, open_serial, spawn_thread
from firmware_bridges.session import Happening, Session

_log: Final = logging.getLogger(__name__)
IDENTIFY_WITHIN_S: Final = 30.0
SCRIPT_WITHIN_S: Final = 600.0
#: Who came back and did not answer, because it boots or works through a full buffer, is asked again after so long.
ASK_AGAIN_S: Final = 5.0
LONGEST_LINE: Final = 4096


class Parts(TypedDict, total=False):
    """What a bridge takes from outside; the system's own where it is left out."""

    clock: Clock | None
    opener: Opener
    spawn: Spawn


class WireBridge(ABC):
    """A bridge over one `Link`. Subclasses speak the firmware's language; see the hooks below the contract."""

    dialect: str = ""
    #: What this bridge can do before the firmware was asked.
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, config: MachineConfig, **parts: Unpack[Parts]) -> None:
        opener, spawn = parts.get("opener", open_serial), parts.get("spawn", spawn_thread)
        self.config = config
        self.clock: Clock = parts.get("clock") or SystemClock()
        folder = config.option("checkpoint_file")
        self.session = Session(
            clock=self.clock,
            name=config.port,
            checkpoint_file=CheckpointFile(Path(folder)) if folder else None,
            spawn=spawn,
        )
        self.link = Link(
            PortSettings(config.port, config.baud, config.option("modem_lines", "auto")),
            self,
            clock=self.clock,
            opener=opener,
            spawn=spawn,
        )
        self._partial = b""
        self._dialogue: Dialogue[Any] | None = None
        self._fingerprint = config.fingerprint
        self._refusal: BridgeError | None = None
        self._connected_once = False
        self._ask_again_at: float | None = None

    # --- the contract -------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Hear every later event; called in the bridge's event thread, and must not raise."""
        self.session.listen(listener)

    def connect(self) -> Identity:
        """Open the port and identify the firmware without moving anything.

        Raises PortUnavailable, WrongMachine, NotNow (connected already).
        """
        with self.session.lock:
            if self.session.state is not BridgeState.OFFLINE or self._connected_once:
                raise NotNow(f"This bridge has connected already; the machine is {self.session.state}.")
            self._refusal = None
            self.link.open()
            self._connected_once = True
            self.session.happen(Happening.OPENED)
            self._start_identification(again=False)
        self.session.wait_until(lambda: self._answered() is not None, IDENTIFY_WITHIN_S)
        answer = self._answered()
        if isinstance(answer, Identity):
            return answer
        self.close()
        raise answer or WrongMachine(
            f"Nothing on {self.config.port} answered as a {self.config.dialect} machine within"
            f" {IDENTIFY_WITHIN_S:.0f} s: check the power, the baud rate ({self.config.baud}) and the dialect."
        )

    def _answered(self) -> Identity | BridgeError | None:
        """How identification ended, None while it goes on."""
        return self._refusal or self.session.identity

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Stream `toolpath`. Raises NotNow, NotSupported, OSError where it cannot be read; then nothing runs."""
        with self.session.lock:
            self.session.require(Happening.RUN_ASKED, "Starting a toolpath")
            if self._dialogue is not None:
                raise NotNow("The machine is busy with a short request (homing, re-arming): wait until it is done.")
            if not 1 <= from_line <= max(1, toolpath.total_lines):
                raise NotSupported(
                    f"The toolpath has {toolpath.total_lines} lines; line {from_line} is not one of them."
                )
            self._check_run(toolpath, from_line)
            self.session.start_run(toolpath, from_line)
            try:
                self._begin_run(toolpath, from_line)
            except (BridgeError, OSError):
                self.session.withdraw()
                raise

    def rearm(self) -> None:
        """A person looked at the machine. Clears DISARMED, and ALARM or FAULT where the firmware can. Moves nothing."""
        with self.session.lock:
            state = self.session.state
            if state is BridgeState.IDLE:
                return
            self.session.require(Happening.REARMED, "Re-arming")
            self._say(self._rearm_script(), self._rearmed)

    def home(self) -> None:
        """Home all axes; returns when the firmware confirmed. Raises NotNow, NotSupported, BridgeError."""
        with self.session.lock:
            if Capability.HOMING not in self._capabilities():
                raise NotSupported("This machine cannot home: set its position by hand.")
            self._check_home()
        self.ask(self._home_script())

    def status(self) -> Status:
        """What is known now; never waits for the machine."""
        session = self.session
        run = session.run
        return Status(
            state=session.state,
            why=session.why,
            identity=session.identity,
            line=session.confirmed_line,
            total_lines=run.total_lines if run is not None else 0,
            position=session.position,
            **self._more_status(),
        )

    def close(self) -> None:
        """Close the port and end the threads; a running toolpath fails as LINK_LOST first, beam and heaters off."""
        with self.session.lock:
            if self.session.busy:
                self._leave_safe()
                self.session.fail(
                    Failure.LINK_LOST,
                    "The bridge was closed while a toolpath was running.",
                    Happening.CLOSED,
                    may_be_moving=True,
                )
            elif self.session.state in (BridgeState.IDLE, BridgeState.DISARMED):
                self._leave_idle()
            self._drop_dialogue()
        self.link.close()
        self.session.happen(Happening.CLOSED)
        self.session.stop()

    @abstractmethod
    def hold(self) -> None:
        """See `Bridge.hold`."""

    @abstractmethod
    def resume(self) -> None:
        """See `Bridge.resume`."""

    @abstractmethod
    def cancel(self) -> None:
        """See `Bridge.cancel`."""

    @abstractmethod
    def emergency_stop(self) -> None:
        """See `Bridge.emergency_stop`. Must not take `session.lock` before the stop is on its way."""

    # --- hooks --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _identification(self, *, again: bool) -> Script[Identity]:
        """Ask who is there, moving nothing; raises WrongMachine inside the script."""

    @abstractmethod
    def _received(self, text: str, now: float) -> None:
        """One whole line came, without line end, in the link's thread, under the lock."""

    @abstractmethod
    def _passed(self, now: float) -> None:
        """Time passed: polls, deadlines, streaming."""

    @abstractmethod
    def _begin_run(self, toolpath: Toolpath, from_line: int) -> None:
        """The session is STARTING: begin to stream. Raises NotSupported, OSError before anything was sent or kept."""

    @abstractmethod
    def _rearm_script(self) -> Script[Happening]:
        """Make the firmware ready again; ends with REARMED or REARMED_LOCKED."""

    @abstractmethod
    def _home_script(self) -> Script[None]:
        """Home and wait for the firmware's word."""

    @abstractmethod
    def _leave_safe(self) -> None:
        """The host loses the job now: write what stops feed, beam, spindle and heaters."""

    def _stop_bytes(self) -> bytes:
        """What stops this firmware at once, whatever it is doing; empty where a cable cannot."""
        return b""

    def _leave_idle(self) -> None:  # noqa: B027 - most machines need nothing
        """The port is about to be closed on an idle machine."""

    def _dropped(self) -> None:  # noqa: B027 - most bridges keep nothing
        """The port is gone: forget what was in flight."""

    def _ready(self, identity: Identity) -> None:  # noqa: B027 - most bridges need nothing
        """Identified: set up reports."""

    def _check_run(self, toolpath: Toolpath, from_line: int) -> None:  # noqa: B027 - most bridges refuse nothing
        """Refuse a run this machine must not make. Raises NotNow, NotSupported."""

    def _check_home(self) -> None:
        """Refuse homing now. Raises NotNow."""
        if self.session.state is not BridgeState.IDLE:
            raise NotNow(f"Homing is not possible while the machine is {self.session.state}.")

    def _more_status(self) -> dict[str, Any]:
        """Further fields of `Status`."""
        return {}

    # --- for subclasses -----------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Tell the listeners."""
        self.session.emit(event)

    def ask(self, script: Script[Any], within_s: float = SCRIPT_WITHIN_S) -> Any:
        """Run a script and wait for its outcome. Never from the link's or the events' thread.

        Raises what the script raises, NotNow while another one runs, PortUnavailable when the link goes meanwhile.
        """
        outcome: list[Any] = []
        errors: list[BridgeError] = []
        with self.session.lock:
            if not self.link.is_open:
                raise PortUnavailable(f"{self.config.port} is not open: check the machine's power and cable.")
            self._say(script, outcome.append, errors.append)
            mine = self._dialogue
        self.session.wait_until(lambda: bool(outcome or errors) or self._dialogue is not mine, within_s)
        if errors:
            raise errors[0]
        if not outcome:
            raise PortUnavailable("The machine did not finish what it was asked: the link was lost or it is stuck.")
        return outcome[0]

    def start_script(self, script: Script[Any], done: Callable[[Any], None]) -> None:
        """Run a script without waiting (allowed in the link's thread). Raises NotNow while another one runs."""
        with self.session.lock:
            self._say(script, done)

    def _capabilities(self) -> frozenset[Capability]:
        identity = self.session.identity
        return identity.capabilities if identity is not None else self.capabilities

    def refuse(self, error: BridgeError) -> None:
        """A script ended with an error nobody waits for."""
        with self.session.changed:
            self._refusal = error
            self.session.changed.notify_all()

    def _say(
        self,
        script: Script[Any],
        done: Callable[[Any], None],
        failed: Callable[[BridgeError], None] | None = None,
    ) -> None:
        if self._dialogue is not None:
            raise NotNow("The machine is still busy with another short request: wait until it is done.")

        def ended(then: Callable[[Any], None], value: Any) -> None:
            with self.session.changed:
                self._dialogue = None
                then(value)
                self.session.changed.notify_all()

        self._dialogue = Dialogue(
            script,
            write=self.link.write,
            interject=self.link.interject,
            done=lambda value: ended(done, value),
            failed=lambda error: ended(failed or self.refuse, error),
        )
        self._dialogue.start(self.clock.monotonic())

    def _drop_dialogue(self) -> None:
        if self._dialogue is not None:
            self._dialogue.drop()
            self._dialogue = None

    def _rearmed(self, outcome: Happening) -> None:
        self.session.happen(outcome, "re-armed by a person")

    # --- the ear ------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes, now: float) -> None:
        """Cut the stream into lines; a line without an end is cut at LONGEST_LINE."""
        with self.session.lock:
            pieces = (self._partial + data).split(b"\n")
            self._partial = pieces.pop()
            if len(self._partial) > LONGEST_LINE:
                pieces.append(self._partial)
                self._partial = b""
            for piece in pieces:
                text = piece.rstrip(b"\r").decode("latin-1")
                self._received(text, now)
                if self._dialogue is not None:
                    self._dialogue.line(text, now)

    def tick(self, now: float) -> None:
        """Deadlines of the script, then of the dialect."""
        with self.session.lock:
            if self._dialogue is not None:
                self._dialogue.tick(now)
            elif self._ask_again_at is not None and now >= self._ask_again_at:
                self._start_identification(again=True)
            self._passed(now)

    def lost(self, why: str) -> None:
        """The port is gone: whatever ran has failed; the machine may still empty its own buffers."""
        with self.session.changed:
            self._partial = b""
            self._ask_again_at = None
            self._drop_dialogue()
            self.session.fail(
                Failure.LINK_LOST,
                f"The link to the machine was lost: {why}. It may still be emptying its own buffer."
                " Look at the machine before it is armed again.",
                Happening.LINK_LOST,
                may_be_moving=True,
            )
            self.session.identity = None
            self._dropped()
            self.session.changed.notify_all()

    def back(self) -> None:
        """The port is open again: identify, move nothing."""
        with self.session.lock:
            self.session.happen(Happening.OPENED)
            self._start_identification(again=True)

    def broke(self, error: Exception) -> None:
        """This program has a defect: stop the machine as hard as its firmware can, and say so. Nothing goes on."""
        _log.error("the bridge on %s broke", self.config.port, exc_info=error)
        if self.session.state is BridgeState.FAULT:
            return
        self.link.emergency(self._stop_bytes(), hush=True)
        with self.session.changed:
            self._drop_dialogue()
            self.session.fail(
                Failure.COMMUNICATION,
                f"The bridge itself broke ({type(error).__name__}: {error}) and stopped the machine."
                " Look at the machine, then restart the agent; please report this.",
                Happening.BROKEN,
                may_be_moving=True,
            )
            self._dropped()
            self.link.speak_again()
            self.session.changed.notify_all()

    def _start_identification(self, *, again: bool) -> None:
        def identified(identity: Identity) -> None:
            expected = self._fingerprint
            if expected and identity.fingerprint != expected:
                self.refuse(
                    WrongMachine(
                        f"On {self.config.port} answers {identity.firmware} {identity.version} with fingerprint"
                        f" {identity.fingerprint}, but {expected} was configured: another machine sits in this"
                        " socket, or its firmware was changed. Run detect and correct the configuration."
                    )
                )
                return
            self._fingerprint = identity.fingerprint
            self.session.identity = identity
            self.session.happen(
                Happening.IDENTIFIED_AGAIN if again else Happening.IDENTIFIED,
                "the link was lost and came back; a person must look and re-arm" if again else "",
            )
            self.emit(Identified(identity))
            self._ready(identity)

        def silent(error: BridgeError) -> None:
            self._ask_again_at = self.clock.monotonic() + ASK_AGAIN_S if again else None
            self.refuse(error)

        self._ask_again_at = None
        self._say(self._identification(again=again), identified, silent)
