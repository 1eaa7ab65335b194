"""The pages in a real browser: what is reserved, in doubt or without a home is seen and read aloud; no GET moves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.contract.granting import epoch_of
from scheduler.api.homes import NOBODY
from scheduler.broker.process import free_port
from scheduler.dispatch import reservations
from scheduler.dispatch.board import begin_epoch
from scheduler.dispatch.reservations import Wish
from scheduler.web.source import read_order, read_overview
from tests.agents.peer import mosquitto
from tests.scheduler.line import Agent, Line
from tests.scheduler.process import administrator, begin_scheduler
from tests.scheduler.test_lending import HOME, Shed
from tests.scheduler.web.chromium import fits

pytestmark = [pytest.mark.browser]
PAGES = ("/", "/orders", "/designs", "/floor", "/reservations", "/setup", "/order")


class Closed(Agent):
    """A shop whose owner takes no pool work just now, with hours and a maintenance to come."""

    def report(self, machine: str, now: datetime, *values: Any, **more: Any) -> tuple[str, bytes]:
        soon = now + timedelta(hours=2)
        told = {
            "accepts_pool_work": False,
            "attended_windows": ((soon, soon + timedelta(hours=8)),),
            "maintenance": ((now + timedelta(hours=4), now + timedelta(hours=5)),),
        }
        return super().report(machine, now, *values, **{**told, **more})


@dataclass
class Stage:
    """What was left in the database, and the scheduler that serves it."""

    url: str
    folder: Path
    http: int
    doubted: str
    homeless: str

    def rows(self) -> dict[str, Any]:
        with administrator(self.folder, self.http) as client:
            return {path: client.get(f"/api/v1/{path}").json() for path in ("orders", "jobs", "reservations")}


def set_up(folder: Path) -> tuple[str, str]:
    """A job that its home may have granted, one without a home, and a reserved machine: (order, order)."""
    line = Line(folder / "scheduler", Closed("able", "pi", ("m1",)), Agent("barn", "pi", ("m2",)), Shed())
    line.clock.moment = datetime.now(UTC)
    with closing(line):
        with line.scheduler.store.write() as c:
            begin_epoch(c, line.scheduler.mover, epoch_of(1, 1), line.now)
        line.agents["barn.pi"].declines = "the shop is closed today"
        line.arrive()
        shed = line.agents[HOME]
        line.hear(shed.volunteers(line))  # type: ignore[attr-defined]
        (first,) = line.order()
        for _ in range(3):
            line.plan()
        line.send()
        line.exchange(line.agents["barn.pi"])
        line.plan()
        with line.scheduler.store.read() as c:
            (lent,) = (job for job in read_overview(c, line.now).queue if job.job == first)
        assert (lent.home, lent.doubt, lent.homeless) == ("shed", "", "")
        with line.scheduler.store.write() as c:
            begin_epoch(c, line.scheduler.mover, epoch_of(1, 2), line.now)
        line.hear(shed.presence(line.now, online=False))
        line.hear(line.agents["barn.pi"].report("m2", line.now, accepts_pool_work=False))
        (second,) = line.order(process="laser")
        line.plan()
        start = line.now + timedelta(hours=1)
        wish = Wish("barn.pi", "m2", start, start + timedelta(hours=3), "ada", "workshop evening")
        with line.scheduler.store.write() as c:
            reservations.reserve(c, line.scheduler.mover, wish, line.now, expected=None)
        with line.scheduler.store.read() as c:
            shown = {job.job: job for job in read_overview(c, line.now).queue}
            assert "has not said yet" in shown[first].doubt
            assert shown[second].homeless == NOBODY
            assert all(reason.why != shown[first].doubt for reason in shown[first].reasons), "said once"
            machine = next(one for one in read_overview(c, line.now).machines if one.machine == "barn.pi.m2")
            assert [(one.kind, one.why) for one in machine.kept] == [("reserved", "workshop evening")]
            detail = read_order(c, shown[first].order, line.now)
            assert detail is not None
            assert detail.jobs[0].doubt == shown[first].doubt
        return shown[first].order, shown[second].order


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, real_part: Callable[[str], Path]) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    doubted, homeless = set_up(folder)
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(real_part("mosquitto"), folder))
        http = free_port()
        begin_scheduler(folder, http, broker.port, stack)
        yield Stage(f"http://127.0.0.1:{http}", folder, http, doubted, homeless)


@pytest.fixture(params=[390, 1280], ids=["phone", "desk"])
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    context.set_default_timeout(60_000)
    opened = context.new_page()
    opened.width = request.param
    yield opened
    context.close()


def test_reservations_maintenance_and_hours_stand_at_their_machine(stage: Stage, page: Any) -> None:
    page.goto(stage.url + "/")
    reserved = page.get_by_role("article", name="m2 in barn")
    reserved.get_by_text("Reserved").wait_for()
    assert "workshop evening" in reserved.inner_text()
    kept = page.get_by_role("article", name="m1 in able").inner_text()
    assert "Down for maintenance" in kept
    assert "Somebody is there from" in kept
    assert "Takes no work of the pool now" in kept
    drawn = page.get_by_role("img", name="Schedule.")
    drawn.wait_for()
    assert "Reserved on m2" in drawn.get_attribute("aria-label")
    assert "Down for maintenance on m1" in drawn.get_attribute("aria-label")
    assert fits(page)


def test_what_is_in_doubt_and_what_has_no_home_say_so(stage: Stage, page: Any) -> None:
    page.goto(f"{stage.url}/orders/{stage.doubted}")
    page.get_by_text("In doubt: its home shed.pi may have granted it").wait_for()
    assert fits(page)
    page.goto(f"{stage.url}/orders/{stage.homeless}")
    page.get_by_text("No home: no shop would grant it").wait_for()
    assert fits(page)


#: What has the focus, and how that is shown; no name for nothing.
_WHERE = """(e => {
  const name = e === document.body ? '' : e.getAttribute('aria-label') || e.innerText.trim() || e.tagName;
  const style = getComputedStyle(e);
  return [name, style.outlineStyle + style.boxShadow];
})(document.activeElement)"""


def test_a_page_is_walked_with_the_keyboard_alone(stage: Stage, page: Any) -> None:
    page.goto(stage.url + "/")
    page.get_by_role("heading", name="Machines").wait_for()
    page.locator(".ws-operable:not([disabled])").wait_for(state="attached")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to the page's content"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, ring = page.evaluate(_WHERE)  # at once: what is drawn anew meanwhile loses the focus
        if not name:
            break
        assert ring != "nonenone", f"nobody sees where they are: {name}"
        seen.add(name)
    assert {"Overview", "Order something", "All orders"} <= seen


def test_looking_changes_nothing(stage: Stage) -> None:
    before = stage.rows()
    for path in (*PAGES, f"/orders/{stage.doubted}"):
        assert httpx.get(stage.url + path, timeout=60).status_code == 200
    with administrator(stage.folder, stage.http) as client:
        for path in ("accept", "cancel", "hand-over"):
            answer = client.get(f"/api/v1/orders/{stage.homeless}/{path}")
            assert answer.status_code in (404, 405)
    after = stage.rows()
    assert [order["state"] for order in after["orders"]] == [order["state"] for order in before["orders"]]
    assert [(job["id"], job["state"], job["fence"]) for job in after["jobs"]] == [
        (job["id"], job["state"], job["fence"]) for job in before["jobs"]
    ]
    assert after["reservations"] == before["reservations"]
