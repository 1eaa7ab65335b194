"""A town without a scheduler, in simulated time: real homes, pullers, inboxes, spools, supervisors; scripted machines.

The broker is a register of kept messages and a queue with a delay. Time jumps from one event to the next.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from agents.board import OwnMachine
from agents.board_room import BoardRoom
from agents.config import AgentConfig, BoardSettings
from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import decode, encode, wrap
from agents.contract.granting import epoch_of
from agents.effects import BookAsked, Effect, Look, Tell
from agents.inbox import Inbox
from agents.inputs import Asked, Fetched, Wake
from agents.lease import LeaseState
from agents.machine import Supervisor
from agents.policy import MachineView, Policy
from agents.reports import machine_state
from agents.safety import Presence
from agents.spool import Lease, Spool
from agents.toolpaths import ToolpathStore
from firmware_bridges.bridge import BridgeState
from tests.agents.scene import (
    PROGRAM,
    T0,
    FakeClock,
    Inputs,
    ScriptedBridge,
    grant_of,
    machine_settings,
    offer_of,
    shop_config,
)

PATIENCE_S = 30.0
EPOCH = epoch_of(1, 1)


class TownClock(FakeClock):
    """Wall and monotonic time of everybody."""

    def go_to(self, moment: float) -> None:
        if moment > self.mono:
            self.go(moment - self.mono)


class TownBroker:
    """Kept messages, subscriptions, a delay, and counts of what was published."""

    def __init__(self, clock: TownClock, delay_s: float) -> None:
        self.clock, self.delay_s = clock, delay_s
        self.kept: dict[str, bytes] = {}
        self.shops: list[TownShop] = []
        self.queue: list[tuple[float, int, TownShop, str, bytes, bool]] = []
        self.published: Counter[str] = Counter()
        self.deaf: set[str] = set()
        """Shops that are cut off."""
        self._order = itertools.count()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        known = topics.identify(topic)
        assert known is not None, topic
        kind = known[0].name
        body = type(decode(payload).body).__name__ if payload else "Gone"
        self.published[f"{kind}:{body}"] += 1
        if retain:
            self.kept.pop(topic, None)
            if payload:
                self.kept[topic] = payload
        for shop in self.shops:
            if shop.hears(topic, *known):
                self._send(shop, topic, payload, retained=False)

    def say_again(self, shop: TownShop, topic: str) -> None:
        if topic in self.kept:
            self._send(shop, topic, self.kept[topic], retained=True)

    def _send(self, shop: TownShop, topic: str, payload: bytes, *, retained: bool) -> None:
        if shop.me not in self.deaf:
            at = self.clock.mono + self.delay_s
            heapq.heappush(self.queue, (at, next(self._order), shop, topic, payload, retained))

    def deliver_due(self) -> list[TownShop]:
        """Deliver what has arrived by now. Returns who heard something that needs a turn."""
        heard = []
        while self.queue and self.queue[0][0] <= self.clock.mono:
            _, _, shop, topic, payload, retained = heapq.heappop(self.queue)
            if shop.me not in self.deaf and shop.hear(topic, payload, retained):
                heard.append(shop)
        return heard


class TownShop:
    """One agent's cores with one machine, without threads."""

    def __init__(self, name: str, broker: TownBroker, clock: TownClock, folder: Path, *, disk: bool = False) -> None:
        self.me, self.broker, self.clock, self.folder, self.disk = f"{name}/pi1", broker, clock, folder, disk
        machine = machine_settings()
        config = shop_config(folder / name, machine)
        self.config: AgentConfig = replace(config, shop=name, board=BoardSettings(patience_s=PATIENCE_S))
        self.topics: set[str] = set()
        self.bridge = ScriptedBridge()
        self.rules = Policy()
        self.begin()

    def begin(self) -> None:
        """Start (again) on what is written."""
        path = self.folder / f"{self.config.shop}.sqlite" if self.disk else Path(":memory:")
        self.spool = Spool(path, sender=self.config.sender)
        self.store = ToolpathStore(self.folder / "toolpaths", self.spool, self.config.cache, self.clock)
        if not self.store.has(TOOLPATH):
            self.store.put(PROGRAM)
        machine = self.config.machines[0]
        self.supervisor = Supervisor(
            machine,
            self.bridge,
            spool=self.spool,
            store=self.store,
            presence=Presence(self.clock),
            interlocks=Inputs(),
            shop=self,
            clock=self.clock,
        )
        self.inbox = Inbox(
            self.config,
            self.spool,
            policy=self.policy,
            view=lambda name: MachineView(machine.description),
            told=lambda: self.spool.last_seq,
            clock=self.clock,
            boot="boot",
        )
        self.board = BoardRoom(
            self.config,
            self.spool,
            self.store,
            self.clock,
            self.inbox,
            line=lambda: self,
            machines=self._machines,
            policy=self.policy,
            tell=self._tell,
            effect=self.effect,
            journal_grew=lambda: None,
        )
        self.supervisor.recover()
        if not self.spool.flags("m1").bed_clear:
            self.clear_bed()
        self.connect()

    def connect(self) -> None:
        self.broker.deaf.discard(self.me)
        self.board.line_up()
        self.topics.clear()
        seen = (topics.BOARD, topics.HOME_BOARD, topics.SCHEDULER_PRESENCE)
        for topic in list(self.broker.kept):
            known = topics.identify(topic)
            if known is not None and known[0] in seen:
                self.broker.say_again(self, topic)

    def cut(self) -> None:
        """The link to the broker is gone."""
        self.broker.deaf.add(self.me)
        self.board.line_down()

    def kill(self) -> None:
        """kill -9, and a start."""
        self.spool.close()
        self.begin()

    # Publisher
    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        if self.me in self.broker.deaf:
            return False
        self.broker.publish(topic, payload, retain=retain)
        return True

    def subscribe(self, wanted: tuple[str, ...]) -> None:
        for topic in wanted:
            self.topics.add(topic)
            self.broker.say_again(self, topic)

    def hears(self, topic: str, kind: topics.Topic, place: dict[str, str]) -> bool:
        if topic in self.topics:
            return True
        if kind in (topics.BOARD, topics.HOME_BOARD, topics.SCHEDULER_PRESENCE):
            return True
        to = f"{place.get('to_shop')}/{place.get('to_agent')}"
        if kind in (topics.GRANTS, topics.HOME_JOURNAL):
            return to == self.me
        return kind is topics.INBOX and f"{place['shop']}/{place['agent']}" == self.me

    def hear(self, topic: str, payload: bytes, retained: bool) -> bool:
        """Whether it may change what this shop does by itself."""
        if self.board.heard(topic, payload, retained) is None:
            for effect in self.inbox.receive(payload):
                self.effect(effect)
        known = topics.identify(topic)
        assert known is not None
        idle = self.bridge.snapshot.state is BridgeState.IDLE
        opened = known[0] is topics.HOME_BOARD and idle and b'"held"' not in payload
        return opened or known[0] not in (topics.BOARD, topics.HOME_BOARD)

    def effect(self, effect: Effect) -> None:
        match effect:
            case Tell(_, item):
                self.supervisor.post(item)
            case Look():
                self.supervisor.post(Wake())
            case BookAsked(request):
                self.board.book_asked(request)
            case _:
                pass

    def _tell(self, machine: str, item: Asked) -> None:
        self.supervisor.post(item)

    def _machines(self) -> tuple[OwnMachine, ...]:
        machine, flags = self.config.machines[0], self.spool.flags("m1")
        idle = machine_state(self.bridge.status(), flags)[0].value == "idle"
        return (OwnMachine(machine, MachineView(machine.description), idle and not self.spool.leases("m1")),)

    # inputs.Shop
    def fetch(self, lease: Lease) -> None:
        self.supervisor.post(Fetched(lease.lease))

    def journal_grew(self) -> None: ...

    def memory_compared(self) -> bool:
        return True

    def machine_changed(self, machine: str) -> None: ...

    def policy(self) -> Policy:
        return self.rules

    # the machine and its person
    def turn(self) -> None:
        for _ in range(2):
            self.supervisor.catch_up()
            self.supervisor.catch_up()
            self.board.tick()

    def clear_bed(self) -> None:
        materials = self.config.machines[0].description.materials
        self.spool.put_flags("m1", replace(self.spool.flags("m1"), bed_clear=True, disarmed="", materials=materials))

    def running(self) -> Lease | None:
        return self.supervisor.running()

    def leases(self, *states: LeaseState) -> tuple[Lease, ...]:
        return self.spool.leases("m1", frozenset(states))


TOOLPATH = offer_of().toolpath.sha256


def mark_of(job: str, home: str, epoch: int = EPOCH, *, posted_h: float = 0.0, **more: object) -> m.BoardMark:
    """A mark as a scheduler posts it."""
    offer = offer_of(job)
    values: dict[str, object] = {
        "ticket": offer.ticket,
        "toolpaths": (offer.toolpath,),
        "attempt": 1,
        "home": home,
        "posted": T0 - timedelta(hours=posted_h),
        "scheduler": "main",
        "epoch": epoch,
        **more,
    }
    return m.BoardMark(**values)  # type: ignore[arg-type]


class Town:
    """The shops, their broker, and a scheduler that is only its retained words."""

    def __init__(self, folder: Path, shops: int, *, delay_s: float = 0.05, disk: bool = False) -> None:
        self.clock = TownClock()
        self.broker = TownBroker(self.clock, delay_s)
        self.shops = [TownShop(f"s{n}", self.broker, self.clock, folder, disk=disk) for n in range(shops)]
        self.broker.shops = self.shops
        self.runs: list[tuple[float, TownShop, str, int]] = []
        """(monotonic start, shop, job, fence) of everything the machines were told to run."""
        self.run_s: Callable[[str], float] = lambda job: 600.0
        self._ends: list[tuple[float, int, TownShop]] = []
        self._order = itertools.count()
        self._seen: dict[str, int] = {}

    def say(self, topic: str, body: m.AnyMessage | None, *, retain: bool = True) -> None:
        """The scheduler publishes."""
        payload = b"" if body is None else encode(wrap(body, sender="scheduler/main", now=self.clock.now()))
        self.broker.publish(topic, payload, retain=retain)

    def scheduler(self, *, online: bool, epoch: int = EPOCH) -> None:
        said = m.SchedulerPresence(scheduler="main", online=online, term=1, epoch=epoch)
        self.say(topics.SCHEDULER_PRESENCE.of(scheduler="main"), said)

    def post(self, mark: m.BoardMark) -> None:
        ticket = mark.ticket
        self.say(topics.BOARD.of(ring=ticket.ring.value, process=ticket.process.value, job=ticket.job), mark)

    def grant(self, shop: TownShop, job: str, *, start: bool, fence: int = 1) -> None:
        """The scheduler offers and grants a job, and permits the start if it is asked and so willing."""
        offer = offer_of(job, f"o-{job}-{fence}", start=self.clock.now())
        self.inbox(shop, offer)
        self.settle()
        lease = f"l{job}-{fence}"
        start_by = self.clock.now() + timedelta(hours=12)
        self.inbox(shop, grant_of(offer, fence, lease, start_by=start_by))
        self.settle()
        if start:
            self.inbox(shop, m.JournalAck(upto=shop.spool.last_seq))
            self.settle()

    def inbox(self, shop: TownShop, body: m.InboxMessage) -> None:
        name, _, agent = shop.me.partition("/")
        self.say(topics.INBOX.of(shop=name, agent=agent), body, retain=False)

    def note_runs(self, shop: TownShop) -> None:
        """A run that was begun gets its first line, and an end."""
        if len(shop.bridge.runs) > self._seen.get(shop.me, 0):
            self._seen[shop.me] = len(shop.bridge.runs)
            lease = shop.running()
            assert lease is not None
            self.runs.append((self.clock.mono, shop, lease.job, lease.fence))
            shop.bridge.first_line()
            shop.turn()
            heapq.heappush(self._ends, (self.clock.mono + self.run_s(lease.job), next(self._order), shop))

    def _turn(self, shop: TownShop) -> None:
        shop.turn()
        self.note_runs(shop)

    def everybody(self) -> None:
        for shop in self.shops:
            self._turn(shop)

    def settle(self) -> None:
        """Deliver everything that is under way, without letting more time pass than that takes."""
        while self.broker.queue:
            self.clock.go_to(self.broker.queue[0][0])
            for shop in self.broker.deliver_due():
                self._turn(shop)

    def go(self, seconds: float) -> None:
        """Let time pass, from event to event: messages, claims that fall due, runs that end."""
        until = self.clock.mono + seconds
        while True:
            events = [self.broker.queue[0][0]] if self.broker.queue else []
            events += [self._ends[0][0]] if self._ends else []
            dues = {shop: due for shop in self.shops if (due := shop.board.next_due()) is not None}
            events += [due for due in dues.values() if due > self.clock.mono]
            moment = min(events, default=until)
            if moment > until:
                break
            self.clock.go_to(moment)
            turns = dict.fromkeys(self.broker.deliver_due())
            while self._ends and self._ends[0][0] <= self.clock.mono:
                shop = heapq.heappop(self._ends)[2]
                shop.bridge.finish()
                shop.supervisor.catch_up()
                shop.clear_bed()
                turns[shop] = None
            turns |= dict.fromkeys(shop for shop, due in dues.items() if due <= self.clock.mono)
            for shop in turns:
                self._turn(shop)
            if not events:
                break
        self.clock.go_to(until)

    def made(self) -> Counter[str]:
        """How often each job was finished."""
        return Counter(
            lease.job for shop in self.shops for lease in shop.leases(LeaseState.FINISHED, LeaseState.INSPECTED)
        )


def scheduler_goes(town: Town) -> None:
    town.scheduler(online=False)
    town.settle()
    town.go(PATIENCE_S)
    town.everybody()
    town.settle()
