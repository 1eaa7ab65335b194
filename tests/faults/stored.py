"""A world's jobs and leases as the product's own rows: whatever a real check comes to look at, it finds.

The model cancels no job, and in a world no time passes: those columns say so.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from agents.contract.vocabulary import JobState
from scheduler.store.rows import JobRow, LeaseRow
from tests.faults.worlds import Job

MACHINE: Final = "m"
_NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
_JOB: Final = JobRow(
    id="",
    order="",
    part="part",
    pieces=1,
    process="fdm",
    state=JobState.WAITING,
    version=1,
    fence=0,
    attempt=0,
    file_key="",
    body={},
    deadline=None,
    not_before=None,
    created_at=_NOW,
    since=_NOW,
    started_at=None,
    finished_at=None,
    machine_s=0.0,
    agent=None,
    machine=None,
    line=0,
    progress=0.0,
    good=0,
    rejected=0,
    replaces=None,
    flag="",
    cancel_why="",
    failure=None,
    placement=None,
    waiting=None,
)


def job_row(job: int, row: Job) -> JobRow:
    """The job as the scheduler's database has it."""
    return replace(_JOB, id=str(job), state=row.state, fence=row.fence, attempt=row.given)


def lease_row(job: int, row: Job) -> LeaseRow:
    """The live lease on a job; `row` is one that is leased, and a model's agent is named by its number."""
    return LeaseRow(
        id=f"{job}-{row.given}",
        job=str(job),
        fence=row.given,
        attempt=row.given,
        offer=str(row.offer),
        agent=str(row.holder),
        machine=MACHINE,
        granted_at=_NOW,
        term=1,
        start_by=_NOW + timedelta(hours=1),
        ended_at=None,
        ended_why="",
    )
