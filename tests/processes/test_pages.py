"""The pages in a real Chromium, on the running demo: they show what is true, act, and keep themselves fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from scheduler.broker.process import await_state
from tests.processes.conftest import DemoRun

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(420)]

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
MADE_WITHIN_MS = 150_000


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


def test_an_order_placed_on_the_page_is_made_and_the_pages_follow_without_reload(
    context: BrowserContext, page: Page, demo_run: DemoRun
) -> None:
    overview = context.new_page()
    overview.goto("/")
    overview.evaluate("window.sameDocument = true")
    page.goto("/order")
    page.get_by_role("combobox", name="Design").click()
    page.get_by_role("option", name="Phone stand").click()
    page.get_by_label("Your name").fill("Amal")
    page.get_by_label("Your token").fill(demo_run.token)
    page.get_by_role("button", name="Ask for a quote").click()
    page.wait_for_url("**/orders/o*")
    order = page.url.rpartition("/")[2]
    page.evaluate("window.sameDocument = true")
    expect(page.get_by_role("heading", name="Phone stand").first).to_be_visible()
    expect(overview.locator(f'a[href="/orders/{order}"]').first).to_be_visible()
    page.get_by_role("button", name="Accept: make it").click()
    expect(page.locator("main").get_by_text("Handed over", exact=True).first).to_be_visible(timeout=MADE_WITHIN_MS)
    made = page.locator(".ws-chip", has_text="Handed over")
    expect(made).to_be_visible(timeout=MADE_WITHIN_MS)
    row = overview.locator(f'a.ws-order[href="/orders/{order}"]')
    expect(row.locator(".ws-chip", has_text="Handed over")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True
    assert overview.evaluate("window.sameDocument") is True
    headers = {"Authorization": f"Bearer {demo_run.token}"}
    kept = httpx.get(f"{demo_run.url}/api/v1/orders/{order}", headers=headers).json()
    assert kept["state"] == "handed_over"
    assert all(part["good"] == part["quantity"] for part in kept["parts"])


def test_what_the_pages_remember_stays_in_the_schedulers_own_folder(page: Page, demo_run: DemoRun) -> None:
    page.goto("/order")
    page.get_by_label("Your token").fill("remembered")
    page.get_by_role("button", name="Ask for a quote").click()
    expect(page.get_by_text("Choose a design first.")).to_be_visible()
    folder = demo_run.data / "scheduler" / "pages"
    assert folder.stat().st_mode & 0o077 == 0
    assert await_state(lambda: any(b"remembered" in file.read_bytes() for file in folder.glob("*.json")), 20)
    assert not Path(".nicegui").exists()


def test_a_wrong_token_and_an_empty_form_are_told_in_sentences(page: Page) -> None:
    page.goto("/order")
    page.get_by_role("button", name="Ask for a quote").click()
    expect(page.get_by_text("Choose a design first.")).to_be_visible()
    page.get_by_role("combobox", name="Design").click()
    page.get_by_role("option", name="Cable clip").click()
    page.get_by_label("Your token").fill("guess")
    page.get_by_role("button", name="Ask for a quote").click()
    expect(page.get_by_text("the token is not known here")).to_be_visible()
    assert page.url.endswith("/order")


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
