"""The lines between the processes, as something that can be watched, cut, muted, and made to deliver badly.

`Relay` carries bytes between a port of its own and another; `MqttRelay` knows where one MQTT packet ends, shows every
published message to a watcher before it goes on, and can deliver messages twice, late and in another order.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from agents.contract.envelope import Envelope, RefusedMessage, decode

_PIECE: Final = 65_536
_PUBLISH, _PUBACK, _CONNECT = 3, 4, 1
#: Packet identifiers for second copies: clients and brokers count up from 1 and come nowhere near.
_SECOND_COPIES: Final = 40_000


class Way(Enum):
    """Which way something travels."""

    TO_BROKER = "to the broker"
    FROM_BROKER = "from the broker"


class Delivery(Enum):
    """How published messages are delivered."""

    AT_ONCE = "at once"
    TWICE = "twice"
    LATE = "late"
    DISORDERED = "in another order"


LATE_S: Final = 1.5
DISORDER_S: Final = 0.6


@dataclass(frozen=True)
class Letter:
    """A published message that is on its way."""

    way: Way
    topic: str
    envelope: Envelope
    at: float
    """Monotonic seconds."""

    @property
    def kind(self) -> str:
        """The name of the message's type."""
        return type(self.envelope.body).__name__

    @property
    def job(self) -> str:
        """The job it is about, or ""."""
        body = self.envelope.body
        ticket = getattr(body, "ticket", None)
        return str(getattr(body, "job", "") or (ticket.job if ticket is not None else ""))


class Relay:
    """A TCP relay from `host:port` to 127.0.0.1:`to_port`.

    `cut` breaks every connection and refuses new ones; `mute` lets no byte pass while every connection seems to stand
    (a cable without signal); `heal` ends both.
    """

    def __init__(self, to_port: int, host: str = "127.0.0.1") -> None:
        self.to_port, self.host = to_port, host
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        self._sound = threading.Event()
        self._sound.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break it."""
        with self._lock:
            self._whole = False
            broken, self._open = self._open, set()
        for end in broken:
            _close(end)

    def mute(self) -> None:
        """From now on no byte passes, and nobody is told."""
        self._sound.clear()

    def heal(self) -> None:
        """Let bytes and connections through again."""
        with self._lock:
            self._whole = True
        self._sound.set()

    def close(self) -> None:
        """No more."""
        self.cut()
        self._sound.set()
        _close(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._sound.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.to_port), timeout=2)
            far.settimeout(None)
        except OSError:
            _close(near)
            return
        with self._lock:
            whole = self._whole
            if whole:
                self._open |= {near, far}
        if not whole:
            _close(near)
            _close(far)
            return
        self.carry(near, far)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Begin to carry bytes both ways."""
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(_PIECE):
                self._sound.wait()
                other.sendall(self.passing(data, one, other))
        _close(one)
        _close(other)

    def passing(self, data: bytes, one: socket.socket, other: socket.socket) -> bytes:
        """Bytes are about to go on; what is still to be sent of them."""
        return data


class MqttRelay(Relay):
    """A relay between one MQTT client and its broker. `watch` sees every message before it goes on, and may wait."""

    def __init__(self, to_port: int, watch: Callable[[Letter], None], host: str = "127.0.0.1", seed: int = 0) -> None:
        self.watch = watch
        self.delivery = Delivery.AT_ONCE
        self.dice = random.Random(seed)
        super().__init__(to_port, host)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Begin to carry packets both ways."""
        talk = _Talk()
        _Bearer(self, talk, near, far, Way.TO_BROKER).begin()
        _Bearer(self, talk, far, near, Way.FROM_BROKER).begin()

    def pass_on(self) -> None:
        """Wait while the line is mute."""
        self._sound.wait()


class _Talk:
    """What both ways of one connection must know of each other."""

    def __init__(self) -> None:
        self.version = 4
        self.copies: set[tuple[Way, int]] = set()
        self.numbers = itertools.count(_SECOND_COPIES)


class _Bearer:
    """One way of one connection: reads packets, shows them, sends each when it is due."""

    def __init__(self, relay: MqttRelay, talk: _Talk, one: socket.socket, other: socket.socket, way: Way) -> None:
        self.relay, self.talk, self.one, self.other, self.way = relay, talk, one, other, way
        self._due: list[tuple[float, int, bytes]] = []
        self._count = itertools.count()
        self._more = threading.Condition()
        self._ended = False

    def begin(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._send, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError), self.one.makefile("rb") as stream:
            while packet := _packet(stream.read):
                self._take(packet)
        with self._more:
            self._ended = True
            self._more.notify()

    def _take(self, packet: bytes) -> None:
        kind = packet[0] >> 4
        if kind == _CONNECT:
            self.talk.version = packet[_body_at(packet) + 6]
        if kind == _PUBACK and self._of_a_copy(packet):
            return
        now, talk, relay = time.monotonic(), self.talk, self.relay
        if kind != _PUBLISH:
            self._put(now, packet)
            return
        topic, number_at, payload = _publication(packet, talk.version)
        with contextlib.suppress(RefusedMessage):
            relay.watch(Letter(self.way, topic, decode(payload), now))
        match relay.delivery:
            case Delivery.AT_ONCE:
                self._put(now, packet)
            case Delivery.LATE:
                self._put(now + LATE_S, packet)
            case Delivery.DISORDERED:
                self._put(now + relay.dice.uniform(0, DISORDER_S), packet)
            case Delivery.TWICE:
                self._put(now, packet)
                if number_at:
                    number = next(talk.numbers) % 20_000 + _SECOND_COPIES
                    talk.copies.add((self.way, number))
                    copy = packet[:number_at] + number.to_bytes(2, "big") + packet[number_at + 2 :]
                    self._put(now + relay.dice.uniform(0, DISORDER_S), copy)

    def _of_a_copy(self, packet: bytes) -> bool:
        """Whether an acknowledgement is for a second copy, which its sender knows nothing of."""
        at = _body_at(packet)
        there = Way.FROM_BROKER if self.way is Way.TO_BROKER else Way.TO_BROKER
        return (there, int.from_bytes(packet[at : at + 2], "big")) in self.talk.copies

    def _put(self, due: float, packet: bytes) -> None:
        with self._more:
            heapq.heappush(self._due, (due, next(self._count), packet))
            self._more.notify()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while packet := self._next():
                self.relay.pass_on()
                self.other.sendall(packet)
        _close(self.one)
        _close(self.other)

    def _next(self) -> bytes:
        """The next packet, when it is due; none once the reading end has ended and all is sent."""
        with self._more:
            while True:
                left_s = self._due[0][0] - time.monotonic() if self._due else None
                if left_s is not None and left_s <= 0:
                    return heapq.heappop(self._due)[2]
                if left_s is None and self._ended:
                    return b""
                self._more.wait(left_s)


# --- MQTT packets (OASIS MQTT 3.1.1 and 5.0, §2.2 and §3.3) ---------------------------------------------------------


def _packet(read: Callable[[int], bytes]) -> bytes:
    """The next whole packet; b"" at the end."""
    head = read(1)
    length = shift = 0
    while head:
        byte = read(1)
        if not byte:
            return b""
        head += byte
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            body = read(length) if length else b""
            return head + body if len(body) == length else b""
    return b""


def _body_at(packet: bytes) -> int:
    """Where the variable header begins."""
    at = 1
    while packet[at] & 0x80:
        at += 1
    return at + 1


def _publication(packet: bytes, version: int) -> tuple[str, int, bytes]:
    """Topic, where the packet identifier stands (0: nowhere) and payload of a PUBLISH packet."""
    at = _body_at(packet)
    length = int.from_bytes(packet[at : at + 2], "big")
    topic = packet[at + 2 : at + 2 + length].decode()
    at += 2 + length
    number_at = 0
    if packet[0] & 0b0110:
        number_at, at = at, at + 2
    if version >= 5:
        size = shift = 0
        while True:
            byte = packet[at]
            size |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not byte & 0x80:
                break
        at += size
    return topic, number_at, packet[at:]


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
