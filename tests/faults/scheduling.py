"""The scheduler's side of a life: the real one, without threads, with named steps at every transaction."""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import sqlalchemy as sa

from agents.contract import decode, encode, wrap
from agents.contract import messages as m
from agents.contract.granting import epoch_of
from agents.contract.topics import JOURNAL, MACHINE, PRESENCE, SCHEDULER_PRESENCE
from agents.contract.vocabulary import JobState
from designs.processes.model import MadeToolpath
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.dispatch.backlog import Inbound
from scheduler.dispatch.hearing import ask
from scheduler.orders.composer import ComposerHere
from scheduler.orders.recipes import Recipe
from scheduler.store import queries
from tests.faults.post import Mail, PostOffice
from tests.faults.rules import NotKept
from tests.faults.shop import MOST_PAGES, SideClock, back_up
from tests.faults.steps import Steps
from tests.scheduler.line import AtOnce, first_fit

CLIENT: Final = "scheduler"
PRESENCE_TOPIC: Final = SCHEDULER_PRESENCE.of(scheduler="main")
_MARKED_SENT: Final = (
    "SELECT payload FROM outbox WHERE sent_at IS NOT NULL AND (expires_at IS NULL OR expires_at > sent_at)"
)
_MARKED: Final = "the outbox is marked sent"
_PRINT: Final = (
    "; {key}\nG21\nG90\nM104 S60\nG28\nG1 X10 Y10 Z0.3 F3000\nG1 X80 Y10\nG1 X80 Y80\nM104 S0\nM140 S0\nM107\n"
)
_CUT: Final = "; {key}\nG21\nG90\nM4 S0\nG0 X1 Y1\nG1 X40 Y1 S500 F1200\nG1 X40 Y30\nG1 X1 Y30\nM5\n"

_SHARED: Final[dict[str, sa.Engine]] = {}


def tiny_toolpath(recipe: Recipe, blobs: str) -> MadeToolpath:
    """A toolpath of some seconds that names its recipe, for a printer or a laser."""
    is_print = recipe.profile.dialect == "marlin"
    program = (_PRINT if is_print else _CUT).format(key=recipe.key + "x" * (len(recipe.pieces) % 3)).encode()
    return MadeToolpath(
        gcode=program,
        dialect=recipe.profile.dialect,
        made_by="tests 1",
        settings="plain",
        duration_s=60.0,
        lines=program.count(b"\n"),
        bounds_mm=(1, 1, 0, 80, 80, 0.3),
        material_g=5.0 if is_print else None,
        pieces=recipe.pieces[0].quantity,
    )


class SchedulerSide:
    """`scheduler` is None while its process is dead."""

    def __init__(self, folder: Path, office: PostOffice, steps: Steps, clock: SideClock, chance: random.Random) -> None:
        self._chance = chance
        office.subscribe(CLIENT, (), None)
        self.folder, self.office, self.steps, self.clock = folder, office, steps, clock
        self.scheduler: Scheduler | None = None
        self.paused = False
        self.full = False
        self.committing: list[Callable[[sa.Connection], None]] = []
        """Called with every transaction's connection just before its commit."""
        self.committed: list[Callable[[], None]] = []
        """Called after it."""
        self.standing = 0
        """The epoch of the connection that it believes to have; 0 while it knows of none."""
        self._doing = ""
        self._commits = self._connection = 0
        self._handed_over: set[bytes] = set()
        self._read_upto = 0

    # --- life and death -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start it on what is written, as `Scheduler.start` does but for the threads."""
        parts = Parts(
            clock=self.clock,
            planner=first_fit,
            composer=ComposerHere(),
            maker=tiny_toolpath,
            wire=self,
            courier=self,
            executor=AtOnce(),
        )
        migrated = (self.folder / "workshed.db").exists()
        quick = mock.patch("scheduler.store.database._migrate") if migrated else contextlib.nullcontext()
        with quick:
            scheduler = Scheduler(Settings(data=self.folder, broker=None), parts)
        _compile_once(scheduler.store.engine)
        self.scheduler, self.full, self.paused = scheduler, False, False
        self._connection = self.standing = 0
        scheduler.outgoing._again_later = lambda: None  # type: ignore[method-assign]
        self._watch_disk()
        with scheduler.store.write() as c:
            ask(c, (agent.id for agent in queries.agents(c)), scheduler.sender, self.clock.now())
            self._read_upto = c.exec_driver_sql("SELECT coalesce(max(id), 0) FROM job_events").scalar() or 0
        scheduler.store.write = self._with_steps(scheduler.store.write)  # type: ignore[method-assign]

    def read(self, deed: Callable[[sa.Connection], object]) -> None:
        """Let somebody read its database, if it is there."""
        if self.scheduler is not None:
            with self.scheduler.store.read() as c:
                deed(c)

    def kill(self) -> None:
        """kill -9; its connection to the broker breaks, and the broker says so."""
        scheduler, self.scheduler = self.scheduler, None
        self.office.gone(CLIENT, will=True, memory_lost=True)
        if scheduler is not None:
            scheduler.store.close()

    def copy(self, to: Path) -> None:
        """A backup of the database."""
        back_up(self.folder / "workshed.db", to)

    def restore(self, copy: Path) -> None:
        """Put an old copy in its place; the process must be dead."""
        for leftover in self.folder.glob("workshed.db*"):
            leftover.unlink()
        shutil.copy(copy, self.folder / "workshed.db")

    def blob(self, sha256: str) -> bytes | None:
        """Its HTTP server's answer for a toolpath; None when it does not answer."""
        if self.scheduler is None or self.paused:
            return None
        return self.scheduler.blobs.get(sha256)

    def _with_steps(self, write: Callable[[], Any]) -> Callable[[], Any]:
        @contextlib.contextmanager
        def stepped() -> Iterator[sa.Connection]:
            what = ""
            with write() as c:
                yield c
                what = self._written(c)
                for look in self.committing:
                    look(c)
                if what == _MARKED:
                    self._check_marks(c)
                if what:
                    self.steps.passed(f"scheduler: before {what}")
            self._commits += 1
            for note in self.committed:
                note()
            if what:
                self.steps.passed(f"scheduler: after {what}")

        return stepped

    def _written(self, c: sa.Connection) -> str:
        """What this transaction is, by the last line it added to the record."""
        last = c.exec_driver_sql("SELECT id, kind FROM job_events ORDER BY id DESC LIMIT 1").first()
        if last is not None and last[0] > self._read_upto:
            self._read_upto = last[0]
            return f"the commit of {last[1]}"
        return self._doing

    def _check_marks(self, c: sa.Connection) -> None:
        """Only what the broker took may be marked as sent."""
        for (payload,) in c.exec_driver_sql(_MARKED_SENT):
            if bytes(payload) not in self._handed_over:
                raise NotKept(f"a {kind_of(bytes(payload))} is marked as sent, and no broker has it")

    def _watch_disk(self) -> None:
        """A real full disk for SQLite: it may not grow by one page more while `full`."""
        assert self.scheduler is not None

        @sa.event.listens_for(self.scheduler.store.engine, "begin")
        def limit(connection: sa.Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if self.full else MOST_PAGES
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    # --- turns of its threads -----------------------------------------------------------------------------------------

    @property
    def works(self) -> bool:
        """Whether it is there and not stopped."""
        return self.scheduler is not None and not self.paused

    def turn(self) -> None:
        """Every thread gets its turn. Raises OperationalError when the disk is full."""
        scheduler = self.scheduler
        if scheduler is None or self.paused:
            return
        self._connect()
        self.hear()
        with scheduler.store.read() as c:
            waits = bool(queries.jobs(c, states=[JobState.WAITING]))
        if waits:
            scheduler.dispatcher.plan_now()
        else:
            scheduler.dispatcher.listen()
            scheduler.dispatcher._sweep(self.clock.now(), fresh=True)
        self._doing = _MARKED
        try:
            scheduler.outgoing.send_some()
        finally:
            self._doing = ""

    def _connect(self) -> None:
        """As `BrokerLink` does it: a new connection is a new epoch, and a client that remembers nothing."""
        session, scheduler = self.office.sessions[CLIENT], self.scheduler
        assert scheduler is not None
        if session.connected or (session.cut and session.silent):
            return
        self.standing = 0
        in_vain = session.cut or not self.office.up
        if in_vain and self._chance.random() < 0.7:
            return
        self._connection += 1
        epoch = epoch_of(scheduler.term, self._connection)
        if not scheduler._begin_epoch(epoch):
            return
        self._hold_back()
        if in_vain:
            return
        session.unsent.clear()
        heard = tuple(topic.filter() for topic in (PRESENCE, MACHINE, JOURNAL))
        self.office.subscribe(CLIENT, heard, (PRESENCE_TOPIC, self._presence(epoch, online=False)))
        if self.office.connect(CLIENT):
            self.standing = epoch
            self.office.publish(CLIENT, PRESENCE_TOPIC, self._presence(epoch, online=True), retain=True)

    def _hold_back(self) -> None:
        """What the beginning of an epoch takes out of the outbox never goes out, and is marked like what did."""
        self.read(lambda c: self._handed_over.update(bytes(row[0]) for row in c.exec_driver_sql(_MARKED_SENT)))

    def _presence(self, epoch: int, *, online: bool) -> bytes:
        assert self.scheduler is not None
        said = m.SchedulerPresence(scheduler="main", online=online, term=self.scheduler.term, epoch=epoch)
        return encode(wrap(said, sender=self.scheduler.sender, now=self.clock.now()))

    def hear(self) -> None:
        """Commit what the broker has, as one batch or one message at a time."""
        scheduler = self.scheduler
        if scheduler is None or self.paused:
            return
        found = [
            Inbound(message[0], message[1], settle=functools.partial(self._settled, message, self._commits))
            for message in self.office.arrived(CLIENT, self.clock.elapsed_s)
        ]
        size = len(found) if self._chance.random() < 0.5 else 1
        for start in range(0, len(found), max(1, size)):
            scheduler.ingest.commit(found[start : start + size])

    def _settled(self, message: Mail, commits: int) -> None:
        if self._commits == commits:
            raise NotKept(f"a {kind_of(message[1])} was confirmed to the broker before anything of it was committed")
        self.office.settle(CLIENT, message)

    # --- the broker's client ------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Wire."""
        self.office.publish(CLIENT, topic, payload, retain=retain)

    def hears(self) -> bool:
        """Wire."""
        return self.standing > 0

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        """Courier. Over a line that is dead and not known to be, nothing is confirmed."""
        if self.office.sessions[CLIENT].silent:
            return 0
        for number, (topic, payload, retain) in enumerate(messages):
            if not self.office.publish(CLIENT, topic, payload, retain=retain):
                return number
            self._handed_over.add(payload)
        return len(messages)


def _compile_once(engine: sa.Engine) -> None:
    """Every new engine would compile every statement anew, which takes most of a life: all lives share the first's."""
    shared = _SHARED.setdefault("engine", engine)
    engine.dialect, engine._compiled_cache = shared.dialect, shared._compiled_cache


def kind_of(payload: bytes) -> str:
    """What an encoded message is; a retained one that is taken back has no bytes."""
    return type(decode(payload).body).__name__ if payload else "nothing more"
