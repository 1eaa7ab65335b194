"""What every page shares: colours for light and dark, the frame with its navigation, small building blocks.

Contrast of text on its ground is at least 4.5 : 1 in both modes (WCAG 2.2, 1.4.3); no state is told by colour alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nicegui import app, ui
from nicegui.elements.mixins.text_element import TextElement

from scheduler.web.messages import tell_failures

NAVIGATION: Final = (
    ("Overview", "/", "dashboard"),
    ("Order something", "/order", "add_box"),
    ("Designs", "/designs", "collections_bookmark"),
    ("Shop floor", "/floor", "handyman"),
)

CSS: Final = (Path(__file__).parent / "workshed.css").read_text(encoding="utf-8")

_MARK: Final = (
    '<svg viewBox="0 0 32 32" fill="none" stroke="currentColor" stroke-width="2.6" stroke-linejoin="round" '
    'stroke-linecap="round" aria-hidden="true"><path d="M4 14 16 5l12 9v13H4z"/>'
    '<path d="M10 27v-8h12v8M10 23h12"/></svg>'
)


@contextlib.contextmanager
def frame(title: str, path: str) -> Iterator[None]:
    """The page around a page: header, navigation, main region. `path` marks where we are."""
    tell_failures()
    ui.page_title(f"{title} · Workshed")
    ui.colors(primary="#0b6b61", secondary="#2f5d9b", accent="#0b6b61", positive="#1d7a3e", negative="#b3261e")
    ui.add_css(CSS)
    dark = ui.dark_mode(app.storage.user.get("dark"))
    link("Skip to the page's content", "#content").classes("ws-skip")
    with ui.element("header").classes("ws-header"), ui.element("div").classes("ws-header-in"):
        with ui.element("a").classes("ws-brand").props('href="/" aria-label="Workshed, overview"'):
            ui.html(_MARK, sanitize=False)
            ui.label("Workshed")
        with ui.element("nav").classes("ws-nav").props('aria-label="Pages"'):
            for word, target, icon in NAVIGATION:
                entry = ui.element("a").props(f'href="{target}" aria-label="{word}"')
                if target == path:
                    entry.props('aria-current="page"')
                with entry:
                    ui.icon(icon, size="20px").props('aria-hidden="true"')
                    text("span", word).classes("word")
        _dark_switch(dark)
    with ui.element("div").classes("ws-main").props('id="content"'), _operable_once_connected():
        yield


def _operable_once_connected() -> ui.element:
    """What is in it can be read at once, and pressed or filled in once the page is connected to the server.

    Before that, presses and keystrokes would wait in the browser, each on a timer of its own, and arrive in any order:
    an order without the name that was typed just before. (nicegui/static/nicegui.js, `delayed_emitter`.)
    """
    content = ui.element("fieldset").classes("ws-contents ws-operable").props("disabled role=presentation")
    ui.context.client.on_connect(lambda: content.props(remove="disabled"))
    return content


def _dark_switch(dark: ui.dark_mode) -> None:
    """Dark, light, or as the reader's system says; remembered for this reader."""
    order = {None: True, True: False, False: None}
    icons = {None: "brightness_auto", True: "dark_mode", False: "light_mode"}
    words = {None: "Colours: as the system", True: "Colours: dark", False: "Colours: light"}

    def turn() -> None:
        dark.value = order[dark.value]
        app.storage.user["dark"] = dark.value
        ui.navigate.reload()  # charts read their colours once

    button = ui.button(on_click=turn).props(f"flat round icon={icons[dark.value]}")
    button.props(f'aria-label="{words[dark.value]}"').classes("ws-dark-switch")


def link(words: str, target: str) -> ui.element:
    """A link that looks like one."""
    return ui.link(words, target).classes("ws-link")


def text(tag: str, words: str) -> TextElement:
    """An HTML element with text in it; the text is never read as markup."""
    return TextElement(tag=tag, text=words)


def heading(level: int, words: str) -> TextElement:
    """A real heading element, so that the page has an outline."""
    return text(f"h{level}", words)


def chip(words: str, tone: str = "") -> TextElement:
    """A small state label; `tone` is one of good, warn, bad, calm, accent, plain."""
    return text("span", words).classes(f"ws-chip {tone}")


def quiet(words: str) -> TextElement:
    """Secondary text."""
    return text("span", words).classes("ws-quiet ws-small")


def bar(fraction: float, label: str) -> ui.element:
    """A progress bar that a screen reader reads too."""
    percent = max(0.0, min(1.0, fraction)) * 100
    outer = ui.element("div").classes("ws-bar")
    outer.props(f"role=progressbar aria-valuemin=0 aria-valuemax=100 aria-valuenow={percent:.0f}")
    outer.props["aria-label"] = label
    with outer:
        ui.element("div").style(f"width: {percent:.1f}%")
    return outer


def empty(words: str, hint: str) -> None:
    """What stands where nothing is yet, and what to do about it."""
    with ui.element("div").classes("ws-empty"):
        text("b", words)
        text("span", hint)


MACHINE_TONES: Final = {
    "running": "good",
    "idle": "calm",
    "occupied": "warn",
    "held": "warn",
    "alarm": "bad",
    "unidentified": "warn",
}
JOB_TONES: Final = {
    "running": "good",
    "starting": "good",
    "ready": "accent",
    "staged": "accent",
    "leased": "accent",
    "offered": "calm",
    "held": "warn",
    "finished": "warn",
    "failed": "bad",
}
ORDER_TONES: Final = {"making": "good", "accepted": "calm", "made": "accent", "quoted": "warn", "requested": "warn"}
EFFECT_TONES: Final = {"stays": "good", "taken_back": "warn", "planned_around": "calm"}
NEED_TONES: Final = {"survival": "bad plain", "commons": "accent plain", "personal": "calm plain", "outside": "plain"}
