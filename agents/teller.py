"""Tells the journal to the network: in order, again until acknowledged, and never past a doubt about numbering.

After every start the agent first says what it holds, and says no more until that was acknowledged: if the spool was
restored from an old backup, the answer shows it before any later number could be taken for an older event.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from agents.clock import Clock
from agents.spool import SpoolFull

_log = logging.getLogger(__name__)

#: Unacknowledged events are told again after so long, then after twice that, up to the longest.
FIRST_REPEAT_S: Final = 5.0
LONGEST_REPEAT_S: Final = 120.0
_BATCH: Final = 100


class Numbered(Protocol):
    """A journal as it is told: the spool's own, or a channel of it."""

    def event(self, seq: int) -> bytes | None:
        """The encoded envelope of one event."""

    def verdict(self, seq: int) -> tuple[bool, str | None]:
        """(acknowledged, why it was refused or None) of one event."""

    def unacknowledged(self, after: int, limit: int) -> tuple[tuple[int, bytes], ...]:
        """(seq, encoded envelope) of events not yet acknowledged, in order."""

    def unacknowledged_count(self) -> int:
        """How many events wait for their acknowledgement."""


class Teller:
    """`pump` is the core: it sends what may be sent now and answers how long to wait."""

    def __init__(self, spool: Numbered, send: Callable[[bytes], bool], clock: Clock) -> None:
        self._spool, self._send, self._clock = spool, send, clock
        self._changed = threading.Condition()
        self._sent = 0
        self.told = 0
        """The highest number ever handed to the broker, as far as this spool knows."""
        self._gate: int | None = None
        """The number of this start's `holdings`, until it is acknowledged."""
        self._repeat_s = FIRST_REPEAT_S
        self._repeat_at: float | None = None
        self._dirty = False
        self._ending = False

    def open_with(self, holdings_seq: int) -> None:
        """Say up to this number, and no more until it is acknowledged."""
        with self._changed:
            self._gate = holdings_seq
            self._sent = 0
            self.told = max(self.told, holdings_seq)
            self._wake()

    def grew(self) -> None:
        """New events are in the spool."""
        with self._changed:
            self._wake()

    def connected(self) -> None:
        """A new connection: everything unacknowledged is told again."""
        with self._changed:
            self._sent = 0
            self._repeat_s = FIRST_REPEAT_S
            self._wake()

    def repeat_from(self, seq: int) -> None:
        """Tell again from this number on, whether acknowledged before or not."""
        with self._changed:
            self._sent = min(self._sent, seq - 1)
            payload = self._spool.event(seq)
            acknowledged, _ = self._spool.verdict(seq)
            if acknowledged and payload is not None and self._gate is None:
                self._send(payload)
            self._wake()

    def acknowledged(self, upto: int) -> None:
        """The other side committed up to this number."""
        with self._changed:
            if self._gate is not None and upto >= self._gate:
                self._gate = None
            self._repeat_s, self._repeat_at = FIRST_REPEAT_S, None
            self._wake()

    @property
    def reconciled(self) -> bool:
        """Whether this start's holdings were acknowledged."""
        return self._gate is None

    def _wake(self) -> None:
        self._dirty = True
        self._changed.notify_all()

    def pump(self) -> float:
        """Send what may be sent; seconds until there may be more to do."""
        with self._changed:
            self._dirty = False
            now = self._clock.monotonic()
            if self._repeat_at is not None and now >= self._repeat_at:
                self._sent = 0
                self._repeat_s = min(self._repeat_s * 2, LONGEST_REPEAT_S)
                self._repeat_at = None
            for seq, payload in self._spool.unacknowledged(self._sent, _BATCH):
                if self._gate is not None and seq > self._gate:
                    break
                self.told = max(self.told, seq)
                if not self._send(payload):
                    return LONGEST_REPEAT_S
                self._sent = seq
                self._dirty = True
            if self._sent and self._repeat_at is None and self._spool.unacknowledged_count():
                self._repeat_at = now + self._repeat_s
            if self._dirty:
                return 0.0
            return LONGEST_REPEAT_S if self._repeat_at is None else max(0.05, self._repeat_at - now)

    def run(self) -> None:
        """The thread: pump, wait, until `end`."""
        while True:
            try:
                wait_s = self.pump()
            except SpoolFull as error:  # a card that cannot be read now may be read soon; untold is not lost
                _log.error("%s", error)
                wait_s = FIRST_REPEAT_S
            with self._changed:
                if not self._dirty and not self._ending:
                    self._changed.wait(wait_s)
                if self._ending:
                    return

    def end(self) -> None:
        """Stop the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
