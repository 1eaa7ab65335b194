"""What is not believed any more once the agent's memory turned out to be an old copy, and how a person lifts it.

Nobody knows what the machines did since: they are disarmed, beds and loaded material are unknown, and own jobs that the
old copy believes waiting may have been made. Each waits until a person says that it is still wanted, or cancels it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from agents.lease import LIVE, MOVING
from agents.spool import Spool

_log: Final = logging.getLogger(__name__)
_DISARMED: Final = "the agent's memory was put back to an old copy: nobody knows what the machine did since"
_MADE: Final = "the agent's memory was put back to an old copy: this job may have been made since"


def put_in_doubt(spool: Spool, machines: Iterable[str]) -> None:
    """Believe nothing of these machines and of own jobs that have not begun; count on from above what was forgotten."""
    _log.warning("%s", _DISARMED)
    with spool.transaction():
        spool.deeds.begin_anew()
        for machine in sorted(machines):
            flags = spool.flags(machine)
            forgotten = replace(flags, bed_clear=False, disarmed=flags.disarmed or _DISARMED, materials=())
            spool.put_flags(machine, forgotten)
        for lease in spool.leases(states=LIVE - MOVING):
            if lease.own:
                spool.write("INSERT OR REPLACE INTO doubted VALUES (?, ?)", lease.lease, _MADE)


def doubt_about(spool: Spool, lease: str) -> str:
    """Why an own job does not start before a person said so; empty where nothing is in doubt."""
    row = spool.row("SELECT why FROM doubted WHERE lease = ?", lease)
    return "" if row is None else str(row[0])


def lift(spool: Spool, lease: str) -> None:
    """A person looked and says that the job is still wanted."""
    spool.write("DELETE FROM doubted WHERE lease = ?", lease)
