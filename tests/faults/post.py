"""A broker in memory with persistent sessions at QoS 1: what is not acknowledged stays, and everything can go wrong.

But for what a retained topic of the board, or a scheduler's presence, says: its words reach a client in the order in
which the broker took them (MQTT 3.1.1, section 4.6), and the right to grant rests on that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agents.contract import topics

#: (topic, payload, whether it is the broker's kept copy), on its way to a client.
Mail = tuple[str, bytes, bool]
_IN_ORDER: Final = (topics.BOARD, topics.HOME_BOARD, topics.SCHEDULER_PRESENCE)


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT's rule (3.1.1, section 4.7): `+` is one level, a last `#` is all the rest."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)


def stays_in_order(topic: str) -> bool:
    """Whether a client hears the words of this topic as they were said."""
    return any(kind.match(topic) is not None for kind in _IN_ORDER)


@dataclass
class Session:
    """One client's: its subscriptions, what waits for it, and whether it is connected."""

    subscriptions: tuple[str, ...]
    connected: bool = False
    cut: bool = False
    """No byte passes; the client learns of it when `silent` ends."""
    silent: bool = False
    queue: list[Mail] = field(default_factory=list)
    unsent: list[tuple[str, bytes, bool]] = field(default_factory=list)
    """In the client's own memory: said while the line was dead and nobody had noticed."""
    will: tuple[str, bytes] | None = None
    held_until: float = 0.0
    """Messages are on their way until then (delay)."""


class PostOffice:
    """See the module. Named clients; `published` is told of every message that reaches the broker."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.up = True
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, bytes] = {}
        self.published: Callable[[str, bytes], None] = lambda topic, payload: None

    def subscribe(self, client: str, subscriptions: tuple[str, ...], will: tuple[str, bytes] | None) -> None:
        """A client says who it is; its session may be there already."""
        session = self.sessions.setdefault(client, Session(subscriptions))
        session.subscriptions = tuple(dict.fromkeys((*session.subscriptions, *subscriptions)))
        session.will = will

    def subscribe_also(self, client: str, wanted: tuple[str, ...]) -> None:
        """A client that is connected subscribes to these too, or once more; what is retained there comes (again)."""
        session = self.sessions[client]
        if not self.up or session.cut or not session.connected:
            return
        session.subscriptions = tuple(dict.fromkeys((*session.subscriptions, *wanted)))
        self._say_kept(session, wanted)

    def _say_kept(self, session: Session, wanted: tuple[str, ...]) -> None:
        for topic, payload in self.retained.items():
            if any(matches(each, topic) for each in wanted):
                session.queue.append((topic, payload, True))

    def connect(self, client: str) -> bool:
        """Connect if that is possible now; retained messages come anew. True if it was not connected before."""
        session = self.sessions[client]
        if not self.up or session.cut or session.connected:
            return False
        session.connected = True
        self._say_kept(session, session.subscriptions)
        for topic, payload, retain in session.unsent:
            self._route(topic, payload, retain)
        session.unsent.clear()
        return True

    def gone(self, client: str, *, will: bool, memory_lost: bool) -> None:
        """A connection broke. The broker speaks its will where it noticed; a dead process forgets its own memory."""
        session = self.sessions[client]
        if session.connected and will and session.will is not None and self.up:
            self._route(*session.will, True)
        session.connected = False
        if memory_lost:
            session.unsent.clear()

    def publish(self, client: str, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand over a message; False when the client knows that it cannot."""
        session = self.sessions[client]
        if session.cut and session.silent:
            session.unsent.append((topic, payload, retain))
            return True
        if not self.up or session.cut or not session.connected:
            return False
        self._route(topic, payload, retain)
        return True

    def _route(self, topic: str, payload: bytes, retain: bool) -> None:
        if retain:
            self.retained.pop(topic, None)
            if payload:
                self.retained[topic] = payload
        for session in self.sessions.values():
            if any(matches(wanted, topic) for wanted in session.subscriptions):
                session.queue.append((topic, payload, False))
        self.published(topic, payload)

    def arrived(self, client: str, now: float) -> list[Mail]:
        """What a client may take in now, in order; it calls `settle` for each one it committed."""
        session = self.sessions[client]
        if not self.up or session.cut or not session.connected or now < session.held_until:
            return []
        return list(session.queue)

    def settle(self, client: str, message: Mail) -> None:
        """The client acknowledged it; it will not come again."""
        queue = self.sessions[client].queue
        if message in queue:
            queue.remove(message)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def die(self) -> None:
        """kill -9: all connections break, no will is spoken, and what was not yet on its disk is gone."""
        self.up = False
        keeps = self._chance.random()
        for session in self.sessions.values():
            session.connected = False
            session.queue[:] = session.queue[: int(len(session.queue) * keeps)] if keeps < 0.7 else session.queue

    def double(self) -> None:
        """Everything on its way comes twice."""
        for session in self.sessions.values():
            session.queue.extend([m for m in session.queue if stays_in_order(m[0]) or self._chance.random() < 0.8])

    def shuffle(self) -> None:
        """Everything on its way changes places."""
        for session in self.sessions.values():
            said = iter([message for message in session.queue if stays_in_order(message[0])])
            self._chance.shuffle(session.queue)
            session.queue[:] = [next(said) if stays_in_order(message[0]) else message for message in session.queue]
