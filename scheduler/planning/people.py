"""People of a shop as a resource: who is busy at which machine when, and how many of a week's hours are left.

A start takes somebody while the machine is set up and loaded, an end while it is unloaded; an attended machine takes
somebody from start to end. Whoever is needed is needed in the machine's attended hours. Nobody is named or told apart:
a shop's people are a number, and their hours a week are given and counted together. Ticks after the epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

import numpy as np

from scheduler.planning.core import (
    ATTENDED,
    AVAIL,
    CLEARED,
    ELIG_HIGH,
    ELIG_LOW,
    END,
    FENCE,
    LOAD,
    MACHINE,
    PINNED,
    SETUP,
    START,
    UNLOAD,
    Core,
    Schedule,
)
from scheduler.planning.feasibility import View
from scheduler.planning.problem import NEVER
from scheduler.planning.snapshot import PlanMachine, ShopWeek, Shut

WEEK_S: Final = 7 * 86_400
#: More ticks than this are not told apart: sums of them still fit in 64 bits.
MOST_TICKS: Final = 2**53


class Hands(NamedTuple):
    """Ticks that a start and an unloading of one machine take of somebody's time."""

    load: int
    unload: int


class CrewTicks(NamedTuple):
    """The people of one shop, in ticks."""

    shop: str
    people: int
    given: int
    """A week, by all of them."""
    spent: int
    """Of the epoch's own week."""
    since_monday: int
    """Ticks from the Monday before to the epoch."""
    week: int
    """Ticks in a week."""
    hands: dict[int, Hands]
    """By machine row."""

    def week_of(self, tick: int) -> int:
        """Weeks from the epoch's own."""
        return (tick + self.since_monday) // self.week

    def begins(self, week: int) -> int:
        """The first tick of a week."""
        return week * self.week - self.since_monday

    def left(self, week: int) -> int:
        """What they give in a week, less what is spent of it."""
        return self.given - (self.spent if week == 0 else 0)


class Peopled(Protocol):
    """A compiled problem whose shops have people."""

    @property
    def view(self) -> View:
        """The snapshot."""
        ...

    @property
    def core(self) -> Core:
        """The packed problem."""
        ...

    @property
    def machines(self) -> Sequence[PlanMachine]:
        """By row."""
        ...

    @property
    def crews(self) -> tuple[CrewTicks, ...]:
        """The people that are counted."""
        ...


def crews_of(view: View, machines: Sequence[PlanMachine]) -> tuple[CrewTicks, ...]:
    """The people of every shop that has machines here."""
    tick_s, now = view.policy.tick_s, view.snapshot.now
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    out = []
    in_shop: dict[str, list[int]] = defaultdict(list)
    for i, machine in enumerate(machines):
        in_shop[machine.shop].append(i)
    for crew in view.snapshot.crews:
        hands = {i: Hands(*view.hands(machines[i])) for i in in_shop[crew.shop]}
        if hands:
            since = int((now - monday).total_seconds() // tick_s)
            spent = min(view.ticks(crew.spent_s), MOST_TICKS)
            out.append(CrewTicks(crew.shop, crew.people, view.given(crew), spent, since, WEEK_S // tick_s, hands))
    return tuple(out)


def hours_of(compiled: Peopled, schedule: Schedule) -> dict[tuple[int, int], int]:
    """Ticks of people's time by crew and week.

    A start takes somebody while setting up and loading, an end while unloading; attended work from start to end. Fixed
    work that has begun needs nobody until it ends, or somebody from now on.
    """
    core, out = compiled.core, defaultdict[tuple[int, int], int](int)
    if not compiled.crews:
        return out
    now, crew_of = int(core.rates[FENCE]), np.full(len(core.mach), -1)
    for i, crew in enumerate(compiled.crews):
        crew_of[list(crew.hands)] = i
    rows = np.flatnonzero(schedule.machine >= 0)
    rows = rows[crew_of[schedule.machine[rows]] >= 0]
    at, ops, mach = schedule.at[rows], core.ops[rows], core.mach[schedule.machine[rows]]
    attended, fixed, unload = mach[:, ATTENDED] > 0, ops[:, PINNED] >= 0, mach[:, UNLOAD]
    starts = np.where(attended & fixed, np.maximum(at[:, START], now), at[:, START])
    loading = np.where(fixed & (starts <= now), 0, np.maximum(at[:, SETUP], mach[:, LOAD]))
    ticks = np.where(attended, np.maximum(0, at[:, END] + unload - starts), loading)
    out_at = np.where(ops[:, CLEARED] > 0, at[:, AVAIL] - unload, at[:, AVAIL])
    taken_out = np.where(attended | (at[:, AVAIL] >= NEVER), 0, unload)
    whose = crew_of[at[:, MACHINE]]
    for i, crew in enumerate(compiled.crews):
        mine = whose == i
        for begins, taken in ((starts[mine], ticks[mine]), (out_at[mine], taken_out[mine])):
            weeks = (begins.astype(np.int64) + crew.since_monday) // crew.week
            for week in np.unique(weeks[taken > 0]).tolist():
                out[i, week] += int(taken[weeks == week].sum())
    return out


def shop_weeks(
    compiled: Peopled, planned: dict[tuple[int, int], int], asked: dict[tuple[int, int], int]
) -> tuple[ShopWeek, ...]:
    """What people give, what is planned of it, and what was asked, for every week that asks something of them."""
    out, tick_s = [], compiled.view.policy.tick_s
    for i, week in sorted({*planned, *asked}):
        crew = compiled.crews[i]
        spent = crew.spent if week == 0 else 0
        here = spent + planned.get((i, week), 0)
        wanted = max(here, spent + asked.get((i, week), 0))
        monday = compiled.view.moment(crew.begins(week)).replace(minute=0, second=0, microsecond=0)
        out.append(ShopWeek(crew.shop, monday, *(float(ticks * tick_s) for ticks in (crew.given, here, wanted))))
    return tuple(out)


def too_few(compiled: Peopled, schedule: Schedule, o: int) -> dict[int, Shut]:
    """By machine row: whose people have not the hours left for one more job, with the numbers."""
    out: dict[int, Shut] = {}
    if not compiled.crews:
        return out
    planned, core = hours_of(compiled, schedule), compiled.core
    hour = 3_600 / compiled.view.policy.tick_s
    for k in range(int(core.ops[o, ELIG_LOW]), int(core.ops[o, ELIG_HIGH])):
        m = int(core.elig_machine[k])
        i = next((i for i, crew in enumerate(compiled.crews) if m in crew.hands), None)
        if i is None:
            continue
        crew = compiled.crews[i]
        wanted = sum(crew.hands[m]) + (int(core.elig_ticks[k]) if core.mach[m, ATTENDED] else 0)
        weeks = range(crew.week_of(compiled.view.horizon) + 1)
        full = [week for week in weeks if planned.get((i, week), 0) + wanted > crew.left(week)]
        if full:
            used = planned.get((i, full[0]), 0) + (crew.spent if full[0] == 0 else 0)
            monday = compiled.view.moment(crew.begins(full[0]))
            text = (
                f"the people of {crew.shop} give {crew.given / hour:.1f} h in the week of {monday:%d %b}, "
                f"{used / hour:.1f} h are spent or planned, and it needs {wanted / hour:.1f} h of one of them"
            )
            lift = "find another person, more hours a week, or let another job go"
            out[m] = Shut(compiled.machines[m].id, "people", text, lift)
    return out
