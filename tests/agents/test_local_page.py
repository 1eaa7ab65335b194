"""The page for the phone, in a real browser: see the gates, confirm the bed, be present, hold to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridges import bridge as b
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM
from tests.agents.test_local_api import House, finish_shared

pytestmark = [pytest.mark.browser]


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    made = House(memory_path)
    yield made
    made.close()


@pytest.fixture
def page(real_part: Callable[[str], Path], house: House) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = real_part("chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 390, "height": 800})
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.goto(f"{house.server.address}/#token={house.token}")
        yield opened
        assert opened.errors == []
        browser.close()


def test_a_shop_worked_from_the_phone(house: House, page: Any) -> None:
    page.get_by_text("alder / pi1").wait_for()
    assert house.token not in page.url, "the token does not stay in the address"
    job = house.call("/api/machines/m1/own-jobs?title=vase", PROGRAM)[1]["said"]
    page.get_by_text("nobody has confirmed that the bed is clear").first.wait_for()
    bridge = house.bridges["marlin"]
    page.get_by_role("button", name="Bed is clear").first.click()
    eventually(lambda: bridge.runs, what="the gates opened and the job began")
    bridge.first_line()
    page.get_by_role("button", name="Cancel the run").first.wait_for()
    page.get_by_label("I am here").check()
    eventually(lambda: house.agent.presence.present("l1"), what="the page's heartbeat")
    stop = page.get_by_role("button", name="HOLD TO STOP m1")
    stop.click()
    page.wait_for_timeout(900)
    assert "emergency_stop" not in bridge.calls, "a touch is not a hold"
    stop.hover()
    page.mouse.down()
    eventually(lambda: "emergency_stop" in bridge.calls, what="held, it stops")
    page.mouse.up()
    page.get_by_role("button", name="I looked: re-arm").first.wait_for()
    assert bridge.snapshot.state is b.BridgeState.FAULT
    stopped = house.agent.spool.lease_of_job(job)
    assert stopped is not None
    assert stopped.ended is not None
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it fits a phone"


def test_without_the_token_it_asks_for_it(house: House, page: Any) -> None:
    page.evaluate("localStorage.clear()")
    page.goto(house.server.address + "/?fresh")
    page.get_by_label("Token of this agent").fill(house.token)
    page.get_by_role("button", name="Open").click()
    page.get_by_text("alder / pi1").wait_for()


def test_on_a_shared_plate_the_person_says_whose_pieces_were_bad(house: House, page: Any) -> None:
    finish_shared(house)
    page.get_by_role("button", name="Inspect").first.click()
    form = page.get_by_role("dialog", name="How many are bad?")
    form.get_by_label("Bad of 2: a tag, for order or2 (numbers 4 to 5)").fill("3")
    form.get_by_role("button", name="Say so").click()
    assert form.is_visible(), "only two of them lie there"
    page.keyboard.press("Escape")
    assert "Inspected" not in house.told(), "who goes back said nothing"
    page.get_by_role("button", name="Inspect").first.press("Enter")
    form.get_by_label("Bad of 2: a tag").fill("1")
    form.get_by_label("What is wrong").fill("warped")
    page.keyboard.press("Enter")
    eventually(lambda: "Inspected" in house.told(), what="it is in the journal")
    inspected = house.told()["Inspected"]
    assert (inspected.good, inspected.rejected, inspected.note) == (4, 1, "warped")
    assert [(one.order, one.part, one.rejected) for one in inspected.rejected_of] == [("or2", "tag", 1)]


def test_what_is_loaded_is_said_in_one_form(house: House, page: Any) -> None:
    page.get_by_role("button", name="Load").first.click()
    form = page.get_by_role("dialog", name="On m1 now")
    form.get_by_label("Material").fill("PETG")
    form.get_by_label("Grams left").fill("250")
    form.get_by_role("button", name="Say so").click()
    eventually(lambda: house.machine("m1")["description"]["materials"][0]["material"] == "PETG", what="it is known")
    assert house.machine("m1")["description"]["materials"][0]["remaining_g"] == 250


@pytest.mark.parametrize("width", [390, 1280])
def test_an_open_form_hides_no_stop_and_fits(house: House, page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("button", name="Load").first.click()
    form = page.get_by_role("dialog", name="On m1 now")
    stop = form.get_by_role("button", name="HOLD TO STOP m1")
    stop.hover()
    page.mouse.down()
    eventually(lambda: "emergency_stop" in house.bridges["marlin"].calls, what="held, it stops")
    page.mouse.up()
    assert "emergency_stop" not in house.bridges["grbl"].calls
    assert form.is_visible(), "what was typed is still there"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert (
        page.evaluate(
            "[...document.querySelectorAll('button, input')].filter(e => e.offsetParent && !(e.innerText?.trim()"
            " || e.getAttribute('aria-label') || e.labels?.length)).length"
        )
        == 0
    ), "every button and field has a name"
