"""The network: machines, shops, the plan, events as they happen, toolpaths by hash, health, metrics, tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from scheduler import metrics
from scheduler.api.access import MayAdminister, MayOperate, Serving
from scheduler.api.problems import RESPONSES
from scheduler.api.tokens import Role, new_token
from scheduler.api.transfers import BoundedFile, Transfers
from scheduler.api.views import (
    EventView,
    Gantt,
    MachineView,
    Overview,
    ShopView,
    event_view,
    machines_live,
    overview,
    plan_gantt,
    shops,
)
from scheduler.app import Scheduler
from scheduler.dispatch import board, people
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.store.toolpath_files import forgotten_at

router: Final = APIRouter(tags=["network"], responses=RESPONSES)
_HEARTBEAT_S: Final = 15.0


class Health(BaseModel):
    """Whether the scheduler can do its work. One that stands by can: it answers questions, and follows."""

    ok: bool
    role: Literal["dispatching", "standing by"]
    database: bool
    broker: bool
    term: int
    toolpaths_in_the_making: int


class NewToken(BaseModel):
    """A token to make."""

    name: str = Field(min_length=1, max_length=100, examples=["library"])
    role: Role = Role.REQUESTER


class MadeToken(BaseModel):
    """A token, shown this once."""

    name: str
    role: Role
    token: str


@router.get("/api/v1/machines")
def list_machines(serving: Serving) -> tuple[MachineView, ...]:
    """Every machine as last reported; `stale` says that its agent is gone."""
    with serving.store.read() as c:
        return machines_live(c)


@router.post("/api/v1/machines/{machine}/release")
def release_machine(machine: str, serving: Serving, who: MayOperate) -> MachineView:
    """A person looked at a quarantined machine: it may be offered work again."""
    agent, _, name = machine.rpartition(".")
    serving.write(lambda c: people.release_machine(c, agent, name, serving.clock.now()))
    with serving.store.read() as c:
        return next(view for view in machines_live(c) if view.id == machine)


class HomeLost(BaseModel):
    """Why a home will never hand in its book, as a person knows."""

    why: str = Field(min_length=1, max_length=500, examples=["the shop burnt down"])


class HomeDeclaredLost(BaseModel):
    """How many jobs may be offered again."""

    jobs: int


@router.post("/api/v1/homes/{agent}/lost")
def declare_home_lost(agent: str, said: HomeLost, serving: Serving, who: MayOperate) -> HomeDeclaredLost:
    """A person knows that a home (`{shop}.{agent}`) is gone for good: its jobs are the scheduler's own again.

    If it is not gone, what it grants runs beside what the scheduler grants.
    """
    freed: list[int] = []
    mover, now = serving.mover, serving.clock.now()
    serving.write(lambda c: freed.append(board.declare_home_lost(c, mover, agent, said.why, now)))
    return HomeDeclaredLost(jobs=freed[0])


@router.get("/api/v1/shops")
def list_shops(serving: Serving) -> tuple[ShopView, ...]:
    """Every shop ever heard of."""
    with serving.store.read() as c:
        return shops(c)


@router.get("/api/v1/plan")
def plan(serving: Serving) -> Gantt:
    """The newest plan."""
    with serving.store.read() as c:
        return plan_gantt(c)


@router.get("/api/v1/overview")
def numbers(serving: Serving) -> Overview:
    """Everything in numbers."""
    with serving.store.read() as c:
        return overview(c)


@router.get("/api/v1/events")
async def events(
    request: Request,
    serving: Serving,
    after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
    once: bool = False,
) -> Response:
    """Server-sent events: every line of the record as it is written. `Last-Event-ID` resumes without a gap.

    Without it, and without `after`, the stream begins now. `once` answers with what there is as JSON, and ends.
    """
    start = after
    if last_event_id is not None and last_event_id.isdigit():
        start = int(last_event_id)
    if start is None:
        start = await run_in_threadpool(_last, serving)
    if once:
        found = await run_in_threadpool(_after, serving, start)
        return Response(json.dumps([_plain(event) for event in found]), media_type="application/json")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(request, serving, start), media_type="text/event-stream", headers=headers)


async def _stream(request: Request, serving: Scheduler, start: int) -> AsyncIterator[bytes]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    forget = serving.store.after_commit(lambda: loop.call_soon_threadsafe(news.set))
    last = start
    try:
        yield b"retry: 1000\n\n"
        while not serving.stopping.is_set():
            news.clear()
            found = await run_in_threadpool(_after, serving, last)
            for event in found:
                last = event.id
                yield f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(_plain(event))}\n\n".encode()
            if found:
                continue
            try:
                await asyncio.wait_for(news.wait(), _HEARTBEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
            if await request.is_disconnected():
                return
    finally:
        forget()


def _last(serving: Scheduler) -> int:
    with serving.store.read() as c:
        return queries.last_event(c)


def _after(serving: Scheduler, last: int) -> list[EventView]:
    with serving.store.read() as c:
        return [event_view(row) for row in queries.events(c, after=last, limit=500)]


def _plain(event: EventView) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name in EventView.__dataclass_fields__
        for value in (getattr(event, name),)
    }


@router.get("/api/v1/toolpaths/{sha256}", response_class=FileResponse)
def toolpath(sha256: str, serving: Serving, request: Request) -> Response:
    """A toolpath's bytes, whole or by ranges. Check the hash before use. 503 while too many are being sent; 410 once
    it is not kept any more."""
    with serving.store.read() as c:
        known, since = queries.toolpath(c, sha256), forgotten_at(c, sha256)
    if known is None:
        why = f"no toolpath with the hash {sha256[:64]} was made here"
        raise Refused("unknown_toolpath", "Nothing was found", why, status=404)
    if since is not None:
        why = (
            f"it was made on {known.created_at:%d %b %Y} and is not kept since {since:%d %b %Y}: no job needed it then"
        )
        hint = (
            "It is made again, from its design and for the machine, as soon as a job needs it: order the design again."
        )
        raise Refused("forgotten_toolpath", "The toolpath was not sent", why, hint, status=410)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{sha256}"'}
    address = request.client.host if request.client is not None else ""
    transfers: Transfers = request.app.state.transfers
    return BoundedFile(serving.blobs.path(sha256), transfers, address, media_type="text/x.gcode", headers=headers)


@router.get("/health")
def health(serving: Serving, response: Response) -> Health:
    """Whether the scheduler can do its work; 503 when it cannot."""
    with serving.store.read() as c:
        queries.last_event(c)
    broker = serving.link is None or serving.link.connected.is_set()
    ok = broker or not serving.leadership.held
    response.status_code = 200 if ok else 503
    return Health(
        ok=ok,
        role="dispatching" if serving.leadership.held else "standing by",
        database=True,
        broker=broker,
        term=serving.term,
        toolpaths_in_the_making=serving.room.busy,
    )


@router.get("/metrics", response_class=Response)
def prometheus(serving: Serving) -> Response:
    """Metrics in Prometheus' text format."""
    registry = metrics.registry(
        serving.store, serving.clock, serving.ingest, serving.planner, serving.dispatcher.timings
    )
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.post("/api/v1/tokens", status_code=201)
def make_token(body: NewToken, serving: Serving, who: MayAdminister) -> MadeToken:
    """Make a token for somebody; it is shown this once."""
    with serving.store.write() as c:
        token = new_token(c, body.name, body.role, serving.clock.now())
    return MadeToken(name=body.name, role=body.role, token=token)
