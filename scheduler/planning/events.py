"""What can happen to a plan, and the difference between two snapshots: what is handed over instead of the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from scheduler.planning.compiling import refuse_doubles
from scheduler.planning.snapshot import (
    Carbon,
    Circuit,
    Crew,
    Fixed,
    Leg,
    PlanJob,
    PlanMachine,
    PlanPolicy,
    Pressure,
    Snapshot,
    Window,
)


@dataclass(frozen=True, slots=True)
class Ordered:
    """Somebody wants a job, or wants it otherwise than before."""

    job: PlanJob


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants the job any more."""

    job: str


@dataclass(frozen=True, slots=True)
class Made:
    """The job's part is there; those that need it may use it."""

    job: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A running job ended, or is now expected to end, at this moment."""

    job: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Down:
    """A machine failed or was switched off, until then as far as anybody knows."""

    machine: str
    until: datetime


@dataclass(frozen=True, slots=True)
class MachineChanged:
    """A new machine, or another calendar, material or rule of a known one."""

    machine: PlanMachine


@dataclass(frozen=True, slots=True)
class MachineGone:
    """Its owner took the machine out of the network."""

    machine: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """A job was leased, started or put there by a person."""

    job: str
    fixed: Fixed


@dataclass(frozen=True, slots=True)
class Unpinned:
    """A lease was given back or a person lets go: the plan decides again."""

    job: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """Somebody books the machine for a window; all work is planned around it."""

    machine: str
    window: Window


@dataclass(frozen=True, slots=True)
class Released:
    """The booking is given back."""

    machine: str
    window: Window


Event = (
    Ordered | Cancelled | Made | Ended | Down | MachineChanged | MachineGone | Pinned | Unpinned | Reserved | Released
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is other than it was. Applied to the snapshot before, it gives the one after."""

    now: datetime | None = None
    jobs: tuple[PlanJob, ...] = ()
    """New or changed."""
    gone_jobs: tuple[str, ...] = ()
    machines: tuple[PlanMachine, ...] = ()
    """New or changed."""
    gone_machines: tuple[str, ...] = ()
    made: tuple[str, ...] | None = None
    pressures: tuple[Pressure, ...] | None = None
    policy: PlanPolicy | None = None
    """Rules of the whole network have changed (so with what follows): everything is compiled anew."""
    legs: tuple[Leg, ...] | None = None
    circuits: tuple[Circuit, ...] | None = None
    crews: tuple[Crew, ...] | None = None
    carbon: tuple[Carbon, ...] | None = None

    @property
    def whole(self) -> bool:
        """Whether rules changed on which every row depends."""
        rules = (self.policy, self.legs, self.circuits, self.crews, self.carbon)
        return any(rule is not None for rule in rules)


T = TypeVar("T", PlanJob, PlanMachine)


def difference(before: Snapshot, after: Snapshot) -> Changes:
    """What turns one snapshot into the other. Raises BadSnapshot where nothing can be said about the later one."""
    refuse_doubles(after)
    jobs, gone_jobs = _unlike(before.jobs, after.jobs)
    machines, gone_machines = _unlike(before.machines, after.machines)
    return Changes(
        after.now if after.now != before.now else None,
        jobs,
        gone_jobs,
        machines,
        gone_machines,
        after.made if after.made != before.made else None,
        after.pressures if after.pressures != before.pressures else None,
        after.policy if after.policy != before.policy else None,
        after.legs if after.legs != before.legs else None,
        after.circuits if after.circuits != before.circuits else None,
        after.crews if after.crews != before.crews else None,
        after.carbon if after.carbon != before.carbon else None,
    )


def _unlike(before: Iterable[T], after: Iterable[T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    old = {one.id: one for one in before}
    new = {one.id: one for one in after}
    changed = tuple(one for one in new.values() if one.id not in old or old[one.id] != one)
    return changed, tuple(name for name in old if name not in new)


def applied(before: Snapshot, changes: Changes) -> Snapshot:
    """The snapshot after the changes; new machines and jobs come last."""
    return replace(
        before,
        now=changes.now or before.now,
        machines=_exchanged(before.machines, changes.machines, changes.gone_machines),
        jobs=_exchanged(before.jobs, changes.jobs, changes.gone_jobs),
        made=before.made if changes.made is None else changes.made,
        pressures=before.pressures if changes.pressures is None else changes.pressures,
        policy=before.policy if changes.policy is None else changes.policy,
        legs=before.legs if changes.legs is None else changes.legs,
        circuits=before.circuits if changes.circuits is None else changes.circuits,
        crews=before.crews if changes.crews is None else changes.crews,
        carbon=before.carbon if changes.carbon is None else changes.carbon,
    )


def _exchanged(before: Iterable[T], changed: Iterable[T], gone: Iterable[str]) -> tuple[T, ...]:
    kept: dict[str, T] = {one.id: one for one in before}
    for name in gone:
        kept.pop(name, None)
    kept.update({one.id: one for one in changed})
    return tuple(kept.values())


def changes_of(
    event: Event, jobs: Mapping[str, PlanJob], machines: Mapping[str, PlanMachine], made: Iterable[str]
) -> Changes:
    """The event as changes to what there is.

    Raises:
        KeyError: it names a job or machine that is not there. (`Ended` of a job that is not fixed has to be turned
            into `Pinned` first: only the plan knows where it was.)
    """
    if isinstance(event, MachineGone):
        return Changes(gone_machines=(machines[event.machine].id,))
    if isinstance(event, MachineChanged | Down | Reserved | Released):
        return _machine_changes(event, jobs, machines)
    if isinstance(event, Ordered):
        return Changes(jobs=(event.job,))
    job = jobs[event.job]
    if isinstance(event, Cancelled):
        return Changes(gone_jobs=(job.id,))
    if isinstance(event, Made):
        return Changes(gone_jobs=(job.id,), made=(*made, job.id))
    if isinstance(event, Unpinned):
        return Changes(jobs=(replace(job, fixed=None),))
    if isinstance(event, Pinned):
        return Changes(jobs=(replace(job, fixed=event.fixed),))
    if job.fixed is None:
        raise KeyError(f"job {job.id} ended, but it had no machine: pin it first to where it ran")
    return Changes(jobs=(replace(job, fixed=replace(job.fixed, finish=event.at)),))


def _machine_changes(
    event: MachineChanged | Down | Reserved | Released, jobs: Mapping[str, PlanJob], machines: Mapping[str, PlanMachine]
) -> Changes:
    if isinstance(event, MachineChanged):
        return Changes(machines=(event.machine,))
    machine = machines[event.machine]
    if isinstance(event, Reserved):
        return Changes(machines=(replace(machine, reserved=(*machine.reserved, event.window)),))
    if isinstance(event, Released):
        left = tuple(window for window in machine.reserved if window != event.window)
        return Changes(machines=(replace(machine, reserved=left),))
    # What ran there or was held there is lost to it: it has to be made anew.
    freed = tuple(
        replace(j, fixed=None) for j in jobs.values() if j.fixed is not None and j.fixed.machine == machine.id
    )
    busy = max(event.until, machine.busy_until or event.until)
    return Changes(machines=(replace(machine, busy_until=busy),), jobs=freed)
