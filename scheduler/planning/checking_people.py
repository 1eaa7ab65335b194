"""Do the people of each shop manage what is planned for them? Read from the snapshot and the plan alone.

Shares no code with the engines, as all of the checker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from scheduler.planning.faults import Fault, within
from scheduler.planning.feasibility import View
from scheduler.planning.snapshot import Crew, Placement, Plan, PlanMachine


class _Visit(NamedTuple):
    """Somebody is at a machine."""

    start: datetime
    end: datetime
    placement: Placement


def people_hold(view: View, plan: Plan) -> list[Fault]:
    """Everything that the people of a shop cannot do: be at two machines, give more hours, clear what nobody clears."""
    out: list[Fault] = []
    for crew in view.snapshot.crews:
        here = [p for p in plan.placements if p.machine in view.machine and view.machine[p.machine].shop == crew.shop]
        visits: list[_Visit] = []
        for placement in here:
            machine = view.machine[placement.machine]
            visits += _visits(view, machine, placement)
            out += [Fault(placement.job, text) for text in _cleared(machine, placement)]
        out += _cleared_before_the_next(here)
        out += _hands_enough(crew, visits)
        out += _hours_enough(view, crew, visits)
    return out


def _visits(view: View, machine: PlanMachine, placement: Placement) -> Iterable[_Visit]:
    """Fixed work that was started already needs nobody until it ends, or somebody from now on."""
    now, started = view.snapshot.now, placement.fixed and placement.start <= view.snapshot.now
    if machine.attended:
        begins = max(placement.start, now) if placement.fixed else placement.start
        ends = placement.finish + timedelta(seconds=machine.unload_s)
        return [_Visit(begins, ends, placement)] if ends > begins else []
    out = []
    load_s = max(placement.setup_s, machine.load_s)
    if not started and load_s > 0:
        out.append(_Visit(placement.start, placement.start + timedelta(seconds=load_s), placement))
    if placement.cleared is not None and machine.unload_s > 0:
        out.append(_Visit(placement.cleared - timedelta(seconds=machine.unload_s), placement.cleared, placement))
    return out


def _cleared(machine: PlanMachine, placement: Placement) -> list[str]:
    where, cleared = f"{placement.job} on {machine.id}", placement.cleared
    if placement.fixed:
        return []
    if cleared is None:
        return [f"{where} is never taken out"]
    begun = cleared - timedelta(seconds=machine.unload_s)
    out = [f"{where} is taken out before it is done"] if begun < placement.finish else []
    if not within(machine.attended_windows, begun, cleared):
        out.append(f"{where} is taken out while nobody is there")
    load_s = max(placement.setup_s, machine.load_s)
    if not within(machine.attended_windows, placement.start, placement.start + timedelta(seconds=load_s)):
        out.append(f"{where} is loaded while nobody is there")
    return out


def _cleared_before_the_next(here: Sequence[Placement]) -> list[Fault]:
    out = []
    queues: dict[str, list[Placement]] = defaultdict(list)
    for placement in here:
        queues[placement.machine].append(placement)
    for machine, queue in queues.items():
        queue.sort(key=lambda p: (p.start, p.finish))
        for before, after in pairwise(queue):
            blocked = after.start < (before.cleared or before.finish)
            if blocked and not (before.fixed and after.fixed):
                blamed = before if after.fixed else after
                out.append(Fault(blamed.job, f"{after.job} starts on {machine} before {before.job} is taken out"))
    return out


def _hands_enough(crew: Crew, visits: Sequence[_Visit]) -> list[Fault]:
    """At the start of every visit: no more visits than people, but for what is fixed."""
    out = []
    for visit in visits:
        at_once = [other for other in visits if other.start <= visit.start < other.end]
        fixed = sum(other.placement.fixed for other in at_once)
        if len(at_once) > max(crew.people, fixed):
            last = max((v for v in at_once if not v.placement.fixed), key=lambda v: (v.start, v.placement.job))
            text = (
                f"{len(at_once)} machines in {crew.shop} want somebody at {visit.start:%F %H:%M}; "
                f"its people are {crew.people}"
            )
            out.append(Fault(last.placement.job, text))
            break
    return out


def _hours_enough(view: View, crew: Crew, visits: Sequence[_Visit]) -> list[Fault]:
    """A visit counts in the week in which it begins."""
    weeks: dict[datetime, list[_Visit]] = defaultdict(list)
    for visit in visits:
        weeks[_monday(visit.start)].append(visit)
    out = []
    for monday, its in weeks.items():
        spent_s = crew.spent_s if monday == _monday(view.snapshot.now) else 0.0
        taken_s = {fixed: sum(_seconds(v) for v in its if v.placement.fixed is fixed) for fixed in (True, False)}
        given_s = crew.people * crew.hours_a_week * 3600
        if taken_s[False] > max(0.0, given_s - spent_s - taken_s[True]) + 1e-3:
            last = max((v for v in its if not v.placement.fixed), key=lambda v: (v.start, v.placement.job))
            whole_h = (spent_s + sum(taken_s.values())) / 3600
            text = (
                f"the people of {crew.shop} would give {whole_h:.1f} h in the week of {monday:%F} and have "
                f"{given_s / 3600:.1f} h"
            )
            out.append(Fault(last.placement.job, text))
    return out


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _seconds(visit: _Visit) -> float:
    return (visit.end - visit.start).total_seconds()
