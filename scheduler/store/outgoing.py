"""The outbox's way out: in order, marked as sent when the broker confirmed, again after a restart if it did not."""

from __future__ import annotations

import logging
import threading
from typing import Final, Protocol

import sqlalchemy as sa

from scheduler.clock import Clock
from scheduler.store.database import SteppedDown, Store
from scheduler.store.record import mark_sent, unsent

_log: Final = logging.getLogger(__name__)
_CONFIRM_S: Final = 10.0
_IDLE_S: Final = 30.0
_RETRY_S: Final = 0.5


class Courier(Protocol):
    """Hands messages to the broker and tells when it has them."""

    def deliver(self, messages: list[tuple[str, bytes, bool]], timeout_s: float) -> int:
        """Send (topic, payload, retain) in order. Returns how many, from the first, the broker confirmed in time."""
        ...


class Outgoing:
    """A thread that empties the outbox."""

    def __init__(self, store: Store, courier: Courier, clock: Clock) -> None:
        self._store, self._courier, self._clock = store, courier, clock
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self.sent = 0

    def start(self) -> None:
        """Begin to send, starting with what the last run left behind."""
        self._forget = self._store.after_commit(self._news.set)
        self._news.set()
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is unsent stays in the outbox."""
        self._stopping.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=_CONFIRM_S + 1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(_IDLE_S)
            self._news.clear()
            try:
                while self.send_some() and not self._stopping.is_set():
                    pass
            except sa.exc.OperationalError as error:
                _log.error("the outbox waits: the database does not answer: %s", error.orig)
                self._again_later()
            except SteppedDown:
                return

    def send_some(self) -> bool:
        """Send one batch. Returns whether it all went and there may be more."""
        with self._store.read() as c:
            rows = unsent(c)
        if not rows:
            return False
        now = self._clock.now()
        live = [row for row in rows if row[4] is None or row[4] > now]
        expired = [row[0] for row in rows if row[4] is not None and row[4] <= now]
        confirmed = self._courier.deliver([(topic, payload, kept) for _, topic, payload, kept, _ in live], _CONFIRM_S)
        done = [row[0] for row in live[:confirmed]] + expired
        if done:
            with self._store.write() as c:
                mark_sent(c, done, now)
            self.sent += confirmed
        if confirmed < len(live):
            self._again_later()
            return False
        return True

    def _again_later(self) -> None:
        if not self._stopping.wait(_RETRY_S):
            self._news.set()
