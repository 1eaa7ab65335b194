"""Ruida RDC644x laser controllers over UDP or USB: upload the whole job, start it, follow its status.

Nothing is streamed while the machine moves: the job runs from the controller's memory. A toolpath is text, one command
a line as hexadecimal bytes (`ruida_wire.command`). CHECKED AGAINST A TWIN ONLY: the protocol is public reverse
engineering (see `ruida_wire`), so have a hand on the machine's own button. The stop is a request over the network and
counts only when the status confirms it. A job that was started goes on in the controller when the link is lost.

`port` is `udp://192.168.1.100` (`udp://host:port`, or the bare address), answered to local port 40200 (option
`reply_port`); or the path of a serial port (see `ruida_transport`). Options: `magic` (default 0x88).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from firmware_bridges import ruida_wire as wire
from firmware_bridges.bridge import (
    BridgeState,
    Capability,
    Clock,
    Failure,
    Identified,
    Identity,
    Listener,
    MachineConfig,
    NotNow,
    NotSupported,
    Status,
    Toolpath,
    WrongMachine,
)
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.link import Spawn, SystemClock, spawn_thread
from firmware_bridges.ruida_transport import NoAnswer, Transport, open_transport
from firmware_bridges.session import Happening, Session

POLL_S: Final = 0.2
START_WITHIN_S: Final = 5.0
_CAPABILITIES: Final = frozenset(
    {
        Capability.HOLD,
        Capability.RESUME,
        Capability.EMERGENCY_STOP,
        Capability.LASER,
        Capability.UPLOAD_AND_START,
    }
)


class RuidaBridge:
    """See `bridge.Bridge`."""

    def __init__(self, config: MachineConfig, *, clock: Clock | None = None, spawn: Spawn = spawn_thread) -> None:
        self.config = config
        self._clock: Clock = clock or SystemClock()
        self._spawn = spawn
        kept = config.option("checkpoint_file")
        file = CheckpointFile(Path(kept)) if kept else None
        self.session = Session(clock=self._clock, name=config.port, checkpoint_file=file, spawn=spawn)
        self._transport: Transport | None = None
        self._workers: list[threading.Thread] = []
        self._closing = threading.Event()

    def listen(self, listener: Listener) -> None:
        """Hear every later event."""
        self.session.listen(listener)

    def connect(self) -> Identity:
        """Ask the controller for its card. Raises PortUnavailable, WrongMachine, NotNow."""
        with self.session.lock:
            if self.session.state is not BridgeState.OFFLINE:
                raise NotNow("This bridge has connected already.")
            self._transport = open_transport(
                self.config, clock=self._clock, spawn=self._spawn, lost=self._port_lost, back=self._port_back
            )
            self.session.happen(Happening.OPENED)
        try:
            identity = self._identify(self._transport)
        except (NoAnswer, WrongMachine) as error:
            self.close()
            if isinstance(error, WrongMachine):
                raise
            raise WrongMachine(f"No Ruida controller answers at {self.config.port}: {error}.") from error
        self._take(identity, Happening.IDENTIFIED)
        return identity

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Upload, start, follow. Raises NotNow; NotSupported for a later line (the controller keeps no modes)."""
        with self.session.lock:
            if from_line != 1:
                raise NotSupported("A Ruida job cannot be started in the middle: start from the beginning.")
            self.session.start_run(toolpath, 1)
            self._workers = [thread for thread in self._workers if thread.is_alive()]
            number = self.session.runs
            self._workers.append(self._spawn(lambda: self._work(toolpath, number), f"ruida {self.config.port}"))

    def hold(self) -> None:
        """Pause; held when the status says that nothing moves. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.HOLD_ASKED, "Holding")
            if self.session.state is BridgeState.STARTING:
                raise NotNow("The job is being uploaded: cancel it, or wait until it runs.")
            self.session.happen(Happening.HOLD_ASKED)
        self._tell(wire.PAUSE)

    def resume(self) -> None:
        """Go on. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.RESUME_ASKED, "Resuming")
        self._tell(wire.RESUME)
        self.session.happen(Happening.RESUME_ASKED)

    def cancel(self) -> None:
        """Stop; cancelled when the status says that nothing runs. Raises NotNow."""
        with self.session.lock:
            self.session.require(Happening.CANCEL_ASKED, "Cancelling")
            self.session.happen(Happening.CANCEL_ASKED)
        self._tell(wire.STOP)

    def emergency_stop(self) -> None:
        """Send the stop now. It is a request: the machine's own button is the real one."""
        transport = self._transport
        sent = transport is not None and transport.shout(wire.STOP)
        how = "was sent to the controller" if sent else "could NOT be sent"
        self.session.fail(
            Failure.EMERGENCY_STOP,
            f"Emergency stop {how}, which no one can rely on: use the machine's own button too.",
            Happening.BROKEN,
            may_be_moving=True,
        )
        # A START that was under way may have followed the stop: say it again behind whatever was being sent.
        self._workers.append(self._spawn(lambda: self._tell(wire.STOP), f"ruida stop {self.config.port}"))

    def rearm(self) -> None:
        """A person looked at the machine. Raises NotNow while it moves."""
        with self.session.lock:
            if self.session.state is BridgeState.IDLE:
                return
            self.session.require(Happening.REARMED, "Re-arming")
        if self._status_word() & (wire.RUNNING | wire.MOVING):
            raise NotNow("The controller reports that it is still working: stop it at its own panel.")
        self.session.happen(Happening.REARMED, "re-armed by a person")

    def home(self) -> None:
        """Raises NotSupported: the controller homes itself at power-up."""
        raise NotSupported("A Ruida controller homes when it is switched on; do it at its panel.")

    def status(self) -> Status:
        """What is known now."""
        session, run = self.session, self.session.run
        return Status(
            state=session.state,
            why=session.why,
            identity=session.identity,
            line=session.confirmed_line,
            total_lines=run.total_lines if run is not None else 0,
            resends=self._transport.resends if self._transport is not None else 0,
        )

    def close(self) -> None:
        """Stop what runs, give the port back."""
        self._closing.set()
        if self.session.busy:
            if self._transport is not None:
                self._transport.shout(wire.STOP)
            why = "The bridge was closed while a job was running; a stop was sent."
            self.session.fail(Failure.LINK_LOST, why, Happening.CLOSED, may_be_moving=True)
        for worker in tuple(self._workers):
            if worker is not threading.current_thread():
                worker.join(timeout=5.0)
        if self._transport is not None:
            self._transport.close()
        self.session.happen(Happening.CLOSED)
        self.session.stop()

    # --- the link -----------------------------------------------------------------------------------------------------

    def _identify(self, transport: Transport) -> Identity:
        card = transport.read(wire.CARD_ID)
        can = _CAPABILITIES | ({Capability.CHECKSUMS} if transport.has_sums else set())
        identity = Identity("ruida", "ruida", f"card {card:08x}", f"ruida:{card:08x}", can)
        if self.config.fingerprint not in ("", identity.fingerprint):
            raise WrongMachine(
                f"At {self.config.port} answers {identity.fingerprint}, but {self.config.fingerprint} was"
                " configured: another machine has this address."
            )
        return identity

    def _take(self, identity: Identity, as_what: Happening) -> None:
        with self.session.lock:
            self.session.identity = identity
            self.session.happen(as_what)
            self.session.emit(Identified(identity))

    def _port_lost(self, why: str) -> None:
        self.session.fail(
            Failure.LINK_LOST,
            f"The controller's port is gone: {why}. A started job goes on by itself: look at the machine.",
            Happening.LINK_LOST,
            may_be_moving=True,
        )

    def _port_back(self) -> None:
        if not self._closing.is_set():
            self._workers.append(self._spawn(self._identify_again, f"ruida again {self.config.port}"))

    def _identify_again(self) -> None:
        """The port is there again: who answers is asked, and a person has to look before anything else is sent."""
        transport, known = self._transport, self.session.identity
        if transport is None or not self.session.happen(Happening.OPENED):
            return
        try:
            identity = self._identify(transport)
        except (NoAnswer, WrongMachine) as error:
            self.session.happen(Happening.LINK_LOST, f"Who answers on the port is not known: {error}.")
            return
        if known is not None and identity.fingerprint != known.fingerprint:
            why = f"{identity.fingerprint} answers where {known.fingerprint} was: another machine sits on this port."
            self.session.happen(Happening.LINK_LOST, why)
            return
        self._take(identity, Happening.IDENTIFIED_AGAIN)

    # --- the worker ---------------------------------------------------------------------------------------------------

    def _tell(self, payload: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            transport.send(payload)
        except NoAnswer as error:
            self._lost(error)

    def _status_word(self) -> int:
        if self._transport is None:
            raise NotNow("The controller is not connected.")
        try:
            return self._transport.read(wire.MACHINE_STATUS)
        except NoAnswer as error:
            raise NotNow(f"The controller does not answer ({error}).") from error

    def _lost(self, error: Exception) -> None:
        self.session.fail(
            Failure.LINK_LOST,
            f"The controller does not answer: {error}. It may still be cutting: look at the machine.",
            Happening.BROKEN,
            may_be_moving=True,
        )

    def _work(self, toolpath: Toolpath, number: int) -> None:
        """Upload and follow one run. A slow card may keep it until that run was stopped, and the next one asked for."""
        transport = self._transport
        if transport is None:
            return
        try:
            for _, payload in wire.packets(toolpath.lines()):
                if not self._starting(number):
                    break
                transport.send(payload, lambda: self._starting(number))
            transport.send(wire.START, lambda: self._starting(number))
            self._follow(transport, number, toolpath.total_lines)
        except Exception as error:  # noqa: BLE001 - a worker that died in silence would leave the beam unwatched
            with self.session.lock:
                if self._goes_on(number):
                    self._failed(transport, error)

    def _failed(self, transport: Transport, error: Exception) -> None:
        if isinstance(error, NoAnswer):
            self._lost(error)
        elif isinstance(error, ValueError):
            self.session.fail(Failure.LINE_REJECTED, f"The job was not sent: {error}.", Happening.ENDED)
        else:
            how = "was" if transport.shout(wire.STOP) else "could NOT be"
            why = f"A defect ended the run ({type(error).__name__}: {error}); a stop {how} sent."
            self.session.fail(Failure.COMMUNICATION, why, Happening.BROKEN, may_be_moving=True)

    def _goes_on(self, number: int) -> bool:
        """Whether this run is the one in the machine."""
        return self.session.busy and self.session.runs == number

    def _starting(self, number: int) -> bool:
        return self.session.state is BridgeState.STARTING and self.session.runs == number

    def _follow(self, transport: Transport, number: int, last: int) -> None:
        """Poll the status until the job is over. `last`: the toolpath's last line."""
        began, running = self._clock.monotonic(), False
        wait_s = 0.0  # a short job must not be over before the first look
        while self._goes_on(number) and not self._closing.wait(wait_s):
            wait_s = POLL_S
            word = transport.read(wire.MACHINE_STATUS)
            with self.session.lock:
                if self._goes_on(number):
                    running = self._judge(word, running, last, self._clock.monotonic() - began)

    def _judge(self, word: int, running: bool, last: int, since_s: float) -> bool:
        """What a status word says of the run; whether the controller was seen to work on it by now."""
        session, now = self.session, self._clock.monotonic()
        works, moves, state = bool(word & wire.RUNNING), bool(word & wire.MOVING), self.session.state
        if state is BridgeState.CANCELLING:
            if not works and not moves:
                session.cancelled()
        elif state is BridgeState.HOLDING:
            if not moves:
                session.happen(Happening.STANDS, "the controller reports that nothing moves")
        elif works and not running:
            running = True
            session.confirm(1, now)
        elif running and not works and not moves and state is BridgeState.RUNNING:
            session.confirm(last, now)
            session.finish()
        elif not running and since_s > START_WITHIN_S:
            session.fail(
                Failure.MACHINE_HUNG,
                "The job was uploaded, but the controller never reported that it runs: look at its panel.",
                Happening.BROKEN,
            )
        return running
