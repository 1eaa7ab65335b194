"""A small Ruida controller: upload, memory reads, start, pause, stop; on UDP or on a pseudo-terminal as its USB port.

As far as public knowledge of the protocol goes (`ruida_wire`). It stores what is uploaded and works through it in a
set time. Whether real controllers acknowledge on their serial port is not known: `acknowledges` chooses.
"""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Any, Final

from firmware_bridges import ruida_wire as wire
from firmware_bridges.twins.run import TwinOptions

CARD: Final = 0x65106510
_END_OF_FILE: Final = 0xD7


class RuidaController:
    """The controller behind either wire. `now` is in seconds of its own time."""

    def __init__(self, works_for_s: float) -> None:
        self.works_for_s = works_for_s
        self.stored = bytearray()
        self.executed: list[str] = []
        self.running = self.paused = False
        self._ended = False
        self._job: list[str] = []
        self._before = 0
        self._worked_s = self._since = 0.0

    def word(self) -> int:
        """The machine status word."""
        if not self.running:
            return 0
        return wire.RUNNING | (0 if self.paused else wire.MOVING)

    def advance(self, now: float) -> None:
        """Work until `now`."""
        if self.running and not self.paused:
            self._worked_s += now - self._since
            done = int(len(self._job) * min(1.0, self._worked_s / self.works_for_s)) if self.works_for_s else None
            self.executed[self._before :] = self._job[:done]
            self.running = self._worked_s < self.works_for_s
        self._since = now

    def act(self, payload: bytes, now: float) -> bytes:
        """Take one control command, or job bytes; returns its answer."""
        self.advance(now)
        if payload[:2] == b"\xda\x00":
            value = {wire.CARD_ID: CARD, wire.MACHINE_STATUS: self.word()}.get(payload, 0)
            number = wire.encode_number(value)
            return b"\xda\x01" + payload[2:4] + number + number
        if payload == wire.START:
            self.running, self.paused, self._worked_s = True, False, 0.0
            self._job, self._before = _commands(self.stored), len(self.executed)
        elif payload == wire.STOP:
            self.running = self.paused = False
            self._ended = True
        elif payload in (wire.PAUSE, wire.RESUME):
            self.paused = payload == wire.PAUSE
        else:
            if self._ended:  # what comes after an end of file or a stop is a new file
                self.stored.clear()
            self.stored += payload
            self._ended = payload[-1] == _END_OF_FILE
        return b""

    @property
    def left(self) -> int:
        """Commands of the running job that are not done."""
        return len(self._job) - (len(self.executed) - self._before) if self.running else 0


def _commands(data: bytes | bytearray) -> list[str]:
    """Bytes with bit 7 set begin commands. As lower-case hexadecimal text with spaces."""
    starts = [place for place, byte in enumerate(data) if byte & 0x80]
    return [bytes(data[a:b]).hex(" ") for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


class RuidaSerialTwin:
    """A `host.Twin`: the controller on its USB serial port; scrambled bytes without sum or frame."""

    resets_on_open = False

    def __init__(self, *, works_for_s: float = 3.5, acknowledges: bool = True, magic: int = wire.MAGIC_644) -> None:
        self.controller = RuidaController(works_for_s)
        self.acknowledges = acknowledges
        self.naks = 0
        self._magic = magic
        self._half = bytearray()
        self._out: list[bytes] = []

    def boot(self, now: float, cause: str) -> None:
        """Starts with nothing stored; what it executed before stays on record."""
        executed = self.controller.executed
        self.controller = RuidaController(self.controller.works_for_s)
        self.controller.executed = executed
        self._half.clear()

    def receive(self, data: bytes, now: float) -> None:
        """Commands are cut where a byte with bit 7 set comes; control commands act when they are whole."""
        for byte in wire.unswizzle(data, self._magic):
            if byte & 0x80:
                self._store(now)
                self._half[:] = bytes([byte])
            elif self._half:
                self._half.append(byte)
            else:
                continue  # the rest of a command that was cut
            control = {0xD8: 2, 0xDA: 4}.get(self._half[0])
            if byte == _END_OF_FILE or (control is not None and len(self._half) == control):
                self._whole(now)
        self._flush_acknowledgement()

    def advance(self, now: float) -> None:
        """Live until `now`."""
        self.controller.advance(now)

    def take_output(self) -> list[bytes]:
        """What was answered since the last call."""
        out, self._out = self._out, []
        return [wire.swizzle(piece, self._magic) for piece in out]

    def wakes_at(self) -> float | None:
        """It works between looks: nothing is due."""
        return None

    def state(self, now: float) -> dict[str, Any]:
        """Position as the number of commands done; the beam as "spindle"; what is left of the job as "planner"."""
        controller = self.controller
        return {
            "position": [len(controller.executed)],
            "executed": len(controller.executed),
            "spindle": int(bool(controller.word() & wire.MOVING)),
            "planner": controller.left,
            "stored": len(controller.stored),
        }

    def fault(self, name: str, options: dict[str, Any], now: float) -> bool:
        """`nak`: refuse the next control command."""
        if name == "nak":
            self.naks += 1
        return name == "nak"

    def person(self, act: str, options: dict[str, Any], now: float) -> bool:
        """`stop`: the button on its panel."""
        if act == "stop":
            self.controller.act(wire.STOP, now)
        return act == "stop"

    def _store(self, now: float) -> None:
        """A command of the job ends where the next one begins; half a control command is nothing."""
        if self._half and self._half[0] not in (0xD8, 0xDA):
            self.controller.act(bytes(self._half), now)
        self._half.clear()

    def _whole(self, now: float) -> None:
        payload = bytes(self._half)
        self._half.clear()
        if self.naks:
            self.naks -= 1
            self._out.append(bytes([wire.NAK]))
            return
        answer = self.controller.act(payload, now)
        if self.acknowledges:
            self._out.append(bytes([wire.ACK]))
        if answer:
            self._out.append(answer)

    def _flush_acknowledgement(self) -> None:
        """Several answers of one piece leave as one write, in order."""
        if self._out:
            self._out = [b"".join(self._out)]


def build_twin(options: TwinOptions) -> RuidaSerialTwin:
    """For `workshed-agent twin ruida`. Setting: acknowledges=0|1. Raises ValueError."""
    settings = dict(options.settings)
    acknowledges = settings.pop("acknowledges", "1") == "1"
    if settings:
        raise ValueError(f"A ruida twin has no setting {', '.join(settings)}; it has acknowledges.")
    return RuidaSerialTwin(acknowledges=acknowledges)


class RuidaTwin:
    """On UDP. A context manager; `port` is where to send. `naks`, `losses`: refuse or lose that many packets."""

    def __init__(self, *, works_for_s: float = 0.5) -> None:
        self.controller = RuidaController(works_for_s)
        self.naks = self.losses = 0
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="ruida twin", daemon=True)

    def __enter__(self) -> RuidaTwin:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._socket.close()

    @property
    def stored(self) -> bytearray:
        """The file in its memory."""
        return self.controller.stored

    @property
    def running(self) -> bool:
        """Whether a job is in work."""
        with self._lock:
            self.controller.advance(time.monotonic())
            return self.controller.running

    @property
    def paused(self) -> bool:
        """Whether it was told to pause."""
        return self.controller.paused

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                data, sender = self._socket.recvfrom(4096)
            except OSError:
                continue
            if self.losses > 0:
                self.losses -= 1
                continue
            payload = wire.payload_of(data)
            if payload is None or self.naks > 0:
                self.naks = max(0, self.naks - 1)
                self._socket.sendto(wire.swizzle(bytes([wire.NAK])), sender)
                continue
            with self._lock:
                answer = self.controller.act(payload, time.monotonic())
            self._socket.sendto(wire.swizzle(bytes([wire.ACK])), sender)
            if answer:
                self._socket.sendto(wire.swizzle(answer), sender)
