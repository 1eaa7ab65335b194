"""The agent's line to the broker, and the only module that knows paho.

MQTT 5 is tried first; a broker that does not speak it gets 3.1.1, with the same meaning. Persistent session, QoS 1,
messages acknowledged by hand after they were committed, a will, outbound connections only. What must not be lost is in
the spool, never in the client's memory.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agents.config import MqttSettings

_log = logging.getLogger(__name__)

#: The broker keeps the session, and what came in meanwhile, this long (MQTT 5; 3.1.1 brokers have their own limit).
SESSION_KEPT_S: Final = 7 * 86400
#: After a message that could not be committed the line is dropped for so long, so that the broker sends it again.
_RELIEF_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Line:
    """What the line needs: who we are, the last words, what to hear whom to tell. Callbacks run on paho's thread."""

    client_id: str
    will_topic: str
    will: bytes
    subscriptions: tuple[str, ...]
    received: Callable[[str, bytes], bool]
    """Takes a message in; True once it is committed, False to have it sent again later."""
    connected: Callable[[], None]
    lost: Callable[[str], None]
    overheard: Callable[[str, bytes, bool], bool | None] = lambda topic, payload, retained: None
    """Asked first, with whether it is the broker's kept copy; None where the message is not its kind."""


class MqttLine:
    """One connection that keeps coming back, with jitter so that a thousand agents do not come back at once."""

    def __init__(self, settings: MqttSettings, line: Line) -> None:
        self._settings, self._line = settings, line
        self._lock = threading.Lock()
        self._client: paho.Client | None = None
        self._ending = False
        self._up = threading.Event()
        self._timer: threading.Timer | None = None
        self.protocol = "5"
        """The version in use."""

    @property
    def is_up(self) -> bool:
        """Whether the broker accepted us and the line stands."""
        return self._up.is_set()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._open(MQTTProtocolVersion.MQTTv5)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        """Hand a message to the broker if the line stands; False otherwise. Never waits."""
        client = self._client
        if client is None or not self.is_up:
            return False
        return client.publish(topic, payload, qos=qos, retain=retain).rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Hear these too, on this connection; what the broker keeps of them comes (again)."""
        client = self._client
        if client is not None and self.is_up and topics:
            client.subscribe([(topic, 1) for topic in topics])

    def end(self, farewell: bytes, wait_s: float = 2.0) -> None:
        """Say goodbye (the will is not sent then) and close."""
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        client = self._client
        if client is None:
            return
        if self.is_up:
            said = client.publish(self._line.will_topic, farewell, qos=1, retain=True)
            try:
                said.wait_for_publish(timeout=wait_s)
            except (ValueError, RuntimeError) as error:
                _log.info("the farewell did not go out: %s", error)
        client.disconnect()
        client.loop_stop()
        self._up.clear()

    def _open(self, protocol: MQTTProtocolVersion) -> None:
        five = protocol is MQTTProtocolVersion.MQTTv5
        self.protocol = "5" if five else "3.1.1"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._line.client_id,
            protocol=protocol,
            clean_session=None if five else False,
            manual_ack=True,
        )
        client.max_inflight_messages_set(50)
        client.max_queued_messages_set(1000)
        client.will_set(self._line.will_topic, self._line.will, qos=1, retain=True)
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._settings.password)
        if self._settings.tls:
            client.tls_set(None if self._settings.ca_file is None else str(self._settings.ca_file))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_socket_open = _at_once
        self._pace(client)
        extra: dict[str, Any] = {}
        if five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_KEPT_S
            extra = {"clean_start": False, "properties": properties}
        with self._lock:
            self._client = client
        client.connect_async(self._settings.host, self._settings.port, keepalive=self._settings.keepalive_s, **extra)
        client.loop_start()

    def _pace(self, client: paho.Client) -> None:
        """A new random pace for the next attempts."""
        longest = self._settings.reconnect_s
        first = random.uniform(0.3, 1.0) * min(1.0, longest)
        client.reconnect_delay_set(min_delay=first, max_delay=random.uniform(0.5, 1.0) * longest)  # type: ignore[arg-type]

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        if reason.is_failure:
            if self.protocol == "5" and reason == "Unsupported protocol version":
                _log.info("the broker does not speak MQTT 5; going on with 3.1.1")
                self._fall_back(client)
            else:
                _log.warning("the broker refused the connection: %s", reason)
            return
        # Also where the broker kept the session: subscribing twice is harmless, a lost subscription is not.
        for topic in self._line.subscriptions:
            client.subscribe(topic, qos=1)
        self._up.set()
        _log.info("connected to the broker at %s:%d, MQTT %s", self._settings.host, self._settings.port, self.protocol)
        try:
            self._line.connected()
        except Exception:  # noqa: BLE001 - it would end the thread that hears all messages
            _log.exception("the connection could not be taken up; it is made anew")
            self._ask_again_later(client)

    def _fall_back(self, client: paho.Client) -> None:
        def change() -> None:
            client.disconnect()
            client.loop_stop()
            if not self._ending:
                self._open(MQTTProtocolVersion.MQTTv311)

        threading.Thread(target=change, name="mqtt fall-back", daemon=True).start()

    def _on_disconnect(
        self, client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        if client is not self._client:
            return
        was_up = self._up.is_set()
        self._up.clear()
        self._pace(client)
        if was_up and not self._ending:
            _log.warning("the broker is gone: %s; running jobs go on", reason)
            self._line.lost(str(reason))

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if self._take_in(message):
            client.ack(message.mid, message.qos)
        else:
            self._ask_again_later(client)

    def _take_in(self, message: paho.MQTTMessage) -> bool:
        payload = bytes(message.payload)
        try:
            taken = self._line.overheard(message.topic, payload, bool(message.retain))
            return self._line.received(message.topic, payload) if taken is None else taken
        except Exception:  # noqa: BLE001 (a defect that one message finds must not end the thread that hears all others)
            _log.exception("%d bytes on %.200s could not be taken in, and are dropped", len(payload), message.topic)
            return True

    def _ask_again_later(self, client: paho.Client) -> None:
        """Only a new connection makes a broker send unacknowledged messages again."""

        def reconnect() -> None:
            with self._lock:
                self._timer = None
            if not self._ending and client is self._client:
                try:
                    client.reconnect()
                except OSError as error:
                    _log.warning("the broker cannot be reached: %s", error)

        with self._lock:
            if self._timer is None and not self._ending:
                self._timer = threading.Timer(_RELIEF_S, reconnect)
                self._timer.daemon = True
                self._timer.start()


def _at_once(client: paho.Client, data: object, connection: Any) -> None:
    """Send small packets at once (RFC 896's delay and the peer's delayed acknowledgement cost 40 ms each, together)."""
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
