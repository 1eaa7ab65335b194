"""Plans as they were kept: what the planner was shown and what it answered, and the same made again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import BaseModel

from scheduler.api.access import MayOperate, Serving
from scheduler.api.problems import RESPONSES
from scheduler.orders.refusal import Refused
from scheduler.planning.engine import Planner
from scheduler.planning.lifting import lifts
from scheduler.planning.replaying import replayed
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.store import queries
from scheduler.store import tables as t

#: Open jobs up to which changes are planned in thought, in the request's own thread.
MOST_JOBS: Final = 400

router: Final = APIRouter(tags=["plans"], responses=RESPONSES)


class ReplayView(BaseModel):
    """What making a kept plan again gave."""

    plan: int
    same: bool
    whole: bool
    """True: the search too; False: its order of work was taken, and all that follows from it computed again."""
    differences: list[str]


class LiftView(BaseModel):
    """One change that would give a waiting job a place, and when it would start there."""

    machine: str
    checker: str
    change: str
    start: datetime
    finish: datetime
    text: str


@router.get("/api/v1/jobs/{job}/lifts")
def what_would_help(job: str, serving: Serving) -> list[LiftView]:
    """For a job that waits: what would give it a place, cheapest first, as the newest plan's snapshot stands."""
    with serving.store.read() as c:
        newest = queries.last_plan(c)
    snapshot = None if newest is None else msgspec.convert(newest[1]["snapshot"], Snapshot)
    if snapshot is None or job not in {one.id for one in snapshot.jobs}:
        why = f"the newest plan does not speak of job {job}"
        raise Refused("not_planned", "Nothing can be said", why, "Its own page says why it is held back.", status=404)
    if len(snapshot.jobs) > MOST_JOBS:
        why = f"the network has {len(snapshot.jobs)} open jobs, and up to {MOST_JOBS} are planned in thought"
        raise Refused("too_many_jobs", "Nothing can be said", why, "Its own page says each machine's first no.")
    found = lifts(Planner(snapshot), job)
    keys = ("machine", "checker", "change", "start", "finish", "text")
    return [LiftView(**{key: getattr(lift, key) for key in keys}) for lift in found]


@router.get("/api/v1/plans/{number}", response_class=Response)
def kept_plan(number: int, serving: Serving) -> Response:
    """The snapshot and the plan, as `workshed plan replay` reads them."""
    body = msgspec.json.encode(_kept(serving, number))
    return Response(body, media_type="application/json")


@router.get("/api/v1/plans/{number}/replay")
def replay(number: int, serving: Serving, who: MayOperate) -> ReplayView:
    """Make the plan again from what was kept, and compare."""
    kept = _kept(serving, number)
    again = replayed(msgspec.convert(kept["snapshot"], Snapshot), msgspec.convert(kept["plan"], Plan))
    return ReplayView(plan=number, same=again.same, whole=again.whole, differences=list(again.differences))


def _kept(serving: Any, number: int) -> dict[str, Any]:
    with serving.store.read() as c:
        body = c.execute(sa.select(t.plans.c.body).where(t.plans.c.id == number)).scalar()
    if body is None:
        why = f"plan {number} is not kept: only the newest ones are"
        hint = "The number of a job's plan is in its placement."
        raise Refused("no_such_plan", "There is no such plan", why, hint, status=404)
    kept: dict[str, Any] = body
    return kept
