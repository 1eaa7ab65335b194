"""A hostile network (A1) around a real agent: a real broker, a real bridge, a printer's twin on a pseudo-terminal.

Everybody may publish everywhere here: every message type with every field and every field of the envelope spoiled, on
every topic the agent hears and some it does not, retained poison, and bytes that are no message at all. Nothing but the
bridge's own questions reaches the machine; and afterwards the agent still hears, claims and makes.
"""

from __future__ import annotations

import gzip
import json
import logging
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agents.agent import Agent
from agents.config import MqttSettings
from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import MAX_PAYLOAD_BYTES
from agents.hands import Hands
from agents.mqtt import Line, MqttLine
from agents.policy import Policy
from firmware_bridges.bridge import BridgeState, MachineConfig
from firmware_bridges.registry import open_bridge
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.agents.peer import Broker, Peer, eventually, file_server, mosquitto
from tests.agents.scene import PROGRAM, machine_settings, offer_of, shop_config
from tests.agents.test_hostile_scheduler import (
    NUMBERS,
    ODD,
    QUESTIONS,
    STRINGS,
    Overheard,
    attacks,
    changed,
    places,
    samples,
)
from tests.contract.whole import whole

pytestmark = [pytest.mark.broker]

INBOX = topics.INBOX.of(shop="alder", agent="pi1")
#: No messages at all, or not for long.
NONSENSE = (
    *(
        b"",
        b"\x00",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}",
        b'{"v":1}',
        b'{"v":NaN}',
        b"G28\nM104 S250\n",
    ),
    *(b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"v":1,"id":"' + b"a" * 300_000 + b'"}'),
    *(gzip.compress(b'{"v":1}' * 1000), b"{" + b" " * (MAX_PAYLOAD_BYTES + 1) + b"}", b"9" * 100_000),
    *(b'{"v":1,"v":2,"id":"\\ud800","sent":"2030-01-01T00:00:00Z","sender":"\\u0000","body":{}}', b"\xc3\x28" * 100),
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def envelopes(now: str) -> Iterator[bytes]:
    """A well-formed message of every kind in an envelope of which one field is wrong; and unknown fields besides."""
    for body in samples():
        good: dict[str, Any] = {
            "v": 1,
            "id": "e1",
            "sent": now,
            "sender": "scheduler/main",
            "body": body,
            "seq": 1,
            "expires": now,
            "reply_to": "x",
            "traceparent": "00-0-0-00",
        }
        for name in good:
            for new in (*STRINGS, *NUMBERS, *ODD):
                yield json.dumps({**good, "id": uuid.uuid4().hex, name: new}).encode()
        deep: Any = {}
        for _ in range(500):
            deep = [deep, {"deep": deep}] if len(str(deep)) < 1000 else [deep]
        yield json.dumps({**good, "id": uuid.uuid4().hex, "body": {**body, "command": "G28", "deep": deep}}).encode()


def of_every_kind(now: str, dice: random.Random) -> Iterator[bytes]:
    """Messages of every type of the contract, also those that no scheduler may say, with one field spoiled."""
    for body in map(whole, get_args(m.AnyMessage)):
        for path in places(body):
            for new in dice.sample((*STRINGS, *NUMBERS, *ODD), 2):
                sender = dice.choice(("scheduler/main", "agent/alder/pi1", "agent/other/pi", "", "\x00"))
                about = {"v": 1, "id": uuid.uuid4().hex, "sent": now, "sender": sender, "seq": 1}
                yield json.dumps({**about, "body": changed(body, path, new)}).encode()


def places_to_shout() -> tuple[str, ...]:
    """Every kind of topic, those of this agent and others', but what only this agent's scheduler reads."""
    names = {"shop": "alder", "agent": "pi1", "machine": "m1", "ring": "neighbourhood", "process": "fdm", "job": "j1"}
    other = {**names, "shop": "other", "agent": "pi9"}
    read_by_others = (topics.JOURNAL, topics.MACHINE, topics.PRESENCE)
    own = [one for one in topics.TOPICS if one not in read_by_others]
    return (*(_named(one, names) for one in own), *(_named(one, other) for one in topics.TOPICS))


def _named(topic: topics.Topic, names: dict[str, str]) -> str:
    return topic.of(**{name: names.get(name, "main") for name in topic.parameters})


class Evil:
    """Publishes anything anywhere, and waits until the agent must have heard it."""

    def __init__(self, broker: Broker, peer: Peer) -> None:
        self.peer, self.sent = peer, 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="evil")
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)
        self.sent += 1
        if self.sent % 200 == 0:  # a broker drops what it cannot keep for a slow client
            self.wait()

    def wait(self) -> None:
        """A question behind all that was said: its answer means that all of it was heard."""
        before = self.peer.kinds().count("Holdings")
        self.peer.send(m.ReconcileRequest(why="are you there?"))
        eventually(lambda: self.peer.kinds().count("Holdings") > before, 60.0, "the agent still hears")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_nothing_that_anybody_says_moves_a_machine_and_the_agent_still_hears(
    real_part: Callable[[str], Path], memory_path: Path
) -> None:
    (memory_path / "broker").mkdir()
    (memory_path / "files").mkdir()
    (memory_path / "files" / "part.gcode").write_bytes(PROGRAM)
    twin = Overheard(make_twin(TwinOptions("marlin")))
    with (
        mosquitto(real_part("mosquitto"), memory_path / "broker") as broker,
        file_server(memory_path / "files") as base,
        TwinHost(twin, speed=60.0) as host,
    ):
        peer = Peer(broker.port)
        evil = Evil(broker, peer)
        for number, payload in enumerate(NONSENSE):  # what the broker keeps is there before the agent is
            for topic in places_to_shout():
                evil._client.publish(topic, payload, qos=1, retain=number % 2 == 0)
        settings = MqttSettings(host="127.0.0.1", port=broker.port, reconnect_s=0.5, keepalive_s=5)
        machine = replace(machine_settings(), bridge=MachineConfig(host.port, "marlin"))
        agent = Agent(shop_config(memory_path / "agent", machine, mqtt=settings), open_bridge)
        agent.policy_file._policy = Policy(pool=False)
        agent.start()
        eventually(lambda: agent.supervisors["m1"].bridge.status().state is BridgeState.IDLE)
        eventually(lambda: agent.teller.reconciled, 60.0, "the first word was acknowledged")
        agent.store.put(PROGRAM)
        Hands(agent).bed_clear("m1")
        now, dice = datetime.now(UTC).isoformat(), random.Random(5)
        for payload in (*attacks(now), *envelopes(now)):
            evil.say(INBOX, payload)
        shouts = places_to_shout()
        for payload in of_every_kind(now, dice):
            evil.say(dice.choice(shouts), payload, retain=dice.random() < 0.2)
            evil.say(INBOX, payload)
        evil.wait()
        strange = [x for x in bytes(twin.bytes).splitlines() if x.strip() and not QUESTIONS.match(x)]
        assert strange == []
        assert evil.sent > 4000
        assert agent.spool.leases() == ()
        assert not {"Claimed", "StartIntended"} & set(peer.kinds())
        assert agent.healthy()
        hands = Hands(agent)  # it was told of numbers that it never said: it trusts neither bed nor material since
        hands.rearm("m1")
        hands.bed_clear("m1")
        hands.load("m1", machine.description.materials)
        agent.policy_file._policy = Policy()
        peer.offer(offer_of("good", "o-good", start=datetime.now(UTC), url=f"{base}/part.gcode"))
        peer.await_kind(m.Finished, "good", 60.0)
        assert any(b"G1 X10" in line for line in bytes(twin.bytes).splitlines())
        agent.end()
        evil.close()
        peer.close()


def test_a_message_that_breaks_its_reader_is_heard_once_and_those_after_it_are_heard(
    real_part: Callable[[str], Path], tmp_path: Path
) -> None:
    """A defect of ours must not make the agent deaf: whoever finds one could silence every shop with one message."""
    heard: list[bytes] = []

    def received(topic: str, payload: bytes) -> bool:
        heard.append(payload)
        if payload == b"poison":
            raise ZeroDivisionError
        return True

    with mosquitto(real_part("mosquitto"), tmp_path) as broker:
        line = Line("a1", "will", b"", (INBOX,), received, lambda: None, lambda why: None, lambda *_: None)
        mqtt = MqttLine(MqttSettings(host="127.0.0.1", port=broker.port, reconnect_s=0.3), line)
        mqtt.start()
        eventually(lambda: mqtt.is_up)
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        for payload in (b"one", b"poison", b"two"):
            client.publish(INBOX, payload, qos=1).wait_for_publish(5)
        eventually(lambda: b"two" in heard)
        assert heard.count(b"poison") == 1
        client.disconnect()
        client.loop_stop()
        mqtt.end(b"")
