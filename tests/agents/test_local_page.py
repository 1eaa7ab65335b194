"""The page for the phone, in a real browser: see the gates, confirm the bed, be present, hold to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridges import bridge as b
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM
from tests.agents.test_local_api import House

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
    assert house.agent.spool.lease_of_job(job).ended is not None
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it fits a phone"


def test_without_the_token_it_asks_for_it(house: House, page: Any) -> None:
    page.evaluate("localStorage.clear()")
    page.goto(house.server.address + "/?fresh")
    page.get_by_label("Token of this agent").fill(house.token)
    page.get_by_role("button", name="Open").click()
    page.get_by_text("alder / pi1").wait_for()
