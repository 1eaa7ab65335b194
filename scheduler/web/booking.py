"""Reservations on the pages: what stands, whom a wish would touch, making and giving back. The same operations as the
HTTP API's, with the same roles and refusals; times are told by the clock of the machine's shop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from scheduler.api import reservations as api
from scheduler.api import views
from scheduler.api.tokens import Caller, Role, allowed
from scheduler.app import Scheduler
from scheduler.dispatch import reservations
from scheduler.dispatch.reservations import Displaced
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.web.clocks import Fold, from_typed, shop_zone
from scheduler.web.deeds import Deeds
from scheduler.web.models import DisplacedShown, MachineShown, ReservationShown, WishShown
from scheduler.web.words import stretch

_NOTHING: Final = "Nothing was reserved"
#: The codes of refusals that are told anew, by the shop's clock or with a new list.
_OVERLAPS, _DISPLACES_OTHERS = "reserved_already", "displaces_others"
_LONGEST_WHY: Final = 500


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in the form: the machine's key, and wall times of its shop as a browser writes them."""

    machine: str
    start: str
    end: str
    why: str = ""


class Outcome(StrEnum):
    """What became of a yes."""

    RESERVED = "reserved"
    LOOK_AGAIN = "look_again"
    """It would touch other jobs than those that were shown; nothing was done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a yes, and whom the wish touches by now."""

    outcome: Outcome
    wish: WishShown


class Booking:
    """Every method blocks for as long as the database takes, and raises Refused with nothing changed."""

    def __init__(self, serving: Scheduler, deeds: Deeds) -> None:
        self._serving, self._deeds = serving, deeds

    def look(self, token: str, typed: Typed, machines: Iterable[MachineShown]) -> WishShown:
        """Whom it would touch. Nothing is changed."""
        self._operator(token)
        if len(typed.why) > _LONGEST_WHY:
            raise Refused("long_why", _NOTHING, "what it is for is too long", f"Up to {_LONGEST_WHY} letters fit.")
        machine = next((one for one in machines if one.machine == typed.machine), None)
        if machine is None:
            raise Refused("no_machine", _NOTHING, "no machine was chosen", "Choose one first.")
        zone = shop_zone(machine.zone)
        start, end = from_typed(typed.start, zone, Fold.FIRST), from_typed(typed.end, zone, Fold.SECOND)
        wish = WishShown(machine.machine, machine.name, machine.shop, machine.zone, start, end, typed.why.strip(), ())
        return self._seen(wish)

    def reserve(self, token: str, wish: WishShown) -> Answer:
        """Reserve it; where it would touch others than `displaced` by now, nothing is done, and `fresh` names them."""
        who = self._operator(token)
        known = [one.job for one in wish.displaced]
        body = api.ReserveBody(start=wish.start, end=wish.end, why=wish.why, displaces=known)
        try:
            made = api.reserve(wish.machine, body, self._serving, who)
        except Refused as error:
            if error.code == _DISPLACES_OTHERS:
                seen = self._seen(wish)
                fresh = frozenset(one.job for one in seen.displaced) - set(known)
                return Answer(Outcome.LOOK_AGAIN, replace(seen, fresh=fresh))
            raise self._told(error, wish) from None
        return Answer(Outcome.RESERVED, replace(wish, displaced=self._titled(made.displaced), fresh=frozenset()))

    def give_back(self, token: str, reservation: str) -> None:
        """Work is planned into the window again."""
        api.cancel(reservation, self._serving, self._operator(token))

    def _operator(self, token: str) -> Caller:
        return allowed(self._deeds.who(token), Role.OPERATOR)

    def _seen(self, wish: WishShown) -> WishShown:
        now = self._serving.clock.now()
        if wish.end <= wish.start:
            raise Refused("bad_window", _NOTHING, "it would end before it begins", "Pick an end after the start.")
        if wish.end <= now:
            why = "the time you picked is over already"
            raise Refused("bad_window", _NOTHING, why, "Pick an end that is still to come; look at the date too.")
        window = api.WindowBody(start=wish.start, end=wish.end, why=wish.why)
        try:
            told = api.preview(wish.machine, window, self._serving)
        except Refused as error:
            raise self._told(error, wish) from None
        return replace(wish, displaced=self._titled(told), fresh=frozenset())

    def _told(self, error: Refused, wish: WishShown) -> Refused:
        """An overlap in the words of the shop's clock; any other refusal as it is."""
        if error.code != _OVERLAPS:
            return error
        now = self._serving.clock.now().astimezone(shop_zone(wish.zone))
        with self._serving.store.read() as c:
            there = [one for one in reservations.standing(c, now) if one.key == wish.machine]
        for one in there:
            if one.start < wish.end and wish.start < one.end:
                why = f"{wish.name} is reserved already by {one.who or 'somebody'}, {stretch(one.start, one.end, now)}"
                hint = "Take another time or machine, or ask them to give it back."
                return Refused(error.code, _NOTHING, why, hint, status=error.status)
        return error  # given back within this moment: what was said first stands

    def _titled(self, told: Iterable[Displaced]) -> tuple[DisplacedShown, ...]:
        with self._serving.store.read() as c:
            return tuple(
                DisplacedShown(
                    one.job, one.order, _title(c, one.job), one.state, one.effect.value, one.start, one.finish
                )
                for one in told
            )


def _title(c: sa.Connection, job: str) -> str:
    row = queries.job(c, job)
    if row is None:
        return job
    shown = views.job_view(row)
    return f"{shown.pieces} × {shown.title}" if shown.pieces > 1 else shown.title


def read_reservations(
    c: sa.Connection, machines: Iterable[MachineShown], now: datetime
) -> tuple[ReservationShown, ...]:
    """Those that are not over, by start."""
    known = {one.machine: one for one in machines}
    out = []
    for one in reservations.standing(c, now):
        there = known.get(one.key)
        name, zone = (there.name, there.zone) if there is not None else (one.machine, "")
        shop = one.agent.partition(".")[0]
        out.append(ReservationShown(one.id, one.key, name, shop, zone, one.start, one.end, one.who, one.why))
    return tuple(out)
