"""Everything agents say, in batches: one transaction, then the acknowledgements. It waits for no plan and no slicer.

A message is confirmed to the broker only after its commit. When the disk is full the batch is kept and tried again;
nothing is confirmed meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import sqlalchemy as sa

from agents.contract import PREFIX, RefusedMessage, decode, encode, expect, identify, wrap
from agents.contract import messages as m
from agents.contract.topics import INBOX, JOURNAL, MACHINE, PRESENCE
from scheduler.clock import Clock
from scheduler.dispatch.bell import Bell
from scheduler.dispatch.journal import Entry, Journals, read_entry
from scheduler.shops.reports import know_agents, machine_reports, presence
from scheduler.store import Store
from scheduler.store.record import post

_log: Final = logging.getLogger(__name__)
_MOST_IN_A_BATCH: Final = 500
_RETRY_S: Final = 1.0
#: Agents' topics are subscribed with wildcards, which our own presence matches too.
_OURS: Final = f"{PREFIX}/scheduler/"


class Wire(Protocol):
    """How messages leave; the broker's client, or a test's."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message over; delivery is confirmed, if at all, elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message as it came; `settle` confirms it to the broker."""

    topic: str
    payload: bytes
    settle: Callable[[], None]


@dataclass(slots=True)
class _Sorted:
    """A batch taken apart."""

    agents: set[str]
    presences: dict[str, m.AgentPresence]
    reports: dict[tuple[str, str], m.MachineReport]
    entries: list[Entry]


class Ingest:
    """Takes messages from any thread; a thread of its own commits them and acknowledges."""

    def __init__(self, store: Store, journals: Journals, wire: Wire, clock: Clock, bell: Bell, *, sender: str) -> None:
        self._store, self._journals, self._wire, self._clock, self._sender = store, journals, wire, clock, sender
        self._queue: queue.SimpleQueue[Inbound | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._stopping = threading.Event()
        self._bell = bell
        self.received = 0
        self.refused = 0

    def start(self) -> None:
        """Begin to commit what `take` is given."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what came so far, then end."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def take(self, message: Inbound) -> None:
        """Accept one message; returns at once."""
        self._queue.put(message)

    def _run(self) -> None:
        while True:
            batch, last = self._gather()
            while batch:
                try:
                    self.commit(batch)
                    break
                except sa.exc.OperationalError as error:
                    _log.error("messages of agents wait: the database does not take them: %s", error.orig)
                    if self._stopping.wait(_RETRY_S):
                        return
            if last:
                return

    def _gather(self) -> tuple[list[Inbound], bool]:
        batch: list[Inbound] = []
        message = self._queue.get()
        while message is not None:
            batch.append(message)
            if len(batch) >= _MOST_IN_A_BATCH:
                return batch, False
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def commit(self, batch: Sequence[Inbound]) -> None:
        """One transaction for all of `batch`, then confirm and acknowledge. Raises OperationalError, nothing done."""
        began = time.perf_counter()
        now = self._clock.now()
        found = self._sort(batch)
        changed = bool(found.entries)
        with self._store.write() as c:
            know_agents(c, found.agents, now)
            for agent, said in found.presences.items():
                changed = True
                if presence(c, agent, said, now):
                    post(c, agent, m.ReconcileRequest(why="the agent came"), now, sender=self._sender)
            changed = machine_reports(c, found.reports, now) or changed
            acknowledgements = self._journals.apply(c, found.entries, now) if found.entries else {}
        for message in batch:
            message.settle()
        for agent, ack in acknowledgements.items():
            shop, _, name = agent.partition(".")
            envelope = wrap(ack, sender=self._sender, now=now)
            self._wire.publish(INBOX.of(shop=shop, agent=name), encode(envelope))
        self.received += len(batch)
        _log.debug("committed %d messages in %.1f ms", len(batch), 1000 * (time.perf_counter() - began))
        if changed:
            self._bell.news()

    def _sort(self, batch: Sequence[Inbound]) -> _Sorted:
        found = _Sorted(set(), {}, {}, [])
        for message in batch:
            try:
                if not message.topic.startswith(_OURS):
                    _place(found, message)
            except RefusedMessage as error:
                self.refused += 1
                _log.warning("a message on %s was refused: %s", message.topic, error)
        return found


def _place(found: _Sorted, message: Inbound) -> None:
    known = identify(message.topic)
    if known is None:
        raise RefusedMessage("no topic of the contract")
    topic, names = known
    if topic not in (PRESENCE, MACHINE, JOURNAL):
        raise RefusedMessage(f"the scheduler does not read {topic.name}")
    agent = f"{names['shop']}.{names['agent']}"
    if topic is JOURNAL:
        found.entries.append(read_entry(agent, f"agent/{names['shop']}/{names['agent']}", message.payload))
    elif topic is PRESENCE:
        said = expect(decode(message.payload), m.AgentPresence)
        found.presences[agent] = said
    else:
        report = expect(decode(message.payload), m.MachineReport)
        if report.description.machine != names["machine"]:
            raise RefusedMessage(f"a report of {report.description.machine} on the topic of {names['machine']}")
        found.reports[agent, names["machine"]] = report
    found.agents.add(agent)
