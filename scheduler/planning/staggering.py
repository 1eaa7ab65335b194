"""What machines share, in plans too large for the exact layer: starts are staggered until everything shared holds.

A circuit carries so much; a shop's people are at one machine at a time, in their hours, and a finished plate blocks its
machine until one of them has cleared it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from scheduler.planning.calendars import Ticks
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
    SETUP,
    SINCE,
    START,
    TICKS,
    WEIGHT,
    Core,
    Schedule,
    copy_schedule,
    restore_schedule,
)
from scheduler.planning.people import CrewTicks, Rota, Visit, arrival, visits
from scheduler.planning.power import CircuitLoad
from scheduler.planning.problem import NEVER
from scheduler.planning.timing import parts_placed, put_in, take_out, time_one, total_cost


class Shared(NamedTuple):
    """What machines share and what can bind."""

    circuits: tuple[tuple[int, tuple[int, ...]], ...]
    """Milliwatts allowed and machines of each circuit that can bind."""
    power: tuple[int, ...]
    """Milliwatts per machine."""
    crews: tuple[CrewTicks, ...]
    staff: tuple[Ticks | None, ...]
    """When somebody is there, per machine."""
    horizon: int

    @property
    def binds(self) -> bool:
        """Whether there is anything to share."""
        return bool(self.circuits or self.crews)


#: Machines that share nothing.
NOTHING_SHARED: Final = Shared((), (), (), (), 0)


def stagger(core: Core, schedule: Schedule, shared: Shared) -> int:
    """Delay starts, in the order in which they are planned, until every circuit and all people's time hold.

    Delays are written into the core's earliest starts, and when parts are taken out into its `CLEARED`, so that
    re-timing keeps them. What no longer fits before the horizon becomes unplaced, and what waits for its part with it.
    Fixed work stays; what would run into it goes behind it.

    Returns:
        How many operations were delayed.
    """
    if not shared.binds:
        return 0
    core.ops[:, CLEARED] = 0
    room = _Room(core, schedule, shared)
    delayed, at = 0, schedule.at
    queued = [int(o) for o in np.flatnonzero(schedule.pos >= 0)]
    # Fixed work takes what it takes whatever the others do; of two that start at once the heavier goes first, then the
    # longer, which had better run through the night.
    free = core.ops[:, PINNED] < 0
    queued.sort(key=lambda o: (free[o], int(at[o, START]), -int(core.ops[o, WEIGHT]), -int(at[o, TICKS])))
    for o in queued:
        if not free[o]:
            room.take_fixed(o)
            continue
        before, earliest = int(at[o, START]), int(core.ops[o, EARLIEST])
        if parts_placed(core, schedule, o) and room.settle(o):
            delayed += int(at[o, START]) > before
            continue
        take_out(schedule, int(at[o, MACHINE]), int(at[o, POS]))
        at[o, [MACHINE, POS]] = -1
        core.ops[o, [EARLIEST, CLEARED]] = earliest, 0
    return delayed


def mark_decided(core: Core, schedule: Schedule, shared: Shared) -> None:
    """Write what delays the exact layer decided: starts, and where people are counted when parts are taken out."""
    free = (schedule.pos >= 0) & (core.ops[:, PINNED] < 0)
    if shared.binds or len(core.carbon):
        core.ops[free, EARLIEST] = schedule.at[free, START]
    core.ops[:, CLEARED] = 0
    for crew in shared.crews:
        here = np.isin(schedule.at[:, MACHINE], list(crew.hands)) & (schedule.at[:, AVAIL] < NEVER)
        core.ops[here, CLEARED] = schedule.at[here, AVAIL]


class _Room:
    """What is left of everything shared while starts are staggered."""

    def __init__(self, core: Core, schedule: Schedule, shared: Shared) -> None:
        self._core, self._schedule, self._shared = core, schedule, shared
        self._loads: dict[int, CircuitLoad] = {}
        for limit, members in shared.circuits:
            self._loads |= dict.fromkeys(members, CircuitLoad(limit))
        self._crew: dict[int, CrewTicks] = {}
        self._rota: dict[int, Rota] = {}
        for crew in shared.crews:
            self._crew |= dict.fromkeys(crew.hands, crew)
            self._rota |= dict.fromkeys(crew.hands, Rota(crew))

    def take_fixed(self, o: int) -> None:
        """Fixed work takes what it takes; only when its part is taken out is open."""
        self._take(o)
        self._draw(o)

    def settle(self, o: int) -> bool:
        """The first start from which everything shared carries it and it ends before fixed work; False: none."""
        core, schedule, at = self._core, self._schedule, self._schedule.at
        m = int(at[o, MACHINE])
        while self._time(o):
            start = int(at[o, START])
            later = max(start, self._carried_from(o), self._helped_from(o))
            if later > start:
                core.ops[o, EARLIEST] = later
                continue
            if not self._take(o):
                return False
            behind = schedule.seq[m, int(at[o, POS]) + 1 : int(schedule.length[m])].tolist()
            pin = next((y for y in behind if core.ops[y, PINNED] >= 0), None)
            if pin is None or at[o, AVAIL if m in self._crew else END] <= core.ops[pin, PINNED]:
                self._draw(o)
                return True
            self._give_back(o)
            take_out(schedule, m, int(at[o, POS]))
            put_in(schedule, m, int(at[pin, POS]) + 1, o)
        return False

    def _time(self, o: int) -> bool:
        """Re-time one operation; False where it cannot be."""
        self._core.ops[o, CLEARED] = 0
        start, end, avail, setup = time_one(self._core, self._schedule, o)
        for column, value in ((START, start), (END, end), (AVAIL, avail), (SETUP, setup)):
            self._schedule.at[o, column] = value
        return bool(avail < NEVER)

    # --- circuits --------------------------------------------------------------------------------------------------

    def _carried_from(self, o: int) -> int:
        """When its circuit may carry it."""
        m, start, end = self._schedule.at[o, [MACHINE, START, END]].tolist()
        return self._loads[m].fits_from(start, end, self._shared.power[m]) if m in self._loads else start

    def _draw(self, o: int) -> None:
        m, start, end = self._schedule.at[o, [MACHINE, START, END]].tolist()
        if m in self._loads:
            self._loads[m].draw(start, end, self._shared.power[m])

    # --- people ----------------------------------------------------------------------------------------------------

    def _helped_from(self, o: int) -> int:
        """When somebody has cleared the machine and is free to load it, or to stay with it."""
        at, m = self._schedule.at, int(self._schedule.at[o, MACHINE])
        if m not in self._crew:
            return 0
        before = int(at[o, POS]) - 1
        cleared = int(at[self._schedule.seq[m, before], AVAIL]) if before >= 0 else 0
        visit = arrival(self._core, self._schedule, self._crew[m], o)
        assert visit is not None, "what is free to move has not begun"
        start = max(cleared, visit.start)
        return self._rota[m].first(start, visit.ticks, self._shared.staff[m], self._shared.horizon)

    def _take(self, o: int) -> bool:
        """Somebody starts it, and takes the part out as soon as one of them is in and free. False: nobody ever is."""
        core, at = self._core, self._schedule.at
        m, end = at[o, [MACHINE, END]].tolist()
        if m not in self._crew:
            return True
        rota, unload = self._rota[m], self._crew[m].hands[m].unload
        first = arrival(core, self._schedule, self._crew[m], o)
        if first is not None:
            rota.book(first)
        cleared = end + unload
        if not core.mach[m, ATTENDED]:
            ended = max(end, int(core.rates[FENCE]))
            out = rota.first(ended, unload, self._shared.staff[m], self._shared.horizon)
            if out >= NEVER:
                if first is not None and core.ops[o, PINNED] < 0:
                    rota.release(first)
                return False
            rota.book(Visit(out, unload))
            cleared = out + unload
        core.ops[o, CLEARED] = at[o, AVAIL] = cleared
        return True

    def _give_back(self, o: int) -> None:
        m = int(self._schedule.at[o, MACHINE])
        for visit in visits(self._core, self._schedule, self._crew[m], o) if m in self._crew else ():
            self._rota[m].release(visit)


def improve_together(live: ClaimedPlan, shared: Shared, moves: int | None, budget_s: float | None, seed: int) -> int:
    """Search on as if nothing were shared, stagger anew, and keep it where it costs less. The gain.

    What starts inside the freeze keeps its delay.
    """
    ops, schedule = live.core.ops, live.schedule
    kept, held = copy_schedule(schedule), ops[:, [EARLIEST, CLEARED]].copy()
    before = _worth(live)
    later = (schedule.pos >= 0) & (schedule.start >= live.fence)
    rows = np.flatnonzero(later)
    ops[rows, EARLIEST] = ops[rows, SINCE]
    ops[:, CLEARED] = 0
    if live.retime_whole():
        live.improve(moves=moves, budget_s=budget_s, seed=seed)
        stagger(live.core, schedule, shared)
        after = _worth(live)
        if after < before:
            return before[1] - after[1] if after[0] == before[0] else 1
    restore_schedule(schedule, kept)
    ops[:, [EARLIEST, CLEARED]] = held
    return 0


def _worth(live: ClaimedPlan) -> tuple[int, int]:
    """Less is better: more jobs placed, then the cost."""
    return -int((live.schedule.machine >= 0).sum()), int(total_cost(live.core, live.schedule))
