"""Who waits before planning even begins: no machine, a part that nobody makes, a circle of parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduler.planning.feasibility import View, first_shut
from scheduler.planning.snapshot import PlanJob, Shut, Waiting

NO_MACHINE = "no machine can make it as things are"
NO_MACHINES = "there are no machines yet: connect an agent"
HELD_ELSEWHERE = "it is held by a machine that this snapshot does not have"


def shuts(view: View, job: PlanJob) -> tuple[Shut, ...]:
    """The first failing checker of every machine that may not make the job."""
    found = (first_shut(view, job, machine) for machine in view.machine.values())
    return tuple(shut for shut in found if shut is not None)


def without_machines(view: View, job: PlanJob) -> Waiting:
    """Why no machine takes the job."""
    if job.fixed is not None:
        return Waiting(job.id, HELD_ELSEWHERE)
    if not view.machine:
        return Waiting(job.id, NO_MACHINES)
    return Waiting(job.id, NO_MACHINE, shuts(view, job))


def part_waits(view: View, jobs: Iterable[PlanJob], waits: Mapping[str, object]) -> dict[str, str]:
    """Of these jobs, those that wait for parts, and why.

    Args:
        jobs: closed: whatever needs the part of one of them is one of them, or does not matter.
        waits: jobs that wait for other reasons, or are known to wait.
    """
    asked = [job for job in jobs if job.fixed is None and job.id not in waits]
    out: dict[str, str] = {}
    for job in asked:
        for before in job.predecessors:
            if before not in view.job and before not in view.made:
                out[job.id] = f"it needs the part of job {before}, which nobody makes or has made"
        circle = circle_of(view, job)
        if circle:
            out[job.id] = "it needs its own part: " + " → ".join(circle)
    behind: set[str] = set()
    changed = True
    while changed:
        changed = False
        for job in asked:
            if job.id in out or job.id in behind:
                continue
            if any(before in waits or before in out or before in behind for before in job.predecessors):
                behind.add(job.id)
                changed = True
    for job in asked:
        if job.id in behind:
            missing = next(b for b in job.predecessors if b in waits or b in out or b in behind)
            out[job.id] = f"it needs the part of job {missing}, which waits itself"
    return out


def circle_of(view: View, job: PlanJob) -> list[str]:
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
