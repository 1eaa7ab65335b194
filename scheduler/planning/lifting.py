"""What would the cheapest change gain: for a job that waits, a machine's first "no" lifted in thought, and planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from scheduler.planning.engine import Planner
from scheduler.planning.events import Changes
from scheduler.planning.feasibility import CHECKERS, first_shut
from scheduler.planning.snapshot import Declined, Material, Placement, PlanJob, PlanMachine, Shut

#: Machines whose "no" is lifted in thought, nearest to a yes first: each is a plan of its own.
LOOKED_AT: Final = 4

Lifted = tuple[PlanJob, PlanMachine]


@dataclass(frozen=True, slots=True)
class Lift:
    """One change and what it would give the job: "load PLA on m3: starts 14:20"."""

    machine: str
    checker: str
    change: str
    start: datetime
    finish: datetime
    cost: int
    """Of the job there, in hundredths of a weight-minute."""

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.change} ({self.machine}): starts {self.start:%d %b %H:%M} UTC"


def lifts(planner: Planner, job_id: str) -> tuple[Lift, ...]:
    """Changes that would give the job a place, cheapest first; nothing is changed.

    Raises:
        KeyError: there is no such job.
    """
    view = planner.book.view
    job = view.job[job_id]
    shut = [(first_shut(view, job, machine), machine) for machine in view.machine.values()]
    order = list(CHECKERS)
    near = [(found, machine) for found, machine in shut if found is not None and found.checker in _LIFTS]
    near.sort(key=lambda one: -order.index(one[0].checker))
    found = []
    for why, machine in near[:LOOKED_AT]:
        place = _placed(planner, *_LIFTS[why.checker](job, machine))
        if place is not None and place.machine == machine.id:
            found.append(Lift(machine.id, why.checker, _change(why), place.start, place.finish, place.cost))
    return tuple(sorted(found, key=lambda lift: (lift.cost, lift.start)))


def _placed(planner: Planner, job: PlanJob, machine: PlanMachine) -> Placement | None:
    """Where the job would go if both were so, made on no other machine."""
    others = (m.id for m in planner.book.view.machine.values() if m.id != machine.id)
    bound = replace(job, declined=(*job.declined, *(Declined(other) for other in others)))
    trial = planner.copy()
    trial.apply(Changes(jobs=(bound,), machines=(machine,)))
    return trial.explain(job.id).placement


def _change(why: Shut) -> str:
    return why.lift or why.text


def _material(job: PlanJob, machine: PlanMachine) -> Lifted:
    assert job.need is not None, "the material checker says no to jobs that need some"
    need = job.need
    spool = Material(need.material, need.colour, need.thickness_mm, None, need.width_mm, need.height_mm)
    return job, replace(machine, loaded=(spool,))


def _tools(job: PlanJob, machine: PlanMachine) -> Lifted:
    return job, replace(machine, tools=(*machine.tools, *job.tools))


def _pool(job: PlanJob, machine: PlanMachine) -> Lifted:
    return job, replace(machine, accepts_pool=True)


def _on(job: PlanJob, machine: PlanMachine) -> Lifted:
    return job, replace(machine, offline=False, quarantined="")


def _ring(job: PlanJob, machine: PlanMachine) -> Lifted:
    return replace(job, ring=machine.ring), machine


def _declined(job: PlanJob, machine: PlanMachine) -> Lifted:
    return replace(job, declined=tuple(d for d in job.declined if d.machine != machine.id)), machine


def _hours(job: PlanJob, machine: PlanMachine) -> Lifted:
    return job, replace(machine, pool_windows=None, attended_windows=None)


_LIFTS: Final[dict[str, Callable[[PlanJob, PlanMachine], Lifted]]] = {
    "machine": _on,
    "ring": _ring,
    "pool": _pool,
    "declined": _declined,
    "tools": _tools,
    "material": _material,
    "hours": _hours,
}
