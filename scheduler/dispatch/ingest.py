"""Everything agents say, in batches: one transaction, then the acknowledgements. It waits for no plan and no slicer.

A message is confirmed to the broker only after its commit. When the disk is full the batch is kept and tried again;
nothing is confirmed meanwhile. What nobody can commit is refused alone: the good ones beside it are not lost with it.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import sqlalchemy as sa

from agents.contract import PREFIX, RefusedMessage, decode, encode, expect, identify, wrap
from agents.contract import messages as m
from agents.contract.topics import INBOX, JOURNAL, MACHINE, PRESENCE
from scheduler.clock import Clock
from scheduler.dispatch.backlog import Backlog, Inbound
from scheduler.dispatch.bell import Bell
from scheduler.dispatch.bounds import check_report, out_of_bounds
from scheduler.dispatch.entries import Entry, read_entry, sender_of
from scheduler.dispatch.journal import Journals
from scheduler.shops.reports import Arrival, know_agents, machine_reports, machines_removed, presence
from scheduler.store import SteppedDown, Store
from scheduler.store.record import post

_log: Final = logging.getLogger(__name__)
_RETRY_S: Final = 1.0
#: An agent that only told how far its machines are is answered this late: one answer for many messages. It repeats
#: what nobody answered after some seconds only, and nothing of it waits for the answer.
_LATER_S: Final = 0.25
#: Agents' topics are subscribed with wildcards, which our own presence matches too.
_OURS: Final = f"{PREFIX}/scheduler/"
_TOPICS_REMEMBERED: Final = 8_192


class Wire(Protocol):
    """How messages leave; the broker's client, or a test's."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message over; delivery is confirmed, if at all, elsewhere."""
        ...

    def hears(self) -> bool:
        """Whether what others say can arrive at this moment, as far as it knows."""
        ...


@dataclass(slots=True)
class _Sorted:
    """A batch taken apart."""

    agents: set[str] = field(default_factory=set)
    presences: dict[str, list[m.AgentPresence]] = field(default_factory=dict)
    """In the order in which they came."""
    reports: dict[tuple[str, str], m.MachineReport] = field(default_factory=dict)
    removed: set[tuple[str, str]] = field(default_factory=set)
    """Machines whose kept report was taken back."""
    entries: list[Entry] = field(default_factory=list)

    @property
    def prompt(self) -> set[str]:
        """Agents that said more than how far their machines are."""
        return {entry.agent for entry in self.entries if not isinstance(entry.body, m.Progressed)}


class Ingest:
    """Takes messages from any thread; a thread of its own commits them and acknowledges."""

    def __init__(self, store: Store, journals: Journals, wire: Wire, clock: Clock, bell: Bell, *, sender: str) -> None:
        self._store, self._journals, self._wire, self._clock, self._sender = store, journals, wire, clock, sender
        self._backlog = Backlog()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._stopping = threading.Event()
        self._bell = bell
        self._identify = functools.lru_cache(_TOPICS_REMEMBERED)(identify)
        self._owed: dict[str, m.JournalAck] = {}
        self._known: set[str] = set()
        self.received = 0
        self.refused = 0

    def start(self) -> None:
        """Begin to commit what `take` is given."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what came so far, then end."""
        self._stopping.set()
        self._backlog.close()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def take(self, message: Inbound) -> None:
        """Accept one message; returns at once."""
        self._backlog.put(message)

    def _run(self) -> None:
        answered = time.monotonic()
        while True:
            batch = self._backlog.batch(_LATER_S if self._owed else None)
            if batch is None:
                self._answer(set(self._owed))
                return
            if batch and not self._commit_until_done(batch):
                return
            if time.monotonic() - answered >= _LATER_S:
                self._answer(set(self._owed))
                answered = time.monotonic()

    def _commit_until_done(self, batch: Sequence[Inbound]) -> bool:
        """Whether it was committed; not, when this scheduler ends or stepped down before the database took it."""
        while True:
            try:
                self._answer(self._commit_each(batch))
            except sa.exc.DBAPIError as error:
                _log.error("messages of agents wait: the database does not take them: %s", error.orig)
                if self._stopping.wait(_RETRY_S):
                    return False
            except SteppedDown as error:
                _log.warning("messages of agents are left to another: %s", error)
                return False
            else:
                return True

    def commit(self, batch: Sequence[Inbound]) -> None:
        """Commit, confirm and acknowledge all of `batch` now. Raises DBAPIError, nothing done."""
        self._answer(self._commit_each(batch) | set(self._owed))

    def _commit_each(self, batch: Sequence[Inbound]) -> set[str]:
        """One transaction for all; where one message makes it impossible, that one alone is refused.

        Returns the agents that wait for an answer.
        """
        found = self._sort(batch)
        try:
            return self._commit(batch, found)
        except SteppedDown:
            raise
        except Exception as error:
            # No bytes of one agent may cost another agent its words.
            if isinstance(error, sa.exc.DBAPIError) and not isinstance(error, _OF_THE_MESSAGE):
                raise
            if len(batch) > 1:
                _log.error("%d messages cannot be committed together, in halves then: %.500s", len(batch), error)
                half = len(batch) // 2
                return self._commit_each(batch[:half]) | self._commit_each(batch[half:])
            self.refused += 1
            _log.exception("a message on %s could not be committed", batch[0].topic)
            refused = [replace(entry, body=None, refused=_IMPOSSIBLE) for entry in found.entries]
            return self._commit(batch, _Sorted({entry.agent for entry in refused}, entries=refused))

    def _commit(self, batch: Sequence[Inbound], found: _Sorted) -> set[str]:
        began = time.perf_counter()
        now = self._clock.now()
        prompt = found.prompt
        changed = bool(prompt)
        with self._store.write() as c:
            heard_elsewhere = found.presences.keys() | {agent for agent, _ in (*found.reports, *found.removed)}
            new = heard_elsewhere | (found.agents - self._known)
            if new:
                know_agents(c, new, now)
            for agent, words in found.presences.items():
                arrivals = {presence(c, agent, said, now) for said in words} - {Arrival.NOTHING}
                changed = changed or bool(arrivals)
                if Arrival.CAME in arrivals:
                    post(c, agent, m.ReconcileRequest(why="the agent came"), now, sender=self._sender)
            changed = machine_reports(c, found.reports, now) or changed
            changed = machines_removed(c, found.removed, now) or changed
            acknowledgements = self._journals.apply(c, found.entries, now) if found.entries else {}
        for message in batch:
            message.settle()
        self._known |= found.agents
        self._owed |= acknowledgements
        self.received += len(batch)
        _log.debug("committed %d messages in %.1f ms", len(batch), 1000 * (time.perf_counter() - began))
        if changed:
            self._bell.news()
        return prompt

    def _answer(self, agents: set[str]) -> None:
        """Acknowledge to these what is committed, as far as it is owed."""
        owed: Mapping[str, m.JournalAck] = {agent: self._owed.pop(agent) for agent in agents if agent in self._owed}
        for agent, ack in owed.items():
            shop, _, name = agent.partition(".")
            envelope = wrap(ack, sender=self._sender, now=self._clock.now())
            self._wire.publish(INBOX.of(shop=shop, agent=name), encode(envelope))

    def _sort(self, batch: Sequence[Inbound]) -> _Sorted:
        found = _Sorted()
        for message in batch:
            try:
                if not message.topic.startswith(_OURS):
                    self._place(found, message)
            except RefusedMessage as error:
                self.refused += 1
                _log.warning("a message on %.200s was refused: %.500s", message.topic, error)
        return found

    def _place(self, found: _Sorted, message: Inbound) -> None:
        known = self._identify(message.topic)
        if known is None:
            raise RefusedMessage("no topic of the contract")
        topic, names = known
        if topic not in (PRESENCE, MACHINE, JOURNAL):
            raise RefusedMessage(f"the scheduler does not read {topic.name}")
        agent = f"{names['shop']}.{names['agent']}"
        if topic is JOURNAL:
            found.entries.append(read_entry(agent, sender_of(agent), message.payload))
        elif topic is PRESENCE:
            said = expect(decode(message.payload), m.AgentPresence)
            why = out_of_bounds(said)
            if why:
                raise RefusedMessage(why)
            found.presences.setdefault(agent, []).append(said)
        elif not message.payload:
            found.reports.pop((agent, names["machine"]), None)
            found.removed.add((agent, names["machine"]))
        else:
            report = expect(decode(message.payload), m.MachineReport)
            check_report(report, **names)
            found.reports[agent, names["machine"]] = report
            found.removed.discard((agent, names["machine"]))
        found.agents.add(agent)


#: What the database says against one message; everything else it says is about itself.
_OF_THE_MESSAGE: Final = (sa.exc.DataError, sa.exc.IntegrityError)
_IMPOSSIBLE: Final = "this scheduler could not keep it"
