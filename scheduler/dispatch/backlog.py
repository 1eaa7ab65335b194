"""What came in and is not committed yet: oldest first, but no permission to start waits behind a crowd's progress.

Messages of one agent never overtake each other: an urgent one takes all of its agent's that came before it along. Two
urgent batches never follow each other, so that an agent that calls everything urgent holds nobody up.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: A batch commits in some 10 ms; what comes meanwhile waits so long at most, twice.
MOST_IN_A_BATCH: Final = 200
#: Somebody stands still until these are answered. A word in a payload decides the order of work, never what it means.
_URGENT: Final = (b'"start_intended"', b'"claimed"')


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message as it came; `settle` confirms it to the broker."""

    topic: str
    payload: bytes
    settle: Callable[[], None]


class Backlog:
    """Filled from any thread, emptied by one."""

    def __init__(self, most: int = MOST_IN_A_BATCH) -> None:
        self._most = most
        self._came: queue.SimpleQueue[Inbound | None] = queue.SimpleQueue()
        self._waiting: deque[Inbound] = deque()
        self._closed = False
        self._urgent_last = False

    def put(self, message: Inbound) -> None:
        """Add one message; returns at once."""
        self._came.put(message)

    def close(self) -> None:
        """No more will come; `batch` hands out the rest, then None."""
        self._came.put(None)

    def batch(self, timeout_s: float | None = None) -> list[Inbound] | None:
        """What to commit next, waiting `timeout_s` at most for the first; empty if none came, None after the last."""
        self._gather(timeout_s)
        if not self._waiting:
            return None if self._closed else []
        hasty = set() if self._urgent_last else {_agent(one.topic) for one in self._waiting if _is_urgent(one)}
        self._urgent_last = bool(hasty)
        if not hasty:
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        chosen: list[Inbound] = []
        rest: deque[Inbound] = deque()
        for message in self._waiting:
            take = len(chosen) < self._most and _agent(message.topic) in hasty
            (chosen if take else rest).append(message)
        self._waiting = rest
        return chosen

    def _gather(self, timeout_s: float | None) -> None:
        if not self._waiting and not self._closed:
            try:
                self._keep(self._came.get(timeout=timeout_s))
            except queue.Empty:
                return
        while not self._came.empty():
            self._keep(self._came.get())

    def _keep(self, message: Inbound | None) -> None:
        if message is None:
            self._closed = True
        else:
            self._waiting.append(message)


def _agent(topic: str) -> str:
    """Whose messages must stay in order: all of `prefix/shop/agent/…`."""
    return "/".join(topic.split("/", 4)[:4])


def _is_urgent(message: Inbound) -> bool:
    return any(word in message.payload for word in _URGENT)
