"""A defect of ours ends no thread in silence: what runs is ended, it is said, and the next turn comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import fetching, machine_threads, mqtt
from agents.agent import Agent
from agents.config import MqttSettings
from agents.contract.vocabulary import Process
from agents.hands import Hands
from agents.lease import LeaseState
from agents.safe_down import safe_down
from firmware_bridges import bridge as b
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, ScriptedBridge, shop_config


class Shop:
    """One agent with its threads and a scripted printer."""

    def __init__(self, folder: Path) -> None:
        self.bridge = ScriptedBridge()
        self.agent = Agent(shop_config(folder), lambda config: self.bridge)
        self.hands, self.supervisor = Hands(self.agent), self.agent.supervisors["m1"]

    def state(self, job: str) -> LeaseState:
        lease = self.agent.spool.lease_of_job(job)
        assert lease is not None
        return lease.state

    def printing(self) -> str:
        self.hands.bed_clear("m1")
        job = self.hands.queue_own("m1", PROGRAM, "a vase")
        eventually(lambda: bool(self.bridge.runs), what=lambda: "it starts")
        self.bridge.first_line()
        eventually(lambda: self.state(job) is LeaseState.RUNNING, what=lambda: "it runs")
        return job


@pytest.fixture
def shop(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(machine_threads, "_TURN_S", 0.05)
    monkeypatch.setattr(machine_threads, "_CONNECT_EVERY_S", 0.05)
    made = Shop(memory_path)
    yield made
    made.agent.end()


def broken(*_: Any) -> Any:
    raise ZeroDivisionError("a defect")


def test_a_supervisor_that_breaks_ends_the_run_says_so_and_goes_on(shop: Shop) -> None:
    shop.agent.start()
    job = shop.printing()
    tick, shop.supervisor.tick = shop.supervisor.tick, broken  # type: ignore[method-assign]
    eventually(lambda: "cancel" in shop.bridge.calls, what=lambda: "the run is ended")
    assert "ZeroDivisionError" in shop.supervisor.trouble
    beat = shop.agent.machine_threads.beats["m1"]
    eventually(lambda: shop.agent.clock.monotonic() - beat > 0.3, what=lambda: "time passes")
    assert not shop.agent.healthy(longest_s=0.2), "the service manager hears of a supervisor that only breaks"
    assert shop.bridge.calls.count("cancel") == 1
    shop.bridge.cancelled()
    shop.supervisor.tick = tick  # type: ignore[method-assign]
    eventually(lambda: shop.state(job) is LeaseState.CANCELLED, what=lambda: "the end is heard")
    eventually(lambda: shop.agent.healthy(longest_s=0.2) and not shop.supervisor.trouble, what=lambda: "well again")


def test_a_machine_that_breaks_its_cancel_is_stopped(shop: Shop) -> None:
    shop.agent.start()
    shop.printing()
    shop.bridge.cancel = broken  # type: ignore[method-assign]
    shop.supervisor.tick = broken  # type: ignore[method-assign]
    eventually(lambda: "emergency_stop" in shop.bridge.calls, what=lambda: "it is stopped")


def test_a_report_that_cannot_be_told_disturbs_no_run(shop: Shop) -> None:
    shop.agent.line = type("Up", (), {"is_up": True})()
    shop.agent.reporting.changed = broken  # type: ignore[method-assign, assignment]
    shop.supervisor.catch_up()
    assert shop.bridge.calls == []
    shop.agent.line = None


def test_connecting_is_tried_again_whatever_went_wrong(shop: Shop) -> None:
    shop.bridge.snapshot = b.Status(b.BridgeState.OFFLINE)
    connect, tried = shop.bridge.connect, threading.Event()

    def once() -> b.Identity:
        if not tried.is_set():
            tried.set()
            raise ValueError("banner_wait_s is no number")
        return connect()

    shop.bridge.connect = once  # type: ignore[method-assign]
    shop.agent.start()
    eventually(lambda: "connect" in shop.bridge.calls, what=lambda: "it is tried again")


def test_a_machine_left_hot_is_stopped_where_a_full_disk_lets_no_run_begin(shop: Shop) -> None:
    def full(toolpath: b.Toolpath, from_line: int = 1) -> None:
        raise OSError(28, "No space left on device")

    shop.bridge.run = full  # type: ignore[method-assign]
    safe_down(shop.bridge, Process.FDM)
    assert shop.bridge.calls == ["emergency_stop"]


def test_a_toolpath_that_breaks_its_reader_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "problems_for", broken)
    shop.agent.start()
    shop.hands.bed_clear("m1")
    job = shop.hands.queue_own("m1", PROGRAM, "a vase")
    eventually(lambda: shop.state(job) is LeaseState.FAILED, what=lambda: "it is refused")
    lease = shop.agent.spool.lease_of_job(job)
    assert lease is not None
    assert "ZeroDivisionError" in lease.why


def test_a_connection_that_cannot_be_taken_up_does_not_end_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_RELIEF_S", 0.01)
    again = threading.Event()
    line = mqtt.Line("c", "t", b"", (), lambda topic, payload: True, broken, lambda why: None)
    made = mqtt.MqttLine(MqttSettings(host="broker.invalid"), line)
    client: Any = type("Client", (), {"reconnect": lambda self: again.set(), "subscribe": broken})()
    made._client = client
    made._on_connect(client, None, None, type("Reason", (), {"is_failure": False})(), None)
    assert again.wait(5), "a new connection is made"
