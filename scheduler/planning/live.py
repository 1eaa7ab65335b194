"""The live plan: a schedule that events change in place, in milliseconds, ahead of a clock.

Behind the fence (now plus the freeze) nothing moves: what starts there is pinned, what has ended is retired from its
machine's sequence. Every change keeps the times that a full recomputation from the sequences would give.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.planning.core import (
    ANCHOR,
    AVAIL,
    EARLIEST,
    ELIG_LOW,
    END,
    FAMILY,
    FAMILY_ON,
    FENCE,
    FREE,
    MACHINE,
    MOVING,
    PINNED,
    POS,
    PRED_HIGH,
    PRED_LOW,
    SETUP,
    SHOP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    TICKS,
    Core,
    Schedule,
)
from scheduler.planning.estimating import INFINITE
from scheduler.planning.heating import Temperatures
from scheduler.planning.improving import Improved, improve
from scheduler.planning.insertion import LIMIT, insert_best, remove
from scheduler.planning.jit import borrowed, compiled
from scheduler.planning.propagation import begin, new_journal, propagate, seed, seed_after, undo
from scheduler.planning.timing import take_out

#: Temperatures of searching on from a good schedule, in hundredths of a weight-minute: well below what moving an
#: operation to another shop costs, so that nothing moves there by chance.
LIVE = Temperatures(3_000.0, 1_000.0)
#: How often what a failure displaced is taken out and placed anew, one by one.
SECOND_THOUGHTS = 2


@dataclass(frozen=True, slots=True)
class Quoted:
    """Where an operation would go: rows and ticks. `cost` is what it adds, others' delays included."""

    machine: int
    start: int
    avail: int
    cost: int


@compiled
def move_fence(p: Core, s: Schedule, now: int, fence: int) -> int:
    """Retire what has ended by `now`, pin what starts before `fence`. Returns how many were retired."""
    p, s = borrowed(p), borrowed(s)
    retired = 0
    for m in range(len(s.length)):
        while s.length[m] > 0:
            o = s.seq[m, 0]
            if s.at[o, END] > now:
                break
            p.mach[m, FREE] = max(p.mach[m, FREE], s.at[o, END])
            p.mach[m, FAMILY_ON] = p.ops[o, FAMILY]
            take_out(s, m, 0)
            s.at[o, POS] = -1
            retired += 1
        for i in range(s.length[m]):
            o = s.seq[m, i]
            if s.at[o, START] >= fence:
                break
            p.ops[o, PINNED] = s.at[o, START]
    p.rates[FENCE] = fence
    return retired


class LivePlan:
    """A core and its schedule under events. Rows are operations and machines, times ticks.

    `freeze`: ticks ahead of the clock in which nothing moves any more. `nervousness`: cost of moving an operation to
    another shop while searching on, in hundredths of a weight-minute.
    """

    def __init__(self, core: Core, schedule: Schedule, *, freeze: int = 0, nervousness: int = 0) -> None:
        self.core, self.schedule, self.freeze = core, schedule, freeze
        self.now = 0
        core.rates[MOVING] = nervousness
        self.journal = new_journal(len(core.ops))
        self.shut = np.zeros(max(1, len(core.mach)), np.int8)

    @property
    def fence(self) -> int:
        """First tick at which anything may still change."""
        return int(self.core.rates[FENCE])

    def clock(self, now: int) -> None:
        """The clock has moved on."""
        self.now = max(self.now, now)
        move_fence(self.core, self.schedule, self.now, self.now + self.freeze)

    def quote(self, o: int) -> Quoted | None:
        """The best place of an unplaced operation, nothing changed; None where it fits nowhere."""
        cost = int(insert_best(self.core, self.schedule, self.journal, o, self.fence, 0, self.shut, False))
        if cost >= INFINITE:
            return None
        k, _, start, avail = (int(x) for x in self.journal.seeds[:4])
        low = int(self.core.ops[o, ELIG_LOW])
        return Quoted(int(self.core.elig_machine[low + k]), start, avail, cost)

    def insert(self, o: int) -> int | None:
        """Place an unplaced operation best. The cost it adds, None where it or a part it needs fits nowhere."""
        cost = int(insert_best(self.core, self.schedule, self.journal, o, self.fence, 0, self.shut, True))
        return None if cost >= INFINITE else cost

    def remove(self, o: int) -> list[int]:
        """Take a queued operation out (cancelled); what comes behind it moves up. What has ended stays as it is.

        Returns:
            Operations that waited for its part and have not begun: they are out as well.
        """
        if self.schedule.at[o, POS] < 0:
            return []
        waiting = self._waiting_for(o)
        for y in waiting:
            self._take(y)
        self._take(o)
        return waiting

    def fail(self, m: int, until: int) -> tuple[list[int], list[int]]:
        """The machine is down until then: what ran on it or was queued there is placed anew.

        Returns:
            Operations that were moved, and those that fit nowhere now.
        """
        lost = self.schedule.seq[m, : self.schedule.length[m]].tolist()
        for o in reversed(lost):
            self._take(o)
        self.core.mach[m, FREE] = max(int(self.core.mach[m, FREE]), until)
        moved, nowhere = self._again(lost)
        for _ in range(SECOND_THOUGHTS):
            left = self._once_more(moved)
            moved, nowhere = [o for o in moved if o not in left], [*nowhere, *left]
        return moved, nowhere

    def end_of(self, o: int, end: int) -> tuple[list[int], list[int]]:
        """A running operation ends (or will end) at `end`, earlier or later than planned; what follows is re-timed.

        Returns:
            Operations that had to be placed anew, and those that fit nowhere now.
        """
        at, m = self.schedule.at, int(self.schedule.at[o, MACHINE])
        if at[o, POS] < 0:
            return [], []
        at[o, TICKS] = max(0, end - int(at[o, START]) - int(at[o, SETUP]))
        behind = self.schedule.seq[m, int(at[o, POS]) + 1 : int(self.schedule.length[m])].tolist()
        pinned = [y for y in behind if self.core.ops[y, PINNED] >= 0]
        self.core.ops[pinned, PINNED] = -1
        if self._retime(o):
            return [], []
        for y in reversed(behind):
            self._take(y)
        if not self._retime(o):
            # A part that comes later than every window of what waits for it: place that anew as well.
            waiting = self._waiting_for(o)
            for y in waiting:
                self._take(y)
            self._retime(o)
            behind = [*waiting, *behind]
        return self._again(behind)

    def improve(
        self,
        *,
        moves: int | None = None,
        budget_s: float | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Improved:
        """Search on from here; never behind the fence, never worse, and seldom to another shop."""
        ops, queued = self.core.ops, self.schedule.pos >= 0
        ops[queued, ANCHOR] = self.core.mach[self.schedule.machine[queued], SHOP]
        done = improve(
            self.core,
            self.schedule,
            seed=seed,
            moves=moves,
            budget_s=budget_s,
            frozen=self.fence,
            between=LIVE,
            steps=4,
            clock=clock,
        )
        ops[:, ANCHOR] = -1
        return done

    def _again(self, lost: list[int]) -> tuple[list[int], list[int]]:
        """Place these anew, predecessors first. What waits for one that fits nowhere loses its place too."""
        moved: list[int] = []
        nowhere: list[int] = []
        also: list[int] = []
        for o in self._parts_first(lost):
            placed = self.insert(o) is not None
            if not placed:
                # What waits for it may be all that is in its way, and could not stay without it.
                waiting = self._waiting_for(o)
                for y in waiting:
                    self._take(y)
                also += waiting
                placed = bool(waiting) and self.insert(o) is not None
            (moved if placed else nowhere).append(o)
        if also:
            more, left = self._again(also)
            moved, nowhere = [*moved, *more], [*nowhere, *left]
        return moved, nowhere

    def _once_more(self, moved: list[int]) -> list[int]:
        """Place each anew now that the others have a place, where nothing waits for it; those that fit nowhere now."""
        at, left = self.schedule.at, []
        for o in moved:
            low, high = int(self.core.ops[o, SUCC_LOW]), int(self.core.ops[o, SUCC_HIGH])
            if at[o, POS] >= 0 and not (at[self.core.links[low:high], MACHINE] >= 0).any():
                self._take(o)
                if self.insert(o) is None:
                    left.append(o)
        return left

    def _take(self, o: int) -> bool:
        """False: not all that came behind it could be timed."""
        self.core.ops[o, PINNED] = -1
        return bool(remove(self.core, self.schedule, self.journal, o))

    def _parts_first(self, lost: list[int]) -> list[int]:
        """By release, and nothing before what it waits for."""
        left = set(lost)
        out: list[int] = []

        def visit(o: int) -> None:
            left.discard(o)
            low, high = int(self.core.ops[o, PRED_LOW]), int(self.core.ops[o, PRED_HIGH])
            for q in self.core.links[low:high].tolist():
                if q in left:
                    visit(q)
            out.append(o)

        for o in sorted(left, key=lambda o: (int(self.core.ops[o, EARLIEST]), o)):
            if o in left:
                visit(o)
        return out

    def _waiting_for(self, o: int) -> list[int]:
        """Queued operations that wait for its part, through others too, last ones first; not what has begun."""
        out: dict[int, None] = {}
        at = self.schedule.at

        def visit(q: int) -> None:
            low, high = int(self.core.ops[q, SUCC_LOW]), int(self.core.ops[q, SUCC_HIGH])
            for y in self.core.links[low:high].tolist():
                if y not in out:
                    visit(y)
                    if at[y, POS] >= 0 and (self.core.ops[y, PINNED] < 0 or at[y, START] > self.now):
                        out[y] = None

        visit(o)
        return list(out)

    def _retime(self, o: int) -> bool:
        begin(self.journal)
        self.schedule.at[o, END] = -1
        self.schedule.at[o, AVAIL] = -1
        seed(self.journal, o)
        seed_after(self.core, self.schedule, self.journal, o)
        if propagate(self.core, self.schedule, self.journal, 50 * LIMIT):
            return True
        undo(self.schedule, self.journal)
        return False
