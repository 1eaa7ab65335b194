"""One machine, several schedulers: each with its own journal, and never two jobs at once."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from agents.agent import Agent
from agents.channels import Channel, network_channel
from agents.config import MqttSettings, NetworkSettings
from agents.contract import messages as m
from agents.contract.envelope import decode, encode, wrap
from agents.contract.vocabulary import MachineState
from agents.effects import Effect, Look, Tell
from agents.hands import Hands
from agents.inbox import Inbox
from agents.inputs import Wake
from agents.lease import LIVE, LeaseState
from agents.mqtt import MqttLine
from agents.networks import Around, FurtherNetwork
from agents.policy import MachineView, Policy
from firmware_bridges import bridge as b
from tests.agents.den import Den
from tests.agents.peer import Peer, eventually, file_server, mosquitto
from tests.agents.scene import PROGRAM, T0, Scene, ScriptedBridge, grant_of, machine_settings, offer_of, shop_config

#: Races of two schedulers for one machine; the long form takes 1,000.
RACES = 1_000 if os.environ.get("WORKSHED_LONG") == "1" else 150


class Two(Scene):
    """A scene in which a second scheduler speaks too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.further = Inbox(
            self.config,
            self.spool,
            policy=Policy,
            view=lambda name: MachineView(self.machine.description),
            told=lambda: self.channel.last_seq,
            clock=self.clock,
            boot="boot",
            network=NetworkSettings("east", MqttSettings(host="east")),
        )
        self.channel = Channel(self.spool, network_channel("east"))

    def say(self, side: int, body: m.InboxMessage) -> None:
        payload = encode(wrap(body, sender=f"scheduler/{('main', 'east')[side]}", now=self.clock.now()))
        effects = (self.inbox, self.further)[side].receive(payload)
        for effect in effects:
            self.supervisor.post(effect.item if isinstance(effect, Tell) else Wake())
        self.supervisor.catch_up()

    def acknowledge_side(self, side: int) -> None:
        self.say(side, m.JournalAck(upto=(self.spool, self.channel)[side].last_seq))


def test_a_thousand_races_and_never_two_jobs_at_once(memory_path: Path) -> None:
    scene = Two(memory_path)
    dice = random.Random(7)
    granted: list[str] = []
    at_once = 0
    for race in range(RACES):
        scene.set_flags(bed_clear=True, materials=scene.machine.description.materials)
        steps: list[Callable[[], None]] = []
        for side in (0, 1):
            offer = offer_of(f"j{race}-{side}", f"o{race}-{side}", start=scene.clock.now())
            grant = grant_of(offer, 1, f"l{race}-{side}", start_by=scene.clock.now() + timedelta(hours=1))
            granted.append(offer.ticket.job)
            own = [
                lambda side=side, offer=offer: scene.say(side, offer),
                lambda side=side, grant=grant: scene.say(side, grant),
                *[lambda side=side: scene.acknowledge_side(side)] * 3,
            ]
            steps = merged(steps, own, dice)
        for step in steps:
            step()
            moving = scene.spool.leases("m1", frozenset({LeaseState.STARTING, LeaseState.RUNNING, LeaseState.HELD}))
            at_once = max(at_once, len(moving))
            if scene.bridge.snapshot.state is b.BridgeState.STARTING and dice.random() < 0.5:
                scene.bridge.first_line()
                scene.supervisor.catch_up()
        while scene.spool.leases("m1", LIVE):
            finish(scene)
            for side in (0, 1):
                scene.acknowledge_side(side)
    assert at_once == 1, "0 double bookings"
    ran = Counter(lease.job for lease in scene.spool.leases("m1", frozenset({LeaseState.FINISHED})))
    assert ran == Counter(granted), "each job of each scheduler once"
    assert len(scene.bridge.runs) == 2 * RACES


def merged(first: list[Callable[[], None]], second: list[Callable[[], None]], dice: random.Random) -> list:  # type: ignore[type-arg]
    """Both in their own order, interleaved by chance."""
    places = sorted(dice.sample(range(len(first) + len(second)), len(second)))
    whole = list(first)
    for place, step in zip(places, second, strict=True):
        whole.insert(place, step)
    return whole


def finish(scene: Two) -> None:
    """The machine ends what it runs, and the bed is cleared."""
    if scene.bridge.snapshot.state is b.BridgeState.STARTING:
        scene.bridge.first_line()
        scene.supervisor.catch_up()
    if scene.bridge.snapshot.state is b.BridgeState.RUNNING:
        scene.bridge.finish()
    scene.set_flags(bed_clear=True, materials=scene.machine.description.materials)


def test_each_scheduler_hears_of_its_own_jobs_alone(tmp_path: Path) -> None:
    scene = Two(tmp_path)
    for side, job in ((0, "mine"), (1, "theirs")):
        offer = offer_of(job, f"o-{job}", start=T0)
        scene.say(side, offer)
        scene.say(side, grant_of(offer, 1, f"l-{job}"))
    main = [decode(row[1]) for row in scene.spool.unacknowledged()]
    east = [decode(row[1]) for row in scene.channel.unacknowledged()]
    assert {envelope.body.job for envelope in main} == {"mine"}  # type: ignore[union-attr]
    assert {envelope.body.job for envelope in east} == {"theirs"}  # type: ignore[union-attr]
    assert [envelope.seq for envelope in east] == list(range(1, len(east) + 1))
    scene.further.say_holdings(scene.clock.now())
    holdings = decode(scene.channel.unacknowledged()[-1][1]).body
    assert isinstance(holdings, m.Holdings)
    assert [job.job for job in holdings.jobs] == ["theirs"]
    assert set(holdings.highest_fences) == {"theirs"}
    scene.close()


def test_a_scheduler_that_does_not_answer_a_start_keeps_the_machine_from_others_for_two_minutes(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.set_flags(bed_clear=True)
    for side in (0, 1):
        offer = offer_of(f"j{side}", f"o{side}")
        two.say(side, offer)
        two.say(side, grant_of(offer))
    two.turn()
    states = {lease.job: lease.state for lease in two.spool.leases()}
    assert states == {"j0": LeaseState.INTENDED, "j1": LeaseState.STAGED}
    two.clock.go(119)
    two.turn()
    assert two.spool.lease_of_job("j0").state is LeaseState.INTENDED  # type: ignore[union-attr]
    two.clock.go(2)
    two.turn()
    assert two.spool.lease_of_job("j0").state is LeaseState.RELEASED  # type: ignore[union-attr]
    assert two.kinds()[-2:] == ["StartIntended", "GivenUp"]
    two.turn()
    two.acknowledge_side(1)
    two.turn()
    assert len(two.bridge.runs) == 1
    two.acknowledge_side(0)
    two.turn()
    assert len(two.bridge.runs) == 1, "what was given up never starts"
    two.close()


def test_alone_an_intended_start_waits_for_its_answer_however_long(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.set_flags(bed_clear=True)
    two.claim_and_grant()
    two.clock.go(3600)
    two.turn()
    two.acknowledge()
    assert len(two.bridge.runs) == 1
    two.close()


def test_no_scheduler_has_a_say_in_anothers_lease(tmp_path: Path) -> None:
    scene = Two(tmp_path)
    offer = offer_of("mine", "o1", start=T0)
    scene.say(0, offer)
    scene.say(1, grant_of(offer, 7, "stolen"))
    assert scene.spool.lease("stolen") is None, "a grant for an offer that another scheduler made"
    scene.say(0, grant_of(offer, 1, "l1"))
    scene.say(1, m.Withdrawal(job="mine", lease="l1", fence=1, why="not yours"))
    scene.say(1, m.CancelRequest(job="mine", fence=1, why="not yours"))
    scene.set_flags(bed_clear=True)
    lease = scene.spool.lease("l1")
    assert lease is not None
    assert lease.state is LeaseState.INTENDED
    scene.acknowledge_side(1)
    assert not scene.bridge.runs, "nor can it permit the start"
    scene.acknowledge_side(0)
    assert len(scene.bridge.runs) == 1
    scene.close()


def further_network(scene: Two) -> FurtherNetwork:
    """The real one, not connected."""
    around = Around(Policy, lambda name: MachineView(scene.machine.description), told_elsewhere, report)
    east = NetworkSettings("east", MqttSettings(host="east"))
    network = FurtherNetwork(scene.config, east, scene.spool, scene.clock, "boot", around)
    network.teller.open_with(network.inbox.say_holdings(scene.clock.now()))
    return network


def told_elsewhere(effect: Effect) -> None:
    assert isinstance(effect, Look), "what was told to this network is nothing to the first one's journal"


def report(machine: str) -> m.MachineReport:
    raise AssertionError(machine)


def hears(scene: Two, network: FurtherNetwork, ack: m.JournalAck) -> None:
    assert network.received("inbox", encode(wrap(ack, sender="scheduler/east", now=scene.clock.now())))


def test_a_further_scheduler_that_knows_more_than_an_old_memory_hears_it_again(tmp_path: Path) -> None:
    """It was refused, and the journal to that network stayed shut for ever."""
    scene = Two(tmp_path)
    scene.set_flags(bed_clear=True)
    network = further_network(scene)
    hears(scene, network, m.JournalAck(upto=40, last="forgotten here"))
    told = [decode(payload) for _, payload in scene.channel.unacknowledged()]
    assert [envelope.seq for envelope in told] == [41, 42]
    assert isinstance(told[-1].body, m.Holdings)
    assert told[-1].body.unacked_from == 41, "the numbers between are nobody's"
    flags = scene.spool.flags("m1")
    assert not flags.bed_clear
    assert "old copy" in flags.disarmed
    assert (network.teller.told, network.teller.reconciled) == (42, False)
    hears(scene, network, m.JournalAck(upto=42, last=told[-1].id))
    assert network.teller.reconciled
    scene.close()


def test_a_further_scheduler_that_was_put_back_is_told_again_what_it_forgot(tmp_path: Path) -> None:
    scene = Two(tmp_path)
    network = further_network(scene)
    for number in (1, 2, 3):
        scene.say(1, offer_of(f"j{number}", f"o{number}", machine="unknown"))
    last = network.teller.told = scene.channel.last_seq
    hears(scene, network, m.JournalAck(upto=last))
    assert not scene.channel.unacknowledged_count()
    hears(scene, network, m.JournalAck(upto=2))
    assert [seq for seq, _ in scene.channel.unacknowledged()] == list(range(3, last + 1))
    scene.close()


def test_a_further_network_is_told_again_what_it_knows_and_hears_of_no_job(tmp_path: Path) -> None:
    """An old will or an old report that came late would stand there until the next start."""
    den, line = Den(tmp_path), Kept()
    den.die()
    den.settings(networks=(NetworkSettings("east", MqttSettings(host="east")),))
    den.begin()
    den.agent.networks[0].line = cast("MqttLine", line)
    told = line.bodies
    for _ in range(299):
        den.clock.go(1)
        den.agent.machine_changed("m1")
    assert [type(body) for body in told] == [m.MachineReport]
    for _ in range(3):
        den.clock.go(1)
        den.agent.machine_changed("m1")
    assert [type(body) for body in told] == [m.MachineReport, m.AgentPresence, m.MachineReport]
    assert told[0] == told[2]
    den.queue()
    den.clear()
    den.bridge.first_line()
    den.turn()
    last = told[-1]
    assert isinstance(last, m.MachineReport)
    assert (last.state, last.job, last.progress) == (MachineState.RUNNING, None, None)


class Kept:
    """A line that keeps what was published on it."""

    is_up = True

    def __init__(self) -> None:
        self.bodies: list[object] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        assert retain
        self.bodies.append(decode(payload).body)
        return True


class Willing(ScriptedBridge):
    """Runs every toolpath at once, on a thread of its own."""

    def run(self, toolpath: b.Toolpath, from_line: int = 1) -> None:
        super().run(toolpath, from_line)
        threading.Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        self.first_line()
        self.finish()


@pytest.mark.broker
def test_two_brokers_and_one_machine(real_part: Callable[[str], Path], tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "part.gcode").write_bytes(PROGRAM)
    for name in ("west", "east"):
        (tmp_path / name).mkdir()
    program = real_part("mosquitto")
    with (
        mosquitto(program, tmp_path / "west") as west,
        mosquitto(program, tmp_path / "east") as east,
        file_server(files) as base,
    ):
        peers = (Peer(west.port), Peer(east.port))
        lines = [MqttSettings(host="127.0.0.1", port=one.port, reconnect_s=0.5, keepalive_s=5) for one in (west, east)]
        config = replace(
            shop_config(tmp_path / "agent", machine_settings(), mqtt=lines[0]),
            networks=(NetworkSettings("east", lines[1]),),
        )
        bridge = Willing()
        agent = Agent(config, lambda _: bridge)
        agent.start()
        try:
            for number, peer in enumerate(peers):
                eventually(lambda peer=peer: peer.presence and peer.presence[-1].online, what="both know the agent")
                start = datetime.now(UTC)
                peer.offer(offer_of(f"j{number}", f"o{number}", start=start, url=f"{base}/part.gcode"))

            def made() -> bool:
                if not agent.spool.flags("m1").bed_clear and bridge.status().state is b.BridgeState.IDLE:
                    Hands(agent).bed_clear("m1")
                return all("Finished" in peer.kinds(f"j{number}") for number, peer in enumerate(peers))

            eventually(made, 40, lambda: f"{[peer.kinds() for peer in peers]}")
            assert len(bridge.runs) == 2
            assert not peers[0].kinds("j1")
            assert not peers[1].kinds("j0")
        finally:
            agent.end()
            for peer in peers:
                peer.close()
