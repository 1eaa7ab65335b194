"""Fixtures every room's tests share: where the real parts are, and what was not found."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from agents.contract.logs import JsonFormatter, TextFormatter

settings.register_profile("workshed", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "workshed"))

_NO_SKIPS = os.environ.get("WORKSHED_NO_SKIPS") == "1"
_SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


@pytest.fixture(autouse=True)
def _no_logs_of_ended_programs() -> Iterator[None]:
    """Programs send every log to the standard error of their test, which is closed when the next one begins."""
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one.formatter, JsonFormatter | TextFormatter)]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def real_part() -> Callable[[str], Path]:
    """Where a real program is; skips the test where it is not installed (or fails, where no skip is allowed)."""

    def find(program: str) -> Path:
        found = shutil.which(program, path=_SBIN)
        if found is not None:
            return Path(found)
        message = f"{program} is not installed: `make system-deps` (Debian, root) installs the real parts"
        if _NO_SKIPS:
            pytest.fail(message)
        pytest.skip(message)

    return find


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where no skip is allowed, a skipped test is a failed one."""
    outcome = yield
    report = outcome.get_result()
    if _NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where no skip is allowed: {report.longrepr}"
