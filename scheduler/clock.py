"""The time, passed in so that tests own it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """UTC, aware."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """UTC, aware."""
        return datetime.now(UTC)
