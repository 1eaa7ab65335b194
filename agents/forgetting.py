"""What a shop forgets, so that its spool never grows without end: what was acknowledged long since; and, without a
scheduler, own runs that are long over, and events that nobody is there to be told.

Events go from the oldest on, so that what is kept has no gap: whoever is told later begins after it. Where there is a
scheduler, however long away, only events of own work (and old holdings) are forgotten, and only before this start's
holdings say where the journal begins.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agents.contract import messages as m
from agents.contract.envelope import Envelope
from agents.doubt import FORGOTTEN
from agents.lease import OVER
from agents.spool import Spool

#: Untold events kept: some 200 own runs.
UNTOLD_KEPT: Final = 1_000
#: Own runs kept after their end, for the page and for going on with a half-made part.
RUNS_KEPT: Final = 200
#: Looked at when so many more were told.
LOOK_EVERY: Final = 50
_AT_ONCE: Final = 5_000
#: Acknowledged events kept, in each journal: whoever lost its newest state is told them again.
TOLD_KEPT: Final = 10_000
#: Rows forgotten in one transaction: machines wait for it.
_ROWS_AT_ONCE: Final = 500
_OWN: Final = (m.OwnWork, m.Holdings)


def forget(spool: Spool, *, has_scheduler: bool) -> None:
    """Forget old untold events and own runs that are long over."""
    with spool.transaction():
        _untold(spool, only_own=has_scheduler)
        marks = ", ".join("?" * len(OVER))
        spool.write(
            f"DELETE FROM leases WHERE own = 1 AND state IN ({marks}) AND lease NOT IN (SELECT lease FROM leases"
            f" WHERE own = 1 AND state IN ({marks}) ORDER BY ended DESC, at DESC LIMIT ?)",
            *(state.value for state in (*sorted(OVER), *sorted(OVER))),
            RUNS_KEPT,
        )
        for table in ("restarts", "doubted"):
            spool.write(f"DELETE FROM {table} WHERE lease NOT IN (SELECT lease FROM leases) AND lease <> ?", FORGOTTEN)


def forget_told(spool: Spool) -> bool:
    """Forget some of what was acknowledged long since, in every journal, told or heard. Whether there may be more."""
    most = 0
    for table, whose in (("channel_journal", "channel"), ("home_heard", "agent")):
        told = "acked = 1 AND " if table == "channel_journal" else ""
        for name, last in spool.rows(f"SELECT {whose}, max(seq) FROM {table} GROUP BY {whose}"):
            where = f"{whose} = ? AND {told}seq < ?"
            most = max(most, _some(spool, table, where, name, int(last) - TOLD_KEPT))
    most = max(most, _some(spool, "journal", "acked = 1 AND seq < ?", spool.last_seq - TOLD_KEPT))
    most = max(most, _some(spool, "board_claims", "claim NOT IN (SELECT offer FROM offers)"))
    return most == _ROWS_AT_ONCE


def _some(spool: Spool, table: str, where: str, *values: object) -> int:
    """Forget some rows of a table, the oldest first; how many."""
    with spool.transaction():
        spool.write(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {where} ORDER BY rowid LIMIT ?)",
            *(*values, _ROWS_AT_ONCE),
        )
        row = spool.row("SELECT changes()")
    return 0 if row is None else int(row[0])


def _untold(spool: Spool, *, only_own: bool) -> None:
    last = spool.last_seq - UNTOLD_KEPT
    upto = 0
    for seq, payload in spool.unacknowledged(limit=_AT_ONCE):
        if seq > last:
            break
        if only_own and not isinstance(msgspec.json.decode(payload, type=Envelope).body, _OWN):
            break
        upto = seq
    spool.write("DELETE FROM journal WHERE seq <= ?", upto)
