"""A person acts on a page: with whose token, off the event loop, and how the page says how it went. In: a press of a
button. Out: a deed that was done, refused or failed, and in each case a message that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from nicegui import app, run, ui

from scheduler.orders.refusal import Refused
from scheduler.web.booking import Answer, Booking, Typed
from scheduler.web.deeds import Deeds
from scheduler.web.messages import bad_news, good_news
from scheduler.web.models import MachineShown, WishShown
from scheduler.web.order_page import OrderDeeds
from scheduler.web.reserve_page import BookingDeeds
from scheduler.web.theme import text

_T = TypeVar("_T")
_TOKEN_CODES: Final = frozenset({"no_token", "bad_token"})
_TOKEN_HINT: Final = "Write yours into “Your token” and try again; whoever runs this scheduler can make one for you."
_ENDING: Final = "The scheduler is ending, and this may not have been done. Look again once it is back."


def order_deeds(deeds: Deeds) -> OrderDeeds:
    """What the buttons of an order do, with the token of whoever pressed them."""

    async def accept(order: str) -> None:
        token = remembered_token()
        await carry_out(lambda: deeds.accept(token, order), "Accepted. It will be made.")

    async def cancel(order: str) -> None:
        token = remembered_token()
        await carry_out(lambda: deeds.cancel(token, order), "Cancelled.")

    async def hand_over(order: str) -> None:
        token = remembered_token()
        await carry_out(lambda: deeds.hand_over(token, order), "Handed over.")

    async def step_done(order: str, step: str) -> None:
        token = remembered_token()
        await carry_out(lambda: deeds.step_done(token, order, step), f"{step}: done.")

    return OrderDeeds(accept, cancel, hand_over, step_done)


def booking_deeds(booking: Booking, machines: Callable[[], Sequence[MachineShown]]) -> BookingDeeds:
    """What the buttons of the reservations' page do, with the token of whoever pressed them."""

    async def look(typed: Typed, refused: Callable[[str], object]) -> WishShown | None:
        token = remembered_token()
        return await carry_out(lambda: booking.look(token, typed, machines()), "", refused)

    async def reserve(wish: WishShown, refused: Callable[[str], object]) -> Answer | None:
        token = remembered_token()
        return await carry_out(lambda: booking.reserve(token, wish), "", refused)

    async def give_back(reservation: str) -> None:
        token = remembered_token()
        await carry_out(lambda: booking.give_back(token, reservation), "Given back. Work may be planned into it.")

    return BookingDeeds(look, reserve, give_back)


async def carry_out(deed: Callable[[], _T], said: str, refused: Callable[[str], object] | None = None) -> _T | None:
    """Carry out a person's deed off the event loop; tell how it went. None when it was not done.

    A refusal is told over the page, or by `refused` in the place where the page wants it. Anything else goes on to the
    page's own handler, which tells too, and to the log.
    """
    client = ui.context.client  # now: the button that was pressed may be gone when the deed is done
    try:
        answer = await run.io_bound(lambda: (deed(),))
    except Refused as error:
        words = f"{error.what}: {error.why}. {_TOKEN_HINT}" if error.code in _TOKEN_CODES else str(error)
        if refused is None:
            bad_news(client, words)
        else:
            refused(words)
        return None
    if answer is None:
        bad_news(client, _ENDING)
        return None
    if said:
        good_news(client, said)
    return answer[0]


def remembered_token() -> str:
    """The token that this reader gave on any page; empty without one."""
    return str(app.storage.user.get("token", ""))


def remember_token(token: str) -> None:
    """For this reader, on every page."""
    app.storage.user["token"] = token.strip()


def token_field() -> None:
    """Where a person says once who they are; buttons on the page use it."""
    with ui.element("form").on("submit.prevent", lambda: None), ui.element("details").classes("ws-small"):
        text("summary", "Your token, needed for the buttons").classes("ws-quiet")
        field = ui.input(
            "Token", value=remembered_token(), password=True, on_change=lambda event: remember_token(event.value or "")
        )
        field.props('outlined dense autocomplete="current-password"').classes("ws-field").style("max-width: 420px")
