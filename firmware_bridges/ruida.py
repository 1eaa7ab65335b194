"""Ruida RDC644x laser controllers over UDP: upload the whole job, start it, follow its status.

Nothing is streamed while the machine moves: the job runs from the controller's memory. A toolpath is text, one command
a line as hexadecimal bytes (`ruida_wire.command`). CHECKED AGAINST A TWIN ONLY: the protocol is public reverse
engineering (see `ruida_wire`), so have a hand on the machine's own button. The stop is a request over the network and
counts only when the status confirms it.

`port` is the controller's address (`192.168.1.100`, or `host:port`); answers come to local port 40200 (option
`reply_port`). Options: `magic` (default 0x88).
"""

from __future__ import annotations

import socket
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
    PortUnavailable,
    Status,
    Toolpath,
    WrongMachine,
)
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.link import Spawn, SystemClock, spawn_thread
from firmware_bridges.session import Happening, Session

ANSWER_S: Final = 0.25
TRIES: Final = 5
POLL_S: Final = 0.2
START_WITHIN_S: Final = 5.0
STOP_WITHIN_S: Final = 1.0
_CAPABILITIES: Final = frozenset(
    {
        Capability.HOLD,
        Capability.RESUME,
        Capability.EMERGENCY_STOP,
        Capability.LASER,
        Capability.UPLOAD_AND_START,
        Capability.CHECKSUMS,
    }
)


class NoAnswer(Exception):
    """The controller did not acknowledge a packet, however often it was sent."""


class Transport:
    """Packets to one controller, one in flight; NAK and silence are answered with the same packet again."""

    def __init__(self, address: tuple[str, int], reply_port: int, magic: int) -> None:
        self._address = address
        self._magic = magic
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("", reply_port))
        self._socket.settimeout(ANSWER_S)
        self.resends = 0

    def send(self, payload: bytes) -> None:
        """Deliver one packet. Raises NoAnswer."""
        with self._lock:
            self._deliver(payload)

    def read(self, question: bytes) -> int:
        """Ask for a memory word. Raises NoAnswer."""
        with self._lock:
            self._deliver(question)
            for _ in range(TRIES):
                value = wire.memory_answer(self._answer() or b"", question[2:4])
                if value is not None:
                    return value
        raise NoAnswer("the controller acknowledged a question but did not answer it")

    def shout(self, payload: bytes) -> bool:
        """Send at once without waiting for other exchanges; False when the system refused it."""
        try:
            return self._socket.sendto(wire.packet(payload, self._magic), self._address) > 0
        except OSError:
            return False

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def _deliver(self, payload: bytes) -> None:
        datagram = wire.packet(payload, self._magic)
        for attempt in range(TRIES):
            self.resends += attempt > 0
            self._forget_late_answers()
            try:
                self._socket.sendto(datagram, self._address)
            except OSError as error:
                raise NoAnswer(f"the network refused a packet ({error})") from error
            answer = self._answer()
            if answer == bytes([wire.ACK]):
                return
        raise NoAnswer(f"the controller did not acknowledge a packet in {TRIES} tries")

    def _forget_late_answers(self) -> None:
        """An answer that comes after its time must not pass for that of the next packet."""
        self._socket.settimeout(0.0)
        while self._answer() is not None:
            pass
        self._socket.settimeout(ANSWER_S)

    def _answer(self) -> bytes | None:
        try:
            data, _ = self._socket.recvfrom(2048)
        except OSError:
            return None
        return wire.unswizzle(data, self._magic)


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
        self._worker: threading.Thread | None = None
        self._closing = threading.Event()

    def listen(self, listener: Listener) -> None:
        """Hear every later event."""
        self.session.listen(listener)

    def connect(self) -> Identity:
        """Ask the controller for its card. Raises PortUnavailable, WrongMachine, NotNow."""
        with self.session.lock:
            if self.session.state is not BridgeState.OFFLINE:
                raise NotNow("This bridge has connected already.")
            host, _, port = self.config.port.partition(":")
            reply, magic = int(self.config.option("reply_port", "40200")), int(self.config.option("magic", "0x88"), 0)
            try:
                self._transport = Transport((host, int(port or 50200)), reply, magic)
            except OSError as error:
                raise PortUnavailable(f"UDP port {reply} is not free ({error}): one program talks to Ruida.") from error
            self.session.happen(Happening.OPENED)
            try:
                card = self._transport.read(wire.CARD_ID)
            except NoAnswer as error:
                self.close()
                raise WrongMachine(f"No Ruida controller answers at {self.config.port}: {error}.") from error
            identity = Identity("ruida", "ruida", f"card {card:08x}", f"ruida:{card:08x}", _CAPABILITIES)
            if self.config.fingerprint not in ("", identity.fingerprint):
                self.close()
                raise WrongMachine(
                    f"At {self.config.port} answers {identity.fingerprint}, but {self.config.fingerprint} was"
                    " configured: another machine has this address."
                )
            self.session.identity = identity
            self.session.happen(Happening.IDENTIFIED)
            self.session.emit(Identified(identity))
            return identity

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Upload, start, follow. Raises NotNow; NotSupported for a later line (the controller keeps no modes)."""
        with self.session.lock:
            if from_line != 1:
                raise NotSupported("A Ruida job cannot be started in the middle: start from the beginning.")
            self.session.start_run(toolpath, 1)
            self._worker = self._spawn(lambda: self._work(toolpath), f"ruida {self.config.port}")

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
        """Send the stop now. It goes over the network: the machine's own button is the real one."""
        transport = self._transport
        sent = transport is not None and transport.shout(wire.STOP)
        how = "was sent over the network" if sent else "could NOT be sent"
        self.session.fail(
            Failure.EMERGENCY_STOP,
            f"Emergency stop {how}, which no one can rely on: use the machine's own button too.",
            Happening.BROKEN,
            may_be_moving=True,
        )

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
        worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join(timeout=5.0)
        if self._transport is not None:
            self._transport.close()
        self.session.happen(Happening.CLOSED)
        self.session.stop()

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

    def _work(self, toolpath: Toolpath) -> None:
        transport = self._transport
        if transport is None:
            return
        try:
            for _, payload in wire.packets(toolpath.lines()):
                if self.session.state is not BridgeState.STARTING:
                    break
                transport.send(payload)
            if self.session.state is BridgeState.STARTING:
                transport.send(wire.START)
            self._follow(transport)
        except NoAnswer as error:
            if self.session.busy:
                self._lost(error)
        except ValueError as error:
            self.session.fail(Failure.LINE_REJECTED, f"The job was not sent: {error}.", Happening.ENDED)

    def _follow(self, transport: Transport) -> None:
        """Poll the status until the job is over."""
        session = self.session
        began, running = self._clock.monotonic(), False
        last = session.run.total_lines if session.run is not None else 0
        while session.busy and not self._closing.wait(POLL_S):
            word = transport.read(wire.MACHINE_STATUS)
            now = self._clock.monotonic()
            works, moves = bool(word & wire.RUNNING), bool(word & wire.MOVING)
            state = session.state
            if state is BridgeState.CANCELLING:
                if not works and not moves:
                    session.cancelled()
                    return
            elif state is BridgeState.HOLDING:
                if not moves:
                    session.happen(Happening.STANDS, "the controller reports that nothing moves")
            elif works and not running:
                running = True
                session.confirm(1, now)
            elif running and not works and not moves and state is BridgeState.RUNNING:
                session.confirm(last, now)
                session.finish()
                return
            elif not running and now - began > START_WITHIN_S:
                session.fail(
                    Failure.MACHINE_HUNG,
                    "The job was uploaded, but the controller never reported that it runs: look at its panel.",
                    Happening.BROKEN,
                )
