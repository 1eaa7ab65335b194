"""What always holds, whatever breaks: checked against books that no fault can touch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from agents.contract.vocabulary import LEASED_STATES, MACHINE_FAULTS, MOTION_STATES, FailureClass, JobState
from agents.lease import MOVING, LeaseState
from scheduler.api.views import overview
from scheduler.store import queries
from scheduler.store.rows import JobRow

#: From the loss of presence until the beam must be off.
BEAM_OFF_WITHIN_S: Final = 1.0
#: A machine that failed so often in a row for its own reasons starts nothing more before a person looked.
MOST_FAULTS_IN_A_ROW: Final = 2
_STARTED: Final = "start_intended"


class NotKept(AssertionError):
    """A rule was broken; the text names it."""


@dataclass
class Books:
    """What really happened, kept outside of everything that can be killed or restored."""

    committed: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(job, fence) of every start that a scheduler committed, over all copies of its database."""
    runs: list[tuple[str, int, str]] = field(default_factory=list)
    """(job, fence, machine) of every run that a machine was called for."""
    first_lines: set[tuple[str, int]] = field(default_factory=set)
    """(job, fence) of every run whose first line the machine confirmed."""
    finished: Counter[str] = field(default_factory=Counter)
    fences: dict[str, int] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)
    """Jobs a person decided about after looking: from then on making one again is that person's word."""
    unknowable: set[str] = field(default_factory=set)
    """Jobs that were made, known only to an agent's memory that was put back before it told anybody."""
    restored: set[str] = field(default_factory=set)
    """Which memories were put back to an old copy: "scheduler", or a shop."""
    excused: bool = False
    """Nobody alive can know in time what was made, so it may be made again: an old copy of the scheduler's database
    began while a shop was out of reach, or the scheduler's and a shop's memory were both put back."""
    orders: int = 0
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failures in a row, for its own reasons, by (agent, machine)."""
    _read_upto: int = 0
    _read: list[Any] = field(default_factory=list)

    # --- at every commit of the scheduler -----------------------------------------------------------------------------

    def commit(self, c: sa.Connection) -> None:
        """Read what this transaction is about to commit."""
        self._read = list(
            c.exec_driver_sql(
                "SELECT id, kind, job, fence, agent, machine, json_extract(body, '$.failure') FROM job_events"
                " WHERE id > ? AND kind IN ('start_intended', 'failed', 'finished') ORDER BY id",
                (self._read_upto,),
            )
        )
        for _, kind, _, _, agent, machine, _ in self._read:
            if kind == _STARTED and self.faults[agent, machine] >= MOST_FAULTS_IN_A_ROW:
                raise NotKept(f"{machine} may start, after {self.faults[agent, machine]} faults of its own in a row")

    def committed_now(self) -> None:
        """What `commit` read is on the disk."""
        read, self._read = self._read, []
        for number, kind, job, fence, agent, machine, failure in read:
            self._read_upto = number
            if kind == "finished":
                self.faults[agent, machine] = 0
            elif kind == "failed":
                self.faults[agent, machine] += FailureClass(failure) in MACHINE_FAULTS
            else:
                self.committed[job, fence] += 1
                if self.committed[job, fence] > 1 and "scheduler" not in self.restored:
                    raise NotKept(f"the start of {job} under fence {fence} was committed twice")

    def looked_at(self, agent: str, machine: str) -> None:
        """A person released a machine."""
        self.faults[agent, machine] = 0

    def put_back(self, c: sa.Connection) -> None:
        """The scheduler's database is an older one now."""
        self._read_upto = c.exec_driver_sql("SELECT coalesce(max(id), 0) FROM job_events").scalar() or 0
        self.fences.clear()
        self.faults.clear()
        self.restore("scheduler")

    def restore(self, who: str) -> None:
        """Somebody's memory was put back to an old copy."""
        self.restored.add(who)
        self.excused = self.excused or ("scheduler" in self.restored and len(self.restored) > 1)

    @property
    def nobody_knows(self) -> bool:
        """Whether something may be made again because nobody can know that it was made."""
        return self.excused or bool(self.unknowable)

    def _free(self, job: str) -> bool:
        """Whether the job may be made again: by a person's word, or because nobody can know better."""
        return self.excused or job in self.decided or job in self.unknowable

    # --- at every call of a machine -----------------------------------------------------------------------------------

    def run(self, job: str, fence: int, machine: str, moving_elsewhere: list[str]) -> None:
        """A machine is about to be called for a run."""
        if not self.committed[job, fence]:
            raise NotKept(f"{machine} starts {job} under fence {fence}, which no scheduler committed")
        if any((job, fence) == (was, under) for was, under, _ in self.runs) and not self.excused:
            raise NotKept(f"{machine} starts {job} under fence {fence} a second time")
        newest = self.fences.get(job, 0)
        if fence < newest and not self._free(job):
            raise NotKept(f"{machine} starts {job} under fence {fence}; {newest} has been given out")
        if moving_elsewhere and not self._free(job):
            raise NotKept(f"{machine} starts {job}, which {moving_elsewhere} makes")
        self.runs.append((job, fence, machine))

    def made(self, job: str) -> None:
        """An agent wrote down that its machine finished."""
        self.finished[job] += 1
        if self.finished[job] > 1 and not self._free(job):
            raise NotKept(f"{job} was made {self.finished[job]} times and nobody had decided so")

    # --- any time -----------------------------------------------------------------------------------------------------

    def conserved(self, c: sa.Connection) -> None:
        """What came in is done, runs, waits, has no machine or was cancelled."""
        numbers, jobs = overview(c), queries.jobs(c)
        total = numbers.done + numbers.running + numbers.waiting + numbers.unmatched + numbers.cancelled
        if not numbers.jobs_in == total == len(jobs):
            raise NotKept(f"jobs are lost or doubled: {numbers}")

    def check(self, c: sa.Connection) -> list[JobRow]:
        """Leases, fences, and no phantom running, from the scheduler's database."""
        jobs = queries.jobs(c)
        if sum(job.pieces for job in jobs if not job.replaces) != self.orders:
            raise NotKept(f"{self.orders} pieces were ordered, {len(jobs)} jobs are there")
        live = [lease.job for lease in queries.live_leases(c)]
        if len(live) != len(set(live)) or set(live) != {job.id for job in jobs if job.state in LEASED_STATES}:
            raise NotKept(f"live leases and leased jobs differ: {live}")
        for job in jobs:
            if job.fence < self.fences.get(job.id, 0):
                raise NotKept(f"the fence of {job.id} fell")
            self.fences[job.id] = job.fence
            started = (job.id, job.fence) in self.first_lines
            if job.state in MOTION_STATES - {JobState.STARTING} and not started:
                raise NotKept(f"{job.id} is shown as {job.state}, and no machine ever confirmed a line of it")
        return jobs


#: Lease states of an agent in which its machine must be at work, or have been called a moment ago.
AT_WORK: Final = MOVING - {LeaseState.STARTING}
