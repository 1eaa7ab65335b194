"""Which page stands at which address; all read through `Source`, act through `Deeds`, and keep themselves fresh."""

from __future__ import annotations

import os
import secrets
from datetime import UTC
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from nicegui import run, ui
from nicegui.storage import Storage
from pydantic import ValidationError

from designs.processes.model import ProcessKind
from scheduler.api.orders import OrderBody
from scheduler.app import Scheduler
from scheduler.orders.intake import BareFile
from scheduler.store import queries
from scheduler.web import overview, places
from scheduler.web.acting import (
    booking_deeds,
    carry_out,
    order_deeds,
    remember_token,
    remembered_token,
    token_field,
)
from scheduler.web.booking import Booking, read_reservations
from scheduler.web.deeds import Deeds
from scheduler.web.fresh import Section, keep_fresh, whole
from scheduler.web.models import Overview, ReservationShown
from scheduler.web.order_form import OWN_FILE, Asked, order_form
from scheduler.web.order_page import order_page
from scheduler.web.reserve_page import ReserveForm, reservation_list
from scheduler.web.source import Source, read_offcuts
from scheduler.web.theme import empty, frame, heading, link, quiet, text

#: A busy computer may take long to draw a page for the first time; the library would give up after 3 s.
_ANSWER_WITHIN_S: Final = 30.0
#: The line for "now" in the schedule moves this often even when nothing else does.
_CLOCK_MOVES_EVERY_S: Final = 20
_OPEN: Final = frozenset({"accepted", "making", "made"})


def mount(app: FastAPI, serving: Scheduler) -> None:
    """Put the pages on the API's application, at `/`. Once a process: the pages belong to one scheduler."""
    source, deeds = Source(serving.store, serving.clock), Deeds(serving)
    folder = serving.settings.data / "pages"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    Storage.path = folder  # the library's only way, beside an environment variable; its default is the working folder
    _reading_pages(source, deeds, serving)
    _order_pages(source, deeds)
    _reservation_page(source, deeds, serving)
    ui.run_with(
        app,
        title="Workshed",
        favicon=Path(__file__).parent / "favicon.svg",
        storage_secret=_secret(folder / "secret"),
        dark=None,
        show_welcome_message=False,
    )


def _reading_pages(source: Source, deeds: Deeds, serving: Scheduler) -> None:
    @ui.page("/", response_timeout=_ANSWER_WITHIN_S)
    async def first() -> None:
        with frame("Overview", "/"):
            with ui.element("div").classes("ws-section-head"):
                heading(1, "What the shops are making")
                _order_button()
            await keep_fresh(source.overview, _overview_sections(source))

    @ui.page("/orders", response_timeout=_ANSWER_WITHIN_S)
    async def all_orders() -> None:
        with frame("Orders", "/orders"):
            heading(1, "Orders")
            section = whole(lambda shown: shown, lambda shown: overview.orders(shown, source.now()))
            await keep_fresh(source.orders, [section])

    @ui.page("/designs", response_timeout=_ANSWER_WITHIN_S)
    async def designs() -> None:
        shelf = await run.io_bound(deeds.shelf) or ()
        with frame("Designs", "/designs"):
            places.designs_page(shelf)

    @ui.page("/floor", response_timeout=_ANSWER_WITHIN_S)
    async def floor() -> None:
        acts = order_deeds(deeds)

        def read() -> places.Floor:
            with serving.store.read() as c:
                shops = {agent.shop: agent.http for agent in queries.agents(c)}
                kept = read_offcuts(c)
            details = [source.order(order.order) for order in source.orders() if order.state in _OPEN]
            going = tuple(one for one in details if one is not None)
            return places.Floor(source.overview().machines, shops, going, kept)

        with frame("Shop floor", "/floor"):
            token_field()
            await keep_fresh(read, places.floor_page(source.now, acts))

    @ui.page("/setup", response_timeout=_ANSWER_WITHIN_S)
    def setup() -> None:
        with frame("Set-up", "/setup"):
            places.setup_page()


def _order_pages(source: Source, deeds: Deeds) -> None:
    @ui.page("/order", response_timeout=_ANSWER_WITHIN_S)
    async def form(design: str = "") -> None:
        shelf = await run.io_bound(deeds.shelf) or ()
        known = {card.key for card in shelf}
        asked = Asked(design=design if design in known else "", token=remembered_token())
        with frame("Order something", "/order"):
            order_form(shelf, asked, lambda said: _place(deeds, said))

    @ui.page("/orders/{order}", response_timeout=_ANSWER_WITHIN_S)
    async def one(order: str) -> None:
        acts = order_deeds(deeds)

        with frame("Order", "/orders"):
            if await run.io_bound(lambda: source.order(order)) is None:
                empty(f"There is no order {order[:64]}", "It may have been typed wrongly.")
                link("All orders", "/orders")
                return
            await keep_fresh(lambda: source.order(order), order_page(order, source.now, acts))
            token_field()


def _reservation_page(source: Source, deeds: Deeds, serving: Scheduler) -> None:
    booking = Booking(serving, deeds)

    @ui.page("/reservations", response_timeout=_ANSWER_WITHIN_S)
    async def reserve(machine: str = "") -> None:
        def read() -> tuple[ReservationShown, ...]:
            with serving.store.read() as c:
                return read_reservations(c, source.overview().machines, source.now())

        acts = booking_deeds(booking, lambda: source.overview().machines)
        shown = await run.io_bound(source.overview)
        with frame("Reservations", "/floor"):
            heading(1, "Reserve a machine")
            said = "For a workshop evening, a repair, your own hands: no work of the pool is planned into the time."
            text("p", said).classes("ws-quiet")
            token_field()
            ReserveForm(() if shown is None else shown.machines, machine, source.now, acts)
            await keep_fresh(read, reservation_list(source.now, acts))


def _overview_sections(source: Source) -> list[Section]:
    def schedule(shown: Overview) -> None:
        with ui.element("div").classes("ws-section-head"):
            heading(2, "Schedule")
            quiet("Solid: running. Dashed: planned. Dotted tail: nine in ten end before it. Grey: kept from the pool.")
        with ui.element("div").classes("ws-card"):
            overview.schedule(shown, source.now())

    def hours(shown: Overview) -> None:
        if not shown.hours:
            return
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, "People's hours")
                quiet("For loading, clearing, and staying beside lasers and routers. Weeks begin on Monday, UTC.")
            overview.people(shown.hours, source.now())

    def machines(shown: Overview) -> None:
        heading(2, "Machines")
        overview.machines(shown.machines, source.now())

    def work(shown: Overview) -> None:
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, "Queue")
                quiet("Need ranks work; money never does.")
            overview.queue(shown.queue, source.now())
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, "Orders")
                link("All orders", "/orders")
            overview.orders(shown.orders, source.now())

    def minute() -> int:
        return int(source.now().timestamp() // _CLOCK_MOVES_EVERY_S)

    return [
        whole(lambda shown: (shown.open_orders, shown.running, shown.waiting, shown.machines), overview.figures),
        whole(lambda shown: shown.machines, machines),
        whole(lambda shown: (shown.bars, shown.lanes, minute()), schedule),
        whole(lambda shown: (shown.hours, source.now().astimezone(UTC).date()), hours, "ws-contents"),
        whole(lambda shown: (shown.queue, shown.orders), work, "ws-two"),
    ]


# --- ordering ---------------------------------------------------------------------------------------------------------


async def _place(deeds: Deeds, asked: Asked) -> None:
    """Bring the design, place the order, and go to its page."""
    remember_token(asked.token)
    problem = _missing(asked)
    if problem:
        ui.notify(problem, type="warning", timeout=8_000)
        return
    token = asked.token.strip()

    def deed() -> str:
        if asked.design == OWN_FILE:
            said = BareFile(
                licence=asked.licence,
                process=ProcessKind(asked.process) if asked.process else None,
                material=asked.material or None,
                thickness_mm=asked.thickness_mm,
            )
            design = deeds.bring_file(token, asked.file_name, asked.file, said)
        else:
            design = deeds.bring(token, asked.design)
        return deeds.order(token, _body(design, asked), asked.form)

    order = await carry_out(deed, "")
    if order is not None:
        ui.navigate.to(f"/orders/{order}")


def _missing(asked: Asked) -> str:
    if not asked.design:
        return "Choose a design first."
    if asked.design == OWN_FILE and not asked.file:
        return "Add the file first."
    if not asked.token.strip():
        return "Ordering needs a token; whoever runs this scheduler can make one for you."
    try:
        _body("x", asked)
    except (ValidationError, ValueError) as error:
        return f"Something in the form cannot be right: {error}"
    return ""


def _body(design: str, asked: Asked) -> OrderBody:
    return OrderBody.model_validate(
        {
            "design": design,
            "quantity": int(asked.quantity or 0),
            "need_class": asked.need,
            "ring": asked.ring,
            "due": asked.due_at,
            "requester": asked.requester.strip(),
            "accept": False,
            "quote": True,
        }
    )


def _order_button() -> None:
    with ui.element("a").classes("ws-button").props('href="/order"'):
        ui.icon("add", size="20px").props('aria-hidden="true"')
        text("span", "Order something")


def _secret(file: Path) -> str:
    """Signs the pages' cookies; made once, readable by its owner only."""
    if not file.exists():
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(32))
    return file.read_text(encoding="ascii")
