"""The designs page, the shop floor for the phone, and the note for the first run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from urllib.parse import urlencode

from nicegui import ui

from scheduler.web.deeds import DesignCard
from scheduler.web.fresh import Section, whole
from scheduler.web.models import MachineShown, OffcutShown, OrderDetail, StepShown
from scheduler.web.order_page import OrderDeeds, step_row
from scheduler.web.overview import machine_tile
from scheduler.web.theme import chip, empty, heading, link, quiet, text
from scheduler.web.words import PROCESS_WORDS, count, named


def designs_page(shelf: Sequence[DesignCard]) -> None:
    """Every design that can be ordered."""
    with ui.element("div").classes("ws-section-head"):
        with ui.element("div").classes("ws-stack"):
            heading(1, "Designs")
            text("p", "Open designs: anybody may make, change and share them.").classes("ws-quiet")
        link("Bring a file of your own", "/order")
    with ui.element("div").classes("ws-grid").style("grid-template-columns: repeat(auto-fill, minmax(300px, 1fr))"):
        for card in shelf:
            _design(card)


def _design(card: DesignCard) -> None:
    with ui.element("article").classes("ws-card ws-machine"):
        heading(3, card.name)
        text("p", card.about)
        with ui.element("div").classes("ws-row"):
            for process in card.processes:
                chip(named(PROCESS_WORDS, process), "accent plain")
            chip(count(card.parts, "part"), "plain")
        with ui.element("div").classes("ws-row ws-between").style("margin-top: auto"):
            quiet(card.licence)
            if card.open:
                link("Order it", f"/order?design={card.key}").props["aria-label"] = f"Order {card.name}"
            else:
                quiet("Closed licence: own use only")


@dataclass(frozen=True, slots=True)
class Floor:
    """What the page of the shop floor shows."""

    machines: tuple[MachineShown, ...]
    pages: Mapping[str, str]
    """Where each shop's own page is."""
    orders: tuple[OrderDetail, ...]
    """Those that are accepted and not handed over yet."""
    offcuts: tuple[OffcutShown, ...] = ()


def floor_page(now: Callable[[], datetime], deeds: OrderDeeds) -> list[Section]:
    """Shop by shop: what wants a person, and the way to the page where that person says so."""
    with ui.element("div").classes("ws-section-head"):
        heading(1, "Shop floor")
        link("Reservations", "/reservations")
    text("p", "Whoever stands at a machine speaks for it: on the shop's own page, which works without this one too.")
    shops = whole(
        lambda found: (found.machines, found.pages, found.offcuts), lambda found: _shops(found, now()), "ws-contents"
    )
    with ui.element("section").classes("ws-section ws-when-filled"):
        together = Section(lambda found: {"": ""} if _open_steps(found) else {}, lambda *_: _head("To put together"))
        steps = Section(
            lambda found: {key: step for key, (_, step) in _open_steps(found).items()},
            lambda found, key: _open_step(found, key, deeds),
            "ws-card",
        )
    with ui.element("section").classes("ws-section ws-when-filled"):
        over = Section(lambda found: {"": ""} if _made(found) else {}, lambda *_: _head("To hand over"))
        made = Section(_made, lambda found, key: _made_link(_made(found)[key], key), "ws-card")
    return [shops, together, steps, over, made]


def _head(words: str) -> None:
    heading(2, words)


def _shops(found: Floor, now: datetime) -> None:
    if not found.machines:
        empty("No machine has reported yet", "Start an agent beside a machine first.")
        link("How to set up a shop", "/setup")
    for shop, there in groupby(sorted(found.machines, key=lambda one: one.shop), key=lambda one: one.shop):
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, shop.replace("_", " ").capitalize())
                if found.pages.get(shop):
                    made = ui.element("a").classes("ws-button second").props('rel="noopener"')
                    made.props["href"] = found.pages[shop]
                    with made:
                        text("span", "Open this shop's page")
            with ui.element("div").classes("ws-grid"):
                for machine in there:
                    with machine_tile(machine, now):
                        reserve = link("Reserve it", f"/reservations?{urlencode({'machine': machine.machine})}")
                        reserve.props["aria-label"] = f"Reserve {machine.name}"
                        reserve.style("margin-top: auto; align-self: flex-start")
            _offcuts([offcut for offcut in found.offcuts if offcut.shop == shop])


def _offcuts(kept: Sequence[OffcutShown]) -> None:
    """The shop's shelf of offcuts, drawn as they are laid on the machine."""
    if not kept:
        return
    with ui.element("details"):
        text("summary", f"{count(len(kept), 'offcut')} on the shelf").classes("ws-quiet")
        with ui.element("div").classes("ws-grid"):
            for offcut in kept:
                with ui.element("figure").classes("ws-card"):
                    drawn = ui.element("img").props('loading="lazy"')
                    drawn.props["src"] = f"/api/v1/remnants/{offcut.label}.svg"
                    drawn.props["alt"] = f"Offcut {offcut.label}"
                    text("figcaption", f"{offcut.label}: {offcut.words}")


def _open_steps(found: Floor) -> dict[str, tuple[OrderDetail, StepShown]]:
    return {
        f"{order.order.order}/{step.step}": (order, step)
        for order in found.orders
        for step in order.steps
        if step.state == "open"
    }


def _open_step(found: Floor, key: str, deeds: OrderDeeds) -> None:
    order, step = _open_steps(found)[key]
    step_row(f"{order.order.title}: {step.step}", step, order.order.order, deeds)


def _made(found: Floor) -> dict[str, str]:
    orders = [order.order for order in found.orders if order.order.state == "made"]
    return {order.order: f"{order.quantity} × {order.title}" for order in orders}


def _made_link(words: str, order: str) -> None:
    link(words, f"/orders/{order}")


_SETUP = (
    (
        "Let the agent in",
        "Each agent has a name and a password at the broker. On the scheduler's computer:",
        "python -m scheduler.broker --folder /etc/workshed/broker --scheduler main --admit SHOP/AGENT",
    ),
    (
        "Install the agent beside the machine",
        "A Raspberry Pi will do. It needs no planner, no slicer and no web framework:",
        "pip install 'workshed[agent]'",
    ),
    (
        "Find the machine's port",
        "This opens ports one by one, asks who is there and moves nothing:",
        "workshed-agent detect",
    ),
    (
        "Describe the shop",
        "Machines, what they can do, your hours and rules go into shop.toml and policy.toml. Check them:",
        "workshed-agent check-config --config shop.toml",
    ),
    (
        "Start it",
        "The machine shows up on the overview as soon as it has answered:",
        "workshed-agent serve --config shop.toml",
    ),
)


def setup_page() -> None:
    """How the first shop comes into the pool."""
    heading(1, "Set up the first shop")
    text(
        "p", "Five steps. Nothing here moves a machine: that is up to the people beside it, and the gates of the agent."
    )
    with ui.element("ol").classes("ws-section").style("list-style: none; padding: 0; margin: 0"):
        for number, (title, why, command) in enumerate(_SETUP, start=1):
            with ui.element("li").classes("ws-card ws-stack"):
                heading(3, f"{number}. {title}")
                text("p", why)
                ui.code(command, language="bash").style("width: 100%")
    with ui.element("div").classes("ws-note"):
        text(
            "span",
            "To order and to operate you need a token. The first one is in the file admin.token of the data folder.",
        )
