"""What did not change is not drawn again, and whatever became of a deed is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.page import page

from scheduler.orders.refusal import Refused
from scheduler.web.acting import carry_out
from scheduler.web.fresh import Section
from scheduler.web.messages import tell_failures


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client(page("/anywhere"), request=None)
    with made:
        yield made
    made.delete()


def told(client: Client) -> list[dict[str, Any]]:
    return [message[2] for message in client.outbox.messages if message[1] == "notify"]


def test_a_part_stays_while_others_come_change_and_go(client: Client) -> None:
    drawn: list[str] = []

    def draw(found: dict[str, int], name: str) -> None:
        drawn.append(f"{name}={found[name]}")
        ui.element("button")

    section = Section(lambda found: found, draw)
    section.bring_up_to_date({"accept": 1, "cancel": 1})
    buttons = [one.id for one in client.elements.values() if one.tag == "button"]
    section.bring_up_to_date({"accept": 1, "cancel": 1})
    section.bring_up_to_date({"accept": 1, "cancel": 2, "more": 1})
    assert drawn == ["accept=1", "cancel=1", "cancel=2", "more=1"]
    section.bring_up_to_date({"accept": 1})
    left = [one.id for one in client.elements.values() if one.tag == "button"]
    assert left == buttons[:1], "the button that may still be pressed is the very same"


def refused() -> str:
    raise Refused("no_token", "Nothing was done", "this needs a token", "Send Authorization")


@pytest.mark.parametrize(
    ("deed", "answer", "kind", "words"),
    [
        (lambda: "o1", "o1", "positive", "Done."),
        (lambda: None, None, "positive", "Done."),
        (refused, None, "negative", "Nothing was done: this needs a token. Write yours"),
    ],
)
def test_how_it_went_is_told_even_when_the_button_is_gone(
    client: Client, deed: Callable[[], Any], answer: Any, kind: str, words: str
) -> None:
    async def press() -> Any:
        with client:
            row = ui.element("div")
            with row:
                doing = asyncio.ensure_future(pressed(row))
            return await doing

    async def pressed(row: ui.element) -> Any:
        with row:
            return await carry_out(lambda: (client.content.clear(), deed())[1], "Done.")

    assert asyncio.run(press()) == answer
    (message,) = told(client)
    assert message["type"] == kind
    assert words in message["message"]


def test_a_failure_is_told_and_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    tell_failures()
    client.handle_exception(OSError("database is locked"))
    (message,) = told(client)
    assert message["type"] == "negative"
    assert "may not be done" in message["message"]
    assert "database is locked" in caplog.text
