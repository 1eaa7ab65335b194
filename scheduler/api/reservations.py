"""Machines reserved by people: what it would displace, the reservation itself, and giving it back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from scheduler.api.access import MayOperate, Serving
from scheduler.api.problems import RESPONSES
from scheduler.dispatch import reservations
from scheduler.dispatch.reservations import Displaced, Reservation, Wish
from scheduler.orders.refusal import Refused

router: Final = APIRouter(prefix="/api/v1", tags=["reservations"], responses=RESPONSES)
MachineKey = Annotated[str, Path(max_length=200, examples=["mill.pi.m1"])]


class WindowBody(BaseModel):
    """When, and for what."""

    model_config = ConfigDict(extra="forbid")
    start: AwareDatetime = Field(examples=["2026-03-02T18:00:00Z"])
    end: AwareDatetime = Field(examples=["2026-03-02T21:00:00Z"])
    why: str = Field(default="", max_length=500, examples=["workshop evening"])


class ReserveBody(WindowBody):
    """The window, and the displaced jobs that whoever reserves was told of."""

    displaces: list[str] = Field(default_factory=list, max_length=1000)


class Reserved(BaseModel):
    """A reservation, and what it displaced."""

    reservation: Reservation
    displaced: tuple[Displaced, ...]


@router.get("/reservations")
def list_reservations(serving: Serving) -> list[Reservation]:
    """Reservations that are not over, by start."""
    with serving.store.read() as c:
        return reservations.standing(c, serving.clock.now())


@router.post("/machines/{machine}/reservations/preview")
def preview(machine: MachineKey, body: WindowBody, serving: Serving) -> tuple[Displaced, ...]:
    """Which jobs a reservation would touch, and how; or why it cannot be made at all. Nothing is changed."""
    wish = _wish(machine, body, "")
    with serving.store.read() as c:
        now = serving.clock.now()
        reservations.check(c, wish, now)
        return reservations.displaced_by(c, wish, now)


@router.post("/machines/{machine}/reservations", status_code=201)
def reserve(machine: MachineKey, body: ReserveBody, serving: Serving, who: MayOperate) -> Reserved:
    """Reserve a machine. Should it touch jobs that `displaces` does not name, nothing is done (409)."""
    wish = _wish(machine, body, who.name)
    with serving.store.write() as c:
        now = serving.clock.now()
        made, displaced = reservations.reserve(c, serving.mover, wish, now, expected=body.displaces)
    serving.bell.news()
    return Reserved(reservation=made, displaced=displaced)


@router.delete("/reservations/{reservation}")
def cancel(reservation: str, serving: Serving, who: MayOperate) -> Reservation:
    """Give the window back; work is planned into it again."""
    with serving.store.write() as c:
        given = reservations.cancel(c, reservation, serving.clock.now())
    serving.bell.news()
    return given


def _wish(machine: str, body: WindowBody, who: str) -> Wish:
    agent, _, name = machine.rpartition(".")
    if not agent:
        why = f"{machine[:200]!r} names no machine of the network"
        raise Refused("unknown_machine", "Nothing was done", why, "Give shop.agent.machine.", status=404)
    return Wish(agent, name, body.start, body.end, who, body.why)
