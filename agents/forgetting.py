"""What a shop without a scheduler forgets, so that its spool never grows without end: own runs that are long over, and
events that nobody is there to be told.

Events go from the oldest on, so that what is kept has no gap: whoever is told later begins after it. Where there is a
scheduler, however long away, only events of own work (and old holdings) are forgotten, and only before this start's
holdings say where the journal begins.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agents.contract import messages as m
from agents.contract.envelope import Envelope
from agents.lease import OVER
from agents.spool import Spool

#: Untold events kept: some 200 own runs.
UNTOLD_KEPT: Final = 1_000
#: Own runs kept after their end, for the page and for going on with a half-made part.
RUNS_KEPT: Final = 200
#: Looked at when so many more were told.
LOOK_EVERY: Final = 50
_AT_ONCE: Final = 5_000
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
            spool.write(f"DELETE FROM {table} WHERE lease NOT IN (SELECT lease FROM leases)")


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
