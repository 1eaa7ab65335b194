"""A real browser for the pages' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser(real_part: Callable[[str], Path]) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    program = real_part("chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox"])
        yield started
        started.close()
