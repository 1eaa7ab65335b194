"""The main job, as a stranger runs it, and its pages in a real Chromium: one run, looked at from every side.

All of it stands in one file so that the demo is started once, also when tests are spread over several workers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect, sync_playwright

from scheduler.broker.process import await_state
from tests.docker.queries import dashboard_queries, instant_form
from tests.processes.conftest import DemoRun

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]

DASHBOARD = Path(__file__).parents[2] / "docker" / "grafana" / "dashboards" / "workshed.json"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: A page on a busy computer; each wait ends as soon as what it waits for is there.
PATIENCE_MS = 60_000
MADE_WITHIN_S = 150.0


def get(run: DemoRun, path: str) -> Any:
    answer = httpx.get(f"{run.url}/api/v1/{path}", headers={"Authorization": f"Bearer {run.token}"}, timeout=20)
    answer.raise_for_status()
    return answer.json()


def test_everything_that_was_ordered_is_made_and_handed_over(demo_run: DemoRun) -> None:
    orders = get(demo_run, "orders")
    assert len(orders) >= 5
    assert {order["state"] for order in orders} == {"handed_over"}
    assert {job["process"] for order in orders for job in order["jobs"]} == {"fdm", "laser", "cnc"}
    for order in orders:
        assert all(part["good"] == part["quantity"] for part in order["parts"])
        assert all(step["state"] == "done" for step in order["steps"])
    assert any(order["steps"] for order in orders), "one product is put together at the end"
    assert any(len({job["process"] for job in order["jobs"]}) > 1 for order in orders), "one product mixes processes"
    assert any(part["quantity"] == 3 for order in orders for part in order["parts"])


def test_the_machines_did_what_their_programs_say(demo_run: DemoRun) -> None:
    output = demo_run.output.read_text()
    assert "checks agree" in output
    assert "NOT everything was made" not in output
    assert "  ! " not in output


def test_every_job_has_its_whole_story(demo_run: DemoRun) -> None:
    for job in get(demo_run, "jobs"):
        page = get(demo_run, f"jobs/{job['id']}")
        if not page["pieces"]:
            assert job["state"] == "cancelled", "its pieces lie on another job"
            continue
        states = [event["to_state"] for event in page["history"] if event["to_state"]]
        road = ["offered", "leased", "staged", "ready", "starting", "running", "finished", "inspected"]
        last_try = states[len(states) - 1 - states[::-1].index("offered") :]
        once = [state for state, before in zip(last_try, ["", *last_try], strict=False) if state != before]
        assert [state for state in once if state in road] == road, (job["id"], states)
        assert page["toolpath"]["made_by"]
        assert page["toolpath"]["settings"]
        assert job["fence"] >= 1


def test_everything_runs_in_processes_of_its_own(demo_run: DemoRun) -> None:
    pids = demo_run.addresses["processes"]
    assert set(pids) >= {"broker", "scheduler", "agent-garage", "agent-fablab", "agent-attic"}
    assert sum(name.startswith("twin-") for name in pids) == 5
    assert len(set(pids.values())) == len(pids) >= 10
    assert all(os.getpgid(pid) == pid for pid in pids.values())


def test_secrets_of_the_run_are_its_owners_only(demo_run: DemoRun) -> None:
    files = [demo_run.data / "addresses.json", demo_run.data / "scheduler" / "admin.token"]
    files += list(demo_run.data.glob("*/agent.token")) + list((demo_run.data / "broker" / "credentials").iterdir())
    assert len(files) >= 9
    for file in files:
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.prometheus
def test_no_panel_of_the_dashboard_stays_empty(demo_run: DemoRun, real_part: Callable[[str], Path]) -> None:
    real_part("prometheus")
    queries = dashboard_queries(DASHBOARD)

    def empty() -> list[str]:
        return [f"{panel}: {expr}" for panel, expr in queries if not series(demo_run.prometheus, expr)]

    await_state(lambda: not empty(), 20)
    assert empty() == []
    assert len(queries) >= 25


def series(prometheus: str, expr: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": instant_form(expr)}, timeout=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]["result"]
    return [one for one in found if one["value"][1] != "NaN"]


@pytest.mark.prometheus
def test_figures_in_prometheus_are_those_of_the_run(demo_run: DemoRun, real_part: Callable[[str], Path]) -> None:
    real_part("prometheus")
    good = sum(part["good"] for order in get(demo_run, "orders") for part in order["parts"])

    def counted() -> float:
        return sum(
            float(one["value"][1]) for one in series(demo_run.prometheus, 'workshed_parts_total{verdict="good"}')
        )

    await_state(lambda: counted() == good, 10)
    assert counted() == good
    assert len(series(demo_run.prometheus, "workshed_agent_online == 1")) == 3


# --- the pages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(real_part: Callable[[str], Path]) -> Iterator[Browser]:
    program = real_part("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(program), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser, demo_run: DemoRun) -> Iterator[BrowserContext]:
    """A fresh reader, who may reach nothing but the scheduler: whatever the pages need, they must bring themselves."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=demo_run.url)
    made.set_default_timeout(PATIENCE_MS)
    outside: list[str] = []
    made.route(
        lambda url: not url.startswith((demo_run.url, demo_run.url.replace("http", "ws"), "data:", "blob:")),
        lambda route: (outside.append(route.request.url), route.abort()),
    )
    yield made
    made.close()
    assert outside == [], "the pages asked the internet for something"


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must end its life without one error on its console."""
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    assert wrong == []


def main_text(page: Page) -> str:
    return page.locator("main").inner_text()


@pytest.mark.browser
def test_the_overview_shows_every_machine_and_every_order(page: Page, demo_run: DemoRun) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="What the shops are making")).to_be_visible()
    headers = {"Authorization": f"Bearer {demo_run.token}"}
    machines = httpx.get(f"{demo_run.url}/api/v1/machines", headers=headers).json()
    assert len(machines) == 5
    for machine in machines:
        card = page.get_by_role("article", name=f"{machine['name']} in {machine['shop']}")
        expect(card).to_be_visible()
    for order in httpx.get(f"{demo_run.url}/api/v1/orders", headers=headers).json():
        expect(page.locator(f'a[href="/orders/{order["id"]}"]').first).to_be_visible()
    expect(page.locator("canvas")).to_be_visible()
    described = page.get_by_role("img", name="Schedule.")
    expect(described).to_be_visible()


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/", "/order", "/orders", "/designs", "/floor", "/setup"])
@pytest.mark.parametrize("width", [390, 1440], ids=["phone", "desk"])
def test_every_page_fits_its_screen_in_light_and_dark(
    browser: Browser, demo_run: DemoRun, path: str, width: int
) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, base_url=demo_run.url
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(path)
        expect(page.locator("main h1")).to_be_visible()
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in ground[4:-1].split(",")[:3]) < 200) == (scheme == "dark"), ground
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, a')].filter(e => e.offsetParent && !(e.innerText.trim()"
            " || e.getAttribute('aria-label'))).map(e => e.outerHTML.slice(0, 120))"
        )
        assert unnamed == [], "every button and link has a name"
        context.close()


def choose(page: Page, design: str) -> None:
    """Pick a design: the long list is narrowed by typing, as a person does."""
    field = page.get_by_role("combobox", name="Design")
    field.click()
    field.fill(design)
    page.get_by_role("option", name=design).click()


def press(page: Page, button: str, said: str) -> None:
    """Press a button of the page; whatever it then tells is `said`, or the test ends there."""
    page.get_by_role("button", name=button).click()
    told = page.locator(".q-notification").first
    told.wait_for()
    assert said in told.inner_text()


@pytest.mark.browser
def test_an_order_placed_on_the_page_is_made_and_the_pages_follow_without_reload(
    context: BrowserContext, page: Page, demo_run: DemoRun
) -> None:
    overview = context.new_page()
    overview.goto("/")
    overview.evaluate("window.sameDocument = true")
    page.bring_to_front()  # a browser draws no menu in a page that nobody sees
    page.goto("/order")
    choose(page, "Phone stand")
    page.get_by_label("Your name").fill("Amal")
    page.get_by_label("Your token").fill(demo_run.token)
    page.get_by_role("button", name="Place the order").click()
    page.wait_for_url("**/orders/o*")
    order = page.url.rpartition("/")[2]

    def over() -> bool:
        jobs = get(demo_run, f"orders/{order}")["jobs"]
        return demo_run.process.poll() is not None or any(job["state"] in {"failed", "cancelled"} for job in jobs)

    page.evaluate("window.sameDocument = true")
    expect(page.get_by_role("heading", name="Phone stand").first).to_be_visible()
    expect(overview.locator(f'a[href="/orders/{order}"]').first).to_be_visible()
    expect(page.locator(".ws-chip", has_text="Waits to be accepted")).to_be_visible()
    press(page, "Accept: make it", "Accepted. It will be made.")
    assert await_state(lambda: get(demo_run, f"orders/{order}")["state"] == "handed_over", MADE_WITHIN_S, give_up=over)
    expect(page.locator(".ws-chip", has_text="Handed over")).to_be_visible()
    row = overview.locator(f'a.ws-order[href="/orders/{order}"]')
    expect(row.locator(".ws-chip", has_text="Handed over")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True
    assert overview.evaluate("window.sameDocument") is True
    kept = get(demo_run, f"orders/{order}")
    assert all(part["good"] == part["quantity"] for part in kept["parts"])


@pytest.mark.browser
def test_what_the_pages_remember_stays_in_the_schedulers_own_folder(page: Page, demo_run: DemoRun) -> None:
    page.goto("/order")
    page.get_by_label("Your token").fill("remembered")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_text("Choose a design first.")).to_be_visible()
    folder = demo_run.data / "scheduler" / "pages"
    assert folder.stat().st_mode & 0o077 == 0
    assert await_state(lambda: any(b"remembered" in file.read_bytes() for file in folder.glob("*.json")), 20)
    assert not Path(".nicegui").exists()


@pytest.mark.browser
def test_a_button_that_is_pressed_twice_places_one_order(page: Page, demo_run: DemoRun) -> None:
    page.goto("/order")
    choose(page, "Cable clip")
    page.get_by_label("Your name").fill("Twice")
    page.get_by_label("Your token").fill(demo_run.token)
    page.get_by_role("button", name="Place the order").dblclick()
    expect(page).to_have_url(re.compile("/orders/o"))  # reached twice, where the second press was in time
    expect(page.get_by_role("heading", name="Cable clip").first).to_be_visible()
    assert [order["requester"] for order in get(demo_run, "orders")].count("Twice") == 1


@pytest.mark.browser
def test_a_wrong_token_and_an_empty_form_are_told_in_sentences(page: Page) -> None:
    page.goto("/order")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_text("Choose a design first.")).to_be_visible()
    choose(page, "Cable clip")
    page.get_by_label("Your token").fill("guess")
    page.get_by_role("button", name="Place the order").click()
    expect(page.get_by_text("the token is not known here")).to_be_visible()
    assert page.url.endswith("/order")


@pytest.mark.browser
def test_nothing_can_be_pressed_or_typed_before_the_page_is_connected(context: BrowserContext, page: Page) -> None:
    """Otherwise a press could overtake what was typed before it, and be acted on without it."""
    held: list[WebSocketRoute] = []
    page.route_web_socket(lambda url: "_nicegui_ws" in url, lambda route: held.append(route))
    page.goto("/order")
    button, field = page.get_by_role("button", name="Place the order"), page.get_by_label("Your token")
    expect(button).to_be_disabled()
    expect(field).to_be_disabled()
    page.wait_for_function("window.socket !== undefined")
    held[0].connect_to_server()
    expect(button).to_be_enabled()
    expect(field).to_be_enabled()
    press(page, "Place the order", "Choose a design first.")


@pytest.mark.browser
def test_a_press_without_a_token_says_so_and_changes_nothing(page: Page, demo_run: DemoRun) -> None:
    headers = {"Authorization": f"Bearer {demo_run.token}"}
    kept = get(demo_run, "orders")[0]
    wanted = {"design": kept["design"], "quantity": 1, "accept": False}
    order = httpx.post(f"{demo_run.url}/api/v1/orders", headers=headers, json=wanted, timeout=30).json()["id"]
    page.goto(f"/orders/{order}")
    press(page, "Accept: make it", "Nothing was done: this needs a token. Write yours into “Your token”")
    assert get(demo_run, f"orders/{order}")["state"] == "requested"
    httpx.post(f"{demo_run.url}/api/v1/orders/{order}/cancel", headers=headers, timeout=30)
    expect(page.get_by_text("This order was cancelled.")).to_be_visible()


@pytest.mark.browser
def test_markup_in_a_strangers_words_stays_text(page: Page, demo_run: DemoRun) -> None:
    """A design's name is shown as it was written, and runs nowhere."""
    evil = "<img src=x onerror=alert(1)> {{7*7}} ' \" `"
    headers = {"Authorization": f"Bearer {demo_run.token}"}
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="20mm" height="20mm" viewBox="0 0 20 20">'
    drawing += '<rect x="1" y="1" width="18" height="18" fill="none" stroke="#ff0000"/></svg>'
    said = {"licence": "CC0-1.0", "material": "plywood", "thickness_mm": "3", "name": evil}
    files = {"files": ("square.svg", drawing.encode())}
    brought = httpx.post(f"{demo_run.url}/api/v1/designs", headers=headers, files=files, data=said, timeout=30)
    assert brought.status_code in {200, 201}, brought.text
    wanted = {"design": brought.json()["design"], "quantity": 1, "accept": False}
    order = httpx.post(f"{demo_run.url}/api/v1/orders", headers=headers, json=wanted, timeout=30).json()
    for path in (f"/orders/{order['id']}", "/", "/designs"):
        page.goto(path)
        expect(page.locator("main").get_by_text(evil).first).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
    httpx.post(f"{demo_run.url}/api/v1/orders/{order['id']}/cancel", headers=headers, timeout=30)
