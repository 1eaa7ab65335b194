"""Jobs: where they are, why, and what a person may do about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from agents.contract.vocabulary import JobState
from scheduler.api.access import MayOperate, Serving
from scheduler.api.homes import HomeView
from scheduler.api.problems import RESPONSES
from scheduler.api.views import JobPage, JobView, ShutMachine, job_page, job_views
from scheduler.app import Scheduler
from scheduler.dispatch import people
from scheduler.store import queries

router: Final = APIRouter(prefix="/api/v1/jobs", tags=["jobs"], responses=RESPONSES)


class Why(BaseModel):
    """Why, for the record and for whoever stands at the machine."""

    why: str = Field(min_length=1, max_length=500, examples=["the nozzle is clogged"])


class Lost(Why):
    """Which attempt is lost, as far as the person knows: a newer one is not ended by a word about an older one."""

    attempt: int | None = Field(default=None, ge=1)


class Inspection(BaseModel):
    """What a person found of a job's pieces."""

    good: int = Field(ge=0)
    rejected: int = Field(ge=0)
    note: str = Field(default="", max_length=500)


class WhyAnswer(BaseModel):
    """Why a job is where it is."""

    job: str
    state: str
    why: str
    reasons: tuple[str, ...]
    terms: dict[str, float]
    """What its place costs, term by term, in weight-minutes."""
    machines: tuple[ShutMachine, ...]
    home: HomeView
    """Who looks after it while the scheduler is away, and what is in doubt."""


@router.get("")
def list_jobs(
    serving: Serving, state: JobState | None = None, limit: Annotated[int, Query(ge=1, le=5000)] = 500
) -> list[JobView]:
    """Jobs, oldest first."""
    with serving.store.read() as c:
        return list(job_views(c, queries.jobs(c, states=None if state is None else [state])[:limit]))


@router.get("/{job}")
def read(job: str, serving: Serving) -> JobPage:
    """One job: state, history, placement with its reasons, and how its toolpath was made."""
    with serving.store.read() as c:
        return job_page(c, people.the_job(c, job))


@router.get("/{job}/why")
def why(job: str, serving: Serving) -> WhyAnswer:
    """Why the job is where it is: its placement's terms, or what keeps each machine out and what would lift it."""
    with serving.store.read() as c:
        row = people.the_job(c, job)
        (view,) = job_views(c, [row])
    terms = (row.placement or {}).get("terms", ())
    said = (
        view.flag
        or view.home.doubt
        or view.why
        or (view.reasons[0] if view.reasons else "")
        or f"the job is {view.state}"
    )
    return WhyAnswer(
        job=view.id,
        state=view.state,
        why=said,
        reasons=view.reasons,
        terms={term["name"]: term["value"] / 100 for term in terms},
        machines=view.waiting,
        home=view.home,
    )


@router.post("/{job}/cancel")
def cancel(job: str, body: Why, serving: Serving, who: MayOperate) -> JobPage:
    """Cancel one job; where a machine may be moving, its agent is asked and must confirm."""
    return _do(serving, lambda c, now: people.cancel_job(c, serving.mover, job, body.why, now), job)


@router.post("/{job}/pause")
def pause(job: str, body: Why, serving: Serving, who: MayOperate) -> JobPage:
    """Ask the machine's agent to hold at the next safe moment. Resuming takes a person at the machine."""
    return _do(serving, lambda c, now: people.pause_job(c, serving.mover, job, body.why, now), job)


@router.post("/{job}/declare-lost")
def declare_lost(job: str, body: Lost, serving: Serving, who: MayOperate) -> JobPage:
    """A person looked at the machine: this attempt is lost. The job is tried again under a higher fence."""
    return _do(serving, lambda c, now: people.declare_lost(c, serving.mover, job, body.why, now, body.attempt), job)


@router.post("/{job}/inspect")
def inspect(job: str, body: Inspection, serving: Serving, who: MayOperate) -> JobPage:
    """A person looked at a finished job's parts, and its shop's agent can no longer say so (its memory was lost)."""

    def deed(c: sa.Connection, now: datetime) -> object:
        return people.inspect_job(c, serving.mover, job, body.good, body.rejected, body.note, now)

    return _do(serving, deed, job)


@router.post("/{job}/release")
def release(job: str, serving: Serving, who: MayOperate) -> JobPage:
    """A person looked at a job in doubt, given up, or with a quarantined file: it may be offered again."""
    return _do(serving, lambda c, now: people.release_job(c, serving.mover, job, now), job)


def _do(serving: Scheduler, deed: people.TimedDeed, job: str) -> JobPage:
    with serving.store.write() as c:
        deed(c, serving.clock.now())
        page = job_page(c, people.the_job(c, job))
    serving.bell.news()
    return page
