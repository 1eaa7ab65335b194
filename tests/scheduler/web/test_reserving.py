"""Reservations on the pages, in a real browser: whom they displace is seen before the yes, and that is confirmed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from agents.contract.vocabulary import JobState
from scheduler.api.application import create_app
from scheduler.api.tokens import Role, new_token
from scheduler.dispatch import reservations
from scheduler.dispatch.reservations import Wish
from scheduler.web import mount
from tests.agents import peer
from tests.scheduler.line import Agent, Line
from tests.scheduler.web.chromium import fits

pytestmark = [pytest.mark.browser]
ZONE = "Europe/Berlin"


class Berliner(Agent):
    """A shop that says in which zone its clocks are."""

    def report(self, machine: str, now: datetime, *values: Any, **more: Any) -> tuple[str, bytes]:
        return super().report(machine, now, *values, **{"timezone": ZONE, **more})


@dataclass
class Stage:
    """A line whose clock stands, and the server that shows it."""

    line: Line
    agent: Agent
    url: str
    tokens: dict[Role, str]

    def plan(self) -> None:
        """A second later all is planned, offered and granted."""
        self.line.clock.pass_(seconds=1)
        for _ in range(2):
            self.line.plan()
            self.line.exchange(self.agent)

    def standing(self) -> list[reservations.Reservation]:
        with self.line.scheduler.store.read() as c:
            return reservations.standing(c, self.line.now)

    def planned(self, machine: str) -> int:
        """How many jobs wait with a place on the machine."""
        waiting = self.line.jobs(JobState.WAITING)
        return sum(job.placement is not None and job.placement["machine"] == f"mill.pi.{machine}" for job in waiting)

    def on(self, machine: str, *states: JobState) -> list[str]:
        return [job.id for job in self.line.jobs(*states) if job.machine == machine]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    agent = Berliner("mill", "pi", ("m1", "m2"))
    line = Line(tmp_path_factory.mktemp("booking"), agent)
    line.clock.moment = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)  # 09:00 in Berlin
    with closing(line):
        line.arrive()
        app = create_app(line.settings, scheduler=line.scheduler)
        mount(app, line.scheduler)
        with line.scheduler.store.write() as c:
            tokens = {role: new_token(c, role.value, role, line.now) for role in (Role.REQUESTER, Role.OPERATOR)}
        line.order(6)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, name="pages")
        thread.start()
        try:
            peer.eventually(lambda: server.started, 60, "the pages are served")
            port = server.servers[0].sockets[0].getsockname()[1]
            made = Stage(line, agent, f"http://127.0.0.1:{port}", tokens)
            made.plan()
            yield made
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(params=[(390, "m1"), (1280, "m2")], ids=["phone", "desk"])
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    width, machine = request.param
    # The reader sits in another zone than the shop: only the shop's counts.
    context = browser.new_context(viewport={"width": width, "height": 900}, timezone_id="America/New_York")
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.width, opened.machine = width, machine
    yield opened
    context.close()


def open_form(stage: Stage, page: Any, token: str) -> None:
    """From the shop floor, as a person would come, with a token."""
    page.goto(stage.url + "/floor")
    page.get_by_role("link", name=f"Reserve {page.machine}").click()
    page.get_by_role("heading", name="Reserve a machine").wait_for()
    if token:
        page.get_by_text("Your token, needed for the buttons").click()
        page.get_by_label("Token").fill(token)
        page.get_by_label("Token").blur()


def ask(page: Any, start: str, end: str, why: str = "") -> None:
    page.get_by_label("From").fill(start)
    page.get_by_label("To", exact=True).fill(end)
    page.get_by_label("What for").fill(why)
    page.get_by_role("button", name="See whom it displaces").click()


def test_a_machine_is_reserved_knowing_whom_that_displaces_and_given_back(stage: Stage, page: Any) -> None:
    machine = page.machine
    (held,) = stage.on(machine, JobState.LEASED)
    open_form(stage, page, stage.tokens[Role.OPERATOR])
    page.get_by_text(f"Times are by the clock of mill: {ZONE}, where it is 09:00 now").wait_for()
    assert page.get_by_label("From").input_value() == "2026-03-02T10:00"
    ask(page, "2026-03-02T09:00", "2026-03-03T09:00", "workshop evening")
    shown = page.get_by_role("region", name="What it would displace")
    shown.get_by_text("From now until 09:00 tomorrow (Europe/Berlin)").wait_for()
    assert shown.get_by_text("Goes elsewhere").count() == 1
    planned = stage.planned(machine)
    assert shown.get_by_text("Planned anew").count() == planned > 0
    assert stage.standing() == []
    assert fits(page)
    page.get_by_label("What for").fill("an evening for the school")
    shown.wait_for(state="detached")  # what is confirmed is what stands in the form

    page.get_by_role("button", name="See whom it displaces").click()
    shown.wait_for()
    stage.line.order(2)  # one more for each machine, before the person has made up their mind
    stage.plan()
    shown.get_by_role("button", name="Reserve it all the same").click()
    shown.get_by_text("it would touch 1 more job by now").wait_for()
    assert shown.get_by_text("New since you looked").count() == 1
    assert stage.standing() == []
    assert stage.line.job(held).state is JobState.LEASED
    assert fits(page)

    shown.get_by_role("button", name="Reserve it all the same").click()
    page.get_by_text(
        f"{machine} is reserved until 09:00 tomorrow (Europe/Berlin). {planned + 2} jobs make way"
    ).wait_for()
    (made,) = stage.standing()
    assert (made.key, made.who, made.why) == (f"mill.pi.{machine}", "operator", "an evening for the school")
    assert made.end == datetime(2026, 3, 3, 8, 0, tzinfo=UTC)
    assert stage.line.job(held).state is JobState.WAITING
    row = page.get_by_role("group", name=f"{machine} in mill")
    row.get_by_text("by operator · an evening for the school").wait_for()

    ask(page, "2026-03-02T20:00", "2026-03-02T22:00")
    said = page.get_by_role("alert").get_by_text(f"{machine} is reserved already by operator, until 09:00 tomorrow")
    said.wait_for()
    assert fits(page)

    row.get_by_role("button", name="Give it back").click()
    assert len(stage.standing()) == 1
    row.get_by_role("button", name="Keep it").click()
    row.get_by_role("button", name="Give it back").click()
    row.get_by_role("button", name="Yes, give it back").click()
    page.get_by_text("Nothing is reserved", exact=True).wait_for()
    assert stage.standing() == []
    stage.plan()
    assert stage.on(machine, JobState.LEASED)


SENSELESS = (
    ("2026-03-02T20:00", "2026-03-02T18:00", "it would end before it begins"),
    ("2026-03-01T18:00", "2026-03-01T20:00", "is over already"),
    ("2026-03-29T02:30", "2026-03-29T05:00", "the clocks never show 02:30 on 29 Mar"),
    ("2026-03-02T20:00", "2026-04-02T18:00", "14 days at most"),
    ("", "2026-03-02T18:00", "Pick both"),
)


def test_times_that_make_no_sense_are_explained(stage: Stage, page: Any) -> None:
    open_form(stage, page, stage.tokens[Role.OPERATOR])
    for start, end, said in SENSELESS:
        ask(page, start, end)
        page.get_by_role("alert").get_by_text(said).wait_for()
        assert fits(page)
    assert stage.standing() == []


def test_only_an_operator_may(stage: Stage, page: Any) -> None:
    open_form(stage, page, "")
    ask(page, "2026-03-02T20:00", "2026-03-02T22:00")
    page.get_by_role("alert").get_by_text("this needs a token").wait_for()
    begin = stage.line.now + timedelta(hours=30)
    wish = Wish("mill.pi", page.machine, begin, begin + timedelta(hours=2), "ada")
    with stage.line.scheduler.store.write() as c:
        made, _ = reservations.reserve(c, stage.line.scheduler.mover, wish, stage.line.now, expected=None)
    page.get_by_text("Your token, needed for the buttons").click()
    page.get_by_label("Token").fill(stage.tokens[Role.REQUESTER])
    page.get_by_label("Token").blur()
    ask(page, "2026-03-02T20:00", "2026-03-02T22:00")
    page.get_by_role("alert").get_by_text("it takes the role operator").wait_for()
    row = page.get_by_role("group", name=f"{page.machine} in mill")
    row.get_by_role("button", name="Give it back").click()
    row.get_by_role("button", name="Yes, give it back").click()
    page.get_by_text("it takes the role operator").nth(1).wait_for()
    assert [one.id for one in stage.standing()] == [made.id]
    with stage.line.scheduler.store.write() as c:
        reservations.cancel(c, made.id, stage.line.now)


def test_looking_changes_nothing_and_times_stand_by_the_shops_clock(stage: Stage, page: Any) -> None:
    begin = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
    wish = Wish("mill.pi", page.machine, begin, begin + timedelta(hours=3), "ada", "class")
    with stage.line.scheduler.store.write() as c:
        made, _ = reservations.reserve(c, stage.line.scheduler.mover, wish, stage.line.now, expected=None)
    stage.line.clock.pass_(seconds=1)
    before = (stage.standing(), stage.line.rows())
    path = f"/reservations?machine=mill.pi.{page.machine}&start=2026-03-02T10:00&end=2026-03-02T12:00"
    for each in (path, "/reservations", "/reservations?machine=nobody", "/floor"):
        assert httpx.get(stage.url + each, timeout=60).status_code == 200
    page.goto(stage.url + "/floor")
    tile = page.get_by_role("article", name=f"{page.machine} in mill")
    tile.get_by_text(re.compile("Reserved 18:00 to 21:00 today: class")).wait_for()
    tile.get_by_text(f"Times by the shop's clock: {ZONE}").wait_for()
    page.goto(stage.url + path)
    page.get_by_role("group", name=f"{page.machine} in mill").get_by_text(f"18:00 to 21:00 today ({ZONE})").wait_for()
    assert (stage.standing(), stage.line.rows()) == before
    with stage.line.scheduler.store.write() as c:
        reservations.cancel(c, made.id, stage.line.now)
