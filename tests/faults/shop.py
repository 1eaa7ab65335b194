"""A shop: the real agent on its real spool, without threads, over benches and the broker in memory.

It can be killed at any named step, started on what it had written (or on an older copy of that), paused, cut off and
given a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import msgspec

from agents import agent as agents_agent
from agents.agent import Agent
from agents.config import BoardSettings, CacheSettings, MachineSettings, MqttSettings
from agents.contract import messages as m
from agents.contract.topics import GRANTS
from agents.contract.vocabulary import Process
from agents.hands import Hands
from agents.home_book import Granted
from agents.mqtt import MqttLine
from agents.policy import Policy
from agents.spool import Lease, Spool
from firmware_bridges.bridge import BridgeError
from firmware_bridges.wire_bridge import WireBridge
from tests.agents.scene import machine_settings, shop_config
from tests.faults.bench import Bench
from tests.faults.post import PostOffice
from tests.faults.shop_rules import ShopBooks
from tests.faults.steps import Steps

_log: Final = logging.getLogger(__name__)
MOST_PAGES: Final = 1_073_741_823


class Killed(BaseException):
    """The process was killed here; nothing of it runs any further."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who


class Later(BaseException):
    """The agent would wait here for real time to pass."""


class World:
    """True time since a life began."""

    elapsed_s = 0.0


class SideClock:
    """One side's clocks: a wall clock that can be wrong, and seconds that never go back."""

    def __init__(self, start: datetime, world: World) -> None:
        self._start, self._world, self.wrong_by = start, world, timedelta()

    @property
    def elapsed_s(self) -> float:
        return self._world.elapsed_s

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed_s) + self.wrong_by

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed_s


@dataclass(frozen=True)
class Deeds:
    """Who is told of what a spool has on its disk."""

    made: Callable[[m.Finished], None]
    lent: Callable[[str, Granted], None]
    """(home, its own lease as it is now)."""


class SpoolWithSteps(Spool):
    """The real spool; every outermost transaction is two steps, named by the last thing written in it."""

    def __init__(self, steps: Steps, path: Path, *, sender: str, deeds: Deeds, books: ShopBooks) -> None:
        self._steps, self._noted, self.is_full, self._deeds, self._books = steps, "", False, deeds, books
        self._just_made: list[m.Finished] = []
        self._just_lent: list[Granted] = []
        self._home = sender.removeprefix("agent/").replace("/", ".")
        super().__init__(path, sender=sender)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        if self._depth:
            with super().transaction():
                yield
            return
        self._noted = ""
        self._just_made.clear()
        self._just_lent.clear()
        if self.is_full:
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            self._db.execute(f"PRAGMA max_page_count = {pages}")
        with super().transaction():
            yield
            noted = self._noted
            if noted:
                self._steps.passed(f"agent: before the commit of {noted}")
        for granted in self._just_lent:
            self._deeds.lent(self._home, granted)
        for finished in self._just_made:
            self._deeds.made(finished)
        if noted:
            self._steps.passed(f"agent: after the commit of {noted}")

    def has_room(self) -> None:
        """The disk has room again."""
        self.is_full = False
        self._db.execute(f"PRAGMA max_page_count = {MOST_PAGES}")

    def journal(self, body: Any, now: datetime, *, traceparent: str = "") -> int:
        self._books.journalled(body)
        seq = super().journal(body, now, traceparent=traceparent)
        self._noted = type(body).__name__
        if isinstance(body, m.Finished):
            self._just_made.append(body)
        return seq

    def write(self, sql: str, *values: object) -> None:
        super().write(sql, *values)
        if "INTO home_leases" in sql:
            granted = msgspec.json.decode(cast("bytes", values[3]), type=Granted)
            self._just_lent.append(granted)
            if not granted.lease.ended:
                self._noted = "a home's permission" if granted.lease.committed else "a home's grant"

    def put_lease(self, lease: Lease) -> None:
        if not self._noted or self._noted.startswith("lease"):
            self._noted = f"lease {lease.state}"
        super().put_lease(lease)


class _Half:
    """What an HTTP server answers, whole or broken off in the middle."""

    def __init__(self, data: bytes, status: int, breaks: bool, full: Callable[[], bool]) -> None:
        self._left, self.status, self._breaks, self._full = data, status, breaks, full

    def __enter__(self) -> _Half:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read1(self, most: int) -> bytes:
        if self._full():
            raise OSError(errno.ENOSPC, "No space left on device")
        size = min(most, max(1, len(self._left) // 2)) if self._breaks else most
        data, self._left = self._left[:size], self._left[size:]
        if self._breaks and not data:
            raise ConnectionResetError("the connection was reset")
        return data


class _Impatient:
    """An event nobody sets, that does not wait."""

    def is_set(self) -> bool:
        return False

    def set(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        raise Later


class _Line:
    """The agent's line to the broker in memory."""

    protocol = "5"

    def __init__(self, office: PostOffice, client: str) -> None:
        self._office, self._client = office, client

    @property
    def is_up(self) -> bool:
        session = self._office.sessions[self._client]
        return self._office.up and (session.silent if session.cut else session.connected)

    def subscribe(self, wanted: tuple[str, ...]) -> None:
        self._office.subscribe_also(self._client, wanted)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        return self._office.publish(self._client, topic, payload, retain=retain)


def damaged(program: bytes) -> bytes:
    """As long as before, and the machine would take it: only the part would be another."""
    return program.replace(b" Y", b"0Y", 1)


def back_up(database: Path, to: Path) -> None:
    """As `sqlite3 database ".backup to"` does it, beside whoever writes."""
    with (
        contextlib.closing(sqlite3.connect(database)) as source,
        contextlib.closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)


def settings_of(name: str, process: Process) -> MachineSettings:
    """A machine as the shop's file would declare it."""
    made = machine_settings(name, process)
    loaded = (
        m.LoadedMaterial(material="PLA", remaining_g=900.0)
        if process is Process.FDM
        else m.LoadedMaterial(material="MDF")
    )
    described = replace_struct(made.description, materials=(loaded,), model="plain")
    return replace(made, description=described, requires_homing=False)


def replace_struct(value: Any, **changes: Any) -> Any:
    """A message with other fields."""
    from msgspec import structs

    return structs.replace(value, **changes)


class Shop:
    """See the module. `agent` is None while its process is dead."""

    def __init__(
        self,
        name: str,
        folder: Path,
        benches: dict[str, Bench],
        office: PostOffice,
        steps: Steps,
        clock: SideClock,
        blob: Callable[[str], bytes | None],
        deeds: Deeds,
    ) -> None:
        self.name, self.folder, self.benches, self.office = name, folder, benches, office
        self.steps, self.clock, self._blob, self._deeds = steps, clock, blob, deeds
        machines = tuple(settings_of(machine, bench.process) for machine, bench in benches.items())
        base = shop_config(folder, *machines, mqtt=MqttSettings(host="broker.invalid"))
        self.id = f"{name}.pi"
        http = replace(base.http, public_url=f"http://{self.id}")
        self.config = replace(base, shop=name, agent="pi", http=http, board=BoardSettings(volunteers=True))
        self.agent: Agent | None = None
        self.hands: Hands | None = None
        self.paused = False
        self.disk_full = False
        self.cache_full = False
        self.damage_on_the_way = False
        self.books = ShopBooks(name)
        self._line_up = False
        self._to_fetch: list[Callable[[], None]] = []

    @property
    def lives(self) -> bool:
        """Whether its process is there."""
        return self.agent is not None

    # --- life and death -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the process on what the spool holds. Raises Killed."""

        def spool(path: Path, *, sender: str) -> Spool:
            return SpoolWithSteps(self.steps, path, sender=sender, deeds=self._deeds, books=self.books)

        with mock.patch.object(agents_agent, "Spool", spool):
            agent = Agent(self.config, self._open_bridge, clock=self.clock)
        self._to_fetch.clear()
        agent._fetchers = cast("Any", self)
        agent.board._fetcher = cast("Any", self)
        self._line_up = False
        agent.store._ending = cast("Any", _Impatient())
        agent.store._opener = cast("Any", self)
        agent.line = cast("MqttLine", _Line(self.office, self.id))
        self.agent, self.hands = agent, Hands(agent)
        self.open_to_others(not self.books.closed)
        line = agent._line()
        self.office.subscribe(self.id, line.subscriptions, (line.will_topic, line.will))

    def _open_bridge(self, config: Any) -> WireBridge:
        name = next(
            m.name for m in self.config.machines if config.option("checkpoint_file").endswith(f"{m.name}.checkpoint")
        )
        return self.benches[name].open_bridge(config)

    def kill(self) -> None:
        """kill -9: the process ends where it is; its port and its connection are closed by the system."""
        agent, self.agent, self.hands = self.agent, None, None
        if agent is not None:
            agent.spool._db.close()
        self.office.gone(self.id, will=True, memory_lost=True)
        for bench in self.benches.values():
            bench.must_rearm = bench.must_rearm or bench.busy
            bench.abandoned()

    def copy_spool(self, to: Path) -> bool:
        """A backup, as `sqlite3 .backup` makes one."""
        if self.agent is None:
            return False
        back_up(self.folder / "agent.sqlite", to)
        return True

    def restore(self, copy: Path) -> None:
        """Put an old copy in the spool's place; the process must be dead."""
        for leftover in self.folder.glob("agent.sqlite*"):
            leftover.unlink()
        shutil.copy(copy, self.folder / "agent.sqlite")
        self.books.forget()

    def open_to_others(self, is_open: bool) -> None:
        """The owner says whether others' work is welcome."""
        self.books.closed = not is_open
        if self.agent is not None:
            self.agent.policy_file._policy = Policy(pool=is_open)

    def damage_cache(self) -> None:
        """Toolpaths on the card are no longer what was written."""
        for path in (self.folder / "toolpaths").glob("*.gcode"):
            path.write_bytes(damaged(path.read_bytes()))

    def fill_disk(self) -> None:
        """Not one page more."""
        self.disk_full = True
        if self.agent is not None:
            cast("SpoolWithSteps", self.agent.spool).is_full = True

    def empty_disk(self) -> None:
        """Room again."""
        self.disk_full = False
        if self.agent is not None:
            cast("SpoolWithSteps", self.agent.spool).has_room()

    # --- turns of its threads -----------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Every thread of the agent gets its turn."""
        agent = self.agent
        if agent is None or self.paused:
            return
        agent.store._settings = replace(CacheSettings(), space_bytes=10) if self.cache_full else CacheSettings()
        for supervisor in agent.supervisors.values():
            if supervisor.bridge.status().identity is None:
                with contextlib.suppress(BridgeError):
                    agent._connect(supervisor)
            supervisor.catch_up()
        waiting, self._to_fetch = self._to_fetch, []
        for fetch in waiting:
            self._try(fetch)
        assert agent.line is not None
        if self._line_up and not agent.line.is_up:
            agent._line().lost("the line is dead")
        if self.office.connect(self.id):
            agent._connected()
        self._line_up = agent.line.is_up
        agent.board.tick()
        for supervisor in agent.supervisors.values():
            supervisor.catch_up()
        while agent.teller.pump() == 0.0:
            pass

    def hear(self) -> None:
        """Take in what the broker has for it."""
        agent = self.agent
        if agent is None or self.paused:
            return
        for message in self.office.arrived(self.id, self.clock.elapsed_s):
            topic, payload, retained = message
            last_seq = agent.spool.last_seq
            taken = agent.board.heard(topic, payload, retained)
            if not (agent._received(topic, payload) if taken is None else taken):
                break
            if taken is None or GRANTS.match(topic) is not None:
                self.books.heard(payload, agent.spool, last_seq)
            self.office.settle(self.id, message)
        for supervisor in agent.supervisors.values():
            supervisor.catch_up()

    def serve(self, sha256: str) -> bytes | None:
        """Its page's answer for a toolpath of a job in its care; None when it does not answer, or knows none."""
        if self.agent is None or self.paused or self.office.sessions[self.id].cut:
            return None
        path = self.agent.board.find(sha256)
        return None if path is None else path.read_bytes()

    def watch(self) -> None:
        """One look of the watch."""
        if self.agent is not None and not self.paused:
            self.agent.watch.look()

    # --- in place of the fetching threads and the HTTP client ---------------------------------------------------------

    def submit(self, work: Callable[[Lease], None], lease: Lease) -> None:
        """The executor's part."""
        self._to_fetch.append(lambda: work(lease))

    def _try(self, fetch: Callable[[], None]) -> None:
        try:
            fetch()
        except Later:
            self._to_fetch.append(fetch)

    def open(self, request: urllib.request.Request, timeout: float) -> _Half:
        """The opener's part: the scheduler's blobs, or those of a job's home, over the same line as everything."""
        session = self.office.sessions[self.id]
        sha256 = request.full_url.rpartition("/")[2]
        data = None if session.cut else self._blob(request.full_url)
        if data is None:
            raise urllib.error.URLError("no route to host")
        if self.damage_on_the_way:
            data = damaged(data)
        begin = int((request.get_header("Range") or "bytes=0-")[6:-1])
        breaks = begin == 0 and sha256[0] in "01234567"
        if breaks:
            self.steps.passed("agent: the toolpath is half fetched")
        return _Half(data[begin:], 206 if begin else 200, breaks, lambda: self.disk_full)
