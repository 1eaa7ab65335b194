"""What the exact model says of things shared: a circuit's power, people's hands and hours, and clean current."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from scheduler.planning.exact_model import Model
from scheduler.planning.people import CrewTicks
from scheduler.planning.problem import CARBON_UNIT


def power_cap(model: Model, limit: int, members: tuple[int, ...], power: tuple[int, ...]) -> None:
    """Machines of one circuit draw no more than its limit (milliwatts)."""
    p, cp = model.problem, model.cp
    intervals, demands = [], []
    for k, takes in model.takes.items():
        m = int(p.elig_machine[k])
        if m in members:
            o = model.operation_of(k)
            size = cp.new_int_var(0, model.horizon, "")
            intervals.append(cp.new_optional_interval_var(model.start[o], size, model.end[o], takes, ""))
            demands.append(power[m])
    cp.add_cumulative(intervals, demands, limit)


# --- people ------------------------------------------------------------------------------------------------------


class _Visit(NamedTuple):
    """Somebody is needed: start, ticks and end (variables or numbers), if `takes`; at most `most` ticks."""

    start: Any
    ticks: Any
    end: Any
    takes: Any
    most: int


def crew_holds(model: Model, crew: CrewTicks) -> None:
    """No more visits at once than people, no more ticks a week than they give; a plate blocks until it is cleared.

    Visits to fixed work happen whatever the others do.
    """
    cp = model.cp
    fixed, free = _visits(model, crew)
    intervals = [cp.new_optional_interval_var(v.start, v.ticks, v.end, v.takes, "") for v in free]
    demands = [1] * len(free)
    for start, ticks, busy in _profile(fixed, crew.people):
        intervals.append(cp.new_interval_var(start, ticks, start + ticks, ""))
        demands.append(busy)
    cp.add_cumulative(intervals, demands, crew.people)
    _weeks(model, crew, fixed, free)
    for m in crew.hands:
        _blocked_until_cleared(model, m)


def _visits(model: Model, crew: CrewTicks) -> tuple[list[tuple[int, int]], list[_Visit]]:
    """Start and ticks of visits that stand fast, and those that are to be decided."""
    p, fixed, free = model.problem, [], []
    for k, takes in model.takes.items():
        o, m = model.operation_of(k), int(p.elig_machine[k])
        if m not in crew.hands:
            continue
        load, unload = crew.hands[m]
        pinned, ticks = int(p.pinned[o]), int(p.elig_ticks[k])
        start, avail = model.start[o], model.avail[o]
        most = max(load, model.most_setup)
        if pinned > 0 or (pinned == 0 and p.attended[m]):
            fixed.append((pinned, ticks + unload if p.attended[m] else load))
        elif pinned < 0 and p.attended[m]:
            whole = model.cp.new_int_var(0, most + ticks + unload, "")
            free.append(_Visit(start, whole, avail, takes, most + ticks + unload))
        elif pinned < 0:
            visit = model.loading[o, m]
            end = model.cp.new_int_var(0, model.horizon, "")
            free.append(_Visit(start, visit, end, takes, most))
        if unload > 0 and not p.attended[m]:
            free.append(_Visit(avail - unload, unload, avail, takes, unload))
    return fixed, free


def _profile(fixed: list[tuple[int, int]], people: int) -> list[tuple[int, int, int]]:
    """Start, ticks and busy people of every stretch in which fixed work takes some; never more than there are."""
    edges = sorted({edge for start, ticks in fixed for edge in (start, start + ticks)})
    out = []
    for begin, end in pairwise(edges):
        busy = sum(start <= begin < start + ticks for start, ticks in fixed)
        if busy:
            out.append((begin, end - begin, min(people, busy)))
    return out


def _weeks(model: Model, crew: CrewTicks, fixed: list[tuple[int, int]], free: list[_Visit]) -> None:
    """What begins in a week takes of that week's hours."""
    p, cp = model.problem, model.cp
    if sum(visit.most for visit in free) + sum(ticks for _, ticks in fixed) <= crew.left(0):
        return
    last = crew.week_of(int(p.cal_shut.max(initial=0))) + 1
    sums: list[list[Any]] = [[] for _ in range(last + 1)]
    for visit in free:
        literals = []
        for week, taken in enumerate(sums):
            here = cp.new_bool_var("")
            literals.append(here)
            cp.add(visit.start >= crew.begins(week)).only_enforce_if(here)
            cp.add(visit.start < crew.begins(week + 1)).only_enforce_if(here)
            ticks = cp.new_int_var(0, visit.most, "")
            cp.add(ticks >= visit.ticks).only_enforce_if(here)
            taken.append(ticks)
        cp.add(sum(literals) == visit.takes)
    for week, taken in enumerate(sums):
        stands = sum(ticks for start, ticks in fixed if crew.week_of(start) == week)
        cp.add(sum(taken) <= max(0, crew.left(week) - stands))


def _blocked_until_cleared(model: Model, m: int) -> None:
    """What is free to move starts when what ran before has been taken out, and is not in the way of fixed work."""
    p, cp = model.problem, model.cp
    here = [(model.operation_of(k), takes) for k, takes in model.takes.items() if p.elig_machine[k] == m]
    free = [(o, takes) for o, takes in here if p.pinned[o] < 0]
    stays = []
    for o, takes in free:
        size = cp.new_int_var(0, model.horizon, "")
        stays.append(cp.new_optional_interval_var(model.start[o], size, model.avail[o], takes, ""))
        for q, _ in here:
            if p.pinned[q] >= 0:
                after = cp.new_bool_var("")
                cp.add(model.start[o] >= model.avail[q]).only_enforce_if([takes, after])
                cp.add(model.avail[o] <= model.start[q]).only_enforce_if([takes, after.negated()])
    cp.add_no_overlap(stays)


# --- energy ------------------------------------------------------------------------------------------------------


def energy_terms(model: Model) -> list[Any]:
    """What each operation's current costs: prefix sums over the day are straight lines inside an hour."""
    p, terms = model.problem, []
    if not len(p.carbon):
        return []
    for o in range(p.operations):
        rows = {k: int(p.machine_curve[p.elig_machine[k]]) for k in range(p.elig_ptr[o], p.elig_ptr[o + 1])}
        used = sorted({row for row in rows.values() if row >= 0})
        if not used:
            continue
        begins, ends = _of_day(model, used, model.start[o] + model.setup[o]), _of_day(model, used, model.end[o])
        days = model.longest // (p.carbon.shape[1] - 1) + 1
        later = model.cp.new_int_var(0, days, "")
        model.cp.add(later == ends.day - begins.day)
        most = max(int(p.carbon[row, -1]) for row in used) * (days + 1)
        cost = model.cp.new_int_var(0, most // CARBON_UNIT + 1, "")
        for k, row in rows.items():
            if row >= 0:
                # The least whole number of this kind is the difference rounded down.
                drawn = int(p.carbon[row, -1]) * later + ends.sums[row] - begins.sums[row]
                needed = drawn - (CARBON_UNIT - 1)
                model.cp.add(CARBON_UNIT * cost >= needed).only_enforce_if(model.takes[k])
        terms.append(cost)
    return terms


class _Moment(NamedTuple):
    """A variable moment's day, and by curve the prefix sum inside that day."""

    day: Any
    sums: dict[int, Any]


def _of_day(model: Model, rows: list[int], at: Any) -> _Moment:
    p, cp = model.problem, model.cp
    ticks = p.carbon.shape[1] - 1
    slopes = np.diff(p.carbon[rows], axis=1)
    edges = [0, *(np.flatnonzero((np.diff(slopes, axis=1) != 0).any(axis=0)) + 1).tolist(), ticks]
    day = cp.new_int_var(0, model.horizon // ticks + 1, "")
    within = cp.new_int_var(0, ticks - 1, "")
    cp.add(at == ticks * day + within)
    sums = {row: cp.new_int_var(0, int(p.carbon[row, ticks]), "") for row in rows}
    literals = []
    for low, high in pairwise(edges):
        here = cp.new_bool_var("")
        literals.append(here)
        cp.add(within >= low).only_enforce_if(here)
        cp.add(within < high).only_enforce_if(here)
        for i, row in enumerate(rows):
            line = int(p.carbon[row, low]) + int(slopes[i, low]) * (within - low)
            cp.add(sums[row] == line).only_enforce_if(here)
    cp.add_exactly_one(literals)
    return _Moment(day, sums)
