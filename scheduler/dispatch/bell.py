"""What wakes the dispatcher: news that make the last plan old, or merely something to carry out."""

from __future__ import annotations

import threading


class Bell:
    """Rung from any thread, heard by one."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._news = threading.Event()

    def news(self) -> None:
        """Something changed that a plan depends on."""
        self._news.set()
        self._rung.set()

    def wake(self) -> None:
        """Something is ready to be carried out; no new plan is needed for it."""
        self._rung.set()

    def wait(self, timeout_s: float) -> None:
        """Sleep until it rings, at most so long."""
        self._rung.wait(timeout_s)
        self._rung.clear()

    def heard_news(self) -> bool:
        """Whether there were news since this was asked last."""
        heard = self._news.is_set()
        self._news.clear()
        return heard
