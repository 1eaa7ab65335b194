"""Plates, sheets and offcuts: whose piece lies where, whose was rejected, what is left in the shop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from designs.processes.sheet_picture import offcut_svg
from scheduler.api.access import MayOperate, Serving
from scheduler.api.problems import RESPONSES
from scheduler.api.views import JobPage, job_page
from scheduler.dispatch import people
from scheduler.orders import remnants
from scheduler.orders.cards import sheet_drawing
from scheduler.orders.refusal import Refused
from scheduler.orders.remnants import RemnantState, stock_of
from scheduler.store import content_queries, queries
from scheduler.store import tables as t
from scheduler.store.content_queries import RemnantRow

router: Final = APIRouter(prefix="/api/v1", tags=["sheets"], responses=RESPONSES)
_SVG: Final = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class RemnantView:
    """One offcut: where it lies, what it is, where it came from."""

    id: str
    shop: str
    material: str
    colour: str
    thickness_mm: float | None
    width_mm: float
    height_mm: float
    area_mm2: float
    state: str
    from_job: str | None
    from_remnant: str | None
    used_by: str | None
    why: str
    created_at: datetime


class Fate(BaseModel):
    """What became of an offcut."""

    state: RemnantState
    why: str = Field(default="", max_length=500, examples=["a jig for the drill"])


class RejectedPieces(BaseModel):
    """Rejected pieces of one part of one order."""

    order: str = Field(max_length=64)
    part: str = Field(max_length=128)
    rejected: int = Field(ge=0)


@router.get("/remnants")
def list_remnants(
    serving: Serving,
    shop: Annotated[str | None, Query(max_length=64)] = None,
    state: RemnantState | None = None,
) -> list[RemnantView]:
    """Offcuts, smallest first."""
    with serving.store.read() as c:
        rows = content_queries.remnants(c, shop=shop, states=None if state is None else [state.value])
        return [_view(row) for row in rows]


@router.get("/remnants/{label}.svg", response_class=Response, responses={200: {"content": {_SVG: {}}}})
def draw_remnant(label: str, serving: Serving) -> Response:
    """The offcut as it is laid on the machine."""
    with serving.store.read() as c:
        row = content_queries.remnant(c, label)
    if row is None:
        raise Refused("unknown_remnant", "Nothing was drawn", f"there is no offcut {label[:64]}", status=404)
    return Response(offcut_svg(stock_of(row).outline_mm, row.id), media_type=_SVG)


@router.post("/remnants/{label}/mark")
def mark_remnant(label: str, body: Fate, serving: Serving, who: MayOperate) -> RemnantView:
    """Say that an offcut is there, in doubt, used up or lost. One under a job that goes on is refused."""
    with serving.store.write() as c:
        row = remnants.mark(c, label, body.state, body.why, serving.clock.now())
    serving.bell.news()
    return _view(row)


@router.get("/jobs/{job}/sheet.svg", response_class=Response, responses={200: {"content": {_SVG: {}}}})
def draw_sheet(job: str, serving: Serving) -> Response:
    """The job's plate or sheet as it was frozen: pieces numbered as on the work card, a tone for each order."""
    with serving.store.read() as c:
        row = people.the_job(c, job)
        newest = sa.select(t.offers.c.sha256).where(t.offers.c.job == row.id).order_by(t.offers.c.made_at.desc())
        sha256 = c.execute(newest.limit(1)).scalar()
        toolpath = None if sha256 is None else queries.toolpath(c, sha256)
        drawn = None if toolpath is None else sheet_drawing(toolpath, content_queries.lines(c, row.id))
    if drawn is None:
        why = "the job was not offered yet, or its toolpath came without a layout"
        raise Refused("no_layout", "Nothing was drawn", why, status=404)
    return Response(drawn, media_type=_SVG)


@router.post("/jobs/{job}/rejected")
def say_whose(job: str, body: list[RejectedPieces], serving: Serving, who: MayOperate) -> JobPage:
    """Say whose pieces were the rejected ones of an inspected job that several orders share."""
    said = {(each.order, each.part): each.rejected for each in body if each.rejected}
    with serving.store.write() as c:
        people.say_whose(c, serving.mover, job, said, serving.clock.now())
        page = job_page(c, people.the_job(c, job))
    serving.bell.news()
    return page


def _view(row: RemnantRow) -> RemnantView:
    stock = stock_of(row)
    names = ("id", "shop", "material", "colour", "thickness_mm", "area_mm2", "state", "from_job", "from_remnant")
    values = {name: getattr(row, name) for name in (*names, "used_by", "why", "created_at")}
    return RemnantView(**values, width_mm=stock.width_mm or 0.0, height_mm=stock.height_mm or 0.0)
