"""What a home keeps of the jobs in its care: charges, leases it granted, what holders told it, books handed in.

All in the agent's spool. A grant is here before it is sent; a permitted start before it is answered.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from agents.contract.granting import ChargeState
from agents.contract.messages import BoardMark, HomeLease
from agents.spool import Spool


@dataclass(frozen=True, slots=True)
class Charge:
    """One job in a home's care, of one lending. `mark` is as the home would post it: with its own attempt."""

    job: str
    scheduler: str
    epoch: int
    state: ChargeState
    given_up: int
    """The highest fence of the scheduler's own that its holder gave up."""
    mark: BoardMark


class Granted(msgspec.Struct, frozen=True):
    """A lease of this home, and the claim that it answers."""

    lease: HomeLease
    claim: str
    heard: bool = False
    """Whether its holder said anything under it: then the grant need not be said again."""


class HomeBook:
    """The tables of a home. Every method may be part of an outer transaction of the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    # --- charges ------------------------------------------------------------------------------------------------------

    def charge(self, job: str) -> Charge | None:
        """What is kept of a job."""
        row = self._spool.row("SELECT * FROM charges WHERE job = ?", job)
        return None if row is None else _charge(row)

    def charges(self) -> tuple[Charge, ...]:
        """All jobs in care."""
        return tuple(_charge(row) for row in self._spool.rows("SELECT * FROM charges ORDER BY job"))

    def put_charge(self, charge: Charge) -> None:
        """Keep it as it is now."""
        self._spool.write(
            "INSERT OR REPLACE INTO charges VALUES (?, ?, ?, ?, ?, ?)",
            *(charge.job, charge.scheduler, charge.epoch, charge.state.value, charge.given_up),
            msgspec.json.encode(charge.mark),
        )

    # --- leases -------------------------------------------------------------------------------------------------------

    def newest(self, job: str) -> Granted | None:
        """The lease under the highest fence that this home gave for a job."""
        row = self._spool.row("SELECT body FROM home_leases WHERE job = ? ORDER BY fence DESC LIMIT 1", job)
        return None if row is None else msgspec.json.decode(row[0], type=Granted)

    def under(self, job: str, fence: int) -> Granted | None:
        """The lease under one fence."""
        row = self._spool.row("SELECT body FROM home_leases WHERE job = ? AND fence = ?", job, fence)
        return None if row is None else msgspec.json.decode(row[0], type=Granted)

    def put_lease(self, scheduler: str, granted: Granted) -> None:
        """Keep a lease; what was told of it in a book is told again."""
        lease = granted.lease
        self._spool.write(
            "INSERT OR REPLACE INTO home_leases VALUES (?, ?, ?, 0, ?)",
            *(lease.job, lease.fence, scheduler, msgspec.json.encode(granted)),
        )

    def leases_of(self, scheduler: str) -> tuple[Granted, ...]:
        """Every lease that a scheduler has not said it knows, by job and fence."""
        rows = self._spool.rows("SELECT body FROM home_leases WHERE scheduler = ? ORDER BY job, fence", scheduler)
        return tuple(msgspec.json.decode(row[0], type=Granted) for row in rows)

    def told_in(self, scheduler: str, epoch: int) -> None:
        """All leases of a scheduler stand in the book of `epoch`."""
        self._spool.write("UPDATE home_leases SET told = ? WHERE scheduler = ?", epoch, scheduler)

    def settled(self, scheduler: str, epoch: int) -> None:
        """The scheduler has taken in the book of `epoch`: what stood in it need not be told again."""
        self._spool.write("DELETE FROM home_leases WHERE scheduler = ? AND told > 0 AND told <= ?", scheduler, epoch)

    # --- books handed in ----------------------------------------------------------------------------------------------

    def handed_in(self, scheduler: str) -> int:
        """The highest epoch for which the book was handed in."""
        row = self._spool.row("SELECT epoch FROM handed_in WHERE scheduler = ?", scheduler)
        return 0 if row is None else int(row[0])

    def hand_in(self, scheduler: str, epoch: int) -> None:
        """From now on nothing of earlier epochs is granted."""
        self._spool.write("INSERT OR REPLACE INTO handed_in VALUES (?, ?)", scheduler, epoch)

    # --- what holders told --------------------------------------------------------------------------------------------

    def heard_upto(self, agent: str) -> int:
        """The highest number of a holder's journal to this home that was committed here; 0 for none."""
        row = self._spool.row("SELECT max(seq) FROM home_heard WHERE agent = ?", agent)
        return 0 if row is None or row[0] is None else int(row[0])

    def heard_id(self, agent: str, seq: int) -> str | None:
        """The message that was committed under a number."""
        row = self._spool.row("SELECT id FROM home_heard WHERE agent = ? AND seq = ?", agent, seq)
        return None if row is None else str(row[0])

    def note_heard(self, agent: str, seq: int, message: str, refused: str) -> None:
        """It is committed, or refused for a reason."""
        self._spool.write("INSERT OR REPLACE INTO home_heard VALUES (?, ?, ?, ?)", agent, seq, message, refused or None)

    def refused(self, agent: str, limit: int = 100) -> tuple[tuple[int, str], ...]:
        """The refused numbers of late: named in every acknowledgement, for one may get lost."""
        rows = self._spool.rows(
            "SELECT seq, refused FROM home_heard WHERE agent = ? AND refused IS NOT NULL ORDER BY seq DESC LIMIT ?",
            *(agent, limit),
        )
        return tuple((int(row[0]), str(row[1])) for row in reversed(rows))


def _charge(row: tuple) -> Charge:  # type: ignore[type-arg]
    job, scheduler, epoch, state, given_up, mark = row
    return Charge(job, scheduler, epoch, ChargeState(state), given_up, msgspec.json.decode(mark, type=BoardMark))
