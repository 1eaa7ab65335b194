"""Plans as they were kept: what the planner was shown and what it answered, and the same made again."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import BaseModel

from scheduler.api.access import MayOperate, Serving
from scheduler.api.problems import RESPONSES
from scheduler.orders.refusal import Refused
from scheduler.planning.replaying import replayed
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.store import tables as t

router: Final = APIRouter(tags=["plans"], responses=RESPONSES)


class ReplayView(BaseModel):
    """What making a kept plan again gave."""

    plan: int
    same: bool
    whole: bool
    """True: the search too; False: its order of work was taken, and all that follows from it computed again."""
    differences: list[str]


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
