"""The scheduler as one object: opened, started, stopped; in a program or in a test."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from scheduler.carbon import CURVES, read_curves
from scheduler.clock import Clock, SystemClock
from scheduler.config import Settings
from scheduler.dispatch.bell import Bell
from scheduler.dispatch.board import begin_epoch
from scheduler.dispatch.hearing import ask
from scheduler.dispatch.ingest import Ingest, Wire
from scheduler.dispatch.journal import Journals
from scheduler.dispatch.leadership import Leadership
from scheduler.dispatch.loop import Dispatcher
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.offers import Reach
from scheduler.dispatch.quoting import Planner
from scheduler.dispatch.rounds import Rounds
from scheduler.dispatch.timings import Timings
from scheduler.mqtt import BrokerLink, NoBroker
from scheduler.orders.composer import Composer, ComposerProcess
from scheduler.orders.making import Maker, ToolpathRoom, make
from scheduler.planning.process import PlannerProcess
from scheduler.planning.snapshot import PlanPolicy
from scheduler.store import Blobs, SteppedDown, Store, open_store, queries
from scheduler.store.outgoing import Courier, Outgoing
from scheduler.store.toolpath_files import ToolpathFiles

_log: Final = logging.getLogger(__name__)


class _NoWire:
    """Where no broker is: nothing leaves; the outbox keeps it."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Nothing to hand it to."""

    def hears(self) -> bool:
        """There is nobody to wait for."""
        return True

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        """Nothing was confirmed."""
        return 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What may be replaced when a scheduler is put together."""

    clock: Clock | None = None
    planner: Planner | None = None
    composer: Composer | None = None
    maker: Maker = make
    wire: Wire | None = None
    courier: Courier | None = None
    policy: PlanPolicy | None = None
    executor: Executor | None = None
    """Where toolpaths are made; processes of their own otherwise."""


class Scheduler:
    """Store, dispatch, toolpaths and broker link of one scheduler process. `start` and `stop` once each.

    Several processes may serve one database: one dispatches, the others stand by, answer questions and follow it.
    """

    def __init__(self, settings: Settings, parts: Parts | None = None) -> None:
        """Open the store and take the next term if it is free. Raises StoreTooNew, OperationalError or OSError."""
        self._parts = parts or Parts()
        self.settings = settings.checked()
        self.clock = self._parts.clock or SystemClock()
        settings.data.mkdir(parents=True, exist_ok=True)
        self.store: Store = open_store(settings.database_url)
        self.blobs = Blobs(settings.data / "blobs")
        self.sender = f"scheduler/{settings.scheduler}"
        self.bell = Bell()
        self.mover = Mover(sender=self.sender, limits=settings.limits)
        lease = settings.limits.leadership
        self.leadership = Leadership(self.store, self.clock, instance=settings.instance, url=settings.url, lease=lease)
        self.leadership.take()
        self.store.fence(self.leadership.guard)
        self.stopping = threading.Event()
        """Set when streams should end."""
        self._stack = ExitStack()
        self._assemble()

    @property
    def term(self) -> int:
        """The term this process dispatches in; 0 while it stands by."""
        return self.leadership.term

    def _assemble(self) -> None:
        """The parts that dispatch, anew for every term."""
        chosen, settings = self._parts, self.settings
        self.room = ToolpathRoom(
            self.store,
            self.blobs,
            self.clock,
            workers=settings.slicers,
            done=self.bell.news,
            maker=chosen.maker,
            executor=chosen.executor,
        )
        self.link: BrokerLink | None = self._link() if chosen.wire is None else None
        wire = chosen.wire or self.link or _NoWire()
        self.journals = Journals(self.mover, term=self.term)
        self.ingest = Ingest(self.store, self.journals, wire, self.clock, self.bell, sender=self.sender)
        self.planner: Planner = chosen.planner or PlannerProcess(settings.plan_budget_s)
        self.composer: Composer = chosen.composer or ComposerProcess()
        timings = Timings()
        rounds = Rounds(
            self.store,
            self.mover,
            self.planner,
            self.composer,
            self.room,
            policy=chosen.policy or PlanPolicy(),
            carbon=read_curves(settings.data / CURVES),
            timings=timings,
            news=self.bell.news,
        )
        reach = Reach(f"{settings.url}/api/v1/toolpaths", self.term)
        self.toolpath_files = ToolpathFiles(self.blobs)
        self.dispatcher = Dispatcher(
            self.store,
            self.mover,
            rounds,
            self.clock,
            self.bell,
            reach=reach,
            files=self.toolpath_files,
            timings=timings,
            hears=wire.hears,
        )
        self.outgoing = Outgoing(self.store, chosen.courier or self.link or _NoWire(), self.clock)

    def start(self) -> None:
        """Dispatch if this process holds the term, else stand by; follow from now on. Raises NoBroker."""
        if self.leadership.held:
            self._dispatch()
        else:
            _log.info("scheduler %s stands by", self.settings.instance)
        self.leadership.watch(self._follow, self._stack.close)

    def _dispatch(self) -> None:
        """Ask all agents what they hold, then begin."""
        with self.store.write() as c:
            now = self.clock.now()
            self.toolpath_files.mend(c, now)
            ask(c, (agent.id for agent in queries.agents(c)), self.sender, now)
        for part in (self.ingest, self.outgoing, self.dispatcher):
            part.start()
            self._stack.callback(part.stop)
        self._stack.callback(self.room.close)
        if isinstance(self.planner, PlannerProcess):
            self._stack.callback(self.planner.close)
        self._stack.callback(self.composer.close)
        if self.link is not None:
            self._stack.callback(self.link.stop)
            self.link.start()
        self.bell.news()
        _log.info("scheduler %s is up, term %d", self.settings.scheduler, self.term)

    def _follow(self) -> None:
        """The term came to this process while it stood by."""
        self._assemble()
        try:
            self._dispatch()
        except (NoBroker, SteppedDown, sa.exc.OperationalError) as error:
            _log.error("scheduler %s holds the term and cannot dispatch: %s", self.settings.instance, error)
            self._stack.close()
            self.leadership.release()

    def stop(self) -> None:
        """End what `start` began, let another follow, and close the database."""
        self.stopping.set()
        self.leadership.stop()
        self._stack.close()
        if self.leadership.held:
            with contextlib.suppress(sa.exc.OperationalError):
                self.leadership.release()
        self.store.close()

    def write(self, deed: Callable[[sa.Connection], object]) -> None:
        """One transaction of a person's request, then news for the dispatcher."""
        with self.store.write() as c:
            deed(c)
        self.bell.news()

    def _link(self) -> BrokerLink | None:
        if self.settings.broker is None:
            return None
        return BrokerLink(
            self.settings.broker,
            scheduler=self.settings.scheduler,
            term=self.term,
            http=self.settings.url,
            clock=self.clock,
            take=lambda message: self.ingest.take(message),
            came=lambda: self.bell.news(),
            lost=self.leadership.look,
            begin=self._begin_epoch,
        )

    def _begin_epoch(self, epoch: int) -> bool:
        """A connection to the broker is about to be made. False where that could not be written down."""
        try:
            with self.store.write() as c:
                begin_epoch(c, self.mover, epoch, self.clock.now())
        except (sa.exc.OperationalError, SteppedDown) as error:
            _log.error("no connection is made before it is written down: %s", error)
            return False
        self.bell.news()
        return True
