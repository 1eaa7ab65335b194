"""What is not believed any more once the agent's memory turned out to be an old copy, and how a person lifts it.

Nobody knows what the machines did since: they are disarmed, beds and loaded material are unknown, and own jobs that the
old copy believes waiting may have been made: each waits until a person says that it is still wanted, or cancels it.
Others' jobs may have been made as well: none is given up, as if nothing had moved, before their scheduler compared what
is held here, also none that this memory does not know at all; and a run that it believes under way may have ended well.
What the scheduler granted and left here is given up then and offered anew, never started: while the scheduler was away
it may have been handed to its home, which granted it to another shop.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from agents.channels import granter, home_of
from agents.lease import LIVE, MOVING
from agents.spool import Lease, Spool

_log: Final = logging.getLogger(__name__)
_DISARMED: Final = "the agent's memory was put back to an old copy: nobody knows what the machine did since"
GIVEN_BACK: Final = (
    "the agent's memory was put back to an old copy: the job may have been given up since, and made elsewhere"
)
_MADE: Final = "the agent's memory was put back to an old copy: this job may have been made since"
#: Stands for all that this memory does not know: what it forgot, and what never came.
FORGOTTEN: Final = ""
#: The decision about an offer that a memory put back to an old copy believed open.
FORGOTTEN_OFFER: Final = "forgotten"
_DOUBT: Final = "INSERT OR REPLACE INTO doubted VALUES (?, ?)"
_NOT_OWN: Final = "SELECT lease FROM doubted WHERE why <> '' AND lease NOT IN (SELECT lease FROM leases WHERE own = 1)"


def put_in_doubt(spool: Spool, machines: Iterable[str]) -> None:
    """Believe nothing of these machines and of jobs that have not begun; count on from above what was forgotten."""
    _log.warning("%s", _DISARMED)
    with spool.transaction():
        spool.deeds.begin_anew()
        for machine in sorted(machines):
            flags = spool.flags(machine)
            forgotten = replace(flags, bed_clear=False, disarmed=flags.disarmed or _DISARMED, materials=())
            spool.put_flags(machine, forgotten)
        for lease in spool.leases(states=LIVE - MOVING):
            spool.write(_DOUBT, lease.lease, _MADE)
        spool.write(_DOUBT, FORGOTTEN, _DISARMED)
        # Its grant may have come, and been made use of: when it comes again it is neither taken nor refused.
        spool.write("UPDATE offers SET decision = ? WHERE decision IN ('ask', 'claimed')", FORGOTTEN_OFFER)


def doubt_about(spool: Spool, lease: str) -> str:
    """Why a job may have been made already: an own one starts after a person's word, another's is not given up. Empty
    where nothing is in doubt. `lease` may be FORGOTTEN."""
    row = spool.row("SELECT why FROM doubted WHERE lease = ?", lease)
    return "" if row is None else str(row[0])


def compared(spool: Spool) -> tuple[Lease, ...]:
    """The scheduler compared what is held here: what it left is as it says. Returns which of its leases to give up."""
    if spool.row(_NOT_OWN) is not None:
        spool.write(f"UPDATE doubted SET why = '' WHERE lease IN ({_NOT_OWN})")
    if remembered(spool, FORGOTTEN):
        return ()
    held = [lease for lease in spool.leases(states=LIVE - MOVING) if not granter(spool, lease.lease)]
    return tuple(lease for lease in held if forgotten_since(spool, lease))


def forgotten_since(spool: Spool, lease: Lease) -> str:
    """Why a grant does not start any more: the scheduler's, for it may have been given up and made elsewhere; and this
    home's own to itself, for it has forgotten both the permission and the run."""
    if lease.own or remembered(spool, lease.lease):
        return ""
    asked = granter(spool, lease.lease)
    itself = home_of(asked) == spool.sender.removeprefix("agent/")
    return "" if asked and not itself else GIVEN_BACK


def remembered(spool: Spool, lease: str) -> bool:
    """Whether all that was done for a lease is known here: never again for one that was in doubt."""
    return spool.row("SELECT 1 FROM doubted WHERE lease = ?", lease) is None


def lift(spool: Spool, lease: str) -> None:
    """A person looked and says that the job is still wanted."""
    spool.write("DELETE FROM doubted WHERE lease = ?", lease)
