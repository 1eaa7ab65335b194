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

from scheduler.planning import calendars
from scheduler.planning.calendars import Ticks
from scheduler.planning.core import (
    ATTENDED,
    AVAIL,
    CLEARED,
    ELIG_HIGH,
    ELIG_LOW,
    END,
    FENCE,
    MACHINE,
    PINNED,
    SETUP,
    START,
    Core,
    Schedule,
)
from scheduler.planning.feasibility import View
from scheduler.planning.problem import NEVER
from scheduler.planning.snapshot import PlanMachine, ShopWeek, Shut

WEEK_S: Final = 7 * 86_400


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
    for crew in view.snapshot.crews:
        rows = {i: machine for i, machine in enumerate(machines) if machine.shop == crew.shop}
        hands = {i: Hands(*view.hands(m)) for i, m in rows.items()}
        if hands:
            since = int((now - monday).total_seconds() // tick_s)
            spent = view.ticks(crew.spent_s)
            out.append(CrewTicks(crew.shop, crew.people, view.given(crew), spent, since, WEEK_S // tick_s, hands))
    return tuple(out)


class Visit(NamedTuple):
    """Somebody is at a machine from `start` for `ticks`."""

    start: int
    ticks: int


class Rota:
    """Whose hands are busy when in one shop."""

    def __init__(self, crew: CrewTicks) -> None:
        self._crew = crew
        self._visits: list[tuple[int, int]] = []
        self._used: dict[int, int] = defaultdict(int)

    def book(self, visit: Visit) -> None:
        """Somebody is there."""
        if visit.ticks > 0:
            self._visits.append((visit.start, visit.start + visit.ticks))
            self._used[self._crew.week_of(visit.start)] += visit.ticks

    def release(self, visit: Visit) -> None:
        """They are not, after all."""
        if visit.ticks > 0:
            self._visits.remove((visit.start, visit.start + visit.ticks))
            self._used[self._crew.week_of(visit.start)] -= visit.ticks

    def first(self, at: int, ticks: int, staff: Ticks | None, horizon: int) -> int:
        """The earliest t ≥ at from which somebody is in and free for so many ticks; NEVER where nobody ever is."""
        while at <= horizon:
            at = calendars.first_fit(staff, at, ticks)
            if ticks == 0 or at > horizon:
                break
            week = self._crew.week_of(at)
            if self._used[week] + ticks > self._crew.left(week):
                at = self._crew.begins(week + 1)
                continue
            later = self._busy_until(at, ticks)
            if later == at:
                return at
            at = later
        return at if at <= horizon else NEVER

    def _busy_until(self, at: int, ticks: int) -> int:
        """`at` where one of them is free all along, else when the first of the busy ones comes free."""
        during = [one for one in self._visits if one[0] < at + ticks and one[1] > at]
        for moment in sorted({at, *(start for start, _ in during if start > at)}):
            busy = [end for start, end in during if start <= moment < end]
            if len(busy) >= self._crew.people:
                return min(busy, default=NEVER)
        return at


def arrival(core: Core, schedule: Schedule, crew: CrewTicks, o: int) -> Visit | None:
    """Who loads it, or stays with it; None for fixed work that was started already and needs nobody until it ends."""
    m, start, end, setup = schedule.at[o, [MACHINE, START, END, SETUP]].tolist()
    now, fixed = int(core.rates[FENCE]), core.ops[o, PINNED] >= 0
    load, unload = crew.hands[m]
    if core.mach[m, ATTENDED]:
        begins = max(start, now) if fixed else start
        return Visit(begins, max(0, end + unload - begins))
    return None if fixed and start <= now else Visit(start, max(setup, load))


def visits(core: Core, schedule: Schedule, crew: CrewTicks, o: int) -> tuple[Visit, ...]:
    """Whose time a placed operation takes when; of work that is fixed only what is still to come."""
    m, avail = schedule.at[o, [MACHINE, AVAIL]].tolist()
    first = arrival(core, schedule, crew, o)
    out = () if first is None else (first,)
    if core.mach[m, ATTENDED] or avail >= NEVER:
        return out
    unload = crew.hands[m].unload
    return (*out, Visit(avail - unload if core.ops[o, CLEARED] > 0 else avail, unload))


def hours_of(compiled: Peopled, schedule: Schedule) -> dict[tuple[int, int], int]:
    """Ticks of people's time by crew and week."""
    out: dict[tuple[int, int], int] = defaultdict(int)
    crew_of = {m: i for i, crew in enumerate(compiled.crews) for m in crew.hands}
    for o, m in enumerate(schedule.at[:, MACHINE].tolist()):
        if m in crew_of:
            crew = compiled.crews[crew_of[m]]
            for visit in visits(compiled.core, schedule, crew, o):
                out[crew_of[m], crew.week_of(visit.start)] += visit.ticks
    return dict(out)


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
