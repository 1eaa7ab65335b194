"""What machines share, in plans too large for the exact layer: starts are staggered until everything shared holds.

A circuit carries so much; a shop's people are at one machine at a time, in their hours, and a finished plate blocks its
machine until one of them has cleared it. `settling.py` is the compiled pass, `delays.py` keeps its result in live
plans.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import (
    AVAIL,
    CLEARED,
    EARLIEST,
    END,
    MACHINE,
    PINNED,
    START,
    TICKS,
    WEIGHT,
    Core,
    Schedule,
)
from scheduler.planning.people import CrewTicks
from scheduler.planning.problem import NEVER, Longs
from scheduler.planning.settling import NOT_TIMED, Booked, Resources, settle_all


class Shared(NamedTuple):
    """What machines share and what can bind."""

    circuits: tuple[tuple[int, tuple[int, ...]], ...]
    """Milliwatts allowed and machines of each circuit that can bind."""
    power: tuple[int, ...]
    """Milliwatts per machine."""
    crews: tuple[CrewTicks, ...]
    horizon: int

    @property
    def binds(self) -> bool:
        """Whether there is anything to share."""
        return bool(self.circuits or self.crews)


#: Machines that share nothing.
NOTHING_SHARED: Final = Shared((), (), (), 0)


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
    resources = resources_of(shared, len(core.mach))
    first = np.full(len(core.ops), NOT_TIMED, np.int64)
    return settled(core, schedule, resources, first, np.flatnonzero(schedule.pos >= 0))


def settled(core: Core, schedule: Schedule, resources: Resources, first: Longs, rows: Longs) -> int:
    """Let these rows, all of whatever shares anything with one of them, settle. Returns how many start later."""
    if not len(rows):
        return 0
    at = schedule.at[rows]
    # Fixed work takes what it takes whatever the others do; of two that start at once the heavier goes first, then the
    # longer, which had better run through the night.
    order = np.lexsort((rows, -at[:, TICKS], -core.ops[rows, WEIGHT], at[:, START], core.ops[rows, PINNED] < 0))
    booked = _booked(len(core.ops), resources, first, at)
    return int(settle_all(core, schedule, resources, booked, rows[order].astype(np.int64)))


def resources_of(shared: Shared, machines: int) -> Resources:
    """The same by rows of machines."""
    crew, circuit = np.full(machines, -1, np.int64), np.full(machines, -1, np.int64)
    power = np.zeros(machines, np.int64)
    power[: len(shared.power)] = shared.power
    people = np.zeros((len(shared.crews), 5), np.int64)
    for i, one in enumerate(shared.crews):
        crew[list(one.hands)] = i
        people[i] = one.people, one.given, one.spent, one.since_monday, one.week
    for i, (_, members) in enumerate(shared.circuits):
        circuit[list(members)] = i
    limit = np.array([limit for limit, _ in shared.circuits], np.int64)
    return Resources(crew, circuit, power, people, limit, np.array([shared.horizon], np.int64))


def _booked(rows: int, r: Resources, first: Longs, at: NDArray[Any]) -> Booked:
    """Nothing booked yet on what these operations share."""
    machines, horizon = at[:, MACHINE], int(r.horizon[0])
    latest = int(at[at[:, END] < NEVER, END].max(initial=0))
    # What has to wait may end later than anything ends now; beyond this it waits without a place.
    ticks = max(horizon, latest) + horizon + 1
    crew_line, crews = _lines(r.crew[machines], len(r.people))
    circuit_line, circuits = _lines(r.circuit[machines], len(r.limit))
    weeks = max(((horizon + int(since)) // int(week) for *_, since, week in r.people), default=0) + 1
    return Booked(
        crew_line,
        circuit_line,
        np.zeros((crews, ticks), np.int16),
        np.zeros((crews, weeks + 1), np.int64),
        np.zeros((circuits, ticks), np.int64),
        np.zeros(rows, np.int8),
        first,
    )


def _lines(used: Longs, count: int) -> tuple[Longs, int]:
    """A line each for those of `count` that are used."""
    here = np.unique(used[used >= 0])
    line = np.full(count, -1, np.int64)
    line[here] = np.arange(len(here))
    return line, len(here)


def mark_decided(core: Core, schedule: Schedule, shared: Shared) -> None:
    """Write what delays the exact layer decided: starts, and where people are counted when parts are taken out."""
    free = (schedule.pos >= 0) & (core.ops[:, PINNED] < 0)
    if shared.binds or len(core.carbon):
        core.ops[free, EARLIEST] = schedule.at[free, START]
    core.ops[:, CLEARED] = 0
    for crew in shared.crews:
        here = np.isin(schedule.at[:, MACHINE], list(crew.hands)) & (schedule.at[:, AVAIL] < NEVER)
        core.ops[here, CLEARED] = schedule.at[here, AVAIL]
