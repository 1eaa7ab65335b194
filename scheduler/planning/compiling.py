"""From a snapshot to the planner's problem, and back to people's words.

Rows are ordered by what machines and jobs are, never by their ids, so that relabelling them changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import numpy as np

from scheduler.planning.core import Core, make_core
from scheduler.planning.eligibility import Alternatives, Eligibility
from scheduler.planning.feasibility import View, duration_of
from scheduler.planning.people import CrewTicks, crews_of
from scheduler.planning.problem import NEVER, Ints, Longs, Problem, validate
from scheduler.planning.registers import Registers
from scheduler.planning.snapshot import NEED_WEIGHTS, PlanJob, PlanMachine, Snapshot, Waiting
from scheduler.planning.staggering import Shared
from scheduler.planning.waits import circle_of, part_waits, without_machines

#: Start and planned ticks of a job that is fixed.
Pin = tuple[int, int]


#: No current is dirtier: lignite emits about 1,000 g of CO2 a kWh (IPCC AR5 WG3, annex III, table A.III.2).
HIGHEST_G_PER_KWH: Final = 5_000
#: No shop has more people: as many as an agent may report (`agents.contract.presence`).
MOST_PEOPLE: Final = 10_000
#: No machine at all.
NOTHING: Final = Alternatives(*(np.zeros(0, np.int64) for _ in Alternatives._fields))


class BadSnapshot(ValueError):
    """The snapshot names two things alike, so that nothing can be said about either."""


@dataclass(frozen=True)
class Compiled:
    """The problem with the way back: row numbers to jobs and machines, and who waits before planning even began."""

    view: View
    problem: Problem
    core: Core
    registers: Registers
    able: Eligibility
    jobs: tuple[PlanJob, ...]
    machines: tuple[PlanMachine, ...]
    waiting: tuple[Waiting, ...]
    moving: Longs
    """Per alternative: cost of having moved from another machine or shop (part of `elig_cost`)."""
    circuits: tuple[tuple[int, tuple[int, ...]], ...]
    """Milliwatts allowed and machines of each circuit that can bind."""
    power: tuple[int, ...]
    """Milliwatts per machine."""
    crews: tuple[CrewTicks, ...]
    """The people that are counted."""

    @property
    def shared(self) -> Shared:
        """All that machines share."""
        return Shared(self.circuits, self.power, self.crews, self.view.horizon)


def compile_snapshot(snapshot: Snapshot, now: int = 0) -> Compiled:
    """The snapshot as arrays; `now` is the tick at which it is, where the snapshot's own now is only the epoch.

    Raises:
        BadSnapshot: two machines or two jobs carry one id, or a time has no time zone.
    """
    refuse_doubles(snapshot)
    machines = tuple(sorted(snapshot.machines, key=_machine_key))
    ordered = tuple(sorted(snapshot.jobs, key=_job_key))
    view = View(replace(snapshot, machines=machines, jobs=ordered), now)
    able = Eligibility(view, machines)
    pins = {job: pin for machine in machines for job, pin in pins_on(view, machine.id, ordered_fixed(ordered)).items()}
    found: dict[str, Alternatives] = {}
    waits: dict[str, Waiting] = {}
    for job in ordered:
        if job.fixed is None:
            found[job.id] = able.alternatives(job)
        elif job.id in pins:
            found[job.id] = pinned_alternative(able.row_of(job.fixed.machine), pins[job.id])
        if job.id not in found or not len(found[job.id].machine):
            waits[job.id] = without_machines(view, job)
    waits |= {job: Waiting(job, why) for job, why in part_waits(view, ordered, waits).items()}
    jobs = tuple(job for job in ordered if job.id not in waits)
    waiting = tuple(waits[job.id] for job in ordered if job.id in waits)
    return _assemble(view, able, jobs, machines, found, pins, waiting)


def refuse_doubles(snapshot: Snapshot) -> None:
    """Raise BadSnapshot where nothing could be said about the snapshot."""
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
    _refuse_rules(snapshot)


def _refuse_rules(snapshot: Snapshot) -> None:
    """Raise BadSnapshot for people or carbon curves that mean nothing."""
    if (snapshot.crews or snapshot.carbon) and 86_400 % snapshot.policy.tick_s:
        raise BadSnapshot("people's hours and carbon curves need ticks that divide a day: take 60 s")
    for what, shops in (
        ("crews", [crew.shop for crew in snapshot.crews]),
        ("carbon curves", [curve.shop for curve in snapshot.carbon]),
    ):
        twice = next((shop for i, shop in enumerate(shops) if shop in shops[:i]), None)
        if twice is not None:
            raise BadSnapshot(f"the shop {twice} has two {what}: keep one of them")
    for crew in snapshot.crews:
        countable = 0 <= crew.people <= MOST_PEOPLE and 0 <= crew.hours_a_week <= 168
        if not countable or not 0 <= crew.spent_s < inf:
            raise BadSnapshot(
                f"the people of {crew.shop} cannot be counted: give 0 to {MOST_PEOPLE}, each 0 to 168 h a week"
            )
    for curve in snapshot.carbon:
        if len(curve.g_per_kwh) != 24 or not all(0 <= g <= HIGHEST_G_PER_KWH for g in curve.g_per_kwh):
            raise BadSnapshot(
                f"the carbon curve of {curve.shop} is not 24 numbers from 0 to {HIGHEST_G_PER_KWH} g/kWh, "
                "one for each hour of the UTC day"
            )


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


def _assemble(
    view: View,
    able: Eligibility,
    jobs: tuple[PlanJob, ...],
    machines: tuple[PlanMachine, ...],
    found: dict[str, Alternatives],
    pins: dict[str, Pin],
    waiting: tuple[Waiting, ...],
) -> Compiled:
    registers = Registers(view, machines, jobs)
    index = {job.id: o for o, job in enumerate(jobs)}
    alternatives = [found[job.id] for job in jobs]
    preds = [[index[before] for before in parts_of(view, job) if before in index] for job in jobs]
    side = job_side(view, registers, jobs, alternatives, [pins.get(job.id) for job in jobs], preds)
    machine = machine_side(view, registers, machines)
    problem = Problem(**side, **machine, **registers.rates(), **registers.packed_calendars())
    return Compiled(
        view,
        validate(problem),
        make_core(problem),
        registers,
        able,
        jobs,
        machines,
        waiting,
        np.concatenate([*(found[job.id].moved for job in jobs), np.zeros(0, np.int64)]),
        circuits_of(view, machines),
        tuple(milliwatts(m) for m in machines),
        crews_of(view, machines),
    )


def parts_of(view: View, job: PlanJob) -> tuple[str, ...]:
    """Jobs whose parts it waits for: none where it is fixed (it is where it is), nor in a circle (it has no place)."""
    return () if job.fixed is not None or (job.predecessors and circle_of(view, job)) else job.predecessors


def job_side(
    view: View,
    registers: Registers,
    jobs: Sequence[PlanJob],
    alternatives: Sequence[Alternatives],
    pins: Sequence[Pin | None],
    preds: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """The fields of `Problem` that have a row an operation or an alternative."""
    policy = view.policy
    unit = 100 * policy.tick_s / 60
    ptr = _pointers([len(one.machine) for one in alternatives])
    columns = (
        Alternatives(*(np.concatenate([*column, np.zeros(0, np.int64)]) for column in zip(*alternatives, strict=True)))
        if alternatives
        else NOTHING
    )
    weights = np.array([job.weight if job.weight is not None else NEED_WEIGHTS[job.need_class] for job in jobs], float)
    late = np.maximum(1, np.round(weights * unit)).astype(np.int64)
    due = np.array([registers.date(job.due) for job in jobs], np.int32)
    guide_due, guide_weight = guides(due, late, preds, ptr, columns.ticks)
    return {
        "elig_ptr": ptr,
        "elig_machine": columns.machine.astype(np.int32),
        "elig_ticks": columns.ticks.astype(np.int32),
        "elig_tail": columns.tail.astype(np.int32),
        "elig_cost": columns.cost.astype(np.int32),
        "elig_after": columns.after.astype(np.int32) if columns.after.any() else np.zeros(0, np.int32),
        "family": np.array([registers.family_of_need(job.need) for job in jobs], np.int32),
        "home": np.array([registers.shop(job.own_shop) for job in jobs], np.int32),
        "release": np.array(
            [0 if job.release is None else min(NEVER, view.tick(job.release)) for job in jobs], np.int32
        ),
        "due": due,
        "guide_due": guide_due,
        "guide_weight": guide_weight,
        "weight": late,
        "flow": np.maximum(late * policy.flow_percent // 100, 1),
        "promise": np.array([registers.date(job.promised) for job in jobs], np.int32),
        "promise_weight": late * policy.promise_factor,
        "zone": np.array([registers.zone(job.delivery) for job in jobs], np.int32),
        "pinned": np.array([-1 if pin is None else pin[0] for pin in pins], np.int32),
        **_chains(preds),
    }


def _chains(preds: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Who waits for whom, both ways round."""
    succs: list[list[int]] = [[] for _ in preds]
    for o, before in enumerate(preds):
        for q in before:
            succs[q].append(o)
    return {
        "pred_ptr": _pointers([len(before) for before in preds]),
        "preds": np.array([q for before in preds for q in before], np.int32),
        "succ_ptr": _pointers([len(after) for after in succs]),
        "succs": np.array([q for after in succs for q in after], np.int32),
    }


def machine_side(view: View, registers: Registers, machines: Sequence[PlanMachine]) -> dict[str, Any]:
    """The fields of `Problem` that have a row a machine."""
    times = [view.times[m.id] for m in machines]
    return {
        "machine_shop": np.array([registers.shop(m.shop) for m in machines], np.int32),
        "machine_free": np.array([time.busy for time in times], np.int32),
        "machine_family": np.array([registers.family_on(m) for m in machines], np.int32),
        "machine_matrix": np.array([0 if m.loadable else 1 for m in machines], np.int32),
        "attended": np.array([m.attended for m in machines], np.int8),
        "run_calendar": np.array([registers.calendar(time.pool) for time in times], np.int32),
        "home_calendar": np.array([registers.calendar(time.own) for time in times], np.int32),
        "staff_calendar": np.array([registers.calendar(time.staff) for time in times], np.int32),
        "machine_hands": np.array([view.hands(m) for m in machines], np.int32).reshape(-1, 2),
        "machine_curve": np.array([registers.curve(m) for m in machines], np.int32),
        "carbon": registers.carbon(),
    }


def pinned_alternative(row: int, pin: Pin) -> Alternatives:
    """A fixed job has one machine, and costs there nothing that depends on a choice."""
    return Alternatives(*(np.array([x], np.int64) for x in (row, pin[1], 0, 0, 0, 0)))


def ordered_fixed(jobs: Iterable[PlanJob]) -> dict[str, list[PlanJob]]:
    """Fixed jobs by machine."""
    queues: dict[str, list[PlanJob]] = defaultdict(list)
    for job in jobs:
        if job.fixed is not None:
            queues[job.fixed.machine].append(job)
    return queues


def pins_on(view: View, machine_id: str, fixed: dict[str, list[PlanJob]]) -> dict[str, Pin]:
    """Start tick and ticks of every job that is fixed on the machine, set one after the other.

    What should have ended and is still there ends in the next tick.
    """
    out: dict[str, Pin] = {}
    free = 0
    queue = {job.id: (job.fixed.start, _job_key(job)) for job in fixed.get(machine_id, ()) if job.fixed is not None}
    for job in sorted(fixed.get(machine_id, ()), key=lambda job: queue[job.id]):
        assert job.fixed is not None, "only fixed jobs are listed"
        start = max(free, view.tick(job.fixed.start))
        duration = duration_of(job, view.machine[machine_id])
        planned = view.ticks(duration.p80_s) if duration is not None else 1
        end = view.tick(job.fixed.finish) if job.fixed.finish is not None else view.tick(job.fixed.start) + planned
        free = max(start, view.now, end - 1) + 1
        out[job.id] = (start, free - start)
    return out


def guides(
    due: Ints, weight: Longs, preds: Sequence[Sequence[int]], ptr: Longs, ticks: Ints | Longs
) -> tuple[Ints, Longs]:
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


def _pointers(lengths: Sequence[int]) -> Longs:
    out = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    return out


def circuits_of(view: View, machines: Sequence[PlanMachine]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    out = []
    for circuit in view.snapshot.circuits:
        on_it = tuple(i for i, m in enumerate(machines) if m.circuit == circuit.id and (m.power_w or 0) > 0)
        limit = round(circuit.limit_w * 1000)
        if sum(milliwatts(machines[i]) for i in on_it) > limit:
            out.append((limit, on_it))
    return tuple(out)


def milliwatts(machine: PlanMachine) -> int:
    return round(1000 * (machine.power_w or 0.0))
