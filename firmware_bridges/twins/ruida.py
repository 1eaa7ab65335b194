"""A small Ruida controller on UDP: acknowledgements, refusals, resends, memory reads, start, pause, stop.

As far as public knowledge of the protocol goes (`ruida_wire`). It stores what is uploaded and "works" for a set time.
"""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Final

from firmware_bridges import ruida_wire as wire

CARD: Final = 0x65106510


class RuidaTwin:
    """A context manager; `port` is where to send. `naks` and `losses` make it refuse or lose that many packets."""

    def __init__(self, *, works_for_s: float = 0.5) -> None:
        self.works_for_s = works_for_s
        self.naks = self.losses = 0
        self.stored = bytearray()
        self.running = self.paused = False
        self._left_s = 0.0
        self._since = 0.0
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
    def word(self) -> int:
        """The machine status word."""
        self._live()
        if not self.running:
            return 0
        return wire.RUNNING | (0 if self.paused else wire.MOVING)

    def _live(self) -> None:
        now = time.monotonic()
        if self.running and not self.paused:
            self._left_s -= now - self._since
            self.running = self._left_s > 0
        self._since = now

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
            self._socket.sendto(wire.swizzle(bytes([wire.ACK])), sender)
            answer = self._act(payload)
            if answer:
                self._socket.sendto(wire.swizzle(answer), sender)

    def _act(self, payload: bytes) -> bytes:
        self._live()
        if payload[:2] == b"\xda\x00":
            value = {wire.CARD_ID: CARD, wire.MACHINE_STATUS: self.word}.get(payload, 0)
            number = wire.encode_number(value)
            return b"\xda\x01" + payload[2:4] + number + number
        if payload == wire.START:
            self.running, self.paused, self._left_s = True, False, self.works_for_s
        elif payload == wire.STOP:
            self.running = self.paused = False
        elif payload in (wire.PAUSE, wire.RESUME):
            self.paused = payload == wire.PAUSE
        else:
            self.stored += payload
        return b""
