"""Which page stands at which address, and how the first one is laid out."""

from __future__ import annotations

from datetime import datetime

from nicegui import ui

from scheduler.web import overview
from scheduler.web.models import Overview
from scheduler.web.theme import heading, link, quiet


def draw_overview(shown: Overview, now: datetime, *, dark: bool) -> None:
    """Everything of the first page, top to bottom."""
    with ui.element("div").classes("ws-section-head"):
        heading(1, "What the shops are making")
        with ui.element("a").classes("ws-button").props('href="/order"'):
            ui.icon("add", size="20px")
            ui.label("Order something")
    overview.figures(shown)
    with ui.element("section").classes("ws-section"):
        heading(2, "Machines")
        overview.machines(shown.machines, now)
    with ui.element("section").classes("ws-section"):
        with ui.element("div").classes("ws-section-head"):
            heading(2, "Schedule")
            quiet("Solid: running. Dashed: planned. Dotted tail: nine in ten end before it.")
        with ui.element("div").classes("ws-card"):
            overview.schedule(shown, now, dark=dark)
    with ui.element("div").classes("ws-two"):
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, "Queue")
                quiet("Need ranks work; money never does.")
            overview.queue(shown.queue, now)
        with ui.element("section").classes("ws-section"):
            with ui.element("div").classes("ws-section-head"):
                heading(2, "Orders")
                link("All orders", "/orders")
            overview.orders(shown.orders, now)
