"""What must be true after every fault between real processes, from what was seen outside of them.

Nothing is believed: runs are read from the machine's own record, permissions from the line, states from both databases.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.rules import BEAM_OFF_WITHIN_S, NotKept
from tests.faults.strikes import Struck
from tests.faults.towns import Town
from tests.faults.watching import Permit, moves, rows

__all__ = ["BEAM_OFF_WITHIN_S", "NotKept", "Run", "conserved", "kept", "runs_of"]


@dataclass(frozen=True)
class Run:
    """One time that a machine began a toolpath: from its first line to the last one it moved for."""

    began: float
    last: float
    whole: bool


def runs_of(town: Town, job: str) -> list[Run]:
    """Every run of a job, from the record of its machine."""
    program = town.program(job)
    lines = town.records[town.machine_of(job)].lines(town.ordered_at[job])
    begins = [at for at, line in lines if line == program.begin]
    found = []
    for number, began in enumerate(begins):
        before = begins[number + 1] if number + 1 < len(begins) else float("inf")
        mine = [(at, line) for at, line in lines if began <= at < before and line in program.motion]
        found.append(Run(began, mine[-1][0], any(line == program.last for _, line in mine)))
    return found


def kept(struck: Struck, seen_running: dict[int, float]) -> None:
    """Raises NotKept where a rule was broken. `seen_running`: fence → when the books first said so."""
    town, job = struck.town, struck.job
    runs = runs_of(town, job)
    under = _permitted(town, job, runs)
    _fences(town, job, runs, under)
    _no_phantom(town, job, seen_running)
    _still_after_loss(struck)
    # A run that ended as failed is made again, however far it had come: its agent died before it knew.
    lost = {fence for kind, fence in town.events(job) if kind in ("failed", "declared_lost")}
    whole = [run for run, permit in zip(runs, under, strict=True) if run.whole and permit.fence not in lost]
    if not whole or (len(whole) > 1 and job not in town.people.decided):
        raise NotKept(f"{job} was made {len(whole)} times: {runs}")
    kinds = [kind for kind, _ in town.events(job)]
    if town.job_state(job)[0] != "inspected" or kinds.count("inspected") != 1:
        raise NotKept(f"{job} was not inspected once: {kinds}")
    starts = [fence for kind, fence in town.events(job) if kind == "start_intended"]
    if len(starts) != len(set(starts)):
        raise NotKept(f"one fence of {job} was started twice: {starts}")
    conserved(town)


def _permitted(town: Town, job: str, runs: list[Run]) -> list[Permit]:
    """The permit of every run. Each must have left the scheduler before the run began, and none counts twice."""
    permits = sorted((one for one in town.watch.permits if one.job == job), key=lambda one: one.at)
    under: list[Permit] = []
    for run in runs:
        before = [one for one in permits if one.at <= run.began]
        if not before:
            raise NotKept(f"{job} began at {run.began:.2f}, and no scheduler had permitted it: {permits}")
        if before[-1] in under:
            raise NotKept(f"{job} began a second time under fence {before[-1].fence}: {runs}, {permits}")
        under.append(before[-1])
    return under


def _fences(town: Town, job: str, runs: list[Run], under: list[Permit]) -> None:
    for run, permit in zip(runs, under, strict=True):
        for grant in (one for one in town.watch.grants if one.job == job and one.fence > permit.fence):
            if grant.at < run.last:
                text = f"{job} moved under fence {permit.fence} at {run.last:.2f}"
                raise NotKept(f"{text}; fence {grant.fence} had been granted at {grant.at:.2f}")


def _no_phantom(town: Town, job: str, seen: dict[int, float]) -> None:
    record = town.records[town.machine_of(job)]
    for fence, at in seen.items():
        permits = [one.at for one in town.watch.permits if (one.job, one.fence) == (job, fence)]
        if not permits or not any(when <= at for when, _ in record.lines(min(permits))):
            raise NotKept(f"{job} was shown as running under fence {fence} before its machine had a line of it")


def _still_after_loss(struck: Struck) -> None:
    """A machine that lost who commanded it in mid-run moves again only after a person re-armed it."""
    town = struck.town
    machine = town.machine_of(struck.job)
    lost, back = struck.lost_at.get(machine), struck.back_at.get(machine)
    if lost is None or back is None or not _in_the_middle(town, struck.job, lost):
        return
    armed = [at for at in town.people.rearmed[machine] if at > back]
    lines = town.records[machine].lines(back)
    moved = [(at, line) for at, line in lines if moves(line) and (not armed or at < armed[0])]
    if moved:
        raise NotKept(f"{machine} moved before anybody re-armed it: {moved[:5]}")


def _in_the_middle(town: Town, job: str, at: float) -> bool:
    """Whether a run had begun and not ended at a time."""
    program, record = town.program(job), town.records[town.machine_of(job)]
    marks = [line for when, line in record.lines(town.ordered_at[job]) if when <= at]
    marks = [line for line in marks if line in (program.begin, program.last)]
    return bool(marks) and marks[-1] == program.begin


def conserved(town: Town) -> None:
    """Every job that came in is done, runs, waits, has no machine or was cancelled; live leases are leased jobs."""
    numbers = town.client.get("/api/v1/overview").json()
    total = sum(numbers[name] for name in ("done", "running", "waiting", "unmatched", "cancelled"))
    ((counted,),) = rows(town.books, "SELECT count(*) FROM jobs")
    if not numbers["jobs_in"] == total == counted == len(town.ordered_at):
        raise NotKept(f"jobs are lost or doubled: {numbers}, {len(town.ordered_at)} were ordered")
    live = {job for (job,) in rows(town.books, "SELECT job FROM leases WHERE ended_at IS NULL")}
    states = ("leased", "staged", "ready", "starting", "running", "held")
    question = f"SELECT id FROM jobs WHERE state IN ({', '.join('?' * len(states))})"
    if live != {job for (job,) in rows(town.books, question, *states)}:
        raise NotKept(f"live leases and leased jobs differ: {live}")
