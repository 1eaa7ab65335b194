"""From a snapshot to the planner's problem, and back to people's words.

Rows are ordered by what machines and jobs are, never by their ids, so that relabelling them changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from scheduler.planning import calendars
from scheduler.planning.calendars import Ticks
from scheduler.planning.core import Core, make_core
from scheduler.planning.feasibility import View, candidates, duration_of
from scheduler.planning.problem import NEVER, Ints, Longs, Problem, validate
from scheduler.planning.snapshot import (
    NEED_WEIGHTS,
    MaterialNeed,
    PlanJob,
    PlanMachine,
    Shut,
    Snapshot,
    Waiting,
)

Family = tuple[str, str, str, float | None]


class BadSnapshot(ValueError):
    """The snapshot names two things alike, so that nothing can be said about either."""


@dataclass(frozen=True)
class Compiled:
    """The problem with the way back: row numbers to jobs and machines, and who waits before planning even began."""

    view: View
    problem: Problem
    core: Core
    jobs: tuple[PlanJob, ...]
    machines: tuple[PlanMachine, ...]
    waiting: tuple[Waiting, ...]
    shuts: dict[str, tuple[Shut, ...]]
    moving: tuple[int, ...]
    """Per alternative: cost of having moved from another machine or shop (part of `elig_cost`)."""
    circuits: tuple[tuple[int, tuple[int, ...]], ...]
    """Milliwatts allowed and machines of each circuit that can bind."""
    power: tuple[int, ...]
    """Milliwatts per machine."""


def compile_snapshot(snapshot: Snapshot) -> Compiled:
    """The snapshot as arrays.

    Raises:
        BadSnapshot: two machines or two jobs carry one id, or a time has no time zone.
    """
    _refuse_doubles(snapshot)
    view = View(snapshot)
    machines = tuple(sorted(snapshot.machines, key=_machine_key))
    ordered = tuple(sorted(snapshot.jobs, key=_job_key))
    view = View(replace(snapshot, machines=machines, jobs=ordered))
    able, shuts, waiting = _who_can(view)
    jobs = tuple(job for job in ordered if job.id in able)
    return _assemble(view, jobs, machines, able, shuts, waiting)


def _refuse_doubles(snapshot: Snapshot) -> None:
    for what, ids in (("machines", [m.id for m in snapshot.machines]), ("jobs", [j.id for j in snapshot.jobs])):
        seen: set[str] = set()
        for one in ids:
            if one in seen:
                raise BadSnapshot(f"two {what} are called {one}: give each its own id")
            seen.add(one)
    if snapshot.now.tzinfo is None:
        raise BadSnapshot("the snapshot's time has no time zone: give it in UTC")
    if snapshot.policy.tick_s < 1 or snapshot.policy.horizon_s < snapshot.policy.tick_s:
        raise BadSnapshot("the planning horizon is shorter than one tick: lengthen it")


def _machine_key(machine: PlanMachine) -> str:
    return repr(replace(machine, id="", shop="", circuit=""))


def _job_key(job: PlanJob) -> str:
    plain = replace(
        job,
        id="",
        order="",
        predecessors=(),
        delivery=None,
        own_shop=None,
        previous_machine=None,
        fixed=None if job.fixed is None else replace(job.fixed, machine=""),
        declined=tuple(replace(declined, machine="") for declined in job.declined),
        options=tuple(replace(option, machine=None) for option in job.options),
    )
    return repr(plain)


def _who_can(view: View) -> tuple[dict[str, tuple[PlanMachine, ...]], dict[str, tuple[Shut, ...]], list[Waiting]]:
    """Candidates per plannable job; the others wait, each with its reasons."""
    able: dict[str, tuple[PlanMachine, ...]] = {}
    shuts: dict[str, tuple[Shut, ...]] = {}
    waits: dict[str, Waiting] = {}
    for job in view.snapshot.jobs:
        if job.fixed is not None:
            machine = view.machine.get(job.fixed.machine)
            if machine is None:
                waits[job.id] = Waiting(job.id, "it is held by a machine that this snapshot does not have")
            else:
                able[job.id], shuts[job.id] = (machine,), ()
            continue
        found, shut = candidates(view, job)
        shuts[job.id] = shut
        if found:
            able[job.id] = found
        elif not view.snapshot.machines:
            waits[job.id] = Waiting(job.id, "there are no machines yet: connect an agent")
        else:
            waits[job.id] = Waiting(job.id, "no machine can make it as things are", shut)
    _wait_for_parts(view, able, waits)
    return able, shuts, [waits[job.id] for job in view.snapshot.jobs if job.id in waits]


def _wait_for_parts(view: View, able: dict[str, tuple[PlanMachine, ...]], waits: dict[str, Waiting]) -> None:
    made = set(view.snapshot.made)
    for job in view.snapshot.jobs:
        if job.id not in able or job.fixed is not None:
            continue
        for before in job.predecessors:
            if before not in view.job and before not in made:
                waits[job.id] = Waiting(job.id, f"it needs the part of job {before}, which nobody makes or has made")
        circle = _circle(view, job)
        if circle:
            waits[job.id] = Waiting(job.id, "it needs its own part: " + " → ".join(circle))
    changed = True
    while changed:
        changed = False
        for job in view.snapshot.jobs:
            if job.id in waits or job.fixed is not None:
                continue
            missing = [before for before in job.predecessors if before in waits]
            if missing:
                waits[job.id] = Waiting(job.id, f"it needs the part of job {missing[0]}, which waits itself")
                changed = True
    for job_id in waits:
        able.pop(job_id, None)


def _circle(view: View, job: PlanJob) -> list[str]:
    """A way from the job through predecessors back to itself; empty where there is none."""
    came: dict[str, str] = {}
    edge = [before for before in job.predecessors if before in view.job]
    for before in edge:
        came[before] = job.id
    while edge:
        here = edge.pop()
        if here == job.id:
            way, at = [here], came[here]
            while at != job.id:
                way.append(at)
                at = came[at]
            return [*way, job.id]
        for before in view.job[here].predecessors:
            if before in view.job and (before not in came or before == job.id):
                came[before] = here
                edge.append(before)
    return []


def _assemble(
    view: View,
    jobs: tuple[PlanJob, ...],
    machines: tuple[PlanMachine, ...],
    able: dict[str, tuple[PlanMachine, ...]],
    shuts: dict[str, tuple[Shut, ...]],
    waiting: list[Waiting],
) -> Compiled:
    policy, n = view.policy, len(jobs)
    row = {machine.id: i for i, machine in enumerate(machines)}
    shops = {shop: i for i, shop in enumerate(dict.fromkeys(machine.shop for machine in machines))}
    zones = {z: i for i, z in enumerate(dict.fromkeys(job.delivery for job in jobs if job.delivery is not None))}
    families = _Families()
    index = {job.id: o for o, job in enumerate(jobs)}
    unit = 100 * policy.tick_s / 60
    ptr = np.zeros(n + 1, np.int64)
    table: list[tuple[int, int, int, int, int, int]] = []
    pinned = _pins(view, jobs)
    for o, job in enumerate(jobs):
        alternatives = sorted(_alternative(view, job, m, row[m.id], pinned.get(job.id)) for m in able[job.id])
        table.extend(alternatives)
        ptr[o + 1] = len(table)
    columns = [np.array([line[c] for line in table], np.int32) for c in range(6)]
    # Fixed jobs are where they are, even where they wait for each other in a circle: nothing follows from that.
    circled = {job.id for job in jobs if job.fixed is not None and _circle(view, job)}
    preds = [[index[b] for b in job.predecessors if b in index and job.id not in circled] for job in jobs]
    succs: list[list[int]] = [[] for _ in jobs]
    for o, before in enumerate(preds):
        for q in before:
            succs[q].append(o)
    weights = np.array([job.weight if job.weight is not None else NEED_WEIGHTS[job.need_class] for job in jobs], float)
    late = np.maximum(1, np.round(weights * unit)).astype(np.int64)
    keeper = _CalendarKeeper()
    run = np.array([keeper.number(view.times[m.id].pool) for m in machines], np.int32)
    home = np.array([keeper.number(view.times[m.id].own) for m in machines], np.int32)
    staff = np.array([keeper.number(view.times[m.id].staff) for m in machines], np.int32)
    packed = calendars.pack(keeper.calendars, bucket=max(1, 86_400 // policy.tick_s))
    initial = [families.of_material(m) for m in machines]
    job_families = np.array([families.of_need(job.need) for job in jobs], np.int32)
    pressure = np.zeros(max(1, len(shops)), np.int64)
    for one in view.snapshot.pressures:
        if one.shop in shops:
            pressure[shops[one.shop]] = round(one.per_minute * unit)
    due = np.array([_late_from(view, job.due) for job in jobs], np.int32)
    guide_due, guide_weight = guides(due, late, preds, ptr, columns[1])
    problem = Problem(
        elig_ptr=ptr,
        elig_machine=columns[0],
        elig_ticks=columns[1],
        elig_tail=columns[2],
        elig_cost=columns[3],
        elig_after=columns[4] if len(columns[4]) and columns[4].max() > 0 else np.zeros(0, np.int32),
        family=job_families,
        home=np.array([-1 if job.own_shop is None else shops.get(job.own_shop, -1) for job in jobs], np.int32),
        release=np.array([0 if job.release is None else min(NEVER, view.tick(job.release)) for job in jobs], np.int32),
        due=due,
        guide_due=guide_due,
        guide_weight=guide_weight,
        weight=late,
        flow=np.maximum(late * policy.flow_percent // 100, 1),
        promise=np.array([_late_from(view, job.promised) for job in jobs], np.int32),
        promise_weight=late * policy.promise_factor,
        zone=np.array([-1 if job.delivery is None else zones[job.delivery] for job in jobs], np.int32),
        pinned=np.array([pinned[job.id][0] if job.id in pinned else -1 for job in jobs], np.int32),
        pred_ptr=_pointers(preds),
        preds=np.array([q for before in preds for q in before], np.int32),
        succ_ptr=_pointers(succs),
        succs=np.array([q for after in succs for q in after], np.int32),
        machine_shop=np.array([shops[m.shop] for m in machines], np.int32),
        machine_free=np.zeros(len(machines), np.int32),
        machine_family=np.array(initial, np.int32),
        machine_matrix=np.array([0 if m.loadable else 1 for m in machines], np.int32),
        attended=np.array([m.attended for m in machines], np.int8),
        run_calendar=run,
        home_calendar=home,
        staff_calendar=staff,
        setup=families.matrices(view),
        first_setup=view.ticks(policy.setup_s),
        setup_cost=max(0, round(policy.setup_cost * unit)),
        leg_cost=max(0, round(policy.transport_percent * policy.tick_s / 60)),
        legs=_legs(view, shops),
        delivery=_deliveries(view, shops, zones),
        pressure=pressure,
        cal_ptr=packed.ptr,
        cal_open=packed.open,
        cal_shut=packed.shut,
        cal_hint=packed.hint,
        bucket=packed.bucket,
    )
    return Compiled(
        view,
        validate(problem),
        make_core(problem),
        jobs,
        machines,
        tuple(waiting),
        shuts,
        tuple(line[5] for line in table),
        _circuits(view, machines),
        tuple(_milliwatts(m) for m in machines),
    )


def _late_from(view: View, moment: datetime | None) -> int:
    """Tick of a date, which may lie in the past; NEVER for none."""
    if moment is None:
        return NEVER
    return max(-NEVER // 4, min(NEVER, int((moment - view.snapshot.now).total_seconds() // view.policy.tick_s)))


def _alternative(
    view: View, job: PlanJob, machine: PlanMachine, row: int, pin: tuple[int, int] | None
) -> tuple[int, int, int, int, int, int]:
    """(machine row, planned ticks, tail, cost whatever the time, not before, the part of the cost for having moved)."""
    policy = view.policy
    after = max((view.tick(d.not_before) for d in job.declined if d.machine == machine.id and d.not_before), default=0)
    if pin is not None:
        return row, pin[1], 0, 0, 0, 0
    duration = duration_of(job, machine)
    assert duration is not None, "the toolpath checker let a job through that has no duration"
    ticks = max(1, view.ticks(duration.p80_s))
    tail = max(0, view.ticks(duration.p90_s) - ticks)
    moved = 0
    before = view.machine.get(job.previous_machine) if job.previous_machine is not None else None
    if before is not None and before.id != machine.id:
        moved = policy.nervousness * (100 if before.shop != machine.shop else 20)
    ring = 100 * policy.ring_minutes * machine.ring.width
    chance = min(1.0, max(0.05, machine.reliability))
    again = round(100 * (duration.p50_s / 60) * (1 / chance - 1) * policy.flow_percent)
    return row, ticks, tail, ring + again + moved, after, moved


def _pins(view: View, jobs: Sequence[PlanJob]) -> dict[str, tuple[int, int]]:
    """Start tick and ticks of every fixed job; those queued on one machine are set one after the other."""
    out: dict[str, tuple[int, int]] = {}
    queues: dict[str, list[PlanJob]] = defaultdict(list)
    for job in jobs:
        if job.fixed is not None:
            queues[job.fixed.machine].append(job)
    for machine_id, queue in queues.items():
        free = 0
        for job in sorted(queue, key=lambda j: j.fixed.start if j.fixed else view.snapshot.now):
            assert job.fixed is not None
            start = max(free, view.tick(job.fixed.start))
            duration = duration_of(job, view.machine[machine_id])
            planned = view.ticks(duration.p80_s) if duration is not None else 1
            end = view.tick(job.fixed.finish) if job.fixed.finish is not None else view.tick(job.fixed.start) + planned
            free = max(start + 1, end)
            out[job.id] = (start, free - start)
    return out


def guides(due: Ints, weight: Longs, preds: Sequence[Sequence[int]], ptr: Longs, ticks: Ints) -> tuple[Ints, Longs]:
    """Due date and weight that every operation inherits from those that need its part, least durations subtracted."""
    guide_due, guide_weight = due.copy(), weight.copy()
    after: list[list[int]] = [[] for _ in preds]
    waits = [0] * len(preds)
    for o, before in enumerate(preds):
        for q in before:
            after[q].append(o)
            waits[q] += 1
    ready = [o for o, count in enumerate(waits) if count == 0]
    while ready:
        o = ready.pop()
        least = int(ticks[ptr[o] : ptr[o + 1]].min()) if ptr[o + 1] > ptr[o] else 0
        for q in preds[o]:
            if guide_due[o] < NEVER:
                guide_due[q] = min(int(guide_due[q]), int(guide_due[o]) - least)
            guide_weight[q] = max(int(guide_weight[q]), int(guide_weight[o]))
            waits[q] -= 1
            if waits[q] == 0:
                ready.append(q)
    return guide_due, guide_weight


def _pointers(lists: Sequence[Sequence[int]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    out = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(one) for one in lists], out=out[1:])
    return out


def _legs(view: View, shops: dict[str, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    out = np.full((max(1, len(shops)), max(1, len(shops))), view.ticks(view.policy.default_leg_s), np.int32)
    np.fill_diagonal(out, 0)
    for leg in view.snapshot.legs:
        if leg.start in shops and leg.to in shops and leg.start != leg.to:
            out[shops[leg.start], shops[leg.to]] = out[shops[leg.to], shops[leg.start]] = view.ticks(leg.seconds)
    return out


def _deliveries(
    view: View, shops: dict[str, int], zones: dict[str, int]
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    out = np.full((max(1, len(shops)), max(1, len(zones))), view.ticks(view.policy.default_leg_s), np.int32)
    for leg in view.snapshot.legs:
        if leg.start in shops and leg.to in zones:
            out[shops[leg.start], zones[leg.to]] = view.ticks(leg.seconds)
    return out


def _circuits(view: View, machines: Sequence[PlanMachine]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    out = []
    for circuit in view.snapshot.circuits:
        on_it = tuple(i for i, m in enumerate(machines) if m.circuit == circuit.id and (m.power_w or 0) > 0)
        limit = round(circuit.limit_w * 1000)
        if sum(_milliwatts(machines[i]) for i in on_it) > limit:
            out.append((limit, on_it))
    return tuple(out)


def _milliwatts(machine: PlanMachine) -> int:
    return round(1000 * (machine.power_w or 0.0))


class _CalendarKeeper:
    """Numbers equal calendars alike."""

    def __init__(self) -> None:
        self.calendars: list[Ticks] = []
        self._known: dict[Ticks, int] = {}

    def number(self, windows: Ticks | None) -> int:
        """-1 for always."""
        if windows is None:
            return -1
        if windows not in self._known:
            self._known[windows] = len(self.calendars)
            self.calendars.append(windows)
        return self._known[windows]


class _Families:
    """Numbers equal setups alike: material, colour and thickness. Row 0 needs nothing in particular."""

    def __init__(self) -> None:
        self.known: dict[Family, int] = {("", "", "", None): 0}

    def of_need(self, need: MaterialNeed | None) -> int:
        """The family a job needs."""
        if need is None or not need.material:
            return 0
        return self._number(("", need.material.casefold(), need.colour.casefold(), need.thickness_mm))

    def of_material(self, machine: PlanMachine) -> int:
        """The family set up on a machine; -1 unknown."""
        if not machine.loaded:
            return -1
        first = machine.loaded[0]
        return self._number(("", first.material.casefold(), first.colour.casefold(), first.thickness_mm))

    def _number(self, family: Family) -> int:
        return self.known.setdefault(family, len(self.known))

    def matrices(self, view: View) -> np.ndarray[tuple[int, int, int], np.dtype[np.int32]]:
        """(2, f, f): 0 by what changes, 1 always the base setup."""
        base, colour, material = (
            view.ticks(seconds)
            for seconds in (view.policy.setup_s, view.policy.setup_colour_s, view.policy.setup_material_s)
        )
        keys = list(self.known)
        out = np.full((2, len(keys), len(keys)), base, np.int32)
        for i, (_, from_material, from_colour, from_mm) in enumerate(keys):
            for j, (_, to_material, to_colour, to_mm) in enumerate(keys):
                if not from_material or not to_material:
                    continue
                if from_material != to_material or (None not in (from_mm, to_mm) and from_mm != to_mm):
                    out[0, i, j] = material
                elif from_colour and to_colour and from_colour != to_colour:
                    out[0, i, j] = colour
        return out
