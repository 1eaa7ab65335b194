"""The scheduler's broker client: the only place on this side that knows paho.

MQTT 5 where the broker speaks it, 3.1.1 otherwise; every meaning is in the envelope, so nothing else changes. QoS 1,
persistent session, and a message is acknowledged to the broker only when `settle` says its transaction is committed.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agents.contract import encode, wrap
from agents.contract.granting import epoch_of
from agents.contract.messages import SchedulerPresence
from agents.contract.topics import JOURNAL, MACHINE, PRESENCE, SCHEDULER_PRESENCE
from scheduler.clock import Clock
from scheduler.dispatch.backlog import Inbound

_log: Final = logging.getLogger(__name__)
_KEEPALIVE_S: Final = 20
_SESSION_S: Final = 7 * 86_400
_IN_FLIGHT: Final = 500
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
_LET_IN_S: Final = 10.0
_UNSUPPORTED_VERSION: Final = {0x84, 1}
"""MQTT 5 reason 'unsupported protocol version' (OASIS MQTT 5.0 §3.2.2.2), and its 3.1.1 counterpart (§3.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to get in."""

    host: str
    port: int = 1883
    username: str = ""
    password: str = ""
    tls_ca: str = ""
    """CA file; empty means no TLS (loopback only)."""


class NoBroker(ConnectionError):
    """The broker cannot be reached, or does not let us in."""


class BrokerLink:
    """Connects, stays connected, takes messages in and sends messages out."""

    def __init__(
        self,
        broker: Broker,
        *,
        scheduler: str,
        term: int,
        http: str,
        clock: Clock,
        take: Callable[[Inbound], None],
        came: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
        begin: Callable[[int], bool] = lambda epoch: True,
    ) -> None:
        """`begin(epoch)` is asked before every connection, and must have made what it means durable (else False)."""
        self._broker, self._scheduler, self._term, self._http = broker, scheduler, term, http
        self._clock, self._take, self._came, self._lost = clock, take, came, lost
        self._client: paho.Client | None = None
        self._refused_version = threading.Event()
        self.connected = threading.Event()
        self._begin = begin
        self._connection = 0
        self._version = MQTTProtocolVersion.MQTTv5
        self._leaving = threading.Event()
        self._topic = SCHEDULER_PRESENCE.of(scheduler=scheduler)

    def start(self, timeout_s: float = 10.0) -> None:
        """Connect. Raises NoBroker if the broker did not let us in within `timeout_s`; later losses heal."""
        deadline = time.monotonic() + timeout_s
        for version in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
            self._version = version
            try:
                client = self._open()
            except OSError as error:
                where = f"{self._broker.host}:{self._broker.port}"
                raise NoBroker(f"no broker answers at {where} ({error}): start one, or give its address") from error
            if client is not None and self._wait_in(deadline):
                return
            if client is not None:
                client.loop_stop()
                client.disconnect()
        where = f"{self._broker.host}:{self._broker.port}"
        raise NoBroker(f"the broker at {where} does not let the scheduler in: check its user name and password")

    def _open(self) -> paho.Client | None:
        """A new connection: a new epoch, and a client of its own, so that nothing an old one kept in memory goes out.

        None where the epoch could not be begun. Raises OSError.
        """
        self._connection += 1
        self._refused_version.clear()
        if not self._begin(epoch_of(self._term, self._connection)):
            return None
        client = self._client = self._make(self._version)
        client.connect(self._broker.host, self._broker.port, keepalive=_KEEPALIVE_S, **_session(self._version))
        client.loop_start()
        return client

    def _come_back(self, old: paho.Client) -> None:
        """After a loss: try until the broker lets us in, or we leave."""
        old.loop_stop()
        pause_s = _FIRST_PAUSE_S
        while not self._leaving.wait(pause_s * random.uniform(0.5, 1.0)):
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                client = self._open()
            except OSError as error:
                _log.info("the broker does not answer: %s", error)
                continue
            if client is None:
                continue
            if self._wait_in(time.monotonic() + _LET_IN_S):
                return
            client.loop_stop()

    def _wait_in(self, deadline: float) -> bool:
        while time.monotonic() < deadline and not self._refused_version.is_set():
            if self.connected.wait(0.05):
                return True
        return self.connected.is_set()

    def stop(self) -> None:
        """Say goodbye (retained `online: false`) and disconnect."""
        if self._client is None:
            return
        self._leaving.set()
        if self.connected.is_set():
            self.deliver([(self._topic, self._presence(online=False), True)], 2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over at QoS 1; used for acknowledgements, which are said again whenever they are asked for."""
        if self._client is not None:
            self._client.publish(topic, payload, qos=1, retain=retain)

    def hears(self) -> bool:
        """Whether it is connected to the broker."""
        return self.connected.is_set()

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        """Send in order. Returns how many, from the first, the broker confirmed within `timeout_s`."""
        client = self._client
        if client is None or not self.connected.is_set():
            return 0
        sent = []
        for topic, payload, retain in messages:
            info = client.publish(topic, payload, qos=1, retain=retain)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_QUEUE_SIZE):
                break
            sent.append(info)
        deadline = time.monotonic() + timeout_s
        confirmed = 0
        for info in sent:
            try:
                info.wait_for_publish(max(0.0, deadline - time.monotonic()))
            except (RuntimeError, ValueError):
                break
            if not info.is_published():
                break
            confirmed += 1
        return confirmed

    def _make(self, version: MQTTProtocolVersion) -> paho.Client:
        name = f"workshed-scheduler-{self._scheduler}"
        clean: dict[str, Any] = {} if version == MQTTProtocolVersion.MQTTv5 else {"clean_session": False}
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=version,
            manual_ack=True,
            reconnect_on_failure=False,
            **clean,
        )
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.max_queued_messages_set(0)
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls_ca:
            client.tls_set(ca_certs=self._broker.tls_ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.will_set(self._topic, self._presence(online=False), qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_socket_open = _at_once
        return client

    def _presence(self, *, online: bool) -> bytes:
        said = SchedulerPresence(
            scheduler=self._scheduler,
            online=online,
            term=self._term,
            epoch=epoch_of(self._term, self._connection),
            http=self._http,
        )
        return encode(wrap(said, sender=f"scheduler/{self._scheduler}", now=self._clock.now()))

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            if getattr(reason, "value", None) in _UNSUPPORTED_VERSION:
                self._refused_version.set()
            _log.warning("the broker refused the connection: %s", reason)
            return
        # Subscribed again at every connect: retained presence and reports must come anew, and it costs nothing.
        client.subscribe([(topic.filter(), 1) for topic in (PRESENCE, MACHINE, JOURNAL)])
        client.publish(self._topic, self._presence(online=True), qos=1, retain=True)
        _log.info("connected to the broker at %s:%d", self._broker.host, self._broker.port)
        self.connected.set()
        self._came()

    def _on_disconnect(self, client: paho.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._leaving.is_set() or client is not self._client:
            return
        if not self.connected.is_set():
            self._refused_version.set()
            return
        self.connected.clear()
        _log.warning("the broker is gone (%s); trying again", reason)
        self._lost()
        threading.Thread(target=self._come_back, args=(client,), name="come back", daemon=True).start()

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        mid, qos = message.mid, message.qos

        def settle() -> None:
            # After a reconnect the broker sends it again under a number of the new connection.
            if qos and client is self._client:
                client.ack(mid, qos)

        self._take(Inbound(message.topic, bytes(message.payload), settle))


def _at_once(client: paho.Client, data: Any, connection: Any) -> None:
    """Send small packets at once (RFC 896's delay and the peer's delayed acknowledgement cost 40 ms each, together)."""
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _session(version: MQTTProtocolVersion) -> dict[str, Any]:
    if version != MQTTProtocolVersion.MQTTv5:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _SESSION_S
    properties.ReceiveMaximum = _IN_FLIGHT
    return {"clean_start": False, "properties": properties}
