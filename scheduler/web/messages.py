"""What a page tells whoever looks at it: news of what was done, refused or failed. In: words and the page they are for.
Out: a message over that page, wherever on it the reader is.
"""

from __future__ import annotations

import logging
from typing import Final

from nicegui import Client, ui

_log = logging.getLogger(__name__)

_BAD_NEWS_MS: Final = 12_000


def good_news(client: Client, words: str) -> None:
    """It was done."""
    with client:
        ui.notify(words, type="positive")


def bad_news(client: Client, words: str) -> None:
    """It was refused, or it failed; stays long enough to be read."""
    with client:
        ui.notify(words, type="negative", timeout=_BAD_NEWS_MS, close_button="Close", multi_line=True)


def tell_failures() -> None:
    """From here on this page tells when something in it failed, instead of leaving that to the log alone."""
    client = ui.context.client

    def tell(error: Exception) -> None:
        _log.error("a page failed: %s", error, exc_info=error)
        bad_news(
            client,
            f"Something failed in the scheduler ({type(error).__name__}): what you asked for may not be done, and what "
            "you see may be old. Reload the page and look; the scheduler's log says what it was.",
        )

    ui.on_exception(tell)
