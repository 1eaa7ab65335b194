"""Files on their way out: so many at a time in all, and so many for one address, so that nobody waits behind a crowd.

Whoever finds no place is told when to come again; agents do, and go on where they were (HTTP ranges).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from scheduler.orders.refusal import Refused

#: A Pi on a home line takes a minute for a large toolpath; more at a time only makes each of them slower.
MOST_IN_ALL: Final = 32
#: Several agents of one shop share its address.
MOST_FOR_ONE: Final = 4
COME_AGAIN_S: Final = 2


class Busy(Refused):
    """All places are taken for now."""

    def __init__(self, why: str) -> None:
        hint = f"Come again in {COME_AGAIN_S} seconds; ranges let you go on where you were."
        super().__init__("transfers_busy", "The file was not sent", why, hint, status=503)


class Transfers:
    """Counts what is under way."""

    def __init__(self, *, in_all: int = MOST_IN_ALL, for_one: int = MOST_FOR_ONE) -> None:
        self._in_all, self._for_one = in_all, for_one
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """How many are being sent now."""
        return self._under_way.total()

    def enter(self, address: str) -> None:
        """Take a place for `address`. Raises Busy."""
        with self._lock:
            if self._under_way[address] >= self._for_one:
                raise Busy(f"{self._for_one} files are on their way to {address} already")
            if self.under_way >= self._in_all:
                raise Busy(f"{self._in_all} files are on their way already")
            self._under_way[address] += 1

    def leave(self, address: str) -> None:
        """Give the place back."""
        with self._lock:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]


class BoundedFile(FileResponse):
    """A file that takes a place while it is sent, and gives it back however that ends."""

    def __init__(
        self, path: Path, transfers: Transfers, address: str, *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        """Raises Busy."""
        super().__init__(path, media_type=media_type, headers=headers)
        self._transfers, self._address = transfers, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        self._transfers.enter(self._address)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._transfers.leave(self._address)
