"""Which page stands at which address; all read through `Source`, act through `Deeds`, and keep themselves fresh."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from nicegui import app as pages_app
from nicegui import run, ui
from nicegui.storage import Storage
from pydantic import ValidationError

from designs.processes.model import ProcessKind
from scheduler.api.orders import OrderBody
from scheduler.app import Scheduler
from scheduler.orders.intake import BareFile
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.web import overview, places
from scheduler.web.deeds import Deeds
from scheduler.web.models import OrderDetail, Overview
from scheduler.web.order_form import OWN_FILE, Asked, order_form
from scheduler.web.order_page import OrderDeeds, order_page
from scheduler.web.source import Source
from scheduler.web.theme import empty, frame, heading, link, quiet, text

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 1.0
#: The line for "now" in the schedule moves this often even when nothing else does.
_CLOCK_MOVES_EVERY_S: Final = 20
_OPEN: Final = frozenset({"accepted", "making", "made"})


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of a page: what it depends on, and how it is drawn. It is drawn again when that changed."""

    depends: Callable[[Any], Any]
    draw: Callable[[Any], None]
    classes: str = "ws-section"


def mount(app: FastAPI, serving: Scheduler) -> None:
    """Put the pages on the API's application, at `/`. Once a process: the pages belong to one scheduler."""
    source, deeds = Source(serving.store, serving.clock), Deeds(serving)
    folder = serving.settings.data / "pages"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    Storage.path = folder  # the library's only way, beside an environment variable; its default is the working folder
    _reading_pages(source, deeds, serving)
    _order_pages(source, deeds)
    ui.run_with(
        app,
        title="Workshed",
        favicon=Path(__file__).parent / "favicon.svg",
        storage_secret=_secret(folder / "secret"),
        dark=None,
        show_welcome_message=False,
    )


def _reading_pages(source: Source, deeds: Deeds, serving: Scheduler) -> None:
    @ui.page("/")
    async def first() -> None:
        with frame("Overview", "/"):
            with ui.element("div").classes("ws-section-head"):
                heading(1, "What the shops are making")
                _order_button()
            await _fresh(source.overview, _overview_sections(source))

    @ui.page("/orders")
    async def all_orders() -> None:
        with frame("Orders", "/orders"):
            heading(1, "Orders")
            section = _Section(lambda shown: shown, lambda shown: overview.orders(shown, source.now()))
            await _fresh(source.orders, [section])

    @ui.page("/designs")
    async def designs() -> None:
        shelf = await run.io_bound(deeds.shelf) or ()
        with frame("Designs", "/designs"):
            places.designs_page(shelf)

    @ui.page("/floor")
    async def floor() -> None:
        acts = _order_deeds(deeds)

        def read() -> tuple[Overview, dict[str, str], tuple[OrderDetail, ...]]:
            shown = source.overview()
            with serving.store.read() as c:
                shops = {agent.shop: agent.http for agent in queries.agents(c)}
            details = [source.order(order.order) for order in source.orders() if order.state in _OPEN]
            return shown, shops, tuple(detail for detail in details if detail is not None)

        def draw(found: tuple[Overview, dict[str, str], tuple[OrderDetail, ...]]) -> None:
            places.floor_page(found[0].machines, found[1], found[2], source.now(), acts)

        with frame("Shop floor", "/floor"):
            _token_field()
            await _fresh(read, [_Section(lambda found: (found[0].machines, found[1], found[2]), draw)])

    @ui.page("/setup")
    def setup() -> None:
        with frame("Set-up", "/setup"):
            places.setup_page()


def _order_pages(source: Source, deeds: Deeds) -> None:
    @ui.page("/order")
    async def form(design: str = "") -> None:
        shelf = await run.io_bound(deeds.shelf) or ()
        known = {card.key for card in shelf}
        asked = Asked(design=design if design in known else "", token=_token())
        with frame("Order something", "/order"):
            order_form(shelf, asked, lambda said: _place(deeds, said))

    @ui.page("/orders/{order}")
    async def one(order: str) -> None:
        acts = _order_deeds(deeds)

        def draw(shown: OrderDetail | None) -> None:
            if shown is None:
                empty(f"There is no order {order[:64]}", "It may have been typed wrongly.")
                link("All orders", "/orders")
            else:
                order_page(shown, source.now(), acts)

        with frame("Order", "/orders"):
            await _fresh(lambda: source.order(order), [_Section(lambda shown: shown, draw)])
            _token_field()


def _overview_sections(source: Source) -> list[_Section]:
    def schedule(shown: Overview) -> None:
        with ui.element("div").classes("ws-section-head"):
            heading(2, "Schedule")
            quiet("Solid: running. Dashed: planned. Dotted tail: nine in ten end before it.")
        with ui.element("div").classes("ws-card"):
            overview.schedule(shown, source.now())

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
        _Section(lambda shown: (shown.open_orders, shown.running, shown.waiting, shown.machines), overview.figures),
        _Section(lambda shown: shown.machines, machines),
        _Section(lambda shown: (shown.bars, shown.lanes, minute()), schedule),
        _Section(lambda shown: (shown.queue, shown.orders), work, "ws-two"),
    ]


async def _fresh(read: Callable[[], _T], sections: list[_Section]) -> None:
    """Draw every section, then look again every second and draw anew those whose values changed."""
    holders = [ui.element("section").classes(section.classes) for section in sections]
    known: list[Any] = [object()] * len(sections)

    async def look() -> None:
        answer = await run.io_bound(lambda: (read(),))
        if answer is None:
            return  # the server is ending
        (found,) = answer
        for index, section in enumerate(sections):
            value = section.depends(found)
            if value != known[index]:
                known[index] = value
                holders[index].clear()
                with holders[index]:
                    section.draw(found)

    await look()
    ui.timer(_LOOK_EVERY_S, look, immediate=False)


# --- acting -----------------------------------------------------------------------------------------------------------


def _order_deeds(deeds: Deeds) -> OrderDeeds:
    async def accept(order: str) -> None:
        token = _token()
        await _do(lambda: deeds.accept(token, order), "Accepted. It will be made.")

    async def cancel(order: str) -> None:
        token = _token()
        await _do(lambda: deeds.cancel(token, order), "Cancelled.")

    async def hand_over(order: str) -> None:
        token = _token()
        await _do(lambda: deeds.hand_over(token, order), "Handed over.")

    async def step_done(order: str, step: str) -> None:
        token = _token()
        await _do(lambda: deeds.step_done(token, order, step), f"{step}: done.")

    return OrderDeeds(accept, cancel, hand_over, step_done)


async def _do(deed: Callable[[], _T], said: str) -> _T | None:
    """Carry out a person's deed off the event loop; tell how it went. None when it was refused."""
    try:
        done = await run.io_bound(deed)
    except Refused as error:
        ui.notify(str(error), type="negative", timeout=12_000, close_button="Close", multi_line=True)
        return None
    if said:
        ui.notify(said, type="positive")
    return done


async def _place(deeds: Deeds, asked: Asked) -> None:
    """Bring the design, place the order, and go to its page."""
    pages_app.storage.user["token"] = asked.token.strip()
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
        return deeds.order(token, _body(design, asked))

    order = await _do(deed, "")
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
        }
    )


def _token() -> str:
    return str(pages_app.storage.user.get("token", ""))


def _token_field() -> None:
    """Where a person says once who they are; buttons on the page use it."""

    def keep(value: str) -> None:
        pages_app.storage.user["token"] = value.strip()

    with ui.element("form").on("submit.prevent", lambda: None), ui.element("details").classes("ws-small"):
        text("summary", "Your token, needed for the buttons").classes("ws-quiet")
        field = ui.input("Token", value=_token(), password=True, on_change=lambda event: keep(event.value))
        field.props('outlined dense autocomplete="current-password"').classes("ws-field").style("max-width: 420px")


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
