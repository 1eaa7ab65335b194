"""All that an agent does with the board, under one lock: seeing it, pulling from it, being a home, telling homes.

In: what comes over the line on the board's topics. Out: claims, grants, marks and the journals of homes' leases.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

from agents.board import OwnMachine, Puller
from agents.channels import Channel, channels, home_of, of_network
from agents.clock import Clock
from agents.config import AgentConfig
from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import RefusedMessage, decode, expect
from agents.effects import Effect
from agents.home import BookWritten, Deed, Home, Listen, Say
from agents.inbox import Inbox
from agents.inputs import Asked
from agents.policy import Policy
from agents.sight import BoardSight
from agents.spool import Spool, SpoolFull
from agents.teller import Teller
from agents.toolpaths import GivenUp, ToolpathStore, ToolpathUnavailable, ToolpathWrong

_log = logging.getLogger(__name__)

_TURN_S: Final = 0.1
_FETCH_TRIES: Final = 3


class Publisher(Protocol):
    """The line to the broker, as far as it is needed here."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        """Hand a message over."""

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Hear these too."""


class BoardRoom:
    """`heard` and `tick` are the core; `run` is the thread."""

    def __init__(
        self,
        config: AgentConfig,
        spool: Spool,
        store: ToolpathStore,
        clock: Clock,
        inbox: Inbox,
        *,
        line: Callable[[], Publisher | None],
        machines: Callable[[], tuple[OwnMachine, ...]],
        policy: Callable[[], Policy],
        tell: Callable[[str, Asked], None],
        effect: Callable[[Effect], None],
        journal_grew: Callable[[], None],
    ) -> None:
        me = f"{config.shop}/{config.agent}"
        self._config, self._spool, self._store, self._clock, self._inbox = config, spool, store, clock, inbox
        self._line, self._effect, self._journal_grew = line, effect, journal_grew
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._ending = threading.Event()
        self._tellers: dict[str, Teller] = {}
        self._asked_for: set[str] = set()
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="entrusted")
        self.sight = BoardSight()
        self.home = Home(me, spool, self.sight, clock, patience_s=config.board.patience_s, tell=spool.journal)
        self._puller = Puller(config, spool, self.sight, clock, machines=machines, policy=policy, tell=tell)
        self._to_me = {"to_shop": config.shop, "to_agent": config.agent}

    def subscriptions(self) -> tuple[str, ...]:
        """What must be heard for all this."""
        seen = (topics.BOARD.filter(), topics.HOME_BOARD.filter(), topics.SCHEDULER_PRESENCE.filter())
        return (*seen, topics.GRANTS.filter(**self._to_me), topics.HOME_JOURNAL.filter(**self._to_me))

    # --- the line -------------------------------------------------------------------------------------------------

    def line_up(self) -> None:
        """A new connection; what the broker keeps comes anew."""
        with self._lock:
            self.sight.line_up()
            for teller in self._tellers.values():
                teller.connected()
        self._news.set()

    def line_down(self) -> None:
        """Nothing seen counts any more, and nothing is granted."""
        with self._lock:
            self.sight.line_down()

    def heard(self, topic: str, payload: bytes, retained: bool) -> bool | None:
        """Take in a message of the board's topics; None for any other, False to have it sent again."""
        known = topics.identify(topic)
        if known is None or known[0].name not in _KINDS:
            return None
        kind, place = known
        try:
            with self._lock:
                self._carry_out(self._take(kind, place, payload, retained))
        except RefusedMessage as error:
            _log.warning("a message on %s was refused: %s", topic, error)
        except SpoolFull as error:
            _log.error("%s", error)
            return False
        return True

    def _take(self, kind: topics.Topic, place: dict[str, str], payload: bytes, retained: bool) -> tuple[Deed, ...]:
        envelope = decode(payload) if payload else None
        if kind is topics.BOARD:
            mark = None if envelope is None else expect(envelope, m.BoardMark)
            self.sight.saw_mark(place, mark, retained=retained)
            read = self.sight.marks.get(place["job"])
            return () if read is None else self.home.saw_mark(read)
        if kind is topics.HOME_BOARD:
            mark = None if envelope is None else expect(envelope, m.BoardMark)
            self.sight.saw_overlay(f"{place['shop']}/{place['agent']}", place["job"], mark)
            return ()
        if envelope is None:
            return ()
        if kind is topics.SCHEDULER_PRESENCE:
            self.sight.saw_scheduler(expect(envelope, m.SchedulerPresence), self._clock.monotonic())
            return ()
        if kind is topics.BOARD_CLAIMS:
            return self.home.claimed(expect(envelope, m.BoardClaim))
        speaker = f"{place['shop']}/{place['agent']}"
        if envelope.sender != f"agent/{speaker}":
            raise RefusedMessage(f"{envelope.sender!r} speaks on the topic of {speaker!r}")
        if kind is topics.HOME_JOURNAL:
            return self.home.told(speaker.replace("/", "."), envelope)
        for effect in self._inbox.receive_from_home(speaker, payload):
            self._effect(effect)
        return ()

    def book_asked(self, request: m.BookRequest) -> None:
        """A scheduler is back."""
        with self._lock:
            self._carry_out(self.home.book_asked(request))

    def _carry_out(self, deeds: tuple[Deed, ...]) -> None:
        line = self._line()
        for deed in deeds:
            match deed:
                case BookWritten():
                    self._journal_grew()
                case Say(topic, payload, retain) if line is not None:
                    line.publish(topic, payload, retain=retain)
                case Listen(wanted) if line is not None:
                    line.subscribe(wanted)
                case _:
                    pass

    # --- time -----------------------------------------------------------------------------------------------------

    def grew(self) -> None:
        """Something may have to be told to a home."""
        self._news.set()

    def tick(self) -> None:
        """One turn: be a home, pull, tell homes, fetch what jobs in care need."""
        with self._lock:
            self._carry_out(self.home.tick())
            if self._config.board.pull:
                self._carry_out(self._puller.tick())
            for name in channels(self._spool):
                if not of_network(name):
                    self._teller(name).pump()
            self._fetch_entrusted()

    def _teller(self, name: str) -> Teller:
        if name not in self._tellers:
            shop, _, agent = (home_of(name) or "").partition("/")
            where = {"shop": self._config.shop, "agent": self._config.agent, "to_shop": shop, "to_agent": agent}
            topic = topics.HOME_JOURNAL.of(**where)

            def send(payload: bytes) -> bool:
                line = self._line()
                return line is not None and line.publish(topic, payload)

            self._tellers[name] = Teller(Channel(self._spool, name), send, self._clock)
        return self._tellers[name]

    def _fetch_entrusted(self) -> None:
        """What the jobs in care need is here before their scheduler goes: this shop serves it to the others then."""
        for read in self.home.mine():
            for toolpath in read.mark.toolpaths:
                if toolpath.sha256 not in self._asked_for:
                    self._asked_for.add(toolpath.sha256)
                    if not self._store.has(toolpath.sha256):
                        self._fetcher.submit(self._fetch, toolpath)

    def find(self, sha256: str) -> Path | None:
        """The verified file of a toolpath that a job in care here names; None for any other."""
        with self._lock:
            named = {one.sha256 for read in self.home.mine() for one in read.mark.toolpaths}
            named |= {one.sha256 for charge in self.home.book.charges() for one in charge.mark.toolpaths}
        return self._store.path(sha256) if sha256 in named and self._store.has(sha256) else None

    def _fetch(self, toolpath: m.ToolpathRef) -> None:
        left = iter(range(_FETCH_TRIES))
        try:
            self._store.fetch(toolpath, lambda: next(left, None) is not None and not self._ending.is_set())
        except (ToolpathUnavailable, ToolpathWrong, GivenUp, OSError) as error:
            _log.warning("the toolpath %s of a job in care is not here yet: %s", toolpath.sha256[:12], error)
            self._asked_for.discard(toolpath.sha256)

    def run(self) -> None:
        """The thread."""
        while not self._ending.is_set():
            try:
                self.tick()
            except SpoolFull as error:
                _log.error("%s", error)
            self._news.wait(self._rest_s())
            self._news.clear()

    def _rest_s(self) -> float:
        with self._lock:
            away = any(not seen.online for seen in self.sight.schedulers.values())
        return _TURN_S if away else 10 * _TURN_S

    def next_due(self) -> float | None:
        """When a claim may be due next (monotonic seconds)."""
        return self._puller.next_due()

    def end(self) -> None:
        """Stop."""
        self._ending.set()
        self._news.set()
        self._fetcher.shutdown(wait=False, cancel_futures=True)

    def state(self) -> dict[str, Any]:
        """For the local page: who is away, what is in care here."""
        with self._lock:
            return {
                "schedulers": {
                    name: {"online": seen.online, "epoch": seen.epoch} for name, seen in self.sight.schedulers.items()
                },
                "in_care": {charge.job: charge.state.value for charge in self.home.book.charges()},
            }


_KINDS: Final = frozenset(
    topic.name
    for topic in (
        *(topics.BOARD, topics.HOME_BOARD, topics.BOARD_CLAIMS),
        *(topics.SCHEDULER_PRESENCE, topics.GRANTS, topics.HOME_JOURNAL),
    )
)
