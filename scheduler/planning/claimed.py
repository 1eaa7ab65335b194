"""A live plan in which nothing begins by the clock alone: a start that nobody claimed waits for now.

`LivePlan` takes a plan as carried out when its time comes. Here only jobs that are fixed (claimed, running, pinned)
have begun; everything else keeps its order and slides in front of the clock, and what starts within the freeze stays
where it is while searching on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scheduler.planning.core import (
    AVAIL,
    END,
    FENCE,
    MACHINE,
    NUMBER,
    PINNED,
    POS,
    PRED_HIGH,
    PRED_LOW,
    SETUP,
    START,
    Core,
    Schedule,
)
from scheduler.planning.insertion import LIMIT
from scheduler.planning.live import LivePlan
from scheduler.planning.problem import NEVER
from scheduler.planning.propagation import begin, new_journal, propagate, seed, seed_after, undo
from scheduler.planning.timing import choose, freed, put_in, retime_all


class ClaimedPlan(LivePlan):
    """Sequences under events. Rows and ticks, as in `LivePlan`; tables may be exchanged for longer ones."""

    def __init__(self, core: Core, schedule: Schedule, *, freeze: int = 0, nervousness: int = 0) -> None:
        super().__init__(core, schedule, freeze=freeze, nervousness=nervousness)
        self.left: dict[int, None] = {}
        """Rows that may have kept old times, because something before them could not be timed."""

    @property
    def fence(self) -> int:
        """What starts before this tick is neither pushed nor moved."""
        return self.now + self.freeze

    def exchange(self, core: Core) -> None:
        """The core's tables have grown: the schedule and the scratch tables grow with them."""
        self.core = core
        rows, machines = len(core.ops), max(1, len(core.mach))
        seq, length, at = self.schedule
        if rows > len(at):
            more = np.zeros((rows - len(at), at.shape[1]), at.dtype)
            more[:, [MACHINE, POS]] = -1
            at = np.vstack([at, more])
            self.journal = new_journal(rows)
        if machines > len(seq):
            seq = np.vstack([seq, np.full((machines - len(seq), seq.shape[1]), -1, seq.dtype)])
            length = np.concatenate([length, np.zeros(machines - len(length), length.dtype)])
            self.shut = np.zeros(machines, np.int8)
        if int(length.max(initial=0)) * 4 > seq.shape[1] * 3:
            seq = np.hstack([seq, np.full_like(seq, -1)])
        self.schedule = Schedule(seq, length, at)

    def clock(self, now: int) -> None:
        """The clock has moved on; see `late_starts`."""
        self.now = max(self.now, now)
        self.core.rates[FENCE] = self.now

    def late_starts(self) -> list[int]:
        """What should have begun and was not claimed."""
        at, ops = self.schedule.at, self.core.ops
        late = (at[:, POS] >= 0) & (ops[: len(at), PINNED] < 0) & (at[:, START] < self.now)
        return [int(o) for o in np.flatnonzero(late)]

    def take(self, o: int) -> None:
        """Take it out of its queue; what waits for its part stays until it turns out that it cannot."""
        if self.schedule.at[o, POS] >= 0:
            pin = int(self.core.ops[o, PINNED])
            self._take(o)
            self.core.ops[o, PINNED] = pin

    def needing(self, o: int) -> list[int]:
        """Queued operations that wait for its part, through others too, last ones first."""
        return self._waiting_for(o)

    def retime(self, rows: Iterable[int]) -> bool:
        """These rows and what is `left` anew from their places, and all that follows.

        False: nothing changed, for something cannot be.
        """
        begin(self.journal)
        for o in {**dict.fromkeys(rows), **self.left}:
            if self.schedule.at[o, POS] >= 0:
                seed(self.journal, o)
        if propagate(self.core, self.schedule, self.journal, 50 * LIMIT):
            self.left = {}
            return True
        undo(self.schedule, self.journal)
        return False

    def put_pinned(self, o: int, m: int, k: int, ticks: int) -> list[int]:
        """Put a pinned operation where it is; what overlaps it goes out. Returns that."""
        start = int(self.core.ops[o, PINNED])
        end, at = start + ticks, self.schedule.at
        out: list[int] = []
        for y in self.schedule.seq[m, : self.schedule.length[m]].tolist():
            free = self.core.ops[y, PINNED] < 0 and at[y, POS] >= 0
            if free and at[y, START] < end and at[y, END] > start:
                self.take(y)
                out.append(y)
        here = self.schedule.seq[m, : self.schedule.length[m]]
        place = int((at[here, START] < start).sum())
        choose(self.core, self.schedule, o, k)
        put_in(self.schedule, m, place, o)
        at[o, START], at[o, SETUP], at[o, END] = start, 0, end
        at[o, AVAIL] = freed(self.core, m, end)
        return out

    def behind(self, o: int) -> list[int]:
        """The next in its queue, and what waits for its part."""
        begin(self.journal)
        seed_after(self.core, self.schedule, self.journal, o)
        out = [int(y) for y in self.journal.seeds[: self.journal.counters[2]]]
        m, i = int(self.schedule.at[o, MACHINE]), int(self.schedule.at[o, POS])
        if m >= 0 and i >= 0 and i + 1 < self.schedule.length[m]:
            out.append(int(self.schedule.seq[m, i + 1]))
        return out

    def retime_whole(self) -> bool:
        """Every time anew from the queues; False where something cannot be.

        Pinned work whose part nobody will ever take is no contradiction: it is there all the same.
        """
        n, at, self.left = len(self.core.ops), self.schedule.at, {}
        if retime_all(self.core, self.schedule, np.empty(n, NUMBER), np.empty(n, NUMBER)):
            return True
        pinned = self.core.ops[:n, PINNED] >= 0
        wrong = np.where(pinned, at[:, END] <= at[:, START], at[:, AVAIL] >= NEVER)
        return not bool((wrong & (at[:, POS] >= 0)).any())

    def queue(self, m: int) -> list[int]:
        """Operations of a machine in order."""
        return [int(o) for o in self.schedule.seq[m, : self.schedule.length[m]]]

    def without_parts_of(self, o: int) -> bool:
        """Whether something that it waits for has no place."""
        before = self.core.links[self.core.ops[o, PRED_LOW] : self.core.ops[o, PRED_HIGH]]
        return bool((self.schedule.at[before, MACHINE] < 0).any())

    def place_again(self, rows: Iterable[int]) -> list[int]:
        """Insert these, parts first. Returns what fits nowhere."""
        nowhere = self._again([o for o in rows if self.schedule.at[o, MACHINE] < 0])[1]
        if self.left:
            self.retime(())
        return nowhere

    def _take(self, o: int) -> bool:
        if super()._take(o):
            return True
        moved = self.journal.rows[: self.journal.counters[1], 0].tolist()
        for y in moved:
            self.left |= dict.fromkeys((y, *self.behind(y)))
        return False

    def _waiting_for(self, o: int) -> list[int]:
        return [y for y in super()._waiting_for(o) if self.core.ops[y, PINNED] < 0]
