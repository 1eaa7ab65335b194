"""An intended start that nobody answers: how long it may keep a machine from other networks' jobs.

Alone it waits for ever, for its granter may have committed it. It is given up bindingly, never merely forgotten.
"""

from __future__ import annotations

from typing import Final

from agents.channels import granter
from agents.clock import Clock
from agents.lease import WAITING
from agents.spool import Lease, Spool

#: A granter that is there answers within a second, and one that starts anew within its hearing of ten.
ANSWER_WITHIN_S: Final = 120.0
WHY: Final = "the start was not answered in time, and another network's job waits for the machine"


class Unanswered:
    """One machine's intended start. By monotonic time; after a restart of the agent no start is intended any more."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool, self._clock = spool, clock
        self._lease, self._since = "", 0.0

    def blocks_others(self, lease: Lease) -> bool:
        """Whether this intended lease waited long enough, and another granter's job waits behind it."""
        now = self._clock.monotonic()
        if self._lease != lease.lease:
            self._lease, self._since = lease.lease, now
        if now - self._since < ANSWER_WITHIN_S:
            return False
        asked = granter(self._spool, lease.lease)
        return any(granter(self._spool, other.lease) != asked for other in self._spool.leases(lease.machine, WAITING))
