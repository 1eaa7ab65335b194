"""Delays of a live plan, kept apart from it: events change the plan as if machines shared nothing, and afterwards only
what shares a circuit or people with what they touched is staggered anew.

The delayed plan is always the one that staggering the undelayed plan whole would give. Machines that share a circuit or
a shop's people are one group. A group settles anew where its undelayed plan, its machines or what they share changed,
where the clock reached it, and where a part from another group comes at another time and that matters.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import (
    ATTENDED,
    AVAIL,
    CLEARED,
    EARLIEST,
    END,
    FENCE,
    MACHINE,
    PINNED,
    POS,
    SHOP,
    SINCE,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    Schedule,
    copy_schedule,
)
from scheduler.planning.groups import Groups
from scheduler.planning.problem import Longs
from scheduler.planning.settling import NOT_TIMED, Resources, starts_otherwise
from scheduler.planning.staggering import Shared, resources_of, settled
from scheduler.planning.timing import total_cost

Mask = NDArray[np.bool_]


class Delays:
    """What is undelayed while delays are laid on a live plan, and the delays while they are lifted."""

    def __init__(self, live: ClaimedPlan, shared: Shared) -> None:
        """Lay delays on an undelayed plan."""
        self._live, self._shared = live, shared
        self.undelayed = live.schedule
        """The plan as if machines shared nothing; times, and what has a place."""
        self._first = np.full(len(live.core.ops), NOT_TIMED, np.int64)
        self._resources = resources_of(shared, len(live.core.mach))
        self._groups = _groups(self._resources)
        self._lifted = False
        self.lift()
        self._shown = copy_schedule(live.schedule)
        self._mach = live.core.mach[:0].copy()
        self._fence = int(live.core.rates[FENCE])
        self.lay(shared)

    def lift(self) -> None:
        """Give the undelayed plan to whoever changes it; nothing where that is done already."""
        if self._lifted:
            return
        live = self._live
        self._lifted = True
        self._held = live.core.ops[:, [EARLIEST, CLEARED]].copy()
        live.core.ops[:, EARLIEST], live.core.ops[:, CLEARED] = live.core.ops[:, SINCE], 0
        self._shown, live.schedule = live.schedule, self.undelayed
        self._was = self.undelayed.at.copy()

    def lay(self, shared: Shared, touched: Iterable[int] = ()) -> None:
        """Delays of the plan as it is now.

        Args:
            shared: what machines share now.
            touched: rows that were written or linked anew since `lift`; that others moved is seen.
        """
        live, rows = self._live, len(self._live.core.ops)
        self.undelayed = live.schedule
        before = self._grow()
        changed = np.ones(rows, bool)
        changed[: len(self._was)] = (self.undelayed.at[: len(self._was)] != self._was).any(axis=1)
        changed[[o for o in touched if o < rows]] = True
        machines = self._touched_machines(shared, changed)
        live.schedule, self._lifted = self._shown, False
        live.core.ops[:, [EARLIEST, CLEARED]] = self._held
        while True:
            again = self._settle(machines, changed)
            upset = self._upset(again, before)
            if not (upset & ~machines).any():
                break
            machines |= np.isin(self._groups, self._groups[upset])
        self._mach, self._fence = live.core.mach.copy(), int(live.core.rates[FENCE])

    def _grow(self) -> NDArray[np.int32]:
        """Tables as large as the undelayed plan's; returns the delayed times before."""
        rows, ops = len(self.undelayed.at), self._live.core.ops
        more = rows - len(self._shown.at)
        seq = np.full_like(self.undelayed.seq, -1)
        seq[: len(self._shown.seq), : self._shown.seq.shape[1]] = self._shown.seq
        length = np.zeros_like(self.undelayed.length)
        length[: len(self._shown.length)] = self._shown.length
        at = np.vstack([self._shown.at, self.undelayed.at[rows - more :]])
        self._held = np.vstack([self._held, ops[rows - more :, [EARLIEST, CLEARED]]])
        self._first = np.concatenate([self._first, np.full(more, NOT_TIMED, np.int64)])
        self._shown = Schedule(seq, length, at)
        return at.copy()

    def _touched_machines(self, shared: Shared, changed: Mask) -> Mask:
        """Machines of every group that has to settle anew."""
        core, count = self._live.core, len(self._live.core.mach)
        out = np.zeros(count, bool)
        out[len(self._mach) :] = True
        out[: len(self._mach)] = (core.mach[: len(self._mach)] != self._mach).any(axis=1)
        for at in (self._was, self.undelayed.at, self._shown.at):
            machine = at[changed[: len(at)].nonzero()[0], MACHINE]
            out[machine[machine >= 0]] = True
        out[: len(self._groups)] |= np.isin(self._groups, self._groups[out[: len(self._groups)]])
        if shared is not self._shared or count > len(self._groups):
            new = resources_of(shared, count)
            out |= _otherwise(self._resources, new)
            out[: len(self._groups)] |= np.isin(self._groups, self._groups[out[: len(self._groups)]])
            self._shared, self._resources, self._groups = shared, new, _groups(new)
        now = int(core.rates[FENCE])
        if now != self._fence:
            out[self._reached(self._fence, now)] = True
        return np.isin(self._groups, self._groups[out])

    def _reached(self, before: int, now: int) -> Longs:
        """Machines on which the clock's step means something: fixed work begins or is overdue, a start was missed."""
        at, core = self.undelayed.at, self._live.core
        rows = np.flatnonzero(at[:, POS] >= 0)
        machine, start, end = at[rows, MACHINE], at[rows, START], at[rows, END]
        fixed = core.ops[rows, PINNED] >= 0
        attended = core.mach[machine, ATTENDED] > 0
        begun = np.where(attended, start < now, (start <= now) & (start > before))
        means = np.where(fixed, begun | (end < now), self._first[rows] < now)
        return np.asarray(machine[means], np.int64)

    def _settle(self, machines: Mask, changed: Mask) -> Longs:
        """Settle whatever is on these machines from the undelayed plan. Returns the rows that are looked at."""
        core, here = self._live.core, np.flatnonzero(machines)
        machine = self.undelayed.at[:, MACHINE]
        placed = (machine >= 0) & machines[machine]
        reset = placed | changed
        self._shown.at[reset] = self.undelayed.at[reset]
        self._shown.seq[here], self._shown.length[here] = self.undelayed.seq[here], self.undelayed.length[here]
        core.ops[reset, EARLIEST], core.ops[reset, CLEARED] = core.ops[reset, SINCE], 0
        rows = np.flatnonzero(placed & (self.undelayed.at[:, POS] >= 0))
        settled(core, self._shown, self._resources, self._first, rows)
        return np.flatnonzero(reset)

    def _upset(self, rows: Longs, before: NDArray[np.int32]) -> Mask:
        """Machines on which something waits for a part of these rows and would start otherwise now."""
        core, out = self._live.core, np.zeros(len(self._live.core.mach), bool)
        looked = np.zeros(len(core.ops), bool)
        looked[rows] = True
        links = core.ops[rows, SUCC_HIGH] > core.ops[rows, SUCC_LOW]
        machine = self._shown.at[rows, MACHINE]
        other = (self._shown.at[rows][:, [MACHINE, AVAIL]] != before[rows][:, [MACHINE, AVAIL]]).any(axis=1)
        other |= (machine >= 0) & self._elsewhere()[machine]
        for o in rows[links & other].tolist():
            for y in core.links[core.ops[o, SUCC_LOW] : core.ops[o, SUCC_HIGH]].tolist():
                m = int(self.undelayed.at[y, MACHINE])
                if m < 0 or looked[y] or core.ops[y, PINNED] >= 0:
                    continue
                if starts_otherwise(core, self._shown, y, int(self._first[y])):
                    out[m] = True
        return out

    def _elsewhere(self) -> Mask:
        """Machines that are in another shop than they were: the way of their parts is another."""
        mach = self._live.core.mach
        out = np.zeros(len(mach), bool)
        out[: len(self._mach)] = mach[: len(self._mach), SHOP] != self._mach[:, SHOP]
        return out

    def improve(self, moves: int | None, budget_s: float | None, seed: int) -> int:
        """Search on as if nothing were shared, stagger anew, and keep it where it costs less. The gain."""
        before = self._worth()
        kept = copy_schedule(self.undelayed), copy_schedule(self._live.schedule), self._first.copy()
        self.lift()
        held = self._held
        self._live.improve(moves=moves, budget_s=budget_s, seed=seed)
        self.lay(self._shared)
        after = self._worth()
        if after < before:
            return before[1] - after[1] if after[0] == before[0] else 1
        self.undelayed, self._live.schedule, self._first = kept
        self._shown = self._live.schedule
        self._live.core.ops[:, [EARLIEST, CLEARED]] = held
        return 0

    def _worth(self) -> tuple[int, int]:
        """Less is better: more jobs placed, then the cost."""
        live = self._live
        return -int((live.schedule.machine >= 0).sum()), int(total_cost(live.core, live.schedule))


def _groups(r: Resources) -> Longs:
    """By machine: a number that those have in common that share people or a circuit, through others too."""
    groups = Groups[int]()
    for shared in (r.crew, r.circuit):
        firsts: dict[int, int] = {}
        for m, one in enumerate(shared.tolist()):
            if one >= 0:
                groups.join(firsts.setdefault(one, m), m)
    return np.array([groups.name(m) for m in range(len(r.crew))], np.int64)


def _otherwise(old: Resources, new: Resources) -> Mask:
    """Machines that share something else than they did."""
    count = len(old.crew)
    out = np.ones(len(new.crew), bool)
    out[:count] = (old.crew != new.crew[:count]) | (old.circuit != new.circuit[:count])
    out[:count] |= old.power != new.power[:count]
    for was, now, before, after in (
        (old.crew, new.crew[:count], old.people, new.people),
        (old.circuit, new.circuit[:count], old.limit[:, None], new.limit[:, None]),
    ):
        same = np.flatnonzero((was == now) & (now >= 0))
        out[same] |= (before[now[same]] != after[now[same]]).any(axis=1)
    return out
