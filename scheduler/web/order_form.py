"""Ask for something: a design from the shelf or a file of your own, how many, for whom, how badly."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

from nicegui import events, ui

from scheduler.web.deeds import DesignCard
from scheduler.web.theme import heading, quiet, text
from scheduler.web.words import NEED_MEANING, NEED_WORDS, PROCESS_WORDS

#: The choice that lets a file be sent.
OWN_FILE = "own file"
_LICENCES = (
    "CERN-OHL-S-2.0",
    "CERN-OHL-W-2.0",
    "CERN-OHL-P-2.0",
    "CC-BY-SA-4.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "GPL-3.0-or-later",
)
_RINGS = {
    "household": "my household",
    "block": "my block",
    "neighbourhood": "my neighbourhood",
    "city": "my city",
    "federation": "anywhere in the federation",
}


@dataclass
class Asked:
    """What stands in the form."""

    design: str = ""
    file_name: str = ""
    file: bytes = b""
    licence: str = _LICENCES[0]
    material: str = ""
    process: str = ""
    thickness_mm: float | None = None
    quantity: int = 1
    need: str = "personal"
    ring: str = "city"
    due: str = ""
    requester: str = ""
    token: str = ""
    errors: list[str] = field(default_factory=list)
    form: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Which form this is: a button that is pressed twice places one order."""

    @property
    def due_at(self) -> datetime | None:
        """The end of the day that was picked."""
        if not self.due:
            return None
        return datetime.combine(datetime.fromisoformat(self.due).date(), time(18, 0), tzinfo=UTC)


def order_form(shelf: tuple[DesignCard, ...], asked: Asked, place: Callable[[Asked], Awaitable[None]]) -> None:
    """The whole form; `place` is called with what stands in it."""
    heading(1, "Order something")
    said = "Say what you need. The next page says by when it would be made; nothing is made before you accept it there."
    text("p", said).classes("ws-quiet")
    with ui.element("form").classes("ws-card ws-section").style("max-width: 820px; gap: 20px") as form:
        form.on("submit.prevent", lambda: None)
        _what(shelf, asked)
        _how(asked)
        _who(asked)
        with ui.element("div").classes("ws-row ws-between"):
            quiet("You get a date first. Your yes to it makes the date a promise.")
            button = ui.element("button").classes("ws-button").props("type=button id=place-order")
            button.on("click", lambda: place(asked))
            with button:
                text("span", "Place the order")


def _what(shelf: tuple[DesignCard, ...], asked: Asked) -> None:
    heading(2, "What")
    choices: dict[str, str] = {card.key: _choice(card) for card in shelf if card.open}
    choices[OWN_FILE] = "A file of my own (STL, 3MF, SVG or DXF)"
    chosen = ui.select(choices, label="Design", with_input=True, value=asked.design or None)
    chosen.bind_value_to(asked, "design").props("outlined").classes("ws-field").style("width: 100%")
    with ui.element("div").classes("ws-section").bind_visibility_from(chosen, "value", value=OWN_FILE):
        upload = ui.upload(label="The file, up to 50 MB", max_file_size=50_000_000, auto_upload=True, max_files=1)
        upload.props("flat bordered").style("width: 100%")

        async def take(event: events.UploadEventArguments) -> None:
            asked.file_name, asked.file = event.file.name, await event.file.read()

        upload.on_upload(take)
        with ui.element("div").classes("ws-grid"):
            _field(ui.select(list(_LICENCES), label="Its licence", value=asked.licence), asked, "licence")
            _field(ui.input("Material, such as PLA or plywood", value=asked.material), asked, "material")
            processes = {"": "By its format", **{key: word for key, word in PROCESS_WORDS.items() if key != "manual"}}
            _field(ui.select(processes, label="Made how", value=asked.process), asked, "process")
            thickness = ui.number("Thickness of sheet or board, mm", min=0.1, max=500, value=asked.thickness_mm)
            _field(thickness, asked, "thickness_mm")


def _choice(card: DesignCard) -> str:
    how = ", ".join(PROCESS_WORDS.get(process, process).lower() for process in card.processes)
    return f"{card.name} ({how})" if how else card.name


def _how(asked: Asked) -> None:
    heading(2, "How many, how badly, by when")
    with ui.element("div").classes("ws-grid wide"):
        _field(ui.number("How many", min=1, max=1000, precision=0, value=asked.quantity), asked, "quantity")
        needs = {key: f"{word}: {NEED_MEANING[key]}" for key, word in NEED_WORDS.items()}
        _field(ui.select(needs, label="Why it is needed", value=asked.need), asked, "need")
        _field(ui.select(_RINGS, label="Delivered within", value=asked.ring), asked, "ring")
        _field(ui.input("Wanted by (optional)", value=asked.due).props("type=date stack-label"), asked, "due")


def _who(asked: Asked) -> None:
    heading(2, "Who asks")
    with ui.element("div").classes("ws-grid wide"):
        _field(ui.input("Your name", value=asked.requester).props('autocomplete="name"'), asked, "requester")
        token = ui.input("Your token", value=asked.token, password=True)
        _field(token.props('autocomplete="current-password"'), asked, "token")


def _field(element: Any, asked: Asked, name: str) -> None:
    element.bind_value_to(asked, name).props("outlined").classes("ws-field").style("width: 100%")
