"""Orders: placed, accepted, cancelled, assembled, handed over."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from agents.contract.vocabulary import NeedClass, Ring
from scheduler.api.access import Anyone, MayOperate, MayQueue, Serving
from scheduler.api.problems import RESPONSES
from scheduler.api.tokens import Caller, Role
from scheduler.api.views import OrderView, order_view
from scheduler.app import Scheduler
from scheduler.dispatch import people
from scheduler.orders.progress import OrderState
from scheduler.orders.refusal import Refused
from scheduler.orders.requests import OrderRequest, place_order
from scheduler.store import queries
from scheduler.store.rows import OrderRow

router: Final = APIRouter(prefix="/api/v1/orders", tags=["orders"], responses=RESPONSES)


class OrderBody(BaseModel):
    """What somebody wants, so many, by when, how badly, and how far it may travel."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "design": "4be1…64 hexadecimal digits",
                "quantity": 3,
                "need_class": "commons",
                "ring": "city",
                "material": "PLA",
                "accept": True,
            }
        },
    )
    design: str = Field(min_length=1, max_length=64)
    quantity: int
    part: str | None = Field(default=None, max_length=128)
    need_class: NeedClass = NeedClass.PERSONAL
    ring: Ring = Ring.FEDERATION
    due: AwareDatetime | None = None
    material: str | None = Field(default=None, max_length=100)
    colour: str = Field(default="", max_length=60)
    thickness_mm: float | None = Field(default=None, gt=0, le=500)
    requester: str = Field(default="", max_length=200)
    delivery: str = Field(default="", max_length=500)
    note: str = Field(default="", max_length=2000)
    accept: bool = False
    quote: bool = False
    own_use: bool = False
    shop: str | None = Field(default=None, max_length=64)


class Reason(BaseModel):
    """Why, for the record and for whoever is affected."""

    why: str = Field(default="", max_length=500, examples=["no longer needed"])


def _names(who: Caller | None, order: OrderRow) -> bool:
    return who is not None and (who.role.includes(Role.OPERATOR) or who.name == order.requester)


def _view(c: sa.Connection, order_id: str, who: Caller | None) -> OrderView:
    row = people.the_order(c, order_id)
    return order_view(c, row, names=_names(who, row))


def _own(c: sa.Connection, order_id: str, who: Caller) -> None:
    order = people.the_order(c, order_id)
    if not _names(who, order):
        why = "the order is somebody else's"
        raise Refused("not_yours", "Nothing was done", why, "Ask an operator.", status=403)


@router.post("", status_code=201)
def place(
    body: OrderBody,
    response: Response,
    serving: Serving,
    who: MayQueue,
    idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
) -> OrderView:
    """Place an order. The same Idempotency-Key with the same order answers with the first one (200)."""
    said = body.model_dump()
    if not who.role.includes(Role.OPERATOR) or not said["requester"]:
        said["requester"] = who.name
    request = OrderRequest(**said)
    with serving.store.write() as c:
        order, fresh = place_order(c, serving.blobs, request, serving.clock.now(), idempotency_key=idempotency_key)
        view = order_view(c, order, names=True)
    serving.bell.news()
    response.status_code = 201 if fresh else 200
    response.headers["Location"] = f"/api/v1/orders/{view.id}"
    return view


@router.get("")
def list_orders(
    serving: Serving,
    who: Anyone,
    state: OrderState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[OrderView]:
    """Orders, newest first."""
    with serving.store.read() as c:
        rows = queries.orders(c, states=None if state is None else [state.value], limit=limit)
        return [order_view(c, row, names=_names(who, row)) for row in rows]


@router.get("/{order}")
def read(order: str, serving: Serving, who: Anyone) -> OrderView:
    """One order with its parts, steps and jobs."""
    with serving.store.read() as c:
        return _view(c, order, who)


@router.post("/{order}/accept")
def accept(order: str, serving: Serving, who: MayQueue) -> OrderView:
    """Say yes: its jobs may be planned and offered from now on."""

    def deed(c: sa.Connection, now: datetime) -> None:
        _own(c, order, who)
        people.accept_order(c, order, now)

    return _do(serving, deed, order, who)


@router.post("/{order}/cancel")
def cancel(order: str, serving: Serving, who: MayQueue, body: Reason | None = None) -> OrderView:
    """Cancel: at once where nothing moved; running machines are asked to end and confirm it."""
    why = (body or Reason()).why or "cancelled by its requester"

    def deed(c: sa.Connection, now: datetime) -> None:
        _own(c, order, who)
        people.cancel_order(c, serving.mover, order, why, now)

    return _do(serving, deed, order, who)


@router.post("/{order}/hand-over")
def hand_over(order: str, serving: Serving, who: MayOperate) -> OrderView:
    """The requester has the parts."""
    return _do(serving, lambda c, now: people.hand_over(c, order, now), order, who)


@router.post("/{order}/steps/{step}/done")
def step_done(order: str, step: str, serving: Serving, who: MayOperate) -> OrderView:
    """An assembly step was done; it must be open."""
    return _do(serving, lambda c, now: people.step_done(c, order, step, who.name, now), order, who)


def _do(serving: Scheduler, deed: people.TimedDeed, order: str, who: Caller) -> OrderView:
    with serving.store.write() as c:
        deed(c, serving.clock.now())
        view = _view(c, order, who)
    serving.bell.news()
    return view
