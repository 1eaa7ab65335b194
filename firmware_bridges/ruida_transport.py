"""The two ways to a Ruida controller: UDP packets with a sum, or bare scrambled bytes on its USB serial port.

On UDP every packet is acknowledged (ACK 0xCC, NAK 0xCF). On the serial port there is no sum and no frame, and whether
each controller acknowledges there is not publicly known: so what was sent counts as delivered when a status question
behind it is answered (the bytes are read in order), ACK is not needed and NAK is a refusal. Job bytes are never sent
twice on it: nobody could tell whether the first ones arrived. Sources as in `ruida_wire`; on the serial port
meerk40t/ruida (usb transport). Checked against a twin only.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import Final, Protocol

from firmware_bridges import ruida_wire as wire
from firmware_bridges.bridge import Clock, MachineConfig, PortUnavailable
from firmware_bridges.link import Link, PortSettings, Spawn

ANSWER_S: Final = 0.25
TRIES: Final = 5


class NoAnswer(Exception):
    """The controller did not acknowledge what was sent, however often it was asked."""


class Transport(Protocol):
    """Exchanges with one controller, one at a time."""

    resends: int
    has_sums: bool

    def send(self, payload: bytes, still: Callable[[], bool] = lambda: True) -> None:
        """Deliver commands if it is `still` wanted when their turn comes. Raises NoAnswer."""

    def read(self, question: bytes) -> int:
        """Ask for a memory word. Raises NoAnswer."""

    def shout(self, payload: bytes) -> bool:
        """Send at once without waiting for other exchanges; False when the system refused it."""

    def close(self) -> None:
        """Give the port back."""


class UdpTransport:
    """Packets, one in flight; NAK and silence are answered with the same packet again."""

    has_sums = True

    def __init__(self, address: tuple[str, int], reply_port: int, magic: int) -> None:
        self._address = address
        self._magic = magic
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("", reply_port))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(ANSWER_S)
        self.resends = 0

    def send(self, payload: bytes, still: Callable[[], bool] = lambda: True) -> None:
        """Deliver one packet. Raises NoAnswer."""
        with self._lock:
            if still():
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
            try:
                self._forget_late_answers()
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


class SerialTransport:
    """Bare scrambled bytes on a serial port; a `link.Ear`. `lost` and `back` are called in the link's thread."""

    has_sums = False

    def __init__(
        self,
        settings: PortSettings,
        magic: int,
        *,
        clock: Clock,
        spawn: Spawn,
        lost: Callable[[str], None],
        back: Callable[[], None],
    ) -> None:
        self._magic = magic
        self._baud = settings.baud
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._half = bytearray()
        self._said_lost, self._said_back = lost, back
        self._link = Link(settings, self, clock=clock, spawn=spawn)
        self._link.open()
        self.resends = 0

    def send(self, payload: bytes, still: Callable[[], bool] = lambda: True) -> None:
        """Send, then ask for the status: its answer tells that all before it was read. Raises NoAnswer."""
        with self._lock:
            if not still():
                return
            self._forget_late_answers()
            self._link.write(wire.swizzle(payload, self._magic))
            self._ask(wire.MACHINE_STATUS, len(payload) * 10 / self._baud)

    def read(self, question: bytes) -> int:
        """Ask for a memory word. Raises NoAnswer."""
        with self._lock:
            self._forget_late_answers()
            return self._ask(question, 0.0)

    def shout(self, payload: bytes) -> bool:
        """Throw away what is not on the wire and send now. A command that is cut ends where the next one begins."""
        return self._link.emergency(wire.swizzle(payload, self._magic))

    def close(self) -> None:
        """Give the port back."""
        self._link.close()

    # --- the ear ------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes, now: float) -> None:
        """A byte with bit 7 set begins an answer: ACK and NAK are one byte, a memory answer nine that matter."""
        for byte in wire.unswizzle(data, self._magic):
            if byte in (wire.ACK, wire.NAK):
                self._half.clear()
                if byte == wire.NAK:
                    self._answers.put(bytes([byte]))
            elif byte & 0x80:
                self._half[:] = bytes([byte])
            elif self._half:
                self._half.append(byte)
                if len(self._half) == wire.MEMORY_ANSWER_BYTES:
                    self._answers.put(bytes(self._half))
                    self._half.clear()

    def tick(self, now: float) -> None:
        """Nothing is due by itself."""

    def lost(self, why: str) -> None:
        """The port is gone."""
        self._half.clear()
        self._said_lost(why)

    def back(self) -> None:
        """The port is open again; who answers there is not known."""
        self._said_back()

    def broke(self, error: Exception) -> None:
        """A defect while reading: what waits for an answer will miss it and stop the run."""
        self._said_lost(f"a defect in reading it ({error})")

    # --- one exchange -------------------------------------------------------------------------------------------------

    def _ask(self, question: bytes, also_s: float) -> int:
        for attempt in range(TRIES):
            self.resends += attempt > 0
            if not self._link.is_open:
                raise NoAnswer("its port is gone")
            self._link.write(wire.swizzle(question, self._magic))
            until = self._clock.monotonic() + ANSWER_S + also_s
            while (left := until - self._clock.monotonic()) > 0:
                try:
                    answer = self._answers.get(timeout=left)
                except queue.Empty:
                    break
                if answer == bytes([wire.NAK]):
                    raise NoAnswer("the controller refused what was sent")
                value = wire.memory_answer(answer, question[2:4])
                if value is not None:
                    return value
        raise NoAnswer(f"the controller did not answer a question in {TRIES} tries")

    def _forget_late_answers(self) -> None:
        while not self._answers.empty():
            self._answers.get()


def open_transport(
    config: MachineConfig, *, clock: Clock, spawn: Spawn, lost: Callable[[str], None], back: Callable[[], None]
) -> Transport:
    """Serial for a port that is a path, UDP for `udp://host[:port]` or a bare host. Raises PortUnavailable."""
    magic = int(config.option("magic", "0x88"), 0)
    if config.port.startswith("/"):
        settings = PortSettings(config.port, config.baud or 115200)
        return SerialTransport(settings, magic, clock=clock, spawn=spawn, lost=lost, back=back)
    host, _, port = config.port.removeprefix("udp://").partition(":")
    reply = int(config.option("reply_port", "40200"))
    try:
        return UdpTransport((host, int(port or 50200)), reply, magic)
    except OSError as error:
        raise PortUnavailable(f"UDP port {reply} is not free ({error}): one program talks to Ruida.") from error
