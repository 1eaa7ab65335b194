"""The scheduler on real brokers, MQTT 5 and 3.1.1: committed, then acknowledged; delivered, though a broker dies."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.topics import SCHEDULER_PRESENCE
from agents.contract.vocabulary import JobState
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.mqtt import Broker, NoBroker
from scheduler.orders.composer import ComposerHere
from scheduler.store import queries
from tests.agents import peer
from tests.scheduler.line import Agent, AtOnce, Line, first_fit, tiny_toolpath

pytestmark = pytest.mark.broker


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, real_part: Callable[[str], Path]) -> Iterator[peer.Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    if request.param == "mosquitto":
        with peer.mosquitto(real_part("mosquitto"), folder) as running:
            yield running
        return
    beside = Path(sys.executable).parent / "nats-server"
    program = beside if beside.exists() else real_part("nats-server")
    with peer.nats(program, folder) as running:
        yield running


class Wire:
    """An agent's own connection: hears its inbox, says what it is told to."""

    def __init__(self, broker: peer.Broker, agent: Agent) -> None:
        self.agent, self.heard = agent, list[bytes]()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=agent.id.replace(".", "-"),
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=False,
        )
        self._up = threading.Event()
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(agent.inbox_topic(), 1)
        self.client.on_subscribe = lambda *_: self._up.set()
        self.client.on_message = lambda _client, _data, message: self.heard.append(bytes(message.payload))
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._up.wait(10)

    def say(self, *messages: tuple[str, bytes]) -> None:
        for topic, payload in messages:
            self.client.publish(topic, payload, qos=1).wait_for_publish(10)

    def take(self, now: Any) -> None:
        heard, self.heard = self.heard, []
        for payload in heard:
            self.agent.hear(payload, now)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def scheduler_on(broker: peer.Broker, folder: Path) -> Scheduler:
    settings = Settings(data=folder / "data", broker=Broker("127.0.0.1", broker.port))
    return Scheduler(
        settings, Parts(planner=first_fit, composer=ComposerHere(), maker=tiny_toolpath, executor=AtOnce())
    )


def state_of(scheduler: Scheduler, job: str) -> JobState | None:
    with scheduler.store.read() as c:
        row = queries.job(c, job)
    return None if row is None else row.state


def test_an_order_is_made_over_a_broker_that_dies_once(broker: peer.Broker, tmp_path: Path) -> None:
    agent = Agent("mill", "pi", ("m1",))
    with ExitStack() as stack:
        scheduler = scheduler_on(broker, tmp_path)
        scheduler.start()
        stack.callback(scheduler.stop)
        wire = Wire(broker, agent)
        stack.callback(wire.close)

        def talk() -> None:
            wire.take(scheduler.clock.now())
            wire.say(*agent.unacked())

        def until(reached: Callable[[], Any], what: str) -> None:
            def settled() -> Any:
                talk()
                return reached()

            peer.eventually(settled, 30, what)

        now = scheduler.clock.now()
        wire.say(agent.presence(now), agent.report("m1", now))
        until(lambda: agent.spool.acked >= 1, "the holdings are acknowledged")
        line = Line.__new__(Line)
        line.scheduler, line.clock = scheduler, scheduler.clock  # type: ignore[assignment]
        (job,) = line.order()
        scheduler.bell.news()
        until(lambda: job in agent.spool.held, "the job is granted")
        agent.stage(job, scheduler.clock.now())
        broker.kill()
        agent.intend(job, scheduler.clock.now())
        broker.start()
        peer.eventually(lambda: wire.client.is_connected() and scheduler.link and scheduler.link.connected.is_set(), 30)
        now = scheduler.clock.now()
        wire.say(agent.presence(now), agent.report("m1", now))
        until(lambda: agent.starts == [(job, 1)], "the start is committed")
        agent.run(job, scheduler.clock.now())
        held = agent.finish(job, scheduler.clock.now())
        agent.inspect(held, scheduler.clock.now(), good=1)
        until(lambda: state_of(scheduler, job) is JobState.INSPECTED, "the part is inspected")


def test_presence_is_retained_and_the_will_speaks(broker: peer.Broker, tmp_path: Path) -> None:
    said: list[m.SchedulerPresence] = []
    listener = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener", protocol=MQTTProtocolVersion.MQTTv311)
    listener.on_connect = lambda client, *_: client.subscribe(SCHEDULER_PRESENCE.of(scheduler="main"), 1)
    listener.on_message = lambda _c, _d, message: said.append(decode(message.payload).body)  # type: ignore[arg-type]
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    scheduler = scheduler_on(broker, tmp_path)
    scheduler.start()
    peer.eventually(lambda: said and said[-1].online, 10, "the scheduler says it is there")
    assert said[-1].term == 1
    scheduler.stop()
    peer.eventually(lambda: not said[-1].online, 10, "the scheduler says goodbye")
    listener.disconnect()
    listener.loop_stop()


def test_no_broker_is_said_in_a_sentence(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, broker=Broker("127.0.0.1", peer.free_port()))
    scheduler = Scheduler(settings, Parts(planner=first_fit, composer=ComposerHere(), executor=AtOnce()))
    with pytest.raises(NoBroker, match=r"no broker answers at 127\.0\.0\.1"):
        scheduler.start()
    scheduler.stop()
