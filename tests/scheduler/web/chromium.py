"""What a page in a browser is looked at for."""

from __future__ import annotations

from typing import Any


def fits(page: Any) -> bool:
    """Whether nothing of the page lies beside its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth") <= page.width)
