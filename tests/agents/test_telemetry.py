"""Telemetry: what is measured and said, and that nothing is said unless the owner asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agents.agent import Agent
from agents.config import AgentConfig, MqttSettings
from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import decode
from agents.contract.vocabulary import Process
from agents.telemetry import reading
from firmware_bridges import bridge as b
from tests.agents.peer import Broker, mosquitto
from tests.agents.scene import T0, ScriptedBridge, machine_settings, shop_config

WARM = b.Status(
    b.BridgeState.RUNNING,
    position=b.Position(1.0, 2.0, 0.3),
    feed_mm_min=1800.0,
    spindle=500.0,
    temperatures_c=(("T", 199.8, 200.0), ("B", 59.0, 60.0)),
)


def test_a_reading_says_what_was_measured() -> None:
    told = reading("m1", Process.FDM, WARM, T0)
    assert told is not None
    assert (told.temperatures_c, told.targets_c) == ({"T": 199.8, "B": 59.0}, {"T": 200.0, "B": 60.0})
    assert (told.position_mm, told.feed_mm_min, told.at) == ((1.0, 2.0, 0.3), 1800.0, T0)


def test_a_beams_power_is_not_told_as_a_speed() -> None:
    laser, router = (reading("l1", process, WARM, T0) for process in (Process.LASER, Process.CNC))
    assert laser is not None
    assert router is not None
    assert (laser.spindle_rpm, router.spindle_rpm) == (None, 500.0)


@pytest.mark.parametrize("state", [b.BridgeState.OFFLINE, b.BridgeState.UNIDENTIFIED])
def test_a_machine_that_does_not_answer_has_no_reading(state: b.BridgeState) -> None:
    assert reading("m1", Process.FDM, b.Status(state, temperatures_c=(("T", 199.8, 200.0),)), T0) is None


def _config(folder: Path, broker: Broker, every_s: float) -> AgentConfig:
    settings = MqttSettings(host="127.0.0.1", port=broker.port, reconnect_s=0.5, keepalive_s=5)
    return replace(shop_config(folder, machine_settings(), mqtt=settings), telemetry_every_s=every_s)


@pytest.mark.broker
def test_only_who_asked_for_it_is_measured_in_public(real_part: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with mosquitto(real_part("mosquitto"), tmp_path / "broker") as broker:
        heard: list[paho.MQTTMessage] = []
        came = threading.Event()
        listener = _listener(broker.port, heard, came)
        bridge = ScriptedBridge()
        bridge.snapshot = WARM
        for every_s, folder in ((0.0, "quiet"), (0.05, "open")):
            agent = Agent(_config(tmp_path / folder, broker, every_s), lambda _config: bridge)
            agent.start()
            line = agent.line
            assert line is not None
            assert line._up.wait(10)
            if every_s:
                assert came.wait(10)
            agent.end()
            assert came.is_set() is (every_s > 0)
        listener.disconnect()
        listener.loop_stop()
    assert topics.identify(heard[0].topic) == (topics.TELEMETRY, {"shop": "alder", "agent": "pi1", "machine": "m1"})
    body = decode(heard[0].payload).body
    assert isinstance(body, m.Telemetry)
    assert body.temperatures_c["T"] == 199.8
    assert (heard[0].qos, heard[0].retain) == (0, False)


def _listener(port: int, heard: list[paho.MQTTMessage], came: threading.Event) -> paho.Client:
    def hear(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        heard.append(message)
        came.set()

    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="board")
    client.on_message = hear
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.subscribe(topics.TELEMETRY.filter(), qos=1)
    client.loop_start()
    assert ready.wait(10)
    return client
