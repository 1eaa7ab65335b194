"""The lines that real processes are cut and disturbed by do what they say: otherwise no fault was tested at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agents.contract import messages as m
from agents.contract.envelope import decode, encode, wrap
from tests.agents import peer
from tests.faults.relays import Delivery, Letter, MqttRelay, Way

pytestmark = [pytest.mark.broker]

TOPIC = "workshed/v1/alder/pi1/inbox"
VERSIONS = (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5)


class Talk:
    """Somebody who sends numbers over a relay, and somebody who hears them over the same relay."""

    def __init__(self, relay: MqttRelay, version: MQTTProtocolVersion, stack: ExitStack) -> None:
        self.heard: list[int] = []
        self.relay = relay
        up = threading.Event()
        self.clients = [self._client(f"c{number}", version) for number in (0, 1)]
        self.clients[1].on_connect = lambda client, *_: client.subscribe(TOPIC, 1)
        self.clients[1].on_subscribe = lambda *_: up.set()
        self.clients[1].on_message = lambda _c, _d, message: self.heard.append(decode(message.payload).seq or 0)
        for client in self.clients:
            client.connect("127.0.0.1", relay.port)
            client.loop_start()
            stack.callback(client.loop_stop)
            stack.callback(client.disconnect)
        assert up.wait(10)

    @staticmethod
    def _client(name: str, version: MQTTProtocolVersion) -> paho.Client:
        return paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version)

    def say(self, *numbers: int) -> None:
        for number in numbers:
            body = m.Progressed(job="j", fence=1, machine="m", line=number, fraction=0.5)
            envelope = wrap(body, sender="alder/pi1", now=datetime.now(UTC), seq=number)
            self.clients[0].publish(TOPIC, encode(envelope), qos=1)


@pytest.fixture(params=VERSIONS, ids=("3.1.1", "5"))
def talk(request: pytest.FixtureRequest, real_part: Callable[[str], Path], tmp_path: Path) -> Iterator[Talk]:
    with ExitStack() as stack:
        broker = stack.enter_context(peer.mosquitto(real_part("mosquitto"), tmp_path))
        letters: list[Letter] = []
        relay = MqttRelay(broker.port, letters.append, seed=3)
        stack.callback(relay.close)
        made = Talk(relay, request.param, stack)
        yield made
        ways = [letter.way for letter in letters if letter.kind == "Progressed"]
        assert ways.count(Way.TO_BROKER) > 0
        assert ways.count(Way.FROM_BROKER) > 0


def test_in_order_and_once(talk: Talk) -> None:
    talk.say(*range(1, 31))
    peer.eventually(lambda: talk.heard == list(range(1, 31)))


def test_twice(talk: Talk) -> None:
    talk.relay.delivery = Delivery.TWICE
    talk.say(*range(1, 6))
    peer.eventually(lambda: len(talk.heard) == 20, what="doubled on the way in and on the way out")
    assert set(talk.heard) == set(range(1, 6))
    talk.relay.delivery = Delivery.AT_ONCE
    talk.say(6)
    peer.eventually(lambda: talk.heard[-1] == 6, what="the connection stood it")


def test_in_another_order(talk: Talk) -> None:
    talk.relay.delivery = Delivery.DISORDERED
    talk.say(*range(1, 11))
    peer.eventually(lambda: len(talk.heard) == 10)
    assert sorted(talk.heard) == list(range(1, 11))
    assert talk.heard != sorted(talk.heard)


def test_mute_and_healed(talk: Talk) -> None:
    talk.relay.mute()
    talk.say(1)
    with pytest.raises(AssertionError):
        peer.eventually(lambda: talk.heard, within_s=0.3)
    talk.relay.heal()
    peer.eventually(lambda: talk.heard == [1])
