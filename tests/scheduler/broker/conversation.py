"""A small MQTT client for tests: what arrived, waited for with a deadline."""

from __future__ import annotations

import threading

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from scheduler.broker import EmbeddedBroker

PATIENCE_S = 10.0


class Talker:
    """One connected client with a persistent session where `keep` is set."""

    def __init__(self, broker: EmbeddedBroker, username: str, client_id: str, *, keep: bool = False) -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self.denied_subscriptions = 0
        self._broker = broker
        self._changed = threading.Condition()
        self._connected = False
        self._subscribed = 0
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not keep, protocol=MQTTv311
        )
        self.client.username_pw_set(username, broker.setup.password(username))
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message

    def connect(self, keepalive: int = 30) -> Talker:
        self.client.connect(self._broker.host, self._broker.port, keepalive)
        self.client.loop_start()
        assert self.until(lambda: self._connected), "the broker refused the connection"
        return self

    def subscribe(self, topic: str, qos: int = 1) -> None:
        wanted = self._subscribed + 1
        self.client.subscribe(topic, qos)
        assert self.until(lambda: self._subscribed >= wanted), "no answer to a subscription"

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish and wait for the broker's acknowledgement."""
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def heard(self, topic: str, count: int = 1) -> list[bytes]:
        """Wait for `count` messages on `topic`; the payloads."""
        self.until(lambda: len(self.on(topic)) >= count)
        return self.on(topic)

    def on(self, topic: str) -> list[bytes]:
        return [payload for where, payload, _ in self.got if where == topic]

    def until(self, reached) -> bool:
        with self._changed:
            return self._changed.wait_for(reached, PATIENCE_S)

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self) -> None:
        """Cut the connection as a dead machine would: no DISCONNECT."""
        connection = self.client.socket()
        self.client.on_disconnect = None
        self.client.loop_stop()
        if connection is not None:
            connection.close()

    def _on_connect(self, _client, _data, _flags, reason, _properties) -> None:
        with self._changed:
            self._connected = not reason.is_failure
            self._changed.notify_all()

    def _on_subscribe(self, _client, _data, _mid, reasons, _properties) -> None:
        with self._changed:
            self._subscribed += 1
            self.denied_subscriptions += sum(reason.is_failure for reason in reasons)
            self._changed.notify_all()

    def _on_message(self, _client, _data, message: MQTTMessage) -> None:
        with self._changed:
            self.got.append((message.topic, message.payload, message.retain))
            self._changed.notify_all()
