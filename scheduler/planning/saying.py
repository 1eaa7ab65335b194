"""The live plan in words, kept: only what has changed since it was last said is said and checked again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scheduler.planning.answering import placement_of
from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import MACHINE, SUCC_HIGH, SUCC_LOW, Core
from scheduler.planning.explaining import unplaced, waits_of
from scheduler.planning.growing import Growing
from scheduler.planning.objective import sums
from scheduler.planning.problem import Ints
from scheduler.planning.refusing import only_possible
from scheduler.planning.snapshot import Placement, Plan, Snapshot


class Saying:
    """Placements in words by row, and the schedule they were read from."""

    def __init__(self) -> None:
        self._at: Ints | None = None
        self._placements: dict[int, Placement] = {}
        self._rewritten: set[int] = set()

    def look_again(self, rows: Iterable[int]) -> None:
        """Rows that were written anew: what they cost may have changed where they are."""
        self._rewritten.update(rows)

    def plan(self, snapshot: Snapshot, book: Growing, live: ClaimedPlan, *, seed: int) -> Plan:
        """The whole plan as it stands, checked: what is not possible of it waits with the checker's sentence."""
        at = live.schedule.at[: len(book.jobs)]
        rows = self._changed(book.core, at)
        known = set(book.row.values())
        touched: set[str] = set()
        for o in rows:
            before = self._placements.pop(o, None)
            if before is not None:
                touched.add(before.machine)
            if o in known and at[o, MACHINE] >= 0:
                self._placements[o] = now = placement_of(book, live.schedule, o)
                touched.add(now.machine)
        first = self._at is None
        self._at, self._rewritten = at.copy(), set()
        placements = tuple(sorted(self._placements.values(), key=lambda placement: placement.start))
        waiting = tuple(waits_of(book, live, unplaced(book, live)))
        made = Plan(placements, waiting, sums([one.terms for one in placements]), None, "live", seed, 0.0)
        return only_possible(snapshot, made, None if first else touched)

    def _changed(self, core: Core, at: Ints) -> list[int]:
        """Rows whose times or place changed, that were written anew, or whose parts come from another place."""
        if self._at is None:
            return list(range(len(at)))
        old = len(self._at)
        changed = set(np.flatnonzero((at[:old] != self._at).any(axis=1)).tolist()) | self._rewritten
        moved = np.flatnonzero(at[:old, MACHINE] != self._at[:, MACHINE])
        for o in moved.tolist():
            changed.update(core.links[core.ops[o, SUCC_LOW] : core.ops[o, SUCC_HIGH]].tolist())
        return sorted({*changed, *range(old, len(at))})
